"""The spine's fixtures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_station import add_operators, fake_entries, make_station
from spine_bench import Bench
from spine_help import open_journal

from station import plugins


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
