"""Writes Intel HEX for tests, record by record: independent of the reader."""


def record(kind, address, data=b""):
    body = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
    return ":" + (body + bytes([-sum(body) & 0xFF])).hex().upper()


def lines(*blocks, end=True):
    """Records for (address, bytes) blocks, 16 bytes each, with linear base records where the high half changes."""
    found, high = [], 0
    for address, data in blocks:
        at = 0
        while at < len(data):
            here = address + at
            size = min(16 - here % 16, len(data) - at)
            if here >> 16 != high:
                high = here >> 16
                found.append(record(4, 0, high.to_bytes(2, "big")))
            found.append(record(0, here & 0xFFFF, data[at : at + size]))
            at += size
    return [*found, record(1, 0)] if end else found


def text(*blocks, end=True):
    return ("\n".join(lines(*blocks, end=end)) + "\n").encode()


def word(address, value):
    return address, value.to_bytes(4, "little")
