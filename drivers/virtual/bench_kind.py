"""What a bench is fitted with: one kind of chip, and for each socket an adapter of the sort that this chip needs.

Kinds are found by the name that ``station simulate --chip`` takes; each brings its own sockets, adapters and faults, so
that the bench itself knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from drivers.virtual.place import Place

EARLGREY = "earlgrey"
NORDIC = ("nrf5340", "nrf9160", "nrf91x1")
CHIPS = (EARLGREY, *NORDIC)


class Adapter(Protocol):
    """What connects one socket with the host over one USB cable."""

    serial: str
    plugged: bool

    def unplug(self) -> None:
        """Pull the cable."""
        ...

    def replug(self, address: int) -> None:
        """Plug it in again, under another bus address."""
        ...

    def release_all(self, session: str) -> None:
        """A client of the bench is gone."""
        ...

    def details(self) -> dict[str, Any]:
        """Plain JSON view: serial number, address, and what was transferred."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a host works with it over a port of its own."""
        ...

    def start(self) -> None:
        """Open its ports, if it has any of its own."""
        ...

    def stop(self) -> None:
        """Close them."""
        ...


@dataclass(frozen=True, slots=True)
class Fitting:
    """Where an adapter is plugged in; it calls ``on_transfer`` with each transfer from the host, before it acts."""

    number: int
    address: int
    on_transfer: Callable[[], None]


Fitted = tuple[Place[Any], Adapter]


@dataclass(frozen=True, slots=True)
class BenchKind:
    """One kind of bench; ``check_fault`` takes ``NAME`` or ``NAME:ARGUMENT`` and raises ``ValueError``."""

    chip: str
    faults: Mapping[str, str]
    check_fault: Callable[[str], None]
    fit: Callable[[Fitting], Fitted]


def bench_kind(chip: str, images: Path, open_chip: Callable[[Path], Any] | None = None) -> BenchKind:
    """The kind with this name; its modules are loaded late because each brings all its models along.

    ``images`` has the programs that chips of this bench know, where the chip needs any; ``open_chip`` is a test's own.
    """
    if chip in NORDIC:
        from drivers.virtual.nrf.bench_kind import nordic

        return nordic(chip)
    if chip != EARLGREY:
        raise ValueError(f"no virtual chip is called {chip!r}; there are {', '.join(CHIPS)}")
    from drivers.virtual.earlgrey.bench_kind import earlgrey

    return earlgrey(images, open_chip)
