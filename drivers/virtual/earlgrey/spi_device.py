"""The SPI device of the chip: what the ROM's flash emulation and the firmware's console make of a chip-select window.

Source: opentitan-device sheet 2.3 (console), 6 (bootstrap commands). While a command is being carried out the busy bit
is set and every command except reading the status is ignored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from drivers.virtual.earlgrey.chip_file import DATA_SIZE
from drivers.virtual.earlgrey.flash import Flash

READ_STATUS, READ, READ_ID, READ_SFDP = 0x05, 0x03, 0x9F, 0x5A
WRITE_ENABLE, WRITE_DISABLE, PAGE_PROGRAM = 0x06, 0x04, 0x02
CHIP_ERASE, SECTOR_ERASE, RESET = 0xC7, 0x20, 0x99
WIP, WEL = 0x01, 0x02
HIGH = 0xFF
_BYTE_SECONDS = 1e-6  # one byte at 8 MHz: clocks pass for the chip even when the bench sends them in one go
_ERASE_SECONDS, _PROGRAM_SECONDS = 0.02, 60e-6
CONSOLE_BUFFER = 2048
JEDEC_ID = b"\x7f" * 12 + b"\xef\x02\x14"


class SpiMode(Protocol):
    """Who answers behind the pins."""

    def status(self) -> int:
        """The status register."""

    def respond(self, command: bytes, start: int, count: int) -> bytes:
        """Output bytes ``start`` to ``start + count`` of the window that began with ``command``."""

    def finish(self, window: bytes) -> None:
        """Chip select rose after these bytes."""

    def edge(self, window: bytes) -> None:
        """Chip select changed; ``window`` is what it ended (empty when it fell)."""


class SpiDevice:
    """Collects the bytes of a chip-select window and asks the mode of the moment."""

    def __init__(self) -> None:
        self.mode: SpiMode | None = None
        self.clocked = 0
        self._window: bytearray | None = None

    @property
    def now(self) -> float:
        """Seconds as the chip counts them: wall time plus the time the clocked bytes take on the wire."""
        return time.monotonic() + self.clocked * _BYTE_SECONDS

    def reset(self) -> None:
        """Nobody answers until a program sets up the block; an open window is lost."""
        self.mode = None
        self._window = None

    def select(self, selected: bool) -> None:
        """Chip select falls (True) or rises."""
        if selected == (self._window is not None):
            return
        window, self._window = self._window, bytearray() if selected else None
        if self.mode is not None:
            self.mode.edge(bytes(window or b""))
            if window:
                self.mode.finish(bytes(window))

    def transfer(self, mosi: bytes) -> bytes:
        """Full duplex bytes; the line floats high while nobody drives it."""
        self.clocked += len(mosi)
        if self._window is None or self.mode is None or not mosi:
            return bytes([HIGH]) * len(mosi)
        start = len(self._window)
        self._window += mosi
        header = bytes(self._window[:5])
        if header[0] == READ_STATUS:
            return bytes([HIGH if n + start == 0 else self.mode.status() for n in range(len(mosi))])
        return self.mode.respond(header, start, len(mosi)).ljust(len(mosi), bytes([HIGH]))


class BootstrapMode:
    """The ROM's flash emulation: erase first, then program; everything else is ignored."""

    def __init__(self, flash: Flash, clock: Callable[[], float], reset_chip: Callable[[], None]) -> None:
        self._flash = flash
        self._clock = clock
        self._reset_chip = reset_chip
        self._write_enabled = False
        self._busy_until = 0.0
        self._erased = False

    def status(self) -> int:
        """WIP and WEL."""
        return (WIP if self._busy else 0) | (WEL if self._write_enabled else 0)

    def respond(self, command: bytes, start: int, count: int) -> bytes:
        """JEDEC id and SFDP; flash contents cannot be read back."""
        source, skip = {READ_ID: (JEDEC_ID, 1), READ_SFDP: (_SFDP, 5)}.get(command[0], (b"", 0))
        if command[0] == READ_SFDP:
            source = source[int.from_bytes(command[1:4], "big") :] if len(command) > 3 else b""
        shown = bytes([HIGH]) * skip + source
        return shown[start : start + count]

    def finish(self, window: bytes) -> None:
        """Carry out a command, unless the part is busy."""
        if self._busy:
            return
        opcode = window[0]
        if opcode in (WRITE_ENABLE, WRITE_DISABLE):
            self._write_enabled = opcode == WRITE_ENABLE
        elif opcode in (CHIP_ERASE, SECTOR_ERASE) and self._write_enabled:
            self._flash.erase_data()
            self._erased = True
            self._occupy(_ERASE_SECONDS)
        elif opcode == PAGE_PROGRAM and self._write_enabled and self._erased:
            self._program(window)
        elif opcode == RESET:
            self._reset_chip()

    def edge(self, window: bytes) -> None:
        """Nothing depends on the edge itself."""

    @property
    def _busy(self) -> bool:
        return self._clock() < self._busy_until

    def _occupy(self, seconds: float) -> None:
        self._write_enabled = False
        self._busy_until = self._clock() + seconds

    def _program(self, window: bytes) -> None:
        address, payload = int.from_bytes(window[1:4], "big"), window[4:][-256:]
        if len(window) < 5 or address % 8 or address >= DATA_SIZE:
            return
        padded = payload.ljust(-(-len(payload) // 8) * 8, b"\xff")
        page, offset = address & ~0xFF, address & 0xFF
        first = padded[: 256 - offset]
        self._flash.program_data(address, first)
        if len(first) < len(padded):  # wraps inside the page
            self._flash.program_data(page, padded[len(first) :])
        self._occupy(_PROGRAM_SECONDS)


class ConsoleMode:
    """The firmware's console: one frame at a time out of the read buffer, uploads of at most 256 bytes in."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._buffer = b""
        self._write_enabled = False
        self._announced = False
        self.tx_ready = False
        self.rx_ready = False
        self.edges = 0
        self.upload: tuple[int, bytes] | None = None

    def offer(self, frame: bytes) -> None:
        """Put a frame into the buffer and raise TX-ready."""
        self._buffer = frame
        self.edges = 0
        self.tx_ready = self._announced = True

    def take_upload(self) -> tuple[int, bytes] | None:
        """Address and bytes of an uploaded chunk, which ends busy; None while there is none."""
        upload, self.upload = self.upload, None
        if upload is not None:
            self._write_enabled = False
        return upload

    def status(self) -> int:
        """WIP while an upload waits for the firmware."""
        return (WIP if self.upload is not None else 0) | (WEL if self._write_enabled else 0)

    def respond(self, command: bytes, start: int, count: int) -> bytes:
        """READ shows the buffer, which wraps at 2048 bytes; the rest of it is erased."""
        if command[0] == READ_ID:
            return (bytes([HIGH]) + JEDEC_ID)[start : start + count]
        if command[0] != READ or len(command) < 4:
            return b""
        lead = max(0, 4 - start)
        address = int.from_bytes(command[1:4], "big") + start + lead - 4
        ring = self._buffer.ljust(CONSOLE_BUFFER, bytes([HIGH]))
        shown = bytes(ring[(address + n) % CONSOLE_BUFFER] for n in range(max(0, count - lead)))
        return bytes([HIGH]) * lead + shown

    def finish(self, window: bytes) -> None:
        """WREN, WRDI and PAGE_PROGRAM; an upload while busy is lost."""
        if self.upload is not None:
            return
        if window[0] in (WRITE_ENABLE, WRITE_DISABLE):
            self._write_enabled = window[0] == WRITE_ENABLE
        elif window[0] == PAGE_PROGRAM and len(window) > 4:
            self.upload = (int.from_bytes(window[1:4], "big"), window[4:][-256:])
            self._changed()

    def edge(self, window: bytes) -> None:
        """TX-ready falls with the first edge; the firmware goes on after the fourth. Status reads do not count."""
        if window[:1] == bytes([READ_STATUS]):
            self.edges -= 1
            self.tx_ready = self._announced and self.edges == 0
            return
        self.edges += 1
        self.tx_ready = False
        if self.edges >= 4:
            self._announced = False
            self._changed()


def _basic_flash_parameters() -> bytes:
    words = [0xFFFF_FFFF] * 23
    words[0] = 0xFFF1_20E5  # 4 KiB erase with opcode 0x20, 3-byte addresses
    words[1] = DATA_SIZE * 8 - 1
    return b"".join(word.to_bytes(4, "little") for word in words)


_SFDP = (
    b"SFDP"
    + bytes([0x0A, 0x01, 0x00, 0xFF])
    + bytes([0x00, 0x0A, 0x01, 23, 0x10, 0x00, 0x00, 0xFF])
    + _basic_flash_parameters()
)
