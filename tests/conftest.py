"""Rules for every test: no unexpected skip, no thread left behind, Qt without a screen unless asked.

Which tests begin: those that take long, so that no worker meets one when the others have nothing left to do.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from dealing import dealt, is_long

ALLOWED_SKIPS: tuple[str, ...] = ()
"""Beginnings of skip reasons that are expected; anything else fails the run."""

_unexpected: list[str] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Each worker begins with modules of long tests: those that were given more time than the others."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        items[:] = dealt(items, workers, is_long)


@pytest.fixture(autouse=True)
def no_thread_left_behind():
    """A test that leaves a thread running fails."""
    before = set(threading.enumerate())
    yield
    left = [thread for thread in set(threading.enumerate()) - before if thread.is_alive() and not thread.daemon]
    for thread in left:
        thread.join(2)
    left = [thread.name for thread in left if thread.is_alive()]
    assert not left, f"threads left running: {left}"


def pytest_runtest_logreport(report):
    """Remember skips whose reason nobody expects."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(ALLOWED_SKIPS or ("\0",)):
            _unexpected.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session, exitstatus):
    """An unexpected skip is a failure."""
    if _unexpected and exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    """Name the unexpected skips."""
    for line in _unexpected:
        terminalreporter.write_line(f"UNEXPECTED SKIP {line}")
