"""One load on a served appliance: client processes that start together, and what both sides spent."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from subprocess import Popen

from benchmarks.appliance_load import Done, Order
from benchmarks.appliance_served import Served
from benchmarks.children import child, line_of

PROCESSES = 4
READY_SECONDS = 60.0
REPORT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Load:
    """Who talks: ``clients`` for ``seconds`` in open sessions, or with fresh ones; ``devices`` in all at most."""

    sku: str
    clients: int
    fresh: bool
    seconds: float
    devices: int


@dataclass(frozen=True, slots=True)
class Result:
    """What all clients of a load did, and the processor time of both sides in seconds."""

    conversations: int
    calls: int
    seconds: float
    server_cpu: float
    client_cpu: float
    endorse_seconds: list[float]

    @property
    def per_minute(self) -> float:
        """Conversations per minute of wall time."""
        return 60 * self.conversations / self.seconds

    @property
    def server_milliseconds(self) -> float:
        """Processor time of the server per conversation."""
        return 1000 * self.server_cpu / self.conversations

    @property
    def client_milliseconds(self) -> float:
        """Processor time of the clients per conversation."""
        return 1000 * self.client_cpu / self.conversations


class Runner:
    """Runs loads on one appliance, always with other devices."""

    def __init__(self, appliance: Served, stations: Sequence[str]) -> None:
        self._appliance = appliance
        self._stations = stations
        self._numbers = itertools.count(1)
        self.calls = 0

    def run(self, load: Load) -> Result:
        """One load from its first call to its last."""
        with ExitStack() as stack:
            processes = []
            for order in self._orders(load):
                process = stack.enter_context(child([sys.executable, "-m", "benchmarks.appliance_load"]))
                _send(process, json.dumps(asdict(order)))
                processes.append(process)
            for process in processes:
                line_of(process, READY_SECONDS)
            cpu = self._appliance.cpu()
            for process in processes:
                _send(process, "go")
            done = [Done(**json.loads(line_of(process, load.seconds + REPORT_SECONDS))) for process in processes]
            cpu = self._appliance.cpu() - cpu
        failures = [sentence for part in done for sentence in part.failures]
        if failures:
            raise RuntimeError(f"{len(failures)} clients failed, the first one: {failures[0]}")
        result = Result(
            conversations=sum(part.conversations for part in done),
            calls=sum(part.calls for part in done),
            seconds=max(part.ended for part in done) - min(part.began for part in done),
            server_cpu=cpu,
            client_cpu=sum(part.cpu for part in done),
            endorse_seconds=[second for part in done for second in part.endorse_seconds],
        )
        self.calls += result.calls
        return result

    def _orders(self, load: Load) -> Iterator[Order]:
        """The clients spread over the processes; each client gets a block of numbers that nobody had before."""
        count = min(PROCESSES, load.clients)
        each = -(-load.devices // load.clients)
        for place in range(count):
            stations = self._stations[place : load.clients : count]
            first = next(self._numbers) << 32
            yield Order(
                str(self._appliance.folder), self._appliance.target, load.sku, tuple(stations), load.fresh, each, first,
                load.seconds,
            )  # fmt: skip


def _send(process: Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()
