"""One socket seen by somebody who swaps parts, stops at the wrong moment and signs in as somebody else."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from fake_station import PIN, ROOT, World
from spine_bench import SECONDS, Bench

from station import commands, protocol
from station.errors import Refused
from station.journal_rows import Context
from station.protocol import Acknowledge, Scan, Start
from station.socket_view import SocketView
from station.socket_worker import SocketWorker
from station.tile_listener import TileListener


@pytest.fixture
def bench(folder):
    made = Bench(folder)
    yield made
    made.close()


def end_in_bench_fault(bench):
    """A run of D1 that blames nobody: the appliance is down."""
    bench.ready()
    bench.world.set(appliance="down")
    state = bench.go("D1")
    assert (state.state, state.verdict.kind) == ("bench_fault", "bench")
    bench.world.set(appliance="up")
    return state


def swap_part(bench):
    """The lid goes up, another part goes in, the lid goes down: long enough for the sensors to see it."""
    bench.world.remove(1)
    bench.wait("bench_fault", present=False)
    bench.world.insert(1)
    bench.wait("bench_fault", present=True)


def test_a_part_swapped_before_the_verdict_was_acknowledged_is_not_started_under_the_old_label(bench):
    state = end_in_bench_fault(bench)
    swap_part(bench)
    assert bench.bench.handle(Acknowledge(1, bench.watcher.states[1].epoch)), bench.said()
    now = bench.wait("scan")
    assert (now.label, now.may_start, now.verdict) == ("", False, None)
    assert "is not ready to start" in bench.refused(Start(1, now.epoch))
    assert state.label == "D1" and bench.world.part("D1").burns() == []


def test_a_part_swapped_while_the_adapter_was_gone_is_not_started_under_the_old_label(bench, monkeypatch):
    monkeypatch.setattr("station.socket_worker.REOPEN", 0.05)
    end_in_bench_fault(bench)
    physical = bench.bench.worker(1).physical
    bench.world.set(adapter="gone")
    end = time.monotonic() + SECONDS
    while physical.is_open and time.monotonic() < end:
        time.sleep(0.02)
    bench.world.set(adapter="")
    assert bench.bench.handle(Acknowledge(1, bench.watcher.states[1].epoch)), bench.said()
    now = bench.wait("scan")
    assert (now.label, now.may_start) == ("", False)


def test_a_part_that_stayed_in_its_socket_goes_again_without_another_scan(bench):
    state = end_in_bench_fault(bench)
    assert bench.bench.handle(Acknowledge(1, state.epoch))
    now = bench.wait("scan", may_start=True)
    assert now.label == "D1"
    assert bench.bench.handle(Start(1, now.epoch))
    assert bench.verdict().state == "pass"


def test_a_failed_part_that_was_swapped_before_its_verdict_was_acknowledged_leaves_no_verdict_on_the_next(bench):
    bench.ready()
    bench.world.set(reject="otp")
    assert bench.go("D1").state == "fail"
    bench.world.remove(1)
    bench.wait("fail", present=False)
    bench.world.insert(1)
    bench.wait("fail", present=True)
    assert bench.bench.handle(Acknowledge(1, bench.watcher.states[1].epoch))
    now = bench.wait("scan")
    assert now.verdict is None and now.label == ""


def test_a_label_accepted_for_a_part_that_has_just_left_is_refused(bench, monkeypatch):
    bench.ready()
    bench.world.insert(1)
    bench.wait("scan")
    worker = bench.bench.worker(1)
    real = bench.bench.journal.scan

    def slow(context, detail):
        bench.world.remove(1)  # while the record goes to the disk
        bench.wait("insert_part")
        return real(context, detail)

    monkeypatch.setattr(bench.bench.journal, "scan", slow)
    assert "was moved while its label was scanned" in bench.refused(Scan("D1", 1))
    bench.world.insert(1)
    now = bench.wait("scan")
    assert (now.label, now.may_start) == ("", False)
    assert worker.view.now.label == ""


def test_a_start_for_a_part_of_an_earlier_touchdown_is_refused(bench):
    bench.ready()
    bench.load("D1")
    worker = bench.bench.worker(1)
    worker.touchdown += 1  # the sensors saw the part leave and come back
    assert "was moved since its label was scanned" in bench.refused(Start(1, worker.view.now.epoch))
    assert worker.view.now.may_start is False and bench.world.part("D1").burns() == []


def test_a_station_that_is_told_to_end_before_an_ordered_run_has_begun_burns_nothing(bench, monkeypatch):
    bench.ready()
    state = bench.load("D1")
    waiting, go_on = threading.Event(), threading.Event()

    def settle(self, record):
        waiting.set()
        assert go_on.wait(SECONDS)

    monkeypatch.setattr(SocketWorker, "_wait_settled", settle)
    assert bench.bench.handle(Start(1, state.epoch))
    assert waiting.wait(SECONDS)
    bench.bench.worker(1).stop()
    go_on.set()
    shown = bench.verdict()
    assert bench.world.part("D1").burns() == []
    assert shown.verdict.kind == "bench" and "stopped" in shown.verdict.reason


def test_a_stop_between_the_last_check_and_the_question_does_not_leave_the_run_waiting_for_ever():
    listener = TileListener(SocketView(1, 0, lambda event: None), lambda event: None)
    listener.answering(False)
    answers: list[str] = []
    asker = threading.Thread(target=lambda: answers.append(listener.ask("Which way?", ("left", "right"))), daemon=True)
    asker.start()
    asker.join(5)
    assert answers == [""]


def test_an_opened_lid_ends_a_question(bench):
    bench.ready()
    bench.world.set(question=True)
    state = bench.load("D1")
    assert bench.bench.handle(Start(1, state.epoch))
    bench.watcher.wait(1, "the question", lambda now: now.prompt is not None, SECONDS)
    bench.world.insert(1, lid=False)
    assert "the lid was opened" in bench.verdict().verdict.reason


def test_who_starts_must_be_allowed_to_and_not_only_who_scanned(bench):
    bench.ready()
    bench.world.set(reject="lc_transition")  # only an engineer may retest it
    bench.go("D1")
    bench.take_out()
    bench.sign_in("eng")
    state = bench.load("D1")
    bench.sign_in("op")
    assert "only an engineer may retest it" in bench.refused(Start(1, state.epoch))
    bench.sign_in("eng")
    assert bench.bench.handle(Start(1, bench.watcher.states[1].epoch)), bench.said()
    bench.verdict()


def test_an_unforeseen_error_in_a_command_ends_neither_the_engine_nor_a_run(bench, folder, monkeypatch):
    bench.ready()
    bench.world.set(look_seconds=0.5)
    state = bench.load("D1")
    assert bench.bench.handle(Start(1, state.epoch))

    def broken(bench, command):
        raise ValueError(f"a secret {chr(105)}n a message")

    monkeypatch.setitem(commands._HANDLERS, protocol.Query, broken)
    assert not bench.bench.handle(protocol.Query("history", 1))
    assert "an error in the program (ValueError)" in bench.said()
    assert "a secret in" not in bench.said() + "".join(f.read_text() for f in (folder / "data").glob("crash-*"))
    assert bench.verdict().state == "pass"


def test_a_tile_that_moved_on_is_not_turned_to_pass_by_the_outbox(bench):
    worker = bench.bench.worker(1)
    verdict = protocol.Verdict("pass", 1, 1, "pass", "Pass", "GOOD", "", "", "", "")
    worker.view.change(state="insert_part", label="")
    worker.promoted("D1", verdict)
    assert worker.view.now.verdict is None
    worker.view.change(state="hold", label="D2")
    worker.promoted("D1", verdict)
    assert worker.view.now.state == "hold"
    worker.promoted("D2", verdict)
    assert worker.view.now.verdict == verdict


def test_a_part_quarantined_by_a_station_that_died_before_its_verdict_is_not_touched_again(folder):
    left = Bench(folder, start=False)
    context = Context(station="FAKE-1", socket=1, label_kind="die", label="D1", recipe="fake-cp", flow="fake",
                      operator="op", touchdown=1)  # fmt: skip
    journal = left.bench.journal
    journal.scan(context, {})
    start = journal.start(context, {})
    journal.intend(start.context, "first", {"settle": 0.0})
    journal.outcome(start.context, "first", {"evidence": "not_done", "reason": "", "power_lost": True})
    left.close()
    World(folder).insert(1)
    bench = Bench(folder)
    try:
        bench.sign_in()
        prompt = bench.wait("interrupted").prompt
        assert bench.bench.handle(protocol.Answer(1, prompt.id, "Check it")), bench.said()
        shown = bench.verdict()
        assert shown.verdict.kind == "quarantine" and "contact with the part was lost" in shown.verdict.reason
        assert bench.world.part("D1").burns() == []
        bench.take_out()
        bench.world.insert(1)
        bench.wait("scan")
        bench.choose()
        assert "only a supervisor releases it" in bench.refused(Scan("D1", 1))
    finally:
        bench.close()


def test_ctrl_c_while_the_command_line_waits_for_a_part_begins_no_run(folder):
    program = str(ROOT / "tests/spine/fake_station.py")
    process = subprocess.Popen(
        [sys.executable, program, "run", "fake-cp", "--label", "D1", "--station", str(folder / "station.toml"),
         "--operator", "eng", "--pin-stdin", "--wait", "30"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        process.stdin.write(PIN + b"\n")
        process.stdin.flush()
        journal = folder / "data" / "journal.sqlite"
        end = time.monotonic() + SECONDS
        while not journal.exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1.0)  # past the sign-in: now it waits for a part
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        World(folder).insert(1)
        _, said = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said.decode()[-1500:]
    assert World(folder).part("D1").burns() == []


def test_refusals_of_moved_parts_are_refusals():
    with pytest.raises(Refused, match="was moved"):
        worker = SocketWorker.__new__(SocketWorker)
        worker.number, worker.view, worker.context = 1, SocketView(1, 0, lambda event: None), None
        worker.labelled(Context(label="D1"))
