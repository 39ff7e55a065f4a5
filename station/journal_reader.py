"""Reading a data folder without taking it: what is known of a part, verification, export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from station.errors import JournalError
from station.formats.journal_anchor import JournalAnchor
from station.journal import export_rows, holds, part_query, verify_file
from station.journal_file import JournalFile
from station.journal_parts import Bindings, PartRecord, record_of
from station.journal_rows import INTERRUPTED, NAMING, Row, row_of


@contextmanager
def open_journal(folder: Path) -> Iterator[JournalFile]:
    """The journal of a data folder, read-only; a live station may go on writing it."""
    path = folder / "journal.sqlite"
    if not path.exists():
        raise JournalError(f"expected a journal in {folder}, but there is none; name the data folder with --data")
    file = JournalFile(path, read_only=True)
    try:
        yield file
    finally:
        file.close()


def read_part(folder: Path, text: str) -> PartRecord:
    """Everything known of the part that somebody names by label or device id."""
    return record_of(_rows_of(folder, text))


@dataclass(frozen=True, slots=True)
class ErasedLife:
    """What was kept of a part before it was erased whole by ``run``; ``number`` counts from 1."""

    number: int
    run: int
    time: float
    record: PartRecord

    @property
    def folder(self) -> str:
        """A name for its files."""
        return f"erased-{self.number}-run-{self.run}"


def read_lives(folder: Path, text: str) -> list[ErasedLife]:
    """The earlier lives of a part of which anything is kept, the first one first."""
    lives: list[ErasedLife] = []
    record, erasures = PartRecord(), 0
    for row in _rows_of(folder, text):
        if row.kind == "erased":
            erasures += 1
            if record.kept:
                earlier = PartRecord(device_id=record.device_id, kept=dict(record.kept), forms=dict(record.forms))
                lives.append(ErasedLife(erasures, row.context.run, row.time, earlier))
        record.feed(row)
    return lives


def _rows_of(folder: Path, text: str) -> list[Row]:
    """All rows of the part that somebody names."""
    with open_journal(folder) as file:
        bindings = Bindings()
        for values in file.read(f"WHERE {NAMING} ORDER BY seq"):
            bindings.feed(row_of(values))
        by_label = "WHERE label != '' AND label = ? ORDER BY seq DESC LIMIT 1"
        named = [row_of(values) for values in file.read(by_label, (text,))]
        labels = {(named[0].context.label_kind, text)} if named else set()
        device = bindings.device_of(named[0].context.label_kind, text) if named else text.lower().removeprefix("0x")
        labels.update(bindings.labels_of(device))
        return [row_of(values) for values in file.read(*part_query(sorted(labels), device))]


def interrupted(folder: Path) -> dict[int, Row]:
    """Per socket the start of a run without a verdict; with a station at work in the folder, also the running ones."""
    with open_journal(folder) as file:
        return {row.context.socket: row for row in map(row_of, file.read(INTERRUPTED))}


def verify(folder: Path) -> tuple[int, str]:
    """Number of rows, and one sentence on the first that breaks the chain (empty when all is well)."""
    with open_journal(folder) as file:
        damage = verify_file(file)
        return file.head()[0], damage


def export(folder: Path, after: int = 0) -> Iterator[dict[str, Any]]:
    """All rows after a sequence number as plain dictionaries."""
    with open_journal(folder) as file:
        yield from export_rows(file, after)


class ReadJournal:
    """A station's journal for a check of its appliance beside a station that may be running (see ``OwnJournal``)."""

    def __init__(self, folder: Path, station: str) -> None:
        self.station = station
        self._folder = folder

    def anchor(self) -> JournalAnchor | None:
        """Nothing: what a reader sees need not be on the disk yet."""
        return None

    def holds(self, anchor: JournalAnchor) -> bool:
        """True when the journal has the row of the anchor with that hash; a missing journal has no row."""
        if not (self._folder / "journal.sqlite").exists():
            return not anchor.length
        with open_journal(self._folder) as file:
            return holds(file, anchor)
