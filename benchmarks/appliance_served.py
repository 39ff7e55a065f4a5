"""An appliance process for a benchmark: a development folder, in a SoftHSM when asked, served by the real command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.children import READY_SECONDS, Usage
from benchmarks.figures import NotMeasuredError
from station.appliance.pkcs11_provision import provision_folder, softhsm
from station.appliance.pki import init
from station.processes import Child

SOFTHSM_PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
)
SKUS = ("sival", "pi01")


@dataclass(frozen=True, slots=True)
class Served:
    """A running appliance: its folder, where it listens, what it uses."""

    folder: Path
    target: str
    usage: Usage


@contextmanager
def served(folder: Path, stations: Sequence[str], in_softhsm: bool = False) -> Iterator[Served]:
    """The appliance of a new folder; its log is ``serve.log`` in it."""
    init(folder, stations, skus=SKUS)
    with ExitStack() as stack:
        if in_softhsm:
            stack.enter_context(softhsm(provision_folder(folder, softhsm_module())[0]))
        log = stack.enter_context((folder / "serve.log").open("wb"))
        arguments = ["appliance", "serve", str(folder), "--port", "0", "--json", "--parent-pid", str(os.getpid())]
        child = Child("appliance", arguments, log)
        stack.callback(child.end)
        ready = json.loads(child.first_line(READY_SECONDS))
        yield Served(folder, ready["target"], Usage(ready["pid"]))


def softhsm_module() -> str:
    """Path of SoftHSM's library."""
    found = next((place for place in SOFTHSM_PLACES if Path(place).exists()), None)
    if found is None:
        raise NotMeasuredError("SoftHSM2 is not installed here")
    return found
