"""A place where a part sits, without the wiring behind it: hands, sensors, supply, and the part's own record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from drivers.virtual.pads import Chip

AnyChip = TypeVar("AnyChip", bound=Chip)


class Place(Generic[AnyChip]):
    """One socket of the bench; every method may be called from any thread."""

    def __init__(self, number: int, open_chip: Callable[[Path], AnyChip]) -> None:
        self.number = number
        self.label = ""
        self.lid_closed = False
        self.supply_on = True
        self.touchdowns = 0
        self._open_chip = open_chip
        self._chip: AnyChip | None = None
        self._lock = threading.RLock()

    # ---- what a hand or a handler does --------------------------------------------------------------------------

    @property
    def chip(self) -> AnyChip | None:
        """The chip in the socket."""
        return self._chip

    def insert(self, label: str, folder: Path) -> None:
        """Put a chip in; raises ValueError when the socket is taken."""
        with self._lock:
            if self._chip is not None:
                raise ValueError(f"socket {self.number} holds part {self.label!r}; remove it first")
            chip = self._open_chip(folder)
            self._seat(chip)
            chip.power(self._supplied)
            self._chip, self.label = chip, label
            self.touchdowns += 1

    def remove(self) -> str:
        """Take the chip out; it loses its power. Returns its label; raises ValueError when the socket is empty."""
        with self._lock:
            if self._chip is None:
                raise ValueError(f"socket {self.number} is empty")
            chip, label = self._chip, self.label
            self._chip, self.label = None, ""
            chip.power(False)
            chip.close()
            return label

    def lid(self, closed: bool) -> None:
        """Open or close the lid."""
        self.lid_closed = closed

    def supply(self, on: bool) -> None:
        """Switch the socket's supply; on also restores power that a fault has cut."""
        with self._lock:
            self.supply_on = on
            if self._chip is None:
                return
            if on and not self._chip_powered():
                self._chip.power(False)
            self._chip.power(self._supplied)

    def fault(self, name: str, argument: str = "") -> None:
        """Arm a fault of the chip; raises ValueError for an empty socket or an unknown name."""
        with self._lock:
            if self._chip is None:
                raise ValueError(f"socket {self.number} is empty; a fault needs a part")
            self._chip.fault(name, argument)

    def state(self) -> dict[str, object]:
        """Sensors and the chip's own view."""
        with self._lock:
            return {
                "socket": self.number,
                "label": self.label,
                "lid_closed": self.lid_closed,
                "power_good": self.power_good,
                "touchdowns": self.touchdowns,
                "chip": dict(self._chip.state()) if self._chip is not None else None,
            }

    def close(self) -> None:
        """Switch everything off."""
        with self._lock:
            if self._chip is not None:
                self._chip.close()
                self._chip = None

    # ---- what the wiring says -------------------------------------------------------------------------------------

    def _seat(self, chip: AnyChip) -> None:
        """Connect a chip that has no power yet."""

    @property
    def _supplied(self) -> bool:
        """Whether the supply reaches the chip."""
        return self.supply_on

    @property
    def power_good(self) -> bool:
        """Supply sensor: on, and not cut by a fault of the chip."""
        with self._lock:
            return self._supplied and (self._chip is None or self._chip_powered())

    def _chip_powered(self) -> bool:
        # sampled with every UART poll: a chip that can say it cheaply is asked that way
        powered = getattr(self._chip, "powered", None)
        if powered is None:
            powered = self._chip is None or self._chip.state().get("powered", True)
        return bool(powered)
