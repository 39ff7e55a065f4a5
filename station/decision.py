"""The decision table of a burn: what the journal says, what the part answers, what to do (architecture, section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from station.journal_parts import BurnFacts, BurnState
from station.model import Answer, Evidence

INTERRUPTED_LIMIT = 5  # a part that kills its station this often is not tried again


class Move(StrEnum):
    """What the engine does next."""

    GO_ON = "go_on"
    FOUND_DONE = "found_done"
    ACT = "act"
    FAIL = "fail"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the flow says of one burn."""

    tries: int = 1
    fresh: Callable[[], bool] | None = None
    guarded: str = ""
    anyones: bool = False
    only_powered: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The next move and, for fail and quarantine, the sentence why; ``bin`` is where a fail goes."""

    move: Move
    reason: str = ""
    bin: str = "burn_failed"


GO_ON = Decision(Move.GO_ON)
FOUND_DONE = Decision(Move.FOUND_DONE)
ACT = Decision(Move.ACT)


def decide(facts: BurnFacts, answer: Answer, terms: Terms, boot: str, text: str) -> Decision:  # noqa: PLR0911 - one return per row of the table
    """The table; ``boot`` is this computer's boot id, ``text`` the burn's title in words."""
    if terms.only_powered and (voided := _voided(facts, boot)):
        return _quarantine(
            f"'{text}' was begun and {voided}, after which what the part answers does not show whether all of it was "
            f"written"
        )
    match facts.state, answer.evidence:
        case (_, Evidence.CONTRADICTS):
            return _contradicted(facts, answer, text)
        case (BurnState.DONE, Evidence.HALF_DONE):
            return _quarantine(
                f"the journal says '{text}' was done, the part shows half of it: wrong part, or damage{_why(answer)}"
            )
        case (_, Evidence.HALF_DONE):
            return Decision(
                Move.FAIL, f"'{text}' is half done, and can be neither finished nor repeated{_why(answer)}", answer.bin
            )
        case (BurnState.HALF_DONE, _):
            return _quarantine(
                f"the journal says '{text}' is half done, the part says otherwise: wrong part, or it was erased "
                f"elsewhere{_why(answer)}"
            )
        case (BurnState.DONE, _) if answer.unfinished or answer.evidence is Evidence.NOT_DONE:
            return _quarantine(
                f"the journal says '{text}' was done, the part says it was not: wrong part, or damage{_why(answer)}"
            )
        case (BurnState.DONE, _):
            return GO_ON
        case (BurnState.OPEN, Evidence.DONE):
            return FOUND_DONE
        case (_, Evidence.DONE):
            return _foreign(facts, terms, text)
        case (BurnState.OPEN, Evidence.UNKNOWN):
            return _open_and_unknown(facts, answer, terms, boot, text)
        case (_, Evidence.UNKNOWN):
            return _fresh_or_guarded(answer, terms, text)
        case _:
            return _again(facts, terms, text)


def _voided(facts: BurnFacts, boot: str) -> str:
    """What makes the answers of a burn that is ``only_powered`` worthless, in words; empty when nothing does."""
    if facts.failed_inside:
        return "the firmware failed in it"
    return "the part may have lost its power" if _may_have_lost_power(facts, boot) else ""


def _contradicted(facts: BurnFacts, answer: Answer, text: str) -> Decision:
    """The part holds another value than the burn leaves: no guard, no repeat and no release makes it the right one."""
    if facts.state is BurnState.DONE:
        return _quarantine(
            f"the journal says '{text}' was done, the part holds something else: wrong part, another SKU pack, or "
            f"damage{_why(answer)}"
        )
    return _quarantine(f"the part holds something else than '{text}' leaves, for good{_why(answer)}")


def _foreign(facts: BurnFacts, terms: Terms, text: str) -> Decision:
    """Found done without an intent of ours: nobody here knows which secret the part holds, or which part it is."""
    if terms.anyones or facts.vouched:
        return FOUND_DONE
    return _quarantine(
        f"'{text}' was done to this part elsewhere, or it is another part: this station does not know with which secret"
    )


def _open_and_unknown(facts: BurnFacts, answer: Answer, terms: Terms, boot: str, text: str) -> Decision:
    if not terms.guarded:
        return _quarantine(f"'{text}' was begun and the part cannot say whether it happened{_why(answer)}")
    if facts.failed_inside:
        return _quarantine(
            f"'{text}' was begun and the firmware failed in it, so that '{terms.guarded}' no longer rules out a "
            f"second burn{_why(answer)}"
        )
    if _may_have_lost_power(facts, boot):
        return _quarantine(
            f"'{text}' was begun and the part may have lost its power, so that '{terms.guarded}' "
            f"no longer rules out a second burn{_why(answer)}"
        )
    return _again(facts, terms, text)


def _may_have_lost_power(facts: BurnFacts, boot: str) -> bool:
    """A recorded loss, or this computer has been restarted since the intent."""
    return facts.power_lost or (facts.state is BurnState.OPEN and facts.boot != boot)


def _fresh_or_guarded(answer: Answer, terms: Terms, text: str) -> Decision:
    if terms.guarded or (terms.fresh is not None and terms.fresh()):
        return ACT
    return _quarantine(f"the part cannot say whether '{text}' happened, and nothing read from it says it did not"
                       f"{_why(answer)}")  # fmt: skip


def _again(facts: BurnFacts, terms: Terms, text: str) -> Decision:
    """The part was not changed: act while attempts are left (an attempt cut off by a crash is not charged)."""
    if facts.failed >= terms.tries:
        return Decision(Move.FAIL, f"'{text}' did not take effect in {facts.failed} of {terms.tries} attempts")
    if facts.interrupted >= INTERRUPTED_LIMIT:
        return Decision(Move.FAIL, f"'{text}' was interrupted {facts.interrupted} times and never took effect")
    return ACT


def _quarantine(reason: str) -> Decision:
    return Decision(Move.QUARANTINE, reason)


def _why(answer: Answer) -> str:
    return f" ({answer.reason})" if answer.reason else ""
