"""Secret fuse scrambling and partition digests of the open-source netlist.

Source: opentitan-device sheet 4.3 (PRESENT-128, keys, digest construction) and 8 (vectors).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

SECRET_KEYS = {
    "SECRET0": 0x3BA121C5E097DDEB7768B4C666E9C3DA,
    "SECRET1": 0xEFFA6D736C5EFF49AE7B70F9C46E5A62,
    "SECRET2": 0x85A9E830BC059BA9286D6E2856A05CC3,
}
_DIGEST_IV = 0xBEAD91D5FA4E0915
_DIGEST_CONSTANT = 0x0E95F517CB98955B4D5A89AA9109294A
_SBOX = (0xC, 0x5, 0x6, 0xB, 0x9, 0x0, 0xA, 0xD, 0x3, 0xE, 0xF, 0x8, 0x4, 0x7, 0x1, 0x2)
_INVERSE_SBOX = tuple(_SBOX.index(n) for n in range(16))
_M64 = (1 << 64) - 1
_M128 = (1 << 128) - 1


def encrypt(key: int, block: int) -> int:
    """PRESENT with a 128-bit key on one 64-bit block."""
    keys, table = _round_keys(key), _forward_table()
    for round_key in keys[:31]:
        block ^= round_key
        block = sum(table[n][block >> 8 * n & 0xFF] for n in range(8))
    return block ^ keys[31]


def decrypt(key: int, block: int) -> int:
    """Inverse of `encrypt`."""
    keys, table = _round_keys(key), _backward_table()
    block ^= keys[31]
    for round_key in reversed(keys[:31]):
        block = sum(table[n][block >> 8 * n & 0xFF] for n in range(8))
        block = _substitute(block, _INVERSE_SBOX) ^ round_key
    return block


def digest(blocks: Sequence[int]) -> int:
    """Davies-Meyer over 64-bit blocks as they are in the fuses (scrambled for secret partitions)."""
    padded = list(blocks) + ([blocks[-1]] if len(blocks) % 2 else [])
    padded += [_DIGEST_CONSTANT & _M64, _DIGEST_CONSTANT >> 64]
    state = _DIGEST_IV
    for low, high in zip(padded[::2], padded[1::2], strict=True):
        state ^= encrypt(low | high << 64, state)
    return state


@cache
def _round_keys(key: int) -> tuple[int, ...]:
    keys = []
    for counter in range(1, 33):
        keys.append(key >> 64)
        key = (key << 61 | key >> 67) & _M128
        key = key & (1 << 120) - 1 | _SBOX[key >> 124] << 124 | _SBOX[key >> 120 & 0xF] << 120
        key ^= counter << 62
    return tuple(keys)


def _substitute(block: int, sbox: Sequence[int]) -> int:
    return sum(sbox[block >> 4 * n & 0xF] << 4 * n for n in range(16))


def _permute(block: int) -> int:
    return sum((block >> n & 1) << (n * 16 % 63 if n != 63 else 63) for n in range(64))


def _unpermute(block: int) -> int:
    return sum((block >> (n * 16 % 63 if n != 63 else 63) & 1) << n for n in range(64))


@cache
def _forward_table() -> tuple[tuple[int, ...], ...]:
    pairs = [_SBOX[n & 0xF] | _SBOX[n >> 4] << 4 for n in range(256)]
    return tuple(tuple(_permute(pair << 8 * n) for pair in pairs) for n in range(8))


@cache
def _backward_table() -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(_unpermute(value << 8 * n) for value in range(256)) for n in range(8))
