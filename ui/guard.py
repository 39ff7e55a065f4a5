"""When a key may act: never within 400 ms of a change of what it would do."""

from __future__ import annotations

import time
from collections.abc import Callable

DEAD_SECONDS = 0.4


class KeyGuard:
    """Remembers what the primary key means now and since when; the clock can be replaced."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, dead_seconds: float = DEAD_SECONDS) -> None:
        self._clock = clock
        self._dead_seconds = dead_seconds
        self._meaning: object = None
        self._since = clock()

    def show(self, meaning: object) -> bool:
        """Tell the guard what a press would do now; True when that is a change."""
        if meaning == self._meaning:
            return False
        self._meaning = meaning
        self._since = self._clock()
        return True

    def take(self) -> bool:
        """True when a press counts; one that counts makes the keys dead again, so that a bounce is no second press."""
        now = self._clock()
        if now - self._since < self._dead_seconds:
            return False
        self._since = now
        return True
