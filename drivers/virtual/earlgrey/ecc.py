"""The check bits of a fuse word: extended Hamming code, 16 data and 6 check bits.

Source: opentitan-device sheet 4.3 (ECC) and 8 (vectors).
"""

from __future__ import annotations

_PARITY = (0x00AD5B, 0x00366D, 0x00C78E, 0x0007F0, 0x00F800, 0x1FFFFF)


def encode(data: int) -> int:
    """Append the check bits in bits 16..21 to 16 data bits."""
    word = data
    for bit, mask in enumerate(_PARITY):
        word |= ((word & mask).bit_count() & 1) << 16 + bit
    return word


def decode(word: int) -> int | None:
    """The 16 data bits, a single wrong bit corrected; None when two bits are wrong."""
    if encode(word & 0xFFFF) == word:
        return word & 0xFFFF
    for bit in range(22):
        candidate = word ^ 1 << bit
        if encode(candidate & 0xFFFF) == candidate:
            return candidate & 0xFFFF
    return None
