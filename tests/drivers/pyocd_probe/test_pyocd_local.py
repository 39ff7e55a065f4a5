"""A probe on USB has no memory interface of its own: the same driver over registers of access ports, TAR and DRW.

The probe here is pyOCD's base class over the pads of a virtual part; it does what a CMSIS-DAP probe does with them.
"""

from __future__ import annotations

import random
import threading

import pytest
from pyocd.core import exceptions
from pyocd.probe.debug_probe import DebugProbe
from pyocd_bench import opened_up, switch_net_on

from drivers.pyocd_probe import link as links
from drivers.virtual.nrf.debug_port import NoAcknowledge, TransferFault
from station.errors import BenchError, PartError
from station.model import DebugAccess, ResetKind, Segment

DATA = random.Random(7).randbytes(0x1800)


class PadProbe(DebugProbe):
    """SWD through the debug port of a virtual socket; counts what it carries."""

    def __init__(self, wire):
        super().__init__()
        self._wire, self._protocol, self._open = wire, None, False
        self.words = self.single = 0

    vendor_name, product_name, unique_id = "test", "pads", "pads"
    supported_wire_protocols = (DebugProbe.Protocol.DEFAULT, DebugProbe.Protocol.SWD)
    capabilities = frozenset({DebugProbe.Capability.SWJ_SEQUENCE, DebugProbe.Capability.BANKED_DP_REGISTERS})
    wire_protocol = property(lambda self: self._protocol)
    is_open = property(lambda self: self._open)

    def create_associated_board(self):
        return None

    def get_memory_interface_for_ap(self, ap_address):
        return None

    def open(self):
        self._open = True

    def close(self):
        self._open = False

    def connect(self, protocol=None):
        self._protocol = DebugProbe.Protocol.SWD

    def disconnect(self):
        self._protocol = None

    def set_clock(self, frequency):
        self.clock = frequency

    def flush(self):
        """Nothing is queued."""

    def swj_sequence(self, length, bits):
        try:
            self._wire.debug_port.line_reset(bits.bit_count())
        except NoAcknowledge:
            pass

    def assert_reset(self, asserted):
        self._wire.reset_pin(asserted)

    def read_dp(self, addr, now=True):
        return self._read(lambda port: port.read_dp(addr), now)

    def write_dp(self, addr, data):
        self._on_port(lambda port: port.write_dp(addr, data))

    def read_ap(self, addr, now=True):
        return self._read(lambda port: port.read_ap(addr), now)

    def write_ap(self, addr, data):
        self.single += 1
        self._on_port(lambda port: port.write_ap(addr, data))

    def read_ap_multiple(self, addr, count=1, now=True):
        return self._read(lambda port: [port.read_ap(addr) for _ in range(count)], now)

    def write_ap_multiple(self, addr, values):
        self.words += len(values)
        for value in values:
            self._on_port(lambda port, value=value: port.write_ap(addr, value))

    def _read(self, access, now):
        """Refused at once or, as pyOCD wants it, when the answer is asked for."""
        if now:
            return self._on_port(access)
        return lambda: self._on_port(access)

    def _on_port(self, access):
        try:
            return access(self._wire.debug_port)
        except NoAcknowledge as error:
            raise exceptions.TransferError(str(error)) from None
        except TransferFault as error:
            raise exceptions.TransferFaultError(str(error)) from None


@pytest.fixture
def pads(bench, monkeypatch):
    probe = PadProbe(bench.bench.state.sockets[0])
    monkeypatch.setattr(links, "_probe_at", lambda address: probe)
    return probe


def test_a_whole_programming_over_tar_and_drw(bench, pads):
    bench.insert()
    probe = bench.open().ports["probe"]
    assert pads.clock == 1_000_000
    port = probe.attach()
    assert port.access_ports[bench.family.app.ctrl_ap] == 0x1288_0000
    with pytest.raises(PartError, match="app core to be open, but it is closed"):
        probe.read_words("app", 0, 1)
    opened_up(probe, bench.family)
    probe.program("app", [Segment(0x1000, DATA)])
    assert pads.words >= len(DATA) // 4 and pads.single < len(DATA) // 16, "blocks, not words"
    words = probe.read_words("app", 0x1000, len(DATA) // 4)
    assert b"".join(word.to_bytes(4, "little") for word in words) == DATA
    switch_net_on(probe)
    probe.program("net", [Segment(0x0100_0000, DATA)])
    assert probe.read_words("net", 0x0100_0000, 1) == [int.from_bytes(DATA[:4], "little")]
    probe.reset(ResetKind.SYSTEM)
    probe.attach()
    assert probe.access("app") is DebugAccess.OPEN
    probe.reset(ResetKind.PIN)
    probe.attach()
    assert probe.access("app") is DebugAccess.CLOSED


def test_a_failed_attempt_in_one_thread_leaves_the_probe_to_the_others(bench, pads):
    """pyOCD's own connect keeps its lock when nobody answers; a lock belongs to its thread."""
    socket = bench.open()
    failed = []

    def attempt():
        with pytest.raises(BenchError, match="does not answer on SWD"):
            socket.ports["probe"].attach()
        failed.append(True)

    for _ in range(2):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert failed == [True, True]
    bench.insert()
    looked = []
    thread = threading.Thread(target=lambda: looked.append(socket.ports["presence"].contact()), daemon=True)
    thread.start()
    thread.join(10)
    assert looked and looked[0].present
    assert socket.ports["probe"].attach().dpidr
