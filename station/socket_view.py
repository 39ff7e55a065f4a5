"""What one tile shows: a mutable state from which whole ``SocketState`` events are made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from station.plan import Plan, Title
from station.protocol import Event, PlanItem, Progress, SocketState, StepState

STARTING_FIELDS = frozenset({"state", "label", "may_start", "needs_acknowledge", "prompt", "verdict"})
RUNNING = ("checking", "running", "burning")
VERDICTS = ("pass", "fail", "hold", "quarantine", "bench_fault")
_FIELDS = frozenset(f.name for f in fields(SocketState))


class SocketView:
    """Thread-safe; every change goes out as a whole state, with a new epoch when a start would do something else."""

    def __init__(self, socket: int, contacts_limit: int, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._guard = threading.RLock()
        self._began = 0.0
        self._asked = 0.0  # since when a question has been open: the clock of the run stands
        self._now = SocketState(
            socket=socket, epoch=1, state="insert_part", contacts_limit=contacts_limit, since=time.time()
        )

    @property
    def now(self) -> SocketState:
        """The present state with its times."""
        with self._guard:
            if self._now.state not in RUNNING:
                return self._now
            return replace(self._now, **self._clock(self._now.steps))

    def change(self, **changes: Any) -> None:
        """Change fields; nothing goes out when all are as they were."""
        unknown = set(changes) - _FIELDS
        if unknown:
            raise TypeError(f"a socket has no {unknown}")
        with self._guard:
            different = {name: value for name, value in changes.items() if getattr(self._now, name) != value}
            if not different:
                return
            if STARTING_FIELDS & set(different):
                different["epoch"] = self._now.epoch + 1
            if "prompt" in different:
                self._hold_clock(different["prompt"] is not None)
            if "state" in different:
                different["since"] = time.time()
            if different.get("state", self._now.state) in RUNNING:
                different = self._clock(different.get("steps", self._now.steps)) | different
            self._now = replace(self._now, **different)
            self._emit(self._now)

    def change_when(self, fits: Callable[[SocketState], bool], **changes: Any) -> bool:
        """Change fields only while the state fits; False when it does not (any more)."""
        with self._guard:
            if not fits(self._now):
                return False
            self.change(**changes)
            return True

    def begin(self, plan: Plan, typical: float) -> None:
        """A run starts: clean checklist, clock at zero."""
        with self._guard:
            self._began, self._asked = time.monotonic(), 0.0
            items = tuple(PlanItem(title.id, title.text, title.irreversible) for title in plan)
            self.change(
                state="checking", plan=items, steps=(), typical=typical, verdict=None, prompt=None, percent=0,
                may_start=False, needs_acknowledge=False, stop_allowed=True, stop_requested=False, device_id="",
            )  # fmt: skip

    def step(self, title: Title, status: str, seconds: float) -> None:
        """One title of the checklist moved."""
        with self._guard:
            others = tuple(step for step in self._now.steps if step.id != title.id)
            self.change(steps=(*others, StepState(title.id, status, round(seconds, 3))))

    def burning(self, title: Title | None) -> None:
        """DO NOT REMOVE, or not any more."""
        with self._guard:
            if self._now.state not in RUNNING:
                return
            if title is None:
                self.change(state="running", burn_title="", settling=False, stop_allowed=True)
            else:
                self.change(state="burning", burn_title=title.text, settling=False, stop_allowed=False)

    def settling(self, title: Title) -> None:
        """DO NOT REMOVE: the chip may still be burning, and its worst case passes before it is asked."""
        with self._guard:
            if self._now.state in RUNNING:
                self.change(state="burning", burn_title=title.text, settling=True, stop_allowed=False)

    def progress(self) -> None:
        """Send a small progress event while running."""
        now = self.now
        if now.state in RUNNING:
            self._emit(Progress(now.socket, now.percent, now.elapsed))

    def finish(self, state: str, **changes: Any) -> None:
        """The run is over: freeze the clock."""
        with self._guard:
            self._hold_clock(False)
            elapsed = round(time.monotonic() - self._began, 3) if self._began else 0.0
            self.change(state=state, elapsed=elapsed, percent=100, burn_title="", settling=False, stop_allowed=False,
                        **changes)  # fmt: skip

    def _hold_clock(self, asked: bool) -> None:
        """What an operator takes to answer is no time of the run."""
        if asked:
            self._asked = self._asked or time.monotonic()
        elif self._asked:
            self._began += time.monotonic() - self._asked
            self._asked = 0.0

    def _clock(self, steps: tuple[StepState, ...]) -> dict[str, Any]:
        elapsed = round((self._asked or time.monotonic()) - self._began, 3)
        return {"elapsed": elapsed, "percent": self._percent(elapsed, steps)}

    def _percent(self, elapsed: float, steps: tuple[StepState, ...]) -> int:
        if self._now.typical > 0:
            return min(99, int(100 * elapsed / self._now.typical))
        done = sum(step.status != "running" for step in steps)
        return min(99, 100 * done // max(1, len(self._now.plan)))
