"""What the appliance needs of a database: short transactions that are durable when they return, in one SQL for all.

Statements are written in what SQLite and PostgreSQL have in common, with ``?`` for values and nowhere else. Work may be
carried out a second time after its connection was lost, so it must be such that twice is as good as once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from station.errors import StationError

T = TypeVar("T")
Row = tuple[Any, ...]
Read = Callable[..., list[Row]]
"""``Transaction.execute`` or ``Database.read``: a statement and its values give rows."""


class DatabaseFailed(StationError):
    """Nothing was changed, or nobody can know; what was asked for must not be acknowledged."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables of one kind: the statements of every version, so that an older database is brought up to date.

    ``{bytes}``, ``{integer}`` and ``{serial}`` stand for the engine's types; ``{serial}`` is a growing primary key.
    """

    name: str
    versions: tuple[tuple[str, ...], ...]


class Transaction(Protocol):
    """What happens together or not at all."""

    def execute(self, statement: str, *values: object) -> list[Row]:
        """Carry out one statement; the rows that it returns."""
        ...

    def lock(self, name: str) -> None:
        """Wait until no other transaction holds this name, and hold it until the end of this one."""
        ...


class Database(Protocol):
    """One database; safe to call from any thread. Everything raises ``DatabaseFailed``."""

    def run(self, work: Callable[[Transaction], T], durable: bool = True) -> T:
        """Carry out the work in one transaction; when it returns, it is on the disk.

        An exception out of the work changes nothing and is raised again. Without ``durable`` the change is seen by
        everybody on return and survives the end of the process, but not necessarily a power failure.
        """
        ...

    def execute(self, statement: str, *values: object) -> list[Row]:
        """One statement as a durable transaction of its own."""
        ...

    def read(self, statement: str, *values: object) -> list[Row]:
        """Rows, without changing anything."""
        ...

    def lead(self, name: str) -> AbstractContextManager[bool]:
        """Be the only process of all that share this database to do something by this name; False: another one is."""
        ...

    def close(self) -> None:
        """Close it; later calls fail."""
        ...
