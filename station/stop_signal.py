"""The signal that ends a run's waits."""

from __future__ import annotations

import threading


class StopSignal:
    """Set once, for good. A run waits on it some hundred times per part, so a wait is one lock, not a condition."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()
        self._guard = threading.Lock()
        self._set = False

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def set(self) -> None:
        """End every wait, now and later; from any thread."""
        with self._guard:
            if not self._set:
                self._set = True
                self._gate.release()

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as it is set."""
        if self._gate.acquire(timeout=max(0.0, seconds)):
            self._gate.release()
