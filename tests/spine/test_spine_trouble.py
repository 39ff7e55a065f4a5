"""What goes wrong around a run: appliance, adapter, lid, stop, program, disk, and the station that died."""

from __future__ import annotations

import time

import pytest
from fake_station import World
from spine_bench import SECONDS, Bench
from spine_help import open_journal

from station import protocol
from station.crash_report import CrashReports
from station.errors import JournalError
from station.journal_file import DiskFull, JournalFile
from station.journal_rows import Context
from station.protocol import (
    Acknowledge,
    Answer,
    Latched,
    Scan,
    SelectRecipe,
    SignOut,
    Start,
    Stop,
)


def wait_until(claim):
    ends = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < ends
        time.sleep(0.02)


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


@pytest.mark.parametrize(("who", "words"), [("op", "(op)"), ("", "(nobody signed in)")])
def test_stop_needs_nobody_and_the_record_names_who_was_there(bench, who, words):
    bench.ready()
    bench.world.set(look_seconds=60.0)
    state = bench.load()
    assert bench.bench.handle(Start(1, state.epoch))
    bench.wait("running")
    if not who:
        bench.bench.handle(SignOut())
    assert bench.bench.handle(Stop(0)), bench.said()
    bench.verdict()
    (row,) = bench.bench.journal.rows("WHERE kind = 'verdict'")
    assert row.detail["reason"] == f"the operator stopped the run {words}"


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


def test_an_error_in_the_program_leaves_a_report_without_data(bench, folder):
    bench.ready()
    bench.world.set(crash=True)
    assert bench.go().state == "bench_fault"
    report = next((folder / "data").glob("crash-*.txt")).read_text()
    assert "RuntimeError" in report and "fake_station.py" in report
    assert "a secret in a message" not in report
    assert all("a secret in a message" not in str(event) for event in bench.events)


def test_a_driver_that_fails_the_same_way_at_every_poll_writes_one_report(bench, folder, monkeypatch):
    monkeypatch.setattr("station.socket_worker.REOPEN", 0.0)
    seen = []
    note = bench.bench.crashes.note
    monkeypatch.setattr(bench.bench.crashes, "note", lambda error: seen.append(note(error)) or seen[-1])
    bench.world.set(adapter="mistaken")
    assert "ZeroDivisionError" in bench.wait("bench_fault").expects
    wait_until(lambda: len(seen) >= 12)  # both sockets poll the same driver
    bench.world.set(adapter="here")
    bench.wait("insert_part")
    (report,) = (folder / "data").glob("crash-*.txt")
    assert report.read_text().count("Traceback") == 0 and "seen 10 times until" in report.read_text()
    said = [e.text for e in bench.events if isinstance(e, protocol.Log) and "an error in the program" in e.text]
    assert len(said) == 2 and "10 times so far" in said[1]
    bench.world.set(crash=True)
    bench.ready()
    bench.go()
    assert len(list((folder / "data").glob("crash-*.txt"))) == 2, "another error is another report"


def test_a_report_that_found_no_room_is_written_when_there_is_some(tmp_path):
    reports, error = CrashReports(tmp_path / "full"), RuntimeError("a secret")
    assert "could not be written" in reports.note(error).sentence
    (tmp_path / "full").mkdir()
    told = [reports.note(error) for _ in range(9)][-1]
    (report,) = (tmp_path / "full").iterdir()
    assert told.worth_saying and str(report) in told.sentence and "RuntimeError" in report.read_text()


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


def asked_again(bench, asked):
    """The tile once the same question is open under another number."""
    return bench.watcher.wait(
        1, "the question again", lambda now: now.prompt is not None and now.prompt.id != asked.prompt.id, SECONDS
    )


def test_an_interrupted_part_whose_adapter_is_away_is_asked_for_again(folder):
    """The answer is not used up: no run is begun, and the next answer ends the interrupted one."""
    leave_interrupted(folder)
    World(folder).insert(1)
    World(folder).part("D1").burn("first")
    World(folder).set(adapter="gone")
    bench = Bench(folder)
    try:
        asked = bench.wait("interrupted")
        bench.sign_in("eng")
        assert bench.bench.handle(Answer(1, asked.prompt.id, "Check it")), bench.said()
        again = asked_again(bench, asked)
        bench.bench.worker(1).wait_idle()
        assert again.prompt.text.startswith("The adapter is gone. Do not move. Is the part D1 still in socket 1?")
        assert (
            again.state == "interrupted"
            and again.label == "D1"
            and again.verdict is None
            and again.expects == "the adapter is gone"
        )
        assert set(bench.bench.journal.interrupted()) == {1}
        World(folder).set(adapter="here")
        assert bench.bench.handle(Answer(1, again.prompt.id, "Check it")), bench.said()
        assert bench.verdict().state == "pass"
        assert bench.world.part("D1").burns() == ["first", "second"]
        assert not bench.bench.journal.interrupted()
    finally:
        bench.close()


def test_an_adapter_that_is_away_does_not_keep_the_part_from_quarantine(folder):
    leave_interrupted(folder)
    World(folder).set(adapter="gone")
    bench = Bench(folder)
    try:
        asked = bench.wait("interrupted")
        bench.sign_in("eng")
        assert bench.bench.handle(Answer(1, asked.prompt.id, "Check it"))
        again = asked_again(bench, asked)
        bench.bench.worker(1).wait_idle()
        assert bench.bench.handle(Answer(1, again.prompt.id, "No: quarantine")), bench.said()
        bench.wait("quarantine", needs_acknowledge=True)
        assert not bench.bench.journal.interrupted()
    finally:
        bench.close()


@pytest.mark.parametrize("intent, state", [(True, "quarantine"), (False, "bench_fault")])
def test_an_interrupted_part_that_was_moved(folder, intent, state):
    leave_interrupted(folder, intent)
    bench = Bench(folder)
    try:
        asked = bench.wait("interrupted")
        bench.sign_in("eng")
        assert bench.bench.handle(Answer(1, asked.prompt.id, "No: quarantine")), bench.said()
        shown = bench.wait(state, needs_acknowledge=True)
        assert shown.label == shown.device_id == "", "nobody knows what lies in the socket"
        assert "D1" in shown.verdict.part_state and "wherever it is" in shown.verdict.part_state
        assert "lies in socket 1" in shown.verdict.part_state
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
