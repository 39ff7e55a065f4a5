"""UICR of one core: configuration words, one-time programmable words, and the key slots of the KMU.

Rules (nordic-tfm sheet 2.2, 2.4, 2.5): bits go from 1 to 0 only and nothing but ERASEALL sets them again. In OTP each
halfword is written once, from 0xFFFF, by aligned words; the half that is not meant carries 0xFFFF. A key slot answers
only while it is selected, and only as its PERM word lets it. What breaks a rule is ignored and sets STATUS.BLOCKED.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from drivers.virtual.nrf.chip_file import ChipFile
from drivers.virtual.nrf.faults import Faults
from drivers.virtual.nrf.silicon import NVM_SIZE, WORD, CoreSilicon, Silicon
from drivers.virtual.nrf.words import KMU_CONFIG, KMU_KEY, names_of

UNREADABLE = 0xDEAD_DEAD
SLOTS = 128
PERM_WRITE, PERM_READ, PERM_PUSH, PERM_STATE = 1 << 0, 1 << 1, 1 << 2, 1 << 16


class PowerLostInWrite(Exception):
    """An armed power cut struck at this write."""


class Uicr:
    """One UICR with its KMU; only the application core has OTP and key slots."""

    def __init__(
        self, silicon: Silicon, core: CoreSilicon, file: ChipFile, faults: Faults, cut_power: Callable[[], None]
    ) -> None:
        self._silicon = silicon
        self._core = core
        self._file = file
        self._stored = file.uicr(core)
        self._faults = faults
        self._cut_power = cut_power
        self._has_keys = core is silicon.app
        otp = silicon.otp - core.uicr
        self._otp = range(otp, otp + 4 * silicon.otp_words) if self._has_keys else range(0)
        self.reset()

    def reset(self) -> None:
        """No slot is selected, nothing was blocked."""
        self.selected = 0  # the register: slot plus one
        self.blocked = False

    # ---- words ----------------------------------------------------------------------------------------------------

    def raw(self, offset: int) -> int:
        """A word as it is stored, whatever the KMU says."""
        return int.from_bytes(self._stored.content[offset : offset + 4], "little")

    def read(self, offset: int) -> int:
        """A word as a bus master sees it."""
        if self._has_keys and offset >= KMU_CONFIG and not self._readable(offset):
            return UNREADABLE
        return self.raw(offset)

    def write(self, offset: int, value: int, who: str) -> None:
        """Program a word; ``who`` is for the record. Raises ``PowerLostInWrite``."""
        if not self._has_keys or offset < self._otp.start:
            self._write_plain(offset, value, who)
        elif offset in self._otp:
            self._write_halves(offset, value, who)
        else:
            self._write_key_slot(offset, value, who)

    def refuse(self) -> None:
        """An access that is no aligned word: ignored, and the KMU says so."""
        self.blocked = True

    def erase(self) -> None:
        """ERASEALL: everything is 0xFF again."""
        self._stored.put(0, b"\xff" * NVM_SIZE)
        self.reset()

    def force(self, offset: int, value: int) -> None:
        """Set a word against all rules: what a part has been through elsewhere."""
        self._stored.put(offset, value.to_bytes(4, "little"))

    # ---- KMU ------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> int:
        """KMU.STATUS: bit 0 SELECTED, bit 1 BLOCKED."""
        return int(self.selected != 0) | int(self.blocked) << 1

    def select(self, value: int) -> None:
        """SELECTKEYSLOT: slot plus one, 0 for none; there are 128 slots."""
        self.selected = value if 0 <= value <= SLOTS else 0

    def permission(self, slot: int) -> int:
        """The PERM word of a slot."""
        return self.raw(KMU_CONFIG + 8 * slot + 4)

    def destination(self, slot: int) -> int:
        """The DEST word of a slot."""
        return self.raw(KMU_CONFIG + 8 * slot)

    def value(self, slot: int) -> bytes:
        """The 16 bytes of a slot, as only the push to its destination sees them."""
        return bytes(self._stored.content[KMU_KEY + 16 * slot : KMU_KEY + 16 * slot + 16])

    def revoked(self, slot: int) -> bool:
        """Whether the slot's STATE bit is burnt."""
        return not self.permission(slot) & PERM_STATE

    def _slot_of(self, offset: int) -> int:
        return (offset - KMU_CONFIG) // 8 if offset < KMU_KEY else (offset - KMU_KEY) // 16

    def _readable(self, offset: int) -> bool:
        slot = self._slot_of(offset)
        if self.selected != slot + 1 or self.revoked(slot):
            return False
        return offset < KMU_KEY or bool(self.permission(slot) & PERM_READ)

    def _write_key_slot(self, offset: int, value: int, who: str) -> None:
        slot = self._slot_of(offset)
        is_permission = offset < KMU_KEY and offset & 4
        if self.selected != slot + 1 or (not is_permission and not self.permission(slot) & PERM_WRITE):
            if self.selected == slot + 1:
                self._note_double_burn(offset, value, who)
            self.blocked = True
            return
        self._write_halves(offset, value, who)
        if is_permission and self.revoked(slot):
            self._stored.put(KMU_KEY + 16 * slot, bytes(16))

    # ---- programming ----------------------------------------------------------------------------------------------

    def _write_plain(self, offset: int, value: int, who: str) -> None:
        old = self.raw(offset)
        if old != WORD and (old & value == old or value & ~old & WORD):  # changes nothing, or wants ones back
            self._note_double_burn(offset, value, who)
        self._program(offset, old & value, value)

    def _write_halves(self, offset: int, value: int, who: str) -> None:
        old = self.raw(offset)
        for shift in (0, 16):
            if value >> shift & 0xFFFF != 0xFFFF and old >> shift & 0xFFFF != 0xFFFF:
                self._note_double_burn(offset, value, who)
                self.blocked = True
                return
        if value != WORD:
            self._program(offset, old & value, value)

    def _program(self, offset: int, new: int, value: int) -> None:
        names = names_of(self._silicon, self._core, self._core.uicr + offset, value)
        struck = self._faults.next_write(names)
        if struck == "power_cut:before":
            self._lose_power()
        self._file.count_uicr_write()
        if struck in ("power_cut:inside", "torn_word"):
            new = _torn(self.raw(offset), new, offset)
        self._stored.put(offset, new.to_bytes(4, "little"))
        if struck.startswith("power_cut"):
            self._lose_power()

    def _lose_power(self) -> None:
        self._cut_power()
        raise PowerLostInWrite

    def _note_double_burn(self, offset: int, value: int, who: str) -> None:
        address = self._core.uicr + offset
        word = names_of(self._silicon, self._core, address, value)[0]
        self._file.add_double_burn(word, self.raw(offset), value, who)


def _torn(old: int, new: int, offset: int) -> int:
    """Some of the bits that were to become 0 did, neither none nor all of them where there are two or more."""
    falling = [bit for bit in range(32) if old & ~new & 1 << bit]
    order = sorted(falling, key=lambda bit: hashlib.sha256(bytes((bit, offset & 0xFF, offset >> 8))).digest())
    done = sum(1 << bit for bit in order[: len(order) // 2])
    return old & ~done
