"""Every fault of the virtual bench through the demo: it ends by itself with a verdict and its summary line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from end2end_bench import environment

from drivers.virtual.bench_state import BENCH_FAULTS
from drivers.virtual.earlgrey.faults import FAULTS

SECONDS = 100.0
COUNTS = ("passed", "failed", "held", "quarantined", "bench_faults")

ENDINGS = {
    "lid_open": ("quarantined", "lid"),
    "unplug": ("quarantined", "adapter VB0001 is gone"),
    "power_off": ("quarantined", "power"),
    "unplug:50": ("held|quarantined", "adapter VB0001 is gone"),
    "no_contact": ("bench_faults", "TDO stays low"),
    "stuck_tap": ("bench_faults", "TDO stays high"),
    "wrong_state": ("failed", "(saw DEV)"),
    "transition_failure": ("passed", ""),
    "console_silence": ("failed", "did not come"),
    "console_garbage": ("failed", "garbled"),
    "test_error": ("failed", "TestError"),
    "corrupt_blob": ("failed", "it does not endorse this part"),
    "torn_word": ("quarantined", "cannot say whether 'Unlock RAW' happened"),
    "power_cut:before": ("quarantined", "during 'Unlock RAW'"),
    "power_cut:inside": ("quarantined", "during 'Unlock RAW'"),
    "power_cut:after": ("quarantined", "during 'Unlock RAW'"),
    "clear": ("passed", ""),
}
SOME = ("lid_open", "unplug", "power_off")


def demo(folder: Path, fault: str) -> tuple[int, list[dict[str, object]], str]:
    """Run it; its exit code, its events and what it said on stderr."""
    command = [sys.executable, "-m", "station", "demo", "--headless", "--parts", "1", "--sockets", "1", "--json"]
    done = subprocess.run(
        [*command, "--fault", fault, "--data", str(folder / "demo")], cwd=folder, env=environment(),
        stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def test_every_fault_is_in_the_table() -> None:
    assert {*FAULTS, *BENCH_FAULTS} <= set(ENDINGS)


@pytest.mark.parametrize("fault", [f if f in SOME else pytest.param(f, marks=pytest.mark.full) for f in ENDINGS])
def test_the_demo_ends_by_itself(tmp_path, fault) -> None:
    code, events, said = demo(tmp_path, fault)
    kinds, words = ENDINGS[fault]
    summary, told = events[-1], [event for event in events if event["event"] == "part"]
    assert summary["event"] == "demo_ended" and "error" not in summary, (summary, said)
    assert {str(part["die"]) for part in told} == {"die-0001"} and not any("part" in part for part in told)
    assert sum(int(str(summary[name])) for name in COUNTS) == summary["parts"] == 1
    assert any(summary[kind] == 1 for kind in kinds.split("|")), summary
    assert code == (0 if summary["passed"] else 1)
    assert words in str(told[-1]["reason"]), told[-1]
    assert "Contact(" not in str(told[-1]["reason"]) and "saw saw" not in str(told[-1]["reason"])
    assert "Traceback" not in said and not (tmp_path / "demo" / "bench" / "bench.json").exists()


def test_a_fault_that_there_is_not(tmp_path) -> None:
    code, events, said = demo(tmp_path, "lid_opened")
    (ended,) = events
    assert (code, ended["event"], ended["parts"], ended["passed"]) == (2, "demo_ended", 1, 0), said
    assert "no fault is called 'lid_opened'" in str(ended["error"])
    assert "no fault is called 'lid_opened' (did you mean 'lid_open'?)" in said and "--list-faults" in said
    assert not (tmp_path / "demo").exists(), "nothing was started"
