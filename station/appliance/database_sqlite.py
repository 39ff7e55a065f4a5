"""SQLite: WAL with ``synchronous=FULL``; transactions that wait for one another share one commit.

Several processes of one computer may use the file; the one that may not write yet waits.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from station.appliance.database import DatabaseFailed, Row, Schema, Transaction
from station.data_folder import try_lock
from station.errors import ConfigError
from station.file_errors import database_advice

log = logging.getLogger(__name__)

T = TypeVar("T")
BUSY_SECONDS = 10.0
TYPES = {"bytes": "BLOB", "integer": "INTEGER", "serial": "INTEGER PRIMARY KEY"}
GROUP = 64
"""Transactions in one commit at most, so that the first of them does not wait for long."""


class _Job(Generic[T]):
    """One transaction on its way; ``done`` is set under the writer's lock."""

    def __init__(self, work: Callable[[Transaction], T], durable: bool) -> None:
        self.durable = durable
        self.done = False
        self.error: BaseException | None = None
        self._work = work
        self._value: T

    def carry_out(self, transaction: Transaction) -> None:
        self._value = self._work(transaction)

    def answer(self) -> T:
        if self.error is not None:
            raise self.error
        return self._value


class SqliteDatabase:
    """One file of the tables of a schema."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._jobs: deque[_Job[Any]] = deque()
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writer = _open(path)
        self._durable = True  # as ``_open`` leaves it
        try:
            _update(self._writer, path, schema)
            self._reader = _open(path)
            self._reader.execute("PRAGMA query_only=1")
        except BaseException:  # the file is closed, then the error goes on
            self._writer.close()
            raise

    def run(self, work: Callable[[Transaction], T], durable: bool = True) -> T:
        """See ``Database``: whoever gets the lock commits the work of everybody who waits for it."""
        job = _Job(work, durable)
        self._jobs.append(job)
        with self._writing:
            while not job.done:
                self._commit([self._jobs.popleft() for _ in range(min(GROUP, len(self._jobs)))])
        return job.answer()

    def execute(self, statement: str, *values: object) -> list[Row]:
        """See ``Database``."""
        return self.run(lambda transaction: transaction.execute(statement, *values))

    def read(self, statement: str, *values: object) -> list[Row]:
        """See ``Database``."""
        with self._reading, _failures():
            return self._reader.execute(statement, values).fetchall()

    @contextmanager
    def lead(self, name: str) -> Iterator[bool]:
        """See ``Database``; by a lock on a file beside this one."""
        with self._path.with_name(f"{self._path.name}.{name}").open("a+", encoding="utf-8") as file:
            yield try_lock(file)

    def close(self) -> None:
        """See ``Database``."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def _commit(self, jobs: Sequence[_Job[Any]]) -> None:
        try:
            with _failures():
                self._commit_together(jobs)
        except BaseException as error:  # all of them are told; what is no failure of the database goes on
            self._roll_back()
            for job in jobs:
                job.error = job.error or DatabaseFailed(str(error) or "the database was interrupted")
            if not isinstance(error, DatabaseFailed):
                raise
        finally:
            for job in jobs:
                job.done = True

    def _commit_together(self, jobs: Sequence[_Job[Any]]) -> None:
        self._set_durable(any(job.durable for job in jobs))
        self._writer.execute("BEGIN IMMEDIATE")
        for job in jobs:
            self._writer.execute("SAVEPOINT job")
            try:
                job.carry_out(_SqliteTransaction(self._writer))
            except Exception as error:  # nothing of this one stays, the others go on
                if not self._writer.in_transaction:  # SQLite gave all of it up
                    raise
                job.error = _as_failure(error)
                self._writer.execute("ROLLBACK TO job")
            self._writer.execute("RELEASE job")
        self._writer.execute("COMMIT")

    def _set_durable(self, durable: bool) -> None:
        """Whether the next commit waits for the disk; setting it anew each time would cost as much as a statement."""
        if durable is not self._durable:
            self._writer.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")


class _SqliteTransaction:
    """The open transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, *values: object) -> list[Row]:
        """See ``Transaction``."""
        return self._connection.execute(statement, values).fetchall()

    def lock(self, name: str) -> None:
        """See ``Transaction``: there is only one writer."""


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    except sqlite3.Error as error:
        raise ConfigError(f"expected a database at {path}: {error}; {database_advice(error)}") from None
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"expected a usable database at {path}: {error}; {database_advice(error)}") from None
    return connection


def _update(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Bring the tables up to date; another process may be doing the same."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > len(schema.versions):
            raise ConfigError(f"{path} was written by a newer version (schema {found}): use that version")
        for statement in (text for version in schema.versions[found:] for text in version):
            connection.execute(statement.format(**TYPES))
        connection.execute(f"PRAGMA user_version = {len(schema.versions)}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise ConfigError(f"expected to bring {path} up to date: {error}; {_busy_or(error)}") from None
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _busy_or(error: sqlite3.Error) -> str:
    busy = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
    return "try again when nobody else writes to it" if busy else database_advice(error)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _as_failure(error) from None


def _as_failure(error: Exception) -> Exception:
    """What callers know; the file's name and the like stay in the log."""
    if not isinstance(error, sqlite3.Error):
        return error
    log.error("the database failed: %s", error)
    return DatabaseFailed(f"the database failed: {error}")
