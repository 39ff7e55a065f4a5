"""What a part has been through elsewhere: faults that change its words for good, and its protection at once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from drivers.virtual.nrf.firmware.keys import PERM_HUK, PERM_IDENTITY
from drivers.virtual.nrf.silicon import PROTECTED
from drivers.virtual.nrf.storage import WORDS, Lcs
from drivers.virtual.nrf.uicr import PERM_STATE
from drivers.virtual.nrf.words import IMPLEMENTATION_ID, KMU_CONFIG, KMU_KEY

if TYPE_CHECKING:
    from drivers.virtual.nrf.chip import NordicChip
    from drivers.virtual.nrf.core import Core

ILLEGAL_LCS = (0xFFFF_5A00, 0xFFFF_FFFF)


def give(chip: NordicChip, name: str, argument: str) -> None:
    """Carry out one fault of ``faults.FOR_GOOD``."""
    if name == "wrong_state":
        _state(chip, argument)
    elif name == "half_provisioned":
        _state(chip, "PROVISIONING")
        _keys(chip, huk=argument in ("huk", "identity"), identity=argument == "identity")
    elif name == "revoked":
        _revoke(chip, int(argument))
    elif name == "uicr_erased":
        for core in chip.cores.values():
            core.uicr.erase()
    elif name == "identity:already_written":
        _keys(chip, huk=False, identity=True)
    elif name == "already_secured":
        _state(chip, "SECURED")
        _keys(chip, huk=True, identity=True)
        _implementation_id(chip)
        _lock(_meant(chip, ""), secure_only=False)
    elif name in ("locked", "secure_locked"):
        secure_only = name == "secure_locked"
        _lock([chip.app] if secure_only else _meant(chip, argument), secure_only)
    elif name == "erase_protected":
        for core in _meant(chip, argument):
            core.uicr.force(core.silicon.eraseprotect - core.silicon.uicr, PROTECTED)


def _state(chip: NordicChip, name: str) -> None:
    words = ILLEGAL_LCS if name == "INVALID" else WORDS[Lcs[name]]
    base = chip.silicon.storage - chip.silicon.app.uicr
    for n, word in enumerate(words):
        chip.app.uicr.force(base + 4 * n, word)


def _keys(chip: NordicChip, huk: bool, identity: bool) -> None:
    slots = [(slot, PERM_HUK) for slot in chip.silicon.huk_slots if huk]
    slots += [(slot, PERM_IDENTITY) for slot in chip.silicon.identity_slots if identity]
    uicr = chip.app.uicr
    for slot, permission in slots:
        noise = hashlib.shake_128(chip.file.seed + bytes([slot])).digest(16)
        for n in range(4):
            uicr.force(KMU_KEY + 16 * slot + 4 * n, int.from_bytes(noise[4 * n : 4 * n + 4], "little"))
        uicr.force(KMU_CONFIG + 8 * slot + 4, permission)


def _revoke(chip: NordicChip, slot: int) -> None:
    uicr = chip.app.uicr
    uicr.force(KMU_CONFIG + 8 * slot + 4, uicr.permission(slot) & ~PERM_STATE)
    for n in range(4):
        uicr.force(KMU_KEY + 16 * slot + 4 * n, 0)


def _implementation_id(chip: NordicChip) -> None:
    base = chip.silicon.storage - chip.silicon.app.uicr + IMPLEMENTATION_ID
    content = hashlib.sha256(b"implementation id of another station").digest()
    for n in range(8):
        chip.app.uicr.force(base + 4 * n, int.from_bytes(content[4 * n : 4 * n + 4], "little"))


def _meant(chip: NordicChip, argument: str) -> list[Core]:
    """The core that the argument names, all of them without one."""
    return [chip.cores[argument]] if argument else list(chip.cores.values())


def _lock(cores: list[Core], secure_only: bool) -> None:
    for core in cores:
        places = [core.silicon.secure_approtect] if secure_only else [core.silicon.approtect]
        if not secure_only and core.silicon.secure_approtect:
            places.append(core.silicon.secure_approtect)
        for place in filter(None, places):
            core.uicr.force(place - core.silicon.uicr, PROTECTED)
        if secure_only:
            core.protection.close_secure()
        else:
            core.protection.close()
