"""Bad parts and labels: refused or in quarantine, and the part is not touched."""

from __future__ import annotations

import pytest
from end2end_bench import CP_LABEL, FT_LABEL

OTHER_CP, OTHER_FT = "L24-0117/W12/X8/Y19", "P000042"


def refused(bench, place, recipe: str, label: str, *expected: str) -> None:
    """The scan ends with 2 and one sentence; no row, no change."""
    before = bench.before(place)
    said = place.run(recipe, label)
    assert said.code == 2, said
    assert said.verdict == {}
    for words in expected:
        assert words in said.sentence, said.sentence
    bench.unchanged(place, before)


def quarantined(bench, place, recipe: str, label: str, *expected: str) -> None:
    """The run ends with 7 before any burn, its reason in the verdict and in the journal."""
    before = bench.before(place)
    said = place.run(recipe, label)
    assert said.code == 7, said
    assert (said.verdict["kind"], said.verdict["tray"]) == ("quarantine", "QUARANTINE")
    for words in expected:
        assert words in said.verdict["reason"], said.verdict
    bench.unchanged(place, before, journal=False)
    assert place.verdicts()[-1]["reason"] == said.verdict["reason"]


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


def test_a_passed_label_on_a_fresh_die(bench) -> None:
    place = bench.probed()
    fresh = bench.place("other-die")
    bench.insert(fresh)
    before = fresh.chip_digest()
    refused(bench, place, "earlgrey-cp", CP_LABEL, "passed Chip Probe at")
    assert fresh.chip_digest() == before


def test_a_part_under_the_label_of_another(bench) -> None:
    """The chip is known by its id: a second label for it is refused, and it stays in quarantine until released."""
    place = bench.provisioned()
    bench.insert(place)
    quarantined(bench, place, "earlgrey-ft", OTHER_FT, FT_LABEL)
    refused(bench, place, "earlgrey-ft", OTHER_FT, "quarantine", "supervisor")
    released = place.release(OTHER_FT)
    assert released.code == 0 and "released" in released.out, released


def test_a_label_that_belongs_to_another_id(bench) -> None:
    """A label is bound to a chip that failed; another chip of the same wafer comes under it."""
    place = bench.probed()
    bench.insert(place)
    bench.hands.fault(1, "corrupt_blob")
    said = place.run("earlgrey-ft", FT_LABEL)
    assert said.code == 1 and said.verdict["bin_id"] == "endorsement", said
    wrong = bench.provisioned()
    bench.insert(wrong)
    before = (wrong.chip_digest(), bench.devices())
    said = place.run("earlgrey-ft", FT_LABEL)
    assert said.code in (2, 7), said
    assert (wrong.chip_digest(), bench.devices()) == before


def test_the_wrong_chip_in_the_socket(bench) -> None:
    """The journal knows burns of this label's chip that the chip in the socket does not show."""
    place = bench.probed()
    bench.insert(place)
    bench.hands.fault(1, "unplug:400")
    said = place.run("earlgrey-ft", FT_LABEL)
    assert said.code in (6, 7), said
    wrong = bench.probed()
    bench.insert(wrong)
    before = (wrong.chip_digest(), bench.devices())
    said = place.run("earlgrey-ft", FT_LABEL)
    print(said)
    assert (wrong.chip_digest(), bench.devices()) == before


def test_a_quarantined_part_put_back(bench) -> None:
    place = bench.place()
    bench.insert(place)
    bench.hands.fault(1, "power_cut:before:5")
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 7, said
    bench.insert(place)
    refused(bench, place, "earlgrey-cp", CP_LABEL, "this part is in quarantine", "only a supervisor releases it")
