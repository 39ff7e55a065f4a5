"""Serves USB transfers and control commands of the virtual bench on a loopback port, one thread per connection."""

from __future__ import annotations

import errno
import hmac
import json
import os
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from drivers.virtual import link
from drivers.virtual.bench_state import BenchState
from drivers.virtual.ft4232h import Ft4232h, UsbFault
from drivers.virtual.loopback import LoopbackListener


class BenchServer:
    """Connections and sessions of the bench's own link."""

    def __init__(self, state: BenchState) -> None:
        self._state = state
        self._key = secrets.token_hex(32)
        self._listener = LoopbackListener(self._serve, "virtual-bench")
        self._sessions: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._handlers: dict[int, Callable[[bytes, str], bytes]] = {
            link.LIST: self._list,
            link.CONTROL: self._control,
            link.CLAIM: self._claim,
            link.RELEASE: self._release,
            link.CONFIGURE: self._configure,
            link.VENDOR: self._vendor,
            link.OUT: self._out,
            link.IN: self._in,
        }

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._listener.port

    def write_address(self, place: Path, remote_bitbang: Mapping[str, int]) -> None:
        """Write port, key, process id and the remote_bitbang ports to a file only the owner can read."""
        body = json.dumps({"port": self.port, "key": self._key, "pid": os.getpid(), "remote_bitbang": remote_bitbang})
        fresh = place.with_name(place.name + ".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(body)
        os.replace(fresh, place)

    @property
    def busy(self) -> bool:
        """True while anybody is connected: an engine may be in the middle of a burn."""
        return self._listener.busy

    def start(self) -> None:
        """Accept connections in a thread."""
        self._listener.start()

    def stop(self) -> None:
        """Close the listener and all connections and wait for their threads."""
        self._listener.stop()

    def _serve(self, connection: socket.socket) -> None:
        session = ""
        try:
            session = self._greet(connection)
            while session and (request := link.receive_frame(connection)):
                link.send_frame(connection, self._answer(request, session))
        finally:
            self._leave(session)

    def _greet(self, connection: socket.socket) -> str:
        hello = link.receive_frame(connection)
        key = hello[1 + link.SESSION :]
        if not hello or hello[0] != link.HELLO or not hmac.compare_digest(key, self._key.encode()):
            return ""
        session = hello[1 : 1 + link.SESSION].hex()
        with self._lock:
            self._sessions[session] += 1
        link.send_frame(connection, link.STATUS.pack(0))
        return session

    def _leave(self, session: str) -> None:
        with self._lock:
            if not session:
                return
            self._sessions[session] -= 1
            gone = self._sessions[session] <= 0
        if gone:
            self._state.release_session(session)

    def _answer(self, request: bytes, session: str) -> bytes:
        try:
            handler = self._handlers.get(request[0])
            if handler is None:
                raise UsbFault(errno.ENOSYS, f"unknown operation {request[0]}")
            return link.STATUS.pack(0) + handler(request, session)
        except UsbFault as fault:
            return link.STATUS.pack(fault.errno) + str(fault).encode()
        except Exception as error:  # a mistake in a model must reach the test, not end the connection
            return link.STATUS.pack(errno.EIO) + f"{type(error).__name__}: {error}".encode()

    # ---- operations -----------------------------------------------------------------------------------------------

    def _list(self, request: bytes, session: str) -> bytes:
        return json.dumps([adapter.entry() for adapter in self._state.usb_adapters()]).encode()

    def _control(self, request: bytes, session: str) -> bytes:
        try:
            return json.dumps(self._state.command(json.loads(request[1:]))).encode()
        except (ValueError, KeyError) as error:
            raise UsbFault(errno.EINVAL, str(error)) from None

    def _adapter(self, address: int) -> Ft4232h:
        adapter = self._state.adapter_at(address)
        if adapter is None:
            raise UsbFault(errno.ENODEV, "No such device (it may have been disconnected)")
        return adapter

    def _claim(self, request: bytes, session: str) -> bytes:
        _, address, interface = link.INTERFACE.unpack(request)
        self._adapter(address).claim(session, interface)
        return b""

    def _release(self, request: bytes, session: str) -> bytes:
        _, address, interface = link.INTERFACE.unpack(request)
        self._adapter(address).release(session, interface)
        return b""

    def _configure(self, request: bytes, session: str) -> bytes:
        _, address = link.DEVICE.unpack(request)
        self._adapter(address).set_configuration()
        return b""

    def _vendor(self, request: bytes, session: str) -> bytes:
        _, address, kind, code, value, index, length = link.SETUP.unpack(request)
        return self._adapter(address).control(kind, code, value, index, length)

    def _out(self, request: bytes, session: str) -> bytes:
        _, address, endpoint, timeout = link.BULK_OUT.unpack_from(request)
        adapter = self._adapter(address)
        channel = adapter.owned(session, endpoint)
        adapter.on_transfer()
        self._adapter(address)  # an armed unplug may just have struck
        return link.LENGTH.pack(channel.write(request[link.BULK_OUT.size :], timeout / 1000))

    def _in(self, request: bytes, session: str) -> bytes:
        _, address, endpoint, length, timeout = link.BULK_IN.unpack(request)
        channel = self._adapter(address).owned(session, endpoint)
        data = channel.read(length, timeout / 1000)
        self._adapter(address)
        return data
