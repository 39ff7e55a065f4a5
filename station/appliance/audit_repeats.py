"""Which refused calls have an audit line: all of a station that works, not all of a client that is refused for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

EACH = 100
"""Refusals per minute, certificate and status code that have a line of their own; after that every doubling has one."""
WINDOW_SECONDS = 60.0
MOST = 10_000
"""Pairs of certificate and code that are remembered; the one that was refused first is forgotten."""


@dataclass(slots=True)
class _Refused:
    since: float
    count: int = 0
    next_line: int = EACH
    without_line: int = 0


class Repeats:
    """Counts refusals; safe to call from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: dict[tuple[str, str], _Refused] = {}

    def note(self, certificate: str, code: str) -> int | None:
        """None when this refusal has no line, else how many before it had none since the last line."""
        with self._lock:
            seen = self._current((certificate, code))
            seen.count += 1
            if seen.count > EACH and seen.count < seen.next_line:
                seen.without_line += 1
                return None
            if seen.count >= EACH:
                seen.next_line = 2 * seen.count
            without, seen.without_line = seen.without_line, 0
            return without

    def _current(self, key: tuple[str, str]) -> _Refused:
        now, seen = self._clock(), self._refused.get(key)
        if seen is None or now - seen.since >= WINDOW_SECONDS:
            before = self._refused.pop(key, None)
            seen = self._refused[key] = _Refused(now, without_line=before.without_line if before is not None else 0)
            while len(self._refused) > MOST:
                del self._refused[next(iter(self._refused))]
        return seen
