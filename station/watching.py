"""Waiting for what a workbench says: the command line's and the demo's side of the event stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from station.deadline import Deadline
from station.errors import BenchError, JournalError, WaitTimeout
from station.protocol import CommandRefused, Event, Latched, Log, PromptView, SocketState
from station.workbench import Workbench

FINAL = ("pass", "fail", "hold", "quarantine", "bench_fault")
Asked = Callable[[PromptView], None]
"""Answers a question of a flow."""


class Watcher:
    """Keeps the last state of every socket; any thread may wait."""

    def __init__(self, bench: Workbench, log: Callable[[Log], None] | None = None) -> None:
        self.states = {number: worker.view.now for number, worker in bench.workers.items()}
        self.refused: dict[int, str] = {}
        self.latched = ""
        self._log = log
        self._changed = threading.Condition()
        self._end = bench.subscribe(self._take)

    def close(self) -> None:
        """Stop listening."""
        self._end()

    def wait(
        self, socket: int, what: str, fits: Callable[[SocketState], bool], seconds: float, asked: Asked | None = None
    ) -> SocketState:
        """The first state of a socket that fits; ``WaitTimeout`` naming ``what``, ``JournalError`` once latched.

        ``asked`` answers what the flow asks until then.
        """
        deadline, seen = Deadline(seconds), 0
        while True:
            with self._changed:
                while not (fits(state := self.states[socket]) or (asked is not None and _asks(state) > seen)):
                    if self.latched:
                        raise JournalError(self.latched)
                    self._check(deadline, what, state)
                    self._changed.wait(min(deadline.left, 1.0))
            if state.prompt is None or asked is None or fits(state):
                return state
            seen = state.prompt.id
            asked(state.prompt)

    @staticmethod
    def _check(deadline: Deadline, what: str, state: SocketState) -> None:
        """The time is over: say what is wrong with the bench rather than what did not come."""
        try:
            deadline.check(what)
        except WaitTimeout:
            if state.state == "bench_fault" and state.expects:
                raise BenchError(f"socket {state.socket}: {state.expects}") from None
            raise

    def wait_verdict(self, socket: int, seconds: float, asked: Asked | None = None) -> SocketState:
        """The state with the verdict of the run in progress."""
        what = f"a verdict in socket {socket}"
        state = self.wait(socket, what, lambda state: state.state in FINAL, seconds, asked)
        if state.verdict is None:  # the socket's thread met an error of the program outside the flow
            raise BenchError(f"socket {socket}: {state.expects or 'the run ended without a verdict'}")
        return state

    def _take(self, event: Event) -> None:
        if isinstance(event, Log):
            if self._log is not None:
                self._log(event)
            return
        with self._changed:
            if isinstance(event, SocketState):
                self.states[event.socket] = event
            elif isinstance(event, CommandRefused):
                self.refused[event.socket] = event.sentence
            elif isinstance(event, Latched):
                self.latched = event.sentence
            self._changed.notify_all()


def _asks(state: SocketState) -> int:
    """The number of the open question, from 1 on; 0 when there is none."""
    return state.prompt.id if state.prompt is not None else 0


def clock_text(seconds: float) -> str:
    """A time of day for log lines."""
    return time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}"
