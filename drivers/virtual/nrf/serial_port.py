"""One serial port of a probe as RFC 2217 over loopback, so that rate and DTR are real.

The probe's interface chip drives the line only while the host asserts DTR: what the part sends before is lost. At
another rate than the part's the host sees noise. One client at a time has the port.
"""

from __future__ import annotations

import hashlib
import queue
import socket
import threading
from typing import Any

from serial import PARITY_NONE, STOPBITS_ONE
from serial.rfc2217 import PortManager

from drivers.virtual.loopback import LoopbackListener

QUEUE = 4096
"""Pieces that wait for a client that does not read; more are lost."""


class Settings:
    """The port's settings as ``PortManager`` reads and writes them (the attributes of a pyserial object)."""

    cts = dsr = True
    ri = cd = False

    def __init__(self) -> None:
        self.baudrate = 0
        self.bytesize = 8
        self.parity = PARITY_NONE
        self.stopbits = STOPBITS_ONE
        self.xonxoff = self.rtscts = self.break_condition = False
        self.dtr = self.rts = False

    def reset_input_buffer(self) -> None:
        """Nothing is kept on this side."""

    def reset_output_buffer(self) -> None:
        """Nothing is kept on this side."""


class SerialPort:
    """A port; ``receive`` may be called from any thread and never waits."""

    def __init__(self) -> None:
        self._listener = LoopbackListener(self._serve, "virtual serial port")
        self._lock = threading.Lock()
        self._settings: Settings | None = None
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.plugged = True
        self.dropped = 0
        self.delivered = 0

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._listener.port

    @property
    def busy(self) -> bool:
        """Whether somebody has it open."""
        return self._listener.busy

    def start(self) -> None:
        """Accept clients."""
        self._listener.start()

    def stop(self) -> None:
        """End the client and close the port."""
        self._listener.stop()

    def plug(self, plugged: bool) -> None:
        """The probe's USB cable: without it the port is gone, and with it its client."""
        self.plugged = plugged
        if not plugged:
            self._listener.drop()

    def receive(self, data: bytes, baud: int) -> None:
        """Bytes that the part puts on the wire at this rate."""
        with self._lock:
            settings = self._settings
            if settings is None or not settings.dtr or self._outgoing.qsize() >= QUEUE:
                self.dropped += len(data)
                return
            self.delivered += len(data)
            if settings.baudrate != baud or settings.bytesize != 8 or settings.parity != PARITY_NONE:
                data = hashlib.shake_128(data + baud.to_bytes(4, "little")).digest(len(data))
            self._outgoing.put(data)

    def state(self) -> dict[str, object]:
        """What tests want to know."""
        with self._lock:
            settings = self._settings
            return {
                "port": self.port,
                "open": settings is not None,
                "dtr": bool(settings and settings.dtr),
                "baud": settings.baudrate if settings else 0,
                "dropped": self.dropped,
                "delivered": self.delivered,
            }

    def _serve(self, connection: socket.socket) -> None:
        settings = Settings()
        with self._lock:
            if self._settings is not None or not self.plugged:
                return
            self._settings = settings
            self._outgoing = outgoing = queue.SimpleQueue[bytes | None]()
        link = _Link(connection)
        manager: Any = PortManager(settings, link)  # type: ignore[arg-type]  # duck-typed, as its documentation says
        writer = threading.Thread(
            target=_write, args=(link, manager, outgoing), name="virtual serial port writer", daemon=True
        )
        writer.start()
        try:
            while data := connection.recv(1024):
                for _ in manager.filter(data):
                    pass  # no firmware here reads its UART
        finally:
            with self._lock:
                self._settings = None
            outgoing.put(None)
            connection.close()  # a writer that waits for the client's window ends
            writer.join()


class _Link:
    """Both threads of a connection write through this."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        with self._lock:
            self._connection.sendall(data)


def _write(link: _Link, manager: Any, outgoing: queue.SimpleQueue[bytes | None]) -> None:
    while (data := outgoing.get()) is not None:
        try:
            link.write(b"".join(manager.escape(data)))
        except OSError:
            return  # the client is gone; its reader ends this
