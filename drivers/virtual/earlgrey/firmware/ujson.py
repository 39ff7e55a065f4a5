"""The device side of the console's JSON: what the firmware accepts and how it answers.

Source: opentitan-device sheet 2.1 (framing, CRC, padding, number forms).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

_SPACE = " \t\n\v\f\r"


class Incoming:
    """A stream of JSON values; more text is fetched when a value is not complete yet."""

    def __init__(self, fetch: Callable[[], str]) -> None:
        self._fetch = fetch
        self._text = ""

    def value(self) -> Any:
        """The next value."""
        return self._next()[0]

    def value_with_crc(self) -> Any:
        """The next value, checked against the CRC object behind it; raises ``ValueError``."""
        value, text = self._next()
        check, _ = self._next()
        if not isinstance(check, dict) or number(check.get("crc", -1)) != crc32(text.encode("latin-1")):
            raise ValueError("the CRC of the message from the host is wrong")
        return value

    def _next(self) -> tuple[Any, str]:
        while True:
            self._text = self._text.lstrip(_SPACE)
            try:
                value, end = json.JSONDecoder().raw_decode(self._text)
            except json.JSONDecodeError:
                self._text += self._fetch()
                continue
            text, self._text = self._text[:end], self._text[end:]
            return value, text


def number(value: object) -> int:
    """An integer, bare or quoted; raises ``ValueError`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"not an integer: {value!r}")
    return int(value)


def numbers(value: object, count: int | None, limit: int) -> list[int]:
    """A list of integers below ``limit``, ``count`` of them unless None; raises ``ValueError``."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise ValueError("a list of another length was expected")
    found = [number(item) for item in value]
    if any(not 0 <= item < limit for item in found):
        raise ValueError("a number is out of range")
    return found


def answer(content: dict[str, object]) -> str:
    """A checked answer line."""
    text = json.dumps(content, separators=(",", ":"))
    return f"RESP_OK:{text} CRC:{crc32(text.encode())}\n"


def padded_answer(content: dict[str, object], size: int) -> str:
    """An answer line padded with spaces before its last brace, without a checksum."""
    text = json.dumps(content, separators=(",", ":"))
    return f"RESP_OK:{text[:-1].ljust(size - 1)}}} CRC:0\n"


def words(raw: bytes) -> list[int]:
    """Little-endian 32-bit words."""
    return [int.from_bytes(raw[n : n + 4], "little") for n in range(0, len(raw), 4)]


def raw(values: Sequence[int], width: int) -> bytes:
    """Little-endian bytes of words that are ``width`` bytes wide."""
    return b"".join(value.to_bytes(width, "little") for value in values)
