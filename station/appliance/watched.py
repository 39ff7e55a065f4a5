"""Values read from files that may change while the appliance runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from station.errors import ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T")
Stamp = tuple[tuple[int, int, int, int] | None, ...]


class Watched(Generic[T]):
    """What ``read`` made of the files; made again after one of them changed, safe to call from any thread.

    The first reading raises; a later one that fails is logged once, and the value of before stays in force.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T]) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._lock = threading.Lock()
        self._stamp = self._look()  # before reading: a change meanwhile means another reading
        self._value = read()

    def value(self) -> T:
        """The value of the files as they are now."""
        if self._look() != self._stamp:
            self._read_again()
        return self._value

    def changed(self) -> T | None:
        """The new value when the files have changed since the last look, else None."""
        before = self._value
        after = self.value()
        return None if after is before else after

    def _read_again(self) -> None:
        with self._lock:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                self._value = self._read()
                log.info("read again after a change: %s", ", ".join(map(str, self._paths)))
            except ConfigError as error:
                log.error("a changed file cannot be used, what was read before stays in force: %s", error)

    def _look(self) -> Stamp:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
