"""``station gui`` and the demo's window: the engine is the window's child, the window a plug-in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from station import plugins
from station.chips import DEFAULT_CHIP, chip_named
from station.cli_common import LOCAL, beside, find_station, inner, is_data, is_whole, user_folder, virtual_folder
from station.errors import ConfigError
from station.model import Role
from station.operators import Operators
from station.program import station_command
from station.virtual_station import DEMO_OPERATOR, DEMO_PIN, VirtualStation, chip_of_folder, demo_folder


def open_gui(
    station_file: Path | None, data: Path | None, sockets: int, chip: str, window_arguments: Sequence[str]
) -> int:
    """``station gui``: with a station file its engine, without one a virtual bench of this user."""
    if chip and station_file is not None:
        raise ConfigError("--chip is for a virtual bench; the sockets of a station file say what sits in them")
    chip_named(chip or DEFAULT_CHIP)
    if code := _window(["--check"]):  # before anything is made or started
        return code
    virtual = _virtual_home(data, chip) if station_file is None else None
    if virtual is not None:
        return _virtual(virtual, sockets, window_arguments, chip or chip_of_folder(virtual))
    chosen = find_station(station_file, data)
    options = ["--data", str(inner(data))] if data is not None else []
    command = station_command("engine", "--station", str(chosen), *options)
    return _window([*window_arguments, *options, "--engine", *command])


def _virtual_home(data: Path | None, chip: str) -> Path | None:
    """The folder of the virtual station that is meant; None when there is a station file of another kind.

    Whoever names a chip means the virtual bench; each chip has a folder of its own.
    """
    if chip and data is None:
        return virtual_folder(chip)
    nowhere = not (LOCAL.exists() or (user_folder() / LOCAL).exists())
    if data is None:
        return virtual_folder() if nowhere else None
    found = beside(data)
    if found is None:
        return data if nowhere and not is_data(data) else None
    home = found.parent.absolute()
    meant = is_whole(data) or data.absolute() == home / "data"
    return home if meant and (home / "bench").is_dir() else None


def open_demo_window(data: Path | None, sockets: int, sku: str, driver: str, chip: str) -> int:
    """``station demo`` without ``--headless``: the same set-up, then the window; hands are on its bench page."""
    if code := _window(["--check"]):
        return code
    with demo_folder(data) as folder:
        return _virtual(folder, sockets, (), chip, sku, driver)


def _virtual(
    folder: Path, sockets: int, window_arguments: Sequence[str], chip: str, sku: str = "", driver: str = ""
) -> int:
    with VirtualStation(folder, sockets, sku, driver, chip=chip) as station:
        operators = Operators(station.data)
        if not operators.has_supervisor():
            operators.add(DEMO_OPERATOR, Role.SUPERVISOR, DEMO_PIN)
        engine = station_command("engine", "--station", str(station.station_file), "--operator", DEMO_OPERATOR)
        return _window([*window_arguments, "--data", str(station.data), "--engine", *engine])


def _window(arguments: list[str]) -> int:
    opener: Any = plugins.load("station.windows", "qt")
    return int(opener(arguments) or 0)
