"""Strike anywhere in TF-M provisioning and run again: no second burn, no blind second run, always a way back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nordic_crash import NordicMatrix, summary

CHILD = 'net_lock = "child_image"\n'
HOST = 'net_lock = "host"\napp_lock = "host"\n'
BENCHES = {
    "nrf5340": ("nrf5340", ""),
    "nrf5340 child": ("nrf5340", CHILD),
    "nrf5340 host": ("nrf5340", HOST),
    "nrf9160": ("nrf9160", ""),
    "nrf91x1": ("nrf91x1", ""),
}
SOME_WRITES = {3: "inside", 4: "after", 12: "before", 30: "after", 40: "inside"}
"""UICR writes at which the subset cuts the supply: the life cycle word, key slots, the bootloader's data."""


@pytest.fixture(scope="session")
def nordic_matrices(tmp_path_factory) -> Iterator[dict[str, NordicMatrix]]:
    """A bench and a forking station process for each kind, made when the first case needs it."""
    made: dict[str, NordicMatrix] = {}
    yield made
    for matrix in made.values():
        matrix.close()


@pytest.fixture
def nordic_matrix(nordic_matrices, tmp_path_factory):
    def of(name: str) -> NordicMatrix:
        if name not in nordic_matrices:
            nordic_matrices[name] = NordicMatrix(tmp_path_factory.mktemp("nordic") / "matrix", *BENCHES[name])
        return nordic_matrices[name]

    return of


def carry_out(matrix, ledger, name, cases, recovery=False) -> None:
    cases = list(cases)
    assert cases, "nothing to strike"
    act, flow = (matrix.carry_out_recovery, "tfm_recover") if recovery else (matrix.carry_out, "tfm_provisioning")
    reports = [act(case) for case in cases]
    counts = summary(name, reports, flow)
    ledger.write(counts)
    broken = [report.line() for report in reports if report.broken]
    assert not broken, f"{len(broken)} of {len(reports)} cases\n" + "\n".join(broken)
    assert counts["double_burns"] == 0


# ---- the subset of every run -----------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_power_cut_and_rerun(nordic_matrix, ledger):
    matrix = nordic_matrix("nrf91x1")
    chosen = [case for case in matrix.power_cuts() if SOME_WRITES.get(case.point) == case.moment]
    assert len(chosen) == len(SOME_WRITES)
    carry_out(matrix, ledger, "nrf91x1", chosen)


@pytest.mark.timeout(300)
def test_killed_and_rerun(nordic_matrix, ledger):
    matrix = nordic_matrix("nrf91x1")
    journal = [case for number, case in enumerate(matrix.journal_kills()) if case.where in ("intent", "waiver")][::5]
    requests = list(matrix.request_kills())[7::60]
    carry_out(matrix, ledger, "nrf91x1", journal + requests)


@pytest.mark.timeout(300)
def test_killed_before_the_outcome_of_each_burn(nordic_matrix, ledger):
    """The part was asked, what it showed was kept, and the journal does not say yet what became of the burn."""
    matrix = nordic_matrix("nrf5340 host")
    chosen = [case for case in matrix.journal_kills() if (case.moment, case.where) == ("before", "outcome")]
    assert len(chosen) == 6, "provision, net_lock, data, install, lock, boot"
    carry_out(matrix, ledger, "nrf5340 host", chosen)


@pytest.mark.timeout(300)
def test_struck_in_a_recovery(nordic_matrix, ledger):
    matrix = nordic_matrix("nrf91x1")
    cases = list(matrix.recovery_kills())
    chosen = [case for case in cases if case.where in ("waiver", "erased")]
    assert len(chosen) == 4
    chosen += [case for case in cases if "request" in case.kind][:2] + list(matrix.erase_cuts())
    carry_out(matrix, ledger, "nrf91x1", chosen, recovery=True)


# ---- all of it ---------------------------------------------------------------------------------------------------


SHARES = 4
"""In how many tests the kills at probe requests of one kit are tried, so that they can run side by side."""


@pytest.mark.full
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("name", BENCHES)
def test_killed_at_every_journal_write(nordic_matrix, ledger, name):
    matrix = nordic_matrix(name)
    carry_out(matrix, ledger, name, matrix.journal_kills())


@pytest.mark.full
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("name", BENCHES)
def test_power_cut_at_every_uicr_write(nordic_matrix, ledger, name):
    matrix = nordic_matrix(name)
    carry_out(matrix, ledger, name, matrix.power_cuts())


@pytest.mark.full
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("name", ["nrf5340", "nrf91x1"])
def test_struck_anywhere_in_a_recovery(nordic_matrix, ledger, name):
    matrix = nordic_matrix(name)
    carry_out(matrix, ledger, name, matrix.recovery_kills(), recovery=True)


@pytest.mark.full
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("name", ["nrf5340", "nrf91x1"])
def test_power_cut_in_the_erasure_of_a_new_part(nordic_matrix, ledger, name):
    matrix = nordic_matrix(name)
    carry_out(matrix, ledger, name, matrix.erase_cuts())


@pytest.mark.full
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("name", ["nrf5340 child", "nrf9160"])
def test_killed_at_every_probe_request(nordic_matrix, ledger, name, share):
    matrix = nordic_matrix(name)
    carry_out(matrix, ledger, name, list(matrix.request_kills())[share::SHARES])
