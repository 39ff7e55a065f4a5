"""A running workbench on a fake world, as the tests of the workbench use it."""

from __future__ import annotations

from fake_station import PIN, World

from station.config import load_config
from station.protocol import (
    Acknowledge,
    CommandRefused,
    Query,
    Rows,
    Scan,
    SelectRecipe,
    SignIn,
    Start,
)
from station.secret import Secret
from station.watching import Watcher
from station.workbench import Workbench

SECONDS = 20.0


class Bench:
    """A running workbench on a fake world, and what it said."""

    def __init__(self, folder, start=True):
        self.world = World(folder)
        self.bench = Workbench(load_config(folder / "station.toml"))
        self.events = []
        self.bench.subscribe(self.events.append)
        self.watcher = Watcher(self.bench)
        if start:
            self.bench.start()

    def sign_in(self, name="op"):
        assert self.bench.handle(SignIn(name, Secret(PIN, "pin")))

    def ready(self, name="op", lot=""):
        self.choose(lot)
        self.sign_in(name)

    def choose(self, lot="", wafer=""):
        self.sign_in("eng")
        assert self.bench.handle(SelectRecipe("fake-cp", lot, wafer)), self.said()

    def said(self):
        """The sentence of the last refusal."""
        return next((e.sentence for e in reversed(self.events) if isinstance(e, CommandRefused)), "")

    def refused(self, command):
        assert not self.bench.handle(command)
        return self.said()

    def wait(self, state, socket=1, **fields):
        return self.watcher.wait(
            socket, f"socket {socket} to be {state}",
            lambda now: now.state == state and all(getattr(now, n) == v for n, v in fields.items()), SECONDS,
        )  # fmt: skip

    def load(self, label="D1", socket=1):
        self.world.insert(socket)
        self.wait("scan", socket)
        assert self.bench.handle(Scan(label, socket)), self.said()
        return self.wait("scan", socket, may_start=True)

    def go(self, label="D1", socket=1):
        state = self.load(label, socket)
        assert self.bench.handle(Start(socket, state.epoch)), self.said()
        return self.verdict(socket)

    def verdict(self, socket=1):
        state = self.watcher.wait_verdict(socket, SECONDS)
        self.bench.worker(socket).wait_idle()
        return state

    def take_out(self, socket=1):
        now = self.watcher.states[socket]
        if now.needs_acknowledge:
            assert self.bench.handle(Acknowledge(socket, now.epoch)), self.said()
        self.world.remove(socket)
        return self.wait("insert_part", socket)

    def query(self, name, **arguments):
        assert self.bench.handle(Query(name, 7, arguments)), self.said()
        return next(e for e in reversed(self.events) if isinstance(e, Rows))

    def last(self, kind):
        return next(e for e in reversed(self.events) if isinstance(e, kind))

    def close(self):
        self.bench.close()
