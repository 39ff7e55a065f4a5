"""The board file of a debug probe's socket: which family sits there, how fast SWD may be, which port is which console.

All findings of a file are reported at once as ``FILE:LINE: sentence``.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from station.errors import ConfigError, Finding, FormatError
from station.formats import nordic_family
from station.formats.nordic_family import NordicFamily
from station.resources import board_file
from station.toml_file import Strict, TomlFile, load

FASTEST_SWD = 2_000_000
"""Hz; above it writing flash through the debug port is not reliable (nordic-tfm sheet 3.4)."""


class ConsoleEntry(Strict):
    """``[console]``: the USB interface number of a serial port, and its baud rate."""

    interface: int = Field(ge=0, le=31)
    baud: int = Field(default=115_200, ge=300, le=3_000_000)


class BoardFile(Strict):
    """The whole of a board file; ``reset_seconds`` is how long the reset pin is held."""

    name: str = Field(min_length=1)
    family: str = Field(min_length=1)
    swd_hz: int = Field(ge=10_000, le=FASTEST_SWD)
    reset_seconds: float = Field(gt=0.0, le=1.0)
    console: ConsoleEntry
    console_net: ConsoleEntry | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """A checked board file; ``consoles`` by port name (``console``, ``console_net``)."""

    name: str
    family: NordicFamily
    swd_hz: int
    reset_seconds: float
    consoles: dict[str, ConsoleEntry]


def load_board(name: str) -> Board:
    """Read a board by its name in ``resources/boards`` or by its path; raises ``ConfigError`` with all findings."""
    parsed, file = load(board_file(name), BoardFile)
    try:
        family = nordic_family.family(parsed.family)
    except FormatError as error:
        raise ConfigError([file.finding(("family",), str(error))]) from None
    findings = _console_findings(parsed, family, file)
    if findings:
        raise ConfigError(findings)
    consoles = {"console": parsed.console}
    if parsed.console_net is not None:
        consoles["console_net"] = parsed.console_net
    return Board(parsed.name, family, parsed.swd_hz, parsed.reset_seconds, consoles)


def _console_findings(parsed: BoardFile, family: NordicFamily, file: TomlFile) -> list[Finding]:
    net = parsed.console_net
    if net is None:
        return []
    if family.net is None:
        sentence = f"{family.title} has no network core, so that nothing speaks on 'console_net'; remove the table"
        return [file.finding(("console_net",), sentence)]
    if net.interface == parsed.console.interface:
        sentence = f"both consoles name interface {net.interface}: each core speaks on a port of its own"
        return [file.finding(("console_net", "interface"), sentence)]
    return []
