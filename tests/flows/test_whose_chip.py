"""A label on the wrong die is found before its secrets are written; blind assemblies are known by their label alone."""

from __future__ import annotations

import json

import pytest
from crash_bench import IDENTITY, LABELS

from drivers.virtual.earlgrey import flash
from drivers.virtual.earlgrey.chip_file import INFO_PAGE
from drivers.virtual.earlgrey.partitions import PARTITIONS

PROBED = (flash.LOT_NAME, flash.WAFER_NUMBER, flash.WAFER_X, flash.WAFER_Y)


@pytest.fixture
def die(matrix):
    """A bare die that tests may still give an identity, with a station that never saw it."""
    place = matrix.bench.fresh()
    matrix.bench.forget_registrations()
    yield place
    matrix.bench.remove()
    matrix.bench.drop(place)


def secret0(matrix, place):
    partition = PARTITIONS["SECRET0"]
    return matrix.bench.fuses(place)[partition.offset // 2 : partition.end // 2]


@pytest.mark.parametrize(("name", "own"), [("wafer", 11), ("x", 8), ("y", 18), ("lot", 118)])
def test_a_label_of_another_die_is_quarantine_before_any_secret_is_written(matrix, die, name, own):
    (die.chip / "identity.json").write_text(json.dumps({**IDENTITY, name: own}))
    matrix.bench.insert(die)
    ending = matrix.bench.run(die)
    assert ending.kind == "quarantine", ending.result
    assert LABELS["earlgrey-cp"] in ending.result["reason"] and f"(the die says {own})" in ending.result["reason"]
    assert not any(secret0(matrix, die)) and matrix.bench.chip.state()["lc_state"] == "TEST_UNLOCKED0"
    assert matrix.bench.run(die, release=True).kind == "quarantine", "the label is still of another die"


def erase_place(matrix):
    """What a die looks like whose wafer probing left nothing."""
    chip = matrix.bench.chip
    with chip.lock:
        for offset in PROBED:
            page = (flash.PROBE_PAGE[0] * 10 + flash.PROBE_PAGE[1]) * INFO_PAGE
            chip._file.set_info(page + offset, b"\xff" * 4)


@pytest.mark.timeout(120)
def test_two_blind_parts_do_not_take_each_other_for_the_same_chip(matrix, die):
    bench, other = matrix.bench, matrix.bench.fresh()
    for number, place in enumerate((die, other)):
        bench.insert(place)
        erase_place(matrix)
        for recipe, label in (("earlgrey-cp", f"L24-0117/W12/X{number}/Y3"), ("earlgrey-ft", f"P00000{number}")):
            die.recipe = recipe
            ending = bench.run(die, label=label)  # the same station for both
            assert ending.kind == "pass", ending.result
            assert ending.result["device_id"] == "" and ending.result["known"]["device_id"] == ""
            assert ending.result["known"]["labels"] == [label], "nothing but the label tells one from the other"
            bench.forget_registrations()
        assert not bench.chip.state()["double_burns"]
    bench.remove()
    bench.drop(other)
