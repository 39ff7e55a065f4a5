"""How many devices each work order has had endorsed, which of them are registered, and which sessions were closed.

A device counts once, when it is endorsed: it is recognised by the digests of what is signed for it (its TBS), so that
the same device endorsed again costs nothing and its registration finds it. No TBS is signed that did not count with a
device: one new TBS makes a device new, whatever known ones come with it. What limits anything is on the disk before the
answer leaves; the rest survives the end of the process, not a power failure. The account is a SQLite file of one
appliance, which several processes of one computer may share, or it is in the database of the registry, where a whole
fleet counts together.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

from station.appliance.database import Database, DatabaseFailed, Read, Transaction
from station.appliance.database_schema import ACCOUNT
from station.appliance.database_sqlite import SqliteDatabase
from station.appliance.refusal import Refusal
from station.appliance.stations import WorkOrder
from station.errors import FormatError
from station.formats import der_tlv

NO_ORDER = ""
UDS = "UDS"

Device = Sequence[str]
"""SHA-256 of each TBS of one device, in hexadecimal; the UDS comes first."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One line of the account: devices endorsed for a work order (on a day), and how many wait for registration."""

    work_order: str
    day: str
    endorsed: int
    unregistered: int


class Quota:
    """The account; safe to call from any thread. A database that fails refuses with INTERNAL, nothing is miscounted."""

    def __init__(self, place: Path | Database, clock: Callable[[], float] = time.time) -> None:
        """``place`` is a SQLite file of the account's own, or a database that others use too and close."""
        self._own: Database | None = None
        if isinstance(place, Path):
            self._own = place = SqliteDatabase(place, ACCOUNT)
        self._database = place
        self._clock = clock

    def check(self, order: WorkOrder | None, devices: Sequence[Device]) -> None:
        """Refuse early what ``endorse`` would refuse; nothing is counted."""
        if order is not None and devices:
            with _failures():
                new = _new_devices(devices, self._unknown(_digests(devices)))
                self._require_room(self._database.read, order, len(new))

    def endorse(self, order: WorkOrder | None, station: str, sku: str, devices: Sequence[Device]) -> None:
        """Count the devices that were not endorsed before, or refuse and count none; durable on return."""
        name, day = (NO_ORDER, "") if order is None else (order.name, self._day(order))
        now = int(self._clock() * 1000)

        def work(transaction: Transaction) -> None:
            if order is not None:
                transaction.lock(f"work order {name}")
            unknown = _insert(transaction, _digests(devices), sku, station, name, day, now)
            new = _new_devices(devices, unknown)
            _wait_by_one(transaction, new)
            if order is not None:
                self._require_room(transaction.execute, order, len(new))
            _add(transaction, name, day, endorsed=len(new), unregistered=len(new))

        with _failures():
            self._database.run(work, durable=order is not None)

    def register(self, devices: Iterable[str]) -> None:
        """Note that a device was registered; what was never endorsed here does not matter."""
        registered = sorted(set(devices))

        def work(transaction: Transaction) -> None:
            for device in registered:
                found = transaction.execute(
                    "UPDATE devices SET registered = 1 WHERE device = ? AND registered = 0 RETURNING work_order, day",
                    device,
                )
                for name, day in found:
                    _add(transaction, name, day, endorsed=0, unregistered=-1)

        with _failures():
            self._database.run(work, durable=False)

    def account(self) -> list[Spent]:
        """All lines, by work order and day."""
        with _failures():
            rows = self._database.read(
                "SELECT work_order, day, endorsed, unregistered FROM spent ORDER BY work_order, day"
            )
        return [Spent(*row) for row in rows]

    def spent(self, order: WorkOrder | None) -> Spent:
        """What counts against the work order's quota now (for one per day: today's), or what came without an order."""
        name, day = (NO_ORDER, "") if order is None else (order.name, self._day(order))
        with _failures():
            read = self._database.read
            return Spent(name, day, _sum(read, name, "endorsed", day), _sum(read, name, "unregistered"))

    def unregistered(self) -> int:
        """Devices that were endorsed and not yet registered here, of all work orders."""
        return sum(line.unregistered for line in self.account())

    def close_session(self, session: bytes, expires: int) -> None:
        """Remember a session that was closed before it expired."""
        now = int(self._clock())

        def work(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM closed_sessions WHERE expires <= ?", now)
            transaction.execute("INSERT INTO closed_sessions VALUES (?, ?) ON CONFLICT DO NOTHING", session, expires)

        with _failures():
            self._database.run(work, durable=False)

    def is_closed(self, session: bytes) -> bool:
        """True when a session was closed, in whatever process that shares this account."""
        with _failures():
            return bool(self._database.read("SELECT 1 FROM closed_sessions WHERE session = ?", session))

    def closed_sessions(self) -> list[tuple[bytes, int]]:
        """Closed sessions that have not expired."""
        with _failures():
            rows = self._database.read(
                "SELECT session, expires FROM closed_sessions WHERE expires > ?", int(self._clock())
            )
        return [(bytes(session), int(expires)) for session, expires in rows]

    def close(self) -> None:
        """Close the account's own file."""
        if self._own is not None:
            self._own.close()

    def _unknown(self, digests: Sequence[str]) -> set[str]:
        found = self._database.read(f"SELECT device FROM devices WHERE device IN ({_places(digests)})", *digests)
        return set(digests) - {digest for (digest,) in found}

    def _require_room(self, read: Read, order: WorkOrder, new: int) -> None:
        if not new:
            return
        endorsed = _sum(read, order.name, "endorsed", self._day(order))
        if endorsed + new > order.quota:
            per = "a day" if order.per == "day" else "in all"
            raise Refusal(
                "PERMISSION_DENIED",
                f"work order {order.name!r} has used {endorsed} of its {order.quota} endorsements {per}",
            )
        waiting = _sum(read, order.name, "unregistered")
        if order.unregistered is not None and waiting + new > order.unregistered:
            raise Refusal(
                "PERMISSION_DENIED",
                f"work order {order.name!r} has {waiting} endorsed devices that are not registered, "
                f"{order.unregistered} are allowed: register them first",
            )

    def _day(self, order: WorkOrder) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).date().isoformat() if order.per == "day" else ""


def _insert(transaction: Transaction, digests: Sequence[str], *values: object) -> set[str]:
    """Those that were not there before, whoever else is endorsing them now."""
    if not digests:
        return set()
    rows = ", ".join("(?, ?, ?, ?, ?, ?, 0)" for _ in digests)
    found = transaction.execute(
        "INSERT INTO devices (device, sku, station, work_order, day, endorsed_ms, registered)"
        f" VALUES {rows} ON CONFLICT DO NOTHING RETURNING device",
        *(value for digest in digests for value in (digest, *values)),
    )
    return {digest for (digest,) in found}


def _wait_by_one(transaction: Transaction, new: Iterable[Sequence[str]]) -> None:
    """A device waits for its registration by its first new TBS, and so counts once when it comes."""
    others = [digest for _, *rest in new for digest in rest]
    if others:
        transaction.execute(f"UPDATE devices SET registered = 1 WHERE device IN ({_places(others)})", *others)


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _sum(read: Read, order: str, column: str, day: str = "") -> int:
    where, values = ("", [order]) if not day else (" AND day = ?", [order, day])
    return int(read(f"SELECT coalesce(sum({column}), 0) FROM spent WHERE work_order = ?{where}", *values)[0][0])


def _add(transaction: Transaction, order: str, day: str, endorsed: int, unregistered: int) -> None:
    transaction.execute(
        "INSERT INTO spent (work_order, day, endorsed, unregistered) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (work_order, day) DO UPDATE SET endorsed = spent.endorsed + excluded.endorsed,"
        " unregistered = spent.unregistered + excluded.unregistered",
        order, day, endorsed, unregistered,
    )  # fmt: skip


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except DatabaseFailed as failed:
        raise Refusal("INTERNAL", f"the appliance cannot count this: {failed}") from None


def devices_of(labelled: Iterable[tuple[str, bytes]]) -> list[Device]:
    """The devices that a request with these labels and TBS is for: as many as one label comes with different TBS."""
    by_label: dict[str, dict[str, None]] = {UDS: {}}
    for label, tbs in labelled:
        by_label.setdefault(label, {})[hashlib.sha256(tbs).hexdigest()] = None
    rows = zip_longest(*by_label.values(), fillvalue="")
    return [tuple(digest for digest in row if digest) for row in rows]


def _digests(devices: Iterable[Device]) -> list[str]:
    """All of them in the order in which every transaction takes them, so that none waits for another in a circle."""
    return sorted({digest for device in devices for digest in device})


def _new_devices(devices: Iterable[Device], unknown: set[str]) -> list[Device]:
    """The unknown digests of each device that has some; a digest belongs to the first device that has it."""
    left = set(unknown)
    found: list[Device] = []
    for device in devices:
        new = [digest for digest in device if digest in left]
        left.difference_update(new)
        found += [new] if new else []
    return found


def device_candidates(certificates: Iterable[bytes]) -> list[str]:
    """By what ``devices_of`` may have known the device that has these certificates: the digest of each TBS."""
    found = []
    for certificate in certificates:
        try:
            tbs = next(der_tlv.elements(der_tlv.read(certificate).content))
        except (FormatError, StopIteration):
            continue
        found.append(hashlib.sha256(tbs.raw).hexdigest())
    return found
