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
    """A running appliance: its folder, where it listens, what it uses."""

    folder: Path
    target: str
    usage: Usage


@contextmanager
def served(folder: Path, stations: Sequence[str], in_softhsm: bool = False) -> Iterator[Served]:
    """The appliance of a new folder; its log is ``serve.log`` in it. ``ConfigError`` without SoftHSM."""
    init(folder, stations, skus=SKUS, finish=into_softhsm() if in_softhsm else None)
    with ExitStack() as stack:
        log = stack.enter_context((folder / "serve.log").open("wb"))
        arguments = ["appliance", "serve", str(folder), "--port", "0", "--json", "--parent-pid", str(os.getpid())]
        child = Child("appliance", arguments, log)
        stack.callback(child.end)
        ready = json.loads(child.first_line(READY_SECONDS))
        yield Served(folder, ready["target"], Usage(ready["pid"]))
