"""Where the data files of the station lie: the ``resources`` package, or folders given in the station file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from station.errors import ConfigError, nearest


def resources_folder() -> Path:
    """The folder of the ``resources`` package (a real folder in a checkout, a wheel and the frozen application)."""
    return Path(str(files("resources")))


def file_in(folders: tuple[Path, ...], relative: str) -> Path:
    """The first existing file of that relative path; the last candidate when there is none."""
    candidates = candidates_in(folders, relative)
    return next((path for path in candidates if path.exists()), candidates[-1])


def candidates_in(folders: tuple[Path, ...], relative: str) -> list[Path]:
    """Where a file of that relative path may lie, the first that is searched first."""
    return [folder / relative for folder in (*folders, resources_folder())]


def missing(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Those of the station file's folders that are not there: without them the shipped files alone are found."""
    return tuple(folder for folder in folders if not folder.is_dir())


def searched(folders: tuple[Path, ...]) -> str:
    """For a sentence about a file that is in none of them: which folders were searched, and how to name more."""
    absent = missing(folders)
    places = ", ".join(str(folder) for folder in (*folders, resources_folder()) if folder not in absent)
    gone = f" (not there: {', '.join(map(str, absent))}: make it, or correct the path)" if absent else ""
    return f'searched {places}{gone}; the station file names folders of your own, as in resources = ["data"]'


def board_file(name: str) -> Path:
    """The file of a board, by its name in ``resources/boards`` or by its path; ``ConfigError`` with a hint if none."""
    file = Path(name) if name.endswith(".toml") else resources_folder() / "boards" / f"{name}.toml"
    if not file.is_file():
        known = [place.stem for place in file.parent.glob("*.toml")]
        raise ConfigError(f"there is no board file {file}{nearest(name, known)}")
    return file
