"""One socket at work: its thread watches presence, carries out runs, and keeps the tile true."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from station.appliances import NoAppliance
from station.bins import Bins
from station.burning import settle_left
from station.crash_report import CrashReports
from station.credentials import CredentialStore
from station.errors import BenchError, ConfigError, JournalError, PowerLost, Refused, StationError
from station.journal import Journal
from station.journal_parts import PartRecord
from station.journal_rows import Context, Row
from station.lot_answers import LotAnswers
from station.model import BinKind, Contact
from station.parts import PartServices, Shared
from station.ports import Appliance
from station.protocol import Event, Verdict
from station.recipe import Recipe
from station.run import STOPPED, Run, RunServices, execute
from station.socket_view import RUNNING, VERDICTS, SocketView
from station.sockets import ABSENT, PhysicalSocket
from station.tile_listener import TileListener
from station.verdict import verdict_of
from station.witness import Told, Witness

POLL = 0.1
WATCH = 0.1
REOPEN = 1.0
SIGNS = {"pass": "✔", "fail": "✖", "hold": "‖", "quarantine": "⚠", "bench": "⚠"}
CHECK_IT = "Check it"
QUARANTINE_IT = "No: quarantine"
MOVED = "the run was interrupted and the part was moved before it could be checked"
NOT_BEGUN = "the run was interrupted before anything was burnt"


class Bench(Protocol):
    """What a worker needs of the workbench."""

    journal: Journal
    credentials: CredentialStore
    crashes: CrashReports
    lot_answers: LotAnswers
    shared: Shared

    def emit(self, event: Event) -> None:
        """Send an event to everybody who listens."""

    def latch(self, sentence: str) -> None:
        """The journal cannot be written."""

    def ended(self, row: Row, recipe: Recipe) -> None:
        """A run got its verdict."""

    def appliance(self, socket: int) -> Appliance:
        """The appliance port for this socket."""

    def bins_of(self, recipe: Recipe) -> Bins:
        """The station's bins with the pack's own."""

    def typical(self, recipe: Recipe) -> float:
        """Seconds a good run of this recipe takes here."""


@dataclass(slots=True)
class Order:
    """A run that was asked for; ``asked``: it looks after an interrupted one, whose question it has answered."""

    recipe: Recipe
    context: Context
    asked: bool = False


class SocketWorker:
    """Every public method is safe from any thread."""

    def __init__(self, physical: PhysicalSocket, view: SocketView, bench: Bench) -> None:
        self.physical = physical
        self.view = view
        self.number = physical.number
        self.touchdown = 0
        self.context: Context | None = None
        self.last_error: BaseException | None = None
        self._bench = bench
        self._order: Order | None = None
        self._order_guard = threading.Lock()
        self._run: Run | None = None
        self._stop_wanted = threading.Event()
        self._stopped_by = ""
        self._part_left = False
        self._take_out = ""  # while a part lies here that nobody watched: what the tile says
        self._tile = TileListener(view, bench.emit)
        self._expects = ""
        self._was_usable = False
        self._reopen_at = 0.0
        self._ending = threading.Event()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._loop, name=f"socket {self.number}", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name=f"watch {self.number}", daemon=True)

    # ---- commands -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch the socket."""
        self.view.change(contacts=self.touchdown)
        self._thread.start()
        self._watcher.start()

    def expect(self, words: str) -> None:
        """What to scan next, in words."""
        self._expects = words
        if self.view.now.state == "scan" and not self.view.now.label:
            self.view.change(expects=words)

    def labelled(self, context: Context) -> None:
        """A part label was accepted for this socket: it may be started, unless the part left meanwhile."""
        self.context = context
        if not self.view.change_when(lambda now: now.state == "scan", label=context.label, may_start=True, expects="",
                                     verdict=None):  # fmt: skip
            raise Refused(f"the part in socket {self.number} was moved while its label was scanned; scan it again")

    def unlabel(self) -> None:
        """Forget a label that was scanned for another recipe."""
        if self.view.now.state == "scan":
            self.context = None
            self.view.change(label="", may_start=False)

    def order(self, order: Order) -> None:
        """Start a run."""
        self._stop_wanted.clear()
        self._tile.answering(True)
        self._idle.clear()
        self.view.change(state="checking", may_start=False, prompt=None, expects="", label=order.context.label)
        with self._order_guard:
            self._order = order
        self._wake.set()

    def stop(self, why: str = "") -> None:
        """End the run at its next wait outside a burn, also one that was ordered and has not begun yet.

        ``why`` says who wants it; without it the operator does. Who came first is named.
        """
        if not self._stop_wanted.is_set():
            self._stopped_by = why or STOPPED
        self._stop_wanted.set()
        self._pass_stop_on()
        if self.running:
            self._tile.answering(False)

    def _pass_stop_on(self) -> None:
        """Called by whoever stops, and by the run's thread once there is a run: neither can miss the other."""
        run = self._run
        if run is not None and self._stop_wanted.is_set():
            run.request_stop(self._stopped_by)
            self.view.change(stop_requested=True)

    def acknowledge(self) -> None:
        """The operator has read the verdict."""
        self.view.change(needs_acknowledge=False)
        self._wake.set()

    def answer(self, prompt: int, choice: str) -> None:
        """Answer the question of that number; ``Refused`` when it is not open or has no such choice."""
        self._tile.answer(prompt, choice)

    def interrupted(self, row: Row) -> None:
        """The station died during a run here: ask before anything else."""
        self._was_usable = True  # the same touchdown goes on
        self._ask_whether_there(row.context)

    def _ask_whether_there(self, context: Context, wrong: str = "") -> None:
        """``wrong`` is why the part could not be looked at, when it was tried."""
        self.context = context
        before = f"{wrong[:1].upper()}{wrong[1:]}. " if wrong else ""
        text = f"{before}Do not move. Is the part {context.label} still in socket {self.number}?"
        prompt = self._tile.question(text, (CHECK_IT, QUARANTINE_IT))
        self.view.change(state="interrupted", label=context.label, device_id=context.device_id, prompt=prompt,
                         expects=wrong, plan=(), steps=(), elapsed=0.0, percent=0, stop_allowed=False)  # fmt: skip

    def seated(self, row: Row, verdict: Verdict) -> None:
        """The station ended while the part with this verdict lay in the socket, and nobody has seen it leave."""
        self.context = row.context
        self.view.change(label=row.context.label, device_id=row.context.device_id)
        self.recorded(verdict)

    def left_behind(self, row: Row) -> None:
        """A part that passed lay here when the station ended: whatever lies here takes no scan, claims no verdict."""
        self.context = row.context
        self._take_out = (
            f"Take out the part. {row.context.label or 'A part'} passed here before the station was closed; nobody saw "
            "whether it is still the same one: look at its label."
        )
        self.view.change(expects=self._take_out)

    def note_removed(self, how: str) -> None:
        """The part that has its verdict is gone: the next start of the station need not ask for it."""
        now = self.view.now
        context = self.context or Context(socket=self.number, touchdown=self.touchdown)
        self._bench.journal.append(context.but(socket=self.number), "removed", "", {"label": now.label, "how": how})

    def settle_interrupted(self) -> None:
        """The question about the interrupted part is answered."""
        self._tile.forget()

    def wait_idle(self, seconds: float | None = None) -> bool:
        """Wait until no run is in progress; False when the time is over first."""
        return self._idle.wait(seconds)

    @property
    def burning(self) -> bool:
        """True while a burn is open."""
        return self.view.now.state == "burning"

    @property
    def running(self) -> bool:
        """True from the order until the verdict."""
        return not self._idle.is_set()

    def close(self) -> None:
        """Stop at the next wait outside a burn, record, release the adapter with its outputs frozen."""
        self._ending.set()
        self.stop()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._watcher.is_alive():
            self._watcher.join()
        self.physical.close()

    # ---- the thread -----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            order = self._next_order()
            try:
                if order is not None:
                    self._carry_out(order)
                elif self._ending.is_set():
                    return
                else:
                    self._poll()
            except JournalError as error:
                self._bench.latch(str(error))
            except Exception as error:  # the thread must live: the other runs of this socket are not to blame
                self._note_crash(error)
                self._fault(f"an error in the program ({type(error).__name__}) stopped this socket for now")
            if self._order is None:
                self._wake.wait(POLL)
                self._wake.clear()

    def _next_order(self) -> Order | None:
        with self._order_guard:
            order, self._order = self._order, None
        return order

    def _poll(self) -> None:
        """Look at the sensors and move the tile between insert_part, scan and the end of a verdict."""
        if time.monotonic() < self._reopen_at or self._bench.journal.latched:
            return
        state = self.view.now.state
        if state == "interrupted":
            return  # the adapter is not touched until the operator has answered: the chip may still be burning
        try:
            contact = self.physical.contact()
        except (BenchError, ConfigError) as error:
            self._fault(str(error))
            return
        self._show_contact(contact)
        self._move(state, contact)

    def _show_contact(self, contact: Contact) -> None:
        if contact.usable and not self._was_usable:
            self.touchdown += 1
        self._was_usable = contact.usable
        self.view.change(present=contact.present, lid_closed=contact.lid_closed,
                         has_lid=contact.has_lid, contacts=self.touchdown)  # fmt: skip

    def _move(self, state: str, contact: Contact) -> None:
        if self._take_out:
            self._leave_unwatched(contact)
        elif state in VERDICTS and (self.view.now.verdict is not None):
            self._leave_verdict(contact)
        elif not contact.usable:
            if contact.present and contact.lid_closed and not contact.power_good:
                self.view.change(state="bench_fault", expects="the socket has no power", label="", may_start=False)
                return
            self._empty()
        elif state in ("insert_part", "bench_fault"):
            self.view.change(state="scan", expects=self._expects)

    def _leave_verdict(self, contact: Contact) -> None:
        """The verdict stays until the part is gone and, unless it passed, until somebody has acknowledged it."""
        now = self.view.now
        if not self._part_left and not (contact.present and contact.lid_closed):
            self._part_left = True
            self.note_removed("taken out")
        if now.needs_acknowledge:
            return
        if self._part_left:
            self._empty()
        elif now.state == "bench_fault" and self.context is not None and contact.usable:
            if self.context.touchdown == self.touchdown:
                self.view.change(state="scan", verdict=None, may_start=True)
            else:  # nobody watched the socket all the time: what is in it now is for the scanner to say
                self._empty()

    def _leave_unwatched(self, contact: Contact) -> None:
        """Nothing is asked of the part that lay here when the station began, until it is seen to leave."""
        if contact.present and contact.lid_closed:
            self.view.change(state="insert_part", expects=self._take_out)
            return
        self.note_removed("taken out")
        self._take_out = ""
        self._empty()

    def _empty(self) -> None:
        self.context = None
        self._part_left = False
        self.view.change(
            state="insert_part", label="", verdict=None, steps=(), plan=(), device_id="", may_start=False, elapsed=0.0,
            percent=0, expects="",
        )  # fmt: skip

    def _fault(self, sentence: str) -> None:
        self.physical.close()
        self._was_usable = False
        self._reopen_at = time.monotonic() + REOPEN
        if self.view.now.state != "interrupted" and self.view.now.verdict is None:
            self.view.change(state="bench_fault", expects=sentence, label="", may_start=False, present=False)

    # ---- one run ----------------------------------------------------------------------------------------------------

    def _carry_out(self, order: Order) -> None:
        recipe, bench = order.recipe, self._bench
        self._part_left = False
        try:
            self.view.begin(recipe.plan, bench.typical(recipe))
            record = bench.journal.known(order.context.label_kind, order.context.label, order.context.device_id)
            self._wait_settled(record)
            if order.asked and (sentence := self._unreachable()):
                self._ask_again(sentence)
                return
            services = RunServices(bench.journal, bench.bins_of(recipe), recipe.pack, bench.credentials, self._tile,
                                   bench.lot_answers)  # fmt: skip
            run = Run(recipe.plan, order.context, services, record)
            self._run = run
            self._pass_stop_on()
            verdict, error = execute(run, lambda: self._flow(run, recipe))
            self.last_error = error
            if error is not None and not isinstance(error, StationError):
                self._note_crash(error)
            self._show_verdict(verdict, run)
            bench.ended(run.last_row, recipe)
        except JournalError:
            self.view.change(state="burning", burn_title="the record cannot be written", stop_allowed=False)
            raise
        finally:
            self._run = None
            self._idle.set()

    def _unreachable(self) -> str:
        """Why nothing can be said of an interrupted part: its adapter is away, or its bench."""
        try:
            self.physical.contact()
        except (BenchError, ConfigError) as error:
            return str(error)
        return ""

    def _ask_again(self, sentence: str) -> None:
        """Nothing was done, nothing is recorded: the question stays until the part can be looked at."""
        context = self.context
        assert context is not None  # that of the interrupted run, which the next answer ends
        self.physical.close()
        self._log(f"{sentence}; the question about {context.label} stays", level="warning")
        self._ask_whether_there(context, sentence)

    def _flow(self, run: Run, recipe: Recipe) -> None:
        """Everything that may fail on the way to the verdict."""
        ports = self._ports()
        self.view.change(state="running")
        settings = {**recipe.pack.settings, **recipe.settings}
        services = PartServices(run.log, run.pause, recipe.pack.generation, settings, self._bench.shared)
        part = recipe.part(ports, services)
        appliance: Any = self._bench.appliance(self.number) if recipe.needs_appliance else NoAppliance()
        recipe.flow(run, part, Witness(appliance, _witnessed(run)))

    def _ports(self) -> Any:
        contact = self.physical.contact()
        if not contact.usable:
            self._was_usable = False
            raise PowerLost(f"socket {self.number}: {_missing(contact)}")
        return self.physical.open()

    def _wait_settled(self, record: PartRecord) -> None:
        """The adapter stays closed until the worst case of an interrupted burn has passed."""
        open_burns = [record.burns[key] for key in record.open_burns()]
        left = max((settle_left(facts, self._bench.journal.boot) for facts in open_burns), default=0.0)
        if left > 0:
            self._log(f"waiting {left:.1f} s: the chip may still be burning")
            self.view.change(expects="waiting until the chip's worst case has passed")
            time.sleep(left)
            self.view.change(expects="")

    def _show_verdict(self, verdict: Verdict, run: Run) -> None:
        state = "bench_fault" if verdict.kind == BinKind.BENCH else str(verdict.kind)
        needs = verdict.kind != BinKind.PASS
        self.view.finish(state, verdict=verdict, needs_acknowledge=needs, device_id=run.device_id, prompt=None)
        level = "info" if verdict.kind == BinKind.PASS else "warning"
        reason = f": {verdict.reason}" if verdict.reason else ""
        self._log(f"{SIGNS[verdict.kind]} bin {verdict.bin} {verdict.name}, record stored{reason}", level=level)

    def promoted(self, label: str, verdict: Verdict) -> None:
        """The outbox finished a part on hold; its tile shows it if the part is still there."""
        self.view.change_when(lambda now: now.state == "hold" and now.label == label, state=str(verdict.kind),
                              verdict=verdict, needs_acknowledge=False, prompt=None)  # fmt: skip

    def recorded(self, verdict: Verdict) -> None:
        """Show a verdict that was written outside a run (recovery)."""
        if verdict.reason in (MOVED, NOT_BEGUN):  # what lies in the socket now is not known
            self.view.change(label="", device_id="")
        state = str(verdict.kind) if verdict.kind != BinKind.BENCH else "bench_fault"
        self.view.change(state=state, verdict=verdict, needs_acknowledge=verdict.kind != BinKind.PASS, prompt=None)

    def _note_crash(self, error: BaseException) -> None:
        """An error of every poll is one report and few lines."""
        noted = self._bench.crashes.note(error)
        if noted.worth_saying:
            self._log(noted.sentence, level="error")

    def _log(self, text: str, source: str = "station", level: str = "info") -> None:
        self._tile.log(text, source, level)

    # ---- the watcher ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """While a run is on: progress, and the sensors, so that an opened lid is never missed."""
        ticks = 0
        while not self._ending.is_set() or self.running:
            time.sleep(WATCH)
            run = self._run
            if run is None:
                continue
            ticks += 1
            if ticks % 3 == 0:
                self.view.progress()
            if self.view.now.state in RUNNING and self.physical.is_open:
                self._check_contact(run)

    def _check_contact(self, run: Run) -> None:
        try:
            contact = self.physical.contact()
        except BenchError:
            self._was_usable = False
            return  # the run itself meets the lost adapter and says so
        except Exception:  # sensors that fail in any way say nothing good
            contact = ABSENT
        if not contact.usable:
            self._was_usable = False
            run.lost_contact(f"socket {self.number}: {_missing(contact)} during the run")
            self._tile.give("")
            self.view.change(present=contact.present, lid_closed=contact.lid_closed)


def _witnessed(run: Run) -> Callable[[Told], None]:
    """Record each call to the appliance with the run that made it."""

    def tell(told: Told) -> None:
        if not run.journal.latched:
            run.journal.append(run.context, "appliance", "", told.detail())
        run.log(f"{told.call} {told.outcome}", "pa", "warning" if told.error else "info")
        run.log(f"{told.call}: {told.sent} → {told.got}", "pa", "debug")

    return tell


def recovery_verdict(record: PartRecord, context: Context, bins: Bins) -> Verdict:
    """The verdict of an interrupted part that is not where it was: quarantine once something may have been burnt."""
    name = context.label or context.device_id
    aside = f"whatever lies in socket {context.socket} is put aside for an engineer"
    if record.open_burns() or record.burnt(context.flow) or record.erasing:
        return verdict_of(bins["quarantine"], MOVED, f"{name} is in quarantine wherever it is; {aside}")
    facts = f"nothing was burnt in {name}, wherever it is; look at the label of what lies in socket {context.socket}"
    return verdict_of(bins["bench"], NOT_BEGUN, facts, "the part is not to blame and may go again")


def _missing(contact: Contact) -> str:
    if not contact.present:
        silent = contact.lid_closed and not contact.power_good  # sensors apart, such as presence over SWD
        return "the part fell silent (taken out, or without power)" if silent else "the part was removed"
    return "the lid was opened" if not contact.lid_closed else "the power failed"
