"""A socket for a Nordic part: SWD, reset pin and two UARTs to a debug probe; its lid presses the part on the contacts.

While the lid is open nothing touches the part: it has no power, and neither SWD nor the consoles answer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drivers.virtual.nrf.chip import NordicChip
from drivers.virtual.nrf.debug_port import DebugPort, NoAcknowledge
from drivers.virtual.place import Place

Receive = Callable[[str, bytes, int], None]


class NordicSocket(Place[NordicChip]):
    """What sits between probe and part; every method may be called from any thread."""

    def __init__(self, number: int, open_chip: Callable[[Path], NordicChip]) -> None:
        super().__init__(number, open_chip)
        self.receive: Receive = lambda console, data, baud: None
        self.reset_is_low = False
        self._port: DebugPort | None = None

    def _seat(self, chip: NordicChip) -> None:
        chip.send_uart = self.receive
        chip.reset_pin(self.reset_is_low)
        self._port = DebugPort(chip)

    def remove(self) -> str:
        """Take the part out."""
        with self._lock:
            label = super().remove()
            self._port = None
            return label

    def lid(self, closed: bool) -> None:
        """Open or close the lid; the part loses or gets its power."""
        with self._lock:
            super().lid(closed)
            if self._chip is not None:
                self._chip.power(self._supplied)

    @property
    def _supplied(self) -> bool:
        return self.supply_on and self.lid_closed

    @property
    def debug_port(self) -> DebugPort:
        """The part's SWD port; raises ``NoAcknowledge`` with the reason when nobody can answer."""
        port = self._port
        if port is None:
            raise NoAcknowledge(f"nobody acknowledges: socket {self.number} is empty")
        if not self.lid_closed:
            raise NoAcknowledge(f"nobody acknowledges: the lid of socket {self.number} is open")
        return port

    def reset_pin(self, low: bool) -> None:
        """The probe drives or releases the reset pin."""
        with self._lock:
            self.reset_is_low = low
            if self._chip is not None:
                self._chip.reset_pin(low)

    def state(self) -> dict[str, object]:
        """Sensors, the reset pin and the part's own view."""
        with self._lock:
            return {**super().state(), "reset_is_low": self.reset_is_low}
