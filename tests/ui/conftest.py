"""Qt without a display, unless the caller has chosen a platform; set before anything imports Qt."""

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).parent))

import pytest
from ui_desk import Desk
from ui_samples import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def qapp_args():
    return ["station-gui"]


@pytest.fixture(scope="session")
def styled(qapp):
    from ui.__main__ import prepare

    prepare(qapp, "en")
    return qapp


@pytest.fixture
def desk(qtbot, styled, clock):
    return Desk(qtbot, clock)


def pytest_collection_modifyitems(items):
    """The offscreen platform warns about what it cannot do, whatever a program does; nothing else is let through."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.qt_log_ignore("This plugin does not support", extend=True))
