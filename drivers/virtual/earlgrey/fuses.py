"""The fuse macro: 1024 words of 16 data and 6 check bits that can only go from 0 to 1, one word per write.

Source: opentitan-device sheet 4.1 (depth, ECC, write once), 4.2 (error codes).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from drivers.virtual.earlgrey.chip_file import ChipFile
from drivers.virtual.earlgrey.ecc import decode, encode
from drivers.virtual.earlgrey.faults import Faults

LIFE_CYCLE_FIRST = 0x7A8 // 2


class Burn(Enum):
    """How one word programming ended."""

    DONE = "done"
    WRITE_BLANK = "write_blank"  # would have to clear bits: nothing was programmed
    POWER_LOST = "power_lost"


class FuseMacro:
    """Programs and reads words; the power-cut faults strike here."""

    def __init__(self, file: ChipFile, faults: Faults, cut_power: Callable[[], None]) -> None:
        self._file = file
        self._faults = faults
        self._cut_power = cut_power
        self.powered = False

    def raw(self, index: int) -> int:
        """The 22 bits of a word."""
        return self._file.words[index]

    def read(self, index: int) -> int | None:
        """The 16 data bits after single-bit correction; None when the word is torn beyond correction."""
        return decode(self._file.words[index])

    def program(self, index: int, data: int, who: str) -> Burn:
        """Program 16 data bits with their check bits; who asked is kept when the word was not blank."""
        return self.program_raw(index, encode(data), who)

    def program_raw(self, index: int, word: int, who: str) -> Burn:
        """Program 22 bits as one numbered fuse write."""
        if not self.powered:
            return Burn.POWER_LOST
        struck = self._faults.next_write()
        if struck == "power_cut:before":
            return self._lose_power()
        old = self._file.words[index]
        self._file.count_fuse_write()
        if old and (index < LIFE_CYCLE_FIRST or old & ~word):
            self._file.add_double_burn(2 * index, old, word, who)
        if old & ~word:
            return Burn.WRITE_BLANK
        torn = struck in ("power_cut:inside", "torn_word")
        self._file.set_word(index, old | (tear(old, word) if torn else word))
        return self._lose_power() if struck.startswith("power_cut") else Burn.DONE

    def force(self, index: int, data: int) -> None:
        """Set a word as if the part had come like this (fault ``wrong_state``); not a fuse write."""
        self._file.set_word(index, encode(data))

    def _lose_power(self) -> Burn:
        self._cut_power()
        return Burn.POWER_LOST


def tear(old: int, word: int) -> int:
    """Some, not all, of the new bits: the first subset that can no longer be corrected, else half of them."""
    new = [1 << n for n in range(22) if (word & ~old) >> n & 1]
    for kept in range(len(new) // 2, 0, -1):
        for start in range(len(new)):
            value = old | sum((new * 2)[start : start + kept])
            if decode(value) is None:
                return value
    return old | sum(new[: len(new) // 2])
