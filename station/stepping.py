"""One step from its beginning to the record of how it ended (architecture, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station.plan import Title
from station.verdict import sentence_of

if TYPE_CHECKING:
    from station.run import Run


class Stepping:
    """The body of one step; a class of its own, since a generator costs as much as the row it writes."""

    __slots__ = ("_began", "_run", "_title")

    def __init__(self, run: Run, title: Title) -> None:
        self._run = run
        self._title = title
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = self._run.begin_title(self._title, burn=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._run.end_title(self._title, "done", self._began)
        else:  # whatever ended it is recorded, then goes on
            self._run.end_title(self._title, "failed", self._began, sentence_of(error))
