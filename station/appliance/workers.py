"""Several processes that serve one folder: the supervisor starts them, replaces those that end, and ends them all.

Each worker listens on the same port (``SO_REUSEPORT``) and the system deals connections out among them. The supervisor
serves nothing itself. It holds the folder's lock, the port, and a passphrase or PIN that can be read once only.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from station.appliance.passphrase import SecretSource, read_secret
from station.appliance.serving_process import SIGNAL_POLL, Announce, Asked, alone_in_folder, announced, endpoint_of
from station.appliance.settings import ApplianceSettings, read_settings
from station.errors import BenchError, ConfigError, PinError
from station.processes import Child
from station.secret import Secret, harden_process

log = logging.getLogger(__name__)

READY_SECONDS = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a worker that ended soon after its start is replaced, doubled each time."""
STEADY_SECONDS = 60.0
STDERR = 2
KEYSTORE, REGISTRY = "keystore passphrase or PIN", "password of the database"


@dataclass(frozen=True, slots=True)
class Order:
    """What the supervisor tells a worker: its number from 0, and where all of them listen.

    ``secrets`` are descriptors, by the names of ``secret_sources``, of what can be read once only and was read by the
    supervisor; everything else is where the settings say.
    """

    number: int
    host: str
    port: int
    secrets: dict[str, int]


def secret_sources(settings: ApplianceSettings) -> dict[str, SecretSource]:
    """Where the secrets of a serving process come from: those of its keystore and of its database."""
    found = {KEYSTORE: settings.keys.secret}
    if settings.registry is not None and settings.registry.password is not None:
        found[REGISTRY] = settings.registry.password
    return found


def with_secrets(settings: ApplianceSettings, descriptors: Mapping[str, int]) -> ApplianceSettings:
    """The settings with the secrets of an order in their places."""
    for name, descriptor in descriptors.items():
        source = SecretSource("fd", str(descriptor))
        if name == KEYSTORE:
            settings = replace(settings, keys=settings.keys.reading(source))
        elif settings.registry is not None:
            settings = replace(settings, registry=replace(settings.registry, password=source))
    return settings


def supervise(
    folder: Path, workers: int, host: str | None = None, port: int | None = None, stop: threading.Event | None = None,
    ready: Announce | None = None, log_level: str = "info",
) -> int:  # fmt: skip
    """Serve the folder with ``workers`` processes until SIGTERM, SIGINT or ``stop``; 0 after all have drained.

    Everything wrong with the folder raises ``ConfigError``; so does a first worker that does not become ready.
    """
    harden_process()
    settings = read_settings(folder.resolve())
    stop = stop or threading.Event()
    with ExitStack() as stack:
        asked = stack.enter_context(alone_in_folder(settings))
        host = host or settings.host
        number = stack.enter_context(reserved_port(host, settings.port if port is None else port))
        crew = Crew(settings, host, number, workers, log_level)
        stack.callback(crew.end)
        metrics = crew.start(lambda: bool(asked) or stop.is_set())
        endpoint = {**endpoint_of(settings, host, number), "workers": workers}
        if any(metrics):
            endpoint["metrics"] = metrics
        stack.enter_context(announced(settings, endpoint, ready))
        _look_after(crew, asked, stop)
        log.info("appliance drains")
    return 0


def _look_after(crew: Crew, asked: Asked, stop: threading.Event) -> None:
    while not asked and not stop.wait(SIGNAL_POLL):
        crew.look_after()


@dataclass(slots=True)
class Place:
    """One worker, and the one after it when it ends; ``due`` is when that may be started."""

    number: int
    child: Child | None = None
    began: float = 0.0
    pause: float = 0.0
    due: float = 0.0
    answers: bool = False
    refused: bool = False

    @property
    def name(self) -> str:
        """What the log calls it; people count from 1."""
        return f"worker {self.number + 1}"


class Crew:
    """The workers; used by one thread."""

    def __init__(self, settings: ApplianceSettings, host: str, port: int, count: int, log_level: str) -> None:
        self._folder, self._host, self._port, self._log_level = settings.folder, host, port, log_level
        sources = secret_sources(settings)
        self._secrets = {name: read_secret(source, name) for name, source in sources.items() if not source.lasts}
        self._places = [Place(number) for number in range(count)]

    def start(self, stopped: Callable[[], bool]) -> list[str]:
        """Start all and wait until they answer; where their metrics are.

        The first one starts alone: what is wrong with the folder is said once, and a wrong PIN is sent once.
        """
        first, *others = self._places
        self._start(first)
        self._await(first, stopped)
        for place in others:
            self._start(place)
        for place in others:
            self._await(place, stopped)
        return [_metrics(place.child) for place in self._places]

    def look_after(self) -> None:
        """Replace workers that have ended; ``PinError`` when none is left that may be started again."""
        now = time.monotonic()
        for place in self._places:
            if place.child is not None and place.child.process.poll() is not None:
                self._bury(place, place.child, now)
            if place.child is None and not place.refused and now >= place.due:
                self._start(place)
            self._note_answer(place)
        if all(place.refused for place in self._places):
            raise PinError("expected workers that serve: the PIN of every one was refused, the log says more")

    def end(self) -> None:
        """Have all of them drain at the same time."""
        children = [place.child for place in self._places if place.child is not None]
        for child in children:
            child.process.terminate()
        for child in children:
            child.end()

    def _start(self, place: Place) -> None:
        arguments = ("appliance", "serve", str(self._folder), "--worker", "--log-level", self._log_level)
        with _handed_on(self._secrets) as descriptors:
            told = json.dumps(asdict(Order(place.number, self._host, self._port, descriptors)))
            place.child = Child(place.name, arguments, STDERR, told=told, descriptors=tuple(descriptors.values()))
        place.began = time.monotonic()
        place.answers = False

    def _await(self, place: Place, stopped: Callable[[], bool]) -> None:
        assert place.child is not None
        latest = time.monotonic() + READY_SECONDS
        while place.child.said is None and not stopped():
            if place.child.process.poll() is not None or time.monotonic() > latest:
                self._refuse(place, place.child)
            time.sleep(SIGNAL_POLL)
        self._note_answer(place)

    def _note_answer(self, place: Place) -> None:
        if place.child is not None and not place.answers and place.child.said is not None:
            place.answers = True
            log.info("%s (process %d) answers", place.name, place.child.process.pid)

    def _refuse(self, place: Place, child: Child) -> None:
        try:
            child.first_line(0)
        except BenchError as error:
            refused = PinError if child.process.returncode == PinError.exit_code else ConfigError
            raise refused(f"expected {place.name} to answer calls: {error}") from None

    def _bury(self, place: Place, child: Child, now: float) -> None:
        """What became of a worker, and when the next one may take its place.

        What it refused may be a database that is away or a file that is being copied: only a PIN is not tried again.
        """
        child.end()
        code = child.process.returncode
        place.child = None
        place.refused = code == PinError.exit_code
        steady = now - place.began > STEADY_SECONDS
        place.pause = 0.0 if steady else min(max(2 * place.pause, FIRST_PAUSE), LONGEST_PAUSE)
        place.due = now + place.pause
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        then = "it is not started again: correct the PIN and restart" if place.refused else _when(place.pause)
        log.error("%s (process %d) %s: %s", place.name, child.process.pid, how, then)


def _when(pause: float) -> str:
    return "another one takes its place" + (f" in {pause:g} s" if pause else "")


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """A port (0: any free one) that workers may listen on and nobody else, as long as the context lasts."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("expected workers = 1: this system lets one process listen on a port only")
    with ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            if port:
                _require_free(found)
            for family, kind, protocol, _, address in found:
                bound = stack.enter_context(socket.socket(family, kind, protocol))
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind((address[0], port, *address[2:]))
                port = bound.getsockname()[1]  # the other addresses of a name get the same one
        except OSError:
            raise ConfigError(
                f"expected to listen on {host} port {port}: the port is taken or the address is not of here"
            ) from None
        yield port


def _require_free(found: Sequence[tuple[Any, ...]]) -> None:
    """Sockets that share a port do not refuse one another: somebody else's must be found by one that does not share."""
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may still be closing
            probe.bind(address)


@contextmanager
def _handed_on(secrets: Mapping[str, Secret]) -> Iterator[dict[str, int]]:
    """The descriptors that a worker reads the secrets from."""
    with ExitStack() as stack:
        yield {name: _pipe_of(secret, stack) for name, secret in secrets.items()}


def _pipe_of(secret: Secret, stack: ExitStack) -> int:
    """The reading end of a pipe that holds the secret, until the stack is closed."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    with os.fdopen(writing, "wb") as pipe, secret.reveal() as raw:
        pipe.write(raw)
    while reading <= STDERR:  # it was free, because a secret came from there; in a child it is taken
        reading = os.dup(reading)
        stack.callback(os.close, reading)
    return reading


def _metrics(child: Child | None) -> str:
    said = None if child is None else child.said
    return str(json.loads(said)["metrics"]) if said else ""
