"""The serial ports of a virtual probe through the real pyserial: rate, DTR, who speaks on which port."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
import serial
from nordic_rig import image

from drivers.virtual import nrf_finder
from station.errors import BenchError

BAUD, APP, NET = 115200, 2, 0
"""On the nRF5340 kit the network core's port comes first."""
pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name).. is deprecated:DeprecationWarning")
"""pyserial's RFC 2217 client sets up its thread in the old way."""


@pytest.fixture
def bench(make_bench, quick):
    """A bench with one nRF5340."""
    return make_bench("nrf5340")


@contextlib.contextmanager
def opened(interface=APP, baud=BAUD, **options):
    port = serial.serial_for_url(nrf_finder.console_url("VP0001", interface), baud, timeout=5, **options)
    try:
        yield port
    finally:
        port.close()


def loaded(bench, program="provisioning_app", **options):
    """A part in the socket with this image in flash, without power."""
    chip = bench.insert()
    bench.hands.power(1, False)
    core = chip.net if program.endswith("_net") else chip.app
    chip.file.flash(core.silicon).put(0, image("nrf5340", program, **options))
    return chip


def until(port, end):
    return port.read_until(end)


def wait_dropped(bench, interface):
    end = time.monotonic() + 10
    while not (state := bench.hands.state(1)["consoles"][interface])["dropped"]:
        assert time.monotonic() < end
        time.sleep(0.01)
    return state


def test_text_arrives_as_it_is_sent(bench):
    loaded(bench)
    with opened() as port:
        bench.hands.power(1, True)
        text = until(port, b"Success!\r\n").decode("ascii")
    assert text.startswith("*** Booting nRF Connect SDK")
    assert text.count("\r\n") == 7
    state = bench.hands.state(1)["consoles"]["2"]
    assert (state["dropped"], state["delivered"]) == (0, len(text))


def test_cores_speak_on_their_own_interfaces(bench):
    chip = loaded(bench, net_child=True)
    chip.file.flash(chip.net.silicon).put(0, image("nrf5340", "provisioning_net"))
    with opened(APP) as app, opened(NET) as net:
        bench.hands.power(1, True)
        assert b"provisioning_image: Success!" in until(app, b"Success!\r\n")
        assert until(net, b"Success!\r\n").endswith(b"for the network core!\r\nSuccess!\r\n")


def test_text_before_dtr_is_lost(bench):
    loaded(bench)
    with opened() as port:
        port.dtr = False
        bench.hands.power(1, True)
        wait_dropped(bench, "2")
        bench.bench.state.sockets[0].chip.lock.acquire()
        chip = bench.bench.state.sockets[0].chip
        try:
            assert chip.changed.wait_for(lambda: chip.app.idle, 10)
        finally:
            chip.lock.release()
        port.dtr = True
        port.timeout = 0.3
        assert port.read(1) == b""
        assert (
            bench.hands.state(1)["consoles"]["2"] | {"dtr": True, "open": True} == bench.hands.state(1)["consoles"]["2"]
        )


def test_text_before_anybody_opens_is_lost(bench):
    loaded(bench)
    bench.hands.power(1, True)
    assert wait_dropped(bench, "2")["delivered"] == 0


@pytest.mark.parametrize("settings", [{"baud": 9600}, {"baud": 230400}, {"parity": serial.PARITY_EVEN}])
def test_other_settings_give_noise(bench, settings):
    loaded(bench)
    baud = settings.pop("baud", BAUD)
    with opened(APP, baud, **settings) as port:
        bench.hands.power(1, True)
        noise = port.read(200)
    assert len(noise) == 200
    assert b"***" not in noise
    assert any(byte > 0x7F for byte in noise)


def test_a_part_at_another_rate(bench):
    loaded(bench)
    bench.hands.fault(1, "wrong_baud")
    with opened(APP, 57600) as port:
        bench.hands.power(1, True)
        assert b"Success!" in until(port, b"Success!\r\n")


@pytest.mark.parametrize(
    ("fault", "app", "net"),
    [
        ("console_silence", b"", b""),
        ("console_silence:net", b"app", b""),
        ("console_silence:app", b"", b"net"),
        ("console_garbage", b"noise", b"noise"),
        ("console_garbage:net", b"app", b"noise"),
        ("ports_swapped", b"net", b"app"),
    ],
)
def test_faults_of_the_consoles(bench, fault, app, net):
    chip = loaded(bench, net_child=True)
    chip.file.flash(chip.net.silicon).put(0, image("nrf5340", "provisioning_net"))
    bench.hands.fault(1, fault)
    seen = {}
    with opened(APP) as first, opened(NET) as second:
        bench.hands.power(1, True)
        with chip.lock:
            assert chip.changed.wait_for(lambda: chip.app.idle and chip.net.idle, 10)
        for name, port in (("app", first), ("net", second)):
            port.timeout = 0.3
            text = port.read(10_000)
            marks = {b"app": b"provisioning_image:", b"net": b"UICR->APPROTECT"}
            seen[name] = next((mark for mark, word in marks.items() if word in text), b"noise" if text else b"")
    assert seen == {"app": app, "net": net}


def test_one_client_at_a_time(bench):
    bench.insert()
    with opened() as port:
        number = int(nrf_finder.console_url("VP0001", APP).rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", number), timeout=10) as second:
            assert second.recv(1) == b""
        assert port.is_open
    with opened():
        pass


def test_unplugging_ends_the_port(bench):
    bench.insert()
    with opened() as port:
        bench.hands.unplug(1)
        with pytest.raises(serial.SerialException):
            for _ in range(50):  # a read that waits while the port goes ends empty, the next one says it
                port.read(1)
    with pytest.raises(BenchError, match="expected a debug probe with serial number VP0001, found none"):
        nrf_finder.console_url("VP0001", APP)
    bench.hands.replug(1)
    with opened():
        pass


def test_modem_lines_and_purge_are_answered(bench):
    bench.insert()
    with opened() as port:
        assert (port.cts, port.dsr) == (True, True)
        port.reset_input_buffer()
        port.reset_output_buffer()
        port.write(b"nobody reads this\xff")
        port.break_condition = True
        port.break_condition = False
        port.rts = False


def test_an_nrf91_has_one_port(make_bench):
    make_bench("nrf9160")
    with pytest.raises(BenchError, match="expected a serial port on interface 2 of probe VP0001, found interfaces 0"):
        nrf_finder.console_url("VP0001", 2)


def test_a_client_that_does_not_read_does_not_stop_the_part(bench, monkeypatch):
    monkeypatch.setattr("drivers.virtual.nrf.serial_port.QUEUE", 4)
    chip = loaded(bench)
    port = bench.bench.state.adapters[0]._ports["app"]
    with opened():
        with chip.lock:
            for _ in range(200):
                port.receive(b"x" * 100_000, BAUD)
        bench.hands.power(1, True)
        with chip.lock:
            assert chip.changed.wait_for(lambda: chip.app.idle, 10)
        assert bench.hands.state(1)["consoles"]["2"]["dropped"] > 0
