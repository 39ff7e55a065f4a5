"""The shelf of a virtual bench: which die is taken next, and what is printed on it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from station.deadline import Deadline
from station.errors import Refused
from station.protocol import Scan

if TYPE_CHECKING:
    from station.workbench import Workbench

DIES_PER_ROW = 10
MOST_DIES = 10_000
SCAN_SECONDS = 5.0
LOT = "DEMO"


def die_name(number: int) -> str:
    """Name of the n-th die on the shelf."""
    return f"die-{number:04d}"


def printed_label(number: int, label_kind: str, lot: str = "") -> str:
    """What is scanned for the n-th die: its place on the wafer, or the label of its package."""
    if label_kind != "die":
        return f"P{number:06d}"
    row, column = divmod(number - 1, DIES_PER_ROW)
    return f"{lot or LOT}/W1/X{column}/Y{row}"


def put_next(bench: Workbench, socket: int) -> None:
    """Do what an operator at a virtual bench does: put the next die in, close the lid, scan its label."""
    recipe = bench.recipe
    if recipe is None:
        raise Refused("choose a recipe first")
    number = _next_die(bench, recipe.label_kind, recipe.flow_name)
    bench.handler(socket, "insert", die_name(number))
    bench.handler(socket, "lid", "closed")
    label = printed_label(number, recipe.label_kind, bench.lot)
    threading.Thread(target=_scan_when_ready, args=(bench, socket, label), name=f"scan {socket}", daemon=True).start()


def _next_die(bench: Workbench, label_kind: str, flow: str) -> int:
    """The first die that this recipe has not seen; Final Test takes what lies on the shelf after Chip Probe."""
    seated = {worker.view.now.label for worker in bench.workers.values()}
    numbers: Iterable[int] = range(1, MOST_DIES)
    if label_kind != "die":
        numbers = sorted(int(name[4:]) for name in bench.shelf() if name[:4] == "die-" and name[4:].isdigit())
    for number in numbers:
        label = printed_label(number, label_kind, bench.lot)
        if label not in seated and not bench.journal.known(label_kind, label).starts.get(flow):
            return number
    raise Refused("no die is left on the shelf for this recipe; run Chip Probe first (recipe earlgrey-cp)")


def _scan_when_ready(bench: Workbench, socket: int, label: str) -> None:
    deadline = Deadline(SCAN_SECONDS)
    wait = threading.Event()
    while bench.worker(socket).view.now.state != "scan" and not deadline.passed:
        wait.wait(0.02)
    bench.handle(Scan(label, socket))
