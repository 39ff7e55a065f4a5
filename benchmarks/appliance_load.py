"""Several clients in one process, which talk to the appliance at the same time: the child of the appliance benchmark.

Reads what to do as one JSON line on stdin, makes its devices, says a line when it is ready, starts at the next line,
and prints what it did. Threads are stations: each has a certificate and a connection of its own.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.appliance_client import Access, Client, Conversation
from benchmarks.appliance_devices import make_devices


@dataclass(frozen=True, slots=True)
class Order:
    """What one process is to do: ``devices`` per client at most, within ``seconds``."""

    folder: str
    target: str
    sku: str
    stations: tuple[str, ...]
    fresh: bool
    devices: int
    first_number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """What one process did; times are those of the system's monotonic clock."""

    conversations: int
    calls: int
    began: float
    ended: float
    cpu: float
    endorse_seconds: list[float]
    failures: list[str]


class Seat(threading.Thread):
    """One client with its devices."""

    def __init__(self, order: Order, place: int, gate: threading.Barrier) -> None:
        super().__init__(name=order.stations[place], daemon=True)
        self._order = order
        self._gate = gate
        self._access = Access(Path(order.folder), order.target, order.stations[place], order.sku)
        self.conversation = Conversation(self._access)
        first = order.first_number + place * order.devices
        numbers = range(first, first + order.devices)
        talk = self.conversation
        self._devices = list(make_devices(self._access.template, talk.cas, talk.was, numbers))
        self._client = None if order.fresh else Client(self._access)
        self.done = 0
        self.ended = 0.0
        self.failure = ""

    def run(self) -> None:
        try:
            self._talk()
        except Exception as error:  # whatever it is, the benchmark must hear of it
            self.failure = f"{type(error).__name__}: {error}"
        self.ended = time.monotonic()

    def _talk(self) -> None:
        self._gate.wait()
        latest = time.monotonic() + self._order.seconds
        for device in self._devices:
            if time.monotonic() >= latest:
                break
            if self._client is None:
                self.conversation.fresh(device)
            else:
                self.conversation.warm(self._client, device)
            self.done += 1
        if self._client is not None:
            self._client.close()


def main() -> int:
    """Do what stdin says."""
    order = Order(**json.loads(sys.stdin.readline()))
    gate = threading.Barrier(len(order.stations) + 1)
    seats = [Seat(order, place, gate) for place in range(len(order.stations))]
    for seat in seats:
        seat.start()
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    began = time.monotonic()
    gate.wait()
    for seat in seats:
        seat.join()
    talks = [seat.conversation for seat in seats]
    done = Done(
        conversations=sum(seat.done for seat in seats),
        calls=sum(talk.calls for talk in talks),
        began=began,
        ended=max(seat.ended for seat in seats),
        cpu=time.process_time() - cpu,
        endorse_seconds=[second for talk in talks for second in talk.endorse_seconds],
        failures=[seat.failure for seat in seats if seat.failure],
    )
    print(json.dumps(asdict(done)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
