"""OpenOCD 0.12 on a whole virtual chip, over the bench's own port: a life cycle visit, then a program in its SRAM."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest

from drivers.virtual.bench import Bench
from drivers.virtual.earlgrey.chip import open_chip
from drivers.virtual.handler import VirtualHandler
from station.formats.lc import LcState

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "resources" / "openocd"
# lui sp,0xcafec ; addi sp,sp,-1346 ; lui t0,0x10010 ; sw a0,0(t0) ; sw ra,4(t0) ; ebreak ; j .
PROGRAM = [0xCAFEC137, 0xABE10113, 0x100102B7, 0x00A2A023, 0x0012A223, 0x00100073, 0x0000006F]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, 1, functools.partial(open_chip, images=ROOT / "resources/skus"), remote_bitbang=True)
    bench.start()
    handler = VirtualHandler(bench.file)
    handler.insert(1, "DIE")
    handler.lid(1, True)
    handler.fault(1, "wrong_state", "TEST_UNLOCKED0")
    yield bench
    handler.close()
    bench.stop()


def release(bench, tap_strap0, tap_strap1):
    """What a bench does before it connects: straps, then reset."""
    chip = bench.state.sockets[0].chip
    chip.set_inputs({"tap_strap0": tap_strap0, "tap_strap1": tap_strap1, "trst_n": True, "por_n": False})
    chip.set_inputs({"por_n": True})


def openocd(port: int, config: str, commands: list[str]) -> tuple[list[str], str]:
    opening = [
        "tcl_port disabled; telnet_port disabled; gdb_port disabled",
        f"adapter driver remote_bitbang; remote_bitbang host 127.0.0.1; remote_bitbang port {port}",
        "adapter speed 1000",
    ]
    arguments = ["openocd", *(word for line in opening for word in ("-c", line)), "-f", str(CONFIG / config)]
    for command in [*commands, "shutdown"]:
        arguments += ["-c", command]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, log = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, log
    return out.split("\n"), log


def test_the_life_cycle_tap_of_the_chip(bench):
    port = bench.address()["remote_bitbang"]["1:lc"]
    release(bench, True, False)
    lines, log = openocd(port, "earlgrey-lc.cfg", ["init", "puts [riscv dmi_read 0x0e]", "puts [riscv dmi_read 0x0f]"])
    assert int(lines[0], 16) == LcState.TEST_UNLOCKED0.encoded, log
    assert " ".join(lines).split()[1] == "0x1", log  # one transition was used


def test_a_program_runs_in_the_sram_of_the_chip(bench):
    port = bench.address()["remote_bitbang"]["1:riscv"]
    release(bench, False, True)
    words = " ".join(f"{word:#x}" for word in PROGRAM)
    lines, log = openocd(
        port,
        "earlgrey-rv.cfg",
        [
            "init", "halt",
            f"write_memory 0x10001fe8 32 {{{words}}} phys",
            f"puts [read_memory 0x10001fe8 32 {len(PROGRAM)} phys]",
            "set_reg {pmpcfg3 0x9f009f00}", "set_reg {pmpaddr15 0x04003fff}", "set_reg {pmpaddr10 0x10000000}",
            "set_reg {pmpaddr11 0x14000000}", "set_reg {pmpcfg2 0x8f000000}", "write_memory 0x411c000c 32 0x6 phys",
            "set_reg {ra 0xdeadbeef a0 0x12345678}", "resume 0x10001fe8", "wait_halt 1000",
            "puts [get_reg -force {sp pc}]", "puts [read_memory 0x10010000 32 2 phys]",
        ],
    )  # fmt: skip
    assert "Examined RISC-V core" in log
    assert lines[0].split() == [f"{word:#x}" for word in PROGRAM]
    assert lines[1].split() == ["sp", "0xcafebabe", "pc", "0x10001ffc"], log
    assert lines[2].split() == ["0x12345678", "0xdeadbeef"]
