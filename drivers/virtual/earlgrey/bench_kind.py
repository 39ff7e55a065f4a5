"""A bench for Earlgrey: an FT4232H per socket."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drivers.virtual.bench_kind import EARLGREY, BenchKind, Fitted, Fitting
from drivers.virtual.earlgrey.faults import FAULTS, Faults, split
from drivers.virtual.ft4232h import Ft4232h
from drivers.virtual.socket import VirtualSocket
from station.errors import nearest
from station.formats.lc import LcState

BUS = 1


def earlgrey(images: Path, open_chip: Callable[[Path], Any] | None = None) -> BenchKind:
    """The kind; ``images`` has the SRAM programs that the chips know."""
    chips = open_chip or functools.partial(_open_chip, images=images)
    return BenchKind(EARLGREY, FAULTS, check_fault, functools.partial(_fit, chips))


def check_fault(fault: str) -> None:
    """What arming it would say, without a chip: ``ValueError`` in one sentence."""
    name, argument = split(fault, "")
    if name not in FAULTS:
        hint = nearest(name, FAULTS) or nearest(name.rpartition(":")[0], FAULTS)
        raise ValueError(f"no fault is called {name!r}{hint}")
    if name == "wrong_state":
        if argument and argument not in LcState.__members__:
            raise ValueError(f"no life cycle state is called {argument!r}{nearest(argument, LcState.__members__)}")
        return
    Faults().arm(name, argument)


def _fit(open_chip: Callable[[Path], Any], fitting: Fitting) -> Fitted:
    socket = VirtualSocket(fitting.number, open_chip)
    serial = f"VB{fitting.number:04d}"
    return socket, Ft4232h(socket, serial, BUS, fitting.number, fitting.address, fitting.on_transfer)


def _open_chip(folder: Path, images: Path) -> Any:
    from drivers.virtual.earlgrey.chip import open_chip

    return open_chip(folder, images)
