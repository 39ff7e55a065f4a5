"""What a virtual debug module and hart see of the chip: the system bus."""

from __future__ import annotations

from typing import Protocol


class BusError(Exception):
    """The bus answered an access with an error (unmapped, closed by the life cycle gate, wrong width)."""


class Bus(Protocol):
    """The chip's system bus; ``size`` is 1, 2 or 4 bytes, ``address`` is aligned to it, values are right aligned."""

    def read(self, address: int, size: int) -> int:
        """Read ``size`` bytes, little-endian; raises `BusError`."""

    def write(self, address: int, size: int, value: int) -> None:
        """Write the low ``size`` bytes of ``value``, little-endian; raises `BusError`."""
