"""The board file: which signal is on which pin of the adapter, its polarity and the pull it needs.

All findings of a file are reported at once as ``FILE:LINE: sentence``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from station.errors import ConfigError, Finding, nearest
from station.resources import board_file

OUTPUTS = (
    "reset", "trst", "tap_strap0", "tap_strap1", "sw_strap0", "sw_strap1", "sw_strap2", "dft_strap0", "dft_strap1",
)  # fmt: skip
INPUTS = (
    "console_tx_ready", "console_rx_ready", "test_start", "test_done", "test_error", "power_good", "presence",
    "lid_closed",
)  # fmt: skip
BUS_PINS = {
    "jtag": ("TCK", "TDI", "TDO", "TMS"),
    "spi": ("SCK", "MOSI", "MISO", "CS"),
    "uart": ("TX", "RX"),
}
MPSSE_BANKS = "AB"
MODEM_INPUTS = {3: "CTS#", 5: "DSR#", 6: "DCD#", 7: "RI#"}
FIELDS = {"pin", "direction", "active", "pull"}
RATES = {"jtag_hz": (1_000, 30_000_000), "spi_hz": (1_000, 30_000_000), "console_baud": (300, 3_000_000)}
PIN = re.compile(r"([A-D])([0-7])")


@dataclass(frozen=True, slots=True)
class Signal:
    """One named signal of the board."""

    name: str
    bank: str
    bit: int
    output: bool
    active_low: bool
    pull_up: bool

    @property
    def mask(self) -> int:
        """The pin's bit in its bank's byte."""
        return 1 << self.bit

    def level(self, asserted: bool) -> int:
        """The pin's bit for a logical value."""
        return self.mask if asserted != self.active_low else 0

    def asserted(self, levels: int) -> bool:
        """The logical value in a byte of pin levels."""
        return bool(levels & self.mask) != self.active_low


@dataclass(frozen=True, slots=True)
class Board:
    """A checked board file; frequencies in hertz, times in seconds."""

    name: str
    signals: Mapping[str, Signal]
    buses: Mapping[str, str]
    jtag_hz: float
    spi_hz: float
    console_baud: int
    reset_seconds: float

    def of_bank(self, bank: str, output: bool) -> list[Signal]:
        """Signals of one bank and direction."""
        return [s for s in self.signals.values() if s.bank == bank and s.output == output]

    def direction(self, bank: str) -> int:
        """Mask of the bank's output signals."""
        return sum(signal.mask for signal in self.of_bank(bank, output=True))

    def pulled(self, bank: str) -> int:
        """Levels that the board's pulls give the bank's output signals."""
        return sum(signal.mask for signal in self.of_bank(bank, output=True) if signal.pull_up)


def load_board(name: str) -> Board:
    """Read a board by its name in ``resources/boards`` or by its path; raises ``ConfigError`` with all findings."""
    file = board_file(name)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the board file {file} cannot be read ({error.strerror})") from None
    return parse_board(text, file)


def parse_board(text: str, file: Path) -> Board:
    """Check the text of a board file; raises ``ConfigError`` with all findings."""
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise ConfigError([Finding(file, int(line[1]) if line else 0, f"not valid TOML: {error}")]) from None
    reader = _Reader(file, text, body)
    board = reader.read()
    if reader.findings:
        raise ConfigError(sorted(reader.findings, key=lambda finding: finding.line))
    return board


class _Reader:
    """One pass over one file; collects findings instead of stopping at the first."""

    def __init__(self, file: Path, text: str, body: dict[str, Any]) -> None:
        self.findings: list[Finding] = []
        self._file = file
        self._body = body
        self._lines = _line_numbers(text)
        self._taken: dict[tuple[str, int], str] = {}

    def read(self) -> Board:
        buses = self._buses()
        signals = self._signals()
        self._budget(len(signals))
        rates = {key: self._number(key, *limits) for key, limits in RATES.items()}
        return Board(
            name=str(self._body.get("name", self._file.stem)),
            signals=signals,
            buses=buses,
            jtag_hz=rates["jtag_hz"],
            spi_hz=rates["spi_hz"],
            console_baud=int(rates["console_baud"]),
            reset_seconds=self._number("reset_seconds", 0.0, 10.0),
        )

    def _say(self, key: str, sentence: str) -> None:
        self.findings.append(Finding(self._file, self._lines.get(key, 0), sentence))

    def _number(self, key: str, low: float, high: float) -> float:
        value = self._body.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            self._say(key, f"{key}: expected a number from {low:g} to {high:g}, got {value!r}")
            return low
        return float(value)

    def _buses(self) -> dict[str, str]:
        buses: dict[str, str] = {}
        for name, bank in self._body.get("buses", {}).items():
            key = f"buses.{name}"
            if name not in BUS_PINS:
                self._say(key, f"unknown bus {name!r}{nearest(name, BUS_PINS)}; buses are {', '.join(BUS_PINS)}")
            elif bank not in ("A", "B", "C", "D"):
                self._say(key, f"bus {name}: expected a bank A to D, got {bank!r}")
            elif name in ("jtag", "spi") and bank not in MPSSE_BANKS:
                self._say(key, f"bus {name} needs bank A or B: only these have the serial engine, not {bank}")
            else:
                buses[name] = bank
                for bit, line in enumerate(BUS_PINS[name]):
                    self._take(key, bank, bit, f"{name} {line}")
        return buses

    def _take(self, key: str, bank: str, bit: int, user: str) -> None:
        other = self._taken.setdefault((bank, bit), user)
        if other != user:
            self._say(key, f"{user}: pin {bank}{bit} is taken by {other}")

    def _signals(self) -> dict[str, Signal]:
        signals: dict[str, Signal] = {}
        for name, fields in self._body.get("signals", {}).items():
            signal = self._signal(name, fields)
            if signal is not None:
                signals[name] = signal
        return signals

    def _signal(self, name: str, fields: Any) -> Signal | None:
        key = f"signals.{name}"
        known = (*OUTPUTS, *INPUTS)
        if name not in known:
            self._say(key, f"unknown signal {name!r}{nearest(name, known)}")
            return None
        if not isinstance(fields, dict) or set(fields) != FIELDS:
            self._say(key, f"{name}: expected exactly the fields {', '.join(sorted(FIELDS))}")
            return None
        place = PIN.fullmatch(str(fields["pin"]))
        if place is None:
            self._say(key, f"{name}: expected a pin such as A7, got {fields['pin']!r}")
            return None
        self._words(key, name, fields)
        bank, bit = place[1], int(place[2])
        self._take(key, bank, bit, name)
        self._check_direction(key, name, fields["direction"], bank, bit)
        return Signal(
            name, bank, bit, fields["direction"] == "out", fields["active"] == "low", fields["pull"] == "up"
        )  # fmt: skip

    def _words(self, key: str, name: str, fields: Mapping[str, Any]) -> None:
        for field, words in (("direction", ("in", "out")), ("active", ("low", "high")), ("pull", ("up", "down"))):
            if fields[field] not in words:
                self._say(key, f"{name}: {field} is {words[0]!r} or {words[1]!r}, not {fields[field]!r}")

    def _check_direction(self, key: str, name: str, direction: str, bank: str, bit: int) -> None:
        wanted = "out" if name in OUTPUTS else "in"
        if direction in ("in", "out") and direction != wanted:
            self._say(key, f"{name}: the station needs it as {wanted!r}, not {direction!r}")
        if bank == self._body.get("buses", {}).get("uart"):
            if bit not in MODEM_INPUTS:
                self._say(key, f"{name}: pin {bank}{bit} belongs to the UART; free are its modem inputs 3, 5, 6, 7")
            elif direction == "out":
                self._say(key, f"{name}: pin {bank}{bit} ({MODEM_INPUTS[bit]}) is an input only and cannot be driven")

    def _budget(self, used: int) -> None:
        budget = self._number("pin_budget", 1, 32)
        if used > budget:
            self._say("pin_budget", f"{used} signals need a pin, but the board has {budget:g} besides its buses")


def _line_numbers(text: str) -> dict[str, int]:
    """Line of every key, as ``table.key``; one key per line is what the format of these files asks for."""
    places: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([\w.]+)\]", line)
        entry = re.match(r"\s*([\w-]+)\s*=", line)
        if header:
            table = header[1] + "."
        elif entry:
            places.setdefault(table + entry[1], number)
    return places
