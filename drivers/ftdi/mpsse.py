"""Blocks of MPSSE commands and the channel that carries them out in few transfers.

Sources: FTDI AN_108 (opcodes), AN_129 (JTAG). Data changes on the falling clock edge and is sampled on the rising one.
"""

from __future__ import annotations

import threading
from typing import Any

from pyftdi.ftdi import Ftdi

from drivers.ftdi.adapter import Adapter, PoliteFtdi
from station.deadline import Deadline
from station.errors import AdapterLost, BenchError

REPLY_LIMIT = 1900
"""Reply bytes one transfer may leave unread: beyond its 2 KiB buffer the engine stalls, and the write with it."""

BAD_COMMAND = 0xFA
PROBE = 0xAA
FAST_CLOCK = 60e6
REPLY_SECONDS = 5.0
PROBE_READS = 12


class Block:
    """MPSSE commands in the making, and how many reply bytes they cause."""

    __slots__ = ("out", "replies")

    def __init__(self) -> None:
        self.out = bytearray()
        self.replies = 0

    def tms(self, bits: int, count: int, tdi: int = 0, read: bool = False) -> None:
        """Clock 1 to 7 TMS bits, least significant first, TDI constant; a read answers one byte, bits at its top."""
        self.out += bytes((0x6B if read else 0x4B, count - 1, bits | (tdi & 1) << 7))
        self.replies += read

    def shift_bits(self, value: int, count: int, read: bool = False) -> None:
        """Shift 1 to 8 bits, least significant first, TMS unchanged; a read answers one byte, bits at its top."""
        self.out += bytes((0x3B if read else 0x1B, count - 1, value))
        self.replies += read

    def shift_bytes(self, data: bytes, read: bool = False) -> None:
        """Shift whole bytes, least significant bit first, TMS unchanged."""
        self._sized(0x39 if read else 0x19, len(data))
        self.out += data
        self.replies += len(data) if read else 0

    def clock(self, cycles: int) -> None:
        """Clock with TMS unchanged and no data."""
        whole, rest = divmod(cycles, 8)
        if whole:
            self._sized(0x8F, whole)
        if rest:
            self.out += bytes((0x8E, rest - 1))

    def spi_write(self, data: bytes) -> None:
        """Send bytes, most significant bit first, in pieces of at most 64 KiB."""
        for at in range(0, len(data), 1 << 16):
            piece = data[at : at + (1 << 16)]
            self._sized(0x11, len(piece))
            self.out += piece

    def spi_read(self, count: int) -> None:
        """Clock in bytes, most significant bit first."""
        self._sized(0x20, count)
        self.replies += count

    def pins(self, levels: int, direction: int) -> None:
        """Set levels and directions of all eight pins."""
        self.out += bytes((0x80, levels, direction))

    def read_pins(self) -> None:
        """Answer the levels of all eight pins."""
        self.out.append(0x81)
        self.replies += 1

    def _sized(self, opcode: int, count: int) -> None:
        self.out += bytes((opcode, (count - 1) & 0xFF, (count - 1) >> 8))


class MpsseChannel:
    """Bank A or B in MPSSE mode: its eight pins, its clock and the exchange of blocks; one lock for all users."""

    def __init__(self, adapter: Adapter, bank: str, hertz: float, outputs: int, idle: int, clock_pins: int) -> None:
        """``outputs`` and ``idle`` are masks of all pins; ``clock_pins`` are those forced to ``idle`` on opening."""
        self.lock = threading.RLock()
        self.bank = bank
        self.transfers = 0
        self.bytes_out = 0
        self._adapter = adapter
        self._ftdi: PoliteFtdi = adapter.open_channel(bank)
        self._direction = outputs
        self._levels = idle & outputs
        with adapter.errors(bank):
            self.found_running = self._start(outputs, idle, clock_pins)
            self.hertz = self._set_clock(hertz)

    @property
    def levels(self) -> int:
        """The output levels the channel holds outside of shifts."""
        return self._levels

    def exchange(self, block: Block) -> bytes:
        """Carry out a block; returns its replies. A block may cause at most ``REPLY_LIMIT`` reply bytes."""
        with self.lock, self._adapter.errors(self.bank):
            if block.replies:
                block.out.append(0x87)
            self._write(block.out)
            return self._read(block.replies) if block.replies else b""

    def drive(self, mask: int, levels: int) -> None:
        """Set the pins of ``mask``, all in one transfer."""
        with self.lock:
            self._levels = (self._levels & ~mask) | (levels & mask)
            block = Block()
            self.put_levels(block)
            self.exchange(block)

    def put_levels(self, block: Block, mask: int = 0, levels: int = 0) -> None:
        """Append the held levels to a block, with the pins of ``mask`` at other levels for the time being."""
        block.pins((self._levels & ~mask) | (levels & mask), self._direction)

    def sample(self) -> int:
        """Levels of all eight pins, in one exchange."""
        block = Block()
        block.read_pins()
        return self.exchange(block)[0]

    # ---- opening --------------------------------------------------------------------------------------------------

    def _start(self, outputs: int, idle: int, clock_pins: int) -> bool:
        running = self._echoes()
        if running:
            self._ftdi.resumed_in(Ftdi.BitMode.MPSSE)
            levels = self._raw(bytes((0x85, 0x81, 0x87)), 1)[0]
            self._levels = (levels & outputs & ~clock_pins) | (idle & clock_pins)
        else:
            self._ftdi.set_bitmode(0, Ftdi.BitMode.MPSSE)
            if not self._echoes():
                raise BenchError(
                    f"channel {self.bank} of adapter {self._adapter.serial} does not answer in MPSSE mode; "
                    "unplug the adapter, plug it in again and check that it is an FT4232H"
                )
            self._levels = idle & outputs
        self._write(bytes((0x80, self._levels, outputs, 0x85)))
        return running

    def _echoes(self) -> bool:
        """A running engine answers a bad command with 0xFA and that command; a UART channel answers nothing."""
        self._write(bytes((PROBE, 0x87)))
        seen = b""
        for _ in range(PROBE_READS):
            seen += bytes(self._ftdi.read_data_bytes(2, attempt=1))
            if bytes((BAD_COMMAND, PROBE)) in seen:
                self._ftdi.purge_tx_buffer()
                return True
        return False

    def _set_clock(self, hertz: float) -> float:
        divisor = max(0, min(0xFFFF, -int(-FAST_CLOCK // (2 * hertz)) - 1))
        # divide-by-5 off, adaptive and three-phase clocking off, divisor
        self._write(bytes((0x8A, 0x97, 0x8D, 0x86, divisor & 0xFF, divisor >> 8)))
        return FAST_CLOCK / (2 * (divisor + 1))

    # ---- transfers ------------------------------------------------------------------------------------------------

    def _raw(self, data: bytes, replies: int) -> bytes:
        self._write(data)
        return self._read(replies)

    def _write(self, data: Any) -> None:
        chunk = self._ftdi.write_data_get_chunksize()
        self.transfers += -(-len(data) // chunk)
        self.bytes_out += len(data)
        self._ftdi.write_data(data)

    def _read(self, count: int) -> bytes:
        data = bytearray()
        deadline = Deadline(REPLY_SECONDS)
        while len(data) < count:
            data += self._ftdi.read_data_bytes(count - len(data), attempt=2)
            if deadline.passed:
                raise AdapterLost(
                    f"channel {self.bank} of adapter {self._adapter.serial}: expected {count} reply bytes, "
                    f"got {len(data)}; re-plug the adapter"
                )
        return bytes(data)
