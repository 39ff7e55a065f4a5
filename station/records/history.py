"""The history database: runs, their steps and measurements, as tables made for questions.

``records.sqlite`` beside the journal is a by-product: it follows the journal row by row and is rebuilt when it does not
fit (another format, a restored journal). sqlite-utils 4.x commits each write on its own, so every update is one
``db.atomic()`` block.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from station.errors import JournalError
from station.journal_file import JournalFile
from station.journal_rows import Row, row_of

RECORDS_FORMAT = 1
RUN_COLUMNS: Mapping[str, type] = {
    "run": int, "time": float, "socket": int, "touchdown": int, "attempt": int, "recipe": str, "flow": str, "lot": str,
    "wafer": str, "x": int, "y": int, "label_kind": str, "label": str, "device_id": str, "operator": str, "mode": str,
    "pack": str, "build": str, "fixture": str, "station": str, "kind": str, "bin": int, "hard_bin": int, "bin_id": str,
    "reason": str, "part_state": str, "tray": str, "seconds": float,
}  # fmt: skip
ENDED_DURING = "the station ended during this run: it has no verdict"
FROM_CONTEXT = ("socket", "touchdown", "attempt", "recipe", "flow", "lot", "wafer", "x", "y", "label_kind", "label",
                "device_id", "operator", "mode", "pack", "build", "fixture", "station")  # fmt: skip


class History:
    """Opens (or rebuilds) the records of one data folder; safe from any thread."""

    def __init__(self, folder: Path, running: Callable[[], Collection[int] | None] = lambda: ()) -> None:
        """``running`` tells in which sockets a run is in progress, None when nobody knows."""
        self._running = running
        self._journal_path = folder / "journal.sqlite"
        self._path = folder / "records.sqlite"
        self._guard = threading.Lock()
        self._db = self._open()

    def close(self) -> None:
        """Close the database."""
        with self._guard:
            self._db.close()

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Bring the records up to date and ask them."""
        with self._guard:
            self._update()
            return list(self._db.execute(sql, list(parameters)).fetchall())

    def shown_runs(self) -> str:
        """The table of runs as a subquery: one without a verdict that is not in progress is called interrupted."""
        running, last = self._running(), self.rows("SELECT socket, max(run) FROM runs GROUP BY socket")
        busy = ",".join(str(run) for socket, run in last if running is None or socket in running)
        broken = f"(kind = '' AND run NOT IN ({busy}))"
        told = {"kind": "interrupted", "reason": ENDED_DURING}
        columns = (f"CASE WHEN {broken} THEN '{told[c]}' ELSE {c} END AS {c}" if c in told else c for c in RUN_COLUMNS)
        return f"(SELECT {', '.join(columns)} FROM runs)"

    def of_run(self, run: int) -> list[Row]:
        """The journal's own rows of one run."""
        if not self._journal_path.exists():
            return []
        file = JournalFile(self._journal_path, read_only=True)
        try:
            return [row_of(values) for values in file.read("WHERE run = ? ORDER BY seq", (run,))]
        finally:
            file.close()

    def _open(self) -> Any:
        try:
            db = self._connect()
            if self._fits(db):
                return db
            db.close()
        except sqlite3.DatabaseError:
            pass  # damaged: it can be built again
        self._path.unlink(missing_ok=True)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        db = self._connect()
        self._make(db)
        return db

    def _connect(self) -> Any:
        return Database(sqlite3.connect(self._path, check_same_thread=False))

    def _fits(self, db: Any) -> bool:
        if not db["state"].exists():
            return False
        state = next(iter(db["state"].rows))
        if state["format"] != RECORDS_FORMAT or not self._journal_path.exists():
            return False
        file = JournalFile(self._journal_path, read_only=True)
        try:
            found = next(iter(file.read("WHERE seq = ?", (state["seq"],))), None)
        finally:
            file.close()
        return not state["seq"] or (found is not None and found[-1] == state["hash"])

    def _make(self, db: Any) -> None:
        with db.atomic():
            db["state"].create({"id": int, "format": int, "seq": int, "hash": str}, pk="id")
            db["state"].insert({"id": 1, "format": RECORDS_FORMAT, "seq": 0, "hash": ""})
            db["runs"].create(dict(RUN_COLUMNS), pk="run")
            for column in ("label", "device_id", "lot", "time", "recipe"):
                db["runs"].create_index([column])
            db["steps"].create({"seq": int, "run": int, "title": str, "status": str, "seconds": float}, pk="seq")
            db["steps"].create_index(["run"])
            measured = {"seq": int, "run": int, "name": str, "value": float, "unit": str, "low": float, "high": float,
                        "inside": int}  # fmt: skip
            db["measurements"].create(measured, pk="seq")
            db["measurements"].create_index(["run"])
            db["registrations"].create({"run": int, "time": float, "label": str, "device_id": str, "sku": str,
                                        "acknowledged": float}, pk="run")  # fmt: skip

    def _update(self) -> None:
        if not self._journal_path.exists():
            return
        state = next(iter(self._db["state"].rows))
        file = JournalFile(self._journal_path, read_only=True)
        try:
            self._take(file.read("WHERE seq > ? ORDER BY seq", (state["seq"],)))
        finally:
            file.close()

    def _take(self, stored: Iterable[tuple[Any, ...]]) -> None:
        for batch in _batches(stored, 2000):
            with self._db.atomic():
                for values in batch:
                    self._feed(row_of(values))
                last = batch[-1]
                self._db["state"].update(1, {"seq": last[0], "hash": last[-1]})

    def _feed(self, row: Row) -> None:
        handler = _HANDLERS.get(row.kind)
        if handler is not None:
            handler(self, row)

    def _start(self, row: Row) -> None:
        context = {name: getattr(row.context, name) for name in FROM_CONTEXT}
        self._db["runs"].upsert({"run": row.context.run, "time": row.time, "kind": "", **context}, pk="run")

    def _bind(self, row: Row) -> None:
        self._db["runs"].upsert({"run": row.context.run, "device_id": row.context.device_id}, pk="run")

    def _step(self, row: Row) -> None:
        self._db["steps"].insert({"seq": row.seq, "run": row.context.run, "title": row.title,
                                  "status": row.detail["status"], "seconds": row.detail["seconds"]})  # fmt: skip

    def _measure(self, row: Row) -> None:
        names = ("name", "value", "unit", "low", "high", "inside")
        self._db["measurements"].insert(
            {"seq": row.seq, "run": row.context.run, **{name: row.detail[name] for name in names}}
        )

    def _verdict(self, row: Row) -> None:
        detail = row.detail
        changes = {
            "kind": detail["kind"], "bin": detail["soft"], "hard_bin": detail["hard"], "bin_id": detail["bin_id"],
            "reason": detail["reason"], "part_state": detail["part_state"], "tray": detail["tray"],
        }  # fmt: skip
        if not detail.get("promoted"):
            changes["seconds"] = detail["seconds"]
        if row.context.device_id:
            changes["device_id"] = row.context.device_id
        self._db["runs"].upsert({"run": row.context.run, **changes}, pk="run")

    def _registration(self, row: Row) -> None:
        context = row.context
        self._db["registrations"].upsert({"run": context.run, "time": row.time, "label": context.label,
                                          "device_id": context.device_id, "sku": row.detail["sku"]},
                                         pk="run")  # fmt: skip

    def _registered(self, row: Row) -> None:
        self._db["registrations"].upsert({"run": row.detail["registration"], "acknowledged": row.time}, pk="run")


_HANDLERS = {
    "start": History._start,
    "bind": History._bind,
    "step": History._step,
    "measure": History._measure,
    "verdict": History._verdict,
    "registration": History._registration,
    "registered": History._registered,
}


def _batches(stored: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    batch: list[tuple[Any, ...]] = []
    for values in stored:
        batch.append(values)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def journal_exists(folder: Path) -> None:
    """Raise ``JournalError`` in one sentence when a folder holds no journal."""
    if not (folder / "journal.sqlite").exists():
        raise JournalError(f"expected a journal in {folder}, but there is none; name the data folder with --data")
