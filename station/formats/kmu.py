"""The key management unit of the nRF53 and nRF91: slots as a debugger may see them, never a key.

A slot is two words in UICR, DEST and PERM, read while the slot is selected, and a value that nobody reads here.
Sources: nordic-tfm sheet 2.5, 2.6; nrfxlib:crypto/nrf_cc310_platform/include/nrf_cc3xx_platform_kmu.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from station.formats.nordic_family import ERASED, KMU_CONFIG, PERM_HUK, PERM_IDENTITY, NordicFamily

WRITE, READ, PUSH, ACTIVE = 1 << 0, 1 << 1, 1 << 2, 1 << 16


@dataclass(frozen=True, slots=True)
class Slot:
    """DEST (address that the key is pushed to) and PERM of one slot, 32 bits each; erased bits read as 1."""

    dest: int
    perm: int

    @property
    def is_blank(self) -> bool:
        """Nothing was written."""
        return self.dest == ERASED and self.perm == ERASED

    @property
    def is_revoked(self) -> bool:
        """The key was thrown away for good."""
        return not self.perm & ACTIVE

    @property
    def words(self) -> str:
        """For the record: what the slot allows."""
        allowed = [name for name, bit in (("write", WRITE), ("read", READ), ("push", PUSH)) if self.perm & bit]
        state = f"allows {' and '.join(allowed) or 'nothing'}"
        if self.is_blank or self.is_revoked:
            state = "blank" if self.is_blank else "revoked"
        return f"DEST {self.dest:#010x} PERM {self.perm:#010x} ({state})"


def config_address(slot: int) -> int:
    """Where DEST of a slot lies; PERM is the next word."""
    return KMU_CONFIG + 8 * slot


@dataclass(frozen=True, slots=True)
class KeySlots:
    """The slots that provisioning fills, as one part shows them.

    ``huk``: MKEK and MEXT; ``identity``: the encrypted identity key. ``wrong``: slots that hold what this image never
    writes, in words.
    """

    huk_written: int
    huk_wanted: int
    identity_written: int
    identity_wanted: int
    wrong: tuple[str, ...]

    @property
    def are_blank(self) -> bool:
        """No slot was touched."""
        return not (self.huk_written or self.identity_written or self.wrong)

    @property
    def are_complete(self) -> bool:
        """Every slot is as the image leaves it."""
        full = (self.huk_written, self.identity_written) == (self.huk_wanted, self.identity_wanted)
        return full and not self.wrong

    @property
    def sentence(self) -> str:
        """What there is, in words."""
        if self.wrong:
            return f"KMU {'; '.join(self.wrong)}"
        if self.are_blank:
            return "no key is in the KMU"
        huk = f"{self.huk_written} of {self.huk_wanted} slots of the hardware unique keys"
        return f"{huk} and {self.identity_written} of {self.identity_wanted} of the identity key are written"


def slots_of(family: NordicFamily) -> tuple[int, ...]:
    """Numbers of the slots to look at."""
    return (*family.huk_slots, *family.identity_slots)


def judge(family: NordicFamily, seen: Mapping[int, Slot]) -> KeySlots:
    """Compare the slots of a part with what the provisioning image writes in this family."""
    wrong = []
    written = {number: not slot.is_blank for number, slot in seen.items()}
    for number, slot in sorted(seen.items()):
        if slot.is_blank or _is_as_written(family, number, slot):
            continue
        wrong.append(f"slot {number} holds {slot.words}")
    return KeySlots(
        sum(written[number] for number in family.huk_slots), len(family.huk_slots),
        sum(written[number] for number in family.identity_slots), len(family.identity_slots), tuple(wrong),
    )  # fmt: skip


def _is_as_written(family: NordicFamily, number: int, slot: Slot) -> bool:
    """DEST of the identity key is not said anywhere: only that it was written is not asked."""
    if number in family.identity_slots:
        return slot.perm == PERM_IDENTITY
    return slot == Slot(family.huk_slots[number], PERM_HUK)
