"""The spine's fixtures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from spine_help import open_journal


@pytest.fixture
def journal(tmp_path):
    opened = open_journal(tmp_path / "data")
    yield opened
    opened.close()
