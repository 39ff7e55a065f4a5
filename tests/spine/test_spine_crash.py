"""A station that is killed at any moment of a run never burns twice, and the same part passes when it is run again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_sigkill_at_every_commit_and_every_fuse(tmp_path):
    program = Path(__file__).with_name("crash_child.py")
    done = subprocess.run([sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    *cases, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert last["moments"] == len(cases) >= 20
    for case in cases:
        assert case["doubles"] == [], case
        assert case["second"] == "pass", case
        assert case["burns"] == ["first", "second"], case
        assert case["known"] == [True, True], case
