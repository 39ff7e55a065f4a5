"""TAP moves and DMI scans as MPSSE commands.

Every function starts and ends in Run-Test/Idle, or in Shift-DR for chained scans, with TMS low. A DMI scan takes 45 TCK
from one Shift-DR to the next (opentitan-rtl sheet 2.3): 40 data bits, then one TMS command that carries the last bit
and Exit1-DR, Update-DR, Select-DR, Capture-DR, Shift-DR.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.ftdi.mpsse import Block

IR_BITS = 5
IR_DTMCS, IR_DMI = 0x10, 0x11
OP_NOP, OP_READ, OP_WRITE = 0, 1, 2
OP_FAILED, OP_BUSY = 2, 3
SCAN_REPLY = 6
LOW_40 = (1 << 40) - 1
ALL_41 = (1 << 41) - 1

TO_IDLE = (0b011, 3)  # Exit1, Update, Run-Test/Idle
TO_SHIFT = (0b00111, 5)  # Exit1, Update, Select-DR, Capture, Shift
IDLE_TO_SHIFT = (0b001, 3)


@dataclass(frozen=True, slots=True)
class Captured:
    """What one DMI scan shifted out: the answer to the scan before it."""

    address: int
    data: int
    op: int

    @property
    def busy(self) -> bool:
        """The request before came too early or was refused."""
        return self.op == OP_BUSY

    @property
    def stuck(self) -> bool:
        """Every bit reads one."""
        return (self.address, self.data, self.op) == (0x7F, 0xFFFF_FFFF, 3)


def reset(block: Block) -> None:
    """Test-Logic-Reset by five TMS ones, then Run-Test/Idle."""
    block.tms(0b0_11111, 6)


def scan_ir(block: Block, instruction: int) -> None:
    """Load an instruction."""
    block.tms(0b0011, 4)
    block.shift_bits(instruction, IR_BITS - 1)
    block.tms(TO_IDLE[0], TO_IDLE[1], tdi=instruction >> (IR_BITS - 1))


def scan_dr32(block: Block, value: int) -> None:
    """Shift a 32-bit data register; answers 5 bytes for ``parse_dr32``."""
    block.tms(*IDLE_TO_SHIFT)
    block.shift_bytes((value & 0xFF_FFFF).to_bytes(3, "little"), read=True)
    block.shift_bits(value >> 24 & 0x7F, 7, read=True)
    block.tms(TO_IDLE[0], TO_IDLE[1], tdi=value >> 31, read=True)


def parse_dr32(reply: bytes) -> int:
    """The 32 bits of one ``scan_dr32`` reply."""
    last = reply[4] >> (8 - TO_IDLE[1]) & 1
    return int.from_bytes(reply[:3], "little") | (reply[3] >> 1) << 24 | last << 31


def request(address: int, value: int, op: int) -> int:
    """The 41 bits of a DMI request: address 40:34, data 33:2, op 1:0."""
    return address << 34 | value << 2 | op


def scan_dmi(block: Block, requests: Sequence[tuple[int, int]]) -> None:
    """Scan (41-bit request, idle cycles after it) in order from and to Run-Test/Idle, capturing each answer."""
    block.tms(*IDLE_TO_SHIFT)
    last = len(requests) - 1
    for number, (bits, idle) in enumerate(requests):
        block.shift_bytes((bits & LOW_40).to_bytes(5, "little"), read=True)
        if number == last:
            _leave(block, bits >> 40, idle)
        elif idle:
            _pause(block, bits >> 40, idle)
        else:
            block.tms(TO_SHIFT[0], TO_SHIFT[1], tdi=bits >> 40, read=True)


def _leave(block: Block, tdi: int, idle: int) -> None:
    # padded to five bits so that every reply has its last bit at one place; Run-Test/Idle is where it rests anyway
    block.tms(0b00011, 5, tdi=tdi, read=True)
    if idle > 3:
        block.clock(idle - 3)


def _pause(block: Block, tdi: int, idle: int) -> None:
    # the last data bit, Update-DR and three idle cycles fill one five-bit command; idle is at least 3 for that reason
    block.tms(0b00011, 5, tdi=tdi, read=True)
    if idle > 3:
        block.clock(idle - 3)
    block.tms(*IDLE_TO_SHIFT)


def parse_dmi(reply: bytes) -> list[Captured]:
    """The captures of ``scan_dmi``, six reply bytes each."""
    captured = []
    for low, last in struct.iter_unpack("<5sB", reply):
        bits = int.from_bytes(low, "little") | (last >> 3 & 1) << 40
        captured.append(Captured(bits >> 34, bits >> 2 & 0xFFFF_FFFF, bits & 3))
    return captured


def write_stream(block: Block, address: int, words: Sequence[int], idle: int) -> None:
    """Write words to one DMI register back to back, without reading anything: 45 TCK and 11 bytes each with no idle.

    Starts and ends in Run-Test/Idle.
    """
    if not words:
        return
    base = (address & 0x3F) << 34 | OP_WRITE
    tdi = address >> 6 << 7
    shift = b"\x19\x04\x00"  # five bytes, least significant bit first
    between = _between(tdi, idle)
    block.tms(*IDLE_TO_SHIFT)
    block.out += between.join([shift + (base | word << 2).to_bytes(5, "little") for word in words])
    block.out += bytes((0x4B, TO_IDLE[1] - 1, TO_IDLE[0] | tdi))


def _between(tdi: int, idle: int) -> bytes:
    if not idle:
        return bytes((0x4B, TO_SHIFT[1] - 1, TO_SHIFT[0] | tdi))
    pause = Block()
    pause.tms(0b011, 3, tdi=tdi >> 7)
    if idle > 1:
        pause.clock(idle - 1)
    pause.tms(*IDLE_TO_SHIFT)
    return bytes(pause.out)
