"""The engine dies, or its window does: what was burnt is known, and a reader that does not read stops nothing."""

from __future__ import annotations

import json
import signal
import time

import pytest
from end2end_bench import CP_LABEL, FT_LABEL, Engine

from station import protocol
from station.event_writer import QUEUE, SPARE
from station.model import Role
from station.operators import Operators
from station.socket_worker import CHECK_IT, QUARANTINE_IT

GARBAGE = b"no command\n"


def killed_while(place, recipe: str, label: str, state: str) -> None:
    """Start a part and SIGKILL the engine at the first tile of this state; burning means that the intent is stored."""
    engine = Engine(place)
    engine.begin(recipe, label)
    if state == "burning":
        engine.first_burn()
    else:
        engine.state(lambda tile: tile.state == state, "the moment to strike")
    engine.kill()


def test_an_engine_killed_during_a_burn(bench) -> None:
    """The next station asks before it touches anything; the part finishes without a second burn."""
    place = bench.place()
    bench.insert(place)
    killed_while(place, "earlgrey-cp", CP_LABEL, "burning")
    assert place.verdicts() == []
    rows = place.length()
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 2, said
    assert "a run in socket 1 was interrupted; answer first: station answer --socket 1" in said.sentence
    assert place.length() == rows
    answered = place.cli("answer", "--socket", "1", "--choice", "check", "--json")
    assert (answered.code, answered.verdict["kind"]) == (0, "pass"), answered
    assert place.double_burns() == []
    assert place.cli("journal", "verify").code == 0


def test_an_engine_killed_and_the_part_moved(bench) -> None:
    """Nobody can know any more: quarantine, in the window too."""
    place = bench.place()
    bench.insert(place)
    killed_while(place, "earlgrey-cp", CP_LABEL, "burning")
    chip = place.chip_digest()
    with Engine(place) as engine:
        tile = engine.state(lambda tile: tile.state == "interrupted", "the question")
        assert tile.label == CP_LABEL and CP_LABEL in tile.prompt.text
        assert tile.prompt.choices == (CHECK_IT, QUARANTINE_IT)
        engine.send(protocol.Answer(1, tile.prompt.id, QUARANTINE_IT))
        verdict = engine.verdict()
        assert verdict.kind == "quarantine" and "moved before it could be checked" in verdict.reason
        assert engine.end() == 0
    assert place.chip_digest() == chip
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 2 and "in quarantine" in said.sentence, said


def test_no_puts_the_interrupted_part_into_quarantine_for_good(bench) -> None:
    """An operator says no: a verdict in the journal, a part that no start takes again, and no word to the chip."""
    place = bench.place()
    Operators(place.data).add("ann", Role.OPERATOR, b"480213")
    bench.insert(place)
    killed_while(place, "earlgrey-cp", CP_LABEL, "burning")
    chip, before = place.chip_digest(), place.rows()
    (start,) = [row for row in before if row["kind"] == "start"]
    with Engine(place, ("--operator", "ann")) as engine:
        asked = engine.state(lambda tile: tile.state == "interrupted", "the question")
        engine.send(protocol.Answer(1, asked.prompt.id, QUARANTINE_IT))
        shown = engine.state(lambda tile: tile.needs_acknowledge, "a verdict that somebody must read")
        assert (shown.state, shown.verdict.kind, shown.prompt) == ("quarantine", "quarantine", None)
        (row,) = [row for row in place.rows(len(before)) if row["kind"] == "verdict"]
        assert (row["run"], row["label"], row["operator"]) == (start["run"], CP_LABEL, "ann")
        assert json.loads(row["detail"])["bin_id"] == "quarantine"
        engine.send(protocol.Acknowledge(1, shown.epoch))
        bench.tidy()
        engine.state(lambda tile: tile.state == "insert_part", "an empty socket")
        bench.insert(place)
        engine.state(lambda tile: tile.state == "scan", "the part that was put back")
        position = len(engine.events)
        engine.send(protocol.Scan(CP_LABEL, 1))
        assert "in quarantine" in engine.refusal(position)
        position = len(engine.events)
        engine.send(protocol.Release(CP_LABEL, "it looks well to me"))
        assert "needs the role supervisor" in engine.refusal(position)
        assert not engine.tile.may_start and engine.end() == 0
    assert place.kinds(len(before)).count("start") == 0 and place.chip_digest() == chip
    shown_part = place.cli("part", "show", CP_LABEL)
    assert shown_part.code == 0 and "quarantine" in shown_part.out
    assert place.cli("journal", "verify").code == 0


def test_an_engine_killed_before_the_first_burn(bench) -> None:
    """Nothing was burnt: bench fault, the part may go again."""
    for _ in range(3):  # a busy machine may let the engine be faster than the kill
        place = bench.place()
        bench.insert(place)
        killed_while(place, "earlgrey-cp", CP_LABEL, "running")
        if "intent" not in place.kinds():
            break
    else:
        pytest.fail("the engine was faster than the kill three times")
    answered = place.cli("answer", "--socket", "1", "--choice", "quarantine", "--json")
    assert answered.verdict.get("kind") == "bench", answered
    assert "before anything was burnt" in answered.verdict["reason"]
    said = place.run("earlgrey-cp", CP_LABEL)
    assert (said.code, said.verdict["kind"]) == (0, "pass"), said


@pytest.mark.parametrize("how", ["stdin", pytest.param("SIGTERM", marks=pytest.mark.full)])
def test_the_window_is_gone_during_a_burn(bench, how) -> None:
    """The burn is finished, then the run stops; verdict and reason are on the disk when the engine is gone."""
    place = bench.place()
    bench.insert(place)
    with Engine(place) as engine:
        engine.begin("earlgrey-cp", CP_LABEL)
        engine.state(lambda tile: tile.state == "burning", "a burn")
        if how == "SIGTERM":
            engine.process.send_signal(signal.SIGTERM)
            engine.process.wait(30)
        assert engine.end() == 0
    kinds, verdict = place.kinds(), place.verdicts()[-1]
    assert kinds.count("intent") == kinds.count("outcome") >= 1
    assert verdict["kind"] == "hold" and "told to end" in verdict["reason"], verdict
    said = place.run("earlgrey-cp", CP_LABEL)
    assert (said.code, said.verdict["kind"]) == (0, "pass"), said
    assert place.double_burns() == []


def test_a_window_that_does_not_read(bench) -> None:
    """The queue is bounded, the run goes on, and what was left out is counted and made up for by a snapshot."""
    place = bench.place()
    bench.insert(place)
    with Engine(place) as engine:
        engine.send(protocol.SelectRecipe("earlgrey-cp"))
        engine.state(lambda tile: tile.state == "scan", "a tile that waits for a scan")
        engine.send(protocol.Scan(CP_LABEL, 1))
        ready = engine.state(lambda tile: tile.may_start, "a part that may start")
        engine.freeze()
        engine.raw(GARBAGE * (QUEUE + 20_000))
        engine.send(*[protocol.Snapshot()] * SPARE)
        memory = resident(engine)
        engine.send(protocol.Start(1, ready.epoch))
        until(lambda: place.verdicts(), "the run's verdict, though nobody reads")
        engine.raw(GARBAGE * 20_000)
        time.sleep(0.5)
        assert resident(engine) - memory < 32 << 20, "the queue is not bounded"
        frozen = len(engine.events)
        engine.thaw()
        dropped = engine.wait("the count of what was left out", is_dropped, 30.0, frozen)
        assert dropped.count >= 20_000, dropped
        tile = engine.state(lambda tile: tile.state == "pass", "the last state, again")
        assert tile.verdict.kind == "pass"
        heard = sum(isinstance(e, protocol.Log) and "expected one of" in e.text for e in engine.events)
        assert heard + sum(e.count for e in engine.of(protocol.Dropped)) >= QUEUE + 40_000
        assert engine.end() == 0
    assert [row["kind"] for row in place.verdicts()] == ["pass"]


@pytest.mark.full
def test_a_window_frozen_for_ten_seconds(bench) -> None:
    """A whole Final Test happens behind a frozen window's back."""
    place = bench.probed()
    bench.insert(place)
    with Engine(place) as engine:
        engine.begin("earlgrey-ft", FT_LABEL)
        engine.freeze()
        time.sleep(10)
        assert [verdict["kind"] for verdict in place.verdicts()] == ["pass", "pass"]
        engine.thaw()
        assert engine.verdict().kind == "pass"
        assert engine.end() == 0


def is_dropped(event: protocol.Event) -> bool:
    return isinstance(event, protocol.Dropped)


def resident(engine: Engine) -> int:
    """Bytes of memory that the engine holds."""
    with open(f"/proc/{engine.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def until(claim, what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def test_commands_that_are_none(bench) -> None:
    """Every bad line is answered with a sentence that does not repeat it; a stale start is refused."""
    place = bench.place()
    bench.insert(place)
    with Engine(place) as engine:
        engine.send(protocol.SelectRecipe("earlgrey-cp"))
        tile = engine.state(lambda tile: tile.state == "scan", "a tile that waits for a scan")
        position = len(engine.events)
        engine.raw(b'{"type":"SignIn","operator":"x","pin":7351,}\n\xff\xfe\n[]\n{"type":"Hello"}\n{"type":"Start"}\n')
        engine.send(protocol.Start(1, tile.epoch), protocol.Start(1, tile.epoch - 1), protocol.Start(9, 1))
        engine.send(protocol.Answer(1, 1, "Check it"), protocol.Acknowledge(1, tile.epoch))
        engine.send(protocol.Release("P1", "x"), protocol.Scan("\x00\x01", 1))
        engine.send(protocol.Query("nothing", 1))
        engine.wait("the last refusal", lambda e: getattr(e, "command", "") == "Query", after=position)
        told = engine.events[position:]
        logs = [e.text for e in told if isinstance(e, protocol.Log) and e.level == "error"]
        refused = [e.sentence for e in told if isinstance(e, protocol.CommandRefused)]
        assert len(logs) == 5 and all("expected " in text and "7351" not in text for text in logs), logs
        assert len(refused) == 8, refused
        assert "not ready to start (scan)" in refused[0] and "look again" in refused[1] and "not 9" in refused[2]
        assert engine.end() == 0
    assert "start" not in place.kinds() and place.chip_digest()
    assert "7351" not in engine.log
