"""Flash of the chip: two data banks, ten info pages per bank, and the part of its controller that reads info pages.

Source: opentitan-device sheet 4.4 (page contents), 6 (bootstrap effects); hw/ip/flash_ctrl/doc/registers.md.
"""

from __future__ import annotations

import hashlib
from collections import deque

from drivers.virtual.earlgrey.chip_file import DATA_SIZE, INFO_PAGE, INFO_PAGES, ChipFile

BLANK_PAGE = b"\xff" * INFO_PAGE
LOT_NAME, WAFER_NUMBER, WAFER_X, WAFER_Y, PROCESS_DATA, AST_CALIBRATION = 80, 88, 96, 104, 112, 128
AST_CFG_VERSION, CP_DEVICE_ID = 304, 384

PROBE_PAGE = (0, 0)
CREATOR_SEED_PAGE, OWNER_SEED_PAGE, WAS_PAGE, ATTESTATION_PAGE = (0, 1), (0, 2), (0, 3), (0, 4)
FACTORY_CERTS_PAGE, DICE_CERTS_PAGE, EXTENSION_CERTS_PAGE = (0, 9), (1, 9), (1, 7)
OWNER_SLOT_PAGE = (1, 2)
BOOT_DATA_PAGES = ((1, 0), (1, 1))


class Flash:
    """The flash array; all methods are called under the chip's lock."""

    def __init__(self, file: ChipFile) -> None:
        self._file = file
        self._keyed = False
        if file.fresh:
            self._probe_page_of_new_die()

    def reset(self, keyed: bool) -> None:
        """After reset the data banks are read with the keys (``keyed``) or without them."""
        self._keyed = keyed

    @property
    def data_readable(self) -> bool:
        """Whether the data banks were written with the keys in use now."""
        return self._keyed == self._file.flash_keyed

    def read_data(self, offset: int, size: int) -> bytes:
        """Contents of the data banks; noise when they were written with other keys."""
        content = bytes(self._file.data[offset : offset + size])
        return content if self.data_readable else hashlib.shake_128(content[:64]).digest(len(content))

    def erase_data(self) -> None:
        """Erase both banks; what is written next uses the keys in use now."""
        self._file.set_flash_keyed(self._keyed)
        self._file.set_data(0, b"\xff" * DATA_SIZE)

    def program_data(self, offset: int, content: bytes) -> None:
        """Program bytes: bits go from 1 to 0 only."""
        old = int.from_bytes(self._file.data[offset : offset + len(content)], "little")
        new = old & int.from_bytes(content, "little")
        self._file.set_data(offset, new.to_bytes(len(content), "little"))

    def read_info(self, page: tuple[int, int]) -> bytes:
        """The 2048 bytes of an info page (bank, page)."""
        start = _info_offset(page)
        return bytes(self._file.info[start : start + INFO_PAGE])

    def erase_info(self, page: tuple[int, int]) -> None:
        """Erase one info page."""
        self._file.set_info(_info_offset(page), BLANK_PAGE)

    def program_info(self, page: tuple[int, int], offset: int, content: bytes) -> None:
        """Program bytes of an info page: bits go from 1 to 0 only."""
        old = self.read_info(page)[offset : offset + len(content)]
        self._file.set_info(_info_offset(page) + offset, bytes(a & b for a, b in zip(old, content, strict=True)))

    def wipe(self) -> None:
        """What a transition to RMA does: data banks, secret seeds and the wafer secret are gone."""
        self.erase_data()
        for page in (CREATOR_SEED_PAGE, OWNER_SEED_PAGE, WAS_PAGE):
            self.erase_info(page)

    def _probe_page_of_new_die(self) -> None:
        found = self._file.identity
        lot_name = _bcd(found.year) << 24 | _bcd(found.week) << 16 | _bcd(found.lot)
        words = {LOT_NAME: lot_name, WAFER_NUMBER: _bcd(found.wafer), WAFER_X: _bcd(found.x), WAFER_Y: _bcd(found.y)}
        words |= {PROCESS_DATA: 0, AST_CFG_VERSION: found.ast_version}
        for offset, word in words.items():
            self.program_info(PROBE_PAGE, offset, word.to_bytes(4, "little"))
        calibration = hashlib.shake_128(b"AST calibration" + self._file.seed).digest(156)
        self.program_info(PROBE_PAGE, AST_CALIBRATION, calibration)


class FlashController:
    """Registers on the system bus: enough to read info pages (INIT, CONTROL, ADDR, page configuration, read FIFO)."""

    _PAGE_CONFIG = (0xBC, 0x124)
    _READ_INFO = 0x101
    _ENABLED = 0x66  # EN and RD_EN as MuBi4 true in the two lowest nibbles

    def __init__(self, flash: Flash) -> None:
        self._flash = flash
        self.reset()

    def reset(self) -> None:
        """All pages closed, FIFO empty."""
        self._registers: dict[int, int] = {}
        self._fifo: deque[int] = deque()
        self._result = 0

    def read(self, offset: int) -> int:
        """Read a 32-bit register."""
        if offset == 0x170:
            return self._result
        if offset == 0x174:
            return (1 << 5 if self._registers.get(0x18) else 0) | (0 if self._fifo else 1 << 1)
        if offset == 0x1B4:
            return self._fifo.popleft() if self._fifo else 0
        return self._registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register; CONTROL starts a read."""
        if offset == 0x170:
            self._result &= value
            return
        self._registers[offset] = value
        if offset == 0x20 and value & 1:
            self._result = self._start(value)

    def _start(self, control: int) -> int:
        bank, rest = divmod(self._registers.get(0x24, 0), DATA_SIZE // 2)
        number, offset = divmod(rest, INFO_PAGE)
        count = (control >> 16 & 0xFFF) + 1
        if control & 0xFFFF != self._READ_INFO or not self._registers.get(0x18) or number >= INFO_PAGES or bank > 1:
            return 0b11
        if self._registers.get(self._PAGE_CONFIG[bank] + 4 * number, 0) & 0xFF != self._ENABLED:
            return 0b11
        content = self._flash.read_info((bank, number))[offset : offset + 4 * count]
        self._fifo.extend(int.from_bytes(content[n : n + 4], "little") for n in range(0, len(content), 4))
        return 0b01


def _info_offset(page: tuple[int, int]) -> int:
    return (page[0] * INFO_PAGES + page[1]) * INFO_PAGE


def _bcd(number: int) -> int:
    return int(str(number), 16)
