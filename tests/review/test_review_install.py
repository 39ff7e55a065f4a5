"""A product that boots although its firmware failed while it wrote the last words of the configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from crash_bench import CrashBench

WORD = 0x150  # in CREATOR_SW_CFG, written after the word that lets the product boot


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = CrashBench(tmp_path_factory.mktemp("install"))
    yield made
    made.close()


def test_a_part_whose_firmware_failed_after_its_product_could_boot_is_neither_passed_nor_registered(bench, monkeypatch):
    place = bench.fresh()
    bench.insert(place)
    assert bench.run(place).kind == "pass"
    place.recipe = "earlgrey-ft"
    bench.insert(place)
    program = bench.chip._macro.program

    def torn(index, data, who):
        if index == WORD // 2:
            bench.chip.faults.arm("torn_word", "1")
        return program(index, data, who)

    monkeypatch.setattr(bench.chip._macro, "program", torn)
    ended = bench.run(place)
    assert ended.kind == "quarantine", ended.result
    assert any("raised TestError" in line for line in ended.result["log"])
    assert bench.registrations() == []
    again = bench.run(place, release=True)
    assert again.kind == "quarantine", "no release writes the missing words"
    assert bench.registrations() == []
