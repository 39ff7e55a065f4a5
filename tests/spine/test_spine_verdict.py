"""Verdicts at the bench: acknowledge, retest rules, the lot that stops, quarantine and its release, the outbox."""

from __future__ import annotations

import time

from spine_bench import SECONDS

from station import protocol
from station.protocol import (
    Acknowledge,
    Answer,
    Lot,
    Release,
    Scan,
    Start,
)


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
