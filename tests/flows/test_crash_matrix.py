"""Strike anywhere in Chip Probe and Final Test, run again: no double burn, no lost record, the right verdict."""

from __future__ import annotations

import pytest
from crash_bench import BURNS
from crash_matrix import summary, take

FLOWS = tuple(BURNS)
WINDOWS = [(flow, burn) for flow in FLOWS for burn in BURNS[flow]]
PORT_CALLS = {"chip_probe": 80, "final_test": 120}
SOME_CALLS = {"chip_probe": 6, "final_test": 3}


def carry_out(matrix, ledger, cases) -> None:
    assert cases, "nothing to strike"
    reports = [matrix.run(case) for case in cases]
    counts = summary(reports)
    ledger.write(counts)
    broken = [report.line() for report in reports if report.broken]
    assert not broken, f"{len(broken)} of {len(reports)} cases\n" + "\n".join(broken)
    assert counts["double_burns"] == 0


# ---- the subset of every run -------------------------------------------------------------------------------------

EARLY_AND_LATE = {
    "chip_probe": {"unlock": (1, 30), "secrets": (3, 20), "lock": (2,)},
    "final_test": {
        "individualize": (5, 36, 60, 154), "test_exit": (4,), "first_boot": (7,), "personalize": (44,),
        "install": (14,),
    },
}  # fmt: skip
"""Fuse writes, counted from the burn, at which the subset strikes: one of each sort that ever went wrong."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("flow", FLOWS)
def test_power_cut_and_rerun(matrix, ledger, flow):
    cases = [
        case
        for burn, numbers in EARLY_AND_LATE[flow].items()
        for case in take(matrix.power_cuts(flow, burn), lambda _, case, n=numbers: case.point in n)
        if case.moment == ("before", "inside", "after")[case.point % 3]
    ]
    carry_out(matrix, ledger, cases)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("flow", FLOWS)
def test_killed_and_rerun(matrix, ledger, flow):
    windows = BURNS[flow]
    changes = [case for burn in windows for case in take(matrix.change_kills(flow, burn), lambda n, _: n % 251 == 1)]
    journal = take(matrix.journal_kills(flow), lambda n, case: case.where in ("intent", "registered") and n % 6 == 1)
    calls = list(matrix.call_kills(flow, SOME_CALLS[flow])) + list(matrix.call_errors(flow, 1))
    carry_out(matrix, ledger, changes + journal + calls)


# ---- all of it -----------------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("flow", FLOWS)
def test_killed_at_every_journal_write(matrix, ledger, flow):
    carry_out(matrix, ledger, list(matrix.journal_kills(flow)))


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("flow", "burn"), WINDOWS)
def test_killed_at_every_change_of_the_chip(matrix, ledger, flow, burn):
    carry_out(matrix, ledger, list(matrix.change_kills(flow, burn)))


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("flow", FLOWS)
def test_killed_at_seeded_random_port_calls(matrix, ledger, flow):
    carry_out(matrix, ledger, list(matrix.call_kills(flow, PORT_CALLS[flow])))


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("flow", FLOWS)
def test_exception_at_seeded_random_port_calls(matrix, ledger, flow):
    carry_out(matrix, ledger, list(matrix.call_errors(flow, 40)))


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("flow", "burn"), WINDOWS)
def test_power_cut_around_every_fuse_write(matrix, ledger, flow, burn):
    matrix.used.clear()
    carry_out(matrix, ledger, list(matrix.power_cuts(flow, burn)))
    listed = {n for n, point in enumerate(matrix.reviewed) if (point["flow"], point["burn"]) == (flow, burn)}
    assert matrix.used == listed, "a reviewed quarantine point is never met: take it from the list"
