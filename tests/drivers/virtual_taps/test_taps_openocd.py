"""OpenOCD 0.12 drives the virtual TAPs over remote_bitbang: examine, halt, load, run; life cycle registers."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from taps_host import Fabric, LcBench, RvBench

from drivers.virtual.taps.remote_bitbang import RemoteBitbang
from station.formats.lc import LcState

CONFIG = Path(__file__).parents[3] / "resources" / "openocd"
SECONDS = 60


def openocd(port: int, config: str, commands: list[str]) -> tuple[int, str, str]:
    """Run OpenOCD to its end: (exit code, what ``puts`` wrote, its log); killed by its pid when it hangs."""
    opening = [
        "tcl_port disabled; telnet_port disabled; gdb_port disabled",
        f"adapter driver remote_bitbang; remote_bitbang host 127.0.0.1; remote_bitbang port {port}",
        "adapter speed 1000",
    ]
    arguments = ["openocd"]
    for command in opening:
        arguments += ["-c", command]
    arguments += ["-f", str(CONFIG / config)]
    for command in [*commands, "shutdown"]:
        arguments += ["-c", command]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, log = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    return process.returncode, out, log


def test_examines_halts_loads_and_runs_a_program() -> None:
    pick = random.Random(11)
    data = [pick.getrandbits(32) for _ in range(64)]
    # lui sp,0xcafec ; addi sp,sp,-1346 ; lui t0,0x10010 ; sw a0,0(t0) ; sw ra,4(t0) ; ebreak ; j .
    code = [0xCAFEC137, 0xABE10113, 0x100102B7, 0x00A2A023, 0x0012A223, 0x00100073, 0x0000006F]
    crc = pick.getrandbits(32)
    bench = RvBench.make(active=False)
    words = " ".join(f"{word:#x}" for word in code + data)
    with RemoteBitbang(bench.host.tap) as server:
        result, out, log = openocd(
            server.port,
            "earlgrey-rv.cfg",
            [
                "init",
                "reset halt",
                f"write_memory 0x10001fe8 32 {{{words}}} phys",
                f"puts [read_memory 0x10001fe8 32 {len(code)} phys]",
                "set_reg {pmpcfg3 0x9f009f00}",
                "set_reg {pmpaddr15 0x04003fff}",
                "set_reg {pmpaddr10 0x10000000}",
                "set_reg {pmpaddr11 0x14000000}",
                "set_reg {pmpcfg2 0x8f000000}",
                "write_memory 0x411c000c 32 0x6 phys",
                f"set_reg {{ra 0xdeadbeef a0 {crc:#x}}}",
                "resume 0x10001fe8",
                "wait_halt 1000",
                "puts [get_reg -force {sp pc}]",
                "puts [read_memory 0x10010000 32 2 phys]",
            ],
        )
    assert result == 0, log
    assert "Examined RISC-V core; found 1 harts" in log
    lines = out.split("\n")
    assert lines[0].split() == [f"{word:#x}" for word in code]
    assert lines[1].split() == ["sp", "0xcafebabe", "pc", "0x10001ffc"]
    assert lines[2].split() == [f"{crc:#x}", "0xdeadbeef"]
    stored = bytes(bench.memory.data[0x1FE8 + 28 : 0x1FE8 + 28 + 256])
    assert stored == b"".join(word.to_bytes(4, "little") for word in data)


def test_reads_and_writes_life_cycle_registers_although_examination_fails() -> None:
    bench = LcBench.make(Fabric(int(LcState.TEST_LOCKED3), 17))
    with RemoteBitbang(bench.host.tap) as server:
        commands = ["init", "puts [riscv dmi_read 0x01]", "puts [riscv dmi_read 0x0e]", "puts [riscv dmi_read 0x0f]"]
        commands += ["riscv dmi_write 0x03 0x96", "puts [riscv dmi_read 0x03]", "puts [riscv dmi_read 0x13]"]
        result, out, log = openocd(server.port, "earlgrey-lc.cfg", commands)
    assert result == 0, log
    values = [int(line, 16) for line in out.split()]
    assert values == [3, LcState.TEST_LOCKED3.encoded, 17, 0x96, 0x1000]
    assert "Debug Module did not become active. dmcontrol=0x0" in log
    assert "0x10002cdf" in log


def test_a_personalized_part_looks_unauthenticated_and_still_answers() -> None:
    bench = LcBench.make(Fabric(int(LcState.PROD), 9, personalized=True))
    with RemoteBitbang(bench.host.tap) as server:
        result, out, log = openocd(server.port, "earlgrey-lc.cfg", ["init", "puts [riscv dmi_read 0x0e]"])
    assert result == 0, log
    assert int(out.split()[0], 16) == LcState.PROD.encoded
    sentence = "Debugger is not authenticated to target Debug Module. (dmstatus=0x40010002)"
    assert log.count(sentence) == 3


def test_protocol_characters_resets_and_close() -> None:
    resets: list[bool] = []
    bench = LcBench.make()
    with RemoteBitbang(bench.host.tap, on_srst=resets.append) as server:
        answers, ended = server.handle(b"BbtrRsuQ0000")
        assert (answers, ended) == (b"0", True)
        assert resets == [False, False, True, True]
        assert bench.host.tap.state == 0
        sequence = b"".join(bytes([0x30 | bit << 1, 0x34 | bit << 1]) for bit in (0, 1, 0, 0))
        server.handle(sequence)
        answers, _ = server.handle(b"0R4" * 31 + b"0R")
        assert int(answers[::-1], 2) == 0x10002CDF
        port = server.port
    assert port > 0
    server.close()
