"""USB round trips and processor time of one part over Chip Probe and Final Test on the virtual bench."""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import Aim, Figure, Options, Report
from benchmarks.live_station import OPERATOR, PIN, SECONDS, virtual_station
from benchmarks.rest import rest_figure
from station.chips import DEFAULT_CHIP
from station.protocol import Answer, Command, PromptView, Scan, SelectRecipe, SignIn, SocketState, Start
from station.secret import Secret

STAGES = (("CP", "earlgrey-cp", "BENCH/W1/X{0}/Y0"), ("FT", "earlgrey-ft", "P{0:06d}"))


@dataclasses.dataclass(slots=True)
class PortTime:
    """Processor time spent inside port calls, and how many there were; of the socket's thread only."""

    cpu: float = 0.0
    calls: int = 0
    thread: int = 0
    _ports: dict[int, tuple[Any, Any]] = dataclasses.field(default_factory=dict)

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call with its processor time added up."""

        def wrapper(*arguments: Any, **named: Any) -> Any:
            if threading.get_ident() != self.thread:
                return call(*arguments, **named)
            began = time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                self.cpu += time.thread_time() - began
                self.calls += 1

        return wrapper

    def port(self, real: Any) -> Any:
        """A port of the same face whose public methods are timed; one for each real one, which is kept with it."""
        if id(real) not in self._ports:
            self._ports[id(real)] = (real, self._faced(real))
        return self._ports[id(real)][1]

    def _faced(self, real: Any) -> Any:
        def member(name: str) -> Any:
            value = getattr(real, name)
            return staticmethod(self.timed(value)) if callable(value) else property(lambda _: getattr(real, name))

        face = {name: member(name) for name in dir(real) if not name.startswith("_")}
        return type(f"Timed{type(real).__name__}", (), face)()


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What one run of one part cost."""

    own_cpu: float
    port_cpu: float
    process_cpu: float
    calls: int
    seconds: float
    out: int
    back: int
    control: int


def measure(options: Options) -> Report:
    """Several parts through both stages in one socket; medians over the parts, the first one left out."""
    parts = 3 if options.quick else 8
    with tempfile.TemporaryDirectory(prefix="part-") as folder, part_bench(Path(folder)) as bench:
        costs: dict[str, list[Cost]] = {stage: [] for stage, _, _ in STAGES}
        for stage, recipe, label in STAGES:
            bench.choose(recipe)
            for number in range(parts):
                costs[stage].append(bench.one(f"die-{number}", label.format(number)))
    report = Report()
    for stage in costs:
        report.figures += _stage_figures(stage, costs[stage][1:])
    both = [_sum(cp, ft) for cp, ft in zip(costs["CP"][1:], costs["FT"][1:], strict=True)]
    report.figures += _stage_figures("CP + FT", both, Aim("<=", 60))
    report.figures.append(rest_figure())
    report.notes.append(
        "the socket's thread from start to verdict: flow, part, formats, journal, events; round trips hold the polling "
        "of presence and lid, too"
    )
    return report


def _stage_figures(stage: str, costs: list[Cost], aim: Aim | None = None) -> list[Figure]:
    def middle(name: str) -> float:
        return float(statistics.median(getattr(cost, name) for cost in costs))

    trips = middle("out") + middle("back") + middle("control")
    split = f"{middle('out'):.0f} out, {middle('back'):.0f} in, {middle('control'):.0f} control"
    return [
        Figure(f"{stage}: USB round trips", trips, "transfers", note=split),
        Figure(f"{stage}: port calls", middle("calls"), "calls"),
        Figure(f"{stage}: CPU outside port calls", 1000 * middle("own_cpu"), "ms", aim),
        Figure(f"{stage}: CPU inside port calls", 1000 * middle("port_cpu"), "ms"),
        Figure(f"{stage}: CPU of the whole process", 1000 * middle("process_cpu"), "ms"),
        Figure(f"{stage}: wall time", middle("seconds"), "s"),
    ]


def _sum(first: Cost, second: Cost) -> Cost:
    names = [field.name for field in dataclasses.fields(Cost)]
    return Cost(**{name: getattr(first, name) + getattr(second, name) for name in names})


class Bench:
    """A workbench in this process, whose ports tell how long they were at work."""

    def __init__(self, config: Any) -> None:
        from station.hands import Hands
        from station.watching import Watcher
        from station.workbench import Workbench

        self._ports = PortTime()
        self._bench = Workbench(config)
        self._hands = Hands(config)
        self._watcher = Watcher(self._bench)
        appliance = self._bench.appliance
        self._bench.appliance = lambda socket: self._ports.port(appliance(socket))  # type: ignore[method-assign]
        self._must(SignIn(OPERATOR, Secret(PIN, "pin")))
        self._bench.start()
        worker = self._bench.worker(1)
        self._ports.thread = worker._thread.ident or 0
        self._clock = time.pthread_getcpuclockid(self._ports.thread)

    def choose(self, name: str) -> None:
        """Work on this recipe, its part on timed ports."""
        recipe = self._bench.load_recipe(name)
        real = recipe.part

        def part(ports: Mapping[str, Any], services: Any) -> Any:
            return real({port: self._ports.port(ports[port]) for port in ports}, services)

        self._bench._recipes[name] = dataclasses.replace(recipe, part=part)
        self._must(SelectRecipe(name))

    def one(self, shelf: str, label: str) -> Cost:
        """One part from insertion to removal; the cost is that from start to verdict."""
        self._hands.do(1, "insert", f"{shelf}@{label}" if "/" in label else shelf)
        self._hands.do(1, "lid", "closed")
        self._wait("the scan", lambda state: state.state == "scan")
        self._must(Scan(label, 1))
        ready = self._wait("the label", lambda state: state.may_start)
        before, usb = self._now(), self._usb()
        self._must(Start(1, ready.epoch))
        state = self._watcher.wait_verdict(1, SECONDS, self._yes)
        self._bench.worker(1).wait_idle()
        after, usb_after = self._now(), self._usb()
        if state.state != "pass":
            raise RuntimeError(f"expected a pass, got {state.verdict}")
        self._hands.do(1, "lid", "open")
        self._hands.do(1, "remove", "")
        self._wait("the removal", lambda state: state.state == "insert_part")
        thread, ports, process, calls, wall = (b - a for a, b in zip(before, after, strict=True))
        trips = [b - a for a, b in zip(usb, usb_after, strict=True)]
        return Cost(thread - ports, ports, process, int(calls), wall, *trips)

    def close(self) -> None:
        """Close everything."""
        self._bench.close()
        self._hands.close()

    def _now(self) -> tuple[float, float, float, float, float]:
        thread = time.clock_gettime(self._clock)
        return thread, self._ports.cpu, time.process_time(), float(self._ports.calls), time.monotonic()

    def _yes(self, prompt: PromptView) -> None:
        """What the flow asks is answered with its first choice."""
        self._must(Answer(1, prompt.id, prompt.choices[0]))

    def _usb(self) -> tuple[int, int, int]:
        handler: Any = self._hands.port
        channels = handler.state(1).get("channels", {}).values()
        return tuple(sum(channel[key] for channel in channels) for key in ("out", "in", "control"))  # type: ignore[return-value]

    def requests(self) -> int:
        """How many requests the socket's debug probe has got so far."""
        handler: Any = self._hands.port
        return sum(handler.state(1)["requests"].values())

    def _wait(self, what: str, fits: Callable[[SocketState], bool]) -> SocketState:
        return self._watcher.wait(1, what, fits, SECONDS)

    def _must(self, command: Command) -> None:
        if not self._bench.handle(command):
            raise RuntimeError(f"{type(command).__name__} was refused: {self._watcher.refused}")


@contextmanager
def part_bench(folder: Path, chip: str = DEFAULT_CHIP) -> Iterator[Bench]:
    """A workbench with one socket on a virtual bench of that chip."""
    from station.config import load_config

    before = dict(os.environ)
    with virtual_station(folder, 1, chip) as station:
        bench = Bench(load_config(station.station_file))
        try:
            yield bench
        finally:
            bench.close()
            os.environ.update(before)
