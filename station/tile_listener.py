"""The listener of a run: steps, burns, log lines and questions, brought to the tile of its socket."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Sequence

from station.errors import Refused
from station.plan import Title
from station.protocol import Event, Log, PromptView
from station.socket_view import SocketView


class TileListener:
    """Thread-safe; at most one question is open."""

    def __init__(self, view: SocketView, emit: Callable[[Event], None]) -> None:
        self._view = view
        self._emit = emit
        self._socket = view.now.socket
        self._number = 0
        self._open: PromptView | None = None
        self._answer: queue.Queue[str] = queue.Queue(maxsize=1)
        self._answering = True

    def step(self, title: Title, status: str, seconds: float) -> None:
        """A title moved."""
        self._view.step(title, status, seconds)

    def burning(self, title: Title | None) -> None:
        """DO NOT REMOVE, or not any more."""
        self._view.burning(title)
        if title is not None:
            self.log(f"◆ {title.text}: irreversible, do not remove", "station", "info")

    def settling(self, title: Title) -> None:
        """DO NOT REMOVE, and nothing else happens for a while."""
        self._view.settling(title)

    def log(self, text: str, source: str, level: str) -> None:
        """One line for the log."""
        self._emit(Log(time.time(), self._socket, source, level, text))

    def identified(self, device_id: str) -> None:
        """The chip's own id is known."""
        self._view.change(device_id=device_id)

    def ask(self, text: str, choices: Sequence[str]) -> str:
        """Put a question into the tile and wait for the answer (an empty one when the run is to stop)."""
        self._view.change(prompt=self.question(text, tuple(choices)))
        if not self._answering:  # a stop that came before the question was open
            self.give("")
        try:
            return self._answer.get()
        finally:
            self.forget()

    def question(self, text: str, choices: tuple[str, ...]) -> PromptView:
        """Open a question without waiting for its answer."""
        self._number += 1
        with contextlib.suppress(queue.Empty):
            self._answer.get_nowait()
        self._open = PromptView(self._number, text, choices)
        return self._open

    def answer(self, prompt: int, choice: str) -> None:
        """Answer the question of that number; ``Refused`` when it is not open or has no such choice."""
        if self._open is None or self._open.id != prompt:
            raise Refused(f"socket {self._socket} has no open question {prompt}")
        if choice not in self._open.choices:
            raise Refused(f"expected one of {', '.join(self._open.choices)}, got {choice!r}")
        self.give(choice)

    def give(self, choice: str) -> None:
        """Let whoever waits for an answer go on."""
        if self._open is not None:
            with contextlib.suppress(queue.Full):
                self._answer.put_nowait(choice)

    def answering(self, wanted: bool) -> None:
        """False: whoever waits for an answer, or is about to, goes on without one; True at the start of a run."""
        self._answering = wanted
        if not wanted:
            self.give("")

    def forget(self) -> None:
        """The question is not open any more."""
        self._open = None
        self._view.change(prompt=None)
