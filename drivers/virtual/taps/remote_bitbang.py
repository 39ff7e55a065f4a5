"""OpenOCD's ``remote_bitbang`` protocol over TCP for a virtual TAP: one character per pin change or question.

``0``..``7`` set TCK, TMS, TDI (bits 2, 1, 0); ``R`` asks for TDO; ``r s t u`` set TRST and SRST (bits 1, 0 of their
order); ``B b`` are a lamp; ``Q`` ends the connection.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

_READ_BYTES = 1 << 16
_POLL_SECONDS = 0.2
_JOIN_SECONDS = 5.0


class JtagPads(Protocol):
    """What the server drives: a `Tap` or a `TapMux`."""

    @property
    def tdo(self) -> int:
        """TDO while TCK is low."""

    def clock(self, count: int, tms: int, tdi: int) -> int:
        """Clock TCK cycles."""

    def reset(self) -> None:
        """TRST_N."""


class RemoteBitbang:
    """A server on 127.0.0.1 with a port of the system's choice; one client at a time, until closed."""

    def __init__(
        self,
        pads: JtagPads,
        *,
        lock: threading.Lock | threading.RLock | None = None,
        on_srst: Callable[[bool], None] | None = None,
    ) -> None:
        self._pads = pads
        self._lock = lock if lock is not None else threading.Lock()
        self._on_srst = on_srst
        self._tck = 0
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.settimeout(_POLL_SECONDS)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name="remote-bitbang", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; returns when the thread has ended and the port is closed."""
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.settimeout(_POLL_SECONDS)
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                received = client.recv(_READ_BYTES)
            except TimeoutError:
                continue
            if not received:
                return
            answers, ended = self.handle(received)
            if answers:
                client.sendall(answers)
            if ended:
                return

    def handle(self, received: bytes) -> tuple[bytes, bool]:
        """Carry out a batch of characters: (answers, connection ended)."""
        answers = bytearray()
        pads = self._pads
        with self._lock:
            for character in received:
                if 0x30 <= character <= 0x37:
                    tck = character & 4
                    if tck and not self._tck:
                        pads.clock(1, character >> 1 & 1, character & 1)
                    self._tck = tck
                elif character == 0x52:  # R
                    answers.append(0x30 | pads.tdo)
                elif 0x72 <= character <= 0x75:  # r s t u
                    self._resets(character - 0x72)
                elif character == 0x51:  # Q
                    return bytes(answers), True
        return bytes(answers), False

    def _resets(self, lines: int) -> None:
        if lines & 2:
            self._pads.reset()
        if self._on_srst is not None:
            self._on_srst(bool(lines & 1))
