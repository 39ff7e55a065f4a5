"""The spine's fixtures."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_station import add_operators, fake_entries, make_station
from spine_bench import Bench
from spine_help import open_journal

from station import plugins
from station.cli import command_line


@pytest.fixture
def journal(tmp_path):
    opened = open_journal(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_entries", fake_entries)
    make_station(tmp_path)
    add_operators(tmp_path / "data")
    return tmp_path


@pytest.fixture
def bench(folder):
    made = Bench(folder)
    yield made
    made.close()


@pytest.fixture
def station(folder, monkeypatch, capsys):
    """The command line in this process; hardening is for real processes (the engine tests above see to it)."""
    monkeypatch.setattr(plugins, "_entries", fake_entries)
    monkeypatch.setattr("station.secret.harden_process", lambda: None)
    monkeypatch.setattr("station.processes.clean_environment", lambda realm: None)
    monkeypatch.setenv("STATION_FILE", str(folder / "station.toml"))

    def call(*arguments, given=b"", code=0):
        monkeypatch.setattr(sys, "argv", ["station", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        ended = command_line()
        said = capsys.readouterr()
        assert ended == code, (ended, said.out[-800:], said.err[-1500:])
        return said.out + said.err

    return call
