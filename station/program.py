"""How a process of this station is started: the one place that knows whether the program is frozen."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SAFE_PATH = "-P"
"""Python's option that keeps the working folder and the script's own off the import path."""


def is_frozen() -> bool:
    """True in the frozen application, which has programs instead of modules to start."""
    return bool(getattr(sys, "frozen", False))


def station_command(*arguments: str) -> list[str]:
    """The command line that runs this same station, frozen or not."""
    if is_frozen():
        name = "station.exe" if sys.platform == "win32" else "station"
        return [str(Path(sys.executable).with_name(name)), *arguments]
    return [sys.executable, SAFE_PATH, "-m", "station", *arguments]


def importing_safely(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with an import path on which this same program is, and no folder that somebody happens to be in.

    Python puts the working folder (or the script's own) first on its import path: a ``queue.py`` there would run.
    """
    made = dict(environment)
    if is_frozen():
        return made
    root = str(Path(__file__).resolve().parent.parent)
    known = [folder for folder in import_folders(made) if os.path.isabs(folder) and folder != root]
    return {**made, "PYTHONPATH": os.pathsep.join([root, *known]), "PYTHONSAFEPATH": "1"}


def import_folders(environment: Mapping[str, str]) -> list[str]:
    """The folders of PYTHONPATH; an empty one (a colon too many) is the working folder."""
    return environment["PYTHONPATH"].split(os.pathsep) if environment.get("PYTHONPATH") else []
