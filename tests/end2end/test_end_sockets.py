"""The bench fails: adapter held, adapter gone, lid opened, power lost. The journal decides where the part goes."""

from __future__ import annotations

import time

import pytest
from end2end_bench import CP_LABEL, FT_LABEL, Engine

from station import protocol


def started(engine: Engine, recipe: str, label: str, when: str) -> None:
    """Start, and return when the tile is in that state (burning, running)."""
    engine.begin(recipe, label)
    engine.state(lambda tile: tile.state == when, when)


def test_an_adapter_that_another_program_holds(bench) -> None:
    first, second = bench.place("holder"), bench.place("late")
    bench.insert(first)
    before = first.chip_digest()
    with Engine(first) as engine:
        engine.send(protocol.SelectRecipe("earlgrey-cp"))
        engine.state(lambda tile: tile.state == "scan", "an adapter that is held")
        began = time.monotonic()
        said = second.run("earlgrey-cp", CP_LABEL)
        assert said.code == 3, said
        assert "socket 1: channel" in said.sentence and "held by another program" in said.sentence, said.sentence
        assert time.monotonic() - began < 12, "the fault is said at once, not at the end of --wait"
        checked = second.cli("sockets", "check", "--json")
        assert checked.code == 3 and "held by another program" in checked.out, checked
        assert engine.end() == 0
    assert second.rows() == [] and first.chip_digest() == before


def test_an_adapter_that_is_not_plugged_in(bench) -> None:
    place = bench.place()
    bench.insert(place)
    bench.hands.unplug(1)
    before = bench.before(place)
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 3, said
    assert "no FT4232H with serial number VB0001 is plugged in" in said.sentence
    bench.unchanged(place, before)


def test_a_virtual_bench_that_does_not_run(bench) -> None:
    place = bench.place()
    place.write(bench=str(place.folder / "bench.json"))
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 3, said
    assert "station simulate" in said.sentence, said.sentence
    assert place.rows() == []


def test_the_cable_is_pulled_outside_a_burn(bench) -> None:
    """Burns are closed, the part is on hold; it passes when it is put back."""
    place = bench.probed()
    bench.insert(place)
    with Engine(place) as engine:
        engine.begin("earlgrey-ft", FT_LABEL)
        engine.state(lambda tile: any(s.id == "load_perso" for s in tile.steps), "a step outside a burn")
        bench.hands.unplug(1)
        verdict = engine.verdict()
        assert verdict.kind == "hold" and "put it back" in verdict.finishes_by, verdict
        assert "adapter VB0001 is gone" in verdict.reason and "check its USB cable" in verdict.reason
        assert engine.end() == 0
    rows = place.length()
    bench.insert(place)
    said = place.run("earlgrey-ft", FT_LABEL)
    assert (said.code, said.verdict["kind"]) == (0, "pass"), said
    repeated = {row["title"] for row in place.rows(rows) if row["kind"] == "intent"}
    assert not repeated & {"test_unlock", "individualize", "test_exit"}, repeated
    assert place.double_burns() == []


@pytest.mark.parametrize(
    ("strike", "words"),
    [("lid", "lid"), ("unplug", "adapter VB0001"), pytest.param("power", "power", marks=pytest.mark.full)],
)
def test_contact_is_lost_during_a_burn(bench, strike, words) -> None:
    """Quarantine; the chip is left as it is, and nobody starts the part again."""
    place = bench.place()
    bench.insert(place)
    with Engine(place) as engine:
        started(engine, "earlgrey-cp", CP_LABEL, "burning")
        if strike == "unplug":
            bench.hands.unplug(1)
        else:
            getattr(bench.hands, strike)(1, False)
        verdict = engine.verdict()
        assert (verdict.kind, verdict.tray) == ("quarantine", "QUARANTINE"), verdict
        assert words in verdict.reason, verdict.reason
        assert "during 'Unlock RAW'" in verdict.reason, verdict.reason
        assert engine.end() == 0
    kinds = place.kinds()
    assert kinds.count("intent") == kinds.count("outcome") == 1
    bench.insert(place)
    before = bench.before(place)
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 2 and "in quarantine" in said.sentence, said
    bench.unchanged(place, before)
    assert place.double_burns() == []


@pytest.mark.full
def test_no_part_and_an_open_lid(bench) -> None:
    place = bench.place()
    bench.insert(place)
    bench.hands.lid(1, False)
    before = bench.before(place)
    said = place.cli("run", "earlgrey-cp", "--label", CP_LABEL, "--wait", "2")
    assert said.code == 3, said
    assert "expected a part in socket 1 within 2 s" in said.sentence
    bench.unchanged(place, before)


def test_a_socket_that_the_station_has_not(bench) -> None:
    place = bench.place()
    said = place.run("earlgrey-cp", CP_LABEL, "--socket", "7")
    assert said.code == 2 and "sockets 1 to 1, not 7" in said.sentence, said
    assert "scan" not in place.kinds()
