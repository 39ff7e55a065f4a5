"""Registered devices in SQLite: a registration is acknowledged only after its commit has reached the disk.

WAL with ``synchronous=FULL``. The same content again is a no-op; other content for the same device is kept beside the
first one and flagged for people to look at, never dropped and never overwritten.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlite_utils.db import Database, Table

from station.errors import ConfigError, StationError

SCHEMA = 1


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


class DeviceStore:
    """One SQLite file; safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
        except sqlite3.Error as error:
            raise _unusable(path, error) from None
        self._database = Database(self._connection)
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._create(path)
        except sqlite3.Error as error:
            self._connection.close()
            raise _unusable(path, error) from None
        except BaseException:  # the file is closed, then the error goes on
            self._connection.close()
            raise

    def register(self, device: StoredDevice) -> Outcome:
        """Store the registration unless the same content is there; returns after the commit is durable."""
        try:
            with self._lock:
                return self._register(device)
        except sqlite3.Error as error:
            raise StoreFailed(f"the registration could not be stored: {error}") from None

    def _register(self, device: StoredDevice) -> Outcome:
        with self._writing():
            digests = [row["digest"] for row in self._rows(device.device_id)]
            if device.digest in digests:
                return Outcome.SAME
            outcome = Outcome.CONFLICT if digests else Outcome.NEW
            self._table.insert(
                {
                    "device_id": device.device_id,
                    "sku": device.sku,
                    "record": device.record,
                    "digest": device.digest,
                    "flagged": int(outcome is Outcome.CONFLICT),
                    "client": device.client,
                    "received_ms": device.received_ms,
                }
            )
        return outcome

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction that may write from its beginning: one that reads first fails when another process writes."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield

    def find(self, device_id: str) -> list[StoredDevice]:
        """All registrations of one device, oldest first."""
        with self._lock:
            rows = self._rows(device_id)
        return [StoredDevice(**{**row, "flagged": bool(row["flagged"])}) for row in rows]

    def count(self, flagged_only: bool = False) -> int:
        """How many registrations are stored, or how many of them disagree with an earlier one."""
        with self._lock:
            return int(self._table.count_where("flagged = 1" if flagged_only else None))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @property
    def _table(self) -> Table:
        return self._database.table("registrations")

    def _rows(self, device_id: str) -> list[dict[str, Any]]:
        columns = "device_id, sku, record, digest, flagged, client, received_ms"
        return list(self._table.rows_where("device_id = ?", [device_id], order_by="id", select=columns))

    def _create(self, path: Path) -> None:
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA:
            raise ConfigError(f"{path} was written by a newer version (schema {found}): use that version")
        with self._database.atomic():
            self._table.create(
                {
                    "id": int,
                    "device_id": str,
                    "sku": str,
                    "record": bytes,
                    "digest": str,
                    "flagged": int,
                    "client": str,
                    "received_ms": int,
                },
                pk="id",
                not_null={"device_id", "sku", "record", "digest", "flagged", "received_ms"},
                if_not_exists=True,
            )
            self._table.create_index(["device_id", "digest"], unique=True, if_not_exists=True)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _unusable(path: Path, error: sqlite3.Error) -> ConfigError:
    return ConfigError(f"expected to store devices in {path}, but: {error}; make it writable or put it elsewhere")


def now_ms() -> int:
    """Milliseconds since 1970, for ``received_ms``."""
    return time.time_ns() // 1_000_000
