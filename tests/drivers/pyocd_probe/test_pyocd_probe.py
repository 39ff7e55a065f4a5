"""What the probe does to a part, seen by the part itself: memory, flash, UICR, erasure, resets, refusals."""

from __future__ import annotations

import random

import pytest
from pyocd_bench import WAIVER, opened_up, switch_net_on

from station.errors import AdapterLost, BenchError, ConfigError, FormatError, PartError
from station.formats.nordic_family import KMU_SELECT, SECURE_ALIAS, CtrlAp, Nvmc
from station.model import DebugAccess, ResetKind, Segment, Span

DATA = random.Random(53).randbytes(0x2800)
NET = 0x0100_0000


def bytes_of(words):
    return b"".join(word.to_bytes(4, "little") for word in words)


def read(probe, core, address, count):
    return bytes_of(probe.read_words(core, address, (count + 3) // 4))[:count]


def test_a_fresh_hardened_part_is_closed_and_says_so(bench):
    bench.insert()
    probe = bench.open().ports["probe"]
    probe.attach()
    assert probe.access("app") is DebugAccess.CLOSED and probe.access("net") is DebugAccess.CLOSED
    for refused in (
        lambda: probe.read_words("app", 0x2000_0000, 1),
        lambda: probe.write_words("app", 0x2000_0000, [1]),
        lambda: probe.halt("app"),
        lambda: probe.program("app", [Segment(0, DATA)]),
        lambda: probe.erase("app", [Span(0, 4)]),
        lambda: probe.write_once("app", 0x00FF_8000, [0]),
        lambda: probe.reset(ResetKind.SYSTEM),
    ):
        with pytest.raises(PartError, match="expected the debug port of the app core to be open, but it is closed"):
            refused()
    assert probe.read_ap(bench.family.app.ctrl_ap, CtrlAp.IDR) == 0x1288_0000, "the CTRL-AP answers all the same"
    assert bench.chip["uicr_writes"] == 0


def test_secure_debugging_alone_can_be_closed(make_bench):
    bench = make_bench("nrf9160")
    bench.insert()
    probe = bench.open().ports["probe"]
    probe.attach()
    assert probe.access("app") is DebugAccess.OPEN, "an nRF9160 is open as it comes"
    bench.hands.fault(1, "secure_locked")
    probe.attach()
    assert probe.access("app") is DebugAccess.NON_SECURE


@pytest.mark.parametrize("chip", ["nrf5340", "nrf9160", "nrf91x1"])
def test_erase_all_opens_and_takes_everything(make_bench, chip):
    bench = make_bench(chip)
    bench.insert()
    probe = bench.open().ports["probe"]
    probe.attach()
    opened_up(probe, bench.family)
    assert probe.access("app") is DebugAccess.OPEN
    assert [erased["by"] for erased in bench.chip["erase_alls"]] == ["CTRL-AP"] * len(bench.chip["erase_alls"])
    probe.program("app", [Segment(0, DATA)])
    probe.erase_all("app", WAIVER)
    assert probe.read_words("app", 0, 2) == [0xFFFF_FFFF] * 2
    assert probe.read_words("app", bench.family.app.approtect, 1) == [0xFFFF_FFFF]


def test_erasing_a_part_of_a_series_that_is_not_ours_is_refused_in_words(bench, probe):
    bench.hands.fault(1, "wrong_family", "nrf54l")
    erased = len(bench.chip["erase_alls"])
    probe.attach()
    with pytest.raises(PartError, match=r"expected the CTRL-AP of the app core .* saw 0x32880000; nothing was erased"):
        probe.erase_all("app", WAIVER)
    assert len(bench.chip["erase_alls"]) == erased


def test_an_erasure_that_does_not_end_is_named(bench, probe, monkeypatch):
    monkeypatch.setattr(CtrlAp, "ERASE_SECONDS", 0.2)
    bench.hands.fault(1, "erase_stuck")
    with pytest.raises(PartError, match=r"did not end within 0\.2 s: the part is neither what it was nor bl") as caught:
        probe.erase_all("app", WAIVER)
    assert caught.value.bin == "locked"


def test_memory_in_long_blocks(probe):
    words = [0x1234_0000 + n for n in range(3000)]
    probe.write_words("app", 0x2000_0100, words)
    assert probe.read_words("app", 0x2000_0100, 3000) == words
    assert probe.read_words("app", 0x2000_0100, 0) == []


def test_both_cores_are_programmed_and_read_back(bench, probe):
    switch_net_on(probe)
    assert probe.access("net") is DebugAccess.OPEN
    probe.program("net", [Segment(NET + 0x800, DATA)])
    probe.program("app", [Segment(0, DATA), Segment(0x8000, DATA[:100])])
    assert read(probe, "app", 0, len(DATA)) == DATA and read(probe, "app", 0x8000, 100) == DATA[:100]
    assert read(probe, "net", NET + 0x800, len(DATA)) == DATA
    cores = bench.chip["cores"]
    assert (cores["app"]["page_erases"], cores["net"]["page_erases"]) == (4, 5)
    assert {cores["app"]["state"], cores["net"]["state"]} == {"halted"}
    probe.reset(ResetKind.SYSTEM)
    assert bench.chip["cores"]["app"]["state"] != "halted", "a reset lets the cores run"


def test_a_core_that_is_off_is_closed(probe):
    assert probe.access("net") is DebugAccess.CLOSED
    with pytest.raises(
        PartError, match=r"net core to be open, but it is closed: the core is protected, or switched off"
    ):
        probe.read_words("net", NET, 1)
    switch_net_on(probe)
    assert probe.read_words("net", NET, 1) == [0xFFFF_FFFF]
    probe.reset(ResetKind.SYSTEM)
    probe.attach()
    assert probe.access("net") is DebugAccess.CLOSED, "a system reset turns the network core off again"


def test_erasing_ranges_takes_pages_and_nothing_else(bench, probe):
    probe.program("app", [Segment(0, DATA)])
    probe.write_once("app", 0x00FF_8100, [0xFFFF_0000])
    probe.erase("app", [Span(0x1004, 4)])
    assert read(probe, "app", 0, 0x1000) == DATA[:0x1000]
    assert read(probe, "app", 0x1000, 0x1000) == b"\xff" * 0x1000
    assert read(probe, "app", 0x2000, 0x800) == DATA[0x2000:]
    assert probe.read_words("app", 0x00FF_8100, 1) == [0xFFFF_0000]


def test_what_lies_outside_main_flash_is_refused_before_anything_happens(bench, probe):
    before = bench.chip
    for refused in (
        lambda: probe.program("app", [Segment(0, DATA), Segment(0x00FF_8000, b"\0\0\0\0")]),
        lambda: probe.program("app", [Segment(NET, DATA)]),
        lambda: probe.erase("app", [Span(0x00FF_8000, 4)]),
        lambda: probe.write_once("app", 0x0000_1000, [0]),
        lambda: probe.write_once("app", 0x00FF_8FFC, [0, 0]),
        lambda: probe.write_words("app", 0x0000_0000, [0]),
        lambda: probe.write_words("app", 0x00FF_8000, [0]),
        lambda: probe.write_words("app", 0x00FF_7FFC, [0, 0]),
        lambda: probe.write_words("app", NET, [0]),
        lambda: probe.read_words("app", 0x2000_0002, 1),
    ):
        with pytest.raises(ConfigError):
            refused()
    assert bench.chip == before
    with pytest.raises(FormatError, match="has the cores app, net, not 'nett'"):
        probe.access("nett")


@pytest.mark.parametrize("chip", ["nrf5340", "nrf9160", "nrf91x1"])
def test_no_register_of_an_access_port_erases_a_part(make_bench, chip):
    """Neither by its own number, nor by one that becomes it once it is shifted or cut, nor through another port."""
    bench = make_bench(chip)
    bench.insert()
    probe = bench.open().ports["probe"]
    probe.attach()
    before, asked = bench.chip, bench.requests
    for core in bench.family.cores:
        for register in CtrlAp.ERASING:
            with pytest.raises(ConfigError, match="erases the whole part with all its keys, which takes a waiver"):
                probe.write_ap(core.ctrl_ap, register, 1)
        for register in (0x104, 0x006, 0x0100_0004, -0xFC, 0x0FC):
            with pytest.raises(ConfigError, match=f"expected a register of a CTRL-AP of the {bench.family.title}"):
                probe.write_ap(core.ctrl_ap, register, 1)
        with pytest.raises(ConfigError, match=f"saw 0x004 of access port {core.ahb_ap}; nothing was changed"):
            probe.write_ap(core.ahb_ap, 0x04, core.nvmc + Nvmc.ERASEALL)
    assert (bench.chip, bench.requests) == (before, asked), "nothing of it reached the part"
    assert before["erase_alls"] == []


@pytest.mark.parametrize("bus", ["app", "net"])
def test_no_word_reaches_what_a_flash_controller_erases_by(bench, probe, bus):
    """Of neither core, at neither alias, nor in the middle of a longer block; the key slots' register stays."""
    switch_net_on(probe)
    before, asked = bench.chip, bench.requests
    registers = (Nvmc.CONFIG, Nvmc.ERASEPAGE, Nvmc.ERASEALL, Nvmc.ERASEUICR, Nvmc.ERASEPAGEPARTIALCFG,
                 Nvmc.CONFIGNS, Nvmc.WRITEUICRNS)  # fmt: skip
    for core in bench.family.cores:
        for register in registers:
            for address in (core.nvmc + register, (core.nvmc ^ SECURE_ALIAS) + register):
                with pytest.raises(ConfigError, match=f"where the flash controller of the {core.name} core is told"):
                    probe.write_words(bus, address, [1])
                with pytest.raises(ConfigError, match="expected words in the UICR"):
                    probe.write_once(bus, address, [1])
        with pytest.raises(ConfigError, match="where the flash controller"):
            probe.write_words(bus, core.nvmc + KMU_SELECT, [0, 2])
    for address in (1 << 32 | bench.family.app.nvmc + Nvmc.CONFIG, -4):
        with pytest.raises(ConfigError, match="expected addresses of 32 bits"):
            probe.write_words(bus, address, [2])
    assert (bench.chip, bench.requests) == (before, asked)
    probe.write_words("app", bench.family.app.nvmc + KMU_SELECT, [0])


def test_uicr_words_are_burnt_once_and_the_part_keeps_count(bench, probe):
    before = bench.chip["uicr_writes"]
    probe.write_once("app", 0x00FF_8100, [0xFFFF_0000, 0xFFFF_FFFF])
    assert bench.chip["uicr_writes"] >= before + 1 and bench.chip["lc_state"] == "PROVISIONING"
    with pytest.raises(PartError, match="word 0x00ff8000 to read 0x5fffffff after it was written"):
        probe.write_once("app", 0x00FF_8000, [0x5FFF_FFFF])


def test_a_flash_word_that_does_not_take_is_found(bench, probe):
    bench.hands.fault(1, "verify_mismatch", "0x00001234")
    with pytest.raises(PartError, match="in the flash of the app core at 0x00001234 after programming"):
        probe.program("app", [Segment(0, DATA)])


def test_a_core_runs_after_a_system_reset_and_after_a_pin_reset(make_bench):
    """An nRF9160 stays open as long as nobody closes it; its erased flash locks the core up, which is not halted."""
    bench = make_bench("nrf9160")
    bench.insert()
    probe = bench.open().ports["probe"]
    probe.attach()
    for kind, cause in ((ResetKind.SYSTEM, "system"), (ResetKind.PIN, "pin")):
        probe.halt("app")
        assert bench.chip["cores"]["app"]["state"] == "halted"
        probe.reset(kind)
        core = bench.chip["cores"]["app"]
        assert core["state"] != "halted" and core["reset_cause"] == cause
        probe.attach()
        assert probe.access("app") is DebugAccess.OPEN


def test_a_core_that_a_dead_program_left_halted_runs_after_a_reset(make_bench):
    bench = make_bench("nrf9160")
    bench.insert()
    first = bench.open()
    first.ports["probe"].attach()
    first.ports["probe"].halt("app")
    first.close()
    probe = bench.open().ports["probe"]
    probe.attach()
    assert bench.chip["cores"]["app"]["state"] == "halted", "attaching changes nothing"
    probe.reset(ResetKind.SYSTEM)
    assert bench.chip["cores"]["app"]["state"] != "halted"


def test_a_part_that_does_not_come_back_from_a_reset_is_a_fault_of_the_bench(bench, probe, monkeypatch):
    monkeypatch.setattr("drivers.pyocd_probe.probe.RETURN_SECONDS", 0.2)
    bench.hands.remove(1)
    with pytest.raises(BenchError, match="does not answer on SWD"):
        probe.reset(ResetKind.PIN)
    bench.hands.unplug(1)
    with pytest.raises(AdapterLost):
        probe.reset(ResetKind.PIN)
