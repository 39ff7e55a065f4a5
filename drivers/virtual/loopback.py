"""A listener on a loopback port with one thread per connection, which it ends and joins when it stops."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

Serve = Callable[[socket.socket], None]


class LoopbackListener:
    """Accepts connections; ``serve`` runs in a thread of its own for each and returns when the connection is over."""

    def __init__(self, serve: Serve, name: str) -> None:
        self._serve = serve
        self._name = name
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = False

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return int(self._listener.getsockname()[1])

    @property
    def busy(self) -> bool:
        """True while anybody is connected."""
        with self._lock:
            return bool(self._connections)

    def start(self) -> None:
        """Accept connections in a thread."""
        self._start(self._accept)

    def drop(self) -> None:
        """End all connections; new ones are accepted."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _shut(connection)

    def stop(self) -> None:
        """Close the listener and all connections and wait for their threads."""
        with self._lock:
            self._stopping = True
        _shut(self._listener)  # wakes a blocked accept
        self._listener.close()
        self.drop()
        for thread in self._threads:
            thread.join(timeout=5)

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=self._name, daemon=True)
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            thread.start()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            self._start(lambda connection=connection: self._run(connection))  # type: ignore[misc]

    def _run(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve(connection)
        except OSError:
            pass  # the client is gone
        finally:
            connection.close()
            with self._lock:
                self._connections.discard(connection)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
