"""Bad parts and labels: refused or in quarantine, and the part is not touched."""

from __future__ import annotations

import pytest
from end2end_bench import CP_LABEL, FT_LABEL, Engine

from station import protocol
from station.data_folder import DataFolder
from station.journal import Journal
from station.journal_rows import Context

OTHER_FT = "P000042"


def refused(bench, place, recipe: str, label: str, *expected: str) -> None:
    """The scan ends with 2 and one sentence; no row, no change."""
    before = bench.before(place)
    said = place.run(recipe, label)
    assert said.code == 2, said
    assert said.verdict == {}
    for words in expected:
        assert words in said.sentence, said.sentence
    bench.unchanged(place, before)


@pytest.mark.parametrize("label", ["L24-0117/W12/X7", "", "L24/W1/X1/Y1\x07", "P000041", "x" * 300])
def test_a_label_that_fails_its_pattern(bench, label) -> None:
    place = bench.place()
    bench.insert(place)
    words = "expected a die label LOT/WAFER/X/Y such as" if 0 < len(label) < 20 and label.isprintable() else "scan"
    refused(bench, place, "earlgrey-cp", label, words)


def test_a_label_that_has_passed(bench) -> None:
    place = bench.provisioned()
    bench.insert(place)
    refused(bench, place, "earlgrey-ft", FT_LABEL, "passed Final Test at", "as far as this station knows")
    refused(bench, place, "earlgrey-cp", CP_LABEL, "passed Chip Probe at")


@pytest.mark.full
def test_a_passed_label_on_a_fresh_die(bench) -> None:
    place = bench.probed()
    fresh = bench.place("other-die")
    bench.insert(fresh)
    before = fresh.chip_digest()
    refused(bench, place, "earlgrey-cp", CP_LABEL, "passed Chip Probe at")
    assert fresh.chip_digest() == before


def test_a_part_under_the_label_of_another(bench) -> None:
    """The chip is known by its id: under a second label it goes to quarantine, and both labels lead to it."""
    place, chip = bench.provisioned(), bench.probed()
    bench.insert(chip)
    devices = bench.devices()
    said = place.run("earlgrey-ft", OTHER_FT)
    assert said.code == 7, said
    assert f"belongs to label {FT_LABEL}, but label {OTHER_FT} was scanned" in said.verdict["reason"]
    assert said.verdict["device_id"] and bench.devices() == devices
    refused(bench, place, "earlgrey-ft", OTHER_FT, "quarantine", "supervisor")
    released = place.release(OTHER_FT)
    assert released.code == 0 and "released" in released.out, released


def test_a_label_that_belongs_to_another_id(bench) -> None:
    place = bench.probed()
    journal = Journal(DataFolder(place.data), place.name)
    journal.write(Context(label_kind="part", label=FT_LABEL, device_id="5a" * 16), "bind")
    journal.close()
    bench.insert(place)
    devices = bench.devices()
    said = place.run("earlgrey-ft", FT_LABEL)
    assert said.code == 7, said
    assert FT_LABEL in said.verdict["reason"] and "5a5a5a5a" in said.verdict["reason"], said.verdict
    assert "test_exit" not in {row["title"] for row in place.rows() if row["kind"] == "intent"}
    assert bench.devices() == devices and place.double_burns() == []


@pytest.mark.full
def test_a_provisioned_part_of_another_station(bench) -> None:
    """A part in its mission state whose burns this journal does not know: nothing is repeated on it."""
    stranger, place = bench.provisioned(), bench.place()
    bench.insert(stranger)
    before = (stranger.chip_digest(), bench.devices())
    said = place.run("earlgrey-ft", FT_LABEL)
    assert (said.code, said.verdict["kind"]) == (7, "quarantine"), said
    assert (stranger.chip_digest(), bench.devices()) == before
    assert "intent" not in place.kinds()


def test_the_wrong_chip_in_the_socket(bench) -> None:
    """The journal knows burns of this label's chip that the chip in the socket does not show."""
    place = bench.probed()
    bench.insert(place)
    with Engine(place) as engine:
        engine.begin("earlgrey-ft", FT_LABEL)
        engine.state(lambda tile: any(step.id == "individualize" for step in tile.steps), "the second burn")
        engine.send(protocol.Stop(1))
        assert engine.verdict().kind == "hold"
        assert engine.end() == 0
    wrong = bench.probed()
    bench.insert(wrong)
    before, rows = bench.before(wrong), place.length()
    said = place.run("earlgrey-ft", FT_LABEL)
    assert (said.code, said.verdict["kind"]) == (7, "quarantine"), said
    assert "the journal says 'Test unlock' was done, the part says it was not: wrong part" in said.verdict["reason"]
    bench.unchanged(wrong, before)
    assert "intent" not in place.kinds(rows)


def test_a_quarantined_part_put_back(bench) -> None:
    place = bench.place()
    bench.insert(place)
    bench.hands.fault(1, "power_cut:before:5")
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 7, said
    bench.insert(place)
    refused(bench, place, "earlgrey-cp", CP_LABEL, "this part is in quarantine", "only a supervisor releases it")
