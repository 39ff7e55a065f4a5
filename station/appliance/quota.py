"""How many devices each work order has had endorsed, which of them are registered, and which sessions were closed.

A device counts once, when it is endorsed: it is recognised by the digest of what is signed for it (its first TBS), so
that the same device endorsed again costs nothing and its registration finds it. What limits anything is on the disk
before the answer leaves (SQLite, WAL, ``synchronous=FULL``); the rest survives the end of the process, not a power
failure. The file belongs to one appliance; several processes of one computer may share it.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils.db import Database

from station.appliance.refusal import Refusal
from station.appliance.stations import WorkOrder
from station.errors import ConfigError, FormatError
from station.formats import der_tlv

SCHEMA = 1
NO_ORDER = ""
DAY_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class Spent:
    """One line of the account: devices endorsed for a work order (on a day), and how many wait for registration."""

    work_order: str
    day: str
    endorsed: int
    unregistered: int


class Quota:
    """The account; safe to call from any thread. A file that fails refuses with INTERNAL, it never counts wrongly."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        try:
            self._connection = sqlite3.connect(path, timeout=10, check_same_thread=False, isolation_level=None)
        except sqlite3.Error as error:
            raise _unusable(path, error) from None
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._create(path)
        except sqlite3.Error as error:
            self._connection.close()
            raise _unusable(path, error) from None
        except BaseException:  # the file is closed, then the error goes on
            self._connection.close()
            raise

    def check(self, order: WorkOrder | None, devices: Sequence[str]) -> None:
        """Refuse early what ``endorse`` would refuse; nothing is counted."""
        if order is not None:
            with self._failures(), self._lock:
                self._require_room(order, self._new(devices))

    def endorse(self, order: WorkOrder | None, station: str, sku: str, devices: Sequence[str]) -> None:
        """Count the devices that were not endorsed before, or refuse and count none; durable on return."""
        name, day = (NO_ORDER, "") if order is None else (order.name, self._day(order))
        now = int(self._clock() * 1000)
        with self._failures(), self._transaction(durable=order is not None):
            new = self._new(devices)
            if order is not None:
                self._require_room(order, new)
            rows = [(device, sku, station, name, day, now) for device in new]
            self._connection.executemany(
                "INSERT INTO devices (device, sku, station, work_order, day, endorsed_ms, registered)"
                " VALUES (?, ?, ?, ?, ?, ?, 0)",
                rows,
            )
            self._add(name, day, endorsed=len(new), unregistered=len(new))

    def register(self, devices: Iterable[str]) -> None:
        """Note that a device was registered; what was never endorsed here does not matter."""
        with self._failures(), self._transaction(durable=False):
            for device in devices:
                found = self._connection.execute(
                    "UPDATE devices SET registered = 1 WHERE device = ? AND registered = 0 RETURNING work_order, day",
                    (device,),
                ).fetchall()
                for name, day in found:
                    self._add(name, day, endorsed=0, unregistered=-1)

    def account(self) -> list[Spent]:
        """All lines, by work order and day."""
        with self._failures(), self._lock:
            rows = self._connection.execute(
                "SELECT work_order, day, endorsed, unregistered FROM spent ORDER BY work_order, day"
            )
            return [Spent(*row) for row in rows]

    def spent(self, order: WorkOrder | None) -> Spent:
        """What counts against the work order's quota now (for one per day: today's), or what came without an order."""
        with self._failures(), self._lock:
            name, day = (NO_ORDER, "") if order is None else (order.name, self._day(order))
            return Spent(name, day, self._sum(name, "endorsed", day), self._sum(name, "unregistered"))

    def unregistered(self) -> int:
        """Devices that were endorsed and not yet registered here, of all work orders."""
        return sum(line.unregistered for line in self.account())

    def close_session(self, session: bytes, expires: int) -> None:
        """Remember a session that was closed before it expired."""
        with self._failures(), self._transaction(durable=False):
            self._connection.execute("DELETE FROM closed_sessions WHERE expires <= ?", (int(self._clock()),))
            self._connection.execute("INSERT OR REPLACE INTO closed_sessions VALUES (?, ?)", (session, expires))

    def is_closed(self, session: bytes) -> bool:
        """True when a session was closed, in whatever process that shares this account."""
        with self._failures(), self._lock:
            found = self._connection.execute("SELECT 1 FROM closed_sessions WHERE session = ?", (session,))
            return found.fetchone() is not None

    def closed_sessions(self) -> list[tuple[bytes, int]]:
        """Closed sessions that have not expired."""
        with self._failures(), self._lock:
            now = int(self._clock())
            rows = self._connection.execute("SELECT session, expires FROM closed_sessions WHERE expires > ?", (now,))
            return [(bytes(session), int(expires)) for session, expires in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _new(self, devices: Sequence[str]) -> list[str]:
        found = self._connection.execute(
            f"SELECT device FROM devices WHERE device IN ({', '.join('?' * len(devices))})", list(devices)
        )
        known = {device for (device,) in found}
        return [device for device in dict.fromkeys(devices) if device not in known]

    def _require_room(self, order: WorkOrder, new: Sequence[str]) -> None:
        if not new:
            return
        endorsed = self._sum(order.name, "endorsed", self._day(order))
        if endorsed + len(new) > order.quota:
            per = "a day" if order.per == "day" else "in all"
            raise Refusal(
                "PERMISSION_DENIED",
                f"work order {order.name!r} has used {endorsed} of its {order.quota} endorsements {per}",
            )
        waiting = self._sum(order.name, "unregistered")
        if order.unregistered is not None and waiting + len(new) > order.unregistered:
            raise Refusal(
                "PERMISSION_DENIED",
                f"work order {order.name!r} has {waiting} endorsed devices that are not registered, "
                f"{order.unregistered} are allowed: register them first",
            )

    def _sum(self, order: str, column: str, day: str = "") -> int:
        where, values = ("", [order]) if not day else (" AND day = ?", [order, day])
        query = f"SELECT coalesce(sum({column}), 0) FROM spent WHERE work_order = ?{where}"
        return int(self._connection.execute(query, values).fetchone()[0])

    def _add(self, order: str, day: str, endorsed: int, unregistered: int) -> None:
        self._connection.execute(
            "INSERT INTO spent (work_order, day, endorsed, unregistered) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (work_order, day) DO UPDATE SET endorsed = endorsed + excluded.endorsed,"
            " unregistered = unregistered + excluded.unregistered",
            (order, day, endorsed, unregistered),
        )

    def _day(self, order: WorkOrder) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).date().isoformat() if order.per == "day" else ""

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Refusal("INTERNAL", f"the appliance cannot count this: {error}") from None

    @contextmanager
    def _transaction(self, durable: bool) -> Iterator[None]:
        with self._lock:
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:  # nothing half done stays, then the error goes on
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _create(self, path: Path) -> None:
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA:
            raise ConfigError(f"{path} was written by a newer version (schema {found}): use that version")
        database = Database(self._connection)
        texts = {name: str for name in ("device", "sku", "station", "work_order", "day")}
        database.table("devices").create(
            {**texts, "endorsed_ms": int, "registered": int}, pk="device", if_not_exists=True
        )
        spent = {"work_order": str, "day": str, "endorsed": int, "unregistered": int}
        database.table("spent").create(spent, pk=("work_order", "day"), if_not_exists=True)
        closed = {"session": bytes, "expires": int}
        database.table("closed_sessions").create(closed, pk="session", if_not_exists=True)
        self._connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _unusable(path: Path, error: sqlite3.Error) -> ConfigError:
    return ConfigError(f"expected to count in {path}, but: {error}; make it writable or put it elsewhere")


def devices_of(labelled: Sequence[tuple[str, bytes]]) -> list[str]:
    """The devices that a request with these labels and TBS is for: as many as one label comes with different TBS."""
    by_label: dict[str, list[str]] = {}
    for label, tbs in labelled:
        digests = by_label.setdefault(label, [])
        digest = hashlib.sha256(tbs).hexdigest()
        if digest not in digests:
            digests.append(digest)
    return max(by_label.values(), key=len, default=[])


def device_candidates(certificates: Iterable[bytes]) -> list[str]:
    """What ``devices_of`` may have called the device that has these certificates: the digest of each TBS."""
    found = []
    for certificate in certificates:
        try:
            tbs = next(der_tlv.elements(der_tlv.read(certificate).content))
        except (FormatError, StopIteration):
            continue
        found.append(hashlib.sha256(tbs.raw).hexdigest())
    return found
