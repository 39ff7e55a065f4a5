"""The crash matrix of Nordic parts: one virtual part in this process, station runs as children that die anywhere.

A case strikes a run from its beginning: SIGKILL before or after a journal write or a request to the debug probe that
changes something, or the supply cut before, inside or after a UICR write of the part. Then the supply comes back, a
supervisor lets a quarantined part be looked at, the recipe is run again, and where the part is burnt half way it is
recovered and run once more. What must hold at the end is in ``violations``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash_bench import Ending, Place, Zygote, kill

from drivers.virtual.bench import Bench
from drivers.virtual.nrf.chip import NordicChip
from station.resources import resources_folder

RECIPES = {"nrf5340": "nrf5340-dk", "nrf9160": "nrf9160-dk", "nrf91x1": "nrf9161-dk"}
BOARDS = {"nrf5340": "nrf5340dk", "nrf9160": "nrf9160dk", "nrf91x1": "nrf9161dk"}
LABEL = "P000041"
IDENTITY = {"seed": "5a" * 32}
CHANGING = ("write_ap", "write_mem", "write_block32", "assert_reset")
"""Requests to the probe that change something in the part; a flash block is one of them."""
MOMENTS = ("before", "inside", "after")
QUICK = "\n[settings]\nprovisioning_seconds = 2.0\nboot_seconds = 2.0\n"
STATION = """\
schema = 1
name = "matrix-1"
realm = "dev"
mode = "virtual"
data = "data"
virtual_bench = "{bench}"
resources = ["{resources}"]

[[socket]]
driver = "pyocd"
[socket.settings]
serial = "VP0001"
board = "{board}"
finder = "drivers.virtual.nrf_finder"

[handler]
driver = "virtual"
"""


@dataclass(frozen=True)
class Case:
    """``kind`` says what strikes, ``moment`` when, ``point`` at which occurrence from the start of the run."""

    kind: str
    moment: str
    point: int
    where: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.moment} {self.point} {self.where}".rstrip()


@dataclass
class Report:
    """What became of one case: the endings of all its runs, and what is broken."""

    case: Case
    endings: list[Ending]
    outcome: str
    broken: list[str]
    part: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        runs = [f"{e.kind or '?'} ({e.result.get('reason') or e.result.get('refused', '')})" for e in self.endings]
        return f"{self.case}: {' then '.join(runs)}: {'; '.join(self.broken)} {self.part}"


class NordicMatrix:
    """One chip and recipe; close it at the end."""

    def __init__(self, folder: Path, chip: str, more_settings: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.chip_name = chip
        self.recipe = RECIPES[chip]
        self._number = 0
        self._strike: tuple[str, int, Callable[[], None]] | None = None
        self._requests: list[str] = []
        self._whole: Ending | None = None
        self._recovery: Ending | None = None
        self.bench = Bench(folder / "bench", 1, chip=chip)
        self.bench.start()
        self._probe_server = self.bench.state.adapters[0]._server
        self._probe_server.before = self._before_request
        self.station = self._station_file(more_settings)
        try:
            self.zygote = Zygote()
        except BaseException:
            self.bench.stop()
            raise

    def close(self) -> None:
        self.zygote.close()
        self.bench.stop()

    def _station_file(self, more_settings: str) -> Path:
        recipes = self.folder / "resources" / "recipes"
        recipes.mkdir(parents=True)
        text = (resources_folder() / "recipes" / f"{self.recipe}.toml").read_text()
        (recipes / f"{self.recipe}.toml").write_text(text + QUICK + more_settings)
        path = self.folder / "station.toml"
        path.write_text(STATION.format(bench=self.bench.file, resources=self.folder / "resources",
                                       board=BOARDS[self.chip_name]))  # fmt: skip
        return path

    # ---- what happens ------------------------------------------------------------------------------------------

    def _before_request(self, name: str) -> None:
        """Called by the probe's server with each request, before it acts: the client waits meanwhile."""
        if name not in CHANGING:
            return
        self._meet("after", len(self._requests))
        self._requests.append(name)
        self._meet("before", len(self._requests))

    def _meet(self, moment: str, number: int) -> None:
        if self._strike is not None and self._strike[:2] == (moment, number):
            action, self._strike = self._strike[2], None
            action()

    @property
    def chip(self) -> NordicChip:
        chip = self.bench.state.sockets[0].chip
        assert isinstance(chip, NordicChip)
        return chip

    def command(self, do: str, **body: Any) -> None:
        self.bench.state.command({"do": do, "socket": 1, **body})

    # ---- places and runs ---------------------------------------------------------------------------------------

    def fresh(self) -> Place:
        """A part that nobody has seen, in the socket, and a station that has seen none."""
        self._number += 1
        place = Place(self.folder / f"{self._number:04}", self.recipe)
        place.chip.mkdir(parents=True)
        (place.chip / "identity.json").write_text(json.dumps(IDENTITY))
        place.data.mkdir(mode=0o700)
        self.command("insert", label=place.folder.name, folder=str(place.chip))
        self.command("lid", closed=True)
        self.command("power", on=True)
        return place

    def drop(self, place: Place, keep: bool) -> None:
        self.command("remove")
        if not keep:
            shutil.rmtree(place.folder)

    def run(self, place: Place, during: Callable[[int], None] | None = None, **request: Any) -> Ending:
        """One station process; ``during`` gets its number just before it begins."""
        result = place.folder / "result.json"
        result.unlink(missing_ok=True)
        body = {
            "station": str(self.station), "data": str(place.data), "recipe": place.recipe, "label": LABEL,
            "result": str(result), "log": str(place.folder / "station.log"), **request,
        }  # fmt: skip
        began = time.monotonic()
        pid = self.zygote.begin(body)
        self._requests = []
        if during is not None:
            during(pid)
        status = self.zygote.go()
        self._strike = None
        seconds = time.monotonic() - began
        if result.exists():
            return Ending(False, json.loads(result.read_text()), seconds)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"status {status}, {place.folder}"
        return Ending(True, {}, seconds)

    # ---- cases -------------------------------------------------------------------------------------------------

    def undisturbed(self) -> Ending:
        """A whole run; what it does is what is struck at."""
        if self._whole is None:
            place = self.fresh()
            self._whole = self.run(place)
            assert self._whole.kind == "pass", self._whole.result
            self._whole.result["requests"] = list(self._requests)
            self._whole.result["uicr_writes"] = self.chip.file.uicr_writes
            self.drop(place, keep=False)
        return self._whole

    def journal_kills(self) -> Iterator[Case]:
        """Before and after every journal write."""
        for number, probe in enumerate(self.undisturbed().result["probes"], 1):
            moment, kind = probe.split()
            yield Case("kill at journal write", moment, number, kind)

    def request_kills(self) -> Iterator[Case]:
        """Before and after every request that changes something in the part."""
        requests = self.undisturbed().result["requests"]
        for number, name in enumerate(requests, 1):
            yield Case("kill at probe request", "before", number, name)
            if number < len(requests):  # what follows the last one, a journal kill does
                yield Case("kill at probe request", "after", number, name)

    def power_cuts(self) -> Iterator[Case]:
        """Before, inside and after every UICR write."""
        for number in range(1, self.undisturbed().result["uicr_writes"] + 1):
            for moment in MOMENTS:
                yield Case("power cut", moment, number)

    def erase_cuts(self) -> Iterator[Case]:
        """Before, inside and after an ERASEALL."""
        for moment in MOMENTS:
            yield Case("power cut in the erasure", moment, 1)

    def recovery(self) -> Ending:
        """A whole recovery of a finished part."""
        if self._recovery is None:
            place = self._finished()
            self._recovery = self.run(place)
            assert self._recovery.result["bin"] == "recovered", self._recovery.result
            self._recovery.result["requests"] = list(self._requests)
            self.drop(place, keep=False)
        return self._recovery

    def recovery_kills(self) -> Iterator[Case]:
        """Before and after every journal write and every changing request of a recovery, and its own power cuts."""
        for number, probe in enumerate(self.recovery().result["probes"], 1):
            moment, kind = probe.split()
            yield Case("kill at journal write", moment, number, kind)
        for number, name in enumerate(self.recovery().result["requests"], 1):
            yield Case("kill at probe request", "before", number, name)
        yield from self.erase_cuts()

    def _finished(self) -> Place:
        """A part that has passed, and the recipe that recovers it."""
        place = self.fresh()
        ended = self.run(place)
        assert ended.kind == "pass", ended.result
        place.recipe = f"{self.recipe}-recover"
        return place

    def carry_out_recovery(self, case: Case) -> Report:
        """Strike the recovery of a finished part, recover it again, and provision it again."""
        place = self._finished()
        endings = [self._struck(case, place)]
        self._restored()
        erased = self.chip.state()["lc_state"] == "ASSEMBLY"
        endings.append(self.run(place, release=endings[0].kind == "quarantine"))
        outcome = self._outcome(endings[-1])
        broken = [] if outcome == "recovered" else [f"expected a recovery, saw {outcome}: {endings[-1].result}"]
        before = endings[-1].result["known_before"]
        if erased and "tfm_provisioning" in before["verdicts"] and not before["erasing"]:
            broken.append(f"it was erased, and its record still had {before['verdicts']}")
        place.recipe = self.recipe
        endings.append(self.run(place))
        if endings[-1].kind != "pass" or self.chip.state()["lc_state"] != "SECURED":
            broken.append(f"it did not pass in the end: {endings[-1].result}")
        report = Report(case, endings, outcome, broken, self.chip.state() if broken else {})
        self.drop(place, keep=bool(broken))
        return report

    # ---- one case ----------------------------------------------------------------------------------------------

    def carry_out(self, case: Case) -> Report:
        """Strike, restore, run again, recover what is burnt half way, and look at everything that must hold."""
        place = self.fresh()
        endings = [self._struck(case, place)]
        self._restored()
        burnt = self.chip.state()
        endings.append(self.run(place, release=endings[0].kind == "quarantine"))
        outcome = self._outcome(endings[-1])
        broken = list(self._violations(case, endings[-1], outcome, burnt))
        if outcome == "quarantine" or outcome in OUTCOMES:
            broken += self._recovered(place, endings, release=outcome == "quarantine")
        report = Report(case, endings, outcome, broken, self.chip.state() if broken else {})
        self.drop(place, keep=bool(broken))
        return report

    def _struck(self, case: Case, place: Place) -> Ending:
        if case.kind == "kill at journal write":
            return self.run(place, kill_probe=case.point)
        if case.kind == "kill at probe request":
            return self.run(place, lambda pid: self._arm(case.moment, case.point, lambda: kill(pid)))
        if case.kind == "power cut in the erasure":
            self.command("fault", name="erase_cut", argument=case.moment)
        else:
            self.command("fault", name=f"power_cut:{case.moment}", argument=str(case.point))
        return self.run(place)

    def _arm(self, moment: str, point: int, action: Callable[[], None]) -> None:
        self._strike = (moment, point, action)

    def _restored(self, seconds: float = 3.0) -> None:
        """The supply comes back, and the part comes to rest: its firmware may work on its own."""
        self.command("fault", name="clear", argument="")
        self.command("power", on=True)
        end = time.monotonic() + seconds
        while any(core["state"] == "running" for core in self.chip.state()["cores"].values()):
            assert time.monotonic() < end, "the part does not come to rest"
            time.sleep(0.01)

    def _recovered(self, place: Place, endings: list[Ending], release: bool) -> Iterator[str]:
        """The recipe for recovery brings every such part back, and it passes then."""
        place.recipe = f"{self.recipe}-recover"
        endings.append(self.run(place, release=release))
        if endings[-1].result.get("bin") != "recovered":
            yield f"it could not be recovered: {endings[-1].result.get('reason') or endings[-1].result}"
            return
        place.recipe = self.recipe
        endings.append(self.run(place))
        if endings[-1].kind != "pass":
            yield f"it did not pass after its recovery: {endings[-1].result.get('reason')}"

    @staticmethod
    def _outcome(ending: Ending) -> str:
        """``pass`` (also when it is refused for having passed), else the bin."""
        if ending.result.get("refused"):
            known = ending.result.get("known") or {}
            passed = known.get("verdicts", {}).get("tfm_provisioning") == "pass"
            return "pass" if passed else f"refused: {ending.result['refused']}"
        return str(ending.result.get("bin") or ending.result.get("crashed") or "killed")

    # ---- what must hold ----------------------------------------------------------------------------------------

    def _violations(self, case: Case, last: Ending, outcome: str, burnt: dict[str, Any]) -> Iterator[str]:
        chip = self.chip.state()
        if chip["double_burns"]:
            yield f"double burns {chip['double_burns'][:2]}"
        blind = [run for run in chip["second_runs"] if run["cause"] != "power"]
        if blind:
            yield f"the image was run on a part past ASSEMBLY: {blind}"
        if "known" not in last.result:
            yield f"the rerun did not end: {last.result}"
            return
        known = last.result["known"]
        if LABEL not in known["labels"]:
            yield "the part is not found by its label"
        touched = burnt["lc_state"] != "ASSEMBLY"
        if touched and last.result["known_before"]["burns"].get("tfm_provisioning.provision", "nothing") == "nothing":
            yield "the part was provisioned without an intent"
        yield from self._wrong_end(case, outcome, burnt, chip, known, str(last.result.get("reason")))

    def _wrong_end(
        self, case: Case, outcome: str, burnt: dict[str, Any], chip: dict[str, Any], known: dict[str, Any], reason: str
    ) -> Iterator[str]:
        if outcome == "pass":
            yield from self._wrong_part(chip)
            return
        if case.kind != "power cut":
            yield f"expected pass after the rerun, saw {outcome}: {reason}"
        elif outcome == "half_provisioned":
            if burnt["lc_state"] not in ("PROVISIONING", "INVALID"):
                yield f"it is called half provisioned, but it is {burnt['lc_state']}"
            if "only a recovery helps" not in reason:
                yield f"the sentence does not say what helps: {reason}"
        elif outcome == "network_core":
            if burnt["cores"]["net"]["debug_open"] or "only a recovery helps" not in reason:
                yield f"the network core could be reached, but it ended in {outcome}: {reason}"
        elif outcome == "boot_refused":
            if burnt["lc_state"] != "INVALID" or "only a recovery helps" not in reason:
                yield f"its life cycle state is {burnt['lc_state']}, but it ended in {outcome}: {reason}"
        elif outcome in ("locked", "quarantine"):
            if burnt["cores"]["app"]["debug_open"]:
                yield f"it could be asked, but it ended in {outcome}: {reason}"
        else:
            yield f"expected pass or a bin that says what the part is, saw {outcome}: {reason}"

    @staticmethod
    def _wrong_part(chip: dict[str, Any]) -> Iterator[str]:
        if chip["lc_state"] != "SECURED":
            yield f"it passed in {chip['lc_state']}"
        if still := [name for name, core in chip["cores"].items() if core["debug_open"]]:
            yield f"it passed with open debug ports: {still}"
        if any(word == 0xFFFF_FFFF for slot, word in chip["kmu"].items() if slot in ("2", "4", "6", "7")):
            yield f"it passed without all keys: {chip['kmu']}"


OUTCOMES = dict.fromkeys(("half_provisioned", "locked", "network_core", "boot_refused"), "recovered")
"""Bins that say what the part is, and out of which every part was recovered and passed then."""


def summary(name: str, reports: list[Report], flow: str = "tfm_provisioning") -> dict[str, Any]:
    """Counts in the form of the ledger."""
    counts: dict[str, dict[str, int]] = {}
    for report in reports:
        row = counts.setdefault(f"{flow}|{name}|{report.case.kind}", {})
        outcome = "broken" if report.broken else OUTCOMES.get(report.outcome, report.outcome)
        row[outcome] = row.get(outcome, 0) + 1
    doubles = sum("double burns" in line for report in reports for line in report.broken)
    return {"counts": counts, "quarantined": [], "double_burns": doubles}
