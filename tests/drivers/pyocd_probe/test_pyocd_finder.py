"""Where probes and serial ports are, told by serial number and interface and by nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pyocd.core import exceptions

from drivers.pyocd_probe import diagnose, finder
from station.errors import BenchError


def plugged(monkeypatch, **kinds):
    """Probes per kind, each with its serial number, as pyOCD lists them."""

    def kind(numbers):
        return SimpleNamespace(get_all_connected_probes=lambda: [SimpleNamespace(unique_id=n) for n in numbers])

    monkeypatch.setattr(finder, "PROBE_CLASSES", {name: kind(numbers) for name, numbers in kinds.items()})


def ports(monkeypatch, *found):
    listed = [SimpleNamespace(device=device, serial_number=serial, location=place) for device, serial, place in found]
    monkeypatch.setattr(finder.list_ports, "comports", lambda: listed)


KIT = "001050012345"


@pytest.mark.parametrize("serial", [KIT, "1050012345", " 1050012345"])
def test_a_j_link_is_found_with_and_without_the_zeros_of_its_usb_number(monkeypatch, serial):
    plugged(monkeypatch, cmsisdap=["E6614C311B"], jlink=["105001234", "1050012345"], remote=["never asked"])
    assert finder.probe_address(serial) == "jlink:1050012345"


def test_a_cmsis_dap_probe_is_found_whatever_the_case(monkeypatch):
    plugged(monkeypatch, jlink=[], cmsisdap=["E6614C311B"])
    assert finder.probe_address("e6614c311b") == "cmsisdap:E6614C311B"


def test_an_address_of_a_server_is_taken_as_it_is(monkeypatch):
    plugged(monkeypatch)
    assert finder.probe_address("remote:bench-3:5555") == "remote:bench-3:5555"


def test_a_probe_that_is_not_there_names_those_that_are(monkeypatch):
    plugged(monkeypatch, cmsisdap=["E6614C311B"])
    with pytest.raises(BenchError) as caught:
        finder.probe_address(KIT)
    assert "E6614C311B (cmsisdap)" in str(caught.value)
    assert "a J-Link needs SEGGER's library, which is not installed" in str(caught.value)
    plugged(monkeypatch, jlink=[])
    with pytest.raises(BenchError, match=r"\(seen: none\)"):
        finder.probe_address(KIT)


def test_the_doctor_is_told_that_no_j_link_will_be_found(monkeypatch):
    plugged(monkeypatch, cmsisdap=["never asked"])
    assert "SEGGER's library is not installed" in finder.diagnose(KIT)
    assert diagnose({"serial": KIT, "board": "nrf5340dk"}) == finder.diagnose(KIT)
    assert finder.diagnose("remote:bench-3:5555") == "", "whoever serves the probe has the library"
    plugged(monkeypatch, jlink=[])
    assert finder.diagnose(KIT) == ""
    assert diagnose({"serial": KIT, "board": "nrf5340dk", "finder": "json"}) == "", "a finder need not know"


def test_a_kind_that_cannot_be_listed_is_a_fault_of_the_bench(monkeypatch):
    def broken():
        raise exceptions.ProbeError("no permission")

    monkeypatch.setattr(finder, "PROBE_CLASSES", {"cmsisdap": SimpleNamespace(get_all_connected_probes=broken)})
    with pytest.raises(BenchError, match="kind cmsisdap, but that failed; check that this user may use USB"):
        finder.probe_address(KIT)


def test_a_port_is_told_by_its_interface_not_by_its_order(monkeypatch):
    ports(
        monkeypatch,
        ("/dev/ttyACM4", KIT, "1-4:1.2"),
        ("/dev/ttyACM0", "001050099999", "1-3:1.0"),
        ("/dev/ttyACM1", "1050012345", "1-4:1.0"),
        ("/dev/ttyS0", None, None),
    )
    assert finder.console_url(KIT, 0) == "/dev/ttyACM1"
    assert finder.console_url(KIT, 2) == "/dev/ttyACM4"
    with pytest.raises(BenchError) as caught:
        finder.console_url(KIT, 4)
    assert "/dev/ttyACM4 at 2, /dev/ttyACM1 at 0" in str(caught.value)


def test_a_device_of_one_interface_has_number_zero(monkeypatch):
    ports(monkeypatch, ("/dev/ttyACM0", KIT, "1-4"))
    assert finder.console_url(KIT, 0) == "/dev/ttyACM0"


def test_a_port_on_windows_has_its_interface_too(monkeypatch):
    ports(monkeypatch, ("COM7", KIT, "1-4:x.2"))
    assert finder.console_url(KIT, 2) == "COM7"
