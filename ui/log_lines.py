"""Log lines as they came: bytes, which are read when somebody looks at them, since of 100,000 some twenty are seen.

A line that begins as the engine writes it (``HEAD``) is kept unread. Quotes inside a JSON string are escaped, so a key
with its quotes, such as ``"level":"debug"``, can stand in such a line only where it is a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import overload

LogRow = tuple[float, int, str, str, str]  # time, socket, source, level, text

HEAD = b'{"type":"Log","time":'
DEBUG = b'"level":"debug"'
_SOURCE, _TEXT = b'"source":"', b'"text":"'
_ASCII = bytes(range(0x80))
_ESCAPED = b"bfnrt"
_FOLD_TO_PLAIN = re.compile(  # as ß does, whose folded form is ss
    "|".join(chr(c) for c in (*range(0x80, 0x2200), *range(0xFB00, 0xFB07)) if min(chr(c).casefold()) < "\x80").encode()
).search
_KEYS = ("time", "socket", "source", "level", "text")
row_in = itemgetter(*_KEYS)  # of what JSON made of a line
_TYPES = ((int, float), int, str, str, str)
BLOCK = 256
_PUNCTUATION = frozenset('"\\{}')
LOOKED_AT = 2_048  # lines whose reading is remembered: what one screen shows is asked for many times


def line_of(row: LogRow) -> bytes:
    """A row as the engine would have written it."""
    body = {"type": "Log", **dict(zip(_KEYS, row, strict=True))}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def as_lines(lines: Iterable[bytes | LogRow]) -> list[bytes]:
    """Lines as they are kept; the window's own are rows."""
    return [line if type(line) is bytes else line_of(line) for line in lines]


def read(line: bytes) -> LogRow:
    """The row of a line; a damaged one says so itself."""
    try:
        row: LogRow = row_in(json.loads(line))
        if all(map(isinstance, row, _TYPES)):
            return row
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return 0.0, 0, "window", "warning", "expected a log line as JSON, got a damaged one; it is left out"


row_of = lru_cache(LOOKED_AT)(read)


class LogFilter:
    """Which lines are shown: one socket (0: all), those with ``needle`` in text or source, debug lines on request."""

    def __init__(self, socket: int = 0, needle: str = "", details: bool = False) -> None:
        self.wanted = (socket, needle.casefold(), details)

    def shown(self, lines: Iterable[bytes]) -> list[bytes]:
        """The lines that pass, in their order."""
        socket, needle, details = self.wanted
        if not details:
            lines = without_debug(list(lines))
        if socket:
            lines = of_socket(lines, socket)
        if needle:
            lines = saying(list(lines), needle)
        return list(lines)


def without_debug(lines: list[bytes]) -> list[bytes]:
    """The lines of other levels. Many lines joined are looked through much faster than one by one."""
    found: list[bytes] = []
    for block in _blocks(lines):
        found += block if DEBUG not in b"".join(block) else [line for line in block if DEBUG not in line]
    return found


def saying(lines: list[bytes], needle: str) -> list[bytes]:
    """The lines that have ``needle`` (case folded) in their text or source."""
    wanted = needle.encode("utf-8", "replace")
    found: list[bytes] = []
    for block in _blocks(lines):
        whole = b"\n".join(block)
        if b"\\u" in whole or b"\\/" in whole or not _PUNCTUATION.isdisjoint(needle):
            found += [line for line in block if _says(line, needle)]  # letters may be escaped, by another hand
        elif wanted in (folded := _folded(whole, needle.isascii())):
            pairs = zip(block, folded.split(b"\n"), strict=True)
            found += [line for line, low in pairs if wanted in low and _low_says(low, wanted)]
    return found


def _folded(whole: bytes, plain: bool) -> bytes:
    """Lines case folded; for plain letters that is done to bytes, unless another script has one that folds to them."""
    if plain and not _FOLD_TO_PLAIN(whole.translate(None, _ASCII)):
        return whole.lower()
    return whole.decode("utf-8", "replace").casefold().encode()


def _low_says(low: bytes, wanted: bytes) -> bool:
    if wanted[0] in _ESCAPED and b"\\" in low:  # what is found may be the end of a line and not an n
        return _says(low, wanted.decode())
    if low.find(wanted, low.find(_TEXT) + len(_TEXT)) >= 0:
        return True
    source = low.find(_SOURCE) + len(_SOURCE)
    return low.find(wanted, source, low.find(b'","level"', source)) >= 0


def _says(line: bytes, needle: str) -> bool:
    _, _, source, _, text = read(line)
    return needle in text.casefold() or needle in source.casefold()


def _blocks(lines: list[bytes]) -> Iterator[list[bytes]]:
    return (lines[first : first + BLOCK] for first in range(0, len(lines), BLOCK))


def of_socket(lines: Iterable[bytes], socket: int) -> list[bytes]:
    """The lines of one socket."""
    key = b'"socket":%d,' % socket
    return [line for line in lines if key in line]


def between(lines: Iterable[bytes], socket: int, first: float, last: float) -> list[LogRow]:
    """The rows of one socket in a span of time."""
    return [read(line) for line in of_socket(lines, socket) if first <= _time(line) <= last]


def _time(line: bytes) -> float:
    try:
        return float(line[len(HEAD) : line.find(b",", len(HEAD))])
    except ValueError:
        return read(line)[0]


class Rows(Sequence[LogRow]):
    """Lines as rows, each read when it is asked for."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, place: int) -> LogRow: ...
    @overload
    def __getitem__(self, place: slice) -> list[LogRow]: ...
    def __getitem__(self, place: int | slice) -> LogRow | list[LogRow]:
        if isinstance(place, slice):
            return [read(line) for line in self._lines[place]]
        return row_of(self._lines[place])
