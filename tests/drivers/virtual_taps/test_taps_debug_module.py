"""Debug module: registers, system bus access, abstract commands, run control (RTL sheet sections 4 and 5)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taps_host import NOP, READ, WRITE, Host, RvBench

COMMAND, ABSTRACTCS, DATA0 = 0x17, 0x16, 0x04
READ_REGISTER, WRITE_REGISTER = 0x00220000, 0x00230000
DCSR, DPC, PC_RESET = 0x7B0, 0x7B1, 0x8080


def command(host: Host, value: int) -> int:
    """Run an abstract command: cmderr (cleared)."""
    host.write(COMMAND, value)
    status = host.read(ABSTRACTCS)
    assert status & ~0x700 == 0x08000002
    if status & 0x700:
        host.write(ABSTRACTCS, 0x700)
    return status >> 8 & 7


def get(host: Host, register: int) -> int:
    assert command(host, READ_REGISTER | register) == 0
    return host.read(DATA0)


def put(host: Host, register: int, value: int) -> None:
    host.write(DATA0, value)
    assert command(host, WRITE_REGISTER | register) == 0


def halted() -> RvBench:
    bench = RvBench.make()
    bench.host.write(0x10, 0x80000001)
    bench.host.write(0x10, 0x10000001)
    assert bench.host.read(0x11) == 0x00000382
    return bench


def load(bench: RvBench, words: list[int], address: int = 0x10001FE8) -> None:
    """Load a program and open SRAM execution as the start sequence of device sheet 5.2 does."""
    host = bench.host
    host.write(0x38, 0x00050000)
    host.write(0x39, address)
    for word in words:
        host.write(0x3C, word)
    for register, value in [
        (0x3A3, 0x9F009F00),
        (0x3BF, 0x04003FFF),
        (0x3A2, 0x8F000000),
        (0x3BA, 0x10000000),
        (0x3BB, 0x14000000),
    ]:
        put(host, register, value)
        assert get(host, register) == value
    host.write(0x39, 0x411C000C)
    host.write(0x3C, 6)
    put(host, DPC, address)


def test_static_values_and_what_dmactive_clears() -> None:
    bench = RvBench.make(with_hart=False, active=False)
    host = bench.host
    statics = {0x10: 0, 0x11: 0x000C0C82, 0x12: 0x00212380, 0x16: 0x08000002, 0x18: 0, 0x38: 0x00040000, 0x40: 0}
    for address, value in {**statics, 0: 0, 0x1D: 0, 0x30: 0, 0x7F: 0, 0x3C: 0}.items():
        assert host.read(address) == value
    host.write(0x20, 5)
    assert host.read(0x20) == 0
    host.write(0x10, 1)
    pick = random.Random(1)
    values = {address: pick.getrandbits(32) for address in (4, 5, *range(0x20, 0x28))}
    for address, value in values.items():
        host.write(address, value)
    host.write(0x18, 0xFFFFFFFF)
    assert host.read(0x18) == 0x00FF0003
    host.write(0x18, 0)
    host.write(0x39, 0x1234)
    assert {address: host.read(address) for address in values} == values
    host.write(0x10, 0)
    host.write(0x10, 1)
    assert {host.read(address) for address in values} == {0}
    assert (host.read(0x38), host.read(0x39), host.read(0x18)) == (0x20040407, 0, 0)


def test_halt_request_without_a_hart_that_answers() -> None:
    host = RvBench.make(with_hart=False).host
    host.write(0x10, 0x80000001)
    host.idle(1000)
    assert (host.read(0x10), host.read(0x11)) == (0x80000001, 0x000C0C82)
    assert command(host, READ_REGISTER | 0x1001) == 4


@pytest.mark.parametrize("hartsel", [0, 0x03FFFFC0, 0x04000000])
def test_hart_selection_reads_zero_and_no_hart_is_nonexistent(hartsel: int) -> None:
    host = RvBench.make().host
    host.write(0x10, 1 | hartsel)
    assert (host.read(0x10), host.read(0x11)) == (1, 0x000C0C82)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=12),
    st.integers(0, 0x7F00),
    st.sampled_from([0, 1, 8]),
    st.sampled_from([4.0, 10.0]),
)
def test_words_written_back_to_back_read_back_with_prefetch(words: list[int], at: int, rti: int, ratio: float) -> None:
    bench = RvBench.make(ratio=ratio, with_hart=False)
    host, address = bench.host, 0x10000000 + 4 * at
    host.write(0x38, 0x00050000)
    host.write(0x39, address)
    for word in words:
        host.dmi(WRITE, 0x3C, word, rti=rti)
    host.dmi(NOP)
    assert host.read(0x39) == address + 4 * len(words)
    host.write(0x38, 0x00158000)
    host.write(0x39, address)
    host.dmi(READ, 0x3C, rti=3)
    seen = [host.dmi(READ, 0x3C, rti=3) for _ in words[1:]] + [host.dmi(NOP)]
    assert seen == [(0x3C, word, 0) for word in words]
    assert host.read(0x39) == address + 4 * (len(words) + 1)
    assert host.read(0x38) == 0x20158407


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 7), st.sampled_from([0, 1, 2]), st.integers(0, 2**64 - 1), st.integers(0, 0xFFFFFFFF))
def test_narrow_accesses(offset: int, access: int, content: int, value: int) -> None:
    """Narrow reads carry their neighbours, narrow writes leave them alone, misaligned ones change nothing."""
    bench = RvBench.make(with_hart=False)
    host = bench.host
    bench.memory.write(0x10000100, 4, content & 0xFFFFFFFF)
    bench.memory.write(0x10000104, 4, content >> 32)
    host.write(0x38, 1 << 20 | access << 17 | 1 << 16)
    host.write(0x39, 0x10000100 + offset)
    size = 1 << access
    if offset % size:
        assert host.read(0x38) == 0x20003407 | 1 << 20 | access << 17 | 1 << 16
        assert host.read(0x39) == 0x10000100 + offset
        return
    assert host.read(0x39) == 0x10000100 + offset + size
    word = content >> 32 * (offset // 4) & 0xFFFFFFFF
    assert host.read(0x3C) == word >> 8 * (offset % 4)
    host.write(0x38, access << 17)
    host.write(0x39, 0x10000100 + offset)
    host.write(0x3C, value)
    expected = bytearray(content.to_bytes(8, "little"))
    expected[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    assert bench.memory.data[0x100:0x108] == expected


@pytest.mark.parametrize(
    ("sbcs", "address", "error"),
    [
        (0x00140000, 0x20000000, 2),
        (0x00140000, 0x10000102, 3),
        (0x00160000, 0x10000100, 4),
        (0x00120000, 0x10000101, 3),
    ],
)
@pytest.mark.parametrize("clear", [0x1000, 0x2000, 0x4000, 0x7000])
def test_bus_errors_block_further_accesses_until_cleared(sbcs: int, address: int, error: int, clear: int) -> None:
    bench = RvBench.make(with_hart=False)
    host = bench.host
    host.write(0x38, sbcs)
    host.write(0x39, address)
    assert host.read(0x38) == 0x20000407 | sbcs | error << 12
    host.write(0x38, 0x00040000)
    host.write(0x39, 0x10000000)
    host.write(0x3C, 0xFFFFFFFF)
    assert bench.memory.read(0x10000000, 4) == 0
    host.write(0x38, 0x00040000 | clear)
    assert host.read(0x38) == 0x20040407
    host.write(0x3C, 0xABCD)
    assert bench.memory.read(0x10000000, 4) == 0xABCD


def test_faulty_reads_give_all_ones_and_the_gate_closes_the_bus_only() -> None:
    bench = RvBench.make()
    host = bench.host
    bench.module.enabled = False
    host.write(0x38, 0x00140000)
    host.write(0x39, 0x10000000)
    assert host.read(0x38) == 0x20142407
    assert host.read(0x3C) == 0xFFFFFFFF
    assert host.read(0x11) == 0x000C0C82
    bench.module.enabled = True
    host.write(0x38, 0x00147000)
    host.write(0x39, 0x10000000)
    assert host.read(0x38) == 0x20140407


def test_busy_bus_sets_both_sticky_bits_and_each_is_cleared_on_its_own() -> None:
    bench = RvBench.make(ratio=1, with_hart=False, latency=2000)
    host = bench.host
    host.write(0x38, 0x00050000)
    host.write(0x39, 0x10000000)
    host.dmi(WRITE, 0x3C, 1)
    host.dmi(READ, 0x38)
    assert host.dmi(READ, 0x39) == (0x38, 0x20250407, 0)
    assert host.dmi(READ, 0x3C) == (0x39, 0x10000000, 0)
    assert host.dmi(NOP) == (0x3C, 0xB051B051, 3)
    host.idle(2000)
    assert host.dtmcs(1 << 16) == 0x1C71
    assert host.read(0x38) == 0x20450407
    assert host.read(0x39) == 0x10000004
    host.dmi(WRITE, 0x3C, 2)
    assert host.dmi(NOP) == (0x3C, 2, 3)
    host.dtmcs(1 << 16)
    host.write(0x38, 0x00450000)
    assert host.read(0x38) == 0x20050407


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.integers(0, 31), st.integers(0, 0xFFFFFFFF), min_size=1, max_size=6))
def test_general_registers_keep_what_is_written(values: dict[int, int]) -> None:
    host = halted().host
    for number, value in values.items():
        put(host, 0x1000 + number, value)
    assert {n: get(host, 0x1000 + n) for n in values} == {n: value if n else 0 for n, value in values.items()}


def test_reset_values_of_the_control_registers() -> None:
    host = halted().host
    values = {
        0x301: 0x40901104,
        0x305: 0x8001,
        0x3A0: 0x009D0000,
        0x3A1: 0,
        0x3A2: 0x8B000000,
        0x3A3: 0x00009F00,
        0x3B2: 0x20FF,
        0x3BA: 0x10000000,
        0x3BB: 0x10804000,
        0x3BD: 0x41FF,
        0x747: 6,
        0xF14: 0,
        DCSR: 0x400000C3,
    }
    assert {number: get(host, number) for number in values} == values


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (READ_REGISTER | 0x180, 3),  # no such CSR
        (READ_REGISTER | 0x1020, 3),  # floating point
        (0x00321001, 2),  # 64 bits
        (0x00421001, 2),
        (0x02000000, 2),  # access memory
        (0x01000000, 2),  # quick access
        (READ_REGISTER | 0xC000, 2),  # reserved register numbers
        (0x00241000, 3),  # empty program buffer
        (0x00200000, 3),  # neither transfer nor program
        (0x00280000, 2),  # post-increment without transfer
        (WRITE_REGISTER | 0xF12, 3),  # read-only CSR
    ],
)
def test_command_errors_leave_data_and_hart_alone(value: int, error: int) -> None:
    host = halted().host
    host.write(DATA0, 0x12345678)
    assert command(host, value) == error
    assert host.read(DATA0) == 0x12345678
    assert host.read(0x11) == 0x00000382


def test_a_command_needs_a_halted_hart() -> None:
    host = RvBench.make().host
    assert command(host, READ_REGISTER | 0x1001) == 4
    assert command(host, 0x00321001) == 2


def test_commands_run_although_an_earlier_error_is_kept() -> None:
    host = halted().host
    put(host, 0x1001, 0xEFCA05DD)
    host.write(COMMAND, READ_REGISTER | 0x180)
    host.write(COMMAND, READ_REGISTER | 0x1001)
    assert host.read(ABSTRACTCS) == 0x08000302
    assert host.read(DATA0) == 0xEFCA05DD


def test_data_read_while_a_command_runs_is_refused() -> None:
    bench = halted()
    host = bench.host
    bench.clock.set_ratio(1)
    host.dmi(WRITE, COMMAND, READ_REGISTER | 0x301, rti=0)
    host.dmi(READ, DATA0)
    assert host.dmi(NOP) == (DATA0, 0xB051B051, 3)
    host.dtmcs(1 << 16)
    assert host.read(ABSTRACTCS) == 0x08000102
    host.write(ABSTRACTCS, 0x700)
    host.dmi(WRITE, COMMAND, READ_REGISTER | 0x301, rti=109)
    assert host.read(DATA0) == 0x40901104


def test_program_buffer_and_autoexec() -> None:
    bench = halted()
    host = bench.host
    bench.memory.write(0x10000010, 4, 0xA5A5)
    put(host, 0x1008, 0x10000010)
    host.write(0x20, 0x00042483)  # lw s1, 0(s0)
    host.write(0x21, 0x00440413)  # addi s0, s0, 4
    host.write(0x22, 0x00100073)  # ebreak
    put(host, 0x3A3, 0x9F009F00)
    put(host, 0x3BF, 0x04003FFF)
    assert command(host, 0x00240000) == 0
    assert (get(host, 0x1009), get(host, 0x1008)) == (0xA5A5, 0x10000014)
    host.write(DATA0, 0x10000010)
    host.write(COMMAND, 0x00271008)  # s0 = data0, then the program
    assert get(host, 0x1008) == 0x10000014
    host.write(COMMAND, READ_REGISTER | 0x1009)
    host.write(0x18, 1)
    host.read(DATA0)
    host.write(0x18, 0)
    assert host.read(ABSTRACTCS) == 0x08000002


def test_a_program_stops_at_its_ebreak_with_its_results() -> None:
    words = [0xCAFEC137, 0xABE10113, 0x100102B7, 0x00A2A023, 0x0012A223, 0x00100073, 0x0000006F]
    bench = halted()
    host = bench.host
    load(bench, words)
    put(host, 0x1001, 0xDEADBEEF)
    put(host, 0x100A, 0x5A5A1234)
    put(host, DCSR, 0x4000B003)
    host.write(0x10, 0x40000001)
    assert host.read(0x11) == 0x00030382
    assert (get(host, DPC), get(host, 0x1002), get(host, DCSR)) == (0x10001FFC, 0xCAFEBABE, 0x4000B043)
    assert (bench.memory.read(0x10010000, 4), bench.memory.read(0x10010004, 4)) == (0x5A5A1234, 0xDEADBEEF)


@pytest.mark.parametrize("missing", ["ebreakm", "execution enable", "pmp"])
def test_without_its_preparations_a_program_traps_and_the_wait_never_ends(missing: str) -> None:
    bench = halted()
    host = bench.host
    load(bench, [0xCAFEC137, 0xABE10113, 0x00100073])
    if missing == "execution enable":
        host.write(0x39, 0x411C000C)
        host.write(0x3C, 9)
    elif missing == "pmp":
        put(host, 0x3A3, 0x00009F00)
    put(host, DCSR, 0x40000003 if missing == "ebreakm" else 0x4000B003)
    host.write(0x10, 0x40000001)
    host.idle(2000)
    assert host.read(0x11) == 0x00030C82
    host.write(0x10, 0x80000001)
    assert host.read(0x11) == 0x00030382
    assert get(host, DPC) == 0x8000
    cause = {"ebreakm": 3, "execution enable": 1, "pmp": 1}[missing]
    assert get(host, 0x342) == cause
    assert (get(host, 0x1002) == 0xCAFEBABE) == (missing == "ebreakm")


def test_single_step() -> None:
    bench = halted()
    host = bench.host
    load(bench, [0x00158593, 0x00158593, 0x00100073])  # addi a1, a1, 1 twice
    put(host, DCSR, 0x4000B007)
    for step in (1, 2):
        host.write(0x10, 0x40000001)
        host.write(0x10, 1)
        assert get(host, DPC) == 0x10001FE8 + 4 * step
        assert get(host, 0x100B) == step
        assert get(host, DCSR) >> 6 & 7 == 4


@pytest.mark.parametrize(("register", "value"), [(0x3A3, 0x9F000000), (0x3BD, 0x1000), (0x3A0, 0x98)])
def test_losing_the_debug_memory_hangs_until_a_hart_reset(register: int, value: int) -> None:
    host = halted().host
    if register == 0x3A0:  # an entry before 13 that forbids the debug memory
        put(host, 0x3B0, 0x41FF)
    host.write(DATA0, value)
    host.write(COMMAND, WRITE_REGISTER | register)
    host.idle(500)
    assert host.read(ABSTRACTCS) == 0x08001002
    assert host.read(0x11) == 0x00000382
    host.dmi(WRITE, COMMAND, READ_REGISTER | 0x1002)
    assert host.dmi(NOP) == (COMMAND, READ_REGISTER | 0x1002, 3)
    host.dtmcs(1 << 16)
    assert host.read(ABSTRACTCS) == 0x08001102
    host.write(0x38, 0x00140000)
    host.write(0x39, 0x10000000)
    assert host.read(0x38) == 0x20140407
    host.write(0x10, 0x40000001)
    assert host.read(0x11) == 0x00000382
    host.write(0x10, 0x80000003)
    assert host.read(0x11) == 0x000C0C82
    host.write(0x10, 0x80000001)
    assert host.read(0x11) == 0x000C0382
    assert host.read(ABSTRACTCS) == 0x08000102
    host.write(ABSTRACTCS, 0x700)
    assert get(host, 0x3A3) == 0x00009F00
    assert get(host, DPC) == PC_RESET


def test_system_reset_keeps_the_debug_module_and_tells_the_chip() -> None:
    bench = halted()
    host = bench.host
    told: list[bool] = []
    bench.module.on_ndmreset = told.append
    host.write(0x20, 0xCAFE)
    put(host, 0x1005, 7)
    host.write(0x10, 3)
    host.write(0x10, 1)
    assert told == [True, False]
    assert (host.read(0x20), host.read(0x11)) == (0xCAFE, 0x000C0C82)
    host.write(0x10, 0x90000001)
    assert get(host, 0x1005) == 0


def test_a_behavioural_program_takes_over_and_stops_at_its_ebreak() -> None:
    bench = halted()
    host, hart = bench.host, bench.hart
    assert hart is not None
    started: list[int] = []

    def take(hart: object) -> bool:
        started.append(bench.hart.pc)  # type: ignore[union-attr]
        return True

    hart.on_start = take
    load(bench, [0x0000006F])
    put(host, DCSR, 0x4000B003)
    host.write(0x10, 0x40000001)
    host.idle(5000)
    assert host.read(0x11) == 0x00030C82
    assert started == [0x10001FE8]
    hart.stop_at_ebreak(0x10002400, 0xCAFEBABE)
    assert host.read(0x11) == 0x00030382
    assert (get(host, DPC), get(host, 0x1002)) == (0x10002400, 0xCAFEBABE)
    stopped: list[object] = []
    hart.on_halt = stopped.append
    host.write(0x10, 0x40000001)
    host.write(0x10, 0x80000001)
    assert host.read(0x11) == 0x00030382
    assert stopped == [hart]
    assert get(host, DPC) == 0x10002400


def test_a_resumed_program_starts_without_anybody_looking() -> None:
    bench = halted()
    host, hart = bench.host, bench.hart
    assert hart is not None
    started: list[object] = []
    hart.on_start = lambda hart: bool(started.append(hart)) or True
    bench.clock.set_ratio(0.5)
    host.dmi(WRITE, 0x10, 0x40000001, rti=1)
    assert started == [hart]
    host.dmi(READ, 0x11, rti=12)
    assert host.dmi(NOP) == (0x11, 0x00000382, 0)  # not acknowledged yet
    assert host.read(0x11) == 0x00030C82
    assert hart.behavioural


def test_wall_time_alone_runs_the_interpreter() -> None:
    bench = halted()
    load(bench, [0x00158593, 0x00100073])
    put(bench.host, DCSR, 0x4000B003)
    bench.host.dmi(WRITE, 0x10, 0x40000001, rti=1)
    bench.host.tap.tick(1000)
    assert bench.hart is not None
    assert (bench.hart.halted, bench.hart.registers[11]) == (True, 1)
