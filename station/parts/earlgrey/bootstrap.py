"""SPI bootstrap: write an image into the data flash of a part that ROM holds in its bootstrap loop.

Source: opentitan-device sheet 6. There is no read-back: the status register is read after each page instead, and the
image proves itself when the ROM checks its signature.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from station.deadline import Deadline, Pace
from station.errors import BenchError, PartError
from station.model import SpiFrame
from station.ports import Spi

READ_SFDP, READ_STATUS, WRITE_ENABLE, CHIP_ERASE, PAGE_PROGRAM = b"\x5a", b"\x05", b"\x06", b"\xc7", b"\x02"
RESET_ENABLE, RESET = b"\x66", b"\x99"
SFDP_SIGNATURE = b"SFDP"
ENABLE, STATUS = SpiFrame(WRITE_ENABLE), SpiFrame(READ_STATUS, 1)
WIP, WEL = 0x01, 0x02
PAGE = 256
BLANK = b"\xff" * PAGE
PAGES_PER_BATCH = 64
FIRST_POLL, LONGEST_POLL = 64, 4096


class Bootstrap:
    """Host side of the ROM's flash emulation."""

    def __init__(self, spi: Spi, pause: Callable[[float], None], seconds: float) -> None:
        self._spi = spi
        self._pause = pause
        self._seconds = seconds
        self._poll = FIRST_POLL

    def write(self, image: bytes) -> None:
        """Erase both banks, program every page that is not blank, ask for a reset."""
        self._check_link()
        self._erase()
        self._program(_pages(image))
        self._spi.transact([SpiFrame(RESET_ENABLE), SpiFrame(RESET)])

    def _check_link(self) -> None:
        deadline = Deadline(self._seconds)
        while True:
            signature = self._spi.transact([SpiFrame(READ_SFDP + bytes(4), 4)])[0]
            if signature == SFDP_SIGNATURE:
                return
            if deadline.passed:
                raise BenchError(
                    f"expected the SFDP signature over SPI, saw {signature.hex()}; "
                    "check the SPI wiring and that the bootstrap straps reach the part"
                )
            self._pause(0.002)

    def _erase(self) -> None:
        self._spi.transact([SpiFrame(WRITE_ENABLE), SpiFrame(CHIP_ERASE)])
        deadline, pace = Deadline(self._seconds), Pace(self._pause)
        while self._spi.transact([SpiFrame(READ_STATUS, 1)])[0][0] & WIP:
            if deadline.passed:
                raise PartError("expected the chip erase to end, but the part stays busy", "firmware")
            pace.rest()

    def _program(self, pages: list[SpiFrame]) -> None:
        # A page that met a busy part was ignored by it; the status read before each page tells which, and only those
        # are sent again: no page is programmed twice.
        left = pages
        deadline = Deadline(self._seconds)
        while left:
            refused = self._program_batch(left[:PAGES_PER_BATCH])
            if len(refused) < min(len(left), PAGES_PER_BATCH):
                deadline = Deadline(self._seconds)
            if deadline.passed:
                address = int.from_bytes(left[0].out[1:4], "big")
                raise PartError(f"expected page {address:#07x} to be programmed, but the part refuses it", "firmware")
            left = refused + left[PAGES_PER_BATCH:]

    def _program_batch(self, pages: list[SpiFrame]) -> list[SpiFrame]:
        wait = SpiFrame(READ_STATUS, self._poll)  # clocks pass while the part programs
        frames = [ENABLE, STATUS, wait, wait] * len(pages)
        frames[2::4] = pages
        before = self._spi.transact(frames)[1::4]
        busy = {status for status in set(before) if status[0] & (WIP | WEL) != WEL}
        refused = [page for page, status in zip(pages, before, strict=True) if status in busy] if busy else []
        if refused:
            self._poll = min(2 * self._poll, LONGEST_POLL)
        self._settle(Deadline(self._seconds))
        return refused

    def _settle(self, deadline: Deadline) -> None:
        pace = Pace(self._pause)
        while self._spi.transact([SpiFrame(READ_STATUS, 1)])[0][0] & WIP:
            if deadline.passed:
                raise PartError("expected the part to finish a page, but it stays busy", "firmware")
            pace.rest()


@lru_cache(maxsize=4)
def _pages(image: bytes) -> list[SpiFrame]:
    """The frames that program what is not blank: thousands, and the same for every part of a lot."""
    image = image.ljust(-(-len(image) // PAGE) * PAGE, b"\xff")
    pages = [(address, image[address : address + PAGE]) for address in range(0, len(image), PAGE)]
    return [SpiFrame(PAGE_PROGRAM + address.to_bytes(3, "big") + page) for address, page in pages if page != BLANK]
