"""The board file's findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.ftdi.board import load_board, parse_board
from station.errors import ConfigError

FILE = Path(__file__).parents[3] / "resources" / "boards" / "earlgrey-ft4232h.toml"
GOOD = FILE.read_text()


def line_of(text, beginning):
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(beginning))


def findings(text):
    with pytest.raises(ConfigError) as caught:
        parse_board(text, FILE)
    return [str(finding) for finding in caught.value.findings]


def test_the_shipped_board_is_clean():
    board = load_board("earlgrey-ft4232h")
    assert len(board.signals) == 17
    reset = board.signals["reset"]
    assert (reset.bank, reset.bit, reset.level(True), reset.level(False)) == ("A", 7, 0, 0x80)
    assert board.direction("A") == 0xF0 and board.pulled("A") == 0x10
    assert board.signals["presence"].asserted(0x00) and not board.signals["presence"].asserted(0x40)


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ('pin = "A5"', 'pin = "A6"', "tap_strap1", "tap_strap1: pin A6 is taken by tap_strap0"),
        ('pin = "A5"', 'pin = "A1"', "tap_strap0", "tap_strap0: pin A1 is taken by jtag TDI"),
        ("sw_strap0  ", "sw_strapp0 ", "sw_strapp0", "unknown signal 'sw_strapp0' (did you mean 'sw_strap0'?)"),
        ("pin_budget = 17", "pin_budget = 16", "pin_budget", "17 signals need a pin, but the board has 16 besides"),
        ('pin = "D0"', 'pin = "C6"', "dft_strap0", "dft_strap0: pin C6 (DCD#) is an input only and cannot be driven"),
        ('pin = "D2"', 'pin = "C2"', "console_rx_ready", "console_rx_ready: pin C2 belongs to the UART"),
        ('pin = "D3"', 'pin = "E3"', "test_start", "test_start: expected a pin such as A7, got 'E3'"),
        ('spi = "B" ', 'spi = "D" ', "spi =", "bus spi needs bank A or B"),
        ("jtag_hz = 10_000_000", "jtag_hz = 0", "jtag_hz", "jtag_hz: expected a number from 1000 to 3e+07, got 0"),
        ('"D4", direction = "in"', '"D4", direction = "out"', "test_done", "test_done: the station needs it as 'in'"),
        (
            'active = "low",  pull = "down"',
            'active = "lo",  pull = "down"',
            "reset  ",
            "active is 'low' or 'high', not 'lo'",
        ),
        ('"low",  pull = "up" }    # JTAG', '"low" }    # JTAG', "trst ", "trst: expected exactly the fields"),
    ],
)
def test_one_mistake_one_finding_with_its_line(old, new, line, sentence):
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    (finding,) = findings(text)
    assert finding.startswith(f"{FILE}:{line_of(text, line)}: ")
    assert sentence in finding


def test_all_mistakes_are_reported_at_once():
    text = GOOD.replace('pin = "A5"', 'pin = "A6"').replace("pin_budget = 17", "pin_budget = 3")
    assert len(findings(text)) == 2


def test_broken_toml_names_its_line():
    (finding,) = findings(GOOD + "\n[signals\n")
    assert finding.startswith(f"{FILE}:{len(GOOD.splitlines()) + 2}: not valid TOML")


def test_unknown_board_gets_a_hint():
    with pytest.raises(ConfigError, match="did you mean 'earlgrey-ft4232h'"):
        load_board("earlgrey-ft4232")
