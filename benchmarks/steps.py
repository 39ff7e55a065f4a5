"""Plain steps per second of ``Run.step`` against OpenHTF phases, and how often the journal waits for the disk."""

from __future__ import annotations

import io
import logging
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.figures import Aim, Figure, Options, Report, Spent, spent_on
from station.bins import load_bins
from station.credentials import CredentialStore
from station.data_folder import DataFolder
from station.journal import Journal
from station.journal_rows import Context
from station.model import DONE, NOT_DONE, Answer, Realm
from station.plan import Burn, Plan
from station.resources import resources_folder
from station.run import Run, RunServices, execute

SHORT, LONG = 1_000, 10_000
LINEAR = 1.15  # a step among 10,000 may cost so much of one among 1,000


class NoPack:
    """A pack without images and limits: a no-op step asks for neither."""

    sku = "sival"
    realm = Realm.DEV

    def image(self, name: str) -> bytes:
        raise KeyError(name)

    def limit(self, name: str) -> tuple[float | None, float | None]:
        return None, None

    def hook(self, name: str, *args: object) -> object:
        return None


class Bench:
    """A journal and what a run borrows, in a fresh folder on the disk."""

    def __init__(self, folder: Path) -> None:
        data = DataFolder(folder)
        self.journal = Journal(data, "bench", ballast_bytes=0)
        self._credentials = CredentialStore(data.credentials, Realm.DEV)
        self._pack = NoPack()
        self._bins = load_bins(resources_folder() / "bins.toml")

    def run(self, plan: Plan) -> Run:
        """A run of one scanned part."""
        context = Context(socket=1, label_kind="die", label="L1/W01/X1Y1", recipe="bench", flow="bench")
        self.journal.scan(context, {"text": "die"})
        return Run(plan, context, RunServices(self.journal, self._bins, self._pack, self._credentials))


@contextmanager
def bench() -> Iterator[Bench]:
    """A bench that leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="steps-") as folder:
        made = Bench(Path(folder))
        try:
            yield made
        finally:
            made.journal.close()


def measure(options: Options) -> Report:
    """Steps per second, cost per step at both lengths, syncs."""
    report = Report()
    lengths = (SHORT,) if options.quick else (SHORT, LONG)
    taken = _rounds(lengths, 3 if options.quick else 5)
    for count in lengths:
        _rates(report, count, taken)
    if LONG in lengths:
        report.figures.append(_growth(taken))
    if not openhtf_here():
        report.notes.append("baseline skipped: openhtf is not importable here; `python3 start.py benchmark` has it")
    report.figures += syncs()
    return report


Taken = dict[tuple[str, int], list[Spent]]


def _rounds(lengths: tuple[int, ...], rounds: int) -> Taken:
    """Seconds of every side and length, all in turn, so that a busy machine slows them alike."""
    taken: Taken = defaultdict(list)
    station_spends(100)
    for _ in range(rounds):
        for count in lengths:
            taken["own", count].append(station_spends(count))
        for count in lengths if openhtf_here() else ():
            taken["bare", count].append(openhtf_spends(count))
            taken["recorded", count].append(openhtf_spends(count, record=True))
    return taken


def _rates(report: Report, count: int, taken: Taken) -> None:
    aim = Aim(">=", 15, of_ratio=True)
    rate = count / _wall(taken["own", count])
    for name, side in (("OpenHTF phases/s", "bare"), ("OpenHTF with its JSON record", "recorded")):
        theirs = taken[side, count]
        baseline = count / _wall(theirs) if theirs else None
        report.figures.append(Figure(f"plain steps, {count:,} in one run", rate, "steps/s", aim, baseline, name))
    bare = taken["bare", count]
    cost, their_cost = _cpu(taken["own", count]) / count, _cpu(bare) / count if bare else None
    report.figures += [
        Figure(f"time per step among {count:,}", 1e6 / rate, "µs"),
        Figure(
            f"CPU per step among {count:,}", 1e6 * cost, "µs", None, 1e6 * their_cost if their_cost else None, "OpenHTF"
        ),
    ]


def _wall(taken: list[Spent]) -> float:
    """The least disturbed round of either side: a run of 1,000 steps is over before the machine's other users are."""
    return min(spent.wall for spent in taken)


def _cpu(taken: list[Spent]) -> float:
    return min(spent.cpu for spent in taken)


def _growth(taken: Taken) -> Figure:
    """Processor time of a step in a long run over that in a short one: others also use this machine."""
    short, long = _cpu(taken["own", SHORT]) / SHORT, _cpu(taken["own", LONG]) / LONG
    aim = Aim("<=", LINEAR, of_ratio=True)
    return Figure("CPU per step, 10,000 over 1,000", long * 1e6, "µs", aim, short * 1e6, "µs at 1,000")


def openhtf_here() -> bool:
    """Whether the baseline can be measured."""
    return find_spec("openhtf") is not None


def station_spends(count: int) -> Spent:
    """Time from the start of a run with ``count`` no-op steps to its durable verdict."""
    plan = Plan(**{f"step_{number}": f"Step {number}" for number in range(count)})
    titles = list(plan)
    with bench() as made:

        def flow(run: Run) -> None:
            for title in titles:
                with run.step(title):
                    pass

        def work() -> None:
            run = made.run(plan)
            verdict, error = execute(run, lambda: flow(run))
            if error is not None or verdict.kind != "pass":
                raise RuntimeError(f"expected a pass, got {verdict.kind}: {verdict.reason}") from error

        return spent_on(work)


def openhtf_spends(count: int, record: bool = False) -> Spent:
    """Time of one OpenHTF test with ``count`` no-op phases; with ``record`` it writes its JSON file (unsynced)."""
    import openhtf
    from openhtf.output.callbacks import json_factory

    logging.getLogger("openhtf").setLevel(logging.CRITICAL)

    def phase(number: int) -> Any:
        @openhtf.PhaseOptions(name=f"step_{number}")
        def no_op(test: Any) -> None:
            pass

        return no_op

    test = openhtf.Test(*(phase(number) for number in range(count)))
    records: list[Any] = []
    test.add_output_callbacks(records.append)
    with tempfile.TemporaryDirectory(prefix="openhtf-") as folder:
        if record:
            test.add_output_callbacks(json_factory.OutputToJSON(f"{folder}/record.json"))

        def work() -> None:
            with redirect_stdout(io.StringIO()):
                passed = test.execute(test_start=lambda: "die")
            if not passed or len(records[0].phases) != count + 1:  # the first phase is test_start
                raise RuntimeError("expected OpenHTF to pass with all phases")

        return spent_on(work)


# ---- syncs ----------------------------------------------------------------------------------------------------------


class Commits:
    """Counts durable commits from SQLite's own statement trace, whatever the journal's counter says."""

    def __init__(self, journal: Journal) -> None:
        self.durable = 0
        self._full = True
        journal._store.trace(self._statement)

    def _statement(self, sql: str) -> None:
        text = sql.strip().upper()
        if text.startswith("PRAGMA SYNCHRONOUS ="):
            self._full = text.endswith("FULL")
        elif text == "COMMIT" and self._full:
            self.durable += 1


@contextmanager
def counted_fsync() -> Iterator[list[int]]:
    """Counts what Python itself syncs (files beside the journal)."""
    calls: list[int] = []
    real = os.fsync
    os.fsync = lambda handle: (calls.append(1), real(handle))[1]  # type: ignore[assignment]
    try:
        yield calls
    finally:
        os.fsync = real


def syncs() -> list[Figure]:
    """Syncs per burn, scan, verdict and plain step, by the journal's counter; the statement trace must agree."""
    plan = Plan(first="First", second="Second", third="Third", fuse=Burn("Fuse", 0), lock=Burn("Lock", 0))
    with bench() as made, counted_fsync() as files:
        journal, commits = made.journal, Commits(made.journal)
        marks: dict[str, int] = {}

        def mark(name: str) -> None:
            if journal.syncs != commits.durable:
                raise RuntimeError(f"the journal counts {journal.syncs} syncs, SQLite's trace {commits.durable}")
            marks[name] = journal.syncs + len(files)

        journal.rows()
        commits.durable = journal.syncs
        files.clear()
        mark("before")
        run = made.run(plan)
        mark("scan")
        execute(run, lambda: _five_titles(run, plan, mark))
        mark("verdict")
    order = list(marks)
    cost = {name: marks[name] - marks[before] for before, name in pairwise(order)}
    return [
        Figure("syncs at scan", cost["scan"], "syncs", Aim("==", 1)),
        Figure("syncs per plain step", cost["steps"] / 3, "syncs", Aim("==", 0)),
        Figure("syncs per burn", cost["burns"] / 2, "syncs", Aim("==", 2)),
        Figure("syncs at verdict", cost["verdict"], "syncs", Aim("==", 1)),
    ]


def _five_titles(run: Run, plan: Plan, mark: Any) -> None:
    for title in (plan.first, plan.second, plan.third):
        with run.step(title):
            pass
    mark("steps")
    for title in (plan.fuse, plan.lock):
        burnt: list[bool] = []

        def done(burnt: list[bool] = burnt) -> Answer:
            return DONE if burnt else NOT_DONE

        def do(burnt: list[bool] = burnt) -> None:
            burnt.append(True)

        run.burn(title, done=done, do=do)
    mark("burns")
