"""Runs that never got a verdict, as the history tells them; and runs that there are not."""

from __future__ import annotations

import csv
import json

import pytest
from spine_bench import Bench
from test_spine_trouble import leave_interrupted

from station import protocol
from station.records.history import ENDED_DURING


@pytest.fixture
def broken(folder, station):
    """Two runs of one socket that nobody ended; the station is not at work."""
    leave_interrupted(folder)
    leave_interrupted(folder, intent=False)
    return station


def test_every_one_says_so(broken, folder):
    runs = json.loads(broken("history", "--json"))
    assert [(run["kind"], run["reason"], run["bin"]) for run in runs] == [("interrupted", ENDED_DURING, None)] * 2
    assert len(json.loads(broken("history", "--json", "--where", "kind=interrupted"))) == 2
    broken("history", "--csv", str(folder / "runs.csv"))
    with open(folder / "runs.csv", encoding="utf-8", newline="") as file:
        assert {row["kind"] for row in csv.DictReader(file)} == {"interrupted"}
    number = str(runs[0]["run"])
    lines = json.loads(broken("history", "--query", "run", "--where", f"run={number}", "--json"))
    assert {"what": "run", "name": "kind", "value": "interrupted", "detail": ""} in lines


def test_while_a_station_works_nobody_else_knows_of_its_last_run(broken, folder):
    bench = Bench(folder)
    try:
        assert [run["kind"] for run in json.loads(broken("history", "--json"))] == ["", "interrupted"]
        bench.wait("interrupted")
        bench.sign_in("eng")
        rows = bench.query("history")
        assert [dict(zip(rows.columns, row, strict=True))["kind"] for row in rows.rows] == ["interrupted"] * 2
    finally:
        bench.close()


def test_a_run_in_progress_is_none(bench):
    bench.ready()
    bench.world.set(look_seconds=30.0)
    state = bench.load("D1")
    assert bench.bench.handle(protocol.Start(1, state.epoch)), bench.said()
    bench.wait("running")
    rows = bench.query("history")
    assert dict(zip(rows.columns, rows.rows[0], strict=True))["kind"] == ""
    assert bench.bench.handle(protocol.Stop(1))
    bench.verdict()


def test_a_run_that_there_is_not(broken, station):
    said = station("history", "--query", "run", "--where", "run=99999", code=2)
    assert "no run 99999 in these records" in said
