"""What the system bus of the chip reaches: SRAM, its execution gate, OTP, life cycle and flash controllers.

Source: opentitan-device sheet 3.3, 4.2, 5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from drivers.virtual.taps.bus import BusError

SRAM_BASE, SRAM_SIZE = 0x1000_0000, 0x2_0000
EXEC_OFFSET = 0x0C


class Registers(Protocol):
    """A block of 32-bit registers."""

    def read(self, offset: int) -> int:
        """Read the register at a byte offset."""

    def write(self, offset: int, value: int) -> None:
        """Write the register at a byte offset."""


class RegisterFace:
    """Two functions as `Registers`."""

    def __init__(self, read: Callable[[int], int], write: Callable[[int, int], None]) -> None:
        self.read = read
        self.write = write


class SramControl:
    """The control registers of the main SRAM: EXEC gates instruction fetch (6 = allowed)."""

    def __init__(self) -> None:
        self.exec = 0x9

    def read(self, offset: int) -> int:
        """EXEC at 0x0C, its write enable at 0x08."""
        return {0x08: 1, EXEC_OFFSET: self.exec}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Only EXEC can be written."""
        if offset == EXEC_OFFSET:
            self.exec = value & 0xF


class SystemBus:
    """The bus as debug module and hart see it; widths other than 32 bits only in SRAM."""

    def __init__(self, blocks: dict[int, tuple[int, Registers]]) -> None:
        self.sram = bytearray(SRAM_SIZE)
        self.sram_control = SramControl()
        self._blocks: dict[int, tuple[int, Registers]] = {0x411C_0000: (0x20, self.sram_control), **blocks}

    def reset(self) -> None:
        """After reset the SRAM holds noise (its scrambling key is new) and cannot be executed."""
        self.sram[:] = bytes.fromhex("5ac3") * (SRAM_SIZE // 2)
        self.sram_control.exec = 0x9

    def read(self, address: int, size: int) -> int:
        """Read ``size`` bytes; raises ``BusError`` where nothing is mapped."""
        if SRAM_BASE <= address <= SRAM_BASE + SRAM_SIZE - size:
            start = address - SRAM_BASE
            return int.from_bytes(self.sram[start : start + size], "little")
        block, offset = self._find(address)
        return block.read(offset & ~3) >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, address: int, size: int, value: int) -> None:
        """Write ``size`` bytes; raises ``BusError`` where nothing is mapped or a register is not written whole."""
        if SRAM_BASE <= address <= SRAM_BASE + SRAM_SIZE - size:
            start = address - SRAM_BASE
            self.sram[start : start + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            return
        block, offset = self._find(address)
        if size != 4:
            raise BusError(f"registers are written with 32 bits, not {8 * size}, at {address:#010x}")
        block.write(offset, value & 0xFFFF_FFFF)

    def content(self, address: int, size: int) -> bytes:
        """Bytes of SRAM; fewer than asked for when the range leaves it."""
        start = address - SRAM_BASE
        return bytes(self.sram[start : start + size])

    def _find(self, address: int) -> tuple[Registers, int]:
        for base, (size, block) in self._blocks.items():
            if base <= address < base + size:
                return block, address - base
        raise BusError(f"nothing answers at {address:#010x}")
