"""A run: one recipe on one part in one socket; what a flow may say (architecture, section 5)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from station.burning import Burning
from station.decision import Terms
from station.errors import (
    BenchError,
    ConfigError,
    JournalError,
    PowerLost,
    Quarantined,
    Reject,
    Stopped,
)
from station.journal import Journal
from station.journal_parts import BurnState, Keepable, KeptRegistration, PartRecord, kept_detail
from station.journal_rows import Context, Row
from station.journal_search import Parts, parts_begun_without, parts_keeping
from station.lot_answers import LotAnswers
from station.model import Answer, EraseWaiver, Registration
from station.plan import Burn, Erasure, Plan, Title
from station.ports import Appliance
from station.protocol import Verdict
from station.registrations import acknowledge, deliver, seal_registration
from station.run_services import Listener, RunServices, Silent
from station.secret import Sealed, Secret
from station.stepping import Stepping
from station.stop_signal import StopSignal
from station.verdict import Facts, derive, sentence_of

__all__ = ["STOPPED", "Burn", "Erasure", "Listener", "Plan", "Run", "RunServices", "Silent", "Title", "execute"]

STOPPED = "the operator stopped the run"


class Run:
    """One run; lives in its socket's thread."""

    def __init__(self, plan: Plan, context: Context, services: RunServices, part: PartRecord | None = None) -> None:
        self._plan = plan
        self._services = services
        self._journal = services.journal
        self._listener = services.listener
        self._stop = StopSignal()
        self._stopped_by = ""
        self._burning = False
        self._quarantine = ""
        self._doubted = False
        self._erased = ""
        self._kept_here: dict[str, dict[str, object]] = {}
        self.contact_lost = ""
        self.asked: set[str] = set()
        self.pack = services.pack
        self.sku = services.pack.sku
        self.realm = services.pack.realm
        self.socket = context.socket
        self.label = context.label
        self.part = part or self._journal.known(context.label_kind, context.label, context.device_id)
        self.remedy = ""
        """What helps a part that is half done, in words for its verdict; the flow says it."""
        self._waited = 0.0
        self._began = time.monotonic()
        attempt = self.part.starts.get(context.flow, 0) + 1
        first = context.but(attempt=attempt, device_id=context.device_id or self.part.device_id)
        start = self._journal.start(first, {"titles": [title.id for title in plan]})
        self._context = start.context
        self.part.feed(start)
        self.last_row = start

    # ---- what a flow reads ------------------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        """What all rows of this run have in common."""
        return self._context

    @property
    def device_id(self) -> str:
        """The chip's own id as hex text, once identified."""
        return self._context.device_id

    @property
    def journal(self) -> Journal:
        """The journal this run writes."""
        return self._journal

    @property
    def seconds(self) -> float:
        """How long the run has taken so far, without the time for which it waited for an answer."""
        return self._clock() - self._began

    def _clock(self) -> float:
        return time.monotonic() - self._waited

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """What an operator takes to answer is no time of the run's or of its step's."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - began

    def image(self, name: str) -> bytes:
        """An image of the SKU pack."""
        return self.pack.image(name)

    def hooks(self, name: str, *args: object) -> object:
        """Call a hook of the SKU pack; None when the pack has none of this name."""
        return self.pack.hook(name, *args)

    def credential(self, name: str) -> Secret:
        """A credential of this station."""
        return self._services.credentials.credential(name)

    def seal(self, raw: bytes, label: str) -> Sealed:
        """Seal bytes to the station's key, so that they may be recorded."""
        return self._services.credentials.seal(raw, label)

    def unseal(self, sealed: Sealed) -> bytes:
        """Open what ``seal`` made."""
        return self._services.credentials.unseal(sealed)

    # ---- stop ---------------------------------------------------------------------------------------------------

    def request_stop(self, why: str = STOPPED) -> None:
        """End the run at its next wait outside a burn; called from another thread. ``why`` says who wants it."""
        self._stopped_by = self._stopped_by or why
        self._stop.set()

    def lost_contact(self, sentence: str) -> None:
        """The socket's sensors saw the part go; ends the run at its next wait, a burn goes to quarantine."""
        self.contact_lost = self.contact_lost or sentence
        self._stop.set()

    def check_stop(self) -> None:
        """Raise ``Stopped`` (or ``PowerLost``) when the run is to end and nothing is being burnt."""
        if self._burning or not self._stop.is_set():
            return
        if self.contact_lost:
            raise PowerLost(self.contact_lost)
        raise Stopped(self._stopped_by or STOPPED)

    def pause(self, seconds: float) -> None:
        """Sleep; outside a burn a stop ends it at once."""
        if self._burning:
            time.sleep(seconds)
            return
        self._stop.wait(seconds)
        self.check_stop()

    # ---- verbs ----------------------------------------------------------------------------------------------------

    def step(self, title: Title) -> AbstractContextManager[None]:
        """Something that may be repeated."""
        return Stepping(self, title)

    def burn(
        self,
        title: Title,
        *,
        done: Callable[[], Answer],
        do: Callable[[], None],
        tries: int = 1,
        fresh: Callable[[], bool] | None = None,
        guarded: str = "",
        anyones: bool = False,
        only_powered: bool = False,
    ) -> None:
        """Something that must not be repeated: ask, write the intent, act, ask again, write the outcome."""
        began = self.begin_title(title, burn=True)
        try:
            status = Burning(self, title, done, do, Terms(tries, fresh, guarded, anyones, only_powered)).carry_out()
        except BaseException as error:  # whatever ended it is recorded, then goes on
            self.end_title(title, "failed", began, sentence_of(error))
            raise
        finally:
            self.let_go()
        self.end_title(title, status, began)

    def hold_on(self, title: Title) -> None:
        """From here on DO NOT REMOVE, and a stop waits."""
        self._burning = True
        self._listener.burning(title)

    def settle(self, title: Title, seconds: float) -> None:
        """Wait until the chip's worst case has passed: it may still be burning. Nothing ends this wait."""
        if seconds > 0:
            self.log(f"waiting {seconds:.1f} s: the chip may still be burning")
            self._listener.settling(title)
            time.sleep(seconds)

    def let_go(self) -> None:
        """Nothing is being burnt any more."""
        self._burning = False
        self._listener.burning(None)

    def begin_title(self, title: Title, burn: bool) -> float:
        """Check that the title may be run now, and tell it; returns when it began."""
        self._plan.check(title, burn)
        self.check_stop()
        began = self._clock()
        self._listener.step(title, "running", 0.0)
        return began

    def end_title(self, title: Title, status: str, began: float, sentence: str = "") -> None:
        """Record how a title ended and tell it; ``sentence`` says what ended it early."""
        seconds = round(self._clock() - began, 6)
        detail: dict[str, object] = {"status": status, "seconds": seconds}
        if sentence:
            detail["sentence"] = sentence
        if not self._journal.latched:
            self._journal.note(self._context, "step", title.id, detail)
        self._listener.step(title, status, seconds)

    def require(self, claim: bool, bin: str, sentence: str = "", **saw: object) -> None:
        """Send the part to a fail bin unless the claim holds; ``saw`` says what was seen instead."""
        self._services.bins[bin]
        if claim:
            return
        seen = ", ".join(str(value) if name == "saw" else f"{name} {value}" for name, value in saw.items())
        text = sentence or self._services.bins[bin].name
        self._journal.note(self._context, "reject", "", {"bin": bin, "sentence": text, "saw": seen})
        raise Reject(f"{text} (saw {seen})" if seen else text, bin=bin)

    def measure(
        self,
        name: str,
        value: float,
        unit: str = "",
        low: float | None = None,
        high: float | None = None,
        bin: str = "limits",
    ) -> None:
        """Record a number; outside its limits (the pack's win over the flow's) the part goes to a fail bin."""
        pack_low, pack_high = self.pack.limit(name)
        low = pack_low if pack_low is not None else low
        high = pack_high if pack_high is not None else high
        inside = (low is None or value >= low) and (high is None or value <= high)
        detail = {"name": name, "value": value, "unit": unit, "low": low, "high": high, "inside": inside}
        self._journal.note(self._context, "measure", "", detail)
        limits = f"{'' if low is None else f'at least {low:g} '}{'' if high is None else f'at most {high:g} '}"
        if not inside:
            raise Reject(f"expected {name} {limits}{unit}, measured {value:g} {unit}".strip(), bin=bin)

    def identify(self, chip_id_hex: str) -> None:
        """Bind label and chip id; quarantine when either belongs to another."""
        device_id = _plain(chip_id_hex)
        conflict = self._journal.conflict(self._context.label_kind, self.label, device_id)
        before = self._context
        self._context = before.but(device_id=device_id)
        self._listener.identified(device_id)
        if conflict:
            raise self.quarantined(conflict + self._gone(device_id), None)
        row = self._journal.append(self._context, "bind")
        self._adopt(device_id, row)

    def _adopt(self, device_id: str, row: Row) -> None:
        """Take over what is known of the chip under its id and its other labels."""
        known = self._journal.known(self._context.label_kind, self.label, device_id)
        if known.quarantine:
            raise self.quarantined(f"the chip is in quarantine: {known.quarantine}{self._gone(device_id)}", None)
        own = {self._context.flow, *self._plan.takes_back}
        others = sorted({flow for flow, _ in known.open_burns() if flow not in own})
        if others:
            raise BenchError(f"this part has an unfinished {others[0]}; finish that first")
        self.part = known

    def ask(self, text: str, choices: Sequence[str]) -> str:
        """Put a question to the operator; the answer is recorded."""
        self.check_stop()
        with self._waiting():
            choice = self._listener.ask(text, choices)
        self.check_stop()
        self._journal.note(self._context, "answer", "", {"question": text, "choice": choice})
        return choice

    def confirmed_for_lot(self, name: str, text: str, choices: Sequence[str]) -> bool:
        """Put a question once per lot and recipe; True when the first choice was or is given. Both are recorded."""
        answers = self._services.lot_answers or LotAnswers(self._journal)
        with ExitStack() as stack:
            with self._waiting():  # for the socket that asks just now
                stack.enter_context(answers.turn(self.check_stop))
            if answers.has(self._context, name):
                return True
            choice = self.ask(text, choices)
            if choice == choices[0]:
                answers.keep(self._context, name, text, choice)
            return choice == choices[0]

    def log(self, text: str, source: str = "station", level: str = "info") -> None:
        """One line for the log; never a secret."""
        self._listener.log(text, source, level)

    def waive_erase(self, reason: str) -> EraseWaiver:
        """Record that this part may be erased whole, with every key in it; the record is on the disk before it is."""
        row = self._journal.write(self._context, "waiver", "", {"reason": reason})
        self.feed(row)
        return EraseWaiver(reason, row.seq)

    def erased(self, waiver: EraseWaiver, chip_id_hex: str) -> None:
        """Record that a whole part was erased: what was burnt into it and kept of it holds no more, its record stays.

        ``chip_id_hex`` was read after the erasure: it is that chip which is as new from here on, and not what belongs
        to a label that was scanned by mistake (``identify``, which comes next, puts both in quarantine then). The
        journal and every history still say what it was.
        """
        where = self._context.but(device_id=_plain(chip_id_hex))
        self._erased = where.device_id
        self._kept_here.clear()
        detail = {"reason": waiver.reason, "waiver": waiver.row}
        if self._journal.conflict(where.label_kind, where.label, where.device_id):
            self._journal.write(where.but(label_kind="", label=""), "erased", "", detail)
            self.spared(f"it was device {where.device_id} that was erased, and not this part", waiver)
        else:
            self.feed(self._journal.write(where, "erased", "", detail))

    def spared(self, reason: str, waiver: EraseWaiver | None = None) -> None:
        """Record that this part was not erased, although that was allowed: by ``waiver``, or (None) ever."""
        detail: dict[str, object] = {"reason": reason} | ({"waiver": waiver.row} if waiver is not None else {})
        self.feed(self._journal.write(self._context, "spared", "", detail))

    def _gone(self, device_id: str) -> str:
        """What a quarantine adds when this very chip was erased, in this run or perhaps in one that broke off."""
        if device_id == self._erased:
            return "; the chip in the socket has been erased just now, its keys are gone"
        if not self.part.erasing:
            return ""
        reason = f"an erasure begun under label {self.label} has no recorded end"
        self._journal.write(self._context.but(label_kind="", label="", device_id=device_id), "waiver", "",
                            {"reason": reason})  # fmt: skip
        return f"; {reason}: this may be the chip that was erased"

    # ---- what cannot be made again ----------------------------------------------------------------------------

    def keep(self, name: str, value: Keepable) -> None:
        """Record a value on the disk before it is used; it outlives crashes and is found by the part."""
        self.keep_all({name: value})

    def keep_all(self, values: Mapping[str, Keepable]) -> None:
        """Record values that were learnt together: all of them are on the disk afterwards, or none.

        What this run has kept already, and is the same, is not written again.
        """
        details = {name: kept_detail(name, value) for name, value in values.items()}
        fresh = {name: detail for name, detail in details.items() if self._kept_here.get(name) != detail}
        if not fresh:
            return
        for row in self._journal.write_all(self._context, "keep", list(fresh.values())):
            self.feed(row)
        self._kept_here |= fresh

    def kept(self, name: str) -> bytes | None:
        """What was kept for this part under a name, by whatever run."""
        return self.part.kept.get(name)

    def others_keeping(self, name: str, value: bytes) -> list[str]:
        """Labels of other parts for which this value is kept today; reads the whole journal."""
        return self._others(parts_keeping(self._journal, name, value, self._own_labels))

    def others_begun_without(self, title: Title, name: str) -> list[str]:
        """Labels of other parts that have begun this burn, and for which nothing is kept under this name; reads all."""
        return self._others(parts_begun_without(self._journal, self._context.flow, title.id, name))

    def _others(self, parts: Parts) -> list[str]:
        return [label for _, label in sorted(parts - self._own_labels)]

    @property
    def _own_labels(self) -> Parts:
        return self.part.labels | {(self._context.label_kind, self.label)}

    def hold_registration(self, registration: Registration) -> None:
        """Record the complete registration request, sealed to the station's key, before it is needed."""
        anchor = self._journal.anchor()
        request = dataclasses.replace(registration, ate_id=registration.ate_id or self._journal.station,
                                      ate_raw=anchor.pack())  # fmt: skip
        sealed = seal_registration(request, self._services.credentials)
        detail = {"sku": registration.sku, "sealed": sealed.blob.hex(), "anchor": str(anchor)}
        self.feed(self._journal.write(self._context, "registration", "", detail))

    def send_registration(self, appliance: Appliance) -> None:
        """Send the recorded request; ``ApplianceError`` leaves it to the outbox and the part on hold."""
        kept = self._pending()
        if kept is None and self.part.registered:
            self.log("the appliance acknowledged this registration before", source="pa")
            return
        if kept is None:
            raise ConfigError("the flow sent a registration before it held one")
        self.feed(self._journal.append(self._context.but(run=kept.run), "registration_due"))
        deliver(kept, appliance, self._services.credentials)
        self.feed(acknowledge(self._journal, self._context, kept))
        self.log("registration acknowledged", source="pa")

    def _pending(self) -> KeptRegistration | None:
        return next(reversed(self.part.registrations.values()), None)

    def _due(self) -> bool:
        kept = self._pending()
        return kept is not None and kept.due

    def refuse_quarantined(self) -> None:
        """A part in quarantine is not touched, however its run came to be started."""
        if self.part.quarantine:
            raise self.quarantined(self.part.quarantine, None)

    def stop_before_acting(self, unsettled: bool) -> None:
        """The last wait before an intent: nothing is begun on a part that is gone, nor after a stop.

        ``unsettled``: an intent is open that the part could not judge, so that only lost contact ends the run here.
        """
        if self.contact_lost:
            raise PowerLost(self.contact_lost)
        if self._stop.is_set() and not unsettled:
            raise Stopped(self._stopped_by or STOPPED)

    # ---- the end ------------------------------------------------------------------------------------------------

    def finish(self, error: BaseException | None) -> Verdict:
        """Derive the verdict, write it, and return it once it is on the disk; ``JournalError`` when it is not."""
        verdict = derive(self._facts(error), self._services.bins)
        detail = {
            "kind": str(verdict.kind), "bin_id": verdict.bin_id, "soft": verdict.bin, "hard": verdict.hard_bin,
            "reason": verdict.reason, "part_state": verdict.part_state, "tray": verdict.tray,
            "seconds": round(self.seconds, 3), "error": type(error).__name__ if error else "",
            "pending": self._due(),
        }  # fmt: skip
        self.last_row = self._journal.verdict(self._context, detail)
        self.feed(self.last_row)
        return verdict

    def _facts(self, error: BaseException | None) -> Facts:
        flow = self._context.flow
        open_ids = [title for _, title in self.part.open_burns(flow)]
        open_now = [id for id in open_ids if id in self.asked or self.part.burn(flow, id).run == self._context.run]
        words = {title.id: title.text for title in self._plan}
        return Facts(
            error, self._quarantine, [words.get(id, id) for id in open_now],
            [words.get(id, id) for id in open_ids if id not in open_now], self._burns_in(BurnState.DONE),
            self._burns_in(BurnState.HALF_DONE), self._due(), self._plan.ends_in, self.part.erasing, self.remedy,
            self._doubted,
        )  # fmt: skip

    def _burns_in(self, state: BurnState) -> list[str]:
        flow = self._context.flow
        return [title.text for title in self._plan if title.burn and self.part.burn(flow, title.id).state is state]

    def quarantined(self, reason: str, title: Title | None, doubted: bool = True) -> Quarantined:
        """Note why the part goes to quarantine (the verdict that follows makes it durable).

        ``doubted``: not even what the journal knows of this part can be taken to hold for the one in the socket.
        """
        self._quarantine, self._doubted = reason, doubted
        self.feed(self._journal.append(self._context, "quarantine", title.id if title else "", {"reason": reason}))
        return Quarantined(reason)

    def feed(self, row: Row) -> None:
        """Take a row of this run into what is known of the part."""
        self.part.feed(row)


def _plain(chip_id_hex: str) -> str:
    return chip_id_hex.lower().removeprefix("0x")


def execute(run: Run, flow: Callable[[], None]) -> tuple[Verdict, BaseException | None]:
    """Run a flow to its end and write the verdict; only ``JournalError`` comes out (no verdict then)."""
    error: BaseException | None = None
    try:
        run.refuse_quarantined()
        flow()
    except JournalError:
        raise
    except BaseException as ended:  # the journal decides the verdict, whatever ended the flow
        error = ended
    return run.finish(error), error
