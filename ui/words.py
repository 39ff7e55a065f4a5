"""The words of the screen: pure functions from socket states to what a tile says, testable without widgets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PySide6.QtCore import QCoreApplication

from station.protocol import SocketState, StepState, Verdict
from ui.verdict_words import bin_words, part_state_words, reason_and_detail, retest_words, tray_words

translate = QCoreApplication.translate

ALARMS = ("quarantine", "bench_fault")
ORIGIN_DIGITS = 32
LINE = "\u2028"  # line separator of text layouts
NO_QUARANTINE = "no: quarantine"  # an answer that is asked for twice


@dataclass(frozen=True, slots=True)
class TileWords:
    """Everything written on one tile, and its colour role.

    ``word`` is the state, ``band`` the purple strip of an open burn, ``lead`` where the part goes or what to do now,
    ``reason`` one sentence, ``notes`` smaller lines, ``part`` the small print that identifies the part, ``detail`` the
    small print of a long reason.
    """

    word: str
    role: str
    lead: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    part: str = ""
    detail: str = ""
    clock: str = ""
    band: str = ""
    stop_reason: str = ""
    hatched: bool = False
    alarm: bool = False
    shows_plan: bool = False
    shows_bar: bool = False
    shows_stop: bool = False


@dataclass(frozen=True, slots=True)
class TileContext:
    """What a tile needs to know of the bench around it; ``sure``: the question that No was pressed for once."""

    latched: str = ""
    lost: str | None = None
    sure: tuple[int, int] | None = None


def short_id(device_id: str) -> str:
    """The digits of a device id that tell parts apart: its hardware origin, the first half of 64 digits."""
    digits = device_id.removeprefix("0x")
    return digits if len(digits) <= ORIGIN_DIGITS else f"{digits[:ORIGIN_DIGITS]}…"


def sentence(text: str) -> str:
    """The engine's words as a sentence: they begin with a small letter where another sentence quotes them."""
    return text[:1].upper() + text[1:]


def count_words(value: int) -> str:
    """A count with thin groups of three, the same in every language."""
    return f"{value:,}".replace(",", " ")


def part_words(state: SocketState) -> str:
    """The small print: label and device id, a line each."""
    words = []
    if state.label:
        words.append(translate("words", "part {label}").format(label=state.label))
    if state.device_id:
        words.append(translate("words", "id {id}").format(id=short_id(state.device_id)))
    return LINE.join(words)


def clock_words(state: SocketState) -> str:
    """Elapsed and typical time, or nothing before the run."""
    if state.elapsed <= 0:
        return ""
    if state.state in ("running", "burning") and state.typical > 0:
        return translate("words", "{elapsed:.1f} s / ~{typical:.0f} s").format(
            elapsed=state.elapsed, typical=state.typical
        )
    return translate("words", "{elapsed:.1f} s").format(elapsed=state.elapsed)


def choice_words(choice: str) -> str:
    """The label of an answer; choices that are not known here are shown as the engine wrote them."""
    known = {
        "check it": translate("words", "Yes: check it"),
        NO_QUARANTINE: translate("words", "No: quarantine"),
        "yes": translate("words", "Yes"),
        "no": translate("words", "No"),
    }
    return known.get(choice.lower(), choice)


def answer_words(state: SocketState, sure: bool) -> tuple[tuple[str, str], ...]:
    """The choices of a socket's question with their buttons; ``sure``: a press of No asks once more."""
    choices = state.prompt.choices if state.prompt else ()
    again = translate("words", "Press again: quarantine {label}").format(label=state.label).rstrip()
    return tuple((again if sure and asked_twice(choice) else choice_words(choice), choice) for choice in choices)


def asked_twice(choice: str) -> bool:
    """Whether this answer counts only when it is pressed a second time."""
    return choice.lower() == NO_QUARANTINE


def lies_unwatched(state: SocketState) -> bool:
    """A part that lay in the socket when the engine began, with its pass: it is to be taken out."""
    return state.state == "insert_part" and state.present and state.lid_closed and bool(state.expects)


def whole_words(words: TileWords) -> str:
    """Everything a tile says about its part, for where it does not fit."""
    shown = (words.lead, words.reason, *words.notes, words.detail, words.part)
    return "\n".join(text.replace(LINE, "\n") for text in shown if text)


def running_title(state: SocketState) -> str:
    """The title of the step that runs now."""
    titles = {item.id: item.title for item in state.plan}
    running = [titles.get(step.id, step.id) for step in state.steps if step.status == "running"]
    return running[-1] if running else ""


def step_time(step: StepState | None) -> str:
    """The right-hand column of the checklist."""
    if step is None or step.status == "skipped":
        return ""
    if step.status == "found_done":
        return translate("words", "found done")
    return translate("words", "{seconds:.1f} s").format(seconds=step.seconds) if step.seconds > 0 else ""


STEP_GLYPHS = {"done": "✔", "found_done": "✔", "failed": "✖", "running": "▸", "skipped": "–"}


def step_glyph(step: StepState | None) -> str:
    """The sign in front of a title; a dot while it is pending."""
    return STEP_GLYPHS.get(step.status, "·") if step else "·"


# ---- one function per state --------------------------------------------------------------------------------------


def _insert_part(state: SocketState) -> TileWords:
    if lies_unwatched(state):
        return TileWords(word=translate("words", "TAKE OUT"), role="wait", lead=state.expects)
    notes = []
    lead = translate("words", "Put the part in. It is there when it answers.")
    if state.has_lid:
        lead = translate("words", "Pin 1 towards the red dot. Wait for the lid click.")
        notes = [translate("words", "Lid closed") if state.lid_closed else translate("words", "Lid open")]
    if state.contacts_limit:
        contacts = translate("words", "contacts {n} of {limit}")
        notes.append(contacts.format(n=count_words(state.contacts), limit=count_words(state.contacts_limit)))
    return TileWords(
        word=translate("words", "INSERT PART"),
        role="wait",
        lead=state.expects or lead,
        notes=(" · ".join(notes),) if notes else (),
        part=part_words(state),
    )


def _scan(state: SocketState) -> TileWords:
    if state.may_start:
        return _ready(state)
    what = state.expects or translate("words", "part label")
    return TileWords(
        word=translate("words", "SCAN"),
        role="wait",
        lead=translate("words", "Expected: {what}").format(what=what),
        part=part_words(state),
    )


def _ready(state: SocketState) -> TileWords:
    return TileWords(
        word=translate("words", "READY"),
        role="wait",
        lead=translate("words", "Part {label}").format(label=state.label),
        reason=translate("words", "It may be started."),
        part=part_words(replace(state, label="")),
    )


def _checking(state: SocketState) -> TileWords:
    return TileWords(
        word=translate("words", "CHECKING"),
        role="run",
        lead=state.expects or translate("words", "Contact check"),
        part=part_words(state),
        shows_plan=True,
    )


def _asking(state: SocketState) -> TileWords:
    """The run waits for its operator: nothing runs, and the question has the room."""
    return TileWords(
        word=translate("words", "ANSWER"),
        role="wait",
        lead=translate("words", "Waits for your answer."),
        part=part_words(state),
        clock=clock_words(state),
        shows_plan=True,
        shows_stop=True,
    )


def _running(state: SocketState) -> TileWords:
    if state.prompt is not None:
        return _asking(state)
    stopping = translate("words", "Stops at the next wait.") if state.stop_requested else ""
    return TileWords(
        word=translate("words", "RUNNING {percent} %").format(percent=state.percent),
        role="run",
        lead=running_title(state),
        part=part_words(state),
        clock=clock_words(state),
        stop_reason=stopping,
        shows_plan=True,
        shows_bar=True,
        shows_stop=True,
    )


def _burning(state: SocketState) -> TileWords:
    title = state.burn_title or running_title(state)
    if state.stop_requested:
        stop = translate("words", "Stops after this burn: a burn is never torn.")
    else:
        stop = translate("words", "Stop waits: a burn is never torn.")
    if state.settling:
        band = translate("words", "◆ Waiting until the chip's worst case has passed")
    else:
        band = translate("words", "{percent} %   ◆ {title}")
    return TileWords(
        word=translate("words", "DO NOT REMOVE"),
        role="burn",
        band=band.format(percent=state.percent, title=title),
        part=part_words(state),
        clock=clock_words(state),
        stop_reason=stop,
        shows_plan=True,
        shows_bar=not state.settling,
        shows_stop=True,
    )


def _pass(state: SocketState) -> TileWords:
    return TileWords(
        word=f"✔ {translate('words', 'PASS')}  {bin_words(state.verdict)}".rstrip(),
        role="pass",
        lead=tray_words(state.verdict),
        reason=translate("words", "Remove the part. Its record is stored."),
        part=part_words(state),
        clock=clock_words(state),
        shows_plan=True,
    )


def _fail(state: SocketState) -> TileWords:
    verdict = state.verdict
    return TileWords(
        word=f"✖ {translate('words', 'FAIL')}  {bin_words(verdict)}".rstrip(),
        role="fail",
        lead=tray_words(verdict),
        reason=sentence(reason_and_detail(verdict.reason)[0] or verdict.name) if verdict else "",
        notes=_verdict_notes(verdict),
        detail=sentence(reason_and_detail(verdict.reason)[1]) if verdict else "",
        part=part_words(state),
        clock=clock_words(state),
        shows_plan=True,
    )


def _verdict_notes(verdict: Verdict | None) -> tuple[str, ...]:
    if verdict is None:
        return ()
    state = part_state_words(verdict.part_state, verdict.reason)
    return tuple(sentence(text) for text in (state, retest_words(verdict.retest)) if text)


def _hold(state: SocketState) -> TileWords:
    verdict = state.verdict
    finish = verdict.finishes_by if verdict else ""
    notes = (translate("words", "Finishes by: {what}").format(what=finish),) if finish else ()
    return TileWords(
        word=f"‖ {translate('words', 'HOLD')}",
        role="hold",
        lead=tray_words(verdict),
        reason=sentence(verdict.reason) if verdict else "",
        notes=notes + ((sentence(verdict.part_state),) if verdict and verdict.part_state else ()),
        part=part_words(state),
        clock=clock_words(state),
        shows_plan=True,
    )


def _quarantine(state: SocketState) -> TileWords:
    verdict = state.verdict
    return TileWords(
        word=f"⚠ {translate('words', 'QUARANTINE')}",
        role="quarantine",
        lead=translate("words", "Engineer only {tray}").format(tray=tray_words(verdict)).rstrip(),
        reason=sentence(verdict.reason) if verdict else translate("words", "Nobody can know the state of this part."),
        notes=(sentence(verdict.part_state),) if verdict and verdict.part_state else (),
        part=part_words(state),
        clock=clock_words(state),
        hatched=True,
        alarm=state.needs_acknowledge,
        shows_plan=True,
    )


def _bench_fault(state: SocketState) -> TileWords:
    verdict = state.verdict
    blameless = translate("words", "The bench is at fault, not the part.")
    return TileWords(
        word=f"⚠ {translate('words', 'BENCH FAULT')}",
        role="neutral",
        lead=sentence(verdict.reason if verdict else state.expects),
        reason=tray_words(verdict),
        notes=(" ".join(filter(None, (blameless, sentence(retest_words(verdict.retest)) if verdict else ""))),),
        part=part_words(state),
        clock=clock_words(state),
        alarm=state.needs_acknowledge,
    )


def _interrupted(state: SocketState) -> TileWords:
    return TileWords(
        word=translate("words", "INTERRUPTED"),
        role="wait",
        lead=translate("words", "Do not move the part."),
        reason="" if state.prompt else state.expects,
        part=part_words(state),
        shows_plan=True,
    )


_STATES = {
    "insert_part": _insert_part,
    "scan": _scan,
    "checking": _checking,
    "running": _running,
    "burning": _burning,
    "pass": _pass,
    "fail": _fail,
    "hold": _hold,
    "quarantine": _quarantine,
    "bench_fault": _bench_fault,
    "interrupted": _interrupted,
}


def _engine_stopped(state: SocketState | None) -> TileWords:
    word = translate("words", "ENGINE STOPPED")
    if state is None:
        return TileWords(
            word=word, role="neutral", lead=translate("words", "Leave the part in the socket: nothing is known of it.")
        )
    if state.state == "burning":
        lead = translate("words", "Do not remove the part.")
        reason = translate("words", "Being written when the engine stopped: {title}").format(
            title=state.burn_title or running_title(state)
        )
    elif state.state in ("running", "checking"):
        lead = translate("words", "Leave the part in the socket.")
        reason = translate("words", "In flight: {title}").format(title=running_title(state) or state_word(state))
    else:
        lead = translate("words", "Nothing was in flight.")
        reason = translate("words", "Last shown: {word}").format(word=state_word(state))
    note = translate("words", "The journal asks about this part when the engine starts again.")
    in_flight = state.state in ("burning", "running", "checking")
    return TileWords(
        word=word,
        role="neutral",
        lead=lead,
        reason=reason,
        notes=(note,) if in_flight else (),
        part=part_words(state),
        shows_plan=in_flight,
    )


def _latched(state: SocketState, why: str) -> TileWords:
    return TileWords(
        word=translate("words", "DO NOT REMOVE"),
        role="burn",
        lead=translate("words", "The record cannot be written."),
        reason=sentence(why),
        part=part_words(state),
        hatched=True,
        alarm=True,
    )


def state_word(state: SocketState) -> str:
    """The one large word of a socket state."""
    return tile_words(state).word


def tile_words(state: SocketState | None, context: TileContext | None = None) -> TileWords:
    """What a tile says; no state at all means that the engine has not spoken of this socket yet."""
    context = context or TileContext()
    if context.lost is not None:
        return _engine_stopped(state)
    if state is None:
        return TileWords(word="…", role="hold", lead=translate("words", "Waiting for the engine"))
    if context.latched and (state.present or state.state in ("checking", "running", "burning")):
        return _latched(state, context.latched)
    known = _STATES.get(state.state)
    return known(state) if known else TileWords(word=state.state.upper(), role="neutral", lead=state.expects)


def mode_words(mode: str) -> str:
    """The permanent band; an empty text for production."""
    bands = {
        "virtual": translate("words", "VIRTUAL · simulated bench, nothing counts in yield"),
        "engineering": translate("words", "ENGINEERING · does not count in yield"),
        "training": translate("words", "TRAINING · does not count in yield"),
        "replay": translate("words", "REPLAY · recorded events, nothing is sent to any bench"),
    }
    return bands.get(mode, "" if mode == "production" else mode.upper())
