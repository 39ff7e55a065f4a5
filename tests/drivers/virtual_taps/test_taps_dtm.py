"""TAP, DTMCS and DMI: timing table, sticky busy, scan semantics, batches equal single cycles (RTL sheet 2)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taps_host import NOP, READ, WRITE, Fabric, Host, LcBench, RvBench

from drivers.virtual.taps import Clock, LcController, TapMux, lc_tap, rv_tap

RTI_FOR_READ = {0.1: 42, 0.25: 18, 0.5: 10, 1: 6, 1.5: 5, 2: 4, 3: 4, 4: 3, 6: 3, 10: 3, 24: 3, 100: 3}
RTI_FOR_LC_WRITE = {0.1: 13, 0.25: 0, 0.5: 0, 1: 0, 2: 0, 4: 0, 10: 0, 24: 0, 100: 0}


def benches(ratio: float) -> list[tuple[Host, int, int]]:
    """(host, register, its value) on both TAPs, DMI selected."""
    lc, rv = LcBench.make(ratio=ratio), RvBench.make(ratio=ratio, active=False)
    return [(lc.host, 0x13, 0x1000), (rv.host, 0x12, 0x00212380)]


@pytest.mark.parametrize("ratio", RTI_FOR_READ)
def test_reads_need_exactly_the_measured_idle_cycles(ratio: float) -> None:
    enough = RTI_FOR_READ[ratio]
    for host, register, value in benches(ratio):
        host.dmi(READ, register, rti=enough)
        assert host.dmi(NOP, rti=60) == (register, value, 0)
        host.dmi(READ, register, 0x2A, rti=enough - 1)
        assert host.dmi(NOP, rti=60) == (register, 0x2A, 3)
        assert host.dmi(NOP, rti=60) == (register, value, 3)


@pytest.mark.parametrize("ratio", RTI_FOR_LC_WRITE)
def test_lc_writes_need_exactly_the_measured_idle_cycles(ratio: float) -> None:
    enough = RTI_FOR_LC_WRITE[ratio]
    host = LcBench.make(ratio=ratio).host
    host.dmi(WRITE, 3, 0x12, rti=enough)
    assert host.dmi(WRITE, 3, 0x96, rti=60) == (3, 0x12, 0)
    assert host.dmi(NOP) == (3, 0x96, 0)
    if enough:
        host.dmi(WRITE, 3, 0x12, rti=enough - 1)
        assert host.dmi(WRITE, 3, 0x55, rti=60) == (3, 0x12, 0)
        assert host.dmi(NOP) == (3, 0x12, 3)
        host.dtmcs(1 << 16)
        assert host.read(3) == 0x12


def test_idcode_bypass_and_capture_values() -> None:
    for host, idcode in ((LcBench.make().host, 0x10002CDF), (RvBench.make().host, 0x10001CDF)):
        host.reset()
        assert host.dr(32, 0xFFFFFFFF) == idcode
        for code in (0x00, 0x1F, 0x02, 0x05, 0x0F, 0x12):
            assert host.ir(code) == 0b00101
            assert host.dr(9, 0b101100111) == 0b101100111 << 1 & 0x1FF
        host.ir(0x01)
        assert host.dr(64, 0) == idcode


def test_recoveries_differ_in_what_they_keep() -> None:
    for host, register, value in benches(10):
        for clear, kept in ((1 << 16, (register, value)), (1 << 17, (0, 0))):
            host.dmi(READ, register, rti=1)
            host.dmi(NOP, 0x7F, 0x1234)
            assert host.dtmcs() == 0x1C71
            assert host.dtmcs(clear) == 0x1C71
            assert host.dtmcs() == 0x1071
            assert host.dmi(NOP) == (*kept, 0)
        host.dmi(READ, register, rti=1)
        host.dmi(NOP)
        host.reset()
        host.ir(0x11)
        assert host.dmi(NOP) == (0, 0, 0)


def test_requests_under_a_sticky_error_are_ignored() -> None:
    host = LcBench.make().host
    host.dmi(READ, 0x13, rti=0)
    host.dmi(WRITE, 3, 0x96)
    host.dmi(WRITE, 3, 0x96)
    host.dtmcs(1 << 16)
    assert host.read(3) == 0x69


@pytest.mark.parametrize("bits", [0, 1 << 5, 1 << 15, 1 << 18, 0xFFFCFFFF])
def test_other_dtmcs_bits_do_nothing(bits: int) -> None:
    host = RvBench.make().host
    host.dmi(READ, 0x12, rti=1)
    host.dmi(NOP)
    assert host.dtmcs(bits) == 0x1C71
    assert host.dtmcs() == 0x1C71


def test_nop_and_reserved_operation_are_echoed_without_access() -> None:
    host = RvBench.make().host
    for operation in (0, 3):
        host.dmi(operation, 0x25, 0xCAFE0000 | operation)
        assert host.dmi(NOP) == (0x25, 0xCAFE0000 | operation, 0)
    assert host.read(0x25) == 0


def test_any_scan_that_meets_a_read_in_flight_makes_busy_sticky() -> None:
    bench = RvBench.make(ratio=0.01)  # a TCK so fast that an IR change cannot outrun the read
    bench.host.dmi(READ, 0x12, rti=1)
    bench.host.ir(0x01)
    bench.host.dr(32)
    bench.host.idle(2000)
    assert bench.host.dtmcs() == 0x1C71


def test_result_of_a_read_is_there_for_one_scan_only() -> None:
    host = LcBench.make().host
    host.dmi(READ, 0x13)
    assert host.dmi(NOP, 1, 2) == (0x13, 0x1000, 0)
    assert host.dmi(NOP) == (1, 2, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(0), st.integers(0), st.sampled_from([0.25, 1.0, 4.0, 10.0]), st.booleans())
def test_batches_equal_single_cycles(count: int, tms: int, tdi: int, ratio: float, dmi_selected: bool) -> None:
    """Any pin pattern gives the same TDO in one call, in pieces and bit by bit."""
    mask = (1 << count) - 1
    tms, tdi = tms * 0x9E3779B97F4A7C15 & mask, tdi * 0xD1B54A32D192ED03 & mask
    one, pieces, single = (RvBench.make(ratio=ratio) for _ in range(3))
    for bench in (one, pieces, single):
        bench.host.ir(0x11 if dmi_selected else 0x10)
    whole = one.host.tap.clock(count, tms, tdi)
    out = sum(single.host.tap.clock(1, tms >> i & 1, tdi >> i & 1) << i for i in range(count))
    cut = count // 3
    low = pieces.host.tap.clock(cut, tms & (1 << cut) - 1, tdi & (1 << cut) - 1)
    high = pieces.host.tap.clock(count - cut, tms >> cut, tdi >> cut)
    assert whole == out == low | high << cut
    assert one.host.tap.state == single.host.tap.state == pieces.host.tap.state
    assert one.clock.tck == single.clock.tck == pieces.clock.tck


def test_long_batches_are_cut_without_a_seam() -> None:
    pick = random.Random(7)
    words = [pick.getrandbits(32) for _ in range(4000)]
    scans = [0x3C << 34 | word << 2 | 2 for word in words]
    tms = tdi = count = 0
    for value in scans:
        tms |= (0b001 | 1 << 43 | 1 << 44) << count
        tdi |= value << count + 3
        count += 45
    bench = RvBench.make(ratio=4)
    bench.host.write(0x38, 0x00050000)
    bench.host.write(0x39, 0x10000000)
    bench.host.tap.clock(count + 1, tms, tdi)  # the last update happens at the edge that leaves Update-DR
    assert count > 1 << 16
    assert bytes(bench.memory.data[:16000]) == b"".join(word.to_bytes(4, "little") for word in words)


def test_shift_equals_clock() -> None:
    pick = random.Random(3)
    left, right = RvBench.make(), RvBench.make()
    for _ in range(200):
        count, last = pick.randrange(1, 50), pick.random() < 0.5
        tdi = pick.getrandbits(count)
        assert left.host.tap.shift(count, tdi, last) == right.host.tap.clock(count, int(last) << count - 1, tdi)
        step = pick.randrange(2)
        assert left.host.tap.tdo == right.host.tap.tdo
        assert left.host.tap.clock(1, step, 0) == right.host.tap.clock(1, step, 0)


def test_wall_time_completes_a_read_between_two_transfers() -> None:
    bench = LcBench.make(ratio=0.01)
    bench.host.dmi(READ, 0x13, rti=1)
    bench.host.tap.tick(100)
    assert bench.host.dmi(NOP) == (0x13, 0x1000, 0)


@pytest.mark.parametrize(("ratio", "latency"), [(1, 43), (2, 88), (4, 178), (10, 448)])
def test_back_to_back_bus_writes_up_to_the_measured_latency(ratio: float, latency: int) -> None:
    for extra, refused in ((0, 0), (1, 3)):
        host = RvBench.make(ratio=ratio, with_hart=False, latency=latency + extra).host
        host.write(0x38, 0x00050000)
        host.write(0x39, 0x10000000)
        host.dmi(WRITE, 0x3C, 0x11, rti=0)
        host.dmi(WRITE, 0x3C, 0x22, rti=60)
        assert host.dmi(NOP) == (0x3C, 0x22, refused)


def test_mux_routes_to_the_selected_tap_and_resets_the_other() -> None:
    clock = Clock()
    lc = lc_tap(LcController(Fabric(), clock).tap, clock)
    rv = rv_tap(RvBench.make().module, clock)
    mux = TapMux(clock, {"lc": lc, "rv": rv})
    assert mux.clock(200, 0, 0) == 0
    assert clock.tck == 200
    for name, idcode in (("lc", 0x10002CDF), ("rv", 0x10001CDF)):
        mux.select(name)
        host = Host(mux)  # type: ignore[arg-type]
        assert host.dr(32) == idcode
        host.ir(0x11)
    assert lc.state == 0
    assert lc.instruction == 1
    mux.select(None)
    assert mux.shift(32, 0xFFFFFFFF, False) == 0
    assert mux.tdo == 0
    with pytest.raises(ValueError, match="dft"):
        mux.select("dft")
