from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

sys.path.insert(0, str(Path(__file__).resolve().parent))

from crash_bench import CrashBench
from crash_matrix import Matrix
from nordic_bench import SETTLE, NordicBench, settled_plans
from reliability import Ledger

from station.flows import nordic_recovery, tfm_recover


@pytest.fixture(scope="session")
def matrix(tmp_path_factory) -> Iterator[Matrix]:
    """One bench, appliance and forking station process for all cases of this worker."""
    bench = CrashBench(tmp_path_factory.mktemp("crash"))
    try:
        yield Matrix(bench)
    finally:
        bench.close()


@pytest.fixture
def ledger(request) -> Ledger:
    """Where the counts of this test go."""
    return Ledger(request.node.name, full=request.node.get_closest_marker("full") is not None)


@pytest.fixture(scope="session")
def nordic_benches(tmp_path_factory) -> Iterator[dict[str, NordicBench]]:
    """One bench of each Nordic chip for all tests of this worker."""
    benches: dict[str, NordicBench] = {}
    yield benches
    for bench in benches.values():
        bench.close()


@pytest.fixture
def nordic(nordic_benches, tmp_path_factory, monkeypatch):
    """``nordic(chip, **settings)``: a bench with a new part, and a station that has seen none."""
    monkeypatch.setenv("STATION_VIRTUAL_BENCH", "")
    plans = [(title, title.settle) for title in settled_plans()]
    for title, _ in plans:
        object.__setattr__(title, "settle", SETTLE)
    monkeypatch.setattr(nordic_recovery, "FIRST_WORDS", SETTLE)
    monkeypatch.setattr(tfm_recover, "LAST_WORDS", 20.0)  # a machine may be busy

    def anew(chip, **settings):
        if chip not in nordic_benches:
            nordic_benches[chip] = NordicBench(tmp_path_factory.mktemp(chip), chip)
        return nordic_benches[chip].anew(**settings)

    yield anew
    for title, seconds in plans:
        object.__setattr__(title, "settle", seconds)


@pytest.fixture
def patience(monkeypatch):
    """Called when finished firmware is to be heard before it is erased: it gets the time of a busy machine."""
    return lambda: monkeypatch.setattr(nordic_recovery, "FIRST_WORDS", 20.0)
