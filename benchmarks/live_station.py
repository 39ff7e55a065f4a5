"""A whole virtual station for a benchmark: appliance and bench as processes, an engine to talk to in JSON lines."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.children import Usage, end
from station.chips import DEFAULT_CHIP
from station.model import Role
from station.operators import Operators
from station.processes import child_environment, station_command
from station.protocol import (
    Acknowledge,
    Command,
    CommandRefused,
    Event,
    Handle,
    Log,
    ProtocolError,
    Scan,
    SelectRecipe,
    Shutdown,
    SocketState,
    Start,
    decode_event,
    encode,
)
from station.virtual_station import VirtualStation

OPERATOR = "bench"
PIN = b"271828"
SECONDS = 120.0
FINAL = ("pass", "fail", "hold", "quarantine", "bench_fault")


@contextmanager
def virtual_station(folder: Path, sockets: int, chip: str = DEFAULT_CHIP) -> Iterator[VirtualStation]:
    """Bench and, where the chip needs one, appliance; and an operator who may do everything."""
    with VirtualStation(folder, sockets, chip=chip) as station:
        Operators(station.data).add(OPERATOR, Role.SUPERVISOR, PIN)
        yield station


class Engine:
    """``station engine`` as a child; keeps the last state of each socket and when it came."""

    def __init__(self, station: VirtualStation, recipes: Path | None = None) -> None:
        environment = child_environment()
        if recipes is not None:
            environment["PYTHONPATH"] = f"{recipes}{os.pathsep}{environment['PYTHONPATH']}"
        command = station_command("engine", "--station", str(station.station_file), "--operator", OPERATOR)
        self.states: dict[int, SocketState] = {}
        self.events = 0
        self.log_lines = 0
        self.refused: list[str] = []
        self._changed = threading.Condition()
        self._errors = (station.folder / "engine.log").open("wb")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment
        )
        self.usage = Usage(self.process.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                event = decode_event(line)
            except ProtocolError:
                continue
            with self._changed:
                self._take(event)
                self._changed.notify_all()

    def _take(self, event: Event) -> None:
        self.events += 1
        if isinstance(event, SocketState):
            self.states[event.socket] = event
        elif isinstance(event, Log):
            self.log_lines += 1
        elif isinstance(event, CommandRefused):
            self.refused.append(event.sentence)

    def send(self, command: Command) -> None:
        """One command."""
        assert self.process.stdin is not None
        self.process.stdin.write(encode(command))
        self.process.stdin.flush()

    def wait(self, what: str, fits: Callable[[], bool], seconds: float = SECONDS) -> float:
        """Wait for a claim about the states; returns the monotonic time at which it was seen to hold."""
        with self._changed:
            if not self._changed.wait_for(fits, seconds):
                raise TimeoutError(f"waited {seconds:.0f} s for {what}; refused: {self.refused[-3:]}")
            return time.monotonic()

    def wait_state(self, socket: int, *states: str, seconds: float = SECONDS) -> float:
        """Wait for one of the states of a socket."""
        fits = lambda: socket in self.states and self.states[socket].state in states  # noqa: E731
        return self.wait(f"socket {socket} to be {' or '.join(states)}", fits, seconds)

    def seat(self, socket: int, shelf: str, label: str) -> None:
        """Insert a part, close the lid, scan the label; then the socket may be started."""
        self.send(Handle(socket, "insert", f"{shelf}@{label}" if "/" in label else shelf))
        self.send(Handle(socket, "lid", "closed"))
        self.wait_state(socket, "scan")
        self.send(Scan(label, socket))
        self.wait(f"the label in socket {socket}", lambda: self.states[socket].may_start)

    def start(self, socket: int) -> None:
        """Start what was scanned."""
        self.send(Start(socket, self.states[socket].epoch))

    def verdict(self, socket: int) -> SocketState:
        """Wait for the verdict of the run in progress."""
        fits = lambda: self.states[socket].state in FINAL and self.states[socket].verdict is not None  # noqa: E731
        self.wait(f"a verdict in socket {socket}", fits)
        return self.states[socket]

    def clear(self, socket: int) -> None:
        """Acknowledge, open the lid, take the part out."""
        if self.states[socket].needs_acknowledge:
            self.send(Acknowledge(socket, self.states[socket].epoch))
            self.wait("the acknowledgement", lambda: not self.states[socket].needs_acknowledge)
        self.send(Handle(socket, "lid", "open"))
        self.send(Handle(socket, "remove"))
        self.wait_state(socket, "insert_part")

    def close(self) -> None:
        """Let the engine end; insist when it does not."""
        try:
            self.send(Shutdown())
            self.process.wait(20)
        except (OSError, subprocess.TimeoutExpired):
            pass
        end(self.process)
        self._reader.join(5)
        self._errors.close()


@contextmanager
def engine(station: VirtualStation, recipe: str, plugins: Path | None = None) -> Iterator[Engine]:
    """An engine with a recipe chosen."""
    made = Engine(station, plugins)
    try:
        made.wait("the engine's first states", lambda: bool(made.states))
        made.send(SelectRecipe(recipe))
        yield made
    finally:
        made.close()


def add_wait_recipe(station: VirtualStation) -> Path:
    """Make the benchmark's waiting flow a plug-in of this station; returns the folder for the engine's path."""
    resources = station.folder / "resources" / "recipes"
    resources.mkdir(parents=True)
    (resources / "bench-wait.toml").write_text(WAIT_RECIPE)
    plugin = station.folder / "plugin"
    information = plugin / "bench_wait-0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-wait\nVersion: 0\n")
    (information / "entry_points.txt").write_text("[station.flows]\nbench_wait = benchmarks.wait_flow\n")
    lines = station.station_file.read_text().splitlines(keepends=True)
    own = ['resources = ["resources"]\n' if line.startswith("recipes = ") else line for line in lines]
    station.station_file.write_text("".join(own))
    return plugin


WAIT_RECIPE = """\
schema = 1
name = "bench-wait"
title = "Waiting"
revision = "1"
realm = "dev"
flow = "bench_wait"
part = "earlgrey"
sku = "sival"
map = "tray"

[label]
kind = "part"
prompt = "part label"
pattern = 'W[0-9]{4,12}'
example = "W000001"
"""
