"""Questions of a flow at the command line: answered ahead by options, or typed at the terminal."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Sequence

import click

from station.errors import Refused
from station.protocol import Answer, PromptView
from station.watching import Watcher
from station.workbench import Workbench

LOOK = 0.2


class Questions:
    """Answers what the flow in one socket asks: first what was given, in order, then whoever sits at the terminal.

    Where nobody can answer, the run is stopped and ``unanswered`` is True; nothing is taken for a yes.
    """

    def __init__(self, bench: Workbench, watcher: Watcher, socket: int, given: Sequence[str]) -> None:
        self._bench = bench
        self._watcher = watcher
        self._socket = socket
        self._given = list(given)
        self.unanswered = False

    def __call__(self, prompt: PromptView) -> None:
        """Answer one question."""
        choices = " or ".join(f"{number} ({choice})" for number, choice in enumerate(prompt.choices, 1))
        if self._given:
            typed = self._given.pop(0)
        elif sys.stdin is not None and sys.stdin.isatty():
            click.echo(f"socket {self._socket}: {prompt.text}\n{choices}: ", err=True, nl=False)
            typed = self._typed(prompt)
        else:
            self._stop(f"the flow asks '{prompt.text}' and nobody answers; give --answer, {choices}")
            return
        try:
            choice = chosen(typed, prompt.choices)
        except Refused as error:
            self._stop(str(error))
            return
        if self._open(prompt) and not self._bench.handle(Answer(self._socket, prompt.id, choice)):
            self._stop(self._watcher.refused.get(self._socket, "the answer was refused"))

    def _stop(self, why: str) -> None:
        self.unanswered = True
        self._bench.worker(self._socket).stop(why)

    def _open(self, prompt: PromptView) -> bool:
        now = self._watcher.states[self._socket].prompt
        return now is not None and now.id == prompt.id

    def _typed(self, prompt: PromptView) -> str:
        """A line from the terminal; nothing once the question is closed by a stop."""
        return typed_line(lambda: self._open(prompt))


def chosen(typed: str, choices: Sequence[str]) -> str:
    """The choice by its number or its words, in whatever case; ``Refused`` when it is none."""
    text = typed.strip()
    if text.isdecimal() and 1 <= int(text) <= len(choices):
        return choices[int(text) - 1]
    for choice in choices:
        if choice.casefold() == text.casefold():
            return choice
    raise Refused(f"expected one of {', '.join(choices)} (or its number) for an answer, got {text!r}")


def typed_line(wanted: Callable[[], bool]) -> str:
    """The next line of the terminal, or an empty one when it is not wanted any more."""
    try:
        while not select.select([sys.stdin], [], [], LOOK)[0]:
            if not wanted():
                return ""
    except OSError:  # no terminal that can be waited for, as on Windows
        pass
    return sys.stdin.readline()
