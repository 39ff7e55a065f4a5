from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).parent))

from end2end_bench import EndBench


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Appliance and virtual bench of this test process; every test works in a place of its own."""
    bench = EndBench(tmp_path_factory.mktemp("end2end"))
    yield bench
    bench.close()


@pytest.fixture(autouse=True)
def tidy_socket(request):
    """Whatever a test did to the socket, the next one finds it empty."""
    yield
    if "bench" in request.fixturenames:
        request.getfixturevalue("bench").tidy()
