"""The workbench in this process: a part from insert to removal, recipes, lots, queries, snapshot."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from fake_station import FakePart
from spine_bench import Bench

from station import protocol
from station.config import load_config
from station.errors import ConfigError
from station.parts import Shared
from station.protocol import (
    Acknowledge,
    Answer,
    Lot,
    Query,
    Scan,
    SelectRecipe,
    SignedIn,
    SignIn,
    SignOut,
    Start,
)
from station.secret import Secret
from station.workbench import Workbench


def test_a_part_from_insert_to_removal(bench):
    bench.ready()
    assert bench.wait("insert_part").present is False
    bench.world.insert(1, lid=False)
    time.sleep(0.3)
    assert bench.watcher.states[1].state == "insert_part"
    state = bench.go("LOT1/D1")
    assert (state.state, state.verdict.bin, state.verdict.tray, state.label) == ("pass", 1, "GOOD", "LOT1/D1")
    assert not state.needs_acknowledge
    assert [(step.id, step.status) for step in state.steps] == [
        ("look", "done"), ("first", "done"), ("name", "done"), ("second", "done"), ("send", "done"),
    ]  # fmt: skip
    assert bench.world.part("LOT1/D1").burns() == ["first", "second"]
    assert len(bench.world.registered()) == 1
    empty = bench.take_out()
    assert empty.label == "" and empty.verdict is None and empty.epoch > state.epoch
    lot = bench.last(Lot)
    assert (lot.passed, lot.first_pass_yield, lot.bins[0].count) == (1, 1.0, 1)


def test_every_state_of_a_run_was_shown_and_burning_forbids_stop(bench):
    bench.ready()
    bench.go()
    states = [e for e in bench.events if isinstance(e, protocol.SocketState) and e.socket == 1]
    order = list(dict.fromkeys(state.state for state in states))
    assert order == ["insert_part", "scan", "checking", "running", "burning", "pass"][-len(order) :]
    assert all(state.burn_title and not state.stop_allowed for state in states if state.state == "burning")
    epochs = [state.epoch for state in states]
    assert epochs == sorted(epochs)


def test_nobody_signed_in_may_do_nothing(bench):
    for command in (SelectRecipe("fake-cp"), Scan("D1"), Start(1, 1), Query("history", 1), Acknowledge(1, 1),
                    Answer(1, 1, "x")):  # fmt: skip
        assert bench.refused(command) == "sign in first"
    assert not bench.bench.handle(SignIn("op", Secret(b"999999", "pin")))
    assert bench.last(SignedIn).failed == "name or PIN is wrong"
    bench.sign_in()
    assert bench.last(SignedIn).role == "operator"
    bench.bench.handle(SignOut())
    assert bench.refused(Scan("D1")) == "sign in first"


def test_queries(bench):
    bench.ready()
    bench.go("LOT1/D1")
    rows = bench.query("history", lot="LOT1")
    record = dict(zip(rows.columns, rows.rows[0], strict=True))
    assert (record["label"], record["kind"], record["bin"], rows.request) == ("LOT1/D1", "pass", 1, 7)
    steps = [row for row in bench.query("run", run=str(record["run"])).rows if row[0] == "step"]
    assert len(steps) == 5
    assert bench.query("yield").rows == (("fake-cp", "LOT1", 1, 1, 1.0, 0),)
    assert bench.query("pareto").rows[0][3] == 1
    assert ("burn", "fake.first: done") in bench.query("part", part="LOT1/D1").rows
    assert {row[0] for row in bench.query("operators").rows} == {"op", "eng", "sup"}
    assert bench.query("bench").rows[0][:2] == (1, "fake")
    assert bench.query("outbox").rows[0][5] > 0
    assert "did you mean 'history'" in bench.refused(Query("histroy", 1))
    assert "expected numbers" in bench.refused(Query("run", 1, {"run": "x"}))


def test_a_recipe_of_another_realm_is_refused(folder):
    for path in (folder / "res/recipes/fake-cp.toml", folder / "res/skus/fake/pack.toml"):
        path.write_text(path.read_text().replace('realm = "dev"', 'realm = "production"'))
    bench = Bench(folder)
    try:
        bench.sign_in("eng")
        assert "no part may meet the keys of another realm" in bench.refused(SelectRecipe("fake-cp"))
        assert "did you mean 'fake-cp'" in bench.refused(SelectRecipe("fake-pc"))
    finally:
        bench.close()


def test_the_lot_is_counted_again_after_a_restart(folder):
    first = Bench(folder)
    first.ready(lot="LOT1")
    first.go("LOT1/D1")
    first.close()
    second = Bench(folder)
    second.ready(lot="LOT1")
    assert second.last(Lot).passed == 1
    assert second.bench.typical(second.bench.recipe) > 0
    second.choose("LOT2")
    assert second.last(Lot).passed == 0
    second.close()


def test_a_second_station_on_the_folder_is_refused(bench, folder):
    with pytest.raises(ConfigError, match="another station"):
        Workbench(load_config(folder / "station.toml"))


def test_snapshot_is_everything_a_late_window_needs(bench):
    bench.ready()
    names = [type(event).__name__ for event in bench.bench.snapshot()]
    assert names == ["Hello", "SignedIn", "ApplianceState", "SocketState", "SocketState", "Lot"]


def test_the_parts_of_all_sockets_share_one_object_of_each_kind(bench, monkeypatch):
    """Those of another workbench share another one; one that is alone has its own."""
    lent, build = [], FakePart.__init__

    def note(part, ports, services):
        lent.append(services.shared)
        build(part, ports, services)

    monkeypatch.setattr(FakePart, "__init__", note)
    bench.ready()
    bench.go("LOT1/D1", 1)
    bench.go("LOT1/D2", 2)
    assert len(lent) == 2 and lent[0] is lent[1] and lent[0].of(Counter) is lent[1].of(Counter)
    assert Shared().of(Counter) is not lent[0].of(Counter)
