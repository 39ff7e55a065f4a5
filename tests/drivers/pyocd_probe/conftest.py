"""The fixtures of the probe driver's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pyocd_bench import ProbeBench, opened_up

from drivers.virtual.link import ENVIRONMENT


@pytest.fixture
def make_bench(tmp_path, monkeypatch):
    """Makes the bench of a chip; everything is closed afterwards."""
    made = []

    def make(chip="nrf5340"):
        bench = ProbeBench(tmp_path / "bench", chip)
        made.append(bench)
        monkeypatch.setenv(ENVIRONMENT, str(bench.bench.file))
        return bench

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench()


@pytest.fixture
def probe(bench):
    """The probe of a fresh nRF5340, recovered and open."""
    bench.insert()
    probe = bench.open().ports["probe"]
    probe.attach()
    opened_up(probe, bench.family)
    return probe
