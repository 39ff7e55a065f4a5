"""A chip's own id against its label: places, lots, and ids that many chips share."""

from __future__ import annotations

import pytest
from spine_help import carry_out

from station.flows.whose import check_place, identify
from station.formats.device_id import BLIND_NUMBERS, Din, HardwareOrigin

OWN = HardwareOrigin(0x4001, 3, Din(4, 31, 117, 12, 7, 19).pack()).pack()
BLIND = [HardwareOrigin(0x4001, 3, number).pack() for number in BLIND_NUMBERS]


class Label:
    """What ``check_place`` asks of a run."""

    label = "L24-0117/W12/X7/Y19"

    def __init__(self, **fields):
        self.context = type("Context", (), {"lot": "L24-0117", "wafer": "W12", "x": 7, "y": 19, **fields})

    def quarantined(self, reason, title):
        return RuntimeError(reason)


@pytest.mark.parametrize("blind", BLIND)
def test_a_blind_id_binds_no_label_and_joins_no_records(journal, blind):
    for label in ("L1", "L2"):
        verdict, _ = carry_out(journal, lambda run: identify(run, blind), label)
        assert verdict.kind == "pass"
        assert journal.known("die", label).device_id == ""
    assert journal.find("L1").labels == {("die", "L1")} and not journal.rows("WHERE kind = 'bind'")


@pytest.mark.parametrize("blind", BLIND)
def test_a_blind_chip_under_the_label_of_a_chip_with_an_id_is_quarantined(journal, blind):
    assert carry_out(journal, lambda run: identify(run, OWN))[0].kind == "pass"
    verdict, _ = carry_out(journal, lambda run: identify(run, blind))
    assert verdict.kind == "quarantine" and "assembled blind" in verdict.reason


@pytest.mark.parametrize(
    ("din", "fields", "wrong"),
    [
        (Din(lot=117, wafer=12, x=7, y=19), {}, ""),
        (Din(lot=117, wafer=12, x=7, y=20), {}, "y 19 (the die says 20)"),
        (Din(lot=117, wafer=12, x=6, y=19), {}, "x 7 (the die says 6)"),
        (Din(lot=117, wafer=2, x=7, y=19), {}, "wafer 12 (the die says 2)"),
        (Din(lot=116, wafer=12, x=7, y=19), {}, "lot 117 (the die says 116)"),
        (Din(lot=116, wafer=2, x=6, y=20), {"x": -1, "y": -1}, ""),  # the label names no place
        (Din(lot=116, wafer=12, x=7, y=19), {"lot": "DEMO"}, ""),  # this lot has no number
        (Din(lot=117, wafer=2, x=7, y=19), {"wafer": ""}, ""),
        (Din(blind=True), {}, ""),
        (None, {}, ""),
    ],
)
def test_the_place_on_the_label_against_that_of_the_die(din, fields, wrong):
    if not wrong:
        check_place(Label(**fields), din, "([0-9]{1,3})$")
        return
    with pytest.raises(RuntimeError) as refused:
        check_place(Label(**fields), din, "([0-9]{1,3})$")
    assert wrong in str(refused.value) and refused.value.args[0].count("the die says") == 1


def test_without_a_pattern_the_lot_is_not_compared():
    check_place(Label(), Din(lot=116, wafer=12, x=7, y=19))
