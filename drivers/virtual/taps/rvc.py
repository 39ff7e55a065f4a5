"""Compressed instructions (RV32C): each 16-bit form is expanded to the 32-bit instruction it stands for."""

from __future__ import annotations


class IllegalCompressed(Exception):
    """A reserved or floating-point compressed encoding."""


def _field(half: int, *places: tuple[int, int, int]) -> int:
    """Gather bits: (from bit, width, to bit) each."""
    return sum((half >> start & (1 << width) - 1) << to for start, width, to in places)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def _i(op: int, funct: int, rd: int, rs1: int, imm: int) -> int:
    return (imm & 0xFFF) << 20 | rs1 << 15 | funct << 12 | rd << 7 | op


def _s(rs1: int, rs2: int, imm: int) -> int:
    return imm >> 5 << 25 | rs2 << 20 | rs1 << 15 | 2 << 12 | (imm & 31) << 7 | 0x23


def _r(funct7: int, funct3: int, rd: int, rs1: int, rs2: int) -> int:
    return funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x33


def _jal(rd: int, offset: int) -> int:
    bits = (offset >> 20 & 1) << 31 | (offset >> 1 & 0x3FF) << 21 | (offset >> 11 & 1) << 20
    return bits | (offset >> 12 & 0xFF) << 12 | rd << 7 | 0x6F


def _branch(funct: int, rs1: int, offset: int) -> int:
    bits = (offset >> 12 & 1) << 31 | (offset >> 5 & 0x3F) << 25
    return bits | rs1 << 15 | funct << 12 | (offset >> 1 & 15) << 8 | (offset >> 11 & 1) << 7 | 0x63


def expand(half: int) -> int:
    """The 32-bit equivalent of a 16-bit instruction; raises `IllegalCompressed`."""
    quadrant, funct = half & 3, half >> 13
    if quadrant == 0:
        return _quadrant0(half, funct)
    if quadrant == 1:
        return _quadrant1(half, funct)
    return _quadrant2(half, funct)


def _quadrant0(half: int, funct: int) -> int:
    low, high = 8 + (half >> 2 & 7), 8 + (half >> 7 & 7)
    offset = _field(half, (6, 1, 2), (10, 3, 3), (5, 1, 6))
    if funct == 0:
        imm = _field(half, (11, 2, 4), (7, 4, 6), (6, 1, 2), (5, 1, 3))
        if imm:
            return _i(0x13, 0, low, 2, imm)  # c.addi4spn
    elif funct == 2:
        return _i(0x03, 2, low, high, offset)  # c.lw
    elif funct == 6:
        return _s(high, low, offset)  # c.sw
    raise IllegalCompressed(f"{half:#06x}")


def _quadrant1(half: int, funct: int) -> int:
    rd = half >> 7 & 31
    imm = _signed(_field(half, (2, 5, 0), (12, 1, 5)), 6)
    if funct == 0:
        return _i(0x13, 0, rd, rd, imm)  # c.addi, c.nop
    if funct in (1, 5):
        offset = _field(
            half, (3, 3, 1), (11, 1, 4), (2, 1, 5), (7, 1, 6), (6, 1, 7), (9, 2, 8), (8, 1, 10), (12, 1, 11)
        )
        return _jal(1 if funct == 1 else 0, _signed(offset, 12))  # c.jal, c.j
    if funct == 2:
        return _i(0x13, 0, rd, 0, imm)  # c.li
    if funct == 3:
        return _upper(half, rd, imm)
    if funct == 4:
        return _arithmetic(half, 8 + (rd & 7), imm)
    offset = _field(half, (3, 2, 1), (10, 2, 3), (2, 1, 5), (5, 2, 6), (12, 1, 8))
    return _branch(funct - 6, 8 + (rd & 7), _signed(offset, 9))  # c.beqz, c.bnez


def _upper(half: int, rd: int, imm: int) -> int:
    if imm == 0:
        raise IllegalCompressed(f"{half:#06x}")
    if rd != 2:
        return (imm & 0xFFFFF) << 12 | rd << 7 | 0x37  # c.lui
    places = ((6, 1, 4), (2, 1, 5), (5, 1, 6), (3, 2, 7), (12, 1, 9))
    return _i(0x13, 0, 2, 2, _signed(_field(half, *places), 10))  # c.addi16sp


def _arithmetic(half: int, rd: int, imm: int) -> int:
    kind = half >> 10 & 3
    if kind == 2:
        return _i(0x13, 7, rd, rd, imm)  # c.andi
    if half >> 12 & 1:
        raise IllegalCompressed(f"{half:#06x}")
    if kind < 2:
        return _i(0x13, 5, rd, rd, imm & 31 | (0x400 if kind else 0))  # c.srli, c.srai
    rs2 = 8 + (half >> 2 & 7)
    funct7, funct3 = ((0x20, 0), (0, 4), (0, 6), (0, 7))[half >> 5 & 3]  # c.sub, c.xor, c.or, c.and
    return _r(funct7, funct3, rd, rd, rs2)


def _quadrant2(half: int, funct: int) -> int:
    rd, rs2 = half >> 7 & 31, half >> 2 & 31
    if funct == 0 and not half >> 12 & 1:
        return _i(0x13, 1, rd, rd, rs2)  # c.slli
    if funct == 2 and rd:
        return _i(0x03, 2, rd, 2, _field(half, (4, 3, 2), (12, 1, 5), (2, 2, 6)))  # c.lwsp
    if funct == 4:
        return _register_jump(half, rd, rs2)
    if funct == 6:
        return _s(2, rs2, _field(half, (9, 4, 2), (7, 2, 6)))  # c.swsp
    raise IllegalCompressed(f"{half:#06x}")


def _register_jump(half: int, rd: int, rs2: int) -> int:
    link = half >> 12 & 1
    if rs2:
        return _r(0, 0, rd, rd if link else 0, rs2)  # c.add, c.mv
    if rd:
        return _i(0x67, 0, link, rd, 0)  # c.jr, c.jalr
    if link:
        return 0x00100073  # c.ebreak
    raise IllegalCompressed(f"{half:#06x}")
