"""The journal: append-only truth of what was intended and seen, durable where a chip depends on it.

``intend``, ``outcome``, ``verdict``, ``scan`` and ``keep`` are committed on their own and are on the disk when they
return. Everything else is buffered and shares the next commit. Times never run back: a row is never older than the one
before it. No call of the Provisioning Appliance tells its time, so the last record is the only floor there is.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from station.data_folder import BALLAST_BYTES, Ballast, DataFolder, boot_id, write_durably
from station.errors import JournalError
from station.formats.journal_anchor import JournalAnchor, parse
from station.journal_file import DiskFull, JournalFile
from station.journal_parts import PART_KINDS, Bindings, PartRecord, record_of
from station.journal_rows import (
    AT_SOCKET,
    INTERRUPTED,
    NAMING,
    NO_HASH,
    Context,
    Row,
    Stamp,
    detail_text,
    encoded_row,
    first_damage,
    link,
    row_of,
)  # fmt: skip

SOFT_ROWS = 512  # so many buffered rows are written without a sync, to bound memory
TAIL_ROWS = 20_000  # so many last rows are verified at every start; `journal verify` does all
CLOCK_SLACK_US = 2_000_000

Probe = Callable[[str, str], None]


class Journal:
    """The one writer of a data folder; safe to call from every socket's thread."""

    def __init__(
        self,
        folder: DataFolder,
        station: str = "",
        *,
        ballast_bytes: int = BALLAST_BYTES,
        clock: Callable[[], float] = time.time,
        probe: Probe | None = None,
    ) -> None:
        folder.lock()
        self.station = station
        self.boot = boot_id()
        self.latched = ""
        self._full = False
        self._folder = folder
        self._guard = threading.RLock()
        self._clock = clock
        self._probe = probe or (lambda moment, kind: None)
        self._buffer: list[tuple[tuple[object, ...], bytes]] = []
        self._bindings = Bindings()
        self._ballast = Ballast(folder.path / "ballast", ballast_bytes)
        self._anchored = 0
        self._file: JournalFile | None = None
        try:
            self._file = JournalFile(folder.journal)
            self._ballast.lay()
            self._load()
        except BaseException:  # nothing stays open or locked
            self.close()
            raise

    # ---- opening and closing ------------------------------------------------------------------------------------

    @property
    def _store(self) -> JournalFile:
        if self._file is None:
            raise JournalError("the journal is closed")
        return self._file

    def _load(self) -> None:
        self._sequence, digest, self._floor_us = self._store.head()
        self._head = bytes.fromhex(digest) if digest else NO_HASH
        damage = verify_file(self._store, max(0, self._sequence - TAIL_ROWS)) or self._check_anchor()
        if damage:
            raise JournalError(f"{damage}; restore {self._folder.journal} from a copy, do not go on with it")
        for values in self._store.read(f"WHERE {NAMING} ORDER BY seq"):
            self._bindings.feed(row_of(values))

    def _check_anchor(self) -> str:
        try:
            anchor = json.loads(self._folder.anchor.read_text())
            length, digest = int(anchor["length"]), str(anchor["hash"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError):
            return f"the anchor {self._folder.anchor} cannot be read"
        if not holds(self._store, JournalAnchor(length, digest, 0)):
            return f"the journal does not extend its last anchor (row {length}, sent with a registration)"
        self._anchored = length
        return ""

    def close(self) -> None:
        """Write what is buffered, close the file, give the folder back."""
        with self._guard:
            if self._file is not None:
                try:
                    if not self.latched:
                        self.flush()
                finally:
                    self._file.close()
                    self._file = None
            self._folder.release()

    # ---- writing --------------------------------------------------------------------------------------------------

    def append(self, context: Context, kind: str, title: str = "", detail: Mapping[str, object] | None = None) -> Row:
        """Buffer one row; it reaches the disk with the next durable one."""
        with self._guard:
            row = self._add(context, kind, title, detail or {})
            self._bound_buffer()
            return row

    def note(self, context: Context, kind: str, title: str, detail: Mapping[str, object]) -> None:
        """Like ``append`` for the many rows of which nobody needs to know more than that they are there."""
        with self._guard:
            self._enter(context, kind, title, detail)
            self._bound_buffer()

    def _bound_buffer(self) -> None:
        if len(self._buffer) >= SOFT_ROWS:
            self.flush()

    def write(self, context: Context, kind: str, title: str = "", detail: Mapping[str, object] | None = None) -> Row:
        """Append one row and return when it and everything before it is on the disk.

        When another socket has filled the disk meanwhile, the outcome of a burn in progress is still tried.
        """
        with self._guard:
            if kind == "outcome" and self._full:
                return self._add_outcome_to_full_disk(context, title, detail or {})
            row = self._add(context, kind, title, detail or {})
            self._commit(kind, durable=True)
            return row

    def write_all(self, context: Context, kind: str, details: Sequence[Mapping[str, object]]) -> list[Row]:
        """Append rows and return when they and everything before them are on the disk: all of them, or none."""
        with self._guard:
            before = self._sequence, self._floor_us, len(self._buffer)
            try:
                rows = [self._add(context, kind, "", detail) for detail in details]
            except BaseException:  # one that cannot be encoded takes the others with it
                self._sequence, self._floor_us, length = before
                del self._buffer[length:]
                raise
            self._commit(kind, durable=True)
            return rows

    def _add_outcome_to_full_disk(self, context: Context, title: str, detail: Mapping[str, object]) -> Row:
        sentence, self.latched = self.latched, ""
        try:
            row = self._add(context, "outcome", title, detail)
            self._commit("outcome", durable=True)
            return row
        finally:
            self.latched = self.latched or sentence

    def scan(self, context: Context, detail: Mapping[str, object]) -> Row:
        """A part was scanned: its record exists from here on."""
        return self.write(context, "scan", "", detail)

    def start(self, context: Context, detail: Mapping[str, object]) -> Row:
        """A run begins; its number is the sequence of this row, which a killed process already leaves behind."""
        with self._guard:
            row = self._add(context.but(run=self._sequence + 1), "start", "", detail)
            self.flush()
            return row

    def intend(self, context: Context, title: str, detail: Mapping[str, object]) -> Row:
        """Something irreversible is about to happen."""
        return self.write(context, "intent", title, detail)

    def outcome(self, context: Context, title: str, detail: Mapping[str, object]) -> Row:
        """What became of the intent; the one row for which the ballast is given up."""
        return self.write(context, "outcome", title, detail)

    def verdict(self, context: Context, detail: Mapping[str, object]) -> Row:
        """How the run ended; shown only after this returns."""
        return self.write(context, "verdict", "", detail)

    def flush(self) -> None:
        """Hand the buffered rows to the file without waiting for the disk (a killed process keeps them)."""
        with self._guard:
            if self._buffer:
                self._commit("", durable=False)

    def _add(self, context: Context, kind: str, title: str, detail: Mapping[str, object]) -> Row:
        stamp, context = self._enter(context, kind, title, detail)
        row = Row(*stamp, context, kind, title, detail, "")
        if kind in ("bind", "release"):
            self._bindings.feed(row)
        return row

    def _enter(self, context: Context, kind: str, title: str, detail: Mapping[str, object]) -> tuple[Stamp, Context]:
        self._refuse_when_latched()
        text = detail_text(detail)
        sequence = self._sequence + 1
        now, monotonic = self._now_us(), time.monotonic_ns() // 1000
        context = context if context.station else context.but(station=self.station)
        stamp = (sequence, now, monotonic, self.boot)
        encoded = encoded_row(stamp, context, kind, title, text)  # raises before anything has changed
        values = (*stamp, *context.values, kind, title, text)
        self._sequence, self._floor_us = sequence, now
        self._buffer.append((values, encoded))
        return stamp, context

    def _commit(self, kind: str, durable: bool) -> None:
        rows, head = self._chained()
        self._probe("before", kind)
        try:
            self._store.commit(rows, durable)
        except DiskFull as full:
            self._commit_with_ballast(kind, rows, head, str(full))
            return
        except JournalError as error:
            self._latch(str(error))
        self._head = head
        self._buffer.clear()
        self._probe("after", kind)

    def _commit_with_ballast(self, kind: str, rows: Sequence[tuple[object, ...]], head: bytes, sentence: str) -> None:
        """Free the ballast for an outcome, then latch: what was burnt is known, but nothing more may be started."""
        self._full = True
        if kind == "outcome" and self._ballast.free():
            try:
                self._store.commit(rows, durable=True)
            except (DiskFull, JournalError) as error:
                self._latch(str(error))
            self._head = head
            self._buffer.clear()
            self.latched = sentence
            return
        self._latch(sentence)

    def _chained(self) -> tuple[list[tuple[object, ...]], bytes]:
        head, rows = self._head, []
        for values, encoded in self._buffer:
            following = link(head, encoded)
            rows.append((*values, head.hex(), following.hex()))
            head = following
        return rows, head

    def _latch(self, sentence: str) -> None:
        self.latched = sentence
        raise JournalError(sentence)

    def _refuse_when_latched(self) -> None:
        if self.latched:
            raise JournalError(self.latched)

    # ---- time -----------------------------------------------------------------------------------------------------

    def _now_us(self) -> int:
        return max(int(self._clock() * 1e6), self._floor_us)

    @property
    def clock_sentence(self) -> str:
        """One sentence when this computer's clock is behind the journal, else an empty text."""
        behind = self._floor_us - int(self._clock() * 1e6)
        if behind <= CLOCK_SLACK_US:
            return ""
        return (
            f"the clock of this computer is {behind / 1e6:.0f} s behind the journal; records go on from "
            f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(self._floor_us / 1e6))} UTC, set the clock"
        )

    # ---- reading ----------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self._folder.path

    @property
    def syncs(self) -> int:
        """Durable commits so far."""
        return self._store.syncs

    @property
    def length(self) -> int:
        """Sequence of the last row, buffered ones included."""
        return self._sequence

    def rows(self, where: str = "", parameters: Sequence[object] = ()) -> list[Row]:
        """Rows for which the text after ``FROM journal`` holds; buffered rows are included."""
        with self._guard:
            if not self.latched:
                self.flush()
            return [row_of(values) for values in self._store.read(where, parameters)]

    def known(self, label_kind: str = "", label: str = "", device_id: str = "") -> PartRecord:
        """Everything known of the part with this label or device id (or both)."""
        with self._guard:
            labels = {(label_kind, label)} if label else set()
            device = device_id or self._bindings.device_of(label_kind, label)
            labels.update(self._bindings.labels_of(device))
            return record_of(self.rows(*part_query(sorted(labels), device)))

    def find(self, text: str) -> PartRecord:
        """Everything known of the part that somebody names by label (of whatever kind) or device id."""
        with self._guard:
            by_label = self.rows("WHERE label != '' AND label = ? ORDER BY seq DESC LIMIT 1", (text,))
            if by_label:
                return self.known(by_label[0].context.label_kind, text)
            return self.known(device_id=text.lower().removeprefix("0x"))

    def conflict(self, label_kind: str, label: str, device_id: str) -> str:
        """One sentence when label and device id do not belong together."""
        with self._guard:
            return self._bindings.conflict(label_kind, label, device_id)

    def interrupted(self) -> dict[int, Row]:
        """Per socket the start of a run that never got its verdict (the station died)."""
        return {row.context.socket: row for row in self.rows(INTERRUPTED)}

    def seated(self) -> list[Row]:
        """The last verdict of every socket whose part nobody has seen leave since."""
        return self.rows(
            "WHERE seq IN (SELECT max(v.seq) FROM journal v JOIN journal s ON s.run = v.run AND s.kind = 'start' "
            "WHERE v.kind = 'verdict' AND s.seq IN (SELECT max(seq) FROM journal WHERE kind = 'start' GROUP BY socket) "
            f"AND NOT EXISTS (SELECT 1 FROM journal r WHERE {AT_SOCKET} AND r.kind != 'start' "
            "AND r.socket = s.socket AND r.seq > s.seq) GROUP BY s.socket) ORDER BY socket"
        )

    def pending_registrations(self) -> list[Row]:
        """Registrations that a flow was to send and no ``registered`` row answers, oldest first."""
        return self.rows(
            "WHERE kind = 'registration' "
            "AND EXISTS (SELECT 1 FROM journal o WHERE o.run = journal.run AND o.kind = 'registration_due') "
            "AND NOT EXISTS (SELECT 1 FROM journal o WHERE o.run = journal.run AND o.kind = 'registered') "
            "AND NOT EXISTS (SELECT 1 FROM journal o WHERE o.kind = 'registration' AND o.seq > journal.seq "
            "AND o.device_id = journal.device_id AND o.label = journal.label) ORDER BY seq"
        )

    # ---- anchors ----------------------------------------------------------------------------------------------------

    def anchor(self) -> JournalAnchor:
        """The head after making it durable; goes to the appliance with a registration and at every login."""
        with self._guard:
            if self._buffer:
                self._commit("", durable=True)
            taken = self._floor_us if self._sequence else self._now_us()
            return JournalAnchor(self._sequence, self._head.hex(), taken)

    def holds(self, anchor: JournalAnchor) -> bool:
        """True when this journal has the row of the anchor with that hash."""
        return holds(self._store, anchor)

    def anchored(self, anchor: str) -> None:
        """The appliance acknowledged this anchor: from now on the journal must extend it."""
        given = parse(anchor)
        with self._guard:
            if given.length <= self._anchored:  # two sockets may be acknowledged out of order
                return
            try:
                write_durably(self._folder.anchor, json.dumps({"length": given.length, "hash": given.head}))
            except OSError as error:
                self._latch(f"the anchor {self._folder.anchor} cannot be written: {error.strerror}")
            self._anchored = given.length


def part_query(labels: Sequence[tuple[str, str]], device_id: str) -> tuple[str, list[object]]:
    """The text after ``FROM journal`` (and its parameters) that finds all rows of one part.

    Of the rows of a label those of another chip count for its quarantine and verdicts only: never are one chip's
    burns, kept values or registrations taken for another's, even after a supervisor released a mix-up.
    """
    chosen, parameters = [], list[object]()
    place = [device_id.lower()[:32], device_id.lower()[:32] + "g"]
    for kind, label in labels:
        mine = " AND (device_id = '' OR device_id >= ? AND device_id < ? OR kind IN ('quarantine','verdict','release'))"
        chosen.append(f"SELECT seq FROM journal WHERE label != '' AND label_kind = ? AND label = ?"
                      f"{mine if device_id else ''}")  # fmt: skip
        parameters += [kind, label, *(place if device_id else [])]
    if device_id:
        chosen.append("SELECT seq FROM journal WHERE device_id != '' AND device_id >= ? AND device_id < ?")
        parameters += place
    if not chosen:
        return "WHERE 0", []
    kinds = ",".join(f"'{kind}'" for kind in PART_KINDS)
    return f"WHERE kind IN ({kinds}) AND seq IN ({' UNION '.join(chosen)}) ORDER BY seq", parameters


def holds(file: JournalFile, anchor: JournalAnchor) -> bool:
    """True when the file has the row of the anchor with that hash; an anchor of no rows is in every file."""
    found = next(iter(file.read("WHERE seq = ?", (anchor.length,))), None)
    return not anchor.length or (found is not None and found[-1] == anchor.head)


def verify_file(file: JournalFile, after: int = 0) -> str:
    """One sentence on the first row after ``after`` that breaks the hash chain; empty when all is well."""
    previous = NO_HASH
    if after:
        start = next(iter(file.read("WHERE seq = ?", (after,))), None)
        if start is None:
            return f"expected row {after} of the journal, but it is missing"
        previous = bytes.fromhex(start[-1])
    return first_damage(file.read("WHERE seq > ? ORDER BY seq", (after,)), previous, after)


def export_rows(file: JournalFile, after: int = 0) -> Iterator[dict[str, Any]]:
    """Every row as a plain dictionary, chain fields included (one JSON line each in ``journal export``)."""
    from station.journal_rows import FIELDS

    for values in file.read("WHERE seq > ? ORDER BY seq", (after,)):
        yield dict(zip(FIELDS, values, strict=True))
