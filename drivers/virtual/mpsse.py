"""The MPSSE engine of one virtual FTDI channel: command bytes in, clocks and levels out, reply bytes back.

Source: FTDI AN_108 (command processor) and AN_129 (JTAG). Opcodes 0x94, 0x95, 0x9C, 0x9D (clock until GPIOL1) and the
CPU bus ones (0x90 to 0x93) are not modelled and are answered like any bad command.
"""

from __future__ import annotations

from typing import Protocol

FIFO = 2048
"""Bytes of each direction's buffer of one FT4232H channel (data sheet DS_FT4232H)."""

BAD_COMMAND = 0xFA
GPIOL1 = 0x20
TCK, TDI, TDO, TMS = 0x01, 0x02, 0x04, 0x08

WRITE_NEGATIVE, BIT_MODE, LSB_FIRST, WRITE_TDI, READ_TDO, WRITE_TMS = 0x01, 0x02, 0x08, 0x10, 0x20, 0x40

LENGTHS = {0x80: 3, 0x82: 3, 0x86: 3, 0x8E: 2, 0x8F: 3}
SINGLE = frozenset((0x81, 0x83, 0x84, 0x85, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0x8C, 0x8D, 0x96, 0x97))
TMS_OPCODES = frozenset((0x4A, 0x4B, 0x6A, 0x6B, 0x6E, 0x6F))

REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


class Wires(Protocol):
    """What hangs on the eight pins of one channel."""

    def drive(self, value: int, direction: int) -> None:
        """New output latch and direction (1 = output)."""
        ...

    def sample(self) -> int:
        """Levels of all eight pins, outputs included."""
        ...

    def clock(self, count: int, tdi: int, tms: int | None) -> int:
        """Clock bits, bit i in cycle i; ``tms`` None keeps its level. Returns what TDO showed."""
        ...

    def clock_bytes(self, data: bytes) -> bytes:
        """Clock whole bytes, most significant bit first."""
        ...


class Mpsse:
    """Command parser and shifter; works on whole integers, never bit by bit."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._commands = bytearray()
        self.reply = bytearray()
        self.tck = 0
        self._power_up()

    def _power_up(self) -> None:
        self._commands.clear()
        self.reply.clear()
        self.flush = False
        self._held_up = False
        self.value = 0
        self.direction = 0
        self._loopback = False
        self._divisor = 0
        self._by_five = True
        self._last_tdi = 0

    @property
    def hertz(self) -> float:
        """TCK rate the divisor gives."""
        return (12e6 if self._by_five else 60e6) / (2 * (self._divisor + 1))

    @property
    def stuck(self) -> bool:
        """The reply buffer or a pin holds the engine up, and the command buffer is full behind it."""
        return self._held_up and len(self._commands) > FIFO

    def enter(self, direction: int) -> None:
        """Mode switched on: a fresh engine whose outputs are low."""
        self._power_up()
        self.direction = direction
        self._wires.drive(self.value, direction)

    def purge_commands(self) -> None:
        """Forget commands not begun; one whose arguments have not all come is under way and waits for them."""
        if self._held_up:
            self._commands.clear()

    def purge_replies(self) -> None:
        """Forget replies not fetched."""
        self.reply.clear()
        self.flush = False

    def feed(self, data: bytes) -> None:
        """Take command bytes and carry out what is complete."""
        self._commands += data
        self.run()

    def run(self) -> None:
        """Carry out commands until one is incomplete or the reply buffer is full."""
        commands = self._commands
        position = 0
        self._held_up = False
        while position < len(commands):
            used = self._one(commands, position)
            if not used:
                break
            position += used
        del commands[:position]

    def _one(self, commands: bytearray, at: int) -> int:
        opcode = commands[at]
        left = len(commands) - at
        if opcode in TMS_OPCODES:
            return self._tms(opcode, commands, at) if left >= 3 else 0
        if opcode < 0x40 and opcode & (WRITE_TDI | READ_TDO):
            if opcode & BIT_MODE:
                return self._bits(opcode, commands, at, left)
            return self._bytes(opcode, commands, at, left)
        if opcode in SINGLE or opcode in LENGTHS:
            length = LENGTHS.get(opcode, 1)
            return self._other(opcode, commands[at + 1 : at + length], length) if left >= length else 0
        return self._answer(bytes((BAD_COMMAND, opcode)), 1)

    def _room(self, count: int) -> bool:
        self._held_up = len(self.reply) + count > FIFO
        return not self._held_up

    def _answer(self, data: bytes, used: int) -> int:
        if not self._room(len(data)):
            return 0
        self.reply += data
        return used

    def _shift(self, opcode: int, count: int, tdi: int, tms: int | None) -> int:
        if not opcode & (WRITE_TDI | WRITE_TMS):
            tdi = ((1 << count) - 1) if self._last_tdi else 0
        elif not opcode & WRITE_NEGATIVE and not opcode & WRITE_TMS:
            # data that changes on the rising edge is seen by the part one bit late
            tdi, self._last_tdi = (tdi << 1 | self._last_tdi) & ((1 << count) - 1), tdi >> (count - 1) & 1
        else:
            self._last_tdi = tdi >> (count - 1) & 1
        self.tck += count
        tdo = self._wires.clock(count, tdi, tms)
        return tdi if self._loopback else tdo

    def _tms(self, opcode: int, commands: bytearray, at: int) -> int:
        count = (commands[at + 1] & 7) + 1
        if opcode & READ_TDO and not self._room(1):
            return 0
        value = commands[at + 2]
        tdi = ((1 << count) - 1) if value & 0x80 else 0
        tdo = self._shift(opcode, count, tdi, value & ((1 << count) - 1))
        if opcode & READ_TDO:
            self.reply.append((tdo << (8 - count)) & 0xFF)
        return 3

    def _bits(self, opcode: int, commands: bytearray, at: int, left: int) -> int:
        used = 3 if opcode & WRITE_TDI else 2
        if left < used or (opcode & READ_TDO and not self._room(1)):
            return 0
        count = (commands[at + 1] & 7) + 1
        value = commands[at + 2] if opcode & WRITE_TDI else 0
        lsb_first = opcode & LSB_FIRST
        tdi = value if lsb_first else REVERSED[value]
        tdo = self._shift(opcode, count, tdi & ((1 << count) - 1), None)
        if opcode & READ_TDO:
            # LSB first fills from the top, MSB first from the bottom
            self.reply.append((tdo << (8 - count)) & 0xFF if lsb_first else REVERSED[tdo] >> (8 - count))
        return used

    def _bytes(self, opcode: int, commands: bytearray, at: int, left: int) -> int:
        if left < 3:
            return 0
        count = commands[at + 1] + (commands[at + 2] << 8) + 1
        used = 3 + (count if opcode & WRITE_TDI else 0)
        # the real engine stalls in the middle of a long read; stalling before it makes the same host mistake visible
        if left < used or (opcode & READ_TDO and not self._room(min(count, FIFO))):
            return 0
        data = bytes(commands[at + 3 : at + used])
        tdo = self._shift_bytes(opcode, count, data)
        if opcode & READ_TDO:
            self.reply += tdo
        return used

    def _shift_bytes(self, opcode: int, count: int, data: bytes) -> bytes:
        if (not opcode & LSB_FIRST and opcode & WRITE_NEGATIVE) or not opcode & (LSB_FIRST | WRITE_TDI):
            return self._shift_bytes_msb(count, data)
        ordered = data if opcode & LSB_FIRST else data.translate(REVERSED)
        tdo = self._shift(opcode, 8 * count, int.from_bytes(ordered, "little"), None).to_bytes(count, "little")
        return tdo if opcode & LSB_FIRST else tdo.translate(REVERSED)

    def _shift_bytes_msb(self, count: int, data: bytes) -> bytes:
        if not data:
            data = (b"\xff" if self._last_tdi else b"\x00") * count
        self._last_tdi = data[-1] & 1
        self.tck += 8 * count
        read = self._wires.clock_bytes(data)
        return data if self._loopback else read

    def _other(self, opcode: int, argument: bytearray, used: int) -> int:
        if opcode == 0x80:
            self.value, self.direction = argument
            self._last_tdi = 1 if self.value & TDI else 0
            self._wires.drive(self.value, self.direction)
        elif opcode in (0x81, 0x83):
            return self._answer(bytes((self._wires.sample() if opcode == 0x81 else 0,)), used)
        elif opcode in (0x84, 0x85):
            self._loopback = opcode == 0x84
        elif opcode == 0x86:
            self._divisor = argument[0] | argument[1] << 8
        elif opcode == 0x87:
            self.flush = True
        elif opcode in (0x88, 0x89):
            self._held_up = bool(self._wires.sample() & GPIOL1) != (opcode == 0x88)
            return 0 if self._held_up else used
        elif opcode in (0x8A, 0x8B):
            self._by_five = opcode == 0x8B
        elif opcode == 0x8E:
            self._shift(0, (argument[0] & 7) + 1, 0, None)
        elif opcode == 0x8F:
            self._shift(0, 8 * ((argument[0] | argument[1] << 8) + 1), 0, None)
        return used
