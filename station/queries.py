"""Queries of the window: the history's views, and what only the live workbench knows (bench, operators, part)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from station.errors import Refused
from station.journal_parts import PartRecord
from station.journal_reader import ErasedLife, read_lives
from station.protocol import SocketState
from station.records import views
from station.records.history import History

if TYPE_CHECKING:
    from station.workbench import Workbench


def answer(bench: Workbench, query: str, arguments: Mapping[str, str]) -> views.Table:
    """Column names and rows; ``Refused`` in one sentence when the question makes no sense."""
    live = _LIVE.get(query)
    if live is not None:
        return live(bench, arguments)
    bench.journal.flush()
    records = History(bench.config.data, lambda: [n for n, worker in bench.workers.items() if worker.running])
    try:
        return views.ask(records, query, arguments)
    finally:
        records.close()


def part_table(record: PartRecord, lives: Iterable[ErasedLife] = ()) -> views.Table:
    """What is known of one part as rows of name and value; ``lives``: what was kept before it was erased."""
    rows: list[tuple[Any, ...]] = [("label", f"{kind}: {label}") for kind, label in sorted(record.labels)]
    rows.append(("device_id", record.device_id))
    rows.append(("quarantine", record.quarantine))
    rows += [("erased", f"whole, with all its keys, {record.erasures} times")] if record.erasures else []
    rows += [("erasing", "its erasure was begun, its end is not recorded")] if record.erasing else []
    rows += [("attempts", f"{flow}: {count}") for flow, count in sorted(record.starts.items())]
    for (flow, title), facts in sorted(record.burns.items()):
        rows.append(("burn", f"{flow}.{title}: {facts.state}"))
    for flow, verdict in sorted(record.verdicts.items()):
        rows.append(("verdict", f"{flow}: {verdict.kind} ({verdict.bin_id}) {verdict.reason}".rstrip()))
    rows += [("kept", f"{name}, {len(value)} bytes") for name, value in sorted(record.kept.items())]
    for life in lives:
        rows += [(f"kept until erased in run {life.run}", f"{name}, {len(value)} bytes")
                 for name, value in sorted(life.record.kept.items())]  # fmt: skip
    if record.registrations:
        rows.append(("registration", "pending"))
    elif record.registered:
        rows.append(("registration", "acknowledged"))
    return ("name", "value"), rows


def _part(bench: Workbench, arguments: Mapping[str, str]) -> views.Table:
    record = bench.journal.find(arguments.get("part", ""))
    if not record.labels and not record.device_id:
        raise Refused(f"this station knows no part {arguments.get('part', '')!r}")
    return part_table(record, read_lives(bench.folder.path, arguments.get("part", "")))


def _operators(bench: Workbench, arguments: Mapping[str, str]) -> views.Table:
    return ("name", "role"), [(name, str(role)) for name, role in bench.operators.names()]


def _bench(bench: Workbench, arguments: Mapping[str, str]) -> views.Table:
    with_lids = any(worker.view.now.has_lid for worker in bench.workers.values())
    lid_column = ("lid_closed",) if with_lids else ()
    columns = ("socket", "driver", "adapter", "state", "contacts", "contacts_limit", "present", *lid_column)
    rows: list[tuple[Any, ...]] = []
    for number, worker in bench.workers.items():
        now, physical = worker.view.now, worker.physical
        lid = (now.lid_closed if now.has_lid else "",) if with_lids else ()
        rows.append((number, physical.entry.driver, physical.identity, _state(now), now.contacts, now.contacts_limit,
                     now.present, *lid))  # fmt: skip
    if bench.config.virtual_bench is None:
        return columns, rows
    return (*columns, "armed"), [(*row, bench.armed(row[0])) for row in rows]


def _state(now: SocketState) -> str:
    """The state as its tile says it."""
    return ("ready" if now.may_start else now.state).replace("_", " ")


def _faults(bench: Workbench, arguments: Mapping[str, str]) -> views.Table:
    """The virtual bench's own list, so that nobody keeps another."""
    return ("name", "meaning"), list(bench.faults().items())


_LIVE = {"part": _part, "operators": _operators, "bench": _bench, "faults": _faults}
