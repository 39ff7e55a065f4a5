"""The debug probe driver: SWD through pyOCD (CMSIS-DAP, J-Link, remote probes) and the probe's serial ports."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from drivers.pyocd_probe.board import Board, load_board
from drivers.pyocd_probe.link import Link
from drivers.pyocd_probe.presence import SwdPresence
from drivers.pyocd_probe.probe import PyocdProbe
from station.errors import BenchError, ConfigError, refuse_unknown

DEFAULT_FINDER = "drivers.pyocd_probe.finder"
DEFAULT_CONSOLE = "drivers.serial_console"
CONSOLE_LINES = {"dtr": True, "rts": True}
"""A kit's interface processor lets go of the UART's pins until somebody asserts DTR."""
KNOWN = ("serial", "board", "finder", "console", "console_url", "console_net_url")


class PyocdSocket:
    """The open ports of one socket."""

    def __init__(self, serial: str, board: Board, link: Link, consoles: Mapping[str, Any], ways_out: ExitStack) -> None:
        self.identity = f"debug probe {serial}"
        self.board = board
        self._ways_out = ways_out
        self.ports: Mapping[str, object] = {
            "probe": PyocdProbe(serial, board, link),
            "presence": SwdPresence(link),
            **consoles,
        }

    def close(self, freeze: bool = True) -> None:
        """Release the probe and its serial ports; the part runs on either way, nothing of it is driven."""
        self._ways_out.close()


def open_socket(settings: Mapping[str, object], socket: int) -> PyocdSocket:
    """Open one debug probe with the serial ports beside it; nothing is asked of the part yet.

    Settings: ``serial`` (the probe's USB serial number, or ``remote:HOST:PORT``), ``board`` (name in resources/boards
    or path), ``finder`` (the module that knows where probes are; another one for a virtual bench), ``console`` (the
    module that opens a console's URL, empty for none), and ``console_url`` and ``console_net_url`` for serial ports
    that do not belong to the probe.
    """
    serial, board, finder = _checked(settings, f"socket {socket}: ")
    with ExitStack() as ways_out:
        link = Link(serial, finder.probe_address(serial), board.swd_hz, _behind_ports(board))
        ways_out.callback(link.close)
        consoles = _open_consoles(settings, serial, board, finder, ways_out)
        return PyocdSocket(serial, board, link, consoles, ways_out.pop_all())


def diagnose(settings: Mapping[str, object]) -> str:
    """What the finder knows to be missing (see ``station.ports.Diagnose``)."""
    serial, _, finder = _checked(settings)
    ask = getattr(finder, "diagnose", None)
    return str(ask(serial)) if ask is not None else ""


def made_for(settings: Mapping[str, object]) -> str:
    """The family of the board (see ``station.ports.MadeFor``)."""
    return _checked(settings)[1].family.name


def _behind_ports(board: Board) -> dict[int, str]:
    """What is behind each access port of the board's family, as a sentence names it."""
    cores = board.family.cores
    buses = {core.ahb_ap: f"the bus of the {core.name} core" for core in cores}
    return buses | {core.ctrl_ap: f"the CTRL-AP of the {core.name} core" for core in cores}


def _checked(settings: Mapping[str, object], place: str = "") -> tuple[str, Board, Any]:
    """Serial number, board and finder; ``ConfigError`` when a setting is unknown, missing or names nothing."""
    refuse_unknown(settings, KNOWN, "pyocd", place)
    serial = str(settings.get("serial", ""))
    if not serial:
        raise ConfigError(f"{place}the station file names no debug probe ('serial')")
    if not settings.get("board"):
        raise ConfigError(f"{place}the station file names no 'board', such as nrf5340dk")
    board = load_board(str(settings["board"]))
    name = str(settings.get("finder") or DEFAULT_FINDER)
    try:
        return serial, board, importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise  # a package that the finder itself needs
        raise ConfigError(f"{place}expected a Python module as 'finder', saw {name!r}, which there is not") from None


def _open_consoles(
    settings: Mapping[str, object], serial: str, board: Board, finder: Any, ways_out: ExitStack
) -> dict[str, object]:
    """All of them, each with DTR and its reader running before anything resets the part."""
    module = str(settings.get("console", DEFAULT_CONSOLE))
    consoles: dict[str, object] = {}
    for name, entry in board.consoles.items() if module else ():
        url = str(settings.get(f"{name}_url") or finder.console_url(serial, entry.interface))
        opened = importlib.import_module(module).open_console({"url": url, "baud": entry.baud, "lines": CONSOLE_LINES})
        ways_out.callback(opened.close)
        consoles[name] = opened
    taken = [getattr(console, "url", name) for name, console in consoles.items()]
    if len(set(taken)) < len(taken):
        raise BenchError(f"both consoles of debug probe {serial} are the port {taken[0]}; check the board file")
    return consoles
