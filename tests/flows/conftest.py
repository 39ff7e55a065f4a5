from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from crash_bench import CrashBench
from crash_matrix import Matrix
from reliability import Ledger


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
