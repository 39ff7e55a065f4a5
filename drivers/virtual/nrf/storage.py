"""bl_storage and the key slots as firmware sees them: life cycle words, implementation id, certificate reference.

Sources: nordic-tfm sheet 2.3 (layout at the base in UICR.OTP), 2.4 (life cycle), 2.5 (key slots).
"""

from __future__ import annotations

import enum
import struct

from drivers.virtual.nrf.silicon import WORD, Silicon
from drivers.virtual.nrf.uicr import Uicr
from drivers.virtual.nrf.words import IMPLEMENTATION_ID, IMPLEMENTATION_ID_WORDS

KEYS_AT, KEY_SIZE, MOST_KEYS = 0x30, 20, 16
COUNTERS, VARIABLE_DATA, CERTIFICATE_REFERENCE = 1, 0x9312, 1


class Lcs(enum.IntEnum):
    """PSA life cycle as bl_storage numbers it; ``UNKNOWN`` is a pattern that is none of the legal ones."""

    UNKNOWN = 0
    ASSEMBLY = 1
    PROVISIONING = 2
    SECURED = 3
    DECOMMISSIONED = 4


WORDS = {
    Lcs.ASSEMBLY: (0xFFFF_FFFF, 0xFFFF_FFFF),
    Lcs.PROVISIONING: (0xFFFF_0000, 0xFFFF_FFFF),
    Lcs.SECURED: (0x0000_0000, 0xFFFF_FFFF),
    Lcs.DECOMMISSIONED: (0x0000_0000, 0x0000_FFFF),
}
ENTERING = {Lcs.PROVISIONING: (0, 0xFFFF_0000), Lcs.SECURED: (0, 0x0000_FFFF), Lcs.DECOMMISSIONED: (4, 0x0000_FFFF)}
"""Offset and word that enter a state."""


class Storage:
    """Read-only view of one part's OTP; writes go through the flash controller."""

    def __init__(self, silicon: Silicon, uicr: Uicr) -> None:
        self.base = silicon.storage
        self._uicr = uicr
        self._offset = silicon.storage - silicon.app.uicr
        self._end = silicon.otp - silicon.app.uicr + 4 * silicon.otp_words

    @property
    def lcs_words(self) -> tuple[int, int]:
        """Both life cycle words."""
        return self._uicr.raw(self._offset), self._uicr.raw(self._offset + 4)

    @property
    def lcs(self) -> Lcs:
        """The life cycle state."""
        words = self.lcs_words
        return next((state for state, legal in WORDS.items() if legal == words), Lcs.UNKNOWN)

    @property
    def state_name(self) -> str:
        """The state's name; INVALID for an illegal pattern."""
        return "INVALID" if self.lcs is Lcs.UNKNOWN else self.lcs.name

    @property
    def implementation_id(self) -> bytes:
        """32 bytes, all 0xFF while nobody wrote them."""
        return self._bytes(IMPLEMENTATION_ID, 4 * IMPLEMENTATION_ID_WORDS)

    @property
    def certificate_reference(self) -> str:
        """The PSA certificate reference in the variable data; empty when there is none."""
        (keys,) = struct.unpack("<I", self._bytes(KEYS_AT, 4))
        if keys > MOST_KEYS:
            return ""
        at = KEYS_AT + 4 + KEY_SIZE * keys
        kind, count = struct.unpack("<HH", self._bytes(at, 4))
        if kind != COUNTERS:
            return ""
        at += 4
        for _ in range(count):
            _, slots = struct.unpack("<HH", self._bytes(at, 4))
            at += 4 + 2 * slots
        kind, _ = struct.unpack("<HH", self._bytes(at, 4))
        item, length = self._bytes(at + 4, 2)
        if (kind, item) != (VARIABLE_DATA, CERTIFICATE_REFERENCE):
            return ""
        return self._bytes(at + 6, length).decode("ascii", errors="replace")

    def _bytes(self, offset: int, size: int) -> bytes:
        start = self._offset + offset
        first, last = start & ~3, min((start + size + 3) & ~3, self._end)
        raw = b"".join(self._uicr.raw(at).to_bytes(4, "little") for at in range(first, last, 4))
        return raw[start - first : start - first + size].ljust(size, b"\xff")


def is_blank(word: int) -> bool:
    """Whether nobody has written this word."""
    return word == WORD
