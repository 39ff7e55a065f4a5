"""The console UART of the chip: text of ROM, ROM_EXT and owner firmware; 115200 8N1 on the wire."""

from __future__ import annotations

LIMIT = 65536


class Uart:
    """A transmit queue that the bench empties; what the bench sends is kept for programs that read it."""

    def __init__(self) -> None:
        self._sent = bytearray()
        self.received = bytearray()

    def reset(self) -> None:
        """The receiver forgets; what is already on its way out stays on the wire."""
        self.received.clear()

    def send(self, text: str) -> None:
        """Queue text; with nobody reading, the oldest is lost as on an open wire."""
        self._sent += text.encode("ascii", errors="replace")
        del self._sent[:-LIMIT]

    def take(self) -> bytes:
        """Everything sent since the last call."""
        sent = bytes(self._sent)
        self._sent.clear()
        return sent

    def give(self, data: bytes) -> None:
        """Bytes from the bench."""
        self.received += data
        del self.received[:-LIMIT]
