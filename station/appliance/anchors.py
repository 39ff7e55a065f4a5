"""What the stations have told of their journals: the last anchor of each, its history, and whether it went back.

A journal is known by the station of the client certificate and by its name (``ate_id`` of a registration, the metadata
``x-station-journal`` of a login). An anchor that was taken later must not have fewer rows, and one of the same length
must have the same head; order of arrival does not count, because registrations may come late. What breaks this is kept
and flagged, and it never becomes the last anchor: the station that is told the last one sees for itself that its
journal lacks it. A journal that was replaced on purpose is accepted by hand, and then its history begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from station.appliance.database import Database, Transaction
from station.formats.journal_anchor import JournalAnchor

LONGEST_NAME = 64
MOST_NAMES = 256
SHORTER = "it was taken later than the last anchor and has fewer rows"
OTHER_HEAD = "it has another hash for the same row"
OLDER = "it has more rows than the last anchor and was taken earlier"


@dataclass(frozen=True, slots=True)
class Journal:
    """Which journal: station of the client certificate, and the journal's own name."""

    station: str
    name: str

    def __str__(self) -> str:
        return f"{self.station}/{self.name}"


@dataclass(frozen=True, slots=True)
class JournalState:
    """The last anchor of a journal, when it came, and since when (or 0) and how the journal contradicts it."""

    journal: Journal
    last: JournalAnchor
    seen_ms: int
    broken_ms: int
    broken: str


class Anchors:
    """The anchors of a database; safe to call from any thread. Raises ``DatabaseFailed``."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def note(self, journal: Journal, anchor: JournalAnchor, device_id: str = "") -> str:
        """Keep an anchor; what it breaks in words, or nothing. ``device_id``: it came with this registration."""
        now = int(self._clock() * 1000)

        def work(transaction: Transaction) -> str:
            transaction.lock(f"journal {journal}")
            return _note(transaction, journal, anchor, device_id, now)

        return self._database.run(work, durable=False)

    def last(self, journal: Journal) -> JournalAnchor | None:
        """The anchor that the journal must extend."""
        found = self._states(" WHERE station = ? AND journal = ?", journal.station, journal.name)
        return found[0].last if found and found[0].last.length else None

    def states(self) -> list[JournalState]:
        """All journals, by station and name."""
        return self._states("")

    def broken(self) -> int:
        """How many journals contradict their last anchor."""
        return int(self._database.read("SELECT count(*) FROM journals WHERE broken != ''")[0][0])

    def history(self, journal: Journal) -> list[tuple[JournalAnchor, str, str]]:
        """Every anchor that came with a registration or broke something: anchor, device, what it broke."""
        rows = self._database.read(
            "SELECT length, head, time_us, device_id, broken FROM anchors"
            " WHERE station = ? AND journal = ? ORDER BY id",
            journal.station, journal.name,
        )  # fmt: skip
        return [
            (JournalAnchor(length, head, time_us), device, broken) for length, head, time_us, device, broken in rows
        ]

    def accept(self, journal: Journal) -> bool:
        """Whatever comes next begins the journal anew; False when nothing is known of it."""
        return bool(
            self._database.execute(
                "UPDATE journals SET epoch = epoch + 1, length = 0, head = '', time_us = 0, broken_ms = NULL,"
                " broken = '' WHERE station = ? AND journal = ? RETURNING epoch",
                journal.station, journal.name,
            )
        )  # fmt: skip

    def _states(self, where: str, *values: object) -> list[JournalState]:
        columns = "station, journal, length, head, time_us, seen_ms, broken_ms, broken"
        rows = self._database.read(f"SELECT {columns} FROM journals{where} ORDER BY station, journal", *values)
        return [
            JournalState(Journal(station, name), JournalAnchor(length, head, time_us), seen_ms, broken_ms or 0, broken)
            for station, name, length, head, time_us, seen_ms, broken_ms, broken in rows
        ]


def _note(transaction: Transaction, journal: Journal, anchor: JournalAnchor, device_id: str, now: int) -> str:
    where = (journal.station, journal.name)
    rows = transaction.execute(
        "SELECT epoch, length, head, time_us FROM journals WHERE station = ? AND journal = ?", *where
    )
    if not rows and not _has_room(transaction, journal):
        return ""
    epoch, last = (rows[0][0], JournalAnchor(*rows[0][1:])) if rows else (1, JournalAnchor(0, "", 0))
    broken = _broken(anchor, last) or _other_head(transaction, journal, epoch, anchor)
    if device_id or broken:
        _keep(transaction, journal, epoch, anchor, device_id, broken, now)
    if not rows:
        transaction.execute("INSERT INTO journals VALUES (?, ?, ?, ?, ?, ?, ?, NULL, '')", *where, epoch, anchor.length,
                            anchor.head, anchor.time_us, now)  # fmt: skip
    elif broken:
        transaction.execute("UPDATE journals SET broken_ms = coalesce(broken_ms, ?), broken = ?"
                            " WHERE station = ? AND journal = ?", now, broken, *where)  # fmt: skip
    elif anchor.length > last.length:
        transaction.execute("UPDATE journals SET length = ?, head = ?, time_us = ?, seen_ms = ?"
                            " WHERE station = ? AND journal = ?", anchor.length, anchor.head, anchor.time_us, now,
                            *where)  # fmt: skip
    return broken


def _has_room(transaction: Transaction, journal: Journal) -> bool:
    """The names are the station's words: one station cannot fill the table."""
    (count,) = transaction.execute("SELECT count(*) FROM journals WHERE station = ?", journal.station)[0]
    return int(count) < MOST_NAMES


def _broken(anchor: JournalAnchor, last: JournalAnchor) -> str:
    """How an anchor and the last one contradict each other; nothing contradicts a journal that begins."""
    if not last.length:
        return ""
    if anchor.length == last.length:
        return "" if anchor.head == last.head else OTHER_HEAD
    if anchor.length < last.length:
        return SHORTER if anchor.time_us > last.time_us else ""
    return OLDER if anchor.time_us < last.time_us else ""


def _other_head(transaction: Transaction, journal: Journal, epoch: int, anchor: JournalAnchor) -> str:
    found = transaction.execute(
        "SELECT 1 FROM anchors WHERE station = ? AND journal = ? AND epoch = ? AND length = ? AND head != ?"
        " AND broken = '' LIMIT 1",
        journal.station, journal.name, epoch, anchor.length, anchor.head,
    )  # fmt: skip
    return OTHER_HEAD if found else ""


def _keep(
    transaction: Transaction, journal: Journal, epoch: int, anchor: JournalAnchor, device_id: str, broken: str, now: int
) -> None:
    """Once: the same registration may be sent again, and a broken journal may tell so at every login."""
    same = (journal.station, journal.name, epoch, anchor.length, anchor.head, device_id)
    known = transaction.execute(
        "SELECT 1 FROM anchors WHERE station = ? AND journal = ? AND epoch = ? AND length = ? AND head = ?"
        " AND device_id = ?", *same,
    )  # fmt: skip
    if not known:
        transaction.execute(
            "INSERT INTO anchors (station, journal, epoch, length, head, device_id, time_us, seen_ms, broken)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *same, anchor.time_us, now, broken,
        )  # fmt: skip
