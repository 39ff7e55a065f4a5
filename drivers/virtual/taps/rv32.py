"""RV32IM instructions of the virtual hart, one function per opcode group; time and traps are the hart's business."""

from __future__ import annotations

from typing import Protocol

WORD = 0xFFFFFFFF
SIGN = 0x80000000

FETCH_FAULT, ILLEGAL, BREAKPOINT, LOAD_MISALIGNED, LOAD_FAULT, STORE_MISALIGNED, STORE_FAULT, ECALL = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    11,
)


class Trap(Exception):
    """An exception with its mcause code and mtval."""

    def __init__(self, cause: int, value: int = 0) -> None:
        self.cause = cause
        self.value = value
        super().__init__(f"exception {cause} ({value:#x})")


class Machine(Protocol):
    """What instructions need of a hart; loads and stores raise `Trap`."""

    registers: list[int]

    def load(self, address: int, size: int) -> int:
        """Zero-extended load."""

    def store(self, address: int, size: int, value: int) -> None:
        """Store the low bytes of ``value``."""

    def csr(self, number: int) -> int:
        """Read a CSR; raises `Trap`."""

    def set_csr(self, number: int, value: int) -> None:
        """Write a CSR; raises `Trap`."""

    def return_address(self) -> int:
        """Leave a trap (mret): the address to go on at."""


def signed(value: int) -> int:
    """A 32-bit value as a two's complement number."""
    return value - (1 << 32) if value & SIGN else value


def _imm_i(word: int) -> int:
    return signed(word) >> 20


def execute(machine: Machine, word: int, pc: int, length: int) -> int:
    """Execute the instruction ``word`` (``length`` bytes at ``pc``) and return the next pc; raises `Trap`."""
    group = _GROUPS.get(word & 0x7F)
    if group is None:
        raise Trap(ILLEGAL, word)
    return group(machine, word, pc, length)


def _put(machine: Machine, word: int, value: int) -> None:
    rd = word >> 7 & 31
    if rd:
        machine.registers[rd] = value & WORD


def _lui(machine: Machine, word: int, pc: int, length: int) -> int:
    _put(machine, word, word & 0xFFFFF000)
    return pc + length


def _auipc(machine: Machine, word: int, pc: int, length: int) -> int:
    _put(machine, word, pc + (word & 0xFFFFF000))
    return pc + length


def _jal(machine: Machine, word: int, pc: int, length: int) -> int:
    offset = (word >> 21 & 0x3FF) << 1 | (word >> 20 & 1) << 11 | (word >> 12 & 0xFF) << 12
    offset |= -(word >> 31) << 20
    _put(machine, word, pc + length)
    return pc + offset & WORD


def _jalr(machine: Machine, word: int, pc: int, length: int) -> int:
    if word >> 12 & 7:
        raise Trap(ILLEGAL, word)
    target = machine.registers[word >> 15 & 31] + _imm_i(word) & WORD & ~1
    _put(machine, word, pc + length)
    return target


def _branch(machine: Machine, word: int, pc: int, length: int) -> int:
    left, right = machine.registers[word >> 15 & 31], machine.registers[word >> 20 & 31]
    funct = word >> 12 & 7
    if funct in (2, 3):
        raise Trap(ILLEGAL, word)
    if funct < 2:
        taken = left == right
    elif funct < 6:
        taken = signed(left) < signed(right)
    else:
        taken = left < right
    if taken == bool(funct & 1):
        return pc + length
    offset = (word >> 8 & 15) << 1 | (word >> 25 & 0x3F) << 5 | (word >> 7 & 1) << 11
    return pc + (offset | -(word >> 31) << 12) & WORD


def _load(machine: Machine, word: int, pc: int, length: int) -> int:
    funct = word >> 12 & 7
    if funct in (3, 6, 7):
        raise Trap(ILLEGAL, word)
    size = 1 << (funct & 3)
    value = machine.load(machine.registers[word >> 15 & 31] + _imm_i(word) & WORD, size)
    if funct < 2 and value >> 8 * size - 1:
        value -= 1 << 8 * size
    _put(machine, word, value)
    return pc + length


def _store(machine: Machine, word: int, pc: int, length: int) -> int:
    funct = word >> 12 & 7
    if funct > 2:
        raise Trap(ILLEGAL, word)
    offset = signed(word) >> 25 << 5 | word >> 7 & 31
    address = machine.registers[word >> 15 & 31] + offset & WORD
    machine.store(address, 1 << funct, machine.registers[word >> 20 & 31])
    return pc + length


def _arithmetic(funct: int, left: int, right: int, alternate: bool) -> int:
    """The eight operations shared by register and immediate forms; ``alternate`` selects sub and sra."""
    if funct == 0:
        return left - right if alternate else left + right
    if funct == 1:
        return left << (right & 31)
    if funct == 2:
        return int(signed(left) < signed(right))
    if funct == 3:
        return int(left < right)
    if funct == 5:
        return (signed(left) if alternate else left) >> (right & 31)
    return (left ^ right, 0, left | right, left & right)[funct - 4]


def _immediate(machine: Machine, word: int, pc: int, length: int) -> int:
    funct = word >> 12 & 7
    top = word >> 25
    if (funct == 1 and top) or (funct == 5 and top & ~0x20):
        raise Trap(ILLEGAL, word)
    left = machine.registers[word >> 15 & 31]
    _put(machine, word, _arithmetic(funct, left, _imm_i(word) & WORD, funct == 5 and top == 0x20))
    return pc + length


def _register(machine: Machine, word: int, pc: int, length: int) -> int:
    funct, top = word >> 12 & 7, word >> 25
    left, right = machine.registers[word >> 15 & 31], machine.registers[word >> 20 & 31]
    if top == 1:
        value = _multiply(funct, left, right) if funct < 4 else _divide(funct, left, right)
    elif top == 0 or (top == 0x20 and funct in (0, 5)):
        value = _arithmetic(funct, left, right, top == 0x20)
    else:
        raise Trap(ILLEGAL, word)
    _put(machine, word, value)
    return pc + length


def _multiply(funct: int, left: int, right: int) -> int:
    if funct == 0:
        return left * right
    if funct < 3:
        left = signed(left)
    if funct == 1:
        right = signed(right)
    return left * right >> 32


def _divide(funct: int, left: int, right: int) -> int:
    if right == 0:
        return WORD if funct < 6 else left
    if funct & 1:
        return left // right if funct == 5 else left % right
    a, b = signed(left), signed(right)
    quotient = abs(a) // abs(b)
    if (a < 0) != (b < 0):
        quotient = -quotient
    return quotient if funct == 4 else a - b * quotient


def _fence(machine: Machine, word: int, pc: int, length: int) -> int:
    if word >> 12 & 7 > 1:
        raise Trap(ILLEGAL, word)
    return pc + length


def _system(machine: Machine, word: int, pc: int, length: int) -> int:
    funct = word >> 12 & 7
    if funct & 3:
        _csr_access(machine, word, funct)
        return pc + length
    if word == 0x00100073:
        raise Trap(BREAKPOINT, pc)
    if word == 0x00000073:
        raise Trap(ECALL)
    if word == 0x30200073:
        return machine.return_address()
    if word == 0x10500073:  # wfi
        return pc + length
    raise Trap(ILLEGAL, word)


def _csr_access(machine: Machine, word: int, funct: int) -> None:
    number, source = word >> 20, word >> 15 & 31
    operand = source if funct & 4 else machine.registers[source]
    kind = funct & 3
    old = machine.csr(number)
    if kind == 1:
        machine.set_csr(number, operand)
    elif source:
        machine.set_csr(number, old | operand if kind == 2 else old & ~operand & WORD)
    _put(machine, word, old)


_GROUPS = {
    0x37: _lui,
    0x17: _auipc,
    0x6F: _jal,
    0x67: _jalr,
    0x63: _branch,
    0x03: _load,
    0x23: _store,
    0x13: _immediate,
    0x33: _register,
    0x0F: _fence,
    0x73: _system,
}
