"""Where the data files of the station lie: the ``resources`` package, or folders given in the station file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def resources_folder() -> Path:
    """The folder of the ``resources`` package (a real folder in a checkout, a wheel and the frozen application)."""
    return Path(str(files("resources")))


def file_in(folders: tuple[Path, ...], relative: str) -> Path:
    """The first existing file of that relative path; the last candidate when there is none."""
    candidates = [folder / relative for folder in (*folders, resources_folder())]
    return next((path for path in candidates if path.exists()), candidates[-1])
