"""A die that cannot say who it is any more does not pass under the label of another one."""

from __future__ import annotations

import shutil

import pytest


@pytest.mark.timeout(120)
def test_a_locked_die_under_the_label_of_one_that_was_never_locked_is_quarantined(matrix):
    """The labelled die has its secrets and still waits for its lock; in the socket lies one finished before."""
    bench = matrix.bench
    finished = bench.fresh()
    bench.insert(finished)
    assert bench.run(finished).kind == "pass"
    bench.remove()
    place = bench.copy(matrix.flow("chip_probe").windows["lock"].place)
    shutil.rmtree(place.chip)
    shutil.copytree(finished.chip, place.chip)
    bench.insert(place)
    ending = bench.run(place)
    assert ending.kind == "quarantine" and "Lock for transport" in ending.result["reason"], ending.result
    bench.remove()
    for used in (place, finished):
        bench.drop(used)
