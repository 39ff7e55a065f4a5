"""Life cycle tokens: their hash, and the three byte orders in which people and tools write them.

Source: opentitan-device sheet 1.4 and 3.5, opentitan-rtl sheet 3.4, opentitan-appliance sheet 3.3.
A raw token is always 16 bytes in hash order: TOKEN_0 is its first four bytes, little-endian.
"""

from __future__ import annotations

import re
import struct

from Crypto.Hash import cSHAKE128

from station.errors import FormatError

TOKEN_BYTES = 16
DEV_RAW_UNLOCK_LITERAL = 0xEA2B3F32CBE77554E43C8EA7EBF197C2
"""RAW unlock token of the open-source netlist; publicly known, refused in production."""

ZERO_TOKEN = bytes(TOKEN_BYTES)


def lc_hash(token: bytes) -> bytes:
    """cSHAKE128 with empty name and customisation ``LC_CTRL``; as many bytes out as in.

    ``token`` is 16 bytes (a life cycle token) or 32 bytes (the 256-bit size of the appliance).
    """
    if len(token) not in (TOKEN_BYTES, 2 * TOKEN_BYTES):
        raise FormatError(f"expected a token of 16 or 32 bytes, saw {len(token)} bytes: check the token's source")
    hashed: bytes = cSHAKE128.new(data=token, custom=b"LC_CTRL").read(len(token))
    return hashed


def words_of(token: bytes) -> tuple[int, int, int, int]:
    """The four 32-bit register values, TRANSITION_TOKEN_0 first: little-endian words of the 16 bytes."""
    _require_token(token)
    w0, w1, w2, w3 = struct.unpack("<4I", token)
    return w0, w1, w2, w3


def raw_from_words(words: tuple[int, int, int, int]) -> bytes:
    """The 16 bytes of four 32-bit register values, TRANSITION_TOKEN_0 first."""
    if len(words) != 4 or any(not 0 <= word < 1 << 32 for word in words):
        raise FormatError("expected four 32-bit token words: read the registers again")
    return struct.pack("<4I", *words)


def dwords_of(hashed: bytes) -> tuple[int, int]:
    """The two 64-bit values that the console carries and OTP stores: little-endian halves, first half first."""
    _require_token(hashed)
    first, second = struct.unpack("<2Q", hashed)
    return first, second


def raw_from_dwords(first: int, second: int) -> bytes:
    """The 16 bytes of two 64-bit values, first half first."""
    if not (0 <= first < 1 << 64 and 0 <= second < 1 << 64):
        raise FormatError("expected two 64-bit values for a token hash: check the sender")
    return struct.pack("<2Q", first, second)


def raw_from_cli_hex(text: str) -> bytes:
    """Token bytes of the command-line convention: each group of four hex bytes is a big-endian word, first group first.

    An ``0x`` prefix and ``_`` separators are allowed; exactly 32 hex digits are needed.
    """
    digits = text.strip().removeprefix("0x").removeprefix("0X").replace("_", "")
    if not re.fullmatch(r"[0-9a-fA-F]{32}", digits):
        raise FormatError(f"expected 32 hex digits for a 128-bit token, saw {len(digits)} characters: check the text")
    return struct.pack("<4I", *struct.unpack(">4I", bytes.fromhex(digits)))


def raw_from_literal(value: int) -> bytes:
    """Token bytes of the 128-bit-literal convention of the netlist constants: the number as 16 little-endian bytes."""
    if not 0 <= value < 1 << 128:
        raise FormatError("expected a 128-bit number for a token literal: check the number of hex digits")
    return value.to_bytes(TOKEN_BYTES, "little")


def literal_of(token: bytes) -> int:
    """The 128-bit number whose little-endian bytes are ``token``."""
    _require_token(token)
    return int.from_bytes(token, "little")


def _require_token(token: bytes) -> None:
    if len(token) != TOKEN_BYTES:
        raise FormatError(f"expected a token of 16 bytes, saw {len(token)} bytes: check the token's source")
