"""Where the part goes when a run ends; the journal decides, not the exception (architecture, section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from station import errors
from station.bins import Bins
from station.model import Bin, BinKind, Retest
from station.protocol import Verdict

RETEST_WORDS = {
    Retest.NEVER: "do not retest",
    Retest.SAME_SOCKET: "may be retested in the same socket",
    Retest.OTHER_SOCKET: "may be retested in another socket",
    Retest.ENGINEER: "only an engineer may retest it",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the journal holds when a run ends.

    ``open_now``: burns begun or asked about in this run whose outcome is unknown; ``open_before``: burns begun earlier
    that this run never came to ask about; ``burnt``: titles known to have been burnt; ``half``: titles of which the
    part shows a half; ``pending``: a registration that the appliance has not acknowledged; ``ends_in``: the bin of a
    flow that came to its end; ``erasing``: the erasure of the whole part was begun, and its end is not known;
    ``remedy``: what helps a part that is half done, if the flow knows; ``doubted``: whether this record speaks of the
    part in the socket, or whether its burns are as it says, is in doubt itself.
    """

    error: BaseException | None
    quarantine: str = ""
    open_now: Sequence[str] = ()
    open_before: Sequence[str] = ()
    burnt: Sequence[str] = ()
    half: Sequence[str] = ()
    pending: bool = False
    ends_in: str = "pass"
    erasing: bool = False
    remedy: str = ""
    doubted: bool = False


def derive(facts: Facts, bins: Bins) -> Verdict:
    """The verdict of a run that ended with these facts."""
    bin_id, reason, finishes_by = _choose(facts, bins)
    part_state = "every step is done" if bins[bin_id].kind is BinKind.PASS else _part_state(facts, bins[bin_id].kind)
    return verdict_of(bins[bin_id], reason, part_state, finishes_by)


def verdict_of(bin: Bin, reason: str, part_state: str, finishes_by: str = "") -> Verdict:
    """The words of one bin."""
    return Verdict(
        kind=bin.kind, bin=bin.soft, hard_bin=bin.hard, bin_id=bin.id, name=bin.name, tray=bin.tray, reason=reason,
        part_state=part_state, retest=_retest_words(bin), finishes_by=finishes_by,
    )  # fmt: skip


def recorded_verdict(detail: Mapping[str, Any], bins: Bins) -> Verdict:
    """The verdict of a journal row, with the words that its bin has today."""
    bin = next((bin for bin in bins if bin.id == detail["bin_id"]), None)
    return Verdict(
        kind=detail["kind"], bin=detail["soft"], hard_bin=detail["hard"], bin_id=detail["bin_id"],
        name=bin.name if bin else detail["bin_id"], tray=detail["tray"], reason=detail["reason"],
        part_state=detail["part_state"], retest=_retest_words(bin) if bin else "",
    )  # fmt: skip


def exit_code(verdict: Verdict, error: BaseException | None) -> int:
    """The process exit code of a run with this verdict and this ending."""
    if isinstance(error, errors.JournalError):
        return errors.JournalError.exit_code
    if verdict.kind == BinKind.BENCH:
        return error.exit_code if isinstance(error, errors.StationError) else errors.EXIT_CRASH
    by_kind = {
        BinKind.PASS: errors.EXIT_PASS, BinKind.FAIL: errors.EXIT_FAIL, BinKind.HOLD: errors.EXIT_HOLD,
        BinKind.QUARANTINE: errors.EXIT_QUARANTINE,
    }  # fmt: skip
    return by_kind[BinKind(verdict.kind)]


def sentence_of(error: BaseException) -> str:
    """What may be shown and recorded of an exception: our own sentences, of others only the type (no secrets)."""
    if isinstance(error, errors.StationError):
        return str(error)
    return f"an error in the program ended the run ({type(error).__name__}); the crash report says where"


def _choose(facts: Facts, bins: Bins) -> tuple[str, str, str]:  # noqa: PLR0911 - one return per row of the table
    """Bin id, reason and what finishes it."""
    if facts.quarantine:
        return "quarantine", facts.quarantine, ""
    if facts.open_now:
        return "quarantine", f"nobody can know whether {_names(facts.open_now)} happened", ""
    if facts.open_before and (facts.error is None or _blames_part(facts.error)):
        why = f": {sentence_of(facts.error)}" if facts.error is not None else ""
        return "quarantine", f"{_names(facts.open_before)} was interrupted and cannot be judged any more{why}", ""
    if facts.open_before:
        return "hold", _reason(facts.error), "put it back: an interrupted burn has not been checked yet"
    if facts.error is None:
        return _completed(facts)
    if _blames_part(facts.error):
        bin_id = facts.error.bin if isinstance(facts.error, errors.PartError) else "communication"
        return (bin_id if bin_id in bins else "communication"), sentence_of(facts.error), ""
    if facts.pending:
        return "registration_pending", _reason(facts.error), "the outbox delivers the registration"
    if facts.burnt or facts.half or facts.erasing:
        return "hold", _reason(facts.error), "put it back in a socket and start it again"
    return "bench", _reason(facts.error), "the part is not to blame and may go again"


def _completed(facts: Facts) -> tuple[str, str, str]:
    if facts.pending:
        return "registration_pending", "the registration is not acknowledged", "the outbox delivers the registration"
    return facts.ends_in, "", ""


def _blames_part(error: BaseException) -> bool:
    return isinstance(error, (errors.PartError, errors.FormatError))


def _reason(error: BaseException | None) -> str:
    return sentence_of(error) if error is not None else ""


def _names(titles: Sequence[str]) -> str:
    return " and ".join(f"'{title}'" for title in titles)


def _part_state(facts: Facts, kind: BinKind) -> str:
    if facts.doubted:
        return "the state of the part is not known"
    if facts.erasing:
        return "its erasure was begun: whatever was in it counts as gone, until it is erased to the end"
    if begun := (*facts.open_before, *facts.open_now):
        return _interrupted(facts, begun, kind)
    if facts.half:
        helps = (
            f"only the erasure of the whole part, with all its keys, helps{f' ({facts.remedy})' * bool(facts.remedy)}"
        )
        return f"{_names(facts.half)} is half done: {helps}"
    if not facts.burnt:
        return "nothing was burnt"
    return f"burnt up to '{facts.burnt[-1]}'"


def _interrupted(facts: Facts, begun: Sequence[str], kind: BinKind) -> str:
    """What the record of a part says that could not be asked: no more than that, for nobody has looked at the part."""
    before = f"{_names(facts.burnt[-1:])} is done, " if facts.burnt else ""
    verb = "were" if len(begun) > 1 else "was"
    asked = "" if kind is BinKind.QUARANTINE else "; put back, it is asked how far it came"
    return f"by its record {before}{_names(begun)} {verb} begun and may be half done{asked}"


def _retest_words(bin: Bin) -> str:
    words = RETEST_WORDS[bin.retest]
    return f"{words}, {bin.attempts} attempts in all" if bin.retest is not Retest.NEVER and bin.attempts > 1 else words
