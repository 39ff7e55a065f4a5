"""Tells the synthetic images of the virtual benches from firmware: no product may be made with one."""

from __future__ import annotations

from station.formats import hex_file
from station.formats.hex_file import HexError

MARKS = (b"NRFVBIMG", b"OTVBPROG")
"""Eight ASCII bytes in front of the description that a virtual part reads."""


def is_synthetic(raw: bytes) -> bool:
    """Whether a binary, an ELF or an Intel HEX file holds such a mark."""
    if not raw.startswith(b":"):
        return any(mark in raw for mark in MARKS)
    try:
        blocks = hex_file.read(raw).blocks
    except HexError:
        return False
    return any(mark in block.data for block in blocks for mark in MARKS)
