"""What a part shows of its provisioning: life cycle words, implementation id, permission words of the key slots.

Structure only: no key value is ever read (nordic-tfm sheet 2.6). The slots are selected for reading, which would go
into the way of a program that writes keys: the core is halted before, and the selection is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from station.formats import bl_storage, kmu
from station.formats.bl_storage import IMPLEMENTATION_ID_BYTES, LifeCycle
from station.formats.kmu import KeySlots, Slot
from station.formats.nordic_family import KMU_SELECT, NordicFamily
from station.formats.provisioning_console import PartNow, Transcript
from station.model import CONTRADICTS, DONE, HALF_DONE, NOT_DONE, Answer
from station.ports import Probe

HALF, DUMMY, NETWORK = "half_provisioned", "dummy_key", "network_core"
BLANK_ID = b"\xff" * IMPLEMENTATION_ID_BYTES
ONLY_RECOVERY = "only a recovery helps, which destroys the identity"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Read from one part at one moment; ``net_approtect`` is the network core's word, None where it cannot be read."""

    words: tuple[int, int]
    implementation_id: bytes
    slots: Mapping[int, Slot]
    keys: KeySlots
    net_approtect: int | None = None

    @property
    def life_cycle(self) -> LifeCycle:
        """The state that the two words stand for."""
        return bl_storage.life_cycle(*self.words)

    @property
    def is_untouched(self) -> bool:
        """ASSEMBLY, no key, no implementation id: nothing of the provisioning image has ever been written."""
        blank = self.keys.are_blank and self.implementation_id == BLANK_ID
        return self.life_cycle is LifeCycle.ASSEMBLY and blank

    def is_complete(self, implementation_id: bytes) -> bool:
        """PROVISIONING or later, with every key slot and this implementation id."""
        late = self.life_cycle in (LifeCycle.PROVISIONING, LifeCycle.SECURED)
        return late and self.keys.are_complete and self.implementation_id == implementation_id

    @property
    def sentence(self) -> str:
        """What the part is now, in words."""
        low, high = self.words
        identity = "not written" if self.implementation_id == BLANK_ID else self.implementation_id.hex()
        return (
            f"its life cycle is {self.life_cycle} ({low:#010x} {high:#010x}), {self.keys.sentence}, its implementation "
            f"id is {identity}"
        )

    def record(self) -> dict[str, object]:
        """Plain values for the journal."""
        return {
            "life_cycle": str(self.life_cycle), "lcs_words": [f"{word:#010x}" for word in self.words],
            "implementation_id": self.implementation_id.hex(),
            "key_slots": {str(number): slot.words for number, slot in sorted(self.slots.items())},
            "net_approtect": "" if self.net_approtect is None else f"{self.net_approtect:#010x}",
        }  # fmt: skip


def read(probe: Probe, family: NordicFamily) -> Evidence:
    """Halt the application core and read; needs an open port, raises ``PartError`` without one."""
    probe.halt("app")
    words = probe.read_words("app", family.storage, bl_storage.BOOT_DATA_OFFSET // 4)
    identity = b"".join(word.to_bytes(4, "little") for word in words[bl_storage.IMPLEMENTATION_ID_OFFSET // 4 :])
    slots = _slots(probe, family)
    return Evidence((words[0], words[1]), identity, slots, kmu.judge(family, slots))


def _slots(probe: Probe, family: NordicFamily) -> dict[int, Slot]:
    select = family.app.nvmc + KMU_SELECT
    found = {}
    try:
        for number in kmu.slots_of(family):
            probe.write_words("app", select, [number + 1])
            found[number] = Slot(*probe.read_words("app", kmu.config_address(number), 2))
    finally:
        probe.write_words("app", select, [0])
    return found


def answer(seen: Evidence, implementation_id: bytes, said: Transcript | None) -> Answer:
    """Whether the provisioning image has done its work; ``said``: its console, where it ran in this run."""
    if seen.is_untouched:
        return NOT_DONE
    if seen.life_cycle is LifeCycle.DECOMMISSIONED:
        return CONTRADICTS(seen.sentence)
    spoilt = said.outcome if said is not None and said.outcome is not None else None
    if seen.is_complete(implementation_id):
        if spoilt is None or spoilt.now is PartNow.CLEAN:
            return DONE
        return HALF_DONE(f"{spoilt.cause}; {ONLY_RECOVERY}", spoilt.bin)
    if seen.keys.are_complete and seen.life_cycle is not LifeCycle.ILLEGAL and _is_another(seen, implementation_id):
        return CONTRADICTS(f"it holds another implementation id than {implementation_id.hex()}: {seen.sentence}")
    cause = f"{spoilt.cause}: " if spoilt is not None else ""
    return HALF_DONE(f"{cause}{seen.sentence}; {ONLY_RECOVERY}", DUMMY if spoilt and spoilt.bin == DUMMY else HALF)


def _is_another(seen: Evidence, implementation_id: bytes) -> bool:
    """Whole words of another id; one that was torn or left off has erased words, or bits that no id has."""
    words = [seen.implementation_id[at : at + 4] for at in range(0, IMPLEMENTATION_ID_BYTES, 4)]
    wanted = [implementation_id[at : at + 4] for at in range(0, IMPLEMENTATION_ID_BYTES, 4)]
    blank = b"\xff" * 4
    return all(word != blank for word in words) and sum(a != b for a, b in zip(words, wanted, strict=True)) > 1
