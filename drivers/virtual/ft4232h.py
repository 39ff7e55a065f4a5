"""A virtual FT4232H: descriptors, vendor requests, four channels (MPSSE on A and B, UART and bit-bang on all).

Sources: DS_FT4232H, AN_108, AN_135; request numbers as used by pyftdi. Where the documents are silent the model takes
the case that hurts a careless driver: a mode switch lets go of the pins, a fresh MPSSE engine drives its outputs low,
a fresh bit-bang latch is high, SET_CONFIGURATION resets all channels.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Any

from drivers.virtual.mpsse import FIFO, Mpsse, Wires
from drivers.virtual.socket import BankWires, JtagWires, SpiWires, VirtualSocket

VENDOR, PRODUCT, VERSION = 0x0403, 0x6011, 0x0800
PACKET = 512
STRINGS = {1: "Virtual bench", 2: "FT4232H virtual adapter"}

MODE_UART, MODE_BITBANG, MODE_MPSSE, MODE_SYNC_BITBANG = 0x00, 0x01, 0x02, 0x04
UART_DIRECTION = 0b0001_0101  # TXD, RTS#, DTR# are outputs and idle high
UART_POLL = 0.003
MODEM_CTS, MODEM_DSR = 0x10, 0x20
LINE_EMPTY, LINE_OVERRUN = 0x60, 0x02


class UsbFault(Exception):
    """A transfer ends with this errno."""

    def __init__(self, number: int, text: str) -> None:
        self.errno = number
        super().__init__(text)


class Channel:
    """One of the four interfaces."""

    def __init__(self, socket: VirtualSocket, bank: str) -> None:
        self.bank = bank
        self.owner: str | None = None
        self.transfers = {"out": 0, "in": 0, "out_bytes": 0, "in_bytes": 0, "control": 0}
        self._socket = socket
        self._wires: Wires = {"A": JtagWires, "B": SpiWires}.get(bank, BankWires)(socket, bank)
        self.engine = Mpsse(self._wires)
        self._lock = threading.RLock()
        self._received = bytearray()
        self._overrun = False
        self._direction = 0
        self.reset_all()

    def reset_all(self) -> None:
        """Power-up state: UART, latency 16 ms."""
        with self._lock:
            self.mode = MODE_UART
            self.latency = 16
            self.baud_divisor = 0
            self._latch = 0xFF
            self._received.clear()
            self.engine.enter(0)
            self._wires.drive(0xFF, UART_DIRECTION)

    def let_go(self) -> None:
        """No power on the adapter: every pin is an input."""
        with self._lock:
            self._wires.drive(0, 0)

    # ---- vendor requests ------------------------------------------------------------------------------------------

    def request_out(self, request: int, value: int) -> None:
        """A vendor OUT request for this channel."""
        with self._lock:
            if request == 0x00:
                self._sio_reset(value)
            elif request == 0x03:
                self.baud_divisor = value
            elif request == 0x09:
                self.latency = value & 0xFF
            elif request == 0x0B:
                self._set_mode(value >> 8, value & 0xFF)
            elif request not in (0x01, 0x02, 0x04, 0x06, 0x07):
                raise UsbFault(errno.EPIPE, f"request {request:#04x} stalled")

    def request_in(self, request: int) -> bytes:
        """A vendor IN request for this channel."""
        with self._lock:
            if request == 0x05:
                return self._status()
            if request == 0x0A:
                return bytes((self.latency,))
            if request == 0x0C:
                return bytes((self._wires.sample(),))
            raise UsbFault(errno.EPIPE, f"request {request:#04x} stalled")

    def _sio_reset(self, kind: int) -> None:
        if kind in (0, 1):
            self.engine.purge_commands()
        if kind in (0, 2):
            self.engine.purge_replies()
            self._received.clear()

    def _set_mode(self, mode: int, direction: int) -> None:
        if mode == MODE_MPSSE and self.bank not in "AB":
            raise UsbFault(errno.EPIPE, f"channel {self.bank} has no MPSSE")
        if mode == MODE_UART:
            self._latch = 0xFF
            self._wires.drive(0xFF, UART_DIRECTION)
        elif mode == MODE_MPSSE:
            self.engine.enter(direction)
        elif mode in (MODE_BITBANG, MODE_SYNC_BITBANG):
            self._direction = direction
            self._wires.drive(self._latch, direction)
        else:
            raise UsbFault(errno.EPIPE, f"mode {mode:#04x} is not an FT4232H mode")
        self.mode = mode

    def _status(self) -> bytes:
        modem = 0x02
        if self.bank == "C" and self._socket.power_good:
            modem |= MODEM_DSR
        line = LINE_EMPTY | (LINE_OVERRUN if self._overrun else 0)
        return bytes((modem, line))

    # ---- bulk transfers -------------------------------------------------------------------------------------------

    def write(self, data: bytes, timeout: float) -> int:
        """Bulk OUT; raises a time-out when the engine is stuck behind a full reply buffer."""
        with self._lock:
            self.transfers["out"] += 1
            self.transfers["out_bytes"] += len(data)
            if self.mode == MODE_MPSSE:
                self.engine.feed(data)
                stuck = self.engine.stuck
            elif self.mode == MODE_UART:
                stuck = False
                if self.bank == "C":
                    self._socket.uart_give(data)
            else:
                stuck = False
                for self._latch in data:
                    self._wires.drive(self._latch, self._direction)
        if stuck:
            time.sleep(min(timeout, 0.2))
            raise UsbFault(errno.ETIMEDOUT, "the channel takes no more bytes")
        return len(data)

    def read(self, length: int, timeout: float) -> bytes:
        """Bulk IN: packets of two status bytes and payload; waits the latency timer when nothing asks for haste."""
        end = time.monotonic() + min(self.latency / 1000, timeout)
        packets = max(1, length // PACKET)
        room = packets * (PACKET - 2)
        while not self._ready(room):
            left = end - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, UART_POLL))
        with self._lock:
            payload = self._take(room)
            status = self._status()
            self._overrun = False
            self.transfers["in"] += 1
            self.transfers["in_bytes"] += len(payload)
        step = PACKET - 2
        return b"".join(status + payload[at : at + step] for at in range(0, max(len(payload), 1), step))[:length]

    def _ready(self, room: int) -> bool:
        with self._lock:
            if self.mode == MODE_MPSSE:
                return (self.engine.flush and bool(self.engine.reply)) or len(self.engine.reply) >= min(
                    room, PACKET - 2
                )
            if self.mode == MODE_UART:
                self._poll_uart()
                return bool(self._received)
            return True

    def _poll_uart(self) -> None:
        if self.bank == "C":
            self._received += self._socket.uart_take()
            if len(self._received) > FIFO:
                self._overrun = True
                del self._received[FIFO:]

    def _take(self, room: int) -> bytes:
        if self.mode in (MODE_BITBANG, MODE_SYNC_BITBANG):
            return bytes((self._wires.sample(),)) * min(room, 16)
        source = self.engine.reply if self.mode == MODE_MPSSE else self._received
        taken = bytes(source[:room])
        del source[: len(taken)]
        if self.mode == MODE_MPSSE:
            self.engine.run()
            if not self.engine.reply:
                self.engine.flush = False
        return taken


class Ft4232h:
    """The adapter on its bus: address changes with every plugging."""

    def __init__(
        self, socket: VirtualSocket, serial: str, bus: int, port: int, address: int, on_transfer: Callable[[], None]
    ) -> None:
        self.on_transfer = on_transfer
        self.serial = serial
        self.bus = bus
        self.port = port
        self.address = address
        self.plugged = True
        self.channels = [Channel(socket, bank) for bank in "ABCD"]

    def entry(self) -> dict[str, Any]:
        """What enumeration shows."""
        return {"serial": self.serial, "bus": self.bus, "address": self.address, "ports": [self.port]}

    def details(self) -> dict[str, Any]:
        """What enumeration shows, with the transfers and clock cycles of each channel."""
        channels = {channel.bank: {"mode": channel.mode, **channel.transfers} for channel in self.channels}
        tck = {channel.bank: channel.engine.tck for channel in self.channels}
        return {**self.entry(), "channels": channels, "tck": tck}

    @property
    def busy(self) -> bool:
        """It has no port of its own: who works with it is connected to the bench."""
        return False

    def start(self) -> None:
        """Nothing to open."""

    def stop(self) -> None:
        """Nothing to close."""

    def unplug(self) -> None:
        """Pull the cable: claims are gone and all pins float."""
        self.plugged = False
        for channel in self.channels:
            channel.owner = None
            channel.reset_all()
            channel.let_go()

    def replug(self, address: int) -> None:
        """Plug in again: power-up state under another address."""
        self.address = address
        self.plugged = True
        for channel in self.channels:
            channel.reset_all()

    def claim(self, session: str, interface: int) -> None:
        """Claim one interface for a client; EBUSY when another one holds it."""
        channel = self.channels[interface]
        if channel.owner not in (None, session):
            raise UsbFault(errno.EBUSY, "Resource busy")
        channel.owner = session

    def release(self, session: str, interface: int) -> None:
        """Give an interface back; nothing happens to its pins."""
        if self.channels[interface].owner == session:
            self.channels[interface].owner = None

    def release_all(self, session: str) -> None:
        """A client is gone."""
        for interface in range(4):
            self.release(session, interface)

    def set_configuration(self) -> None:
        """Refused while anything is claimed, as by the operating system; else it resets all channels."""
        if any(channel.owner for channel in self.channels):
            raise UsbFault(errno.EBUSY, "Resource busy")
        for channel in self.channels:
            channel.reset_all()

    def owned(self, session: str, endpoint: int) -> Channel:
        """The channel of an endpoint, for its owner only."""
        channel = self.channels[((endpoint & 0x0F) - 1) // 2]
        if channel.owner != session:
            raise UsbFault(errno.EBUSY, "Resource busy")
        return channel

    def control(self, request_type: int, request: int, value: int, index: int, length: int) -> bytes:
        """Control transfer on endpoint 0; returns the data stage of an IN request."""
        if (request_type, request) == (0x80, 0x06):
            return self._descriptor(value)[:length]
        if request_type not in (0x40, 0xC0):
            raise UsbFault(errno.EPIPE, f"request type {request_type:#04x} stalled")
        channel = self.channels[max((index & 0xFF) - 1, 0) % 4]
        channel.transfers["control"] += 1
        if request_type == 0x40:
            channel.request_out(request, value)
            return b""
        return channel.request_in(request)[:length]

    def _descriptor(self, value: int) -> bytes:
        if value >> 8 != 3:
            raise UsbFault(errno.EPIPE, f"descriptor {value:#06x} stalled")
        number = value & 0xFF
        if number == 0:
            return bytes((4, 3, 0x09, 0x04))
        text = self.serial if number == 3 else STRINGS.get(number)
        if text is None:
            raise UsbFault(errno.EPIPE, f"there is no string {number}")
        raw = text.encode("utf-16-le")
        return bytes((len(raw) + 2, 3)) + raw
