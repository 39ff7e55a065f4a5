"""The interpreter: arithmetic against plain integers, memory, jumps, compressed forms, traps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.virtual.taps import Clock, Hart, rv32, rvc
from drivers.virtual.taps.trace_bench import BenchMemory

WORD = 0xFFFFFFFF
words = st.one_of(st.integers(0, WORD), st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, WORD]))


def s(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def hart_with(program: list[int], base: int = 0x10000000) -> Hart:
    clock = Clock()
    memory = BenchMemory(0x10000000, 128 * 1024, True)
    memory.write(0x411C000C, 4, 6)
    for i, word in enumerate(program):
        memory.write(base + 4 * i, 4, word)
    hart = Hart(memory, clock)
    for number, value in ((0x3A3, 0x9F009F00), (0x3BF, 0x04003FFF)):
        hart.csrs.write(number, value)
    hart.csrs.write(0x7B0, 0x8000)
    hart.halt()
    hart.csrs.write(0x7B1, base)
    return hart


def run(hart: Hart, clk: float = 1000) -> None:
    hart.resume()
    hart._clock.tick(clk)
    hart.advance()


def r_type(funct7: int, funct3: int) -> int:
    return funct7 << 25 | 11 << 20 | 10 << 15 | funct3 << 12 | 12 << 7 | 0x33


REGISTER_FORMS = {
    "add": (0, 0, lambda a, b: a + b),
    "sub": (0x20, 0, lambda a, b: a - b),
    "sll": (0, 1, lambda a, b: a << (b & 31)),
    "slt": (0, 2, lambda a, b: s(a) < s(b)),
    "sltu": (0, 3, lambda a, b: a < b),
    "xor": (0, 4, lambda a, b: a ^ b),
    "srl": (0, 5, lambda a, b: a >> (b & 31)),
    "sra": (0x20, 5, lambda a, b: s(a) >> (b & 31)),
    "or": (0, 6, lambda a, b: a | b),
    "and": (0, 7, lambda a, b: a & b),
    "mul": (1, 0, lambda a, b: a * b),
    "mulh": (1, 1, lambda a, b: s(a) * s(b) >> 32),
    "mulhsu": (1, 2, lambda a, b: s(a) * b >> 32),
    "mulhu": (1, 3, lambda a, b: a * b >> 32),
    "div": (
        1,
        4,
        lambda a, b: WORD if b == 0 else int(abs(s(a)) // abs(s(b))) * (1 if (s(a) < 0) == (s(b) < 0) else -1),
    ),
    "divu": (1, 5, lambda a, b: WORD if b == 0 else a // b),
    "rem": (1, 6, lambda a, b: a if b == 0 else (abs(s(a)) % abs(s(b))) * (1 if s(a) >= 0 else -1)),
    "remu": (1, 7, lambda a, b: a if b == 0 else a % b),
}


@pytest.mark.parametrize("name", REGISTER_FORMS)
@given(words, words)
def test_register_forms(name: str, left: int, right: int) -> None:
    funct7, funct3, function = REGISTER_FORMS[name]
    hart = hart_with([])
    hart.registers[10], hart.registers[11] = left, right
    assert rv32.execute(hart, r_type(funct7, funct3), 0, 4) == 4
    assert hart.registers[12] == function(left, right) & WORD


@given(words, st.integers(-2048, 2047))
def test_immediate_forms(left: int, imm: int) -> None:
    hart = hart_with([])
    hart.registers[10] = left
    results = {0: left + imm, 2: s(left) < imm, 3: left < imm & WORD, 4: left ^ imm, 6: left | imm, 7: left & imm}
    for funct, value in results.items():
        rv32.execute(hart, (imm & 0xFFF) << 20 | 10 << 15 | funct << 12 | 12 << 7 | 0x13, 0, 4)
        assert hart.registers[12] == value & WORD


@given(words, words)
def test_branches(left: int, right: int) -> None:
    hart = hart_with([])
    hart.registers[10], hart.registers[11] = left, right
    taken = {0: left == right, 1: left != right, 4: s(left) < s(right), 5: s(left) >= s(right)}
    taken |= {6: left < right, 7: left >= right}
    for funct, jumps in taken.items():
        word = 0xFE000EE3 & ~(7 << 12) | 11 << 20 | 10 << 15 | funct << 12  # offset -4
        assert rv32.execute(hart, word, 0x1000, 4) == (0xFFC if jumps else 0x1004)


def test_x0_stays_zero_and_jumps_link() -> None:
    hart = hart_with([])
    rv32.execute(hart, 0x00100013, 0, 4)
    assert hart.registers[0] == 0
    assert rv32.execute(hart, 0xFF9FF0EF, 0x100, 4) == 0xF8  # jal ra, -8
    assert hart.registers[1] == 0x104
    hart.registers[10] = 0x2001
    assert rv32.execute(hart, 0x00250067, 0, 4) == 0x2002  # jr 2(a0): bit 0 is cleared
    rv32.execute(hart, 0x12345517, 0x1000, 4)
    assert hart.registers[10] == 0x12346000


def test_loads_extend_and_stores_are_narrow() -> None:
    hart = hart_with([0x8180FF7F])
    hart.registers[10] = 0x10000000
    expected = {0: 0x7F, 1: 0xFFFFFF7F, 2: 0x8180FF7F, 4: 0x7F, 5: 0xFF7F}
    for funct, value in expected.items():
        rv32.execute(hart, 10 << 15 | funct << 12 | 12 << 7 | 0x03, 0, 4)
        assert hart.registers[12] == value
    assert hart.load(0x10000001, 2) == 0x80FF
    hart.registers[11] = 0x11223344
    rv32.execute(hart, 11 << 20 | 10 << 15 | 1 << 7 | 0x23, 0, 4)
    assert hart.load(0x10000000, 4) == 0x8180447F
    hart.store(0x10000003, 4, 0xAABBCCDD)
    assert hart.load(0x10000003, 4) == 0xAABBCCDD


@pytest.mark.parametrize(
    ("half", "word"),
    [
        (0x4505, 0x00100513),  # li a0, 1
        (0x1141, 0xFF010113),  # addi sp, sp, -16
        (0x7139, 0xFC010113),  # addi sp, sp, -64
        (0x0808, 0x01010513),  # addi a0, sp, 16
        (0x6505, 0x00001537),  # lui a0, 1
        (0x852E, 0x00B00533),  # mv a0, a1
        (0x952E, 0x00B50533),  # add a0, a1
        (0x8D0D, 0x40B50533),  # sub a0, a1
        (0x8D2D, 0x00B54533),  # xor a0, a1
        (0x8905, 0x00157513),  # andi a0, 1
        (0x8105, 0x00155513),  # srli a0, 1
        (0x8505, 0x40155513),  # srai a0, 1
        (0x050A, 0x00251513),  # slli a0, 2
        (0x4108, 0x00052503),  # lw a0, 0(a0)
        (0xC14C, 0x00B52223),  # sw a1, 4(a0)
        (0x40B2, 0x00C12083),  # lw ra, 12(sp)
        (0xC606, 0x00112623),  # sw ra, 12(sp)
        (0xC501, 0x00050463),  # beqz a0, 8
        (0xFD75, 0xFE051EE3),  # bnez a0, -4
        (0xA001, 0x0000006F),  # j .
        (0x2011, 0x004000EF),  # jal 4
        (0x8082, 0x00008067),  # ret
        (0x9502, 0x000500E7),  # jalr a0
        (0x9002, 0x00100073),  # ebreak
        (0x0001, 0x00000013),  # nop
    ],
)
def test_compressed_forms(half: int, word: int) -> None:
    assert rvc.expand(half) == word


@pytest.mark.parametrize("half", [0x0000, 0x2000, 0x6101, 0x8002, 0x9C05, 0x4002])
def test_reserved_compressed_forms_are_illegal(half: int) -> None:
    with pytest.raises(rvc.IllegalCompressed):
        rvc.expand(half)


def test_mixed_widths_and_a_loop() -> None:
    # li a0,0 ; li a1,10 ; loop: add a0,a1 (c) ; addi a1,a1,-1 (c) ; bnez a1,loop ; ebreak (c)
    halves = [0x4501, 0x45A9, 0x952E, 0x15FD, 0xFDF5, 0x9002]
    program = [halves[i] | halves[i + 1] << 16 for i in range(0, 6, 2)]
    hart = hart_with(program)
    run(hart)
    assert hart.halted
    assert (hart.registers[10], hart.registers[11], hart.pc) == (55, 0, 0x1000000A)


def test_time_limits_how_far_a_program_gets() -> None:
    hart = hart_with([0x00150513] * 100 + [0x00100073])
    run(hart, 20)
    assert hart.registers[10] == 10
    hart._clock.tick(10)
    hart.advance()
    assert hart.registers[10] == 15


def test_traps_go_to_the_vector_and_return() -> None:
    hart = hart_with([0x00000073])
    run(hart)
    assert hart.spinning
    values = hart.csrs.values
    assert (hart.pc, values[0x341], values[0x342]) == (0x8000, 0x10000000, 11)
    assert hart.return_address() == 0x10000000


def test_unknown_instructions_and_unmapped_memory_trap() -> None:
    for program, cause in (
        ([0xFFFFFFFF], 2),
        ([0x0000A003], 5),
        ([0x0000A023], 7),
        ([0x18001073], 2),
        ([0x7B002573], 2),
    ):
        hart = hart_with(program)
        hart.csrs.pmp.config[0], hart.csrs.pmp.address[0] = 0x1F, 0x7FFFFFFF  # everything allowed
        hart.csrs.pmp._ranges = None
        run(hart)
        assert hart.csrs.values[0x342] == cause


def test_pmp_locks_and_modes() -> None:
    hart = hart_with([])
    pmp = hart.csrs.pmp
    assert pmp.allows(0x8080, 4)
    assert not pmp.allows(0x8080, 2)
    assert not pmp.allows(0x8800, 4)
    pmp.write(0x747, 2)  # rule lock bypass off: locked entries cannot change any more
    pmp.write(0x3A3, 0)
    pmp.write(0x3BD, 0)
    pmp.write(0x3BA, 0)  # the base of a locked top-of-range entry is locked, too
    assert (pmp.read(0x3A3), pmp.read(0x3BD), pmp.read(0x3BA)) == (0x9F009F00, 0x41FF, 0x10000000)
    pmp.write(0x747, 4)
    assert pmp.read(0x747) == 2
