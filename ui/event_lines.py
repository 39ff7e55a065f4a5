"""Bytes of the engine's output into events, in batches; log lines come in floods and take a path of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from station.protocol import MAX_LINE, Event, ProtocolError, decode_event

LogRow = tuple[float, int, str, str, str]


@dataclass(frozen=True, slots=True)
class LogLines:
    """Log lines that follow one another: (time, socket, source, level, text)."""

    rows: list[LogRow]


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that this window cannot read: damaged, or of a newer engine."""

    sentence: str


Item = Event | LogLines | BadLine


class EventParser:
    """Splits the byte stream into lines and reads them; one instance per stream, used by the reader thread only."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[Item]:
        """All items that are complete after this chunk."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        items: list[Item] = []
        if self._skipping and lines:
            lines, self._skipping = lines[1:], False
        if len(self._rest) > MAX_LINE:
            self._rest, self._skipping = b"", True
            items.append(BadLine(f"expected lines of at most {MAX_LINE} bytes; the longer one was left out"))
        return parse_lines([line for line in lines if line.strip()]) + items


def parse_lines(lines: list[bytes]) -> list[Item]:
    """Read whole lines; what cannot be read becomes a ``BadLine`` in its place."""
    bodies = _bodies(lines)
    items: list[Item] = []
    rows: list[LogRow] = []
    for line, body in zip(lines, bodies, strict=True):
        row = _log_row(body)
        if row is not None:
            rows.append(row)
            continue
        if rows:
            items.append(LogLines(rows))
            rows = []
        items.append(_event(line))
    if rows:
        items.append(LogLines(rows))
    return items


def _bodies(lines: list[bytes]) -> list[Any]:
    """All lines read as one JSON array, which is several times faster than one by one; damaged ones give None."""
    try:
        bodies = json.loads(b"[" + b",".join(lines) + b"]")
        if len(bodies) == len(lines):
            return list(bodies)
    except ValueError:
        pass
    return [_body(line) for line in lines]


def _body(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _log_row(body: Any) -> LogRow | None:
    try:
        if body["type"] == "Log":
            return (body["time"], body["socket"], body["source"], body["level"], body["text"])
    except (KeyError, TypeError):
        pass
    return None


def _event(line: bytes) -> Event | BadLine:
    try:
        return decode_event(line)
    except ProtocolError as error:
        return BadLine(str(error))
