"""Registered devices: a registration is acknowledged only after its commit has reached the disk.

The same content again is a no-op; other content for the same device is kept beside the first one and flagged for people
to look at, never dropped and never overwritten. Which registration of a device is its first one is decided by a unique
index of the database, so that any number of processes may register at once. A record that a registry was to get is
marked only after that registry has acknowledged it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from station.appliance.anchors import Anchors
from station.appliance.database import Database, DatabaseFailed, Row, Transaction
from station.appliance.database_schema import REGISTRY
from station.appliance.database_sqlite import SqliteDatabase
from station.errors import StationError

COLUMNS = "device_id, sku, record, digest, flagged, client, received_ms"
INSERT = f"INSERT INTO registrations ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id"
WAITING = "id, device_id, sku, record, received_ms, attempts, next_try_ms, failure"


class StoreFailed(StationError):
    """A registration could not be made durable; it must not be acknowledged."""


class Outcome(StrEnum):
    """What a registration turned out to be."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class StoredDevice:
    """One stored registration; ``record`` is the serialised registry record."""

    device_id: str
    sku: str
    record: bytes
    digest: str
    flagged: bool
    client: str
    received_ms: int


@dataclass(frozen=True, slots=True)
class WaitingRecord:
    """A stored record that no registry has acknowledged; ``failure`` is what became of the last of the attempts."""

    id: int
    device_id: str
    sku: str
    record: bytes
    received_ms: int
    attempts: int
    next_try_ms: int
    failure: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A record that was not acknowledged, why, and when it is tried again."""

    id: int
    reason: str
    next_try_ms: int


@dataclass(frozen=True, slots=True)
class FailedCalls:
    """Calls to the registry that failed in a row and told nothing of any record: how many, why the last, what next."""

    failures: int
    failure: str
    next_try_ms: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many records wait for the registry, how many of them failed, and since when the oldest one waits (or 0)."""

    waiting: int
    failed: int
    oldest_ms: int


class DeviceStore:
    """The registrations of a database; safe to call from any thread. ``stored`` is set when there is a new record."""

    def __init__(self, place: Path | Database) -> None:
        """``place`` is a SQLite file of the store's own, or a database that others use too and close."""
        self._own: Database | None = None
        if isinstance(place, Path):
            self._own = place = SqliteDatabase(place, REGISTRY)
        self._database = place
        self.anchors = Anchors(self._database)
        self.stored = threading.Event()

    def register(self, device: StoredDevice) -> Outcome:
        """Store the registration unless the same content is there; returns after the commit is durable."""
        try:
            outcome = self._register(device)
        except DatabaseFailed as failed:
            raise StoreFailed(f"the registration could not be stored: {failed}") from None
        if outcome is not Outcome.SAME:
            self.stored.set()
        return outcome

    def _register(self, device: StoredDevice) -> Outcome:
        """Each statement is complete by itself: nothing is half done between them."""
        if self._inserted(device, flagged=0):
            return Outcome.NEW
        return Outcome.CONFLICT if self._inserted(device, flagged=1) else Outcome.SAME

    def _inserted(self, device: StoredDevice, flagged: int) -> bool:
        values = (device.device_id, device.sku, device.record, device.digest, flagged, device.client)
        return bool(self._database.execute(INSERT, *values, device.received_ms))

    def find(self, device_id: str) -> list[StoredDevice]:
        """All registrations of one device, oldest first."""
        rows = self._database.read(f"SELECT {COLUMNS} FROM registrations WHERE device_id = ? ORDER BY id", device_id)
        return [
            StoredDevice(device_id, sku, bytes(record), digest, bool(flagged), client, received_ms)
            for device_id, sku, record, digest, flagged, client, received_ms in rows
        ]

    def count(self, flagged_only: bool = False) -> int:
        """How many registrations are stored, or how many of them disagree with an earlier one."""
        where = " WHERE flagged = 1" if flagged_only else ""
        return int(self._database.read(f"SELECT count(*) FROM registrations{where}")[0][0])

    # ---- on their way to a registry ---------------------------------------------------------------------------------

    def untried(self, most: int) -> list[WaitingRecord]:
        """Records that no attempt was counted for, oldest first."""
        return self._waiting("forwarded_ms IS NULL AND next_try_ms = 0", "next_try_ms, id", most)

    def retriable(self, most: int, now: int) -> list[WaitingRecord]:
        """Records that were tried in vain and may be tried again now, the longest overdue first."""
        return self._waiting("forwarded_ms IS NULL AND next_try_ms BETWEEN 1 AND ?", "next_try_ms, id", now, most)

    def waiting(self, most: int) -> list[WaitingRecord]:
        """Records that no registry has acknowledged, oldest first."""
        return self._waiting("forwarded_ms IS NULL", "id", most)

    def forwarded(self, ids: Iterable[int], now: int) -> None:
        """The registry has acknowledged these; durable on return."""
        done = list(ids)

        def mark(transaction: Transaction) -> None:
            for id_ in done:
                transaction.execute("UPDATE registrations SET forwarded_ms = ?, failure = '' WHERE id = ?", now, id_)

        if done:
            self._database.run(mark)

    def not_forwarded(self, records: Sequence[Failed]) -> None:
        """Remember what became of an attempt; losing that in a power failure costs nothing."""

        def mark(transaction: Transaction) -> None:
            for failed in records:
                transaction.execute(
                    "UPDATE registrations SET attempts = attempts + 1, failure = ?, next_try_ms = ? WHERE id = ?",
                    failed.reason, failed.next_try_ms, failed.id,
                )  # fmt: skip

        if records:
            self._database.run(mark, durable=False)

    def note_failed_calls(self, failed: FailedCalls | None) -> None:
        """Remember how the calls go, None: the last one was answered; losing that in a power failure costs nothing."""

        def note(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM failed_calls")
            if failed is not None:
                values = (failed.failures, failed.failure, failed.next_try_ms)
                transaction.execute("INSERT INTO failed_calls VALUES (1, ?, ?, ?)", *values)

        self._database.run(note, durable=False)

    def failed_calls(self) -> FailedCalls | None:
        """How the last calls failed; None when the last one was answered."""
        rows = self._database.read("SELECT failures, failure, next_try_ms FROM failed_calls")
        return FailedCalls(*rows[0]) if rows else None

    def backlog(self) -> Backlog:
        """What waits for the registry."""
        query = (
            "SELECT count(*), coalesce(sum(CASE WHEN failure = '' THEN 0 ELSE 1 END), 0), coalesce(min(received_ms), 0)"
            " FROM registrations WHERE forwarded_ms IS NULL"
        )
        return Backlog(*map(int, self._database.read(query)[0]))

    def lead(self, name: str) -> AbstractContextManager[bool]:
        """See ``Database``."""
        return self._database.lead(name)

    def _waiting(self, where: str, order: str, *values: object) -> list[WaitingRecord]:
        query = f"SELECT {WAITING} FROM registrations WHERE {where} ORDER BY {order} LIMIT ?"
        return [_waiting_record(row) for row in self._database.read(query, *values)]

    def close(self) -> None:
        """Close the store's own file."""
        if self._own is not None:
            self._own.close()


def _waiting_record(row: Row) -> WaitingRecord:
    id_, device_id, sku, record, *others = row
    return WaitingRecord(id_, device_id, sku, bytes(record), *others)


def now_ms() -> int:
    """Milliseconds since 1970, for ``received_ms``."""
    return time.time_ns() // 1_000_000
