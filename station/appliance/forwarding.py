"""Store and forward: what was registered goes to an HTTP registry, oldest first, until it has acknowledged it.

Nothing is ever given up. Records stand in three queues, served by turns: those that were never tried, those that the
registry refused, which wait longer and longer in between, and those that failed alone. So nobody holds up the others.
After a batch that failed as a whole everybody waits, and the next batch of its queue is half as large, down to single
records; an answered one makes it twice as large. A record that fails alone while others get through is set aside like a
refused one, and goes alone from then on. A record may be sent twice (the answer was lost, or the process died before it
was marked), never marked without an acknowledgement. Of all processes that share the database one forwards at a time.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from station.appliance.device_store import DeviceStore, Failed, FailedCalls, WaitingRecord, now_ms
from station.appliance.registry_http import HttpRegistry, PostFailed
from station.appliance.registry_json import AnswerUnreadable, batch_body, read_answers
from station.appliance.registry_settings import ForwardSettings
from station.errors import StationError

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
FIRST_SECONDS, LONGEST_SECONDS = 1.0, 300.0
FIRST_RECORD_SECONDS, LONGEST_RECORD_SECONDS = 30.0, 3600.0
END_SECONDS = 10.0
LEAD = "forward"


@dataclass(slots=True, eq=False)
class Queue:
    """How many records of a kind go in the next batch, and at most."""

    size: int
    most: int


class Registry(Protocol):
    """Where records go."""

    name: str
    """For the log."""

    def post(self, body: bytes) -> bytes:
        """The body of the answer, or ``PostFailed``."""
        ...

    def close(self) -> None:
        """End the post in progress, and allow no other one."""
        ...


class Forwarder:
    """One thread, from ``start`` to ``close``."""

    def __init__(
        self, store: DeviceStore, registry: Registry, most: int, draw: Callable[[], float] = random.random
    ) -> None:
        """``most`` records per post; ``draw`` gives numbers from 0 to 1 for the jitter."""
        self._store = store
        self._registry = registry
        self._untried, self._retried, self._single = Queue(most, most), Queue(1, most), Queue(1, 1)
        self._turns = [self._untried, self._retried, self._single]
        self._draw = draw
        self._failures, self._wait = 0, 0.0
        self._alone: dict[int, None] = {}  # ids of records that failed alone, the last one at the end
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="forwarding", daemon=True)

    def start(self) -> None:
        """Begin, also with what an earlier process left."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a post in progress is cut, and its records are sent again later."""
        self._ending.set()
        self._store.stored.set()
        self._registry.close()
        if self._thread.is_alive():
            self._thread.join(END_SECONDS)

    def forward(self) -> bool:
        """Send one batch, if there is something to send and nobody else does; True when it should go on at once."""
        with self._store.lead(LEAD) as leading:
            if not leading:
                return False
            queue, batch = self._choose()
            return bool(batch) and self._send(queue, batch)

    def _choose(self) -> tuple[Queue, list[WaitingRecord]]:
        """The next batch; while everything fails, of those that are the least likely to be the reason."""
        waiting = self._waiting()
        for queue in (self._untried, self._retried, self._single) if self._failures else tuple(self._turns):
            if batch := _one_per_device(waiting[queue])[: queue.size]:
                self._turns.remove(queue)
                self._turns.append(queue)
                return queue, batch
        return self._untried, []

    def _waiting(self) -> dict[Queue, list[WaitingRecord]]:
        """Enough records of every queue for a batch."""
        untried = self._store.untried(self._untried.size + len(self._alone))
        retried = self._store.retriable(self._retried.size + len(self._alone), now_ms())
        single = {record.id: record for record in (*untried, *retried) if record.id in self._alone}
        return {
            self._untried: [record for record in untried if record.id not in single],
            self._retried: [record for record in retried if record.id not in single],
            self._single: [single[id_] for id_ in self._alone if id_ in single],
        }

    def _loop(self) -> None:
        while not self._ending.is_set():
            try:
                again = self.forward()
            except StationError as error:
                self._failed(str(error))
                again = False
            except Exception as error:  # the thread must live: nobody else forwards
                self._failed(f"an error in the program ({type(error).__name__})")
                again = False
            if not again:
                self._rest()

    def _rest(self) -> None:
        """After a failure wait it out; else until something is stored here, or by another process."""
        if self._failures:
            self._ending.wait(self._wait)
            return
        self._store.stored.wait(POLL_SECONDS)
        self._store.stored.clear()

    def _send(self, queue: Queue, batch: Sequence[WaitingRecord]) -> bool:
        try:
            body = self._registry.post(batch_body([record.record for record in batch]))
            told = read_answers(body, [record.device_id for record in batch])
        except PostFailed as failed:
            return self._batch_failed(queue, batch, str(failed), failed.reached)
        except AnswerUnreadable as failed:
            return self._batch_failed(queue, batch, str(failed), reached=True)
        for record in batch:
            self._alone.pop(record.id, None)
        refused = [record for record in batch if told[record.device_id]]
        self._store.forwarded((record.id for record in batch if not told[record.device_id]), now_ms())
        self._set_aside([(record, told[record.device_id]) for record in refused])
        if self._failures:
            log.info("the registry %s takes records again", self._registry.name)
        self._failures, queue.size = 0, min(queue.most, 2 * queue.size)
        self._forget_failed_calls()
        return True

    def _batch_failed(self, queue: Queue, batch: Sequence[WaitingRecord], reason: str, reached: bool) -> bool:
        if self._ending.is_set():
            return False
        others_failed = self._failures > 0
        self._failed(reason)
        if not reached:
            return False
        if len(batch) > 1:
            queue.size = len(batch) // 2
            return False
        self._alone.pop(batch[0].id, None)
        self._alone[batch[0].id] = None
        if not others_failed:
            self._set_aside([(batch[0], reason)])
        return False

    def _set_aside(self, records: Sequence[tuple[WaitingRecord, str]]) -> None:
        for record, reason in records:
            log.warning("the registry did not take the record of device %s: %s", record.device_id, reason)
        self._store.not_forwarded([Failed(record.id, reason, self._next_try(record)) for record, reason in records])

    def _next_try(self, record: WaitingRecord) -> int:
        wait = self._jittered(FIRST_RECORD_SECONDS, LONGEST_RECORD_SECONDS, record.attempts + 1)
        return now_ms() + int(1000 * wait)

    def _failed(self, reason: str) -> None:
        self._failures += 1
        self._wait = self._jittered(FIRST_SECONDS, LONGEST_SECONDS, self._failures)
        log.warning("forwarding waits (failure %d in a row): %s", self._failures, reason)
        with suppress(StationError):  # the database itself may be what failed
            self._store.note_failed_calls(FailedCalls(self._failures, reason, now_ms() + int(1000 * self._wait)))

    def _forget_failed_calls(self) -> None:
        """Also those of another process, which led before; what the database refuses here holds no record up."""
        with suppress(StationError):
            if self._store.failed_calls() is not None:
                self._store.note_failed_calls(None)

    def _jittered(self, first: float, longest: float, failures: int) -> float:
        """From half of the full wait to all of it; the full wait doubles with every failure."""
        full = min(longest, first * 2.0 ** min(failures - 1, 30))
        return full * (1 + self._draw()) / 2


def forwarder_of(store: DeviceStore, settings: ForwardSettings) -> Forwarder:
    """The forwarder of the settings, not started."""
    return Forwarder(store, HttpRegistry(settings), settings.batch)


def _one_per_device(records: Sequence[WaitingRecord]) -> list[WaitingRecord]:
    """Answers name devices: of a device with several records the oldest goes first, alone."""
    chosen: dict[str, WaitingRecord] = {}
    for record in records:
        chosen.setdefault(record.device_id, record)
    return list(chosen.values())
