"""The engine is told to end in the middle of a burn: the burn is finished, recorded, and the rerun passes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter

import pytest
from crash_bench import LABELS, ROOT
from engine_process import EngineProcess

from station.socket_worker import CHECK_IT

WAYS = {
    "window quit": EngineProcess.close_stdin,
    "Ctrl-C": lambda engine: engine.process.send_signal(signal.SIGINT),
    "SIGTERM": lambda engine: engine.process.send_signal(signal.SIGTERM),
    "SIGHUP": lambda engine: engine.process.send_signal(signal.SIGHUP),
    "closed terminal": EngineProcess.close_terminal,
    "SIGKILL": lambda engine: engine.process.kill(),
}
BURNS = (("chip_probe", "secrets", 8), ("final_test", "individualize", 120), ("final_test", "personalize", 4390))
"""Flow, burn, and the change of the chip, counted from the burn's intent, at which the engine is told to end."""


def rows(engine: EngineProcess) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "station", "journal", "export", "--station", str(engine.bench.station)]
    done = subprocess.run([*command, "--data", str(engine.place.data)], cwd=ROOT, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def strike(matrix, flow: str, burn: str, change: int, way: str) -> str:
    """One case: end the engine at that change, look at the record, run again; returns what is wrong."""
    window = matrix.flow(flow).windows[burn]
    bench, place = matrix.bench, matrix.bench.copy(window.place)
    bench.forget_registrations()
    bench.insert(place)
    with EngineProcess(bench, place) as engine:
        bench.watch.strike("after", change, lambda: WAYS[way](engine))
        engine.sign_in()
        engine.answer(CHECK_IT)
        code = engine.wait_ended()
        bench.watch.relax()
    assert code == (-signal.SIGKILL if way == "SIGKILL" else 0), f"exit code {code}"
    if way != "SIGKILL":
        found = rows(engine)
        last = json.loads(found[-1]["detail"]) if found[-1]["kind"] == "verdict" else {}
        assert last.get("kind") == "hold", f"{way} during {burn}: last row {found[-1]}"
        outcomes = [row for row in found if row["kind"] == "outcome" and row["title"] == burn]
        assert [json.loads(row["detail"])["evidence"] for row in outcomes] == ["done"], f"{way}: {outcomes}"
    again = bench.run(place)
    assert again.kind == "pass", f"{way} during {burn}: {again.result}"
    assert again.result["known_by_id"]["labels"].count(LABELS[place.recipe]) == 1
    assert not bench.chip.state()["double_burns"]
    broken = list(matrix.wrong_part(flow, place))
    bench.remove()
    bench.drop(place)
    return "; ".join(broken)


def carry_out(matrix, ledger, cases) -> None:
    counts: dict[str, Counter[str]] = {}
    for flow, burn, change, way in cases:
        broken = strike(matrix, flow, burn, change, way)
        assert not broken, broken
        counts.setdefault(f"{flow}|{burn}|{way}", Counter())["pass"] += 1
    ledger.write({"counts": counts, "quarantined": [], "double_burns": 0})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["window quit", "closed terminal"])
def test_the_burn_is_finished_first(matrix, ledger, way):
    carry_out(matrix, ledger, [(*BURNS[1], way)])


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_end_in_every_kind_of_burn(matrix, ledger, way):
    carry_out(matrix, ledger, [(*burn, way) for burn in BURNS])
