"""Writes Intel HEX: 16-byte data records, extended linear addresses, one end record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

DATA, END, LINEAR = 0x00, 0x01, 0x04
ROW = 16


def to_hex(segments: Mapping[int, bytes]) -> str:
    """Segments by their address as the text of a HEX file, in address order."""
    return "".join(f"{record}\n" for record in _records(sorted(segments.items())))


def _records(segments: Iterable[tuple[int, bytes]]) -> Iterator[str]:
    upper = 0
    for start, content in segments:
        at = start
        while at < start + len(content):
            if at >> 16 != upper:
                upper = at >> 16
                yield _record(LINEAR, 0, upper.to_bytes(2, "big"))
            end = min(start + len(content), at - at % ROW + ROW)
            yield _record(DATA, at & 0xFFFF, content[at - start : end - start])
            at = end
    yield _record(END, 0, b"")


def _record(kind: int, offset: int, content: bytes) -> str:
    body = bytes([len(content)]) + offset.to_bytes(2, "big") + bytes([kind]) + content
    return ":" + (body + bytes([-sum(body) & 0xFF])).hex().upper()
