"""The wire between the station's process and the virtual bench: length-prefixed frames over loopback TCP.

A frame is a 32-bit little-endian length and a body. Requests start with an operation byte, answers with a 32-bit errno
(0 = good). The first frame of every connection carries the bench's key and the client's session; the bench gives back
the claims of a session when its last connection is gone, as an operating system does for a process.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENVIRONMENT = "STATION_VIRTUAL_BENCH"
HELLO, LIST, CONTROL, CLAIM, RELEASE, CONFIGURE, VENDOR, OUT, IN = range(1, 10)
SESSION = 16
LONGEST = 1 << 26
ANSWER_SECONDS = 60.0

DEVICE = struct.Struct("<BB")
INTERFACE = struct.Struct("<BBB")
SETUP = struct.Struct("<BBBBHHH")
BULK_OUT = struct.Struct("<BBBI")
BULK_IN = struct.Struct("<BBBII")
LENGTH = struct.Struct("<I")
STATUS = struct.Struct("<i")


class LinkError(OSError):
    """The bench answered with an errno, or is gone (ENODEV)."""


def send_frame(connection: socket.socket, body: bytes) -> None:
    """Send one frame in one piece."""
    connection.sendall(LENGTH.pack(len(body)) + body)


def receive_frame(connection: socket.socket) -> bytes:
    """Receive one frame; empty when the other side is gone."""
    head = _exactly(connection, LENGTH.size)
    if not head:
        return b""
    (length,) = LENGTH.unpack(head)
    return _exactly(connection, length) if 0 < length <= LONGEST else b""


def _exactly(connection: socket.socket, count: int) -> bytes:
    first = connection.recv(count)
    if len(first) == count or not first:
        return first
    parts = bytearray(first)
    while len(parts) < count:
        piece = connection.recv(count - len(parts))
        if not piece:
            return b""
        parts += piece
    return bytes(parts)


class BenchLink:
    """A client's session with one bench; any number of threads may call it."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._session = os.urandom(SESSION)
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def from_file(cls, bench_json: Path) -> BenchLink:
        """Open the link that ``bench.json`` describes; raises ``LinkError`` when the file cannot be used."""
        try:
            body = json.loads(bench_json.read_text())
            return cls(int(body["port"]), str(body["key"]))
        except FileNotFoundError:
            raise LinkError(errno.ENODEV, "it is not running") from None
        except (OSError, ValueError, KeyError) as error:
            raise LinkError(errno.ENODEV, f"{bench_json} describes no virtual bench ({error})") from None

    def call(self, request: bytes) -> bytes:
        """One round trip; raises ``LinkError`` with the bench's errno."""
        connection = self._take()
        try:
            send_frame(connection, request)
            answer = receive_frame(connection)
        except OSError:
            answer = b""
        if not answer:
            connection.close()
            raise LinkError(errno.ENODEV, "the virtual bench is gone")
        self._give_back(connection)
        (status,) = STATUS.unpack_from(answer)
        if status:
            raise LinkError(status, answer[STATUS.size :].decode())
        return answer[STATUS.size :]

    def control(self, command: Mapping[str, object]) -> Any:
        """One command of the JSON control channel; returns its result."""
        return json.loads(self.call(bytes((CONTROL,)) + json.dumps(dict(command)).encode()))

    def close(self) -> None:
        """Close all connections; claims of this session are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> socket.socket:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, connection: socket.socket) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> socket.socket:
        try:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
        except OSError as error:
            raise LinkError(errno.ENODEV, f"the virtual bench does not answer ({error})") from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        send_frame(connection, bytes((HELLO,)) + self._session + self._key.encode())
        if not receive_frame(connection):
            connection.close()
            raise LinkError(errno.EACCES, "the virtual bench refused the key")
        return connection
