"""The journal's SQLite file: opening, format version, durable and soft commits, reading.

Raw ``sqlite3`` with explicit transactions: a commit here is a promise about a chip, so no library may add or hide one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from station.data_folder import sync_folder
from station.errors import JournalError
from station.file_errors import database_advice
from station.journal_rows import APPLICATION_ID, FIELDS, FORMAT_MAJOR, schema

INSERT = f"INSERT INTO journal VALUES ({','.join('?' * len(FIELDS))})"


class DiskFull(Exception):
    """The file system has no room for the commit."""


class JournalFile:
    """One connection; the caller holds a lock around every method."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        self.syncs = 0
        self.soft_commits = 0
        try:
            self._db = self._open(read_only)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"expected a usable journal at {path}, but: {error}; {database_advice(error)}") from None

    def _open(self, read_only: bool) -> sqlite3.Connection:
        fresh = not self.path.exists()
        if fresh and read_only:
            raise JournalError(f"expected a journal at {self.path}, but there is none")
        address = f"{self.path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=5)
        try:
            self._prepare(db, fresh, read_only)
        except BaseException:  # nothing stays open
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection, fresh: bool, read_only: bool) -> None:
        if not read_only:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the platter
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] and not read_only:
            db.executescript(f"BEGIN IMMEDIATE; {schema()} COMMIT;")
            if fresh:
                sync_folder(self.path.parent)
        self._check_version(db)
        if not read_only:
            # a commit that changes nothing, so that a read-only file is found out now and not at the first intent
            db.execute("BEGIN IMMEDIATE")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("COMMIT")

    def _check_version(self, db: sqlite3.Connection) -> None:
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise JournalError(f"expected a journal of this station at {self.path}, but it is another kind of database")
        major, minor = divmod(db.execute("PRAGMA user_version").fetchone()[0], 1000)
        if major > FORMAT_MAJOR:
            raise JournalError(
                f"the journal {self.path} has format {major}.{minor}, this station knows {FORMAT_MAJOR}.x; "
                "use the newer station or another data folder"
            )

    def commit(self, rows: Sequence[tuple[object, ...]], durable: bool) -> None:
        """Write rows in one transaction; ``durable`` waits until they are on the disk (one sync)."""
        if not durable:
            self._db.execute("PRAGMA synchronous = NORMAL")  # WAL: survives a killed process, needs no sync
        try:
            self._write(rows)
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise DiskFull(f"the journal {self.path} cannot be written: {error}; make room on the disk") from None
            raise JournalError(f"the journal {self.path} cannot be written: {error}") from None
        finally:
            if not durable:
                self._db.execute("PRAGMA synchronous = FULL")
        self.syncs += durable
        self.soft_commits += not durable

    def _write(self, rows: Sequence[tuple[object, ...]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(INSERT, rows)
        self._db.execute("COMMIT")

    def read(self, where: str = "", parameters: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Stored tuples in the order of ``FIELDS``; ``where`` is everything after ``FROM journal``."""
        try:
            yield from self._db.execute(f"SELECT {','.join(FIELDS)} FROM journal {where}", parameters)
        except sqlite3.DatabaseError as error:
            raise JournalError(f"the journal {self.path} cannot be read: {error}; restore it from a copy") from None

    def head(self) -> tuple[int, str, int]:
        """Sequence, hash and time of the last row; zeros for an empty journal."""
        last = next(iter(self.read("ORDER BY seq DESC LIMIT 1")), None)
        return (0, "", 0) if last is None else (last[0], last[-1], last[1])

    def trace(self, callback: Any) -> None:
        """Call ``callback`` with every SQL statement (tests count commits with it)."""
        self._db.set_trace_callback(callback)

    def synchronous(self) -> int:
        """SQLite's present setting: 2 is FULL."""
        return int(self._db.execute("PRAGMA synchronous").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()
