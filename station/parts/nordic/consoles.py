"""The one or two serial consoles of a part: emptied before every reset, read by port, judged each on its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from weakref import WeakSet

from station.deadline import Deadline
from station.formats import provisioning_console
from station.formats.console_lines import Heard, LineAssembler
from station.formats.provisioning_console import Transcript
from station.formats.tfm_console import Boot
from station.ports import Console

SLICE = 0.05
GATHER = 0.05
"""What follows a first byte within this time is read with it: a thread that is woken for each line is mostly woken."""
LINGER = 0.1
"""What follows the last expected line closely still belongs to it."""
SPEAK_SECONDS = 2.0
"""How long the network core is given to say something after the application core."""
CHECK = "check the cable, and interface and baud rate in the board file"


class Turns:
    """Shared by all sockets of a workbench: which of them listens alone, and which ports hear their own socket's part.

    Two sockets whose cables are crossed would hear one another's parts, and each would take the other's words for its
    own; ports that have spoken while no other part was reset are known, for as long as they are open.
    """

    def __init__(self) -> None:
        self._alone = threading.RLock()
        self._proved: WeakSet[Console] = WeakSet()

    @contextmanager
    def alone(self, pause: Callable[[float], None]) -> Iterator[None]:
        """Nobody else is alone meanwhile; ``pause`` waits until then, and may end the waiting by an exception."""
        while not self._alone.acquire(blocking=False):
            pause(SLICE)
        try:
            yield
        finally:
            self._alone.release()

    def prove(self, port: Console) -> None:
        """The port has spoken while its socket was alone."""
        self._proved.add(port)

    def has_proved(self, port: Console) -> bool:
        """Whether the port is known to hear the part of its own socket."""
        return port in self._proved


@dataclass(slots=True)
class Said:
    """What both ports said since they were emptied."""

    app: LineAssembler = field(default_factory=LineAssembler)
    net: LineAssembler = field(default_factory=LineAssembler)


class Consoles:
    """``app`` belongs to the application core, ``net`` to the network core where there is one.

    ``net_counts``: what the network core says proves something.
    """

    def __init__(
        self, app: Console, net: Console | None, log: Callable[[str, str, str], None],
        pause: Callable[[float], None], turns: Turns, net_counts: bool = False,
    ) -> None:  # fmt: skip
        self._ports = {"app": app, **({"net": net} if net is not None else {})}
        self._pause = pause
        self._turns = turns
        self._net_counts = net_counts and net is not None
        self._log = log
        self.said = Said()

    def clear(self) -> None:
        """Forget everything; call it before the reset whose words are to be heard."""
        for port in self._ports.values():
            port.clear()
        self.said = Said()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other socket resets its part meanwhile, as long as it is not known that these ports hear this part.

        Taken around a whole burn, so that nothing waits between its intent and its act.
        """
        with nullcontext() if self.are_proved else self._turns.alone(self._pause):
            yield

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold it from before a reset until its words are heard; ports that have spoken alone are known afterwards."""
        with self.alone():
            yield
            if self.are_proved:
                return
            if self._net_counts and self.said.app.has_spoken:
                self.until(lambda said: said.net.has_spoken, Deadline(SPEAK_SECONDS))
            for name in self._counted:
                if getattr(self.said, name).has_spoken:
                    self._turns.prove(self._ports[name])

    @property
    def are_proved(self) -> bool:
        """Whether every port whose words count hears this socket's part and no other one."""
        return all(self._turns.has_proved(self._ports[name]) for name in self._counted)

    @property
    def _counted(self) -> tuple[str, ...]:
        return ("app", "net") if self._net_counts else ("app",)

    def until(self, finished: Callable[[Said], bool], deadline: Deadline) -> Said:
        """Listen until ``finished``, and a moment longer, or until the deadline; gives what was said.

        ``finished`` is asked at once, then whenever something has come. Outside a burn a stop ends it.
        """
        new = True
        while not (new and finished(self.said)):
            if deadline.passed:
                return self.said
            new = self._listen(SLICE)
        self._linger()
        return self.said

    def _linger(self) -> None:
        quiet = Deadline(LINGER)
        while not quiet.passed:
            self._listen(SLICE)

    def _listen(self, seconds: float) -> bool:
        """Take what has come on every port, waiting for the first one; True when anything has."""
        new = self._take("app", seconds)
        if new:
            self._pause(GATHER)
        for name in self._ports:
            new = self._take(name, 0) or new
        return new

    def _take(self, name: str, seconds: float) -> bool:
        """Bytes of one port into its lines and the log, at once: what comes next may be an exception."""
        heard = self._ports[name].read(Deadline(seconds))
        if not heard:
            return False
        assembler: LineAssembler = getattr(self.said, name)
        for line in assembler.feed(heard):
            if line.text.strip():
                self._log(line.text, "dut" if name == "app" else "dut net", "info")
        return True


def provisioning_problem(said: Said, app: Transcript, net: Transcript | None) -> str:
    """Why the provisioning image was not heard to the end; empty when it was, or when it reported a failure itself."""
    heard = unheard(said)
    if app.succeeded and (net is None or net.succeeded):
        return ""
    if provisioning_console.is_app_talk(said.net.lines) or provisioning_console.is_net_talk(said.app.lines):
        return f"the consoles of the two cores are swapped; {CHECK}"
    if heard and not app.succeeded:
        return heard
    if not app.succeeded:
        lost = ", and the log says that it dropped messages" if app.dropped else ""
        return f"the console of the application core said {app.steps} of {app.wanted} expected lines{lost}"
    if said.net.heard is not Heard.TEXT:
        return f"the console of the network core said {said.net.heard}; {CHECK}"
    return "the network core did not say that its debug port is to be closed"


def boot_problem(said: Said, boot: Boot) -> str:
    """Why no attestation token was heard at a boot; empty when one was, or when the firmware refused."""
    if boot.token or boot.outcome is not None:
        return ""
    if heard := unheard(said):
        return heard
    return f"expected an attestation token on the console, but {boot.damage or 'none was announced'}"


def unheard(said: Said) -> str:
    """Why the application core's console cannot be judged at all; empty when it said text."""
    if said.app.heard is Heard.GARBAGE:
        return f"the console of the application core says no text but garbage, as at a wrong baud rate; {CHECK}"
    if said.app.heard is Heard.NOTHING:
        return f"the console of the application core stayed silent; {CHECK}"
    return ""
