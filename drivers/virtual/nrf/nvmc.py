"""The flash controller of one core with the flash and UICR behind it (nordic-tfm sheet 2.7).

Writes need CONFIG=Wen and are ignored without; bits go from 1 to 0 only. CONFIG=Een erases the page to whose first
word 0xFFFFFFFF is written. Work takes time: READY is 0 meanwhile, accesses to the memories stall, and a write to CONFIG
or ERASEALL is ignored, which punishes a driver that does not poll.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from drivers.virtual.nrf.chip_file import Stored
from drivers.virtual.nrf.faults import Faults
from drivers.virtual.nrf.silicon import WORD, CoreSilicon
from drivers.virtual.nrf.uicr import Uicr

READY, READYNEXT, CONFIG, ERASEALL, PARTIAL_CONFIG = 0x400, 0x408, 0x504, 0x50C, 0x51C
CONFIGNS, WRITEUICRNS = 0x584, 0x588
READ_ONLY, WRITE_ENABLE, ERASE_ENABLE, PARTIAL_ENABLE = 0, 1, 2, 4
WORD_SECONDS, UICR_SECONDS, PAGE_SECONDS, ALL_SECONDS = 2e-6, 40e-6, 1e-3, 0.12
"""Real parts take about 43 µs, 43 µs, 87 ms and 173 ms; pages are made quicker so that tests are."""
PAGE_MILLISECONDS = 85
"""So long a partial erase must be applied in all before the page is blank."""


class Owner(Protocol):
    """What the controller asks of its core."""

    def stall(self, until: Callable[[], bool]) -> None:
        """The bus waits until this holds; lets go of the chip's lock meanwhile."""
        ...

    def flash_changed(self, offset: int, length: int) -> None:
        """Code may have been pulled from under the core's feet."""
        ...

    def erase_all(self, by: str) -> bool:
        """Erase everything of the core; False when ERASEPROTECT forbids it."""
        ...


class Nvmc:
    """Registers and programming of one core's flash and UICR."""

    def __init__(self, core: CoreSilicon, flash: Stored, uicr: Uicr, faults: Faults, owner: Owner) -> None:
        self._core = core
        self._flash = flash
        self._uicr = uicr
        self._faults = faults
        self._owner = owner
        self._busy_until = 0.0
        self.page_erases = 0
        self.reset()

    def reset(self) -> None:
        """Reset values."""
        self.config = READ_ONLY
        self._partial_ms = 10
        self._partial: dict[int, int] = {}
        self._others: dict[int, int] = {}

    @property
    def ready(self) -> bool:
        """READY."""
        return time.monotonic() >= self._busy_until

    @property
    def busy_seconds(self) -> float:
        """How long it stays busy."""
        return max(0.0, self._busy_until - time.monotonic())

    def work(self, seconds: float) -> None:
        """Be busy so much longer."""
        self._busy_until = max(self._busy_until, time.monotonic()) + seconds

    # ---- registers ------------------------------------------------------------------------------------------------

    def read_register(self, offset: int) -> int:
        """One register of the block."""
        if offset in (READY, READYNEXT):
            return int(self.ready)
        if offset == CONFIG:
            return self.config
        if offset == PARTIAL_CONFIG:
            return self._partial_ms
        return self._others.get(offset, 0)

    def write_register(self, offset: int, value: int, who: str) -> None:
        """One register of the block; while busy, what would start or change work is ignored."""
        if offset == PARTIAL_CONFIG:
            self._partial_ms = value & 0x7F
        elif offset not in (CONFIG, ERASEALL):
            self._others[offset] = value
        elif not self.ready:
            return
        elif offset == CONFIG:
            self.config = value & 7
        elif value & 1 and self.config == ERASE_ENABLE and self._owner.erase_all(who):
            self.work(ALL_SECONDS)

    # ---- flash ----------------------------------------------------------------------------------------------------

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the main flash."""
        self._wait()
        return bytes(self._flash.content[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        """Aligned words into the main flash, by the mode that CONFIG says."""
        self._wait()
        if self.config == WRITE_ENABLE:
            self._program(offset, data)
        elif self.config in (ERASE_ENABLE, PARTIAL_ENABLE):
            for at in range(0, len(data), 4):
                if data[at : at + 4] == b"\xff\xff\xff\xff" and not (offset + at) % self._core.page:
                    self._erase_page(offset + at)

    def read_uicr(self, offset: int) -> int:
        """A word of UICR."""
        self._wait()
        return self._uicr.read(offset)

    def write_uicr(self, offset: int, value: int, who: str) -> None:
        """A word of UICR; only with CONFIG=Wen."""
        self._wait()
        if self.config == WRITE_ENABLE:
            self._uicr.write(offset, value, who)
            self.work(UICR_SECONDS)

    def erase_flash(self) -> None:
        """All of the main flash, as ERASEALL does."""
        self._flash.put(0, b"\xff" * self._core.flash_size)
        self._owner.flash_changed(0, self._core.flash_size)

    def _program(self, offset: int, data: bytes) -> None:
        length = len(data)
        old = int.from_bytes(self._flash.content[offset : offset + length], "little")
        wanted = int.from_bytes(data, "little")
        new = (old & wanted).to_bytes(length, "little")
        self._flash.put(offset, self._with_stuck_bit(offset, new))
        self._owner.flash_changed(offset, length)
        self.work(length // 4 * WORD_SECONDS)

    def _with_stuck_bit(self, offset: int, data: bytes) -> bytes:
        place = self._faults.lasting.get("verify_mismatch")
        if place is None:
            return data
        address = self._core.flash + offset
        if not place:  # the next word that has a bit to lose: it is this one from now on
            zero = next((at for at, byte in enumerate(data) if byte != 0xFF), None)
            if zero is None:
                return data
            self._faults.lasting["verify_mismatch"] = place = f"{(address + zero) & ~3:#010x}"
        at = int(place, 16) - address
        if not 0 <= at <= len(data) - 4:
            return data
        word = int.from_bytes(data[at : at + 4], "little")
        stuck = ~word & WORD & -(~word & WORD)  # the lowest bit that should be 0
        return data[:at] + (word | stuck).to_bytes(4, "little") + data[at + 4 :]

    def _erase_page(self, offset: int) -> None:
        if self.config == PARTIAL_ENABLE:
            self._partial[offset] = self._partial.get(offset, 0) + self._partial_ms
            if self._partial[offset] < PAGE_MILLISECONDS:
                return
        self._partial.pop(offset, None)
        self.page_erases += 1
        self._flash.put(offset, b"\xff" * self._core.page)
        self._owner.flash_changed(offset, self._core.page)
        self.work(PAGE_SECONDS)

    def _wait(self) -> None:
        if not self.ready:
            self._owner.stall(lambda: self.ready)
