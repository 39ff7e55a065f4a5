"""The serial console over a pseudo terminal and over the virtual adapter's UART."""

from __future__ import annotations

import os
import pty
import tty

import pytest

from drivers.serial_console import KEPT, SerialConsole, open_console
from station.deadline import Deadline
from station.errors import AdapterLost, BenchError
from station.ports import Console


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    console = open_console({"url": os.ttyname(theirs), "baud": 115200, "lines": {"rts": True}})
    yield ours, console, os.ttyname(theirs)
    console.close()
    for descriptor in (ours, theirs):
        try:
            os.close(descriptor)
        except OSError:
            pass  # a test closed it


def read_all(console, count):
    deadline = Deadline(10)
    data = b""
    while len(data) < count:
        deadline.check(f"{count} bytes, have {len(data)}")
        data += console.read(deadline)
    return data


def test_bytes_both_ways(terminal):
    ours, console, _ = terminal
    assert isinstance(console, Console)
    os.write(ours, b"OpenTitan:4001-0002-01\r\n")
    assert read_all(console, 24) == b"OpenTitan:4001-0002-01\r\n"
    console.write(b"hello")
    assert os.read(ours, 10) == b"hello"


def test_a_terminal_has_no_control_lines_and_that_is_no_fault(terminal):
    assert not terminal[1].has_control_lines


def test_reading_nothing_ends_with_the_deadline(terminal):
    assert terminal[1].read(Deadline(0.02)) == b""


def test_clear_forgets(terminal):
    ours, console, _ = terminal
    os.write(ours, b"old")
    deadline = Deadline(10)
    while not console._received:
        deadline.check("the old text")
    console.clear()
    os.write(ours, b"new")
    assert read_all(console, 3) == b"new"


def test_nobody_reading_never_holds_the_part_up(terminal):
    ours, console, _ = terminal
    block = b"x" * 65536
    for _ in range(KEPT // len(block) + 2):
        sent = 0
        while sent < len(block):
            sent += os.write(ours, block[sent:])
    deadline = Deadline(20)
    while len(console._received) + console.dropped < KEPT + 2 * len(block):
        deadline.check("all bytes to be taken")
    assert console.dropped == 2 * len(block)


def test_a_port_is_held_exclusively(terminal):
    with pytest.raises(BenchError, match="held by another program"):
        SerialConsole(terminal[2], 115200)


def test_a_missing_port_is_named():
    with pytest.raises(BenchError, match="there is no console port /dev/nothing-here"):
        SerialConsole("/dev/nothing-here", 115200)


def test_a_pulled_cable_is_an_adapter_lost(terminal):
    ours, console, _ = terminal
    os.close(ours)
    with pytest.raises(AdapterLost, match="is gone"):
        console.read(Deadline(10))
    with pytest.raises(AdapterLost):
        console.write(b"x")


def test_console_of_the_virtual_adapter(bench):
    bench.insert()
    socket = bench.open(console="drivers.serial_console")
    console = socket.ports["console"]
    console.write(b"hello from the station\r\n")
    assert read_all(console, 24) == b"HELLO FROM THE STATION\r\n"
    assert socket.ports["presence"].contact().power_good
    bench.handler.unplug(1)
    with pytest.raises(AdapterLost, match="is gone"):
        console.read(Deadline(10))
    socket.close()


def test_held_uart_is_refused(bench):
    bench.bench.state.adapters[0].channels[2].owner = "another program"
    with pytest.raises(BenchError, match="3 is held by another program"):
        bench.open(console="drivers.serial_console")
