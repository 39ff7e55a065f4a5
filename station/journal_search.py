"""Questions about all parts of a journal at once; each reads the whole of it, so that they are for rare cases."""

from __future__ import annotations

from collections.abc import Iterable, Set

from station.journal import Journal
from station.journal_rows import Row

Parts = set[tuple[str, str]]
"""(kind, label) of each."""


def parts_keeping(journal: Journal, name: str, value: bytes, besides: Set[tuple[str, str]] = frozenset()) -> Parts:
    """Parts whose record keeps this value under this name today, ``besides`` those, which are not looked at."""
    rows = journal.rows("WHERE kind = 'keep' AND label != '' AND detail LIKE ?", (f'%"{value.hex()}"%',))
    return {part for part in _parts_of(rows) - besides if journal.known(*part).kept.get(name) == value}


def parts_begun_without(journal: Journal, flow: str, title: str, name: str) -> Parts:
    """Parts that have begun this burn, and whose record keeps nothing under this name; not those that are half done."""
    same = "k.label = journal.label AND k.label != ''"  # the second term lets SQLite take the index of labels
    kept = f"SELECT 1 FROM journal k WHERE {same} AND k.kind = 'keep' AND k.seq > journal.seq"
    rows = journal.rows(
        f"WHERE kind = 'intent' AND flow = ? AND title = ? AND label != '' AND NOT EXISTS ({kept} AND k.detail LIKE ?)",
        (flow, title, f'%"{name}"%'),
    )
    known = {part: journal.known(*part) for part in _parts_of(rows)}
    return {
        part for part, record in known.items()
        if record.begun(flow, title) and name not in record.kept and not record.half_done(flow)
    }  # fmt: skip


def _parts_of(rows: Iterable[Row]) -> Parts:
    return {(row.context.label_kind, row.context.label) for row in rows}
