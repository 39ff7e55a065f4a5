"""A virtual debug probe with its serial ports, as a development kit has them: one USB cable, several functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drivers.virtual.nrf.probe_server import ProbeServer
from drivers.virtual.nrf.serial_port import SerialPort
from drivers.virtual.nrf.socket import NordicSocket

INTERFACES: dict[tuple[str, ...], dict[str, int]] = {("app",): {"app": 0}, ("app", "net"): {"app": 2, "net": 0}}
"""USB interface number of each core's console, as on the kits: on the nRF5340 DK the network core's comes first."""


class VirtualProbe:
    """Implements ``Adapter``; ``plugging`` counts how often it was plugged in, 0 while it is not."""

    def __init__(
        self,
        socket: NordicSocket,
        serial: str,
        address: int,
        consoles: tuple[str, ...],
        on_transfer: Callable[[], None],
    ) -> None:
        self.serial = serial
        self.address = address
        self.plugged = True
        self._pluggings = 1
        self._socket = socket
        self._server = ProbeServer(socket, lambda name: on_transfer(), lambda: self.plugging)
        self._ports = {name: SerialPort() for name in consoles}
        self._interfaces = INTERFACES[consoles]
        socket.receive = self._receive

    @property
    def plugging(self) -> int:
        """Number of this plugging; 0 while the cable is pulled."""
        return self._pluggings if self.plugged else 0

    @property
    def busy(self) -> bool:
        """Whether a host works with the probe or one of its serial ports."""
        return self._server.busy or any(port.busy for port in self._ports.values())

    def start(self) -> None:
        """Open the probe's port and the serial ports."""
        self._server.start()
        for port in self._ports.values():
            port.start()

    def stop(self) -> None:
        """Close them."""
        self._server.stop()
        for port in self._ports.values():
            port.stop()

    def unplug(self) -> None:
        """Pull the cable: the serial ports are gone, the probe says so, the reset pin is let go."""
        self.plugged = False
        for port in self._ports.values():
            port.plug(False)
        self._socket.reset_pin(False)

    def replug(self, address: int) -> None:
        """Plug in again; clients must open the probe anew."""
        self.address = address
        self._pluggings += 1
        self.plugged = True
        for port in self._ports.values():
            port.plug(True)

    def release_all(self, session: str) -> None:
        """Sessions of the bench's own link hold nothing here."""

    def details(self) -> dict[str, Any]:
        """Where it is found, and what was asked of it: ``requests`` by name since the bench started."""
        return {
            "serial": self.serial,
            "address": self.address,
            "probe_port": self._server.port,
            "requests": dict(self._server.requests),
            "clock": self._server.clock,
            "consoles": {str(self._interfaces[name]): port.state() for name, port in self._ports.items()},
        }

    def _receive(self, console: str, data: bytes, baud: int) -> None:
        port = self._ports.get(console)
        if port is not None:
            port.receive(data, baud)
