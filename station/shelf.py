"""The shelf of a virtual bench: which die or part is taken next, and what is printed on it, once and for all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from station.bins import RECOVER_TRAY, Bins
from station.chips import Chip, chip_of_pack
from station.data_folder import write_durably
from station.deadline import Deadline
from station.errors import ConfigError, Refused
from station.protocol import Scan

if TYPE_CHECKING:
    from station.journal import Journal
    from station.journal_parts import PartRecord
    from station.recipe import Recipe
    from station.workbench import Workbench

DIES_PER_ROW = 10
SCAN_SECONDS = 5.0
LOT = "DEMO"
WAFER = "W1"
FILE = "shelf.json"
AGAIN = ("hold", "bench")
"""Verdicts after which a part is put in again."""
RECOVERED = "recovered"
"""The bin of a part that was erased whole: for what follows it is as new."""


@dataclass(frozen=True, slots=True)
class Printed:
    """What can be scanned for one die: its place on the wafer, and the label of its package."""

    die: str
    part: str

    def label(self, kind: str) -> str:
        """The label of the kind that a recipe asks for."""
        return self.die if kind == "die" else self.part


class Shelf:
    """The dies of one data folder in the order in which they were first taken."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._dies = self._read()

    def __iter__(self) -> Iterator[tuple[str, Printed]]:
        return iter(list(self._dies.items()))

    def new(self, lot: str, wafer: str, taken: Iterable[str] = (), noun: str = "die") -> str:
        """Print the labels of a die that was never used and return its name; ``taken``: names the bench has already."""
        place = f"{lot or LOT}/{wafer_name(wafer)}"
        on_wafer = sum(printed.die.startswith(f"{place}/") for printed in self._dies.values())
        row, column = divmod(on_wafer, DIES_PER_ROW)
        return self._print(f"{place}/X{column}/Y{row}", "", taken, noun)

    def labelled(self, label: str, kind: str, taken: Iterable[str] = (), noun: str = "die") -> str:
        """Name of the die that carries this label; one that the shelf does not know gets it printed."""
        known = next((name for name, printed in self._dies.items() if printed.label(kind) == label), "")
        if known:
            return known
        return self._print(label, "", taken, noun) if kind == "die" else self._print("", label, taken, noun)

    def _print(self, die: str, part: str, taken: Iterable[str], noun: str) -> str:
        """A name that nobody has yet, with its labels; a package gets the label of its number unless one is given."""
        beginning = f"{noun}-"
        numbers = [name.removeprefix(beginning) for name in (*self._dies, *taken) if name.startswith(beginning)]
        number = max((int(text) for text in numbers if text.isdecimal()), default=0) + 1
        printed = {printed.part for printed in self._dies.values()}
        while not part and f"P{number:06d}" in printed:
            number += 1
        name = f"{beginning}{number:04d}"
        self._dies[name] = Printed(die, part or f"P{number:06d}")
        write_durably(
            self._path, json.dumps({name: vars_of(printed) for name, printed in self._dies.items()}, indent=1)
        )
        return name

    def label(self, name: str, kind: str) -> str:
        """What is printed on a die of this shelf."""
        return self._dies[name].label(kind)

    def _read(self) -> dict[str, Printed]:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(name): Printed(str(entry["die"]), str(entry["part"])) for name, entry in stored.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(
                f"expected the labels of the virtual dies in {self._path}, but it cannot be read"
            ) from None


def vars_of(printed: Printed) -> dict[str, str]:
    """One die as it is stored."""
    return {"die": printed.die, "part": printed.part}


def wafer_name(wafer: str) -> str:
    """The wafer as it is printed: ``2``, ``02`` and ``W2`` are the same wafer."""
    number = wafer.strip().upper().removeprefix("W")
    if number and not (number.isdecimal() and len(number) <= 2):
        raise Refused(f"expected a wafer such as W2, got {wafer!r}; choose recipe, lot and wafer again")
    return f"W{int(number)}" if number else WAFER


def put_next(bench: Workbench, socket: int) -> None:
    """Do what an operator at a virtual bench does: put the next die in, close the lid, scan its label."""
    recipe = bench.recipe
    if recipe is None:
        raise Refused("choose a recipe first")
    shelf = Shelf(bench.folder.path)
    chip = chip_of_pack(recipe.family)
    name = (
        next_to_recover(bench, shelf, recipe)
        if recipe.plan.takes_back
        else next_die(bench, shelf, recipe.label_kind, recipe.flow_name, chip)
    )
    bench.handler(socket, "insert", name)
    bench.handler(socket, "lid", "closed")
    label = shelf.label(name, recipe.label_kind)
    threading.Thread(target=_scan_when_ready, args=(bench, socket, label), name=f"scan {socket}", daemon=True).start()


def put_labelled(bench: Workbench, socket: int, recipe: Recipe, label: str) -> None:
    """Put the part that carries this label in and close the lid; another one that lies there is taken out before.

    For the command line: nobody watches the socket yet. A label that was never seen is printed on a fresh part.
    """
    if bench.config.handler is None or bench.config.virtual_bench is None:
        raise Refused("only a virtual bench has hands of its own: put the part in and leave --insert out")
    shelf, chip = Shelf(bench.folder.path), chip_of_pack(recipe.family)
    packaged = chip.probed_by and recipe.label_kind != "die"
    if packaged and label not in (printed.part for _, printed in shelf):
        first = f"run a die through a recipe with the flow '{chip.probed_by}' first"
        raise Refused(f"no die on the shelf has the package label {label}; {first}")
    name = shelf.labelled(label, recipe.label_kind, bench.shelf(), chip.noun)
    there = bench.seated(socket)
    if there and there != name:
        bench.handler(socket, "lid", "open")
        bench.handler(socket, "remove", "")
    if there != name:
        bench.handler(socket, "insert", name)
    bench.handler(socket, "lid", "closed")


def next_to_recover(bench: Workbench, shelf: Shelf, recipe: Recipe) -> str:
    """Name of the part that a recipe which erases whole parts takes next: never one that does not need it."""
    seated, bins, kind = bench.seated_dies(), bench.bins_of(recipe), recipe.label_kind
    for name, printed in shelf:
        if name not in seated and needs_erasure(bench.journal.known(kind, printed.label(kind)), recipe, bins):
            return name
    raise Refused(f"no part on the shelf needs {recipe.name}: it takes only those that went to tray {RECOVER_TRAY}")


def needs_erasure(record: PartRecord, recipe: Recipe, bins: Bins) -> bool:
    """Whether the newest verdict that says anything of the part is one that only its erasure helps.

    An erasure that was begun is to be brought to its end; a part that this recipe has failed is not taken again.
    """
    own = record.verdicts.get(recipe.flow_name)
    if record.quarantine or (own is not None and own.kind == "fail"):
        return False
    flows = {*recipe.plan.takes_back, recipe.flow_name}
    told = [last for flow, last in record.verdicts.items() if flow in flows and last.kind != "bench"]
    newest = max(told, key=lambda last: last.seq, default=None)
    needs = newest is not None and newest.bin_id in bins and bins[newest.bin_id].tray == RECOVER_TRAY
    return record.erasing or needs


def next_die(bench: Workbench, shelf: Shelf, kind: str, flow: str, chip: Chip) -> str:
    """Name of the die that this recipe takes next; a die that lies in a socket is never taken."""
    seated = bench.seated_dies()
    free = [(name, printed) for name, printed in shelf if name not in seated]
    if kind == "die":
        place = f"{bench.lot or LOT}/{wafer_name(bench.wafer)}/"
        here = [(name, printed) for name, printed in free if printed.die.startswith(place)]
        again = next(ready(bench.journal, here, kind, flow), None)
        return again or shelf.new(bench.lot, bench.wafer, bench.shelf(), chip.noun)
    found = next(ready(bench.journal, free, kind, flow, chip.probed_by), None)
    if found is None and not chip.probed_by:  # it comes out of a tray, not off a wafer
        return shelf.new(bench.lot, "", bench.shelf(), chip.noun)
    if found is None:
        first = f"run Chip Probe first (a recipe with the flow '{chip.probed_by}')"
        raise Refused(f"no die that passed Chip Probe waits on the shelf; {first}")
    return found


def ready(journal: Journal, dies: list[tuple[str, Printed]], kind: str, flow: str, probe: str = "") -> Iterator[str]:
    """Names of the dies that may be taken for a flow, those that come back before those nobody has begun."""
    may = [(name, journal.known(kind, printed.label(kind))) for name, printed in dies
           if may_go(journal, printed, kind, flow, probe)]  # fmt: skip
    yield from (name for name, record in may if record.starts.get(flow))
    yield from (name for name, record in may if not record.starts.get(flow))


def may_go(journal: Journal, printed: Printed, kind: str, flow: str, probe: str = "") -> bool:
    """Whether this die may be taken for a flow: not begun, erased since, or ended in hold or bench.

    A package must have passed ``probe`` before.
    """
    record = journal.known(kind, printed.label(kind))
    if record.quarantine:
        return False
    if kind != "die" and probe and journal.known("die", printed.die).passed(probe) is None:
        return False
    last = record.verdicts.get(flow)
    if last is not None:
        return last.kind in AGAIN and not last.pending
    return not record.starts.get(flow) or is_recovered(record)


def is_recovered(record: PartRecord) -> bool:
    """Whether the part was erased whole and checked to be blank, and nothing was burnt into it since."""
    return any(last.bin_id == RECOVERED for last in record.verdicts.values())


def _scan_when_ready(bench: Workbench, socket: int, label: str) -> None:
    deadline = Deadline(SCAN_SECONDS)
    wait = threading.Event()
    while bench.worker(socket).view.now.state != "scan" and not deadline.passed:
        wait.wait(0.02)
    bench.handle(Scan(label, socket))
