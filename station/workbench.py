"""The workbench: this station's one application interface, used by the engine and the command line alike."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from station.appliances import Appliances
from station.bins import Bins, load_bins
from station.build import build_text
from station.chosen_recipe import ChosenRecipe
from station.config import StationConfig
from station.crash_report import CrashReports
from station.credentials import CredentialStore
from station.data_folder import DataFolder
from station.errors import BenchError, ConfigError, JournalError, Refused, StationError
from station.hands import Hands
from station.journal import Journal, Probe
from station.journal_rows import AT_SOCKET, Row
from station.lot import LotBook, day_began
from station.lot_answers import LotAnswers
from station.model import BinKind, Role
from station.operators import Operators, may
from station.outbox import Outbox
from station.parts import Shared
from station.ports import Appliance, Handler
from station.protocol import (
    SCHEMA,
    Command,
    CommandRefused,
    Event,
    Finishing,
    Hello,
    Latched,
    Log,
    SignedIn,
    Verdict,
)
from station.recipe import Recipe, load_recipe, map_kind, recipe_names
from station.resources import file_in, missing, searched
from station.socket_view import SocketView
from station.socket_worker import SocketWorker
from station.sockets import PhysicalSocket, misplaced
from station.verdict import recorded_verdict

Subscriber = Callable[[Event], None]
TYPICAL_RUNS = 20
EARLIER_PER_FAIL = 5  # verdicts looked at per allowed fail in a row: retests and holds are among them
ENDED = "the station was told to end"


class Workbench:
    """Built in ``main`` and passed on; closing it finishes burns, records, and lets go of everything."""

    def __init__(self, config: StationConfig, probe: Probe | None = None) -> None:
        config.use_environment()
        config.require_drivers()
        self.config = config
        self.bins = load_bins(file_in(config.resources, "bins.toml"))
        self.folder = DataFolder(config.data)
        self.crashes = CrashReports(config.data)
        self.journal = Journal(self.folder, config.name, probe=probe)
        try:
            self._build()
        except BaseException:  # the folder is given back
            self.journal.close()
            raise

    def _build(self) -> None:
        config = self.config
        self.credentials = CredentialStore(config.data / "credentials", config.realm)
        self.operators = Operators(config.data)
        self.operator = ""
        self.role: Role | None = None
        self.recipe: Recipe | None = None
        self._chosen: ChosenRecipe | None = None
        self.lot = ""
        self.wafer = ""
        self.book: LotBook | None = None
        self._subscribers: list[Subscriber] = []
        self._recipes: dict[str, Recipe] = {}
        self._maps: dict[str, str] = {}
        self._typical: dict[str, float] = {}
        self._guard = threading.RLock()
        self._closed = False
        self._hands: Hands | None = None
        self.appliances = Appliances(config, self.credentials, self._pending, self.emit, self.journal)
        self.shared = Shared()
        self.workers: dict[int, SocketWorker] = {}
        for number, entry in enumerate(config.sockets, 1):
            view = SocketView(number, entry.contacts_limit, self.emit)
            self.workers[number] = SocketWorker(PhysicalSocket(number, entry), view, self)
        self.lot_answers = LotAnswers(self.journal)
        self.outbox = Outbox(
            self.journal, self.credentials, self.bins, lambda: self.appliance(0), self._is_busy, self._delivered,
            lambda text, level: self.log(text, level, "pa"), self.crashes,
        )  # fmt: skip

    # ---- life -----------------------------------------------------------------------------------------------------

    def start(self, seated: bool = False) -> None:
        """Ask about interrupted parts, then begin to watch the sockets.

        ``seated``: show the verdicts of the parts that were not seen to leave. A caller that names a part for a socket
        nobody watched since its last run (the command line) does without.
        """
        if sentence := self.journal.clock_sentence:
            self.log(sentence, "warning")
        for folder in missing(self.config.resources):  # the data folder is there by now
            self.log(f"expected a folder {folder}, which `resources` names, but there is none", "warning")
        touchdowns = {row.context.socket: row.context.touchdown for row in self._last_touchdowns()}
        interrupted = self.journal.interrupted()
        for number, worker in self.workers.items():
            worker.touchdown = touchdowns.get(number, 0)
            if number in interrupted:
                worker.interrupted(interrupted[number])
        for row in self.journal.seated() if seated else ():
            self._seat(row)
        for worker in self.workers.values():
            worker.start()
        self.appliances.start("")
        self.outbox.start()

    def resume_recipe(self) -> None:
        """Go on with the recipe that an engineer chose last, and remember from now on what is chosen (the engine only).

        It was chosen by somebody who may, so that restoring it needs no role; what is gone or wrong meanwhile is said.
        """
        self._chosen = ChosenRecipe(self.config.data)
        try:
            name = self._chosen.name()
            if name and name not in self.recipes():
                raise ConfigError(f"the recipe '{name}' chosen last is not there any more; an engineer chooses another")
            if name:
                self.select(self.load_recipe(name), "", "")
        except StationError as error:
            self.log(str(error), "warning")

    def remember(self, recipe: Recipe) -> None:
        """Keep an engineer's choice for the next start; the choice itself holds even when it cannot be kept."""
        if self._chosen is not None:
            try:
                self._chosen.keep(recipe.name)
            except ConfigError as error:
                self.log(str(error), "warning")

    def _seat(self, row: Row) -> None:
        """Show a verdict again, but never a pass: nobody saw whether the part was changed while the station was off."""
        worker = self.workers.get(row.context.socket)
        if worker is None:
            return
        verdict = recorded_verdict(row.detail, self._bins_for(row))
        if verdict.kind == BinKind.PASS:
            worker.left_behind(row)
        else:
            worker.seated(row, verdict)

    def close(self, why: str = ENDED) -> None:
        """Finish burns in progress, stop at the next wait, record, release (may be called twice)."""
        if self._closed:
            return
        self._closed = True
        busy = tuple(number for number, worker in self.workers.items() if worker.running)
        if busy:
            words = ", ".join(map(str, busy))
            self.folder.say(f"finishing socket {words}")
            self.emit(Finishing(busy, f"the engine is finishing socket {words}"))
        for worker in self.workers.values():
            worker.stop(why)
        for worker in self.workers.values():
            worker.close()
        self.outbox.close()
        self.appliances.close()
        if self._hands is not None:
            self._hands.close()
        self.journal.close()

    # ---- events and commands ----------------------------------------------------------------------------------------

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` with every event from whatever thread it comes; returns what ends that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def emit(self, event: Event) -> None:
        """Send an event to everybody who listens."""
        for subscriber in list(self._subscribers):
            subscriber(event)

    def log(self, text: str, level: str = "info", source: str = "station", socket: int = 0) -> None:
        """One line for the log."""
        self.emit(Log(time.time(), socket, source, level, text))

    def snapshot(self) -> list[Event]:
        """Hello and every state, for a window that comes later."""
        events: list[Event] = [self.hello(), SignedIn(self.operator, str(self.role or ""))]
        events += [self.appliances.state] if self.appliances.state is not None else []
        events += [worker.view.now for worker in self.workers.values()]
        if self.book is not None:
            events.append(self.book.event())
        if self.journal.latched:
            events.append(Latched(self.journal.latched))
        return events

    def hello(self) -> Hello:
        """What the header shows."""
        recipe = self.recipe
        return Hello(
            schema=SCHEMA, station=self.config.name, build=build_text(), realm=self.config.realm,
            mode=self.config.mode, sockets=len(self.workers), recipes=tuple(self.recipes()),
            recipe=recipe.name if recipe else "", recipe_title=recipe.title if recipe else "",
            recipe_revision=recipe.revision if recipe else "", sku=recipe.pack.sku if recipe else "",
            fingerprint=recipe.pack_digest if recipe else "", on_trays=self._on_trays(),
        )  # fmt: skip

    def handle(self, command: Command) -> bool:
        """Carry out one command; False when it was refused (everybody hears why)."""
        from station.commands import carry_out

        try:
            with self._guard:
                carry_out(self, command)
        except JournalError as error:
            self.latch(str(error))
            return False
        except StationError as error:
            self.emit(CommandRefused(type(command).__name__, getattr(command, "socket", 0), str(error)))
            return False
        except Exception as error:  # one bad command must not end the runs of the other sockets
            noted = self.crashes.note(error)
            if noted.worth_saying:
                self.log(noted.sentence, "error")
            self.emit(CommandRefused(type(command).__name__, getattr(command, "socket", 0), noted.sentence))
            return False
        return True

    # ---- recipes, bins, appliance -----------------------------------------------------------------------------------

    def recipes(self) -> list[str]:
        """Names of the recipes this station may run."""
        return list(self.config.recipes) or recipe_names(self.config.resources)

    def why_no_recipe(self) -> str:
        """What decides which recipes there are, for a sentence about one that is not among them."""
        if self.config.recipes:
            return f"the station file allows recipes = {list(self.config.recipes)}: add it there, or leave the key out"
        return searched(self.config.resources)

    def _on_trays(self) -> tuple[str, ...]:
        """Recipes whose parts come on trays; what a recipe says is looked at once."""
        for name in self.recipes():
            if name not in self._maps:
                self._maps[name] = map_kind(name, self.config.resources)
        return tuple(name for name in self.recipes() if self._maps[name] == "tray")

    def load_recipe(self, name: str) -> Recipe:
        """A recipe of this station's realm, checked and cached."""
        if name not in self._recipes:
            recipe = load_recipe(name, self.config.resources)
            if unfit := recipe.unfit(self.config.realm, self.config.appliance is not None):
                raise ConfigError(f"recipe {name}: {unfit}")
            self._recipes[name] = recipe
            for doubt in recipe.doubts:
                self.log(doubt, "warning")
        return self._recipes[name]

    def select(self, recipe: Recipe, lot: str, wafer: str) -> None:
        """Work on this recipe and lot from now on."""
        self.recipe, self.lot, self.wafer = recipe, lot, wafer
        self.book = self._open_book(recipe)
        for worker in self.workers.values():
            worker.expect(recipe.label_prompt)
        self.appliances.check_soon(recipe.pack.sku)
        self.emit(self.hello())
        self.emit(self.book.event())

    def _open_book(self, recipe: Recipe) -> LotBook:
        """What is counted: this lot, or without one the parts of today (and the fails in a row that led to them)."""
        book = LotBook(self.lot, self.wafer, recipe.map_kind, self.bins_of(recipe), self.config.limits)
        if self.lot:
            book.feed_all(self._verdicts(recipe, "lot = ? ORDER BY seq", self.lot))
            return book
        now = time.time()
        began = int(day_began(now, self.config.limits.day_starts) * 1e6)
        if most := EARLIER_PER_FAIL * self.config.limits.consecutive_fails:
            book.feed_all(reversed(self._verdicts(recipe, "time_us < ? ORDER BY seq DESC LIMIT ?", began, most)))
        book.start_of_day(now)
        book.feed_all(self._verdicts(recipe, "time_us >= ? ORDER BY seq", began))
        return book

    def _verdicts(self, recipe: Recipe, which: str, *parameters: object) -> list[Row]:
        where = f"WHERE kind = 'verdict' AND recipe = ? AND mode = ? AND {which}"
        return self.journal.rows(where, (recipe.name, str(self.config.mode), *parameters))

    def _count(self, row: Row) -> None:
        """One more verdict for the lot card; a part of another recipe is none of it."""
        if self.book is not None and self.recipe is not None and row.context.recipe == self.recipe.name:
            self.book.feed(row)
            self.emit(self.book.event())

    def bins_of(self, recipe: Recipe) -> Bins:
        """The station's bins with the pack's own."""
        return self.bins.overridden(recipe.pack.bins)

    def _bins_for(self, row: Row) -> Bins:
        """The bins of a recorded run; those of the station when its recipe is there no more."""
        try:
            return self.bins_of(self.load_recipe(row.context.recipe))
        except StationError:
            return self.bins

    def recovery_of(self, recipe: Recipe) -> str:
        """Name of this station's recipe that erases what this one has burnt; empty when there is none."""
        likely = [name for name in self.recipes() if name.startswith(recipe.name) and name != recipe.name]
        likely.sort(key=len)  # that of nrf5340-dk is not nrf5340-dk-child-recover
        for name in dict.fromkeys((*likely, *self.recipes())):
            with contextlib.suppress(StationError):
                other = self.load_recipe(name)
                if recipe.flow_name in other.plan.takes_back and other.pack.sku == recipe.pack.sku:
                    return name
        return ""

    def refuse_misplaced(self, recipe: Recipe, socket: int) -> None:
        """Raise ``Refused`` when the socket is made for another chip than the recipe: the part is not to blame."""
        if said := misplaced(self.worker(socket).physical.entry, {recipe.family}):
            raise Refused(f"socket {socket}: {said}")

    def appliance(self, socket: int) -> Appliance:
        """The appliance port for this socket."""
        return self.appliances.of(socket)

    def typical(self, recipe: Recipe) -> float:
        """Median seconds of the last good runs of this recipe here; 0 when there was none."""
        if recipe.name not in self._typical:
            rows = self.journal.rows(
                "WHERE kind = 'verdict' AND recipe = ? ORDER BY seq DESC LIMIT ?", (recipe.name, 4 * TYPICAL_RUNS)
            )
            seconds = [row.detail["seconds"] for row in rows if row.detail["kind"] == "pass" and row.detail["seconds"]]
            self._typical[recipe.name] = round(statistics.median(seconds[:TYPICAL_RUNS]), 2) if seconds else 0.0
        return self._typical[recipe.name]

    def handler(self, socket: int, action: str, argument: str) -> None:
        """Let the virtual bench's hands do something: insert, remove, lid, power, fault, unplug, replug."""
        if self._hands is None:
            self._hands = Hands(self.config)
        self._hands.do(socket, action, argument)

    def shelf(self) -> list[str]:
        """Names of all parts that the virtual bench has."""
        return list(self._handler().parts())

    def seated_dies(self) -> set[str]:
        """Names of the parts that lie in the virtual bench's sockets."""
        return {self.seated(number) for number in self.workers}

    def seated(self, socket: int) -> str:
        """Name of the part that lies in a socket of the virtual bench; empty when there is none."""
        return str(self._handler().state(socket).get("label") or "")

    def faults(self) -> dict[str, str]:
        """The faults that the virtual bench can simulate, with one sentence each; empty on a real bench."""
        return dict(self._handler().faults()) if self.config.virtual_bench is not None else {}

    def armed(self, socket: int) -> str:
        """The faults that are armed in a socket of the virtual bench, in words for its page."""
        try:
            found = self._handler().state(socket).get("armed", ())
        except BenchError:  # the bench is gone, which its sockets say themselves
            return "unknown"
        return ", ".join(map(str, found)) if isinstance(found, (list, tuple)) else ""

    def _handler(self) -> Handler:
        if self._hands is None:
            self._hands = Hands(self.config)
        return self._hands.port

    # ---- what workers and outbox report -----------------------------------------------------------------------------

    def ended(self, row: Row, recipe: Recipe) -> None:
        """A run got its verdict: lot, typical time, outbox and header follow."""
        self._typical.pop(recipe.name, None)
        self._count(row)
        if row.detail.get("pending"):
            self.outbox.wake()
        light = self.appliances.state
        red = light is not None and not light.ok
        if row.detail.get("error") == "ApplianceError" or row.detail.get("pending") or red:
            self.appliances.check_soon()

    def latch(self, sentence: str) -> None:
        """The journal cannot be written: no verdict, no new runs, do not remove the part."""
        self.emit(Latched(sentence))
        self.log(sentence, "error", "journal")

    def require(self, least: Role) -> None:
        """Raise ``Refused`` unless somebody of that role is signed in."""
        if self.role is None:
            raise Refused("sign in first")
        if not may(self.role, least):
            raise Refused(f"this needs the role {least}; {self.operator} is {self.role}")

    def worker(self, socket: int) -> SocketWorker:
        """The worker of a socket number."""
        if socket not in self.workers:
            raise Refused(f"this station has sockets 1 to {len(self.workers)}, not {socket}")
        return self.workers[socket]

    def _delivered(self, row: Row, verdict: Verdict | None) -> None:
        name = row.context.label or row.context.device_id
        self.log(f"registration of {name} acknowledged", "info", "pa", row.context.socket)
        self.appliances.pending_changed(ok=True)
        self._promoted(row, verdict)

    def confirmed(self, row: Row, verdict: Verdict | None) -> None:
        """Somebody found a part in the registry; how the appliance is, that does not tell."""
        name = row.context.label or row.context.device_id
        self.log(f"registration of {name} found in the registry by {self.operator}", socket=row.context.socket)
        self.appliances.pending_changed()
        self._promoted(row, verdict)

    def _promoted(self, row: Row, verdict: Verdict | None) -> None:
        """A part on hold has passed: its tile and the lot card follow."""
        if verdict is None:
            return
        worker = self.workers.get(row.context.socket)
        if worker is not None:
            worker.promoted(row.context.label, verdict)
        detail = {"kind": str(verdict.kind), "bin_id": verdict.bin_id}
        self._count(replace(row, detail=detail, time_us=int(time.time() * 1e6)))

    def _is_busy(self, row: Row) -> bool:
        label = row.context.label
        return any(worker.running and worker.view.now.label == label for worker in self.workers.values())

    def _pending(self) -> int:
        return len(self.journal.pending_registrations())

    def _last_touchdowns(self) -> list[Row]:
        return self.journal.rows(
            f"WHERE seq IN (SELECT max(seq) FROM journal WHERE {AT_SOCKET} AND kind != 'removed' GROUP BY socket)"
        )
