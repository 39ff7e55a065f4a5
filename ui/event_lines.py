"""Bytes of the engine's output into events, in batches; log lines come in floods and take a path of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from station.protocol import MAX_LINE, Event, ProtocolError, decode_event
from ui.log_lines import HEAD, LogRow, Rows, line_of, row_in


@dataclass(frozen=True, slots=True)
class LogLines:
    """Log lines that follow one another, as they came; ``rows`` reads them: (time, socket, source, level, text)."""

    lines: list[bytes]

    @property
    def rows(self) -> Sequence[LogRow]:
        """The lines as rows, each read when it is asked for."""
        return Rows(self.lines)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that this window cannot read: damaged, or of a newer engine."""

    sentence: str


Item = Event | LogLines | BadLine


class EventParser:
    """Splits the byte stream into lines and reads them; one instance per stream, used by one thread only."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[Item]:
        """All items that are complete after this chunk."""
        whole, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        whole += newline
        items: list[Item] = []
        if self._skipping and whole:
            whole, self._skipping = whole.partition(b"\n")[2], False
        if len(self._rest) > MAX_LINE:
            self._rest, self._skipping = b"", True
            items.append(BadLine(f"expected lines of at most {MAX_LINE} bytes; the longer one was left out"))
        return _items(whole) + items


def _items(whole: bytes) -> list[Item]:
    """Whole lines as items; what cannot be read becomes a ``BadLine`` in its place."""
    lines = whole.split(b"\n")
    lines.pop()
    others = [place for place, line in enumerate(lines) if not line.startswith(HEAD)]
    items: list[Item] = []
    first = 0
    for place in others:
        if place > first:
            items.append(LogLines(lines[first:place]))
        if lines[place].strip():
            items.append(_item(lines[place]))
        first = place + 1
    if first < len(lines):
        items.append(LogLines(lines[first:]))
    return items


def _item(line: bytes) -> Item:
    """An event, or a log line that is written in another way than the engine does: in a recording, or by hand."""
    if b'"Log"' in line and (row := _log_row(line)) is not None:
        return LogLines([line_of(row)])
    try:
        return decode_event(line)
    except ProtocolError as error:
        return BadLine(str(error))


def _log_row(line: bytes) -> LogRow | None:
    try:
        body = json.loads(line)
        return row_in(body) if body["type"] == "Log" else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
