"""Crash reports: where an unexpected error came from, without local variables and without its message (secrets)."""

from __future__ import annotations

import time
import traceback
from pathlib import Path


def crash_text(error: BaseException) -> str:
    """Types and places of an error and of what caused it."""
    parts = []
    current: BaseException | None = error
    while current is not None:
        parts.append("".join(traceback.format_tb(current.__traceback__)) + type(current).__name__)
        current = current.__cause__ or current.__context__
    return "\ncaused by\n".join(parts) + "\n"


def write_crash_report(folder: Path, error: BaseException) -> str:
    """Write a report into the data folder; returns the sentence for the log."""
    path = folder / f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns() % 1_000_000}.txt"
    try:
        path.write_text(crash_text(error), encoding="utf-8")
    except OSError as failure:
        return f"an error in the program ({type(error).__name__}); its report could not be written: {failure.strerror}"
    return f"an error in the program ({type(error).__name__}); send {path} to the developers, it holds no data of parts"
