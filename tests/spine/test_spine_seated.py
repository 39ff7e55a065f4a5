"""Parts that lie in a socket with their verdict when the station starts; who may do what; who stopped a run."""

from __future__ import annotations

import pytest
from fake_station import World
from spine_bench import Bench

from station.protocol import Handle, Scan, SelectRecipe, Start, Stop


def again(folder):
    """The engine starts once more; nobody has touched the sockets."""
    bench = Bench(folder, start=False)
    bench.bench.start(seated=True)
    return bench


def leave_in_socket(folder, label="D1", **script):
    """A part gets its verdict, and the station ends while it still lies in the socket."""
    bench = Bench(folder)
    bench.ready()
    bench.world.set(**script)
    state = bench.go(label)
    bench.close()
    return state


def removed(bench):
    return [dict(row.detail) for row in bench.bench.journal.rows("WHERE kind = 'removed' ORDER BY seq")]


def test_a_quarantined_part_keeps_its_verdict_over_a_restart_until_it_is_taken_out(folder):
    World(folder).part("D1").burn("first")  # somebody else did it
    before = leave_in_socket(folder)
    assert before.state == "quarantine"
    bench = again(folder)
    try:
        now = bench.wait("quarantine", needs_acknowledge=True)
        assert (now.label, now.device_id, now.verdict.reason) == ("D1", before.device_id, before.verdict.reason)
        assert (now.verdict.bin, now.verdict.tray, now.verdict.name, now.verdict.retest) == (
            before.verdict.bin, before.verdict.tray, before.verdict.name, before.verdict.retest,
        )  # fmt: skip
        bench.choose()
        assert "does not wait for this scan" in bench.refused(Scan("D9", 1)), "no invented label gets round it"
        assert bench.world.part("D9").burns() == []
        bench.take_out()
        assert removed(bench) == [{"label": "D1", "how": "taken out"}]
    finally:
        bench.close()
    bench = again(folder)
    try:
        assert bench.wait("insert_part").verdict is None, "it was seen to leave"
    finally:
        bench.close()


def test_a_passed_part_that_nobody_watched_is_to_be_taken_out_and_claims_no_verdict(folder):
    assert leave_in_socket(folder).state == "pass"
    bench = again(folder)
    try:
        bench.choose()
        now = bench.wait("insert_part", present=True, lid_closed=True)
        assert "Take out the part. D1 passed here" in now.expects and "look at its label" in now.expects
        assert (now.label, now.verdict, now.may_start, now.needs_acknowledge) == ("", None, False, False)
        assert "does not wait for this scan" in bench.refused(Scan("D2", 1))
        assert "no socket waits" in bench.refused(Scan("D2"))
        bench.world.remove(1)
        assert bench.wait("insert_part", present=False, expects="").label == ""
        assert removed(bench) == [{"label": "", "how": "taken out"}]
        bench.world.insert(1)
        assert bench.wait("scan").label == ""
    finally:
        bench.close()
    bench = again(folder)
    try:
        bench.wait("scan")  # it was seen to leave: what lies there now is new
    finally:
        bench.close()


def test_the_socket_of_a_passed_part_that_left_meanwhile_is_empty(folder):
    leave_in_socket(folder)
    World(folder).remove(1)
    bench = again(folder)
    try:
        bench.wait("insert_part", expects="")
        bench.world.insert(1)
        bench.wait("scan")
    finally:
        bench.close()


def test_a_part_taken_out_while_the_station_was_off_is_asked_for_once(folder):
    leave_in_socket(folder, reject="wrong_state")
    World(folder).remove(1)
    bench = again(folder)
    try:
        bench.wait("fail", needs_acknowledge=True)
        bench.sign_in()
        bench.take_out()
    finally:
        bench.close()
    bench = again(folder)
    try:
        assert bench.wait("insert_part").label == ""
    finally:
        bench.close()


def test_the_operators_hands_are_not_the_engineers(folder):
    bench = Bench(folder)
    try:
        bench.sign_in()
        for action in ("fault", "power", "unplug", "replug", "explode"):
            assert "needs the role engineer" in bench.refused(Handle(1, action, "x"))
        for action in ("insert", "remove", "lid"):
            assert "no virtual bench" in bench.refused(Handle(1, action, "x"))
        assert "needs the role engineer" in bench.refused(SelectRecipe("fake-cp"))
        bench.choose("LOT1")
        assert "no virtual bench" in bench.refused(Handle(1, "power", "on"))
        bench.sign_in()
        assert bench.bench.handle(Scan("1TLOT2")), "the lot traveller is the operator's"
        assert bench.bench.lot == "LOT2"
    finally:
        bench.close()


@pytest.mark.parametrize(("ending", "words"), [("stop", "the operator stopped"), ("close", "the station was told to")])
def test_the_reason_of_a_stop_names_who_stopped(folder, ending, words):
    bench = Bench(folder)
    bench.ready()
    bench.world.set(look_seconds=20.0)
    state = bench.load()
    assert bench.bench.handle(Start(1, state.epoch))
    bench.wait("running")
    if ending == "stop":
        bench.bench.handle(Stop(1))
        bench.verdict()
    bench.close()
    text = (folder / "data" / "journal.sqlite").read_bytes().decode(errors="replace")
    assert words in text
    assert ("told to end" in text) == (ending == "close")
