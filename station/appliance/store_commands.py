"""``appliance account``, ``pending`` and ``anchors`` as plain functions: a look beside a server that may be running."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from station.appliance import audit
from station.appliance.anchors import Anchors, JournalState
from station.appliance.database import DatabaseFailed
from station.appliance.device_store import Backlog, DeviceStore, FailedCalls, WaitingRecord
from station.appliance.quota import Spent
from station.appliance.settings import ApplianceSettings, read_settings
from station.appliance.stores import existing_account, existing_store
from station.errors import ConfigError, nearest

Say = Callable[[str], None]
MOST = 1000
"""Records that ``pending`` lists."""


def account_command(*, folder: Path, as_json: bool = False, say: Say | None = None) -> int:
    """Say how many devices each work order has had endorsed, and how many of them wait for registration."""
    say = say or _stdout
    with existing_account(read_settings(folder.resolve())) as quota:
        lines = quota.account() if quota is not None else []
    if as_json:
        say(json.dumps({"event": "account", "work_orders": [asdict(line) for line in lines]}))
        return 0
    for line in lines or [Spent("", "", 0, 0)]:
        name = f"{line.work_order or '(no work order)'} {line.day}".strip()
        say(f"{name}: {line.endorsed} devices endorsed, {line.unregistered} of them not registered")
    return 0


def pending_command(*, folder: Path, as_json: bool = False, say: Say | None = None) -> int:
    """Say which stored records the HTTP registry has not acknowledged, oldest first."""
    say = say or _stdout
    settings = read_settings(folder.resolve())
    forward = settings.registry.forward if settings.registry is not None else None
    with existing_store(settings) as store:
        backlog, records = _looked_at(store)
        calls, unknown = _failed_calls(store)
    if as_json:
        listed = [{**_plain(record), "received": _time(record.received_ms)} for record in records]
        told = {"event": "pending", "forwarding": forward is not None, **asdict(backlog), "failed_calls": None}
        if calls is not None:
            next_try = _time(calls.next_try_ms)
            told["failed_calls"] = {"failures": calls.failures, "failure": calls.failure, "next_try": next_try}
        if unknown:
            told["failed_calls_unknown"] = unknown
        say(json.dumps({**told, "records": listed}))
        return 0
    to = f"for {forward.url}" if forward is not None else "here, and no forward_url says where to send them"
    say(f"{_counted(backlog.waiting, 'record waits', 'records wait')} {to}")
    if calls is not None and backlog.waiting:
        say(f"{_counted(calls.failures, 'call', 'calls')} in a row failed, last: {calls.failure}; {_next(calls)}")
    if unknown:
        say(f"how the last calls went is not known: {unknown}")
    if backlog.failed:
        say(f"{_counted(backlog.failed, 'record was', 'records were')} sent and not taken so far")
    for record in records:
        tried = f", tried {_counted(record.attempts, 'time', 'times')}, last: {record.failure}; {_next(record)}"
        say(f"  {record.device_id} {record.sku} since {_time(record.received_ms)}{tried if record.attempts else ''}")
    if backlog.waiting > len(records):
        say(f"  and {backlog.waiting - len(records)} more")
    return 0


def anchors_command(
    *, folder: Path, accept: str = "", reason: str = "", as_json: bool = False, say: Say | None = None
) -> int:
    """Say which journals the stations have told of; or accept one that does not extend its last anchor any more."""
    say = say or _stdout
    settings = read_settings(folder.resolve())
    with existing_store(settings) as store:
        if accept:
            _accept(settings, store.anchors if store is not None else None, accept, reason)
        states = store.anchors.states() if store is not None else []
    if as_json:
        say(json.dumps({"event": "anchors", "journals": [_state(state) for state in states]}))
        return 0
    for state in states:
        told = f"{state.last.length} rows, last told {_time(state.seen_ms)}" if state.last.length else "begins anew"
        wrong = f"; BROKEN since {_time(state.broken_ms)}: {state.broken}" if state.broken else ""
        say(f"{state.journal}: {told}{wrong}")
    if not states:
        say("no station has told of its journal")
    return 0


def _accept(settings: ApplianceSettings, anchors: Anchors | None, text: str, reason: str) -> None:
    if not reason.strip():
        raise ConfigError("expected a reason for accepting another journal: say --reason, it goes to the audit log")
    states = anchors.states() if anchors is not None else []
    known = {str(state.journal): state for state in states}
    if anchors is None or text not in known:
        hint = nearest(text, known) or (f": known are {', '.join(known)}" if known else ": none is known")
        raise ConfigError(f"expected the STATION/JOURNAL of a known journal, saw {text!r}{hint}")
    state = known[text]
    file = audit.AuditFile(settings.run.audit) if settings.run.audit is not None else None
    try:
        anchors.accept(state.journal)
        audit.journal_accepted(text, str(state.last), reason)
    finally:
        if file is not None:
            file.close()


def _looked_at(store: DeviceStore | None) -> tuple[Backlog, list[WaitingRecord]]:
    return (Backlog(0, 0, 0), []) if store is None else (store.backlog(), store.waiting(MOST))


def _failed_calls(store: DeviceStore | None) -> tuple[FailedCalls | None, str]:
    """How the last calls failed, or why nobody can tell: a role of before the table may not be allowed to read it."""
    try:
        return (None if store is None else store.failed_calls()), ""
    except DatabaseFailed as failed:
        return None, str(failed)


def _counted(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _next(tried: FailedCalls | WaitingRecord) -> str:
    return f"next try {_time(tried.next_try_ms)}"


def _plain(record: WaitingRecord) -> dict[str, object]:
    next_try = _time(record.next_try_ms) if record.next_try_ms else ""
    return {"device_id": record.device_id, "sku": record.sku, "attempts": record.attempts, "failure": record.failure,
            "next_try": next_try}  # fmt: skip


def _state(state: JournalState) -> dict[str, object]:
    return {"station": state.journal.station, "journal": state.journal.name, "length": state.last.length,
            "head": state.last.head, "seen": _time(state.seen_ms), "broken": state.broken,
            "broken_since": _time(state.broken_ms) if state.broken_ms else ""}  # fmt: skip


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _stdout(line: str) -> None:
    print(line, flush=True)
