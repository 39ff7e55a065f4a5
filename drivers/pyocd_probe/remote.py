"""pyOCD's client of a remote probe, made to notice when the server is gone.

Fact of pyOCD 0.46 that this module works around: its client waits for an answer without end, and takes the end of the
connection for an empty piece of the answer, so that a lost server keeps a core busy for ever.
"""

from __future__ import annotations

from typing import Any

from pyocd.core import exceptions
from pyocd.probe.tcp_client_probe import TCPClientProbe
from pyocd.utility.sockets import ClientSocket

from station.deadline import Deadline

ANSWER_SECONDS = 30.0
"""Longer than any single request takes: the wait for an erasure is many of them."""


class Gone(exceptions.ProbeDisconnected):  # type: ignore[misc]  # pyOCD has no types
    """A probe that is not there any more, with the reason in the station's own words."""


class RemoteProbe(TCPClientProbe):  # type: ignore[misc]  # as above
    """A probe behind a server at ``HOST:PORT``."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self._socket = _HonestSocket(*self._extract_address(place))

    def open(self) -> None:
        """Connect and greet; nothing stays open when that fails."""
        try:
            super().open()
        except BaseException:  # an interrupt, too
            self._hang_up()
            raise

    def close(self) -> None:
        """Say good-bye where somebody listens."""
        try:
            super().close()
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        self._socket.close()
        self._is_open = False


class _HonestSocket(ClientSocket):  # type: ignore[misc]  # as above
    """A connection whose end and whose silence are errors."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._socket: Any = None
        self._deadline: Deadline | None = None

    def close(self) -> None:
        """Close the connection, also a dead one; may be called twice."""
        try:
            super().close()
        except OSError:  # it was dead, and is not closed by that
            self._socket.close()
            self._socket = None

    def write(self, data: bytes) -> None:
        """Send a request; the time for its answer begins."""
        if self._socket is None:
            raise Gone("its connection was lost before")
        self._deadline = Deadline(ANSWER_SECONDS)
        super().write(data)

    def read(self, packet_size: int | None = None) -> bytes:
        """Some bytes of the answer; ``TimeoutError`` for a moment's silence, which pyOCD takes for no news."""
        if self._deadline is not None and self._deadline.passed:
            raise self._over(f"its server did not answer within {ANSWER_SECONDS:g} s")
        data: bytes = super().read(packet_size or self._packet_size)
        if not data:
            raise self._over("its server closed the connection")
        return data

    def _over(self, why: str) -> Gone:
        """Nothing more goes over this connection: a late answer must not be taken for that of another request."""
        self.close()
        return Gone(why)
