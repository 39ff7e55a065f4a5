"""The banner's one sentence and the one action of the primary key: a pure function of what the window knows."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication

from station.protocol import Acknowledge, Answer, Command, Handle, Hello, SocketState, Start
from ui.bench_view import VERDICTS, BenchView
from ui.verdict_words import tray_words
from ui.words import answer_words, lies_unwatched

translate = QCoreApplication.translate


@dataclass(frozen=True, slots=True)
class Primary:
    """What the banner says and what the key does.

    ``kind`` is start, answer, acknowledge, insert, lid, remove, sign_in, recipe, restart or, when the key does
    nothing, empty; ``command`` goes to the engine, the kinds without one open a dialog; ``choices`` are the buttons
    of a question.
    """

    sentence: str
    hint: str = ""
    button: str = ""
    role: str = "wait"
    kind: str = ""
    socket: int = 0
    epoch: int = 0
    command: Command | None = None
    choices: tuple[tuple[str, Answer], ...] = ()

    @property
    def meaning(self) -> tuple[str, int, int, int]:
        """What a press would do: a change of this, also from one question to the next, makes the keys dead a while."""
        return (self.kind, self.socket, self.epoch, self.choices[0][1].prompt if self.choices else 0)


def primary(view: BenchView) -> Primary:
    """The banner for what the window knows now."""
    return _bench_wide(view) or _open_question(view) or _longest_waiting(view) or _nothing_to_do(view)


def _bench_wide(view: BenchView) -> Primary | None:
    if view.lost is not None:
        return _lost(view)
    if view.latched is not None:
        return Primary(
            translate("primary", "DO NOT REMOVE any part: the record cannot be written"),
            view.latched.sentence,
            role="burn",
        )
    if view.finishing is not None:
        return Primary(view.finishing.sentence, translate("primary", "No new parts are started."), role="burn")
    if view.hello is None:
        return Primary(translate("primary", "Waiting for the engine"), role="hold")
    return None if view.replay else _not_ready(view, view.hello)


def _not_ready(view: BenchView, hello: Hello) -> Primary | None:
    if not view.signed_in.operator:
        return _sign_in(view)
    asked = any(state.prompt is not None or state.state == "interrupted" for state in view.sockets.values())
    if not hello.recipe and not asked:  # a part that was interrupted brings its recipe along
        return Primary(
            translate("primary", "Scan the lot traveller"),
            translate("primary", "It chooses the recipe and the lot; an engineer can also choose them by hand."),
            translate("primary", "Choose recipe   [Space]"),
            kind="recipe",
        )
    return None


def _lost(view: BenchView) -> Primary:
    if view.starting:
        return Primary(translate("primary", "The engine is starting"), role="hold")
    if view.replay:
        return Primary(translate("primary", "The recording has ended"), view.lost or "", role="hold")
    hint = view.lost or ""
    if view.hello is None:
        return Primary(
            translate("primary", "There is no engine for this window: leave the parts where they are"),
            hint,
            translate("primary", "Try again   [Space]"),
            role="neutral",
            kind="restart",
        )
    return Primary(
        translate("primary", "The engine has stopped: leave the parts where they are"),
        hint,
        translate("primary", "Start the engine   [Space]"),
        role="neutral",
        kind="restart",
    )


def _sign_in(view: BenchView) -> Primary:
    busy = view.working()
    hint = translate("primary", "Scan your badge, or type name and PIN.")
    if busy:
        hint += " " + translate("primary", "Runs in progress go on.")
    return Primary(
        translate("primary", "Sign in to work at this bench"),
        hint,
        translate("primary", "Sign in   [Space]"),
        kind="sign_in",
    )


def _longest_waiting(view: BenchView) -> Primary | None:
    """The socket that waits longest; parts come before empty sockets, key before hands."""
    waiting = [(state, action) for state in view.sockets.values() if (action := _of_socket(state, view.virtual))]
    waiting.sort(key=lambda pair: (not pair[1].kind, pair[1].kind == "insert", pair[0].since, pair[0].socket))
    return waiting[0][1] if waiting else None


def _of_socket(state: SocketState, virtual: bool) -> Primary | None:
    if state.may_start:
        return _start(state)
    if state.state in VERDICTS:
        return _verdict(state, virtual)
    if state.state == "insert_part":
        return _insert(state, virtual)
    if state.state == "scan":
        return _scan(state)
    return None


def _asked_now(view: BenchView) -> int:
    """The socket whose question the banner asks, the longest waiting one; 0 when there is none."""
    asked = [s for s in view.sockets.values() if s.prompt is not None or s.state == "interrupted"]
    return min(asked, key=lambda state: (state.since, state.socket)).socket if asked else 0


def answers(state: SocketState, sure: bool, keys: bool) -> tuple[tuple[str, Answer], ...]:
    """The buttons of a socket's question, with their keys when they are those of the banner."""
    prompt = state.prompt
    if prompt is None:
        return ()
    words = enumerate(answer_words(state, sure), 1)
    return tuple(
        (f"{text}   [F{place}]" if keys else text, Answer(state.socket, prompt.id, choice))
        for place, (text, choice) in words
    )


def _open_question(view: BenchView) -> Primary | None:
    """A question comes before every other socket: no key acts elsewhere while it is open."""
    socket = _asked_now(view)
    return _question(view.sockets[socket], view) if socket else None


def _question(state: SocketState, view: BenchView) -> Primary:
    sure = state.prompt is not None and view.sure == (state.socket, state.prompt.id)
    choices = () if view.replay else answers(state, sure, keys=True)
    if state.state == "interrupted":
        sentence = translate("primary", "Socket {n}: is the part {label} still in it?")
        hint = translate("primary", "Do not move the part. Answer with a button here or its key.")
        sentence = sentence.format(n=state.socket, label=state.label)
    else:
        sentence = translate("primary", "Socket {n} asks a question").format(n=state.socket)
        hint = state.prompt.text if state.prompt else ""
    return Primary(sentence, hint, kind="answer", socket=state.socket, epoch=state.epoch, choices=choices)


def _start(state: SocketState) -> Primary:
    label = translate("primary", "Part {label} is ready.").format(label=state.label) + " " if state.label else ""
    return Primary(
        translate("primary", "Socket {n}: start the part").format(n=state.socket),
        label + translate("primary", "Press Space or the foot switch."),
        translate("primary", "Start socket {n}   [Space]").format(n=state.socket),
        kind="start",
        socket=state.socket,
        epoch=state.epoch,
        command=Start(state.socket, state.epoch),
    )


def _where(state: SocketState) -> str:
    tray = tray_words(state.verdict)
    if tray:
        return translate("primary", "Socket {n}: remove the part {tray}").format(n=state.socket, tray=tray)
    return translate("primary", "Socket {n}: remove the part").format(n=state.socket)


def _verdict(state: SocketState, virtual: bool) -> Primary | None:
    if state.needs_acknowledge:
        return _acknowledge(state)
    if state.verdict is None:
        sentence = translate("primary", "Socket {n}: bench fault, the part is not blamed").format(n=state.socket)
        return Primary(sentence, state.expects, socket=state.socket)
    if virtual and state.present:
        return _handle(
            state,
            "remove",
            _where(state),
            translate("primary", "On the virtual bench the key takes the part out."),
            button=translate("primary", "Remove virtual part {n}   [Space]").format(n=state.socket),
        )
    return Primary(_where(state), translate("primary", "The verdict stays until the part is out."), socket=state.socket)


def _acknowledge(state: SocketState) -> Primary:
    sentences = {
        "quarantine": translate("primary", "Socket {n}: quarantine, call an engineer"),
        "bench_fault": translate("primary", "Socket {n}: bench fault, the part is not blamed"),
    }
    read = translate("primary", "Socket {n}: read and acknowledge")
    return Primary(
        sentences.get(state.state, read).format(n=state.socket),
        translate("primary", "Press Space or scan the tray; then remove the part {tray}")
        .format(tray=tray_words(state.verdict))
        .rstrip(),
        translate("primary", "Acknowledge {n}   [Space]").format(n=state.socket),
        kind="acknowledge",
        socket=state.socket,
        epoch=state.epoch,
        command=Acknowledge(state.socket, state.epoch),
    )


def _take_out(state: SocketState, virtual: bool) -> Primary:
    sentence = translate("primary", "Socket {n}: take out the part").format(n=state.socket)
    if virtual:
        button = translate("primary", "Remove virtual part {n}   [Space]").format(n=state.socket)
        return _handle(state, "remove", sentence, state.expects, button=button)
    return Primary(sentence, state.expects, socket=state.socket)


def _insert(state: SocketState, virtual: bool) -> Primary:
    if lies_unwatched(state):
        return _take_out(state, virtual)
    if state.present and not state.lid_closed:
        sentence = translate("primary", "Socket {n}: close the lid").format(n=state.socket)
        if virtual:
            button = translate("primary", "Close lid {n}   [Space]").format(n=state.socket)
            return _handle(state, "lid", sentence, "", button=button, argument="closed")
        return Primary(sentence, socket=state.socket)
    if state.has_lid:
        sentence = translate("primary", "Socket {n}: insert the next part and close the lid")
        hint = translate("primary", "On the virtual bench the key puts a part in and closes the lid.")
    else:
        sentence = translate("primary", "Socket {n}: insert the next part")
        hint = translate("primary", "On the virtual bench the key puts a part in.")
    sentence = sentence.format(n=state.socket)
    if virtual:
        button = translate("primary", "Insert virtual part {n}   [Space]").format(n=state.socket)
        return _handle(state, "insert", sentence, hint, button=button)
    return Primary(sentence, state.expects or translate("primary", "Then scan it."), socket=state.socket)


def _handle(state: SocketState, action: str, sentence: str, hint: str, *, button: str, argument: str = "") -> Primary:
    return Primary(
        sentence,
        hint,
        button,
        kind=action,
        socket=state.socket,
        epoch=state.epoch,
        command=Handle(state.socket, action, argument),
    )


def _scan(state: SocketState) -> Primary:
    what = state.expects or translate("primary", "part label")
    return Primary(
        translate("primary", "Socket {n}: scan the {what}").format(n=state.socket, what=what),
        translate("primary", "A label that cannot be scanned can be typed in its tile."),
        socket=state.socket,
    )


def _nothing_to_do(view: BenchView) -> Primary:
    if view.burning():
        numbers = ", ".join(map(str, view.burning()))
        hint = translate("primary", "Do not open socket {numbers}.").format(numbers=numbers)
        return Primary(translate("primary", "All sockets are working"), hint, role="hold")
    if view.working():
        return Primary(translate("primary", "All sockets are working"), role="hold")
    return Primary(translate("primary", "Nothing to do"), role="hold")
