"""A product that boots although its firmware failed while it wrote the last words of the configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from crash_bench import CrashBench

DIGESTS = (0x470, 0x1A8)  # of OWNER_SW_CFG and CREATOR_SW_CFG, the last words of all
WORD = 0x150  # in CREATOR_SW_CFG, written after the word that lets the product boot


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = CrashBench(tmp_path_factory.mktemp("install"))
    yield made
    made.close()


def tear_word(bench, monkeypatch, address):
    """The word at this address does not take its value; the power stays on."""
    program = bench.chip._macro.program

    def torn(index, data, who):
        if index == address // 2:
            bench.chip.faults.arm("torn_word", "1")
        return program(index, data, who)

    monkeypatch.setattr(bench.chip._macro, "program", torn)


def test_a_part_whose_firmware_failed_after_its_product_could_boot_is_neither_passed_nor_registered(bench, monkeypatch):
    place = bench.fresh()
    bench.insert(place)
    assert bench.run(place).kind == "pass"
    place.recipe = "earlgrey-ft"
    bench.insert(place)
    tear_word(bench, monkeypatch, WORD)
    ended = bench.run(place)
    assert ended.kind == "quarantine", ended.result
    assert any("raised TestError" in line for line in ended.result["log"])
    assert bench.registrations() == []
    again = bench.run(place, release=True)
    assert again.kind == "quarantine", "no release writes the missing words"
    assert bench.registrations() == []


FIRST, *OTHERS = [start + at for start in DIGESTS for at in (0, 2, 4, 6)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("address", [FIRST, *(pytest.param(n, marks=pytest.mark.full) for n in OTHERS)])
def test_a_part_with_a_torn_digest_of_a_software_partition_is_neither_passed_nor_registered(
    bench, monkeypatch, address
):
    """The firmware reads each digest back, and the ROM of such a part does not get through its first loads."""
    bench.forget_registrations()
    place = bench.fresh()
    bench.insert(place)
    assert bench.run(place).kind == "pass"
    place.recipe = "earlgrey-ft"
    bench.insert(place)
    tear_word(bench, monkeypatch, address)
    ended = bench.run(place)
    assert ended.kind == "quarantine", ended.result
    name = "OWNER_SW_CFG" if address >= DIGESTS[0] else "CREATOR_SW_CFG"
    assert bench.chip._macro.read(address // 2) is None and bench.chip.otp.errors[name]
    again = bench.run(place, release=True)
    assert again.kind == "quarantine", "no release writes the digest again"
    assert bench.registrations() == [] and not bench.chip.state()["double_burns"]
