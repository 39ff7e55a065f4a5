"""Read words of a flash info page through the flash controller, over the system bus.

Source: hw/ip/flash_ctrl/doc/registers.md (CONTROL, ADDR, OP_STATUS, rd_fifo, BANKn_INFO0_PAGE_CFG); page contents:
opentitan-device sheet 4.4. Used for page (0, 0), which has neither ECC nor scrambling.
"""

from __future__ import annotations

from collections.abc import Callable

from station.errors import PartError
from station.ports import Jtag

BASE = 0x4100_0000
INIT, CONTROL, ADDR = BASE + 0x18, BASE + 0x20, BASE + 0x24
BANK_INFO0_PAGE_CFG = (BASE + 0xBC, BASE + 0x124)
OP_STATUS, STATUS, RD_FIFO = BASE + 0x170, BASE + 0x174, BASE + 0x1B4
READ_ONLY_PLAIN = 0x0999_9966  # EN and RD_EN true (MuBi4 6), program, erase, scramble, ECC, high endurance false (9)
START_READ_INFO = 0x0000_0101
DONE, ERROR = 1, 2
INITIALIZED = 1 << 5
BANK_SIZE, PAGE_SIZE, FIFO_DEPTH = 0x8_0000, 2048, 16


def read_info_words(
    jtag: Jtag, pause: Callable[[float], None], bank: int, page: int, offset: int, count: int
) -> list[int]:
    """Read ``count`` (1..16) 32-bit words at byte ``offset`` of an info page (type 0); raises ``PartError``."""
    if not 1 <= count <= FIFO_DEPTH:
        raise ValueError(f"expected 1..{FIFO_DEPTH} words, the depth of the read FIFO, got {count}")
    _initialize(jtag, pause)
    jtag.write_words(BANK_INFO0_PAGE_CFG[bank] + 4 * page, [READ_ONLY_PLAIN])
    jtag.write_words(ADDR, [bank * BANK_SIZE + page * PAGE_SIZE + offset])
    jtag.write_words(CONTROL, [(count - 1) << 16 | START_READ_INFO])
    _wait_done(jtag, pause, bank, page)
    return [jtag.read_words(RD_FIFO, 1)[0] for _ in range(count)]


def _initialize(jtag: Jtag, pause: Callable[[float], None]) -> None:
    jtag.write_words(INIT, [1])
    for _ in range(100):
        if jtag.read_words(STATUS, 1)[0] & INITIALIZED:
            return
        pause(0.001)
    raise PartError("expected the flash controller to initialise, but it did not", "communication")


def _wait_done(jtag: Jtag, pause: Callable[[float], None], bank: int, page: int) -> None:
    for _ in range(100):
        status = jtag.read_words(OP_STATUS, 1)[0]
        if status & ERROR:
            break
        if status & DONE:
            jtag.write_words(OP_STATUS, [0])
            return
        pause(0.001)
    raise PartError(f"expected to read flash info page ({bank}, {page}), but the controller refused", "communication")
