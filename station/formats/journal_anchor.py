"""The anchor of a station's journal: how many rows it has, what its hash chain said at the last one, and when that was.

Binary form (``ate_raw`` of a registration): the letters ``PSJA``; length, 8 bytes big-endian; hash of the row with that
number, 32 bytes (zeros for no row); time of that row in microseconds since 1970, 8 bytes big-endian. Text form (rows of
the journal, metadata of calls): ``LENGTH:HASH:TIME``, the hash in 64 hexadecimal digits. The time lets somebody who has
no journal tell a registration that comes late (fewer rows, older) from a journal that went back (fewer rows, younger):
no row is older than the one before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from station.errors import FormatError

MAGIC = b"PSJA"
BYTES = len(MAGIC) + 8 + 32 + 8
LARGEST = (1 << 63) - 1
_TEXT = re.compile(r"(\d{1,19}):([0-9a-f]{64})(?::(\d{1,19}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class JournalAnchor:
    """``length`` rows, ``head`` in hexadecimal, ``time_us`` of the last row."""

    length: int
    head: str
    time_us: int

    def __str__(self) -> str:
        return f"{self.length}:{self.head}:{self.time_us}"

    def pack(self) -> bytes:
        """52 bytes."""
        numbers = (number.to_bytes(8, "big") for number in (self.length, self.time_us))
        return MAGIC + next(numbers) + bytes.fromhex(self.head) + next(numbers)


def unpack(raw: bytes) -> JournalAnchor:
    """An anchor of 52 bytes; anything else (what another kind of station sends) raises FormatError."""
    if len(raw) != BYTES or not raw.startswith(MAGIC):
        raise FormatError(f"expected {BYTES} bytes of a journal's anchor that begin with PSJA, saw {len(raw)}")
    return _checked(int.from_bytes(raw[4:12], "big"), raw[12:44].hex(), int.from_bytes(raw[44:], "big"))


def parse(text: str) -> JournalAnchor:
    """An anchor from its text, without the time in rows of older stations; raises FormatError."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise FormatError(f"expected a journal's anchor LENGTH:HASH:TIME, saw {text[:100]!r}")
    return _checked(int(found[1]), found[2], int(found[3] or 0))


def _checked(length: int, head: str, time_us: int) -> JournalAnchor:
    if max(length, time_us) > LARGEST:
        raise FormatError("expected numbers of at most 63 bits in a journal's anchor")
    return JournalAnchor(length, head, time_us)
