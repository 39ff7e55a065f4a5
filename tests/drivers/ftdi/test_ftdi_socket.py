"""Opening, closing, pins, SPI and everything that can go wrong with an adapter."""

from __future__ import annotations

import pytest
from pyftdi.ftdi import Ftdi

from drivers.ftdi import diagnose, open_socket
from drivers.virtual.link import BenchLink
from station.deadline import Deadline
from station.errors import AdapterLost, BenchError, ConfigError
from station.model import Contact, DmiRead, SpiFrame
from station.ports import OpenSocket, Pins, Presence, Spi

STATIC = {
    "por_n",
    "trst_n",
    "tap_strap0",
    "tap_strap1",
    "sw_strap0",
    "sw_strap1",
    "sw_strap2",
    "dft_strap0",
    "dft_strap1",
}


BENCH_SETTINGS = {"serial": "VB0001", "usb_backend": "drivers.virtual.usb_backend"}


def edges(bench, socket=1):
    return [(signal, level) for _, signal, level in bench.handler.command("edges", socket, clear=True)]


def test_ports_are_what_they_claim(opened):
    assert isinstance(opened, OpenSocket)
    assert isinstance(opened.ports["spi"], Spi)
    assert isinstance(opened.ports["pins"], Pins)
    assert isinstance(opened.ports["presence"], Presence)
    assert opened.identity == "FT4232H VB0001 at USB 1-1 address 2"


def test_first_opening_keeps_reset_and_ends_with_straps_off(bench):
    bench.insert()
    edges(bench)
    socket = bench.open()
    seen = edges(bench)
    socket.close()
    # power-up mode drives some straps high; each settles once, none pulses, and reset stays asserted throughout
    assert "por_n" not in dict(seen) and "trst_n" not in dict(seen)
    assert len(seen) == len({signal for signal, _ in seen})
    assert all(not level for _, level in seen)
    nets = bench.handler.state(1)["nets"]
    assert nets == {name: name == "trst_n" for name in STATIC}


def test_closing_and_reopening_toggles_nothing(opened, bench):
    pins = opened.ports["pins"]
    pins.drive({"sw_strap0": True, "dft_strap1": True, "tap_strap0": True})
    nets = bench.handler.state(1)["nets"]
    assert nets["por_n"] and nets["sw_strap0"] and nets["dft_strap1"]
    edges(bench)
    opened.close(freeze=True)
    again = bench.open()
    assert again.ports["jtag"].connect() == 0x10001CDF
    again.ports["spi"].transact([SpiFrame(b"\x06")])
    assert edges(bench) == []
    again.close(freeze=True)
    assert edges(bench) == []
    assert bench.handler.state(1)["nets"] == nets


def test_a_careless_opening_is_seen_to_glitch(opened, bench):
    """The recorder and the model catch what the driver avoids: plain pyftdi lets go of reset while it opens."""
    opened.close(freeze=True)
    edges(bench)
    careless = Ftdi()
    careless.open_from_url("ftdi://ftdi:4232h:VB0001/1")
    careless.close(freeze=True)
    assert ("por_n", False) in edges(bench)


def test_a_program_that_died_in_the_middle_of_a_command_leaves_reset_asserted(opened, bench):
    engine = bench.bench.state.adapters[0].channels[0].engine
    opened.close(freeze=True)
    engine.feed(bytes((0x19, 0xFF, 0xFF, 1, 2)))  # 65534 data bytes never come
    again = bench.open()
    assert bench.handler.state(1)["nets"]["por_n"] is False
    again.ports["pins"].drive({"tap_strap1": True})
    again.ports["pins"].drive({"reset": False})
    assert again.ports["jtag"].connect() == 0x10001CDF
    again.close()


def test_bus_clocks_are_those_of_the_board(opened, bench):
    channels = bench.bench.state.adapters[0].channels
    assert [channels[0].engine.hertz, channels[1].engine.hertz] == [10e6, 7.5e6]
    assert opened.ports["jtag"]._channel.hertz == 10e6


def test_closing_without_freeze_lets_the_pulls_take_over(bench):
    bench.insert()
    socket = bench.open()
    socket.ports["pins"].drive({"reset": False})
    socket.close(freeze=False)
    assert bench.handler.state(1)["nets"]["por_n"] is False


def test_one_bank_changes_in_one_transfer(opened, bench):
    before = bench.handler.state(1)["channels"]
    opened.ports["pins"].drive({"tap_strap0": True, "tap_strap1": True, "sw_strap0": True, "sw_strap2": True})
    after = bench.handler.state(1)["channels"]
    assert [after[bank]["out"] - before[bank]["out"] for bank in "ABCD"] == [1, 1, 0, 0]
    nets = bench.handler.state(1)["nets"]
    assert (nets["tap_strap0"], nets["tap_strap1"]) == (True, True)
    assert (nets["sw_strap0"], nets["sw_strap1"], nets["sw_strap2"]) == (True, False, True)


def test_sampling_all_inputs(opened):
    quiet = opened.ports["pins"].sample()
    assert {name for name, level in quiet.items() if level} == {"presence", "lid_closed", "power_good"}
    opened.chip.levels = {"tx_ready": True, "test_done": True}
    seen = opened.ports["pins"].sample()
    assert seen["console_tx_ready"] and seen["test_done"]
    assert not seen["console_rx_ready"] and not seen["test_error"] and not seen["test_start"]


def test_unknown_output_gets_a_hint(opened):
    with pytest.raises(BenchError, match="did you mean 'sw_strap2'"):
        opened.ports["pins"].drive({"sw_strp2": True})


def test_presence_follows_the_hands(bench):
    socket = bench.open()
    presence = socket.ports["presence"]
    assert presence.contact() == Contact(present=False, lid_closed=False, power_good=True)
    bench.insert()
    assert presence.contact().usable
    bench.handler.lid(1, False)
    assert presence.contact() == Contact(present=True, lid_closed=False, power_good=True)
    bench.handler.fault(1, "power_cut")
    assert not presence.contact().power_good
    bench.handler.power(1, True)
    assert presence.contact().power_good
    socket.close()


def test_spi_windows_in_one_exchange(opened, bench):
    chip = opened.chip
    before = bench.handler.state(1)["channels"]["B"]
    frames = [SpiFrame(b"\x03\x00\x00\x10", 12), SpiFrame(b"\x06"), SpiFrame(b"\x03\x00\x01\x00", 300)]
    first, nothing, second = opened.ports["spi"].transact(frames)
    after = bench.handler.state(1)["channels"]["B"]
    assert (first, nothing, second) == (chip.flash[0x10:0x1C], b"", chip.flash[0x100 : 0x100 + 300])
    assert [len(window) for window in chip.windows] == [16, 1, 304]
    assert (after["out"] - before["out"], after["in"] - before["in"]) == (1, 1)


def test_long_spi_reads_stay_inside_one_window(opened):
    (data,) = opened.ports["spi"].transact([SpiFrame(b"\x03\x00\x00\x00", 6000)])
    assert data == opened.chip.flash[:6000]
    assert [len(window) for window in opened.chip.windows] == [6004]


def test_long_spi_writes_arrive_whole(opened):
    payload = b"\x02\x00\x00\x00" + bytes(range(256)) * 600
    opened.ports["spi"].transact_secret([SpiFrame(payload)])
    assert opened.chip.windows == [payload]


def test_unplugging_is_an_adapter_lost(opened, bench):
    jtag, pins = opened.ports["jtag"], opened.ports["pins"]
    jtag.connect()
    bench.handler.unplug(1)
    for action in (jtag.connect, pins.sample, lambda: pins.drive({"reset": True})):
        with pytest.raises(AdapterLost, match="adapter VB0001 is gone"):
            action()
    assert bench.handler.state(1)["nets"]["por_n"] is False


def test_unplugging_in_the_middle_of_a_batch(opened, bench):
    jtag = opened.ports["jtag"]
    jtag.connect()
    bench.handler.fault(1, "unplug:2")
    jtag.dmi([DmiRead(0x11)])
    jtag.dmi([DmiRead(0x11)])
    with pytest.raises(AdapterLost):
        jtag.dmi([DmiRead(0x11)])


def test_an_adapter_plugged_in_again_is_found_under_its_new_address(bench):
    bench.insert()
    first = bench.open()
    bench.handler.unplug(1)
    with pytest.raises(BenchError, match="no FT4232H with serial number VB0001"):
        bench.open()
    bench.handler.replug(1)
    with pytest.raises(AdapterLost):
        first.ports["jtag"].connect()
    first.close()
    second = bench.open()
    assert second.identity.endswith("address 4")
    second.ports["pins"].drive({"tap_strap1": True})
    second.ports["pins"].drive({"reset": False})
    assert second.ports["jtag"].connect() == 0x10001CDF
    second.close()


def test_held_adapter_is_refused_before_anything_is_touched(opened, bench):
    usb = bench.bench.state.adapters[0]
    for channel in usb.channels:
        channel.owner = "another program"
    edges(bench)
    modes = [channel.mode for channel in usb.channels]
    with pytest.raises(BenchError, match="held by another program"):
        bench.open()
    assert edges(bench) == [] and modes == [channel.mode for channel in usb.channels]


def test_claims_end_with_the_program_that_held_them(bench):
    other = BenchLink.from_file(bench.bench.file)
    other.call(bytes((4, 2, 0)))  # claim interface 0 at address 2
    with pytest.raises(BenchError, match="channel A of adapter VB0001 is held by another program"):
        bench.open()
    other.close()
    deadline = Deadline(5)
    while bench.bench.state.adapters[0].channels[0].owner:
        deadline.check("the claim to end")
    bench.open().close()


def test_two_sockets_at_once(bench):
    bench.insert("one", 1)
    bench.insert("two", 2)
    sockets = [bench.open(1), bench.open(2)]
    for socket in sockets:
        socket.ports["pins"].drive({"tap_strap1": True})
        socket.ports["pins"].drive({"reset": False})
    jtags = [socket.ports["jtag"] for socket in sockets]
    for number, jtag in enumerate(jtags):
        jtag.connect()
        jtag.write_words(0x1000_0000, [])
        jtag.dmi([])
        assert jtag.dmi([DmiRead(0x11)])[0] & 0xF == 2, number
    for socket in sockets:
        socket.close()


def test_no_serial_number_is_a_config_error(bench):
    with pytest.raises(ConfigError, match="names no adapter serial number"):
        open_socket({"console": ""}, 1)


def test_missing_adapter_is_named(bench):
    with pytest.raises(BenchError, match="no FT4232H with serial number VB0009"):
        bench.open(9)


def test_dead_bench_is_a_bench_error(bench, monkeypatch):
    monkeypatch.setenv("STATION_VIRTUAL_BENCH", "/nonexistent/bench.json")
    assert "but it is not running; start it: station simulate --data " in diagnose(BENCH_SETTINGS)
    with pytest.raises(BenchError, match="virtual bench is not running"):
        bench.open()


def test_what_is_missing_is_known_without_opening_anything(bench):
    assert diagnose(BENCH_SETTINGS) == ""
    assert diagnose({"serial": "FT1"}) == "", "libusb is asked when the adapter is opened"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"serail": "FT1"}, "has no setting 'serail' (did you mean 'serial'?)"),
        ({}, "names no adapter serial number"),
        ({"serial": "FT1", "board": "earlgray-ft4232h"}, "did you mean 'earlgrey-ft4232h'"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said_without_an_adapter(settings, words):
    with pytest.raises(ConfigError) as caught:
        diagnose(settings)
    assert words in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        open_socket(settings, 3)
    assert words in str(caught.value)
