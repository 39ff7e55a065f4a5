from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from earlgrey_pad_flows import (
    LOCKED0,
    RAW,
    UNLOCKED0,
    WAS,
    chip_probe,
    cp_message,
    elf,
    finish_cp,
    raw_unlock,
    start_cp,
)
from earlgrey_pad_host import Host, wait_until

CP_FUSE_WRITES = 20  # four token halves and the digest, four words each
ENTRY = 0x10001FE8


def read_info(host: Host, page: int, offset: int, count: int) -> list[int]:
    """Flash info page of bank 0 through the flash controller."""
    debugger = host.debugger
    writes = ((0x18, 1), (0xBC + 4 * page, 0x09999966), (0x24, page * 2048 + offset), (0x20, (count - 1) << 16 | 0x101))
    for register, value in writes:
        debugger.write_memory(0x41000000 + register, value.to_bytes(4, "little"))
    assert debugger.read_memory(0x41000170, 1) == [1]
    return [debugger.read_memory(0x410001B4, 1)[0] for _ in range(count)]


def test_whole_chip_probe(make_host) -> None:
    host = make_host()
    assert host.look() == (RAW, 0)
    device_id = chip_probe(host)
    assert device_id[0] == 0x00034001 and device_id[3] == 0
    assert host.look() == (LOCKED0, 2)
    seen = host.chip.state()
    assert seen["lc_state"] == "TEST_LOCKED0" and seen["locked"] == ["SECRET0"] and seen["double_burns"] == []
    host.chip.close()
    assert make_host().look() == (LOCKED0, 2)


def test_identity_file_decides_the_device_id(make_host, tmp_path) -> None:
    (tmp_path / "named").mkdir()
    identity = {"lot": 343, "wafer": 72, "x": 635, "y": 242, "year": 4, "week": 49, "label": "A1"}
    (tmp_path / "named" / "identity.json").write_text(json.dumps(identity))
    host = make_host("named")
    assert chip_probe(host)[1:3] == [0x72343494, 0x00242635]
    assert host.chip.state()["label"] == "A1"


def test_wafer_secret_and_id_are_kept_in_flash_info(host: Host) -> None:
    raw_unlock(host)
    start_cp(host)
    host.console.send(cp_message())
    device_id = finish_cp(host)
    host.debugger.exit_word()
    assert read_info(host, 3, 0, 8) == list(struct.unpack("<8I", WAS))
    assert read_info(host, 0, 384, 4) == device_id


def test_second_run_skips_locked_secret0(host: Host) -> None:
    raw_unlock(host)
    for _ in range(2):
        start_cp(host)
        host.console.send(cp_message())
        finish_cp(host)
        assert host.debugger.exit_word() == 0xCAFEBABE
    assert host.chip.state()["double_burns"] == []


def test_checksum_can_be_skipped(host: Host) -> None:
    raw_unlock(host)
    host.load(elf("sram_cp_provision.elf"), a0=0xBEEFCAFE)
    host.console.until("Waiting for CP provisioning data ...")
    host.console.send(cp_message())
    finish_cp(host)
    assert host.debugger.exit_word() == 0xBEEFCAFE


@pytest.mark.parametrize("changed", [{"flip": 20000}, {"a0": 0x12345678}])
def test_wrong_checksum_is_told_in_sp(host: Host, changed: dict[str, int]) -> None:
    raw_unlock(host)
    host.load(elf("sram_cp_provision.elf"), **changed)
    assert host.debugger.exit_word() == 0xBADDCAFE
    assert host.chip.state()["fuse_writes"] == 44


@pytest.mark.parametrize(
    "wrong",
    [
        {"exec": 9},
        {"pmpaddr15": 0x04003FFE},
        {"pmpaddr10": 0x10000001},
        {"pmpaddr11": 0x10804000},
        {"pmpcfg2": 0x8B000000},
        {"flip": 20000, "a0": 0xBEEFCAFE},
    ],
)
def test_closed_gate_means_silence(host: Host, wrong: dict[str, int]) -> None:
    raw_unlock(host)
    host.load(elf("sram_cp_provision.elf"), **wrong)
    assert host.chip.state()["program"] == "trap"
    assert not host.debugger.halted
    assert not host.chip.outputs()["test_start"] and not host.chip.outputs()["tx_ready"]


def test_wrong_entry_runs_no_known_program(host: Host) -> None:
    raw_unlock(host)
    host.load(elf("sram_cp_provision.elf"), entry=ENTRY + 4)
    assert host.chip.state()["program"] == "unknown SRAM program"
    assert not host.chip.outputs()["test_start"]


def test_halt_holds_a_program_and_resume_lets_it_go_on(host: Host) -> None:
    raw_unlock(host)
    start_cp(host)
    host.jtag.write(0x10, 0x80000001)
    wait_until(lambda: host.debugger.halted, "halt")
    pc = host.debugger.register(0x7B1)
    assert ENTRY < pc < ENTRY + 0xA000
    host.jtag.write(0x10, 0x40000001)
    host.console.send(cp_message())
    finish_cp(host)


@pytest.mark.parametrize("where", ["before", "inside", "after"])
@pytest.mark.parametrize("number", [1, 7, CP_FUSE_WRITES])
def test_power_cut_while_the_tokens_are_burnt(host: Host, where: str, number: int) -> None:
    raw_unlock(host)
    assert host.chip.state()["fuse_writes"] == 44
    start_cp(host)
    host.chip.fault(f"power_cut:{where}:{number}")
    _send_until_dead(host)
    seen = host.chip.state()
    assert seen["powered"] is False and not any(host.chip.outputs().values())
    assert host.jtag.scan(32, 0) == 0
    assert seen["fuse_writes"] == 44 + number - (where == "before")
    host.chip.power(True)
    assert host.look()[0] == UNLOCKED0
    status = host.jtag.read(1)
    assert status == (0x803 if where == "inside" or (number == CP_FUSE_WRITES and where == "before") else 3)
    complete = where == "after" and number == CP_FUSE_WRITES
    assert ("SECRET0" in host.chip.state()["locked"]) == (complete or number == CP_FUSE_WRITES)


def _send_until_dead(host: Host) -> None:
    console = host.console
    console.window(b"\x06")
    console.window(b"\x02\x00\x01\x00" + cp_message())
    wait_until(lambda: not host.chip.powered, "the power cut")


def test_burning_again_over_a_partial_burn_is_recorded(host: Host) -> None:
    raw_unlock(host)
    start_cp(host)
    host.chip.fault("power_cut:after", "6")
    _send_until_dead(host)
    host.chip.power(True)
    start_cp(host)
    host.console.send(cp_message())
    finish_cp(host)
    burns = host.chip.state()["double_burns"]
    assert [burn["address"] for burn in burns] == [0x6D0 + 2 * n for n in range(6)]
    assert all(burn["who"] == "cp_provision" and burn["old"] == burn["new"] for burn in burns)


def test_other_tokens_over_a_partial_burn_are_refused_by_the_fuses(host: Host) -> None:
    raw_unlock(host)
    start_cp(host)
    host.chip.fault("power_cut:after:6")
    _send_until_dead(host)
    host.chip.power(True)
    start_cp(host)
    host.console.send(cp_message(unlock=b"\x44" * 16))
    host.console.until("CP provisioning done.")
    assert host.chip.outputs()["test_error"] and not host.chip.outputs()["test_done"]
    assert host.chip.state()["double_burns"]


@pytest.mark.parametrize(("number", "count", "encoded"), [(1, 31, None), (30, 31, None)])
def test_torn_life_cycle_word_leaves_an_invalid_part(host: Host, number: int, count: int, encoded: None) -> None:
    host.look()
    host.chip.fault("power_cut:inside", str(number))
    host.jtag.write(3, 0x96)
    host.jtag.write(0x0B, UNLOCKED0)
    for n, word in enumerate(struct.unpack("<4I", 0xEA2B3F32CBE77554E43C8EA7EBF197C2.to_bytes(16, "little"))):
        host.jtag.write(7 + n, word)
    host.jtag.write(6, 1)
    host.jtag.write(5, 1)
    wait_until(lambda: not host.chip.state()["powered"], "the power cut")
    host.chip.power(True)
    assert host.look() == (23 * 0x02108421, count)
    assert host.chip.state()["lc_state"] == "INVALID"


def test_chip_works_on_without_its_host(host: Host) -> None:
    raw_unlock(host)
    start_cp(host)
    console = host.console
    console.window(b"\x06")
    console.window(b"\x02\x00\x01\x00" + cp_message())  # and then nobody touches a pad
    wait_until(lambda: host.chip.outputs()["tx_ready"], "the answer")
    assert host.chip.state()["fuse_writes"] == 44 + CP_FUSE_WRITES


KILLED_BENCH = """
import sys, time
from pathlib import Path
from drivers.virtual.earlgrey.chip import open_chip
from earlgrey_pad_flows import IMAGES, raw_unlock
from earlgrey_pad_host import Host
host = Host(open_chip(Path(sys.argv[1]), IMAGES))
raw_unlock(host)
print("burnt", flush=True)
time.sleep(60)
"""


def test_state_survives_a_killed_bench(make_host, tmp_path) -> None:
    here = Path(__file__).parent
    code = f"import sys; sys.path[:0] = {[str(here), str(here.parents[2])]!r}\n{KILLED_BENCH}"
    command = [sys.executable, "-c", code, str(tmp_path / "die")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as bench:
        assert bench.stdout is not None and bench.stdout.readline() == b"burnt\n"
        bench.kill()
    host = make_host()
    assert host.look() == (UNLOCKED0, 1)
    assert host.chip.state()["fuse_writes"] == 44
