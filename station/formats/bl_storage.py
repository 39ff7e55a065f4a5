"""The bootloader storage in UICR.OTP: life cycle, implementation id, public key hashes, counters, variable data.

All words 32 bits little-endian, all addresses relative to the family's ``storage``. Sources: nordic-tfm sheet 2.3, 2.4;
sdk-nrf:include/bl_storage.h, sdk-nrf:scripts/bootloader/provision.py. OTP is written by halfwords, each once, from
0xFFFF; the erasure of the whole part takes it all back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from station.errors import FormatError

BYTES = 0x280
LCS_OFFSET, LCS_BYTES = 0x00, 8
IMPLEMENTATION_ID_OFFSET, IMPLEMENTATION_ID_BYTES = 0x08, 32
BOOT_DATA_OFFSET = 0x28
"""From here on ``provision.hex`` writes; what lies before, the provisioning image and TF-M write."""
KEYS_OFFSET = 0x34
HASH_BYTES, KEY_BYTES, MOST_KEYS = 16, 20, 16
KEY_VALID, KEY_INVALID = 0x50FA_FFFF, 0x50FA_0000
KEY_INDEX_SHIFT = 24
COUNTERS, VARIABLE_DATA = 0x0001, 0x9312
COUNTER_NAMES: Mapping[int, str] = {1: "NSIB", 2: "MCUboot"}
CERTIFICATE_REFERENCE = re.compile(rb"[0-9]{13}-[0-9]{5}")
"""EAN-13, a dash, five digits; the check digit is not looked at."""
CERTIFICATE_REFERENCE_TYPES = (1, 2)
"""1 in today's bl_storage.h, 2 in an older one, whose 1 was the verification service's URL."""
NOT_ENTERED, ENTERED = 0xFFFF, 0x0000
ERASED = 0xFFFF_FFFF


class LifeCycle(StrEnum):
    """PSA life cycle as bl_storage holds it; ``ILLEGAL`` is every other pattern (the firmware's read error -114)."""

    ASSEMBLY = "ASSEMBLY"
    PROVISIONING = "PROVISIONING"
    SECURED = "SECURED"
    DECOMMISSIONED = "DECOMMISSIONED"
    ILLEGAL = "illegal"


_STATES: Mapping[tuple[int, int], LifeCycle] = {
    (0xFFFF_FFFF, 0xFFFF_FFFF): LifeCycle.ASSEMBLY,
    (0xFFFF_0000, 0xFFFF_FFFF): LifeCycle.PROVISIONING,
    (0x0000_0000, 0xFFFF_FFFF): LifeCycle.SECURED,
    (0x0000_0000, 0x0000_FFFF): LifeCycle.DECOMMISSIONED,
}


def life_cycle(low: int, high: int) -> LifeCycle:
    """The state of the two words at base and base + 4: halfwords provisioning, secured, reserved, decommissioned."""
    return _STATES.get((low, high), LifeCycle.ILLEGAL)


def life_cycle_words(state: LifeCycle) -> tuple[int, int]:
    """The two words of a state; there are none for ``ILLEGAL``."""
    for words, known in _STATES.items():
        if known is state:
            return words
    raise FormatError("expected a legal life cycle state, an illegal one has no words of its own")


@dataclass(frozen=True, slots=True)
class PublicKeyHash:
    """One image signing key: SHA-256 of X and Y, cut to 16 bytes; ``valid`` until a bootloader revokes it."""

    index: int
    valid: bool
    hash: bytes


@dataclass(frozen=True, slots=True)
class Counter:
    """One monotonic counter: which (1 NSIB, 2 MCUboot), how many slots it has, how far it was counted."""

    description: int
    slots: int
    value: int


@dataclass(frozen=True, slots=True)
class BootData:
    """What ``provision.hex`` puts behind the implementation id."""

    s0_address: int
    s1_address: int
    keys: tuple[PublicKeyHash, ...]
    counters: tuple[Counter, ...]
    variable: tuple[tuple[int, bytes], ...]

    @property
    def certificate_reference(self) -> str:
        """EAN-13, a dash, five digits; empty when there is none. Both numberings of the item type are understood."""
        for kind, data in self.variable:
            if kind in CERTIFICATE_REFERENCE_TYPES and CERTIFICATE_REFERENCE.fullmatch(data):
                return data.decode("ascii")
        return ""


@dataclass(frozen=True, slots=True)
class Storage:
    """All of it; ``implementation_id`` is 32 bytes (all 0xFF: not written), ``boot_data`` None when not written."""

    life_cycle: LifeCycle
    implementation_id: bytes
    boot_data: BootData | None

    @property
    def has_implementation_id(self) -> bool:
        """Whether any bit of it was written."""
        return self.implementation_id != b"\xff" * IMPLEMENTATION_ID_BYTES


def parse(words: Sequence[int]) -> Storage:
    """Read the storage from its words (``BYTES`` / 4 of them); damage behind the ids raises ``FormatError``."""
    if len(words) != BYTES // 4:
        raise FormatError(f"expected {BYTES // 4} words of bootloader storage, saw {len(words)}")
    raw = b"".join(word.to_bytes(4, "little") for word in words)
    identity = raw[IMPLEMENTATION_ID_OFFSET:BOOT_DATA_OFFSET]
    blank = all(word == ERASED for word in words[BOOT_DATA_OFFSET // 4 : KEYS_OFFSET // 4])
    return Storage(life_cycle(words[0], words[1]), identity, None if blank else _boot_data(raw))


def _boot_data(raw: bytes) -> BootData:
    s0, s1, count = (_u32(raw, BOOT_DATA_OFFSET + 4 * index) for index in range(3))
    if count > MOST_KEYS:
        raise FormatError(f"expected at most {MOST_KEYS} public key hashes in the bootloader storage, saw {count:#x}")
    keys = tuple(_key(raw, index) for index in range(count))
    position = KEYS_OFFSET + KEY_BYTES * count
    counters, position = _counters(raw, position)
    return BootData(s0, s1, keys, counters, _variable(raw, position))


def _key(raw: bytes, index: int) -> PublicKeyHash:
    at = KEYS_OFFSET + KEY_BYTES * index
    token, digest = _u32(raw, at), raw[at + 4 : at + KEY_BYTES]
    valid = token == KEY_VALID | index << KEY_INDEX_SHIFT
    if not valid and token != KEY_INVALID | index << KEY_INDEX_SHIFT:
        raise FormatError(f"expected the valid or the invalid mark of public key {index}, saw {token:#010x}")
    if b"\xff\xff" in (digest[part : part + 2] for part in range(0, HASH_BYTES, 2)):
        raise FormatError(f"expected a hash without a halfword 0xFFFF as public key {index}: the bootloader refuses it")
    return PublicKeyHash(index, valid, digest)


def _counters(raw: bytes, position: int) -> tuple[tuple[Counter, ...], int]:
    """The counter collection, if one begins here, and where the next collection begins."""
    if _u16(raw, position) != COUNTERS:
        return (), position
    count = _u16(raw, position + 2)
    position += 4
    found = []
    for _ in range(count):
        description, slots = _u16(raw, position), _u16(raw, position + 2)
        position += 4
        values = [_u16(raw, position + 2 * slot) for slot in range(slots)]
        position += 2 * slots
        found.append(Counter(description, slots, max((0xFFFF ^ stored for stored in values), default=0)))
    return tuple(found), position


def _variable(raw: bytes, position: int) -> tuple[tuple[int, bytes], ...]:
    """Items of type and length (8 bits each) and their bytes; empty when no such collection begins here."""
    if position + 4 > len(raw) or _u16(raw, position) != VARIABLE_DATA:
        return ()
    count = _u16(raw, position + 2)
    position += 4
    found = []
    for _ in range(count):
        length = _u16(raw, position) >> 8
        found.append((raw[position], raw[position + 2 : position + 2 + length]))
        position += 2 + length
        if position > len(raw):
            raise _past_end()
    return tuple(found)


def _u16(raw: bytes, position: int) -> int:
    if position + 2 > len(raw):
        raise _past_end()
    return int.from_bytes(raw[position : position + 2], "little")


def _u32(raw: bytes, position: int) -> int:
    if position + 4 > len(raw):
        raise _past_end()
    return int.from_bytes(raw[position : position + 4], "little")


def _past_end() -> FormatError:
    return FormatError(f"expected the bootloader storage to end within {BYTES:#x} bytes, but its counts lead past it")
