"""The workbench in this process: scan, start, verdict, acknowledge, remove; roles, labels, epochs, recovery, outbox."""

from __future__ import annotations

import time

import pytest
from fake_station import PIN, World, add_operators, fake_entries, make_station
from spine_help import open_journal

from station import labels, plugins, protocol
from station.config import load_config
from station.errors import ConfigError, JournalError, Refused
from station.journal_file import DiskFull, JournalFile
from station.journal_rows import Context
from station.protocol import (
    Acknowledge,
    Answer,
    CommandRefused,
    Latched,
    Lot,
    Query,
    Release,
    Rows,
    Scan,
    ScanTaken,
    SelectRecipe,
    SignedIn,
    SignIn,
    SignOut,
    Start,
    Stop,
)
from station.secret import Secret
from station.watching import Watcher
from station.workbench import Workbench

SECONDS = 20.0


class Bench:
    """A running workbench on a fake world, and what it said."""

    def __init__(self, folder, start=True):
        self.world = World(folder)
        self.bench = Workbench(load_config(folder / "station.toml"))
        self.events = []
        self.bench.subscribe(self.events.append)
        self.watcher = Watcher(self.bench)
        if start:
            self.bench.start()

    def sign_in(self, name="op"):
        assert self.bench.handle(SignIn(name, Secret(PIN, "pin")))

    def ready(self, name="op", lot=""):
        self.choose(lot)
        self.sign_in(name)

    def choose(self, lot="", wafer=""):
        self.sign_in("eng")
        assert self.bench.handle(SelectRecipe("fake-cp", lot, wafer)), self.said()

    def said(self):
        """The sentence of the last refusal."""
        return next((e.sentence for e in reversed(self.events) if isinstance(e, CommandRefused)), "")

    def refused(self, command):
        assert not self.bench.handle(command)
        return self.said()

    def wait(self, state, socket=1, **fields):
        return self.watcher.wait(
            socket, f"socket {socket} to be {state}",
            lambda now: now.state == state and all(getattr(now, n) == v for n, v in fields.items()), SECONDS,
        )  # fmt: skip

    def load(self, label="D1", socket=1):
        self.world.insert(socket)
        self.wait("scan", socket)
        assert self.bench.handle(Scan(label, socket)), self.said()
        return self.wait("scan", socket, may_start=True)

    def go(self, label="D1", socket=1):
        state = self.load(label, socket)
        assert self.bench.handle(Start(socket, state.epoch)), self.said()
        return self.verdict(socket)

    def verdict(self, socket=1):
        state = self.watcher.wait_verdict(socket, SECONDS)
        self.bench.worker(socket).wait_idle()
        return state

    def take_out(self, socket=1):
        now = self.watcher.states[socket]
        if now.needs_acknowledge:
            assert self.bench.handle(Acknowledge(socket, now.epoch)), self.said()
        self.world.remove(socket)
        return self.wait("insert_part", socket)

    def query(self, name, **arguments):
        assert self.bench.handle(Query(name, 7, arguments)), self.said()
        return next(e for e in reversed(self.events) if isinstance(e, Rows))

    def last(self, kind):
        return next(e for e in reversed(self.events) if isinstance(e, kind))

    def close(self):
        self.bench.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_entries", fake_entries)
    make_station(tmp_path)
    add_operators(tmp_path / "data")
    return tmp_path


@pytest.fixture
def bench(folder):
    made = Bench(folder)
    yield made
    made.close()


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
    for command in (SelectRecipe("fake-cp"), Scan("D1"), Start(1, 1), Stop(1), Acknowledge(1, 1), Answer(1, 1, "x")):
        assert bench.refused(command) == "sign in first"
    assert not bench.bench.handle(SignIn("op", Secret(b"999999", "pin")))
    assert bench.last(SignedIn).failed == "name or PIN is wrong"
    bench.sign_in()
    assert bench.last(SignedIn).role == "operator"
    bench.bench.handle(SignOut())
    assert bench.refused(Scan("D1")) == "sign in first"


def test_stale_epochs_and_wrong_sockets_are_refused(bench):
    bench.ready()
    state = bench.load()
    assert "has changed since" in bench.refused(Start(1, state.epoch - 1))
    assert "sockets 1 to 2" in bench.refused(Start(9, 1))
    assert "is not ready to start" in bench.refused(Start(2, bench.watcher.states[2].epoch))
    assert bench.world.part("D1").burns() == []


def test_scan_rules(bench):
    bench.sign_in("eng")
    bench.world.insert(1)
    bench.wait("scan")
    assert "choose a recipe first" in bench.refused(Scan("D1"))
    bench.bench.handle(SelectRecipe("fake-cp", "LOT1"))
    length = bench.bench.journal.length
    assert "expected a die label such as LOT1/D7" in bench.refused(Scan("banana"))
    assert bench.refused(Scan("1TLOT9")) == "That is the lot label; scan the part"
    assert "belongs to lot LOT2; this lot is LOT1" in bench.refused(Scan("LOT2/D1"))
    assert "not that it is you" in bench.refused(Scan("OP:ann"))
    assert "one printable scan" in bench.refused(Scan("D1\x07"))
    assert "socket 2 does not wait" in bench.refused(Scan("D1", 2))
    assert bench.last(ScanTaken).meaning == "refused"
    assert bench.bench.journal.length == length, "a refused scan leaves the journal as it was"
    assert bench.bench.handle(Scan("SLOT1/D1")), bench.said()
    assert bench.wait("scan", may_start=True).label == "LOT1/D1"
    bench.world.insert(2)
    bench.wait("scan", 2)
    assert "is in socket 1" in bench.refused(Scan("LOT1/D1", 2))
    bench.world.remove(1)
    bench.world.remove(2)
    bench.wait("insert_part")
    bench.wait("insert_part", 2)
    assert "no socket waits for this scan" in bench.refused(Scan("LOT1/D3"))


def test_a_scan_goes_to_the_socket_that_waits_longest(bench):
    bench.ready()
    bench.world.insert(2)
    bench.wait("scan", 2)
    bench.world.insert(1)
    bench.wait("scan", 1)
    assert bench.bench.handle(Scan("D1"))
    assert bench.wait("scan", 2, may_start=True).label == "D1"


def test_two_dimensional_labels_are_understood():
    envelope = "[)>\x1e06\x1d1TLOT1\x1dSLOT1/D4\x1e\x04"
    assert labels.understand(envelope) == labels.Scanned("part", "LOT1/D4")
    assert labels.understand("[)>\x1e06\x1d1TLOT1\x1e\x04") == labels.Scanned("lot", "LOT1")
    assert labels.understand(" TRAY:GOOD ") == labels.Scanned("tray", "GOOD")
    with pytest.raises(Refused, match="neither a serial number"):
        labels.understand("[)>\x1e06\x1dQ5\x1e\x04")
    with pytest.raises(Refused):
        labels.understand("x" * 300)


def test_a_part_that_passed_is_not_started_again(bench):
    bench.ready()
    bench.go()
    bench.take_out()
    bench.world.insert(1)
    bench.wait("scan")
    assert "passed Fake Probe at" in bench.refused(Scan("D1"))


def test_fail_is_acknowledged_and_its_retest_rule_holds(bench):
    bench.ready()
    bench.world.set(reject="wrong_state")
    state = bench.go()
    assert (state.state, state.verdict.reason, state.verdict.retest) == ("fail", "the part is bad", "do not retest")
    assert state.needs_acknowledge
    bench.world.remove(1)
    time.sleep(0.3)
    assert bench.watcher.states[1].state == "fail", "the verdict stays until somebody has read it"
    assert bench.bench.handle(Acknowledge(1, state.epoch))
    bench.wait("insert_part")
    bench.world.insert(1)
    bench.wait("scan")
    assert "it must not be retested" in bench.refused(Scan("D1"))


def test_retest_by_engineer_and_in_another_socket_only(bench):
    bench.ready()
    bench.world.set(reject="endorsement")
    bench.go()
    bench.take_out()
    bench.world.insert(1)
    bench.wait("scan")
    assert "only an engineer may retest it" in bench.refused(Scan("D1"))
    bench.sign_in("eng")
    assert bench.bench.handle(Scan("D1")), bench.said()
    bench.take_out()
    bench.sign_in("op")
    bench.world.set(reject="contact")
    bench.go("D2")
    bench.take_out()
    bench.world.insert(1)
    bench.wait("scan")
    assert "may be retested in another socket only" in bench.refused(Scan("D2", 1))
    bench.world.insert(2)
    bench.wait("scan", 2)
    assert bench.bench.handle(Scan("D2", 2)), bench.said()


def test_the_trays_barcode_acknowledges(bench):
    bench.ready()
    bench.world.set(reject="wrong_state")
    bench.go()
    assert "that is tray GOOD; the part of socket 1 goes to RED" in bench.refused(Scan("TRAY:GOOD"))
    assert bench.bench.handle(Scan("TRAY:RED"))
    assert bench.wait("fail", needs_acknowledge=False)


def test_consecutive_fails_stop_the_lot_for_operators(bench):
    bench.ready()
    bench.world.set(reject="otp")
    for label in ("D1", "D2"):
        bench.go(label)
        bench.take_out()
    state = bench.load("D3")
    assert "2 parts failed in a row" in bench.refused(Start(1, state.epoch))
    bench.sign_in("eng")
    assert bench.bench.handle(Start(1, state.epoch))
    bench.verdict()


def test_quarantine_is_released_by_a_supervisor_only_and_with_a_reason(bench):
    bench.ready()
    bench.world.part("D1").burn("first")  # somebody else did it
    assert bench.go().state == "quarantine"
    bench.take_out()
    bench.world.insert(1)
    bench.wait("scan")
    assert "in quarantine" in bench.refused(Scan("D1"))
    assert "needs the role supervisor" in bench.refused(Release("D1", "looked at it"))
    bench.sign_in("sup")
    assert "needs a reason" in bench.refused(Release("D1", " "))
    assert "knows no part" in bench.refused(Release("D77", "looked at it"))
    assert bench.bench.handle(Release("D1", "the lab burnt it")), bench.said()
    assert "is not in quarantine" in bench.refused(Release("D1", "again"))
    assert bench.bench.handle(Scan("D1")), bench.said()
    state = bench.wait("scan", may_start=True)
    bench.bench.handle(Start(1, state.epoch))
    ended = bench.verdict()
    assert ended.state == "pass", ended.verdict
    assert bench.world.part("D1").burns() == ["first", "second"]


def test_a_wrong_chip_in_the_socket_is_quarantine(bench):
    bench.ready()
    bench.go()
    bench.take_out()
    bench.world.set(chip=b"D1".hex().ljust(32, "0"))
    state = bench.go("D2")
    assert state.state == "quarantine" and "belongs to label D1" in state.verdict.reason


def test_appliance_down_before_any_burn_blames_nobody_and_the_part_goes_again(bench):
    bench.ready()
    bench.world.set(appliance="down")
    state = bench.go()
    assert (state.state, state.verdict.bin) == ("bench_fault", 0)
    assert "no appliance listens" in state.verdict.reason
    assert bench.world.part("D1").burns() == []
    bench.world.set(appliance="up")
    assert bench.bench.handle(Acknowledge(1, state.epoch))
    again = bench.wait("scan", may_start=True)
    assert again.label == "D1"
    bench.bench.handle(Start(1, again.epoch))
    assert bench.verdict().state == "pass"


def test_pending_registration_is_delivered_in_the_background_and_the_tile_turns_to_pass(bench, monkeypatch):
    monkeypatch.setattr("station.outbox.FIRST_DELAY", 0.05)
    bench.ready()
    bench.world.set(name_seconds=0.6)
    state = bench.load()
    bench.bench.handle(Start(1, state.epoch))
    bench.watcher.wait(1, "the id", lambda now: bool(now.device_id), SECONDS)
    bench.world.set(appliance="down")
    held = bench.verdict()
    assert (held.state, held.verdict.bin_id) == ("hold", "registration_pending")
    assert bench.world.registered() == []
    bench.world.set(appliance="up")
    bench.bench.outbox.wake()
    bench.wait("pass")
    assert len(bench.world.registered()) == 1
    assert bench.last(Lot).passed == 1 and bench.last(Lot).held == 0


def test_adapter_gone_is_a_bench_fault_and_comes_back(bench, monkeypatch):
    monkeypatch.setattr("station.socket_worker.REOPEN", 0.05)
    bench.ready()
    bench.world.set(adapter="gone")
    assert bench.wait("bench_fault").expects == "the adapter is gone"
    bench.world.set(adapter="here")
    bench.wait("insert_part")
    bench.world.insert(1, power=False)
    assert "no power" in bench.wait("bench_fault").expects
    bench.world.insert(1)
    bench.wait("scan")


def test_stop_outside_a_burn_ends_the_run(bench):
    bench.ready()
    bench.world.set(look_seconds=60.0)
    state = bench.load()
    bench.bench.handle(Start(1, state.epoch))
    bench.wait("running")
    assert bench.bench.handle(Stop(1))
    ended = bench.verdict()
    assert ended.state == "bench_fault" and "operator stopped" in ended.verdict.reason
    assert bench.world.part("D1").burns() == []


def test_lid_opened_in_a_burn_is_quarantine_and_outside_is_not(bench):
    bench.ready()
    bench.world.set(burn_seconds=0.6)
    state = bench.load()
    bench.bench.handle(Start(1, state.epoch))
    bench.wait("burning")
    bench.world.insert(1, lid=False)
    ended = bench.verdict()
    assert ended.state == "quarantine" and "lid was opened" in ended.verdict.reason
    assert bench.world.part("D1").burns() == ["first"], "the burn itself was not torn"
    bench.world.set(burn_seconds=0.0, look_seconds=60.0)
    state = bench.load("D2", 2)
    bench.bench.handle(Start(2, state.epoch))
    bench.wait("running", 2)
    bench.world.remove(2)
    assert bench.verdict(2).state == "bench_fault"


def test_questions_stay_in_their_tile(bench):
    bench.ready()
    bench.world.set(question=True)
    state = bench.load()
    bench.bench.handle(Start(1, state.epoch))
    asked = bench.watcher.wait(1, "a question", lambda now: now.prompt is not None, SECONDS)
    assert "no open question 99" in bench.refused(Answer(1, 99, "left"))
    assert "expected one of left, right" in bench.refused(Answer(1, asked.prompt.id, "up"))
    assert bench.bench.handle(Answer(1, asked.prompt.id, "right"))
    assert bench.verdict().state == "pass"
    assert any(isinstance(e, protocol.Log) and e.text == "answered right" for e in bench.events)


def test_an_error_in_the_program_leaves_a_report_without_data(bench, folder):
    bench.ready()
    bench.world.set(crash=True)
    assert bench.go().state == "bench_fault"
    report = next((folder / "data").glob("crash-*.txt")).read_text()
    assert "RuntimeError" in report and "fake_station.py" in report
    assert "a secret in a message" not in report
    assert all("a secret in a message" not in str(event) for event in bench.events)


def test_journal_that_cannot_be_written_latches_and_shows_no_verdict(bench, monkeypatch):
    bench.ready()
    state = bench.load()

    def full(self, rows, durable):
        raise DiskFull("disk is full")

    monkeypatch.setattr(JournalFile, "commit", full)
    bench.bench.handle(Start(1, state.epoch))
    with pytest.raises(JournalError, match="disk is full"):
        bench.watcher.wait_verdict(1, SECONDS)
    assert bench.last(Latched).sentence == "disk is full"
    bench.bench.worker(1).wait_idle()
    assert bench.watcher.states[1].verdict is None
    assert bench.world.part("D1").burns() == []
    assert bench.bench.journal.latched


def leave_interrupted(folder, intent=True):
    """What a killed station leaves behind."""
    journal = open_journal(folder / "data")
    context = Context(station="FAKE-1", socket=1, label_kind="die", label="D1", recipe="fake-cp", flow="fake",
                      operator="op", mode="production", touchdown=41)  # fmt: skip
    journal.scan(context, {})
    start = journal.start(context, {})
    if intent:
        journal.intend(start.context, "first", {"settle": 0.0, "text": "Burn the first"})
    journal._store.close()
    journal._file = None
    journal.close()


def test_an_interrupted_part_is_checked_and_goes_on(folder):
    leave_interrupted(folder)
    World(folder).insert(1)
    World(folder).part("D1").burn("first")  # it had happened before the station died
    bench = Bench(folder)
    try:
        state = bench.wait("interrupted")
        assert "Is the part D1 still in socket 1?" in state.prompt.text
        assert bench.refused(Answer(1, state.prompt.id, "Check it")) == "sign in first"
        bench.sign_in("eng")
        assert bench.bench.handle(Answer(1, state.prompt.id, "Check it")), bench.said()
        assert bench.verdict().state == "pass"
        assert bench.world.part("D1").burns() == ["first", "second"]
        assert bench.watcher.states[1].contacts >= 41
    finally:
        bench.close()
    after = Bench(folder)
    assert after.watcher.states[1].state != "interrupted"
    after.close()


@pytest.mark.parametrize("intent, state", [(True, "quarantine"), (False, "bench_fault")])
def test_an_interrupted_part_that_was_moved(folder, intent, state):
    leave_interrupted(folder, intent)
    bench = Bench(folder)
    try:
        asked = bench.wait("interrupted")
        bench.sign_in("eng")
        assert bench.bench.handle(Answer(1, asked.prompt.id, "No: quarantine")), bench.said()
        assert bench.wait(state).verdict is not None
        bench.take_out()
        bench.bench.handle(SelectRecipe("fake-cp"))
        bench.world.insert(1)
        bench.wait("scan")
        if intent:
            assert "in quarantine" in bench.refused(Scan("D1"))
        else:
            assert bench.bench.handle(Scan("D1")), bench.said()
    finally:
        bench.close()


def test_queries(bench):
    bench.ready()
    bench.go("LOT1/D1")
    rows = bench.query("history", lot="LOT1")
    record = dict(zip(rows.columns, rows.rows[0], strict=True))
    assert (record["label"], record["kind"], record["bin"], rows.request) == ("LOT1/D1", "pass", 1, 7)
    steps = [row for row in bench.query("run", run=str(record["run"])).rows if row[0] == "step"]
    assert len(steps) == 5
    assert bench.query("yield").rows == (("fake-cp", "LOT1", 1, 1, 1.0),)
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
