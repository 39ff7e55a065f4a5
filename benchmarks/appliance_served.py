"""An appliance process for a benchmark: a development folder, in a SoftHSM when asked, served by the real command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.children import READY_SECONDS, Usage
from station.appliance.commands import into_softhsm
from station.appliance.pki import init
from station.processes import Child

SKUS = ("sival", "pi01")


@dataclass(frozen=True, slots=True)
class Served:
    """A running appliance: its folder, where it listens, its processes."""

    folder: Path
    target: str
    processes: tuple[Usage, ...]

    def cpu(self) -> float:
        """User and system seconds of all processes so far."""
        return sum(process.cpu() for process in self.processes)

    def resident_mebibytes(self) -> float:
        """Resident memory of all processes now; what they share counts for each of them."""
        return sum(process.resident_mebibytes() for process in self.processes)


@contextmanager
def served(folder: Path, stations: Sequence[str], in_softhsm: bool = False, workers: int = 1) -> Iterator[Served]:
    """The appliance of a new folder; its log is ``serve.log`` in it. ``ConfigError`` without SoftHSM."""
    init(folder, stations, skus=SKUS, finish=into_softhsm() if in_softhsm else None)
    with ExitStack() as stack:
        log = stack.enter_context((folder / "serve.log").open("wb"))
        arguments = ["appliance", "serve", str(folder), "--port", "0", "--workers", str(workers), "--json"]
        child = Child("appliance", [*arguments, "--parent-pid", str(os.getpid())], log)
        stack.callback(child.end)
        ready = json.loads(child.first_line(READY_SECONDS))
        first = Usage(ready["pid"])
        yield Served(folder, ready["target"], (first, *first.children()))
