"""What each command of the protocol does, and which role it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from station import labels, protocol, shelf
from station.build import build_text
from station.errors import Refused
from station.journal_parts import PartRecord
from station.journal_rows import Context, Row
from station.model import Role
from station.operators import may
from station.run import STOPPED
from station.socket_worker import CHECK_IT, Order, SocketWorker, recovery_verdict

if TYPE_CHECKING:
    from station.recipe import Recipe
    from station.workbench import Workbench

LONGEST_REASON = 500
OPERATORS_HANDS = ("insert", "remove", "lid")
"""What an operator does at any bench; power, cables and faults are for who rehearses them."""


def carry_out(bench: Workbench, command: protocol.Command) -> None:
    """Do it, or raise ``Refused`` (or another ``StationError``) with one sentence."""
    _HANDLERS[type(command)](bench, command)


def _sign_in(bench: Workbench, command: protocol.SignIn) -> None:
    try:
        role = bench.operators.sign_in(command.operator, command.pin)
    except Refused as error:
        bench.emit(protocol.SignedIn(bench.operator, str(bench.role or ""), failed=str(error)))
        raise
    bench.operator, bench.role = command.operator, role
    bench.journal.append(Context(operator=command.operator, mode=bench.config.mode), "signed_in", "", {"role": role})
    bench.emit(protocol.SignedIn(command.operator, role))


def _sign_out(bench: Workbench, command: protocol.SignOut) -> None:
    bench.operator, bench.role = "", None
    bench.emit(protocol.SignedIn(""))


def _select_recipe(bench: Workbench, command: protocol.SelectRecipe) -> None:
    bench.require(Role.ENGINEER)  # the scan of the lot traveller is the operator's way
    if any(worker.running for worker in bench.workers.values()):
        raise Refused("a socket is running; choose another recipe when all have their verdict")
    if command.recipe not in bench.recipes():
        from station.errors import nearest

        hint = nearest(command.recipe, bench.recipes())
        raise Refused(f"there is no recipe '{command.recipe}'{hint}; {bench.why_no_recipe()}")
    recipe = bench.load_recipe(command.recipe)
    for worker in bench.workers.values():
        worker.unlabel()
    bench.select(recipe, command.lot, command.wafer)
    bench.remember(recipe)


def _scan(bench: Workbench, command: protocol.Scan) -> None:
    bench.require(Role.OPERATOR)
    shown = command.text[:80]
    try:
        scanned = labels.understand(command.text)
        socket, meaning = _SCANS[scanned.meaning](bench, scanned.value, command.socket)
    except Refused as error:
        bench.emit(protocol.ScanTaken(shown, "refused", command.socket, str(error)))
        raise
    bench.emit(protocol.ScanTaken(shown, meaning, socket))


def _scan_part(bench: Workbench, value: str, socket: int) -> tuple[int, str]:
    recipe = bench.recipe
    if recipe is None:
        raise Refused("choose a recipe first")
    label = labels.part_label(recipe, value)
    for other in bench.workers.values():
        if other.view.now.label == label and other.number != socket:
            raise Refused(f"{label} is in socket {other.number}")
    worker = _waiting(bench, socket, lambda now: now.state == "scan" and (socket > 0 or not now.label))
    bench.refuse_misplaced(recipe, worker.number)
    context, record = checked_part(bench, recipe, label, worker.number)
    context = context.but(
        station=bench.config.name, socket=worker.number, touchdown=worker.touchdown, lot=context.lot or bench.lot,
        wafer=context.wafer or bench.wafer, build=build_text(), operator=bench.operator, mode=bench.config.mode,
        fixture=worker.physical.entry.fixture or worker.physical.identity, device_id=record.device_id,
    )  # fmt: skip
    bench.journal.scan(context, {"scan": label})
    worker.labelled(context)
    return worker.number, "part"


def checked_part(bench: Workbench, recipe: Recipe, label: str, socket: int) -> tuple[Context, PartRecord]:
    """What a label of the recipe's pattern says and what is known of its part; ``Refused`` when it may not run here."""
    context = recipe.context_of(label)
    assert context is not None  # part_label has matched the pattern
    if bench.lot and context.lot and context.lot != bench.lot:
        raise Refused(f"{label} belongs to lot {context.lot}; this lot is {bench.lot}")
    record = bench.journal.known(context.label_kind, label)
    labels.check_known(record, recipe, bench.bins_of(recipe), socket, bench.role, lambda: bench.recovery_of(recipe))
    return context, record


def _scan_lot(bench: Workbench, value: str, socket: int) -> tuple[int, str]:
    if any(worker.view.now.state == "scan" for worker in bench.workers.values()):
        raise Refused("That is the lot label; scan the part")
    if bench.recipe is None:
        raise Refused("choose a recipe first, then scan the lot")
    if any(worker.running for worker in bench.workers.values()):
        raise Refused("a socket is running; change the lot when all have their verdict")
    bench.select(bench.recipe, value, "")
    return 0, "lot"


def _scan_tray(bench: Workbench, value: str, socket: int) -> tuple[int, str]:
    worker = _waiting(bench, socket, lambda now: now.needs_acknowledge)
    verdict = worker.view.now.verdict
    if verdict is not None and verdict.tray != value:
        raise Refused(f"that is tray {value}; the part of socket {worker.number} goes to {verdict.tray}")
    worker.acknowledge()
    return worker.number, "tray"


def _scan_badge(bench: Workbench, value: str, socket: int) -> tuple[int, str]:
    raise Refused("a badge says who you are, not that it is you; sign in with name and PIN")


def _start(bench: Workbench, command: protocol.Start) -> None:
    bench.require(Role.OPERATOR)
    worker = _current(bench, command.socket, command.epoch)
    if bench.journal.latched:
        raise Refused(f"the record cannot be written ({bench.journal.latched}); nothing may be started")
    context = worker.context
    if bench.recipe is None or context is None or not worker.view.now.may_start:
        raise Refused(f"socket {worker.number} is not ready to start ({worker.view.now.state.replace('_', ' ')})")
    if bench.book is not None and bench.book.stopped and not may(bench.role, Role.ENGINEER):
        raise Refused(bench.book.stopped)
    context = context.but(operator=bench.operator, run=0)
    if context.touchdown != worker.touchdown:
        worker.unlabel()
        raise Refused(f"the part in socket {worker.number} was moved since its label was scanned; scan it again")
    record = bench.journal.known(context.label_kind, context.label)
    recipe = bench.recipe
    labels.check_known(
        record, recipe, bench.bins_of(recipe), worker.number, bench.role, lambda: bench.recovery_of(recipe)
    )
    worker.order(Order(bench.recipe, context))


def _stop(bench: Workbench, command: protocol.Stop) -> None:
    """Anybody may stop, signed in or not: a PIN must never stand between a hand and a part in trouble."""
    chosen = [bench.worker(command.socket)] if command.socket else list(bench.workers.values())
    for worker in chosen:
        worker.stop(f"{STOPPED} ({bench.operator or 'nobody signed in'})")


def _acknowledge(bench: Workbench, command: protocol.Acknowledge) -> None:
    bench.require(Role.OPERATOR)
    worker = _current(bench, command.socket, command.epoch)
    if not worker.view.now.needs_acknowledge:
        raise Refused(f"socket {worker.number} has nothing to acknowledge")
    worker.acknowledge()


def _answer(bench: Workbench, command: protocol.Answer) -> None:
    bench.require(Role.OPERATOR)
    worker = bench.worker(command.socket)
    worker.answer(command.prompt, command.choice)
    if worker.view.now.state == "interrupted":
        _recover(bench, worker, command.choice)


def _recover(bench: Workbench, worker: SocketWorker, choice: str) -> None:
    """The operator said whether an interrupted part is still where it was."""
    context = worker.context
    assert context is not None  # an interrupted tile always has one
    recipe = bench.load_recipe(context.recipe)
    if choice == CHECK_IT:
        bench.refuse_misplaced(recipe, worker.number)
        worker.settle_interrupted()
        if bench.recipe is None:
            bench.select(recipe, context.lot, context.wafer)
        worker.order(Order(recipe, context.but(operator=bench.operator, run=0), asked=True))
        return
    record = bench.journal.known(context.label_kind, context.label, context.device_id)
    verdict = recovery_verdict(record, context, bench.bins_of(recipe))
    detail = {
        "kind": str(verdict.kind), "bin_id": verdict.bin_id, "soft": verdict.bin, "hard": verdict.hard_bin,
        "reason": verdict.reason, "part_state": verdict.part_state, "tray": verdict.tray, "seconds": 0.0,
        "error": "", "pending": False,
    }  # fmt: skip
    row = bench.journal.verdict(context.but(operator=bench.operator), detail)
    worker.settle_interrupted()
    worker.context = None
    worker.recorded(verdict)
    bench.ended(row, recipe)


def _release(bench: Workbench, command: protocol.Release) -> None:
    bench.require(Role.SUPERVISOR)
    release(bench, command.part, command.reason)


def release(bench: Workbench, part: str, reason: str) -> None:
    """Release a quarantined part; every label and id that the quarantine named is released with it."""
    reason, record = _reason_and_record(bench, part, reason, "a release needs a reason in words")
    if not record.quarantine:
        raise Refused(f"part {part} is not in quarantine")
    rows = {(row.context.label_kind, row.context.label, row.context.device_id): row for row in record.quarantine_rows}
    for row in rows.values():
        context = row.context.but(operator=bench.operator, mode=bench.config.mode)
        bench.journal.write(context, "release", "", {"reason": reason, "was": record.quarantine})


def _reason_and_record(bench: Workbench, part: str, reason: str, wanted: str) -> tuple[str, PartRecord]:
    """What every supervisor's word about a part needs: a reason, and a part that this station knows."""
    reason = reason.strip()
    if not 3 <= len(reason) <= LONGEST_REASON:
        raise Refused(wanted)
    record = bench.journal.find(part)
    if not record.labels and not record.device_id:
        raise Refused(f"this station knows no part {part!r}")
    return reason, record


def _confirm_registration(bench: Workbench, command: protocol.ConfirmRegistration) -> None:
    bench.require(Role.SUPERVISOR)
    confirm_registration(bench, command.part, command.reason)


def confirm_registration(bench: Workbench, part: str, reason: str) -> None:
    """Take a part's pending registration for acknowledged: somebody has looked into the registry."""
    wanted = "a registration found by hand needs a reason in words: who looked where"
    reason, record = _reason_and_record(bench, part, reason, wanted)
    row = _pending_registration(bench, part, record)
    if any(worker.running and worker.view.now.label == row.context.label for worker in bench.workers.values()):
        raise Refused(f"part {part} is running; wait for its verdict")
    bench.confirmed(row, bench.outbox.confirm(row, bench.operator, reason))


def deliver_registration(bench: Workbench, part: str) -> Row:
    """Send a part's pending registration now and not when the outbox next tries; the row that was sent."""
    row = _pending_registration(bench, part, bench.journal.find(part))
    bench.outbox.send(row)
    return row


def _pending_registration(bench: Workbench, part: str, record: PartRecord) -> Row:
    pending = [row for row in bench.journal.pending_registrations() if row.context.run in record.registrations]
    if not pending:
        raise Refused(f"no registration of part {part} waits for an acknowledgement")
    return pending[0]


def _query(bench: Workbench, command: protocol.Query) -> None:
    from station.queries import answer

    bench.require(Role.OPERATOR)
    columns, rows = answer(bench, command.query, command.arguments)
    bench.emit(protocol.Rows(command.query, command.request, tuple(columns), tuple(tuple(row) for row in rows)))


def _snapshot(bench: Workbench, command: protocol.Snapshot) -> None:
    for event in bench.snapshot():
        bench.emit(event)


def _handle(bench: Workbench, command: Any) -> None:
    """Hands of the virtual bench, for demo, tests and the window's bench page."""
    bench.require(Role.OPERATOR if command.action in OPERATORS_HANDS else Role.ENGINEER)
    if bench.config.handler is None or bench.config.virtual_bench is None:
        raise Refused("this station has no virtual bench to handle")
    if command.action == "insert" and not command.argument:
        shelf.put_next(bench, command.socket)
    else:
        bench.handler(command.socket, command.action, command.argument)


def _waiting(bench: Workbench, socket: int, fits: Callable[[protocol.SocketState], bool]) -> SocketWorker:
    """The named socket, or the one that waits longest."""
    if socket:
        worker = bench.worker(socket)
        if not fits(worker.view.now):
            raise Refused(f"socket {socket} does not wait for this scan ({worker.view.now.state.replace('_', ' ')})")
        return worker
    waiting = [worker for worker in bench.workers.values() if fits(worker.view.now)]
    if not waiting:
        raise Refused("no socket waits for this scan; insert a part and close the lid first")
    return min(waiting, key=lambda worker: worker.view.now.since)


def _current(bench: Workbench, socket: int, epoch: int) -> SocketWorker:
    worker = bench.worker(socket)
    if worker.view.now.epoch != epoch:
        raise Refused(f"socket {socket} has changed since; look again")
    return worker


_SCANS: dict[str, Callable[[Any, str, int], tuple[int, str]]] = {
    "part": _scan_part,
    "lot": _scan_lot,
    "tray": _scan_tray,
    "badge": _scan_badge,
}
_HANDLERS: dict[type[Any], Callable[[Any, Any], None]] = {
    protocol.SignIn: _sign_in,
    protocol.SignOut: _sign_out,
    protocol.SelectRecipe: _select_recipe,
    protocol.Scan: _scan,
    protocol.Start: _start,
    protocol.Stop: _stop,
    protocol.Acknowledge: _acknowledge,
    protocol.Answer: _answer,
    protocol.Release: _release,
    protocol.ConfirmRegistration: _confirm_registration,
    protocol.Query: _query,
    protocol.Snapshot: _snapshot,
    protocol.Shutdown: lambda bench, command: None,
}
if hasattr(protocol, "Handle"):
    _HANDLERS[protocol.Handle] = _handle
