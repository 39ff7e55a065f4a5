"""``station gui`` and the demo's window: the engine is the window's child, the window a plug-in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from station import plugins
from station.cli_common import LOCAL, find_station, inner, is_whole, user_folder, virtual_folder
from station.model import Role
from station.operators import Operators
from station.program import station_command
from station.virtual_station import BUILTIN_DRIVER, DEMO_OPERATOR, DEMO_PIN, VirtualStation, demo_folder

DEFAULT_SKU = "sival"


def open_gui(station_file: Path | None, data: Path | None, sockets: int, window_arguments: Sequence[str]) -> int:
    """``station gui``: with a station file its engine, without one a virtual bench of this user."""
    whole = data is not None and is_whole(data) and (data / "bench").is_dir()
    if station_file is None and (whole or not (LOCAL.exists() or (user_folder() / LOCAL).exists())):
        return _virtual(data or virtual_folder(), sockets, DEFAULT_SKU, window_arguments)
    chosen = find_station(station_file, data)
    options = ["--data", str(inner(data))] if data is not None else []
    command = station_command("engine", "--station", str(chosen), *options)
    return _window([*window_arguments, *options, "--engine", *command])


def open_demo_window(data: Path | None, sockets: int, sku: str, parts: int, driver: str) -> int:
    """``station demo`` without ``--headless``: the same set-up, then the window; hands are on its bench page."""
    with demo_folder(data) as folder:
        return _virtual(folder, sockets, sku, (), driver)


def _virtual(
    folder: Path, sockets: int, sku: str, window_arguments: Sequence[str], driver: str = BUILTIN_DRIVER
) -> int:
    with VirtualStation(folder, sockets, sku, driver) as station:
        operators = Operators(station.data)
        if not operators.has_supervisor():
            operators.add(DEMO_OPERATOR, Role.SUPERVISOR, DEMO_PIN)
        engine = station_command("engine", "--station", str(station.station_file), "--operator", DEMO_OPERATOR)
        return _window([*window_arguments, "--data", str(station.data), "--engine", *engine])


def _window(arguments: list[str]) -> int:
    opener: Any = plugins.load("station.windows", "qt")
    return int(opener(arguments) or 0)
