"""One CBOR data item and nothing behind it, in the plain subset that signed tokens use.

Definite lengths, unique map keys, few levels, no tags inside: what a token of a known profile never holds is refused
before the library sees it. Source: RFC 8949 sections 3 and 4.2, RFC 9052 section 9.
"""

from __future__ import annotations

from typing import Any

import cbor2

from station.errors import FormatError

MAX_DEPTH = 8
UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
FALSE, TRUE, NULL = 20, 21, 22


def decode(data: bytes, what: str) -> Any:
    """The value of the one item in ``data`` (integers, bytes, text, arrays, maps, true, false, null).

    ``what`` names it in the sentence of a ``FormatError``.
    """
    end = _end_of_item(data, 0, MAX_DEPTH, what)
    if end != len(data):
        raise FormatError(f"expected nothing behind {what}, saw {len(data) - end} more bytes: cut it to its own length")
    try:
        return cbor2.loads(data, max_depth=MAX_DEPTH + 1, allow_indefinite=False, allow_duplicate_keys=False)
    except (cbor2.CBORError, ValueError, TypeError) as error:
        raise FormatError(f"expected {what} in CBOR, but: {str(error).splitlines()[0][:120]}") from None


def tagged(data: bytes, tag: int, what: str) -> Any:
    """The value under one outer tag below 24 (one byte); another beginning raises ``FormatError``."""
    if data[:1] != bytes([TAG << 5 | tag]):
        raise FormatError(f"expected {what} to begin with CBOR tag {tag}, saw {data[:2].hex() or 'nothing'}")
    return decode(data[1:], what)


def _end_of_item(data: bytes, start: int, levels: int, what: str) -> int:
    """Where the item that begins at ``start`` ends."""
    major, value, position = _head(data, start, what)
    if major in (BYTES, TEXT):
        position += value
    elif major in (ARRAY, MAP):
        if not levels:
            raise FormatError(f"expected {what} with at most {MAX_DEPTH} levels, saw more at byte {start}")
        for _ in range(value * (2 if major == MAP else 1)):
            position = _end_of_item(data, position, levels - 1, what)
    elif major == TAG or (major == SIMPLE and value not in (FALSE, TRUE, NULL)):
        kind = f"tag {value}" if major == TAG else "a number with a fraction, or an unknown simple value,"
        raise FormatError(f"expected plain CBOR in {what}, saw {kind} at byte {start}: no known token has one")
    if position > len(data):
        missing = position - len(data)
        raise FormatError(f"expected {missing} more bytes of {what}: it was cut, read it whole")
    return position


def _head(data: bytes, start: int, what: str) -> tuple[int, int, int]:
    """Major type, its argument, and where the item's content begins."""
    if start >= len(data):
        raise FormatError(f"expected more of {what} at byte {start}, but it ends there: it was cut, read it whole")
    major, argument = data[start] >> 5, data[start] & 0x1F
    if argument < 24:
        return major, argument, start + 1
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(argument, 0)
    if not size or major == SIMPLE:
        raise FormatError(f"expected definite lengths and whole numbers in {what}, saw {data[start]:#04x} at {start}")
    raw = data[start + 1 : start + 1 + size]
    return major, int.from_bytes(raw, "big") if len(raw) == size else len(data), start + 1 + size
