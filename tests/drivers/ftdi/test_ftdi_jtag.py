"""The JTAG driver against the TAP models, through the wire-level adapter."""

from __future__ import annotations

import random

import pytest

from drivers.ftdi import tap
from station.errors import BenchError, PartError
from station.model import DmiRead, DmiWrite, SpiFrame
from station.ports import Jtag

RAM = 0x1000_0000
DMCONTROL, DMSTATUS, DATA0, DATA1, SBCS = 0x10, 0x11, 0x04, 0x05, 0x38


@pytest.fixture
def jtag(opened):
    jtag = opened.ports["jtag"]
    assert jtag.connect() == 0x10001CDF
    jtag.dmi([DmiWrite(DMCONTROL, 1)])
    return jtag


def words(count, seed=1):
    source = random.Random(seed)
    return [source.getrandbits(32) for _ in range(count)]


def test_is_a_jtag_port(opened):
    assert isinstance(opened.ports["jtag"], Jtag)


def test_dmi_reads_and_writes_in_order(jtag):
    answers = jtag.dmi(
        [DmiWrite(DATA0, 0xDEADBEEF), DmiRead(DATA0), DmiWrite(DATA1, 5), DmiRead(DATA1), DmiRead(DATA0)]
    )
    assert answers == [0xDEADBEEF, 5, 0xDEADBEEF]


def test_dmi_of_many_operations_is_split_below_the_reply_buffer(jtag):
    values = words(700)
    operations = [step for value in values for step in (DmiWrite(DATA0, value), DmiRead(DATA0))]
    assert jtag.dmi(operations) == values


def test_life_cycle_tap_answers_when_strapped(opened):
    pins, jtag = opened.ports["pins"], opened.ports["jtag"]
    pins.drive({"reset": True})
    pins.drive({"tap_strap0": True, "tap_strap1": False})
    pins.drive({"reset": False})
    assert jtag.connect() == 0x10002CDF
    assert jtag.dmi([DmiRead(0x01), DmiRead(0x13), DmiRead(0x23)]) == [0x3, 0x1000, 0xFFFFFFFF]


def test_gated_tap_is_a_bench_error_with_the_raw_idcode(opened):
    opened.ports["pins"].drive({"reset": True})
    with pytest.raises(BenchError, match=r"raw IDCODE 0x00000000.*strapped"):
        opened.ports["jtag"].connect()


def test_missing_part_is_a_bench_error_with_the_raw_idcode(opened, bench):
    bench.handler.remove(1)
    with pytest.raises(BenchError, match="raw IDCODE 0xffffffff"):
        opened.ports["jtag"].connect()


def test_part_lost_between_scans_is_never_taken_for_a_value(jtag, bench):
    bench.handler.remove(1)
    with pytest.raises(BenchError, match="TDO stays high"):
        jtag.dmi([DmiRead(DMSTATUS)])


def test_power_lost_between_scans_is_never_taken_for_a_value(jtag, bench):
    bench.handler.fault(1, "power_cut")
    with pytest.raises(BenchError, match="expected an answer from that address"):
        jtag.dmi([DmiRead(DMSTATUS)])


def test_block_write_and_read_back(jtag, opened):
    data = words(1000)
    jtag.write_words(RAM + 0x1FE8, data)
    raw = b"".join(word.to_bytes(4, "little") for word in data)
    assert opened.chip.memory.data[0x1FE8 : 0x1FE8 + 4000] == raw
    assert jtag.read_words(RAM + 0x1FE8, 1000) == data


@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_blocks(jtag, count):
    data = words(count)
    jtag.write_words(RAM, data)
    assert jtag.read_words(RAM, count) == data


def test_reading_the_last_word_of_a_memory_touches_nothing_behind_it(jtag):
    end = RAM + (128 << 10)
    jtag.write_words(end - 8, [1, 2])
    assert jtag.read_words(end - 8, 2) == [1, 2]
    assert jtag.dmi([DmiRead(SBCS)])[0] & 0x7000 == 0


def test_figures_of_a_32_kib_block(jtag, opened, bench):
    data = words(8192)
    before = bench.handler.state(1)
    jtag.write_words(RAM, data)
    after = bench.handler.state(1)
    tck = after["tck"]["A"] - before["tck"]["A"]
    out = after["channels"]["A"]["out"] - before["channels"]["A"]["out"]
    size = after["channels"]["A"]["out_bytes"] - before["channels"]["A"]["out_bytes"]
    print(f"32 KiB: {tck / 8192:.3f} TCK/word, {size / 8192:.3f} USB bytes/word, {out} OUT transfers")
    assert tck <= 1.02 * 45 * 8192
    assert size <= 11.1 * 8192
    assert out <= 4
    assert opened.chip.memory.writes == 8192
    assert jtag.read_words(RAM + 32764, 1) == data[-1:]


def test_block_read_takes_48_tck_a_word(jtag, bench):
    before = bench.handler.state(1)["tck"]["A"]
    jtag.read_words(RAM, 1000)
    assert bench.handler.state(1)["tck"]["A"] - before <= 1.05 * 48 * 1000


def test_too_few_idle_cycles_are_adapted_without_losing_an_answer(jtag, opened):
    data = words(600)
    jtag.write_words(RAM, data)
    opened.chip.clock.set_ratio(0.1)  # TCK ten times faster than the part: 42 idle cycles are needed
    assert jtag.read_words(RAM, 600) == data
    assert jtag.idle_cycles[0] >= 42
    assert jtag.dmi([DmiWrite(DATA0, 7), DmiRead(DATA0)]) == [7]


def test_sticky_busy_left_by_somebody_else_is_cleared(jtag, opened):
    opened.chip.mux._taps["rv"].dtm.busy = True
    assert jtag.dmi([DmiWrite(DATA0, 9), DmiRead(DATA0)]) == [9]


def test_slow_bus_makes_the_block_write_slower_not_wrong(jtag, opened):
    data = words(300)
    opened.chip.debug.sba.latency = 400.0  # 45 TCK are 180 clk only
    jtag.write_words(RAM, data)
    assert jtag.idle_cycles[2] > 0
    assert jtag.read_words(RAM, 300) == data


def test_bus_error_is_the_parts_fault_and_is_cleared(jtag):
    with pytest.raises(PartError, match=r"sberror 2 \(bus error\)"):
        jtag.write_words(0x2000_0000, [1, 2, 3])
    with pytest.raises(PartError, match="sberror 2"):
        jtag.read_words(0x2000_0000, 4)
    with pytest.raises(PartError, match="sberror 3"):
        jtag.write_words(RAM + 2, [1])
    jtag.write_words(RAM, [4])
    assert jtag.read_words(RAM, 1) == [4]


def test_a_batch_is_one_write_and_one_read(jtag, bench):
    before = bench.handler.state(1)["channels"]["A"]
    jtag.dmi([DmiWrite(DATA0, n) for n in range(100)])
    after = bench.handler.state(1)["channels"]["A"]
    assert (after["out"] - before["out"], after["in"] - before["in"]) == (1, 1)


def test_disconnect_parks_the_clock(jtag, bench):
    jtag.disconnect()
    adapter = bench.bench.state.adapters[0]
    assert adapter.channels[0].engine.value & 0x0B == 0


def test_request_layout():
    assert tap.request(0x7F, 0xFFFFFFFF, 3) == (1 << 41) - 1
    assert tap.request(0x3C, 1, 2) == 0x3C << 34 | 1 << 2 | 2


def test_secrets_at_the_most_verbose_level(bench, caplog):
    caplog.set_level("DEBUG")
    chip = bench.insert()
    socket = bench.open()
    socket.ports["pins"].drive({"tap_strap1": True})
    socket.ports["pins"].drive({"reset": False})
    jtag = socket.ports["jtag"]
    jtag.connect()
    token = 0xC0FFEE42
    jtag.dmi([DmiWrite(DMCONTROL, 1)])
    jtag.dmi_secret([DmiWrite(DATA0, token)])
    socket.ports["spi"].transact_secret([SpiFrame(b"\x02secret payload")])
    assert jtag.dmi([DmiRead(DATA0)]) == [token] and chip.windows[-1] == b"\x02secret payload"
    socket.close()
    carried = (token.to_bytes(4, "little"), (token << 2 | 2).to_bytes(5, "little"), b"secret payload")
    for form in (text for raw in carried for text in (raw.hex(), raw[::-1].hex())):
        assert form not in caplog.text.lower()
