"""One burn from its first question to its outcome (architecture, section 5)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from station.decision import Move, Terms, decide
from station.errors import (
    AdapterLost,
    BenchError,
    ConfigError,
    FirmwareFailed,
    JournalError,
    PartError,
    PowerLost,
    Reject,
    StationError,
)
from station.journal_parts import BurnFacts, BurnState
from station.model import Answer, Evidence
from station.plan import Title
from station.verdict import sentence_of

if TYPE_CHECKING:
    from station.run import Run

POWER_ERRORS = (PowerLost, AdapterLost)


class Burning:
    """Asks, writes the intent, acts, asks again, writes the outcome; the decision table says how often."""

    def __init__(
        self, run: Run, title: Title, done: Callable[[], Answer], do: Callable[[], None], terms: Terms
    ) -> None:
        self._run = run
        self._title = title
        self._done = done
        self._do = do
        self._terms = terms
        self._acted = 0

    @property
    def _facts(self) -> BurnFacts:
        """Looked up each time: identifying the part replaces its record."""
        return self._run.part.burn(self._run.context.flow, self._title.id)

    def carry_out(self) -> str:
        """The title's status, ``done`` or ``found_done``; raises when the part must leave."""
        if self._facts.state is BurnState.OPEN:
            self._run.hold_on(self._title)
            self._run.asked.add(self._title.id)
            self._wait_settled()
        answer = self._first_answer()
        while True:
            decision = decide(self._facts, answer, self._terms, self._run.journal.boot, self._title.text)
            match decision.move:
                case Move.GO_ON:
                    return "done" if self._acted else "found_done"
                case Move.FOUND_DONE:
                    self._found_done()
                    return "found_done"
                case Move.QUARANTINE:
                    unasked = self._facts.state is BurnState.OPEN and answer.evidence is Evidence.UNKNOWN
                    raise self._run.quarantined(decision.reason, self._title, doubted=not unasked)
                case Move.FAIL:
                    self._close_interrupted(answer)
                    raise Reject(decision.reason, bin=decision.bin)
                case Move.ACT:
                    self._close_interrupted(answer)
                    self._run.stop_before_acting(self._facts.state is BurnState.OPEN)
                    answer = self._act()

    def _first_answer(self) -> Answer:
        """The part's answer before anything is done; a failure that its firmware shows is recorded with the intent."""
        try:
            return self._done()
        except FirmwareFailed as error:
            answer = Answer(Evidence.UNKNOWN, sentence_of(error))
            if self._facts.state is BurnState.OPEN:
                self._outcome(answer, None, error)
            return answer

    def _act(self) -> Answer:
        """One attempt; returns the part's answer, or raises when there is nothing more to decide."""
        self._acted += 1
        self._run.hold_on(self._title)
        detail = {"settle": self._title.settle, "text": self._title.text}
        self._run.feed(self._run.journal.intend(self._run.context, self._title.id, detail))
        error = self._attempt()
        answer, power_lost = self._ask_again(error)
        if power_lost is None and self._run.contact_lost:
            power_lost = PowerLost(self._run.contact_lost)
        self._outcome(answer, power_lost, error)
        if power_lost is not None:
            reason = f"contact with the part was lost during '{self._title.text}': {sentence_of(power_lost)}"
            raise self._run.quarantined(reason, self._title, doubted=self._terms.only_powered)
        if answer.evidence is Evidence.UNKNOWN and not self._may_act_unasked(error):
            reason = f"the part cannot say whether '{self._title.text}' happened ({answer.reason})"
            raise self._run.quarantined(reason, self._title, doubted=False)
        self._raise_when_final(answer, error)
        return answer

    def _may_act_unasked(self, error: BaseException | None) -> bool:
        """A guard of the firmware rules out a second burn, unless the firmware failed with it half done."""
        return bool(self._terms.guarded) and self._acted < self._terms.tries and not isinstance(error, FirmwareFailed)

    def _attempt(self) -> BaseException | None:
        try:
            self._do()
        except BaseException as error:  # the part is asked again whatever happened
            self._run.log(f"{self._title.text}: {sentence_of(error)}", level="warning")
            self._run.settle(self._title, self._title.settle)  # before the part is asked
            return error
        return None

    def _ask_again(self, error: BaseException | None) -> tuple[Answer, BaseException | None]:
        """The part's answer after the attempt, and the error that says power was lost."""
        power_lost = error if isinstance(error, POWER_ERRORS) else None
        try:
            return self._done(), power_lost
        except Exception as asking:  # a part that cannot be asked is unknown, whatever the reason
            lost = power_lost or (asking if isinstance(asking, POWER_ERRORS) else None)
            return Answer(Evidence.UNKNOWN, sentence_of(asking)), lost

    def _outcome(self, answer: Answer, power_lost: BaseException | None, error: BaseException | None) -> None:
        detail: dict[str, object] = {"evidence": answer.evidence.value, "reason": answer.reason}
        if power_lost is not None:
            detail["power_lost"] = True
        if answer.evidence not in (Evidence.DONE, Evidence.NOT_DONE) and isinstance(error, FirmwareFailed):
            detail["failed_inside"] = True
        if error is not None:
            detail["error"] = sentence_of(error)
        self._run.feed(self._run.journal.outcome(self._run.context, self._title.id, detail))
        self._run.asked.add(self._title.id)

    def _raise_when_final(self, answer: Answer, error: BaseException | None) -> None:
        """Raise what ``do`` raised when another attempt would not help."""
        if error is None:
            return
        if not isinstance(error, StationError) or isinstance(error, (JournalError, ConfigError)):
            raise error
        if answer.evidence is Evidence.NOT_DONE:
            last = self._facts.failed >= self._terms.tries
            if last or not isinstance(error, (PartError, BenchError)):
                raise error

    def _found_done(self) -> None:
        if self._facts.state is BurnState.OPEN:
            detail = {"evidence": Evidence.DONE.value, "reason": "found done", "interrupted": True}
            self._run.feed(self._run.journal.outcome(self._run.context, self._title.id, detail))
        self._run.feed(self._run.journal.append(self._run.context, "found_done", self._title.id))
        self._run.log(f"{self._title.text}: found done")

    def _close_interrupted(self, answer: Answer) -> None:
        """An interrupted attempt is judged before the next one is begun; what the part could not say stays unknown."""
        if self._facts.state is not BurnState.OPEN:
            return
        detail = {"evidence": answer.evidence.value, "reason": "interrupted", "interrupted": True}
        self._run.feed(self._run.journal.append(self._run.context, "outcome", self._title.id, detail))

    def _wait_settled(self) -> None:
        self._run.settle(self._title, settle_left(self._facts, self._run.journal.boot))


def settle_left(facts: BurnFacts, boot: str) -> float:
    """Seconds until the chip's worst case after an open intent has passed."""
    if facts.state is not BurnState.OPEN:
        return 0.0
    if facts.boot != boot:
        return facts.settle
    return facts.settle - (time.monotonic_ns() // 1000 - facts.monotonic_us) / 1e6
