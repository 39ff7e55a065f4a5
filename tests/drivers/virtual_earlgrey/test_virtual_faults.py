from __future__ import annotations

import pytest
from earlgrey_pad_flows import (
    LOCKED0,
    UNLOCKED0,
    bootstrap_twice,
    chip_probe,
    cp_message,
    raw_unlock,
    receive_blob,
    send_rma_hash,
    start_cp,
    to_mission,
)
from earlgrey_pad_host import Console, Host, wait_until

from drivers.virtual.earlgrey.faults import FAULTS
from station.errors import FormatError
from station.formats import perso_blob


def test_every_fault_has_a_sentence() -> None:
    assert all(sentence.endswith(".") for sentence in FAULTS.values())


def test_unknown_fault_names_its_neighbour(host: Host) -> None:
    with pytest.raises(ValueError, match="no_contact"):
        host.chip.fault("no_contacts")
    with pytest.raises(ValueError, match="counted from 1"):
        host.chip.fault("power_cut:inside:0")
    with pytest.raises(ValueError, match="NOWHERE"):
        host.chip.fault("wrong_state:NOWHERE")


def test_no_contact_until_cleared(host: Host) -> None:
    host.chip.fault("no_contact")
    host.reset("lc")
    assert host.jtag.connect() == 0
    assert host.chip.spi(b"\x9f\0\0\0") == b"\xff" * 4
    host.chip.fault("clear")
    host.reset("lc")
    assert host.jtag.connect() == 0x10002CDF


def test_stuck_tap(host: Host) -> None:
    host.chip.fault("stuck_tap")
    host.reset("lc")
    assert host.jtag.connect() == 0xFFFFFFFF


def test_wrong_state(host: Host) -> None:
    host.chip.fault("wrong_state", "SCRAP")
    assert host.look() == (20 * 0x02108421, 31)


def test_transition_failure_uses_an_attempt(host: Host) -> None:
    host.chip.fault("transition_failure")
    assert raw_unlock(host) & 0x100
    assert host.look() == (0, 1)
    assert raw_unlock(host) == 0xD


def test_torn_word_without_power_cut(host: Host) -> None:
    raw_unlock(host)
    start_cp(host)
    host.chip.fault("torn_word", "3")
    host.console.send(cp_message())
    host.console.until("CP provisioning done.")
    assert host.look()[0] == UNLOCKED0 and host.jtag.read(1) == 0x803


def test_test_error_stops_before_the_first_burn(host: Host) -> None:
    raw_unlock(host)
    start_cp(host)
    host.chip.fault("test_error")
    host.console.send(cp_message())
    host.console.until("CP provisioning done.")
    assert host.chip.outputs()["test_error"] and host.chip.state()["fuse_writes"] == 44


def test_console_silence_and_garbage(host: Host) -> None:
    raw_unlock(host)
    host.chip.fault("console_silence")
    from earlgrey_pad_flows import elf

    host.load(elf("sram_cp_provision.elf"))
    wait_until(lambda: host.chip.outputs()["test_start"], "TestStart")
    assert not host.chip.outputs()["tx_ready"]
    host.chip.fault("clear")
    host.console.until("Waiting for CP provisioning data ...")
    host.chip.fault("console_garbage")
    host.console.send(cp_message())
    wait_until(lambda: host.chip.outputs()["tx_ready"], "a frame")
    assert host.console.window(b"\x03\0\0\0", 4) != (0xA5A5BEEF).to_bytes(4, "little")


def test_corrupt_blob(host: Host) -> None:
    chip_probe(host)
    assert host.look() == (LOCKED0, 2)
    to_mission(host)
    bootstrap_twice(host)
    send_rma_hash(host)
    blobs = []
    for spoiled in ("", "body", "header"):
        host.console = Console(host.chip)
        if spoiled:
            host.chip.fault("corrupt_blob", spoiled)
        try:
            blobs.append(perso_blob.was_message(receive_blob(host).objects))
        except FormatError:
            blobs.append(b"")
        host.reset()
    assert blobs[0] != blobs[1] and blobs[2] == b""


def test_floating_pads_without_power(host: Host) -> None:
    host.look()
    host.chip.power(False)
    assert host.jtag.connect() == 0 and not any(host.chip.outputs().values())
    host.chip.power(True)
    assert host.jtag.connect() == 0  # still in reset until por_n rises
    assert host.look() == (0, 0)
