"""Crash reports: where an unexpected error came from, without local variables and without its message (secrets)."""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path


def crash_text(error: BaseException) -> str:
    """Types and places of an error and of what caused it."""
    parts = []
    current: BaseException | None = error
    while current is not None:
        parts.append("".join(traceback.format_tb(current.__traceback__)) + type(current).__name__)
        current = current.__cause__ or current.__context__
    return "\ncaused by\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class Noted:
    """What is said of an error, and how often this process has met it."""

    sentence: str
    times: int = 1

    @property
    def worth_saying(self) -> bool:
        """True at 1, 10, 100 … times: an error of every poll must not fill log and disk."""
        return str(self.times).rstrip("0") == "1"


class CrashReports:
    """One report per distinct error (same types, same places) of this process; any thread may note one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._seen: dict[str, tuple[Path, int]] = {}

    def note(self, error: BaseException) -> Noted:
        """Write the report of a new error; of a known one count the repeat, and add the count at 10, 100 … times."""
        text, kind = crash_text(error), type(error).__name__
        with self._guard:
            path, times = self._seen.get(text, (self._folder / _name(), 0))
            noted = Noted(_sentence(kind, path, times + 1), times + 1)
            try:
                if noted.worth_saying:
                    known = times > 0 and path.exists()  # its first writing may have found no room
                    _add(path, f"seen {noted.times} times until {_clock()}\n" if known else text)
            except OSError as failure:
                words = f"an error in the program ({kind}); its report could not be written: {failure.strerror}"
                noted = Noted(words, noted.times)
            self._seen[text] = path, noted.times
            return noted


def _sentence(kind: str, path: Path, times: int) -> str:
    often = f", {times} times so far" if times > 1 else ""
    return f"an error in the program ({kind}{often}); send {path} to the developers, it holds no data of parts"


def _add(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _name() -> str:
    return f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns() % 1_000_000}.txt"


def _clock() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
