"""A finished part whose boot is not heard loses neither its product nor its registration by being put back."""

from __future__ import annotations

from contextlib import closing
from sqlite3 import connect

import pytest

from drivers.virtual.earlgrey.firmware.machine import Machine


def held_registrations(place) -> int:
    with closing(connect(place.data / "journal.sqlite")) as journal:
        return journal.execute("SELECT count(*) FROM journal WHERE kind = 'registration'").fetchone()[0]


@pytest.mark.timeout(120)
def test_a_finished_part_that_says_nothing_is_not_loaded_again(matrix, monkeypatch):
    bench = matrix.bench
    bench.forget_registrations()
    place = bench.copy(matrix.packaged())
    bench.insert(place)
    failed = bench.run(place, boot_message="what no owner says")
    assert (failed.kind, failed.result["known"]["burns"]["final_test.install"]) == ("fail", "done"), failed.result
    product = (place.chip / "flash_data.bin").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Machine, "uart", lambda machine, text: None)
        silent = bench.run(place)
    assert (silent.kind, silent.result["bin"]) == ("fail", "boot"), silent.result
    assert held_registrations(place) == 1 and "load_bundle" not in silent.result["steps"]
    assert (place.chip / "flash_data.bin").read_bytes() == product
    assert bench.run(place).kind == "pass", "the wire is back, and the part has all it had"
    assert len(bench.registrations()) == 1
    bench.remove()
    bench.drop(place)
