"""``station demo``: the main job on a virtual bench, and what it says while it works."""

from __future__ import annotations

import io
import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from station import plugins
from station.chips import DEFAULT_CHIP, Chip, chip_named
from station.cli_run import state_object
from station.errors import EXIT_FAIL, EXIT_PASS, ConfigError, Stopped
from station.hands import Hands
from station.model import Role
from station.processes import interruptible
from station.protocol import Acknowledge, Answer, Log, PromptView, Scan, SelectRecipe, SignIn, SocketState, Start
from station.secret import Secret
from station.shelf import Shelf
from station.socket_worker import QUARANTINE_IT
from station.verdict import sentence_of
from station.virtual_station import DEMO_OPERATOR, DEMO_PIN, VirtualStation, demo_folder
from station.watching import FINAL, Watcher, clock_text
from station.workbench import Workbench

SECONDS = 300.0
HAND_SECONDS = 30.0  # what hands wait for: a tile that follows its sensors
STOPPED = "the demo was stopped"
HINT = "use --data DIR to keep the records"


@dataclass(slots=True)
class Die:
    """One virtual die (or part) on its way: its name on the shelf, its labels per stage, and how it fared last."""

    shelf: str
    labels: dict[str, str]
    kind: str = ""


@dataclass(slots=True)
class Teller:
    """Says what happens: JSON lines for machines, sentences for people."""

    as_json: bool
    guard: threading.Lock = field(default_factory=threading.Lock)
    ended: bool = False

    def end(self, counts: dict[str, Any], words: str) -> None:
        """The last event of a demo."""
        self.ended = True
        self.event({"event": "demo_ended", **counts}, f"demo ended: {words}")

    def event(self, body: dict[str, Any], sentence: str) -> None:
        """One event."""
        with self.guard:
            click.echo(json.dumps(body, ensure_ascii=False) if self.as_json else sentence)

    def log(self, line: Log) -> None:
        """A log line of the station; people see it, machines ask the journal."""
        if not self.as_json:
            with self.guard:
                click.echo(f"{clock_text(line.time)} {line.socket or ' '} {line.source:8} {line.text}", err=True)


def run_demo(
    *, chip: str, sku: str, parts: int, sockets: int, fault: str, driver: str, data: Path | None, headless: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Set everything up, run the parts (or open the window), end everything; returns the exit code."""
    teller = Teller(as_json)
    try:
        return _run_demo(chip, sku, parts, sockets, fault, driver, data, headless, teller)
    except BaseException as error:  # whoever reads the lines is never left waiting for the last one
        if as_json and not teller.ended:
            teller.end(_counts(chip, parts, []) | {"error": _said(error)}, "")
        if isinstance(error, KeyboardInterrupt):
            raise Stopped(STOPPED) from None
        raise


def _said(error: BaseException) -> str:
    return STOPPED if isinstance(error, KeyboardInterrupt) else sentence_of(error)


def _run_demo(
    chip: str, sku: str, parts: int, sockets: int, fault: str, driver: str, data: Path | None, headless: bool,
    teller: Teller,
) -> int:  # fmt: skip
    kind = chip_named(chip)
    if fault:
        check_fault(fault, chip)
    if not headless:
        from station.cli_window import open_demo_window

        return open_demo_window(data, sockets, sku, driver, chip)
    with (
        interruptible(),
        demo_folder(data) as folder,
        VirtualStation(folder, sockets, sku, driver, kept=data is not None, chip=chip) as station,
    ):
        return Demo(station, kind, parts, fault, teller).run()


class Demo:
    """Dies through all stages over all sockets, one hand per socket."""

    def __init__(self, station: VirtualStation, chip: Chip, parts: int, fault: str, teller: Teller) -> None:
        self._station = station
        self._chip = chip
        self._parts = parts
        self._dies: list[Die] = []
        self._left_over = 0
        self._fault = fault
        self._teller = teller
        self._stopped = threading.Event()
        self._errors: list[BaseException] = []
        self._began = time.monotonic()

    def run(self) -> int:
        """All parts; the exit code is 0 only when all passed. The summary comes on every way out."""
        try:
            self._run()
        except BaseException as error:  # the summary first, then whatever it was
            self._summary(_said(error))
            raise
        return self._summary()

    def _run(self) -> None:
        from station.config import load_config
        from station.secret import harden_process

        harden_process()
        config = load_config(self._station.station_file)
        bench = Workbench(config)
        hands = Hands(config)
        try:
            self._dies = _fresh_dies(hands, self._station.data, self._parts, self._chip)
            _clear_sockets(hands, len(config.sockets))
            watcher = Watcher(bench, self._teller.log)
            self._sign_in(bench)
            bench.start(seated=True)
            words = f"{_counted(len(self._dies), 'part')} over {_counted(len(bench.workers), 'socket')}"
            counts = {"parts": len(self._dies), "sockets": len(bench.workers)}
            kept = {"data": str(self._station.folder)} if self._station.kept else {}
            self._tell("demo_started", words, **counts, **kept)
            self._settle_interrupted(bench, watcher)
            self._clear_verdicts(bench, watcher)
            self._all_stages(bench, watcher, hands)
        finally:
            self._stopped.set()
            bench.close(STOPPED)
            hands.close()

    def _all_stages(self, bench: Workbench, watcher: Watcher, hands: Hands) -> None:
        going = self._dies
        for stage in self._chip.stages:
            if not bench.handle(SelectRecipe(stage.recipe)):
                raise ConfigError(watcher.refused.get(0, f"recipe {stage.recipe} was refused"))
            self._stage(bench, watcher, hands, stage.name, going)
            going = [die for die in going if die.kind == "pass"]

    def _stage(self, bench: Workbench, watcher: Watcher, hands: Hands, stage: str, dies: list[Die]) -> None:
        """One recipe for all dies that are still good; a hand per socket takes the next die."""
        waiting: queue.SimpleQueue[Die] = queue.SimpleQueue()
        for die in dies:
            waiting.put(die)

        def hand(socket: int) -> None:
            with self._reporting():
                while not self._stopped.is_set():
                    try:
                        die = waiting.get_nowait()
                    except queue.Empty:
                        return
                    self._one(bench, watcher, hands, stage, socket, die)

        threads = [threading.Thread(target=hand, args=(socket,), name=f"hand {socket}") for socket in bench.workers]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # in slices, so that a signal is heard
        except BaseException:  # all hands stop before anything is closed
            self._stopped.set()
            for worker in bench.workers.values():
                worker.stop(STOPPED)
            for thread in threads:
                thread.join()
            raise
        if self._errors:
            raise self._errors[0]

    def _one(self, bench: Workbench, watcher: Watcher, hands: Hands, stage: str, socket: int, die: Die) -> None:
        """Insert, close, scan, start, read the verdict, take out."""
        faulty = bool(self._fault) and die is self._dies[0]
        yes = self._answering(bench, watcher, socket)
        hands.do(socket, "insert", die.shelf)
        hands.do(socket, "lid", "closed")
        at_once = self._fault in self._chip.at_once
        if faulty and not at_once:
            hands.do(socket, "fault", self._fault)
        words = f"socket {socket} to wait for a scan"
        watcher.wait(socket, words, lambda state: state.state == "scan", HAND_SECONDS)
        self._must(bench, watcher, Scan(die.labels[stage], socket))
        ready = watcher.wait(socket, "the label to be taken", lambda state: state.may_start, HAND_SECONDS)
        self._must(bench, watcher, Start(socket, ready.epoch))
        if faulty and at_once:
            watcher.wait(socket, "the first burn", lambda s: s.state in ("burning", *FINAL), SECONDS, yes)
            hands.do(socket, "fault", self._fault)
        state = watcher.wait_verdict(socket, SECONDS, yes)
        bench.worker(socket).wait_idle()
        self._told(stage, die, state)
        if faulty:
            _repair(hands, socket)
        if state.needs_acknowledge:
            self._must(bench, watcher, Acknowledge(socket, watcher.states[socket].epoch))
        hands.do(socket, "lid", "open")
        hands.do(socket, "remove", "")
        words = f"socket {socket} to be empty"
        watcher.wait(socket, words, lambda s: s.state == "insert_part", HAND_SECONDS)

    def _answering(self, bench: Workbench, watcher: Watcher, socket: int) -> Callable[[PromptView], None]:
        """The demo says yes, the first choice, to whatever the flow asks: nothing here is worth keeping."""

        def answer(prompt: PromptView) -> None:
            self._must(bench, watcher, Answer(socket, prompt.id, prompt.choices[0]))
            self._tell("answered", f"socket {socket}: {prompt.text} {prompt.choices[0]}", socket=socket,
                       question=prompt.text, choice=prompt.choices[0])  # fmt: skip

        return answer

    def _told(self, stage: str, die: Die, state: SocketState) -> None:
        assert state.verdict is not None
        die.kind = state.verdict.kind
        body = {**state_object(state), "event": "part", "stage": stage, self._chip.noun: die.shelf}
        verdict = state.verdict
        words = f"{stage.upper()} {state.label}: {verdict.kind.upper()} bin {verdict.bin} -> {verdict.tray}"
        self._teller.event(body, f"{words} {verdict.reason}".rstrip())

    def _must(self, bench: Workbench, watcher: Watcher, command: Scan | Start | Acknowledge | Answer) -> None:
        if not bench.handle(command):
            sentence = watcher.latched or watcher.refused.get(command.socket, "a command was refused")
            raise ConfigError(f"socket {command.socket}: {sentence}")

    def _settle_interrupted(self, bench: Workbench, watcher: Watcher) -> None:
        """A demo in this folder was killed: its parts are no longer in the sockets, and the station is told so."""
        for socket, state in list(watcher.states.items()):
            if state.state != "interrupted" or state.prompt is None:
                continue
            if not bench.handle(Answer(socket, state.prompt.id, QUARANTINE_IT)):
                raise ConfigError(f"socket {socket}: {watcher.refused.get(socket, 'the question stays open')}")
            now = watcher.wait(socket, "the verdict", lambda state: state.needs_acknowledge, SECONDS)
            self._told_left_over(replace(now, label=now.label or state.label))
            self._must(bench, watcher, Acknowledge(socket, now.epoch))
            watcher.wait(socket, f"socket {socket} to be empty", lambda s: s.state == "insert_part", SECONDS)

    def _told_left_over(self, state: SocketState) -> None:
        """The part of a killed demo is none of this one's parts; it is told and counted for itself."""
        assert state.verdict is not None
        self._left_over += 1
        verdict = state.verdict
        words = f"{state.label}: {verdict.kind.upper()} bin {verdict.bin} -> {verdict.tray} {verdict.reason}".rstrip()
        self._teller.event(
            {**state_object(state), "event": "left_over", "chip": self._chip.name},
            f"left over from a demo that was killed: {words}",
        )

    def _clear_verdicts(self, bench: Workbench, watcher: Watcher) -> None:
        """An earlier demo in this folder was ended before it could read its verdicts; the sockets are empty now."""
        for socket, state in list(watcher.states.items()):
            if state.verdict is None and not (state.state == "insert_part" and state.expects):
                continue
            if state.needs_acknowledge:
                self._must(bench, watcher, Acknowledge(socket, watcher.states[socket].epoch))
            watcher.wait(
                socket,
                f"socket {socket} to be empty",
                lambda s: s.state == "insert_part" and not s.expects,
                HAND_SECONDS,
            )

    def _sign_in(self, bench: Workbench) -> None:
        """Somebody must work: the virtual bench's supervisor, with the PIN that everybody knows."""
        bench.operators.add(DEMO_OPERATOR, Role.SUPERVISOR, DEMO_PIN)
        if not bench.handle(SignIn(DEMO_OPERATOR, Secret(DEMO_PIN, "pin"))):
            raise ConfigError("the demo's own operator could not sign in")

    def _summary(self, error: str = "") -> int:
        kinds = [die.kind for die in self._dies]
        counts = _counts(self._chip.name, self._parts, kinds, time.monotonic() - self._began, self._left_over)
        counts |= {"error": error} if error else {}
        words = ", ".join(f"{name} {value}" for name, value in counts.items())
        if counts["passed"] != self._parts and not self._station.kept:
            counts["hint"] = HINT
            words += f"; {HINT}"
        self._teller.end(counts, words)
        return EXIT_PASS if counts["passed"] == self._parts else EXIT_FAIL

    def _tell(self, event: str, sentence: str, **body: Any) -> None:
        self._teller.event({"event": event, "chip": self._chip.name, **body}, sentence)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """An error in one hand stops all of them and is raised in the main thread."""
        try:
            yield
        except BaseException as error:  # a thread must hand over whatever ended it
            self._errors.append(error)
            self._stopped.set()


def _counts(chip: str, parts: int, kinds: list[str], seconds: float = 0.0, left_over: int = 0) -> dict[str, Any]:
    """The figures of the summary."""
    found = Counter(kinds)
    return {
        "chip": chip, "parts": parts, "passed": found["pass"], "failed": found["fail"], "held": found["hold"],
        "quarantined": found["quarantine"], "bench_faults": found["bench"], "left_over": left_over,
        "seconds": round(seconds, 2),
    }  # fmt: skip


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _fresh_dies(hands: Hands, data: Path, count: int, chip: Chip) -> list[Die]:
    """Dies that are not on the shelf yet, so that a kept folder can be used again."""
    shelf, taken = Shelf(data), list(hands.port.parts())
    names = [shelf.new("", "", taken, chip.noun) for _ in range(count)]
    return [Die(name, {stage.name: shelf.label(name, stage.label) for stage in chip.stages}) for name in names]


def check_fault(fault: str, chip: str) -> None:
    """Raise ``ConfigError`` when the virtual bench has no such fault; nothing has been started or burnt yet."""
    said = io.StringIO()
    with redirect_stderr(said):
        which = [] if chip == DEFAULT_CHIP else ["--chip", chip]
        wrong = plugins.load("station.simulators", "virtual")([*which, "--check-fault", fault])
    if wrong:
        raise ConfigError(said.getvalue().strip())


def _clear_sockets(hands: Hands, count: int) -> None:
    """Take out what an earlier demo in the same folder left behind."""
    for socket in range(1, count + 1):
        if hands.port.state(socket).get("label"):
            hands.do(socket, "remove", "")
        hands.do(socket, "lid", "open")


def _repair(hands: Hands, socket: int) -> None:
    """The fault of the first part is put right: cable in, supply on, nothing armed."""
    hands.do(socket, "replug", "")
    hands.do(socket, "power", "on")
    hands.do(socket, "fault", "clear")
