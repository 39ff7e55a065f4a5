"""How a process of this station is started: the one place that knows whether the program is frozen."""

from __future__ import annotations

import sys
from pathlib import Path


def is_frozen() -> bool:
    """True in the frozen application, which has programs instead of modules to start."""
    return bool(getattr(sys, "frozen", False))


def station_command(*arguments: str) -> list[str]:
    """The command line that runs this same station, frozen or not."""
    if is_frozen():
        name = "station.exe" if sys.platform == "win32" else "station"
        return [str(Path(sys.executable).with_name(name)), *arguments]
    return [sys.executable, "-m", "station", *arguments]
