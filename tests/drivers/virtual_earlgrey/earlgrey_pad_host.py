"""A small host that drives a virtual Earlgrey at its pads, bit by bit: a second opinion of the protocols."""

from __future__ import annotations

import time
from collections.abc import Iterable

from Crypto.Hash import cSHAKE128

DMI, DTMCS, IDCODE = 0x11, 0x10, 0x01
READ_RTI = 4


def wait_until(ready, what: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"timeout: {what}"
        time.sleep(0.0005)


def lc_hash(token: bytes) -> bytes:
    return cSHAKE128.new(data=token, custom=b"LC_CTRL").read(16)


class Jtag:
    def __init__(self, chip) -> None:
        self.chip = chip

    def connect(self) -> int:
        self.chip.jtag(6, 0b011111, 0)  # Test-Logic-Reset, Run-Test/Idle
        idcode = self.scan(32, 0)
        self.chip.jtag(4, 0b0011, 0)  # Select-DR, Select-IR, Capture-IR, Shift-IR
        self.chip.jtag_shift(5, DMI, True)
        self.chip.jtag(2, 0b01, 0)
        return idcode

    def scan(self, bits: int, value: int, idle: int = 0) -> int:
        self.chip.jtag(3, 0b001, 0)
        out = self.chip.jtag_shift(bits, value, True)
        self.chip.jtag(2 + idle, 0b01, 0)
        return out

    def write(self, address: int, value: int) -> None:
        self.scan(41, address << 34 | value << 2 | 2, READ_RTI)

    def read(self, address: int) -> int:
        self.scan(41, address << 34 | 1, READ_RTI)
        out = self.scan(41, 0)
        assert out & 3 == 0, f"DMI answered {out & 3}"
        return out >> 2 & 0xFFFF_FFFF


class Debugger:
    """RISC-V debug module: halt at reset, registers, system bus."""

    def __init__(self, jtag: Jtag) -> None:
        self.jtag = jtag

    def halt_at_reset(self) -> None:
        for value in (0x1, 0x8000_0003, 0x8000_0001):
            self.jtag.write(0x10, value)
        wait_until(lambda: self.jtag.read(0x11) & 0x200, "halt")
        self.jtag.write(0x10, 0x1000_0001 | 0x8000_0000)
        self.set_register(0x7B0, 0x4000_B003)

    def set_register(self, number: int, value: int) -> None:
        self.jtag.write(0x04, value)
        self.jtag.write(0x17, 0x0023_0000 | number)
        self._done()

    def register(self, number: int) -> int:
        self.jtag.write(0x17, 0x0022_0000 | number)
        self._done()
        return self.jtag.read(0x04)

    def _done(self) -> None:
        wait_until(lambda: not self.jtag.read(0x16) & 0x1000, "abstract command")
        assert not self.jtag.read(0x16) & 0x700

    def write_memory(self, address: int, data: bytes) -> None:
        self.jtag.write(0x38, 0x0005_0000)
        self.jtag.write(0x39, address)
        for n in range(0, len(data), 4):
            self.jtag.scan(41, 0x3C << 34 | int.from_bytes(data[n : n + 4], "little") << 2 | 2)
        assert not self.jtag.read(0x38) & 0x0040_7000

    def read_memory(self, address: int, count: int) -> list[int]:
        self.jtag.write(0x38, 0x0004_0000 | 1 << 20)
        words = []
        for n in range(count):
            self.jtag.write(0x39, address + 4 * n)
            words.append(self.jtag.read(0x3C))
        assert not self.jtag.read(0x38) & 0x0040_7000
        return words

    def open_gates(self, **wrong: int) -> None:
        two, three = self.register(0x3A2), self.register(0x3A3)
        values = {
            "pmpcfg3": (0x3A3, three & 0x00FF_FFFF | 0x9F00_0000),
            "pmpaddr15": (0x3BF, 0x0400_3FFF),
            "pmpcfg2": (0x3A2, two & 0x00FF_FFFF | 0x8F00_0000),
            "pmpaddr10": (0x3BA, 0x1000_0000),
            "pmpaddr11": (0x3BB, 0x1400_0000),
        }
        for name, (number, value) in values.items():
            self.set_register(number, wrong.get(name, value))
        self.write_memory(0x411C_000C, wrong.get("exec", 6).to_bytes(4, "little"))

    def resume(self, entry: int, a0: int) -> None:
        self.set_register(0x1001, 0xDEAD_BEEF)
        self.set_register(0x100A, a0)
        self.set_register(0x7B1, entry)
        self.jtag.write(0x10, 0x4000_0001)
        wait_until(lambda: self.jtag.read(0x11) & 0x2_0000, "resume")

    @property
    def halted(self) -> bool:
        return bool(self.jtag.read(0x11) & 0x200)

    def exit_word(self) -> int:
        wait_until(lambda: self.halted, "ebreak")
        return self.register(0x1002)


class Console:
    """SPI console host with the TX-ready pin."""

    def __init__(self, chip) -> None:
        self.chip = chip
        self.text = ""
        self.number = 0

    def window(self, out: bytes, read: int = 0) -> bytes:
        self.chip.spi_select(True)
        answer = self.chip.spi(out + bytes(read))
        self.chip.spi_select(False)
        return answer[len(out) :]

    def read_frame(self) -> None:
        wait_until(lambda: self.chip.outputs()["tx_ready"], f"a frame after {self.text[-200:]!r}")
        header = self.window(b"\x03\0\0\0", 12)
        assert header[:4] == (0xA5A5BEEF).to_bytes(4, "little")
        assert int.from_bytes(header[4:8], "little") == self.number
        length = int.from_bytes(header[8:], "little")
        assert length <= 2020
        self.number += 1
        self.text += self.window(b"\x03\0\0\x0c", -(-length // 4) * 4)[:length].decode("ascii")

    def until(self, marker: str) -> str:
        while marker not in self.text:
            self.read_frame()
        before, _, self.text = self.text.partition(marker)
        return before

    def line(self) -> str:
        return self.until("\n")

    def send(self, payload: bytes) -> None:
        wait_until(lambda: self.chip.outputs()["rx_ready"], "RX ready")
        chunks = [payload[n : n + 256] for n in range(0, len(payload), 256)]
        for n, chunk in enumerate(chunks):
            address = 0x100 if n == len(chunks) - 1 else 0
            self.window(b"\x06")
            self.window(b"\x02" + address.to_bytes(3, "big") + chunk)
            wait_until(lambda: not self.window(b"\x05", 1)[0] & 1, "the chunk to be taken")


class Host:
    """All verbs together."""

    def __init__(self, chip) -> None:
        self.chip = chip
        self.jtag = Jtag(chip)
        self.debugger = Debugger(self.jtag)
        self.console = Console(chip)
        chip.power(True)

    def reset(self, tap: str | None = None, software: tuple[int, int, int] = (0, 0, 0)) -> None:
        straps = {"lc": (1, 0), "rv": (0, 1), None: (0, 0)}[tap]
        levels = {"por_n": False, "trst_n": True, "tap_strap0": bool(straps[0]), "tap_strap1": bool(straps[1])}
        levels |= {f"sw_strap{n}": bool(level) for n, level in enumerate(software)}
        self.chip.set_inputs(levels)
        self.chip.set_inputs({"por_n": True})
        self.console = Console(self.chip)

    def look(self) -> tuple[int, int]:
        """(LC_STATE, count) after a reset with the LC TAP."""
        self.reset("lc", (1, 1, 1))
        assert self.jtag.connect() == 0x1000_2CDF
        return self.jtag.read(0x0E), self.jtag.read(0x0F)

    def transition(self, target: int, token: Iterable[int] = (0, 0, 0, 0), clock: int = 0) -> int:
        """Carry out one transition on the connected LC TAP; returns the final STATUS."""
        assert self.jtag.read(1) == 3
        self.jtag.write(3, 0x96)
        assert self.jtag.read(3) == 0x96
        self.jtag.write(0x0B, target)
        for n, word in enumerate(token):
            self.jtag.write(7 + n, word)
        self.jtag.write(6, clock)
        self.jtag.write(5, 1)
        wait_until(lambda: self.jtag.read(1) & ~0x5, "the transition to end")
        return self.jtag.read(1)

    def load(self, elf_data: tuple[int, bytes], a0: int | None = None, flip: int | None = None, **wrong: int) -> None:
        from zlib import crc32

        address, data = elf_data
        self.reset("rv")
        assert self.jtag.connect() == 0x1000_1CDF
        self.debugger.halt_at_reset()
        sent = bytearray(data)
        if flip is not None:
            sent[flip] ^= 1
        self.debugger.write_memory(address, bytes(sent))
        self.debugger.open_gates(**wrong)
        self.debugger.resume(wrong.get("entry", address), crc32(data) if a0 is None else a0)

    def bootstrap(self, image: bytes) -> None:
        self.reset(None, (1, 1, 1))
        window = self.console.window
        wait_until(lambda: window(b"\x5a\0\0\0\0", 4) == b"SFDP", "SFDP")
        window(b"\x06")
        window(b"\xc7")
        idle = lambda: not window(b"\x05", 1)[0] & 1  # noqa: E731
        wait_until(idle, "erase")
        for address in range(0, len(image), 256):
            page = image[address : address + 256]
            if page != b"\xff" * len(page):
                window(b"\x06")
                window(b"\x02" + address.to_bytes(3, "big") + page)
                while window(b"\x05", 64)[-1] & 1:
                    pass
        self.reset()

    def uart_until(self, marker: str) -> str:
        seen = ""

        def more() -> bool:
            nonlocal seen
            seen += self.chip.uart_take().decode()
            return marker in seen

        wait_until(more, f"{marker!r} on the UART")
        return seen
