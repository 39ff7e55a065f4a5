"""Rows of the journal: their fields, their canonical encoding and the hash chain over them.

Encoding (format 1): the values of ``FIELDS`` in that order, without ``previous`` and ``hash``, as one JSON array
(no blanks, UTF-8, times as integer microseconds, ``detail`` as the text that is stored). The hash of a row is
SHA-256 over the 32 bytes of the previous row's hash followed by that encoding; the row before the first counts as
32 zero bytes. The chain is keyless: it shows damage and careless edits, the anchors at the appliance show the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

FORMAT_MAJOR = 1
FORMAT_MINOR = 0
APPLICATION_ID = 0x50534A31  # "PSJ1", so that `file` and a curious engineer recognise the journal
NO_HASH = bytes(32)

CONTEXT_FIELDS = (
    "station", "socket", "touchdown", "attempt", "run", "lot", "sublot", "wafer", "x", "y", "tray", "label_kind",
    "label", "device_id", "recipe", "flow", "pack", "build", "fixture", "operator", "mode",
)  # fmt: skip
STAMP_FIELDS = ("seq", "time_us", "monotonic_us", "boot")
EVENT_FIELDS = ("kind", "title", "detail")
CHAIN_FIELDS = ("previous", "hash")
FIELDS = (*STAMP_FIELDS, *CONTEXT_FIELDS, *EVENT_FIELDS, *CHAIN_FIELDS)
INTEGERS = frozenset({"seq", "time_us", "monotonic_us", "socket", "touchdown", "attempt", "run", "x", "y"})
COLUMN = {name: index for index, name in enumerate(FIELDS)}
INTERRUPTED = (
    "WHERE kind = 'start' AND seq IN (SELECT max(seq) FROM journal WHERE kind = 'start' GROUP BY socket) "
    "AND NOT EXISTS (SELECT 1 FROM journal v WHERE v.run = journal.run AND v.kind = 'verdict')"
)
"""Runs that never got their verdict, the last one of each socket."""
AT_SOCKET = "(kind = 'scan' OR kind = 'start' OR kind = 'removed')"
NAMING = "(kind = 'bind' OR kind = 'release')"
"""Terms of the partial indexes. SQLite takes such an index for a query only that holds the same term (or one side of
its OR), and would build a table for an IN at every insertion."""


Stamp = tuple[int, int, int, str]
"""The values of ``STAMP_FIELDS``."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every row of one run has in common; ``x`` and ``y`` are -1 where there is no place on a wafer."""

    station: str = ""
    socket: int = 0
    touchdown: int = 0
    attempt: int = 0
    run: int = 0
    lot: str = ""
    sublot: str = ""
    wafer: str = ""
    x: int = -1
    y: int = -1
    tray: str = ""
    label_kind: str = ""
    label: str = ""
    device_id: str = ""
    recipe: str = ""
    flow: str = ""
    pack: str = ""
    build: str = ""
    fixture: str = ""
    operator: str = ""
    mode: str = "production"
    values: tuple[object, ...] = field(init=False, compare=False, repr=False, default=())
    _encoded: str = field(init=False, compare=False, repr=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(getattr(self, name) for name in CONTEXT_FIELDS))

    @property
    def encoded(self) -> str:
        """The values as they stand in a row's encoding, without brackets; made once, since a run has many rows."""
        if not self._encoded:
            object.__setattr__(self, "_encoded", _canonical_json(self.values)[1:-1])
        return self._encoded

    def but(self, **changes: Any) -> Context:
        """A copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is stored, with ``detail`` parsed."""

    seq: int
    time_us: int
    monotonic_us: int
    boot: str
    context: Context
    kind: str
    title: str
    detail: Mapping[str, Any]
    hash: str

    @property
    def time(self) -> float:
        """Wall time in seconds since 1970."""
        return self.time_us / 1e6


def row_of(values: tuple[Any, ...]) -> Row:
    """The row of one stored tuple in the order of ``FIELDS``."""
    first = len(STAMP_FIELDS)
    last = first + len(CONTEXT_FIELDS)
    context = Context(**dict(zip(CONTEXT_FIELDS, values[first:last], strict=True)))
    seq, time_us, monotonic_us, boot = values[:first]
    kind, title, detail, _, digest = values[last:]
    return Row(seq, time_us, monotonic_us, boot, context, kind, title, json.loads(detail), digest)


# json.dumps makes an encoder at every call that has options of its own; rows are too many for that.
_detail_json = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False, check_circular=False
).encode
_canonical_json = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
).encode  # fmt: skip


def detail_text(detail: Mapping[str, object]) -> str:
    """The stored text of a row's detail; anything but plain values (a ``Secret`` above all) raises TypeError."""
    return _detail_json(detail)


def canonical(values: tuple[object, ...]) -> bytes:
    """The bytes that are hashed for a row given without its two chain fields."""
    return _canonical_json(values).encode()


def encoded_row(stamp: Stamp, context: Context, kind: str, title: str, detail: str) -> bytes:
    """What ``canonical`` gives for the same row, with the context encoded once for many rows."""
    seq, time_us, monotonic_us, boot = stamp
    event = f"{_canonical_json(kind)},{_canonical_json(title)},{_canonical_json(detail)}"
    return f"[{seq:d},{time_us:d},{monotonic_us:d},{_canonical_json(boot)},{context.encoded},{event}]".encode()


def chain(previous: bytes, values: tuple[object, ...]) -> bytes:
    """The hash of a row that follows the row with hash ``previous``."""
    return link(previous, canonical(values))


def link(previous: bytes, encoded: bytes) -> bytes:
    """The hash of a row that is encoded already."""
    return hashlib.sha256(previous + encoded).digest()


def first_damage(rows: Iterable[tuple[Any, ...]], previous: bytes, sequence: int) -> str:
    """One sentence on the first row that does not continue the chain after ``sequence``; empty when all is well."""
    for values in rows:
        sequence += 1
        if values[0] != sequence:
            return f"expected row {sequence} of the journal, found row {values[0]}; rows were removed or added"
        if values[-2] != previous.hex():
            return f"row {sequence} of the journal does not follow row {sequence - 1}; one of the two was changed"
        previous = chain(previous, tuple(values[:-2]))
        if values[-1] != previous.hex():
            return f"row {sequence} of the journal was changed after it was written"
    return ""


def schema() -> str:
    """The statements that make an empty journal; its triggers refuse every change of a row."""
    columns = ", ".join(f"{name} {'INTEGER' if name in INTEGERS else 'TEXT'} NOT NULL" for name in FIELDS[1:])
    refuse = "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
    return f"""
        CREATE TABLE journal (seq INTEGER PRIMARY KEY, {columns});
        CREATE INDEX journal_label ON journal(label, label_kind) WHERE label != '';
        CREATE INDEX journal_device ON journal(device_id) WHERE device_id != '';
        CREATE INDEX journal_run ON journal(run);
        CREATE INDEX journal_verdict ON journal(recipe, mode) WHERE kind = 'verdict';
        CREATE INDEX journal_socket ON journal(socket) WHERE {AT_SOCKET};
        CREATE INDEX journal_bind ON journal(kind) WHERE {NAMING};
        CREATE INDEX journal_registration ON journal(kind) WHERE kind = 'registration';
        CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal {refuse};
        CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal {refuse};
        PRAGMA application_id = {APPLICATION_ID};
        PRAGMA user_version = {FORMAT_MAJOR * 1000 + FORMAT_MINOR};
    """
