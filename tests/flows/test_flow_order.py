"""What a flow does in which order, and what it refuses: seen from the ports, the board's nets and the registry."""

from __future__ import annotations

import json

import pytest
from crash_bench import Place

from drivers.virtual.earlgrey.chip_file import INFO_PAGE
from drivers.virtual.earlgrey.flash import WAS_PAGE

STRAPS = ("tap_strap0", "tap_strap1", "sw_strap0", "sw_strap1", "sw_strap2", "dft_strap0", "dft_strap1")
LIFE_CYCLE_VISIT = (True, False, True, True, True, False, False)
DEBUG_VISIT = (False, True, True, True, True, False, False)
SRAM_PROGRAM = (False, True, False, False, False, False, False)
BOOTSTRAP = (False, False, True, True, True, False, False)
BOOT = (False,) * 7
WANTED = {
    "chip_probe": {LIFE_CYCLE_VISIT, DEBUG_VISIT, SRAM_PROGRAM},
    "final_test": {LIFE_CYCLE_VISIT, DEBUG_VISIT, SRAM_PROGRAM, BOOTSTRAP, BOOT},
}


def sampled_straps(edges: list[list[object]], nets: dict[str, bool]) -> list[tuple[bool, ...]]:
    """The straps at each release of reset: what the chip samples."""
    levels, seen = dict(nets), []
    for _, signal, level in edges:
        levels[str(signal)] = bool(level)
        if signal == "por_n" and level:
            seen.append(tuple(levels[name] for name in STRAPS))
    return seen


@pytest.fixture
def part(matrix) -> Place:
    """A part that passed Chip Probe, in the socket."""
    place = matrix.bench.copy(matrix.packaged())
    matrix.bench.forget_registrations()
    matrix.bench.insert(place)
    yield place
    matrix.bench.remove()
    matrix.bench.drop(place)


def test_a_part_is_registered_after_it_has_booted_its_product(matrix, part):
    calls = matrix.bench.run(part).result["calls"]
    registered, asked = calls.index("appliance.register"), calls.index("appliance.owner_boot_message")
    assert asked < registered
    between = calls[asked:registered]
    assert between.count("pins.drive") >= 2 and "console.read" in between, between
    assert not [call for call in calls[registered + 1 :] if call.startswith(("jtag", "spi"))]


def test_a_part_whose_product_does_not_boot_is_not_registered(matrix, part):
    ending = matrix.bench.run(part, boot_message="a firmware that this part does not have")
    assert (ending.kind, ending.result["bin"]) == ("fail", "boot"), ending.result
    assert matrix.bench.registrations() == []
    assert not ending.result["known"]["registered"]


def test_a_part_with_another_wafer_secret_is_refused_by_the_appliance(matrix, part):
    page = (WAS_PAGE[0] * 10 + WAS_PAGE[1]) * INFO_PAGE
    chip = matrix.bench.chip
    with chip.lock:
        chip._file.set_info(page, bytes(byte ^ 1 for byte in chip._file.info[page : page + 32]))
    ending = matrix.bench.run(part)
    assert (ending.kind, ending.result["bin"]) == ("fail", "endorsement"), ending.result
    assert "WAS" in ending.result["reason"]
    assert matrix.bench.registrations() == []


def test_the_rma_seed_is_kept_before_its_hash_reaches_the_part(matrix, part):
    ending = matrix.bench.run(part)
    log = ending.result["log"]
    assert any("RMA token hash" in line for line in log)
    registered = matrix.bench.registrations()
    assert len(registered) == 1
    assert matrix.bench.rma_hash_of(registered[0].wrapped_rma_unlock_token) == matrix.bench.rma_hash_in_chip()
    probes = [probe for probe in ending.result["probes"] if probe.startswith("before")]
    keeps = [n for n, probe in enumerate(probes) if probe == "before keep"]
    rma_hash, sent, compared = keeps[-3:]
    assert probes[rma_hash + 1] == "before intent", "something lies between the kept hash and the burn that uses it"
    assert probes[sent + 1] == "before registration" and probes[compared - 1] == "before intent"


def test_straps_are_set_before_each_release_of_reset(matrix):
    bench = matrix.bench
    for flow, place in (("chip_probe", bench.fresh()), ("final_test", bench.copy(matrix.packaged()))):
        bench.insert(place)
        state = bench.bench.state
        state.command({"do": "edges", "socket": 1, "clear": True})
        nets = state.command({"do": "state", "socket": 1})["nets"]
        assert bench.run(place).kind == "pass"
        seen = sampled_straps(state.command({"do": "edges", "socket": 1}), nets)
        assert set(seen) == WANTED[flow], f"{flow}: {json.dumps(sorted(set(seen) ^ WANTED[flow]))}"
        assert seen[0] == LIFE_CYCLE_VISIT
        bench.remove()
        bench.drop(place)
