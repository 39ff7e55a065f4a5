"""Flash info page (0, 0): what wafer probing left there, and the id that the CP program makes of it.

Source: opentitan-device sheet 4.4 (offsets), 4.5 (how the CP program makes the device number of lot, wafer, x and y).
"""

from __future__ import annotations

from collections.abc import Callable

from station.errors import FormatError, PartError
from station.formats.device_id import Din
from station.parts.earlgrey.flash_info import FIFO_DEPTH, read_info_words
from station.ports import Jtag

BANK, PAGE = 0, 0
LOT_NAME, WAFER_NUMBER, WAFER_X, WAFER_Y = 80, 88, 96, 104
CALIBRATION, DEVICE_ID = 128, 384
DEVICE_ID_WORDS = 4
BLANK = 0xFFFF_FFFF


class ProbePage:
    """Reads the page of a halted part in a state with debug."""

    def __init__(self, jtag: Jtag, pause: Callable[[float], None]) -> None:
        self._jtag = jtag
        self._pause = pause

    def device_id(self) -> bytes:
        """Hardware origin (16 bytes, little-endian words) that the CP program left; blank raises ``PartError``."""
        raw = b"".join(word.to_bytes(4, "little") for word in self._words(DEVICE_ID, DEVICE_ID_WORDS))
        if raw in (bytes(16), b"\xff" * 16):
            raise PartError("expected the CP device id in flash info page 0, but it is blank", "wrong_part")
        return raw

    def place(self) -> Din | None:
        """Where wafer probing says this die lay, before any firmware has run; None when probing left nothing."""
        words = self._words(LOT_NAME, (WAFER_Y - LOT_NAME) // 4 + 1)
        lot, wafer, x, y = (words[(at - LOT_NAME) // 4] for at in (LOT_NAME, WAFER_NUMBER, WAFER_X, WAFER_Y))
        if BLANK in (lot, wafer, x, y):
            return None
        number = lot >> 24 & 0xF | (lot >> 16 & 0xFF) << 4 | (lot & 0xFFF) << 12 | (wafer & 0xFF) << 24
        number |= (x & 0xFFF) << 32 | (y & 0xFFF) << 44
        try:
            return Din.parse(number)
        except FormatError as error:
            raise PartError(f"flash info page 0 names no place on a wafer: {error}", "wrong_part") from error

    def calibration(self, count: int) -> list[int]:
        """So many words of the analog calibration."""
        return self._words(CALIBRATION, count)

    def _words(self, offset: int, count: int) -> list[int]:
        words: list[int] = []
        while len(words) < count:
            step = min(FIFO_DEPTH, count - len(words))
            words += read_info_words(self._jtag, self._pause, BANK, PAGE, offset + 4 * len(words), step)
        return words
