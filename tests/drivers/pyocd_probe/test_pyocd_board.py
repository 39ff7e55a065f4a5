"""The board files of debug probes: what ships is clean, each mistake is one finding with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.pyocd_probe.board import load_board
from station.errors import ConfigError
from station.resources import resources_folder

BOARDS = resources_folder() / "boards"
GOOD = (BOARDS / "nrf5340dk.toml").read_text()
LINES = GOOD.splitlines()


def line_of(beginning, nth=1):
    return [number for number, line in enumerate(LINES, 1) if line.startswith(beginning)][nth - 1]


def findings(folder: Path, text: str) -> list[str]:
    file = folder / "own.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_board(str(file))
    return [str(finding).removeprefix(f"{file}:") for finding in caught.value.findings]


@pytest.mark.parametrize(
    ("name", "family", "consoles"),
    [
        ("nrf5340dk", "nrf5340", {"console": 2, "console_net": 0}),
        ("nrf9160dk", "nrf9160", {"console": 0}),
        ("nrf9161dk", "nrf91x1", {"console": 0}),
    ],
)
def test_the_shipped_boards_are_clean(name, family, consoles):
    board = load_board(name)
    assert (board.name, board.family.name, board.swd_hz) == (name, family, 1_000_000)
    assert {port: entry.interface for port, entry in board.consoles.items()} == consoles
    assert {entry.baud for entry in board.consoles.values()} == {115_200}


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ('"nrf5340"', '"nrf5430"', line_of("family"), "expected one of the families nrf5340, nrf9160, nrf91x1"),
        ("1_000_000", "4_000_000", line_of("swd_hz"), "swd_hz: expected less than or equal to 2000000, found 4000000"),
        ("0.02", "0.0", line_of("reset_seconds"), "reset_seconds: expected greater than 0, found 0.0"),
        ("interface = 0", "interface = 2", line_of("interface", 2), "both consoles name interface 2"),
        ("interface = 2\n", 'interface = "2"\n', line_of("interface"), "console.interface: expected a valid integer"),
        ("baud = 115_200\n\n", "baud = 1\n\n", line_of("baud"), "console.baud: expected greater than or equal to 300"),
        ("swd_hz =", "swd_khz =", line_of("swd_hz"), "unknown key 'swd_khz' (did you mean 'swd_hz'?)"),
        ('"nrf5340"', '"nrf9160"', line_of("[console_net]"), "nRF9160 has no network core"),
    ],
)
def test_one_mistake_one_finding_with_its_line(tmp_path, old, new, line, sentence):
    assert old in GOOD
    found = findings(tmp_path, GOOD.replace(old, new, 1))
    assert any(finding.startswith(f"{line}: ") and sentence in finding for finding in found), found


def test_several_mistakes_come_at_once(tmp_path):
    text = GOOD.replace("1_000_000", "4_000_000").replace("0.02", "9.0")
    assert len(findings(tmp_path, text)) == 2


def test_an_unknown_board_gets_a_hint():
    with pytest.raises(ConfigError, match="did you mean 'nrf5340dk'"):
        load_board("nrf5340dkk")
