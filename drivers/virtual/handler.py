"""The virtual handler: hands that put parts into the virtual bench's sockets, for demo, tests and window."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivers.virtual.link import ENVIRONMENT, BenchLink, LinkError
from station.errors import BenchError, ConfigError


class VirtualHandler:
    """Implements ``station.ports.Handler``, and the levers only a virtual bench has."""

    def __init__(self, bench_json: Path) -> None:
        try:
            self._link = BenchLink.from_file(bench_json)
        except LinkError as error:
            raise BenchError(f"{error.strerror}; start it with: station simulate") from None

    def insert(self, socket: int, label: str) -> None:
        """Put the part with this label into the socket; a label never seen is a fresh die.

        ``NAME@LOT/WAFER/X/Y`` says where on a wafer a fresh die comes from; without it nobody knows.
        """
        name, _, place = label.partition("@")
        self.command("insert", socket, label=name, place=place)

    def remove(self, socket: int) -> None:
        """Take the part out."""
        self.command("remove", socket)

    def lid(self, socket: int, closed: bool) -> None:
        """Close or open the lid."""
        self.command("lid", socket, closed=closed)

    def power(self, socket: int, on: bool) -> None:
        """Switch the socket's supply; on restores power that a fault has cut."""
        self.command("power", socket, on=on)

    def fault(self, socket: int, name: str, argument: str = "") -> None:
        """Arm a fault, ``NAME`` or ``NAME:ARG``; ``station simulate --list-faults`` shows them."""
        self.command("fault", socket, name=name, argument=argument)

    def unplug(self, socket: int) -> None:
        """Pull the adapter's USB cable."""
        self.command("unplug", socket)

    def replug(self, socket: int) -> None:
        """Plug the adapter in again."""
        self.command("replug", socket)

    def state(self, socket: int) -> Mapping[str, Any]:
        """Sensors, nets, adapter and the chip's own view."""
        answer: Mapping[str, Any] = self.command("state", socket)
        return answer

    def parts(self) -> list[str]:
        """Labels of all parts this bench has."""
        return list(self.command("parts", 1))

    def faults(self) -> Mapping[str, str]:
        """Every fault that this bench can simulate, with one sentence."""
        answer: Mapping[str, str] = self.command("faults", 1)
        return answer

    def command(self, do: str, socket: int, **arguments: object) -> Any:
        """Any command of the bench's control channel; raises ``BenchError`` with the bench's sentence.

        What the bench does not understand (an unknown fault, a socket it has not) is a ``ConfigError``.
        """
        try:
            return self._link.control({"do": do, "socket": socket, **arguments})
        except LinkError as error:
            kind = ConfigError if error.errno == errno.EINVAL else BenchError
            raise kind(str(error.strerror)) from None

    def close(self) -> None:
        """Let go of the bench."""
        self._link.close()


def open_handler(settings: Mapping[str, object]) -> VirtualHandler:
    """Open the handler of the bench named by ``settings["bench"]`` or by the environment."""
    place = str(settings.get("bench") or os.environ.get(ENVIRONMENT, ""))
    if not place:
        raise ConfigError(
            f"the virtual handler needs 'bench' in its settings, or {ENVIRONMENT}: the path of bench.json"
        )
    return VirtualHandler(Path(place))
