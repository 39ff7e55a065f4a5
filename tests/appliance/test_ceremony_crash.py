"""kill -9 before every single write of every step: the next call finishes it, and nothing that was there changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ceremony_bench import Bench

from station.appliance.ceremony.task import Step

SCRIPT = Path(__file__).parent / "ceremony_crash.py"
STEPS = (*Bench(None).steps(), Step.TLS_CSR, Step.OFFLINE_TLS_CERTGEN, Step.TLS_CERT)
LEAST = {
    Step.OFFLINE_COMMON_INIT: 15,  # begun, the sealed file, done: six calls each at least
    Step.SPM_SKU_CERTS: 60,
}

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run(*arguments: object) -> list[dict]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """The ceremony as it stood before each step."""
    root = tmp_path_factory.mktemp("crash")
    run(root)
    return root


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_every_write(prepared, step):
    *kills, summary = run(prepared / step, step)
    assert all(kill["status"] == 0 for kill in kills), kills
    assert summary["kills"] == len(kills) >= LEAST.get(step, 18)
