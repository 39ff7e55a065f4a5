"""``station run`` and ``station answer``: one part in one socket, in this process."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from station import labels
from station.cli_common import answer_line, find_config, opened_bench, sign_in
from station.cli_questions import Questions
from station.commands import checked_part
from station.errors import EXIT_PASS, BenchError, ConfigError, JournalError, Refused, Stopped, WaitTimeout
from station.hands import Hands
from station.model import BinKind
from station.protocol import Acknowledge, Answer, Log, PromptView, Scan, SelectRecipe, SocketState, Start
from station.recipe import Recipe
from station.shelf import put_labelled
from station.socket_worker import CHECK_IT, QUARANTINE_IT
from station.verdict import exit_code
from station.watching import Asked, Watcher, clock_text
from station.workbench import ENDED, Workbench

LONGEST_RUN = 3600.0
FAULT_PATIENCE = 3.0  # a socket may be without power, or its adapter unknown, for a moment


def run_recipe(
    recipe: str, *, label: str, socket: int, lot: str, wait: float, answers: Sequence[str], station_file: Path | None,
    data: Path | None, operator: str, pin_stdin: bool, as_json: bool, insert: bool = False,
) -> int:  # fmt: skip
    """``station run RECIPE``; ``insert``: the hand of a virtual bench puts the part in before."""
    with opened_bench(station_file, data) as bench, _stop_on_signals(bench) as stopped:
        sign_in(bench, operator, pin_stdin)
        watcher = Watcher(bench, None if as_json else _show_log)
        bench.worker(socket)
        _must(bench, watcher, SelectRecipe(recipe, lot))
        bench.refuse_misplaced(bench.load_recipe(recipe), socket)
        if insert and socket not in bench.journal.interrupted():
            _insert(bench, socket, bench.load_recipe(recipe), label)
        bench.start()
        if watcher.states[socket].state == "interrupted":
            raise Refused(
                f"a run in socket {socket} was interrupted; answer first: {answer_line(bench.config, socket)}"
            )
        hint = "" if bench.config.virtual_bench is None else "; --insert lets the virtual bench put it in"
        _await_part(watcher, socket, wait, stopped, hint)
        _must(bench, watcher, Scan(label, socket))
        state = watcher.wait(socket, "the label to be taken", lambda state: state.may_start, wait)
        if stopped.is_set():
            raise Stopped("stopped before the run began")
        _must(bench, watcher, Start(socket, state.epoch))
        return _finish(bench, watcher, socket, as_json, answers)


def _insert(bench: Workbench, socket: int, recipe: Recipe, scan: str) -> None:
    """What the scan would refuse is refused before: a label that was printed stays on its part for good."""
    scanned = labels.understand(scan)
    if scanned.meaning != "part":
        raise Refused(f"that is a {scanned.meaning} label; --insert wants the label of a part")
    label = labels.part_label(recipe, scanned.value)
    checked_part(bench, recipe, label, socket)
    put_labelled(bench, socket, recipe, label)


def use_hand(action: str, argument: str, *, socket: int, station_file: Path | None, data: Path | None) -> int:
    """``station hand``; the workbench is not opened, so that an engine may be at work on the same bench."""
    config = find_config(station_file, data)
    if config.handler is None or config.virtual_bench is None:
        raise ConfigError("this station has no virtual bench to handle: `virtual_bench` and [handler] are missing")
    if not 1 <= socket <= len(config.sockets):
        raise ConfigError(f"this station has sockets 1 to {len(config.sockets)}, not {socket}")
    hands = Hands(config)
    try:
        if action != "state":
            hands.do(socket, action, argument)
        click.echo(json.dumps(hands.state(socket), ensure_ascii=False, default=str))
    finally:
        hands.close()
    return EXIT_PASS


def answer_interrupted(
    *, socket: int, choice: str, answers: Sequence[str], station_file: Path | None, data: Path | None, operator: str,
    pin_stdin: bool, as_json: bool,
) -> int:  # fmt: skip
    """``station answer``."""
    with opened_bench(station_file, data) as bench, _stop_on_signals(bench):
        sign_in(bench, operator, pin_stdin)
        watcher = Watcher(bench, None if as_json else _show_log)
        bench.worker(socket)
        bench.start()
        asked = bench.worker(socket).view.now
        prompt = asked.prompt
        if prompt is None:
            raise Refused(f"socket {socket} has no interrupted part")
        words = CHECK_IT if choice == "check" else QUARANTINE_IT
        _must(bench, watcher, Answer(socket, prompt.id, words))
        return _finish(bench, watcher, socket, as_json, answers, asked.label)


def _unless_asked_again(questions: Questions, watcher: Watcher, socket: int) -> Asked:
    """Whoever answered for an interrupted part is told why the same question is open once more."""

    def ask(prompt: PromptView) -> None:
        state = watcher.states[socket]
        if state.state == "interrupted":
            raise BenchError(f"socket {socket}: {state.expects}; the question about {state.label} stays")
        questions(prompt)

    return ask


def _await_part(watcher: Watcher, socket: int, seconds: float, stopped: threading.Event, hint: str) -> None:
    """Wait for a part; a fault of the bench that stays is said at once, not when the time is over."""

    def settled(state: SocketState) -> bool:
        faulty = state.state == "bench_fault" and time.time() - state.since > FAULT_PATIENCE
        return state.state == "scan" or faulty or stopped.is_set()

    try:
        state = watcher.wait(socket, f"a part in socket {socket}", settled, seconds)
    except WaitTimeout as error:
        raise BenchError(f"{error}{hint}") from None
    if stopped.is_set():
        raise Stopped("stopped before the run began")
    if state.state != "scan":
        raise BenchError(f"socket {socket}: {state.expects}")


def _finish(
    bench: Workbench, watcher: Watcher, socket: int, as_json: bool, answers: Sequence[str], asked: str = ""
) -> int:
    questions = Questions(bench, watcher, socket, answers)
    state = watcher.wait_verdict(socket, LONGEST_RUN, _unless_asked_again(questions, watcher, socket))
    state = replace(state, label=state.label or asked)  # the tile names no part that was moved, the answer does
    bench.worker(socket).wait_idle()
    verdict = state.verdict
    if bench.journal.latched or verdict is None:
        raise JournalError(bench.journal.latched)
    if as_json:
        click.echo(json.dumps(state_object(state), ensure_ascii=False))
    else:
        click.echo(f"{verdict.kind.upper()} bin {verdict.bin} {verdict.name} -> tray {verdict.tray}. {verdict.reason}")
    if state.needs_acknowledge:
        bench.handle(Acknowledge(socket, state.epoch))
    if verdict.kind not in (BinKind.FAIL, BinKind.QUARANTINE):  # a bad part is asked for again until it was seen to go
        bench.worker(socket).note_removed("left to the caller of the command")
    code = exit_code(verdict, bench.worker(socket).last_error)
    return BenchError.exit_code if questions.unanswered and code == Stopped.exit_code else code  # nobody stopped it


def state_object(state: SocketState) -> dict[str, object]:
    """A verdict as one flat JSON object."""
    verdict = state.verdict
    assert verdict is not None
    return {
        "event": "verdict", "socket": state.socket, "label": state.label, "device_id": state.device_id,
        "kind": verdict.kind, "bin": verdict.bin, "hard_bin": verdict.hard_bin, "bin_id": verdict.bin_id,
        "tray": verdict.tray, "reason": verdict.reason, "part_state": verdict.part_state, "seconds": state.elapsed,
    }  # fmt: skip


def _must(bench: Workbench, watcher: Watcher, command: SelectRecipe | Scan | Start | Answer) -> None:
    """Carry out a command or end with the sentence why not."""
    if not bench.handle(command):
        if bench.journal.latched:
            raise JournalError(bench.journal.latched)
        raise Refused(watcher.refused.get(getattr(command, "socket", 0), "the command was refused"))


def _show_log(line: Log) -> None:
    click.echo(f"{clock_text(line.time)} {line.socket or ' '} {line.source:8} {line.text}", err=True)


@contextmanager
def _stop_on_signals(bench: Workbench) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM stop the run at its next wait outside a burn; the verdict still comes.

    Before there is a run they set the event that this gives, so that none is begun.
    """
    stopped = threading.Event()

    def stop(number: int, _: object) -> None:
        stopped.set()
        for worker in bench.workers.values():
            worker.stop("" if number == signal.SIGINT else ENDED)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    previous = {getattr(signal, name): signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
