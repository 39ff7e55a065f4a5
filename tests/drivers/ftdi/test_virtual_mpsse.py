"""The adapter's MPSSE engine by its command bytes, with AN_108 as the judge."""

from __future__ import annotations

import pytest

from drivers.virtual.mpsse import FIFO, Mpsse


class Wires:
    """Remembers clocks; TDO follows TDI of the cycle before."""

    def __init__(self):
        self.driven = []
        self.clocked = []
        self.last = 0
        self.pins = 0

    def drive(self, value, direction):
        self.driven.append((value, direction))

    def sample(self):
        return self.pins

    def clock(self, count, tdi, tms):
        self.clocked.append((count, tdi, tms))
        tdo = (tdi << 1 | self.last) & ((1 << count) - 1)
        self.last = tdi >> (count - 1)
        return tdo

    def clock_bytes(self, data):
        self.clocked.append(data)
        return bytes(byte ^ 0xFF for byte in data)


@pytest.fixture
def wires():
    return Wires()


@pytest.fixture
def engine(wires):
    engine = Mpsse(wires)
    engine.enter(0)
    wires.driven.clear()
    return engine


def run(engine, *data):
    engine.feed(bytes(data))
    reply = bytes(engine.reply)
    engine.reply.clear()
    return reply


@pytest.mark.parametrize("opcode", [0xAA, 0xAB, 0x00, 0x7F, 0x90, 0xFF])
def test_bad_commands_are_echoed(engine, opcode):
    assert run(engine, opcode) == bytes((0xFA, opcode))


@pytest.mark.parametrize(
    ("command", "clock", "reply"),
    [
        ((0x19, 1, 0, 0x34, 0x12), (16, 0x1234, None), b""),
        ((0x39, 1, 0, 0x34, 0x12), (16, 0x1234, None), b"\x68\x24"),
        ((0x1B, 3, 0x0A), (4, 0xA, None), b""),
        ((0x3B, 3, 0x0A), (4, 0xA, None), b"\x40"),  # 0100 at the top of the byte
        ((0x33, 3, 0xA0), (4, 0x5, None), b"\x05"),  # MSB first: 1010 goes out, 0101 fills from the bottom
        ((0x4B, 4, 0x87), (5, 0x1F, 0x07), b""),  # TMS bits 11100, TDI held high
        ((0x6B, 4, 0x87), (5, 0x1F, 0x07), b"\xf0"),
        ((0x18, 0, 0, 0x81), (8, 0x02, None), b""),  # changing on the rising edge: seen one bit late
        ((0x8F, 1, 0), (16, 0, None), b""),
        ((0x8E, 2), (3, 0, None), b""),
    ],
)
def test_shift_opcodes(engine, wires, command, clock, reply):
    assert run(engine, *command) == reply
    assert wires.clocked == [clock]
    assert engine.tck == clock[0]


def test_whole_bytes_most_significant_bit_first_take_the_fast_path(engine, wires):
    assert run(engine, 0x31, 1, 0, 0xA5, 0x01) == b"\x5a\xfe"
    assert wires.clocked == [b"\xa5\x01"]
    assert run(engine, 0x20, 2, 0) == bytes(3)  # MOSI stays at its last level, high
    assert wires.clocked[-1] == b"\xff\xff\xff"


def test_pins_and_loopback(engine, wires):
    wires.pins = 0x5A
    assert run(engine, 0x80, 0x12, 0x34, 0x81, 0x82, 1, 2, 0x83) == b"\x5a\x00"
    assert wires.driven == [(0x12, 0x34)]
    assert run(engine, 0x84, 0x39, 0, 0, 0xC3, 0x85, 0x39, 0, 0, 0xC3) == b"\xc3\x87"


def test_clock_divisor(engine):
    run(engine, 0x8A, 0x86, 2, 0)
    assert engine.hertz == 10e6
    run(engine, 0x8B)
    assert engine.hertz == 2e6


def test_commands_split_over_transfers(engine, wires):
    for byte in (0x39, 1, 0, 0x34):
        assert run(engine, byte) == b""
    assert wires.clocked == []
    assert run(engine, 0x12) == b"\x68\x24"


def test_a_full_reply_buffer_holds_the_engine_up(engine):
    engine.feed(bytes((0x81,)) * (FIFO + 10))
    assert len(engine.reply) == FIFO and not engine.stuck
    engine.feed(bytes((0x81,)) * (FIFO + 10))
    assert engine.stuck
    del engine.reply[:100]
    engine.run()
    assert len(engine.reply) == FIFO


def test_waiting_for_a_pin(engine, wires):
    assert run(engine, 0x88, 0x81) == b""
    wires.pins = 0x20
    assert run(engine, 0x89) == b"\x20"
