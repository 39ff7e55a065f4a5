"""pyOCD's client of a remote probe, made to notice when the server is gone.

Fact of pyOCD 0.46 that this module works around: its client waits for an answer without end, and takes the end of the
connection for an empty piece of the answer, so that a lost server keeps a core busy for ever.
"""

from __future__ import annotations

from pyocd.core import exceptions
from pyocd.probe.tcp_client_probe import TCPClientProbe
from pyocd.utility.sockets import ClientSocket

from station.deadline import Deadline

ANSWER_SECONDS = 30.0
"""Longer than any single request takes: the wait for an erasure is many of them."""


class RemoteProbe(TCPClientProbe):  # type: ignore[misc]  # pyOCD has no types
    """A probe behind a server at ``HOST:PORT``."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self._socket = _HonestSocket(*self._extract_address(place))


class _HonestSocket(ClientSocket):  # type: ignore[misc]  # as above
    """A connection whose end and whose silence are errors."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._deadline: Deadline | None = None

    def write(self, data: bytes) -> None:
        """Send a request; the time for its answer begins."""
        self._deadline = Deadline(ANSWER_SECONDS)
        super().write(data)

    def read(self, packet_size: int | None = None) -> bytes:
        """Some bytes of the answer; ``TimeoutError`` for a moment's silence, which pyOCD takes for no news."""
        if self._deadline is not None and self._deadline.passed:
            raise exceptions.ProbeDisconnected(f"its server did not answer within {ANSWER_SECONDS:g} s")
        data: bytes = super().read(packet_size or self._packet_size)
        if not data:
            raise exceptions.ProbeDisconnected("its server closed the connection")
        return data
