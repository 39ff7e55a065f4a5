"""What the window knows: the last event of every kind, with nothing decided about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from station.protocol import (
    ApplianceState,
    Ended,
    Event,
    Finishing,
    Hello,
    Latched,
    Lot,
    Progress,
    SignedIn,
    SocketState,
)

VERDICTS = ("pass", "fail", "hold", "quarantine", "bench_fault")


@dataclass
class BenchView:
    """The last state of engine, sockets, lot, appliance and operator; ``lost`` says why there is no engine.

    ``titles`` are the words of all step ids that any plan has named so far; ``sure`` is the question (socket, number)
    for which No was pressed once.
    """

    hello: Hello | None = None
    sockets: dict[int, SocketState] = field(default_factory=dict)
    lot: Lot | None = None
    appliance: ApplianceState | None = None
    signed_in: SignedIn = field(default_factory=lambda: SignedIn(""))
    latched: Latched | None = None
    finishing: Finishing | None = None
    lost: str | None = None
    replay: bool = False
    farewell: str = ""
    starting: bool = False
    titles: dict[str, str] = field(default_factory=dict)
    sure: tuple[int, int] | None = None

    @property
    def mode(self) -> str:
        """The band that is shown: replay covers whatever was recorded."""
        if self.replay:
            return "replay"
        return self.hello.mode if self.hello else "production"

    @property
    def virtual(self) -> bool:
        """True when the sockets belong to a live virtual bench, so that the window may be its hand."""
        return self.mode == "virtual"

    @property
    def locked(self) -> bool:
        """True while nobody is signed in: states stay visible, what was written and recorded does not."""
        return not self.signed_in.operator and not self.replay

    def burning(self) -> tuple[int, ...]:
        """Sockets between first burn and its read-back."""
        return tuple(number for number, state in sorted(self.sockets.items()) if state.state == "burning")

    def working(self) -> tuple[int, ...]:
        """Sockets that are not waiting for anybody."""
        busy = ("checking", "running", "burning")
        return tuple(number for number, state in sorted(self.sockets.items()) if state.state in busy)

    def apply(self, event: Event) -> None:
        """Take one event in; events that are shown once (refusals, scans, rows) are not kept here."""
        if isinstance(event, SocketState):
            self.sockets[event.socket] = event
            self.titles.update({item.id: item.title for item in event.plan if item.id not in self.titles})
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Hello):
            self._hello(event)
        elif isinstance(event, Ended):
            self.farewell = event.sentence
        else:
            self._keep(event)

    def engine_gone(self, sentence: str) -> None:
        """The engine's output has ended."""
        self.lost = self.farewell or sentence
        self.starting = False

    def _hello(self, event: Hello) -> None:
        if self.lost is not None:  # another engine: nothing that is known of the last one holds
            self.lost = self.latched = self.finishing = self.appliance = None
            self.starting = False
            self.sure = None
            self.farewell = ""
            self.sockets = {}
        self.hello = event

    def _progress(self, event: Progress) -> None:
        state = self.sockets.get(event.socket)
        if state is not None:
            self.sockets[event.socket] = replace(state, percent=event.percent, elapsed=event.elapsed)

    def _keep(self, event: Event) -> None:
        if isinstance(event, Lot):
            self.lot = event
        elif isinstance(event, ApplianceState):
            self.appliance = event
        elif isinstance(event, SignedIn) and not event.failed:
            self.signed_in = event
            self.sure = None
        elif isinstance(event, Latched):
            self.latched = event
        elif isinstance(event, Finishing):
            self.finishing = event
