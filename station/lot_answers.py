"""What was confirmed once for a whole lot: asked by the first socket that needs it, remembered by the journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from station.journal import Journal
from station.journal_rows import Context

KIND = "confirmed"
TURN = 0.1


class LotAnswers:
    """Thread-safe; one for all sockets. Without a lot nothing is remembered: each part is asked about."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._turn = threading.Lock()
        self._given: set[tuple[str, str, str]] | None = None

    @contextmanager
    def turn(self, check: Callable[[], None]) -> Iterator[None]:
        """While one socket asks, the others wait for its answer; ``check`` is called meanwhile and may raise."""
        while not self._turn.acquire(timeout=TURN):
            check()
        try:
            yield
        finally:
            self._turn.release()

    def has(self, context: Context, name: str) -> bool:
        """Whether this was confirmed for the lot and recipe of the context."""
        return bool(context.lot) and _key(context, name) in self._known()

    def keep(self, context: Context, name: str, question: str, choice: str) -> None:
        """Record that it was confirmed; on the disk on return."""
        self._journal.write(context, KIND, name, {"question": question, "choice": choice})
        if context.lot:
            self._known().add(_key(context, name))

    def _known(self) -> set[tuple[str, str, str]]:
        """Read from the journal at the first question of this process."""
        if self._given is None:
            rows = self._journal.rows("WHERE kind = ?", (KIND,))
            self._given = {_key(row.context, row.title) for row in rows if row.context.lot}
        return self._given


def _key(context: Context, name: str) -> tuple[str, str, str]:
    return context.lot, context.recipe, name
