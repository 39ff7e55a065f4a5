"""A deadline instead of a bare number of seconds: every wait names what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable

from station.errors import WaitTimeout


class Deadline:
    """A point on the monotonic clock, passed down through all waits of one operation."""

    __slots__ = ("_clock", "_end", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - self._clock())

    @property
    def passed(self) -> bool:
        """True once the deadline lies behind."""
        return self._clock() >= self._end

    def check(self, waited_for: str) -> None:
        """Raise ``WaitTimeout`` naming what was waited for once the deadline has passed."""
        if self.passed:
            raise WaitTimeout(waited_for, self.seconds)


class Pace:
    """The pauses between looks at something that is soon or much later ready: each half as long again as the last."""

    __slots__ = ("_most", "_pause", "_seconds")

    def __init__(self, pause: Callable[[float], None], first: float = 0.0005, most: float = 0.01) -> None:
        self._pause = pause
        self._seconds = first
        self._most = most

    def rest(self) -> None:
        """Pause before the next look."""
        self._pause(self._seconds)
        self._seconds = min(1.5 * self._seconds, self._most)
