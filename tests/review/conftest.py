"""What the reviewer's tests borrow: the virtual die of the parts, the journal and fake station of the spine."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(TESTS / "spine")]

_specification = importlib.util.spec_from_file_location("parts_conftest", TESTS / "parts" / "conftest.py")
assert _specification is not None and _specification.loader is not None
_parts = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(_parts)
pack, seat, secrets = _parts.pack, _parts.seat, _parts.secrets

from fake_station import add_operators, fake_entries, make_station  # noqa: E402
from spine_help import open_journal  # noqa: E402

from station import plugins  # noqa: E402


@pytest.fixture
def journal(tmp_path):
    opened = open_journal(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A station file of the fake world with one operator of each role."""
    monkeypatch.setattr(plugins, "_entries", fake_entries)
    make_station(tmp_path)
    add_operators(tmp_path / "data")
    return tmp_path
