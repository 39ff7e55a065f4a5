"""The crash matrix: places just before each burn, cases with their point, and what must hold after the rerun."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash_bench import BURNS, FLOWS, LABELS, LIFE_CYCLE_COUNT, SECRET2, CrashBench, Ending, Place, kill

from drivers.virtual.earlgrey.chip_file import INFO_PAGE
from drivers.virtual.earlgrey.partitions import partition_at

REVIEWED = Path(__file__).resolve().parents[1] / "flows" / "quarantine_points.toml"
RECIPES = {flow: recipe for recipe, flow in FLOWS.items()}
MOMENTS = ("before", "inside", "after")
PAGE_STEP = 97
"""Of the thousands of flash pages that a bootstrap programs, one in so many is a kill point; the first and last are."""
SECRET_PAGES = range(5)
SEED = 20240117


@dataclass(frozen=True)
class Case:
    """``kind`` says what strikes, ``moment`` when, ``point`` at which occurrence from the start of ``window``."""

    flow: str
    window: str
    kind: str
    moment: str
    point: int
    where: str = ""

    def __str__(self) -> str:
        return f"{self.flow}/{self.window}: {self.kind} {self.moment} {self.point} {self.where}".rstrip()


@dataclass
class Window:
    """From just before the intent of one burn to just before the next one's (or the end of the flow)."""

    flow: str
    burn: str
    place: Place
    changes: list[str] = field(default_factory=list)

    @property
    def fuses(self) -> list[int]:
        """Index of each fuse word that an undisturbed run writes, in order."""
        return [int(change.split()[1]) for change in self.changes if change.startswith("fuse")]


@dataclass
class Flow:
    """One flow undisturbed: where it starts, its windows, how it ends, and how many calls and commits it makes."""

    name: str
    start: Place
    windows: dict[str, Window]
    end: Place
    calls: list[str]
    probes: list[str]


@dataclass
class Report:
    """What became of one case."""

    case: Case
    first: Ending
    second: Ending
    verdict: str
    broken: list[str]

    def line(self) -> str:
        reasons = [e.result.get("reason") or e.result.get("refused", "") for e in (self.first, self.second)]
        return (f"{self.case}: first {self.first.kind or '?'} ({reasons[0]}), then {self.verdict} ({reasons[1]}) "
                f"{'; '.join(self.broken)}")  # fmt: skip


class Matrix:
    """Prepares the places once and runs cases."""

    def __init__(self, bench: CrashBench) -> None:
        self.bench = bench
        self.reviewed = tomllib.loads(REVIEWED.read_text())["point"]
        self.used: set[int] = set()
        self._flows: dict[str, Flow] = {}
        self._packaged: Place | None = None

    def flow(self, name: str) -> Flow:
        """The undisturbed flow; its windows are found by killing the station before each intent in turn."""
        if name not in self._flows:
            start = self.bench.fresh() if name == "chip_probe" else self.packaged()
            self._flows[name] = self._explore(name, start)
        return self._flows[name]

    def packaged(self) -> Place:
        """A part that passed Chip Probe here and has its own label now; copy it."""
        if self._packaged is None:
            self._packaged = place = self.bench.fresh()
            self.bench.insert(place)
            assert self.bench.run(place).kind == "pass"
            self.bench.remove()
            place.recipe = RECIPES["final_test"]
        return self._packaged

    def _explore(self, name: str, start: Place) -> Flow:
        bench, windows = self.bench, {}
        place = bench.copy(start, "window")
        bench.insert(place)
        ending = bench.run(place, kill_before_intent=1)
        assert ending.killed, ending.result
        for burn in BURNS[name]:
            bench.remove()
            windows[burn] = Window(name, burn, place)
            place = bench.copy(place, "window")
            bench.insert(place)
            ending = bench.run(place, kill_before_intent=2)
            assert ending.killed == (burn != BURNS[name][-1]), ending.result
            windows[burn].changes = list(bench.watch.changes)
        assert ending.kind == "pass", ending.result
        bench.remove()
        whole = bench.copy(start, "whole")
        bench.insert(whole)
        undisturbed = bench.run(whole)
        assert undisturbed.kind == "pass", undisturbed.result
        bench.remove()
        return Flow(name, start, windows, whole, undisturbed.result["calls"], undisturbed.result["probes"])

    # ---- cases ------------------------------------------------------------------------------------------------------

    def journal_kills(self, name: str) -> Iterator[Case]:
        """Before and after every journal write of the flow."""
        for number, probe in enumerate(self.flow(name).probes, 1):
            moment, kind = probe.split()
            yield Case(name, "start", "kill at journal write", moment, number, kind)

    def change_kills(self, name: str, burn: str) -> Iterator[Case]:
        """Before and after every persistent change of the chip (of bulk flash pages: one in ``PAGE_STEP``)."""
        changes = self.flow(name).windows[burn].changes
        pages = [number for number, change in enumerate(changes, 1) if change.startswith("data")]
        skipped = set(pages) - set(pages[::PAGE_STEP]) - set(pages[-1:])
        for number, change in enumerate(changes, 1):
            if number not in skipped:
                for moment in ("before", "after"):
                    yield Case(name, burn, "kill at chip change", moment, number, where_of(change))

    def call_kills(self, name: str, count: int) -> Iterator[Case]:
        """Before or after ``count`` seeded random port calls."""
        calls = self.flow(name).calls
        chance = random.Random(f"{SEED} {name}")
        for number in sorted(chance.sample(range(1, len(calls) + 1), min(count, len(calls)))):
            moment = chance.choice(("before", "after"))
            yield Case(name, "start", "kill at port call", moment, number, calls[number - 1])

    def call_errors(self, name: str, count: int) -> Iterator[Case]:
        """An unforeseen exception out of seeded random port calls."""
        calls = self.flow(name).calls
        for number in sorted(random.Random(f"{SEED} errors {name}").sample(range(1, len(calls) + 1), count)):
            yield Case(name, "start", "exception in port call", "inside", number, calls[number - 1])

    def power_cuts(self, name: str, burn: str) -> Iterator[Case]:
        """Before, inside and after every fuse write."""
        for number, index in enumerate(self.flow(name).windows[burn].fuses, 1):
            for moment in MOMENTS:
                yield Case(name, burn, "power cut", moment, number, where_of(f"fuse {index}"))

    # ---- one case ---------------------------------------------------------------------------------------------------

    def run(self, case: Case) -> Report:
        """Strike, restore, run again, and look at everything that must hold."""
        flow = self.flow(case.flow)
        origin = flow.start if case.window == "start" else flow.windows[case.window].place
        place = self.bench.copy(origin)
        self.bench.forget_registrations()
        self.bench.insert(place)
        first = self._strike(case, place)
        burnt = self.bench.fuses(place) != self.bench.fuses(origin)
        self.bench.restore_power()
        second = self.bench.run(place, release=first.kind == "quarantine")
        verdict = final_verdict(second, case.flow)
        broken = list(self._violations(case, place, burnt, second, verdict))
        report = Report(case, first, second, verdict, broken)
        self.bench.remove()
        if not broken:
            self.bench.drop(place)
        return report

    def _strike(self, case: Case, place: Place) -> Ending:
        run, watch = self.bench.run, self.bench.watch
        match case.kind:
            case "kill at journal write":
                return run(place, kill_probe=case.point)
            case "kill at chip change":
                return run(place, lambda pid: watch.strike(case.moment, case.point, lambda: kill(pid)))
            case "kill at port call":
                return run(place, **{f"kill_{case.moment}_call": case.point})
            case "exception in port call":
                return run(place, raise_at_call=case.point)
            case "power cut":
                self.bench.fault(f"power_cut:{case.moment}", str(case.point))
                return run(place)
        raise ValueError(case.kind)

    # ---- what must hold -------------------------------------------------------------------------------------------

    def _violations(self, case: Case, place: Place, burnt: bool, second: Ending, verdict: str) -> Iterator[str]:
        chip = self.bench.chip.state()
        if chip["double_burns"]:
            yield f"double burns {chip['double_burns'][:2]}"
        if "known" not in second.result:
            yield f"the rerun did not end: {second.result}"
            return
        yield from self._lost_records(case, place, burnt, second)
        if verdict == "quarantine":
            if not self._is_reviewed(case):
                yield "this quarantine is not in the reviewed list"
        elif verdict != "pass":
            yield f"expected pass after the rerun, saw {verdict or 'no verdict'}: {second.result.get('error')}"
        else:
            yield from self.wrong_part(case.flow, place)

    def _lost_records(self, case: Case, place: Place, burnt: bool, second: Ending) -> Iterator[str]:
        label, before, after = LABELS[place.recipe], second.result["known_before"], second.result["known"]
        if label not in after["labels"]:
            yield "the part is not found by its label"
        by_id = second.result.get("known_by_id")
        if by_id is not None and label not in by_id["labels"]:
            yield "the part is not found by its id"
        if not burnt:
            return
        if label not in before["labels"]:
            yield "the part was changed before its record existed"
        if case.window != "start" and before["burns"].get(f"{case.flow}.{case.window}", "nothing") == "nothing":
            yield "the part was changed without an intent"

    def wrong_part(self, flow: str, place: Place) -> Iterator[str]:
        """A part that passed is the part that an undisturbed run makes."""
        reference, seen = self.bench.fuses(self.flow(flow).end), self.bench.fuses(place)
        apart = {*LIFE_CYCLE_COUNT, *SECRET2}
        wrong = [n for n in range(len(seen)) if n not in apart and seen[n] != reference[n]]
        if wrong:
            yield f"it passed with other fuses than an undisturbed part: {[where_of(f'fuse {n}') for n in wrong[:4]]}"
        pages = [secret_pages(p) for p in (place, self.flow(flow).end)]
        if pages[0] != pages[1]:
            yield "it passed with other secrets in flash than an undisturbed part"
        if flow == "final_test":
            yield from self._wrong_registration()

    def _wrong_registration(self) -> Iterator[str]:
        found = self.bench.registrations()
        if len(found) != 1:
            yield f"expected one registration, found {len(found)}"
            return
        if self.bench.rma_hash_of(found[0].wrapped_rma_unlock_token) != self.bench.rma_hash_in_chip():
            yield "the registered RMA seed does not open this part"

    def _is_reviewed(self, case: Case) -> bool:
        for number, point in enumerate(self.reviewed):
            if (
                (point["flow"], point["burn"], point["kind"]) == (case.flow, case.window, case.kind)
                and case.moment in point["moments"]
                and case.where.split()[0] in point["partitions"]
            ):
                self.used.add(number)
                return True
        return False


def where_of(change: str) -> str:
    """A change in words: partition and byte address of a fuse word, or the kind of flash."""
    kind, _, rest = change.partition(" ")
    if kind != "fuse":
        return f"{kind} {int(rest):#x}"
    return f"{partition_at(2 * int(rest)).name} {2 * int(rest):#x}"


def secret_pages(place: Place) -> bytes:
    """Info pages 0 to 4 of bank 0: probe data, seeds, wafer secret, attestation seeds."""
    return (place.chip / "flash_info.bin").read_bytes()[: len(SECRET_PAGES) * INFO_PAGE]


def final_verdict(second: Ending, flow: str) -> str:
    """The verdict of the rerun; a rerun that is refused because the part passed before is a pass."""
    if second.killed:
        return "killed"
    known = second.result.get("known") or {}
    if second.result.get("refused"):
        return "pass" if known["verdicts"].get(flow) == "pass" else f"refused: {second.result['refused']}"
    return str(second.result.get("kind", "")) or str(second.result.get("crashed", ""))


def take(cases: Iterator[Case], wanted: Callable[[int, Case], bool]) -> list[Case]:
    """Some of the cases."""
    return [case for number, case in enumerate(cases) if wanted(number, case)]


def summary(reports: list[Report]) -> dict[str, Any]:
    """Counts by flow, window and kind, and the quarantined points."""
    counts: dict[str, dict[str, int]] = {}
    for report in reports:
        case = report.case
        row = counts.setdefault(f"{case.flow}|{case.window}|{case.kind}", {})
        outcome = "broken" if report.broken else report.verdict
        row[outcome] = row.get(outcome, 0) + 1
    quarantined = sorted({f"{r.case.flow}|{r.case.window}|{r.case.kind}|{r.case.moment}|{r.case.where.split()[0]}"
                          for r in reports if r.verdict == "quarantine"})  # fmt: skip
    doubles = sum("double burns" in line for report in reports for line in report.broken)
    return {"counts": counts, "quarantined": quarantined, "double_burns": doubles}
