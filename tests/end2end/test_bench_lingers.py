"""A virtual bench outlives the window that started it for as long as an engine is connected: its parts keep power."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from drivers.virtual.handler import open_handler

ROOT = Path(__file__).resolve().parents[2]


def test_the_bench_waits_for_who_is_connected(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    command = [sys.executable, "-m", "station", "simulate", "--data", str(tmp_path), "--json"]
    bench = subprocess.Popen(
        [*command, "--parent-pid", str(parent.pid)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert json.loads(bench.stdout.readline())["sockets"] == 1
        hand = open_handler({"bench": str(tmp_path / "bench.json")})
        hand.parts()
        parent.kill()
        parent.wait()
        time.sleep(1.5)  # three looks at the parent
        assert bench.poll() is None and hand.parts() == []
        hand.close()
        assert bench.wait(10) == 0
    finally:
        for process in (parent, bench):
            if process.poll() is None:
                process.kill()
                process.wait()
        parent.stdin.close()
        bench.stdout.close()
