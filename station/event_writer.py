"""The engine's output: one thread, a bounded queue, and nobody who emits ever waits.

Log and progress lines are dropped with a count when the reader is slow; everything else that did not fit is made up for
by a snapshot.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import IO

from station.protocol import Dropped, Event, Log, Progress, encode

QUEUE = 65_536
SPARE = 4_096  # so many places only states and verdicts may take
BATCH = 2_048  # the writer may have to wait some milliseconds for the interpreter after each write
DROPPABLE = (Log, Progress)
_quoted = json.encoder.encode_basestring  # the text as JSON, other scripts kept as they are


class EventWriter:
    """Encodes and writes events to a file descriptor in the order they came."""

    def __init__(self, descriptor: int, gone: Callable[[], None], record: IO[bytes] | None = None) -> None:
        self._descriptor = descriptor
        self._gone = gone
        self._record = record
        self._queue: deque[Event | bytes] = deque()
        self._dropped = 0
        self._incomplete = False
        self._closing = False
        self._broken = False
        self._snapshot: Callable[[], Iterable[Event]] = tuple
        self._idle = False  # the writer waits, or is about to
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="event writer", daemon=True)
        self._thread.start()

    def snapshots_from(self, snapshot: Callable[[], Iterable[Event]]) -> None:
        """Where the whole state comes from when something had to be left out."""
        self._snapshot = snapshot

    def emit(self, event: Event) -> None:
        """Queue an event; never blocks. The lock is for the rare cases: a deque takes from many threads by itself."""
        droppable = isinstance(event, DROPPABLE)
        if self._broken or (len(self._queue) >= (QUEUE if droppable else QUEUE + SPARE) and self._leave_out(droppable)):
            return
        self._queue.append(_line_or_event(event))
        if self._idle:
            with self._changed:
                self._changed.notify()

    def _leave_out(self, droppable: bool) -> bool:
        """Remember that an event found no room; False when there is room again, so that nobody misses the news."""
        with self._changed:
            if len(self._queue) < (QUEUE if droppable else QUEUE + SPARE):
                return False
            if droppable:
                self._dropped += 1
            else:
                self._incomplete = True
            return True

    def close(self, seconds: float) -> None:
        """Write what is queued, but wait no longer than this for a reader that does not read."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _loop(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                return
            try:
                self._write(_encoded(batch))
            except OSError:
                with self._changed:
                    self._broken = True
                    self._queue.clear()
                self._gone()
                return

    def _take(self) -> list[Event | bytes]:
        """The next events; what had to be left out is told (and made up for) as soon as the queue is empty."""
        with self._changed:
            self._idle = True  # before the queue is looked at: whoever adds to it looks here afterwards
            while not self._queue and not self._closing:
                self._changed.wait()
            self._idle = False
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            caught_up = not self._queue
            dropped, incomplete = self._dropped, self._incomplete
            if caught_up:
                self._dropped, self._incomplete = 0, False
        if caught_up and dropped:
            batch.append(Dropped(dropped))
        if caught_up and incomplete:
            batch.extend(self._snapshot())
        return batch

    def _write(self, data: bytes) -> None:
        if self._record is not None:
            self._record.write(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


def _line_or_event(event: Event) -> Event | bytes:
    """A log line is encoded at once: 60,000 waiting objects would cost more than their bytes. Others can be large."""
    try:
        return encode_fast(event) if type(event) is Log else event
    except (TypeError, ValueError):
        return event


def _encoded(batch: list[Event | bytes]) -> bytes:
    """The lines of a batch; an event that cannot be a line is named instead, and the others still go out."""
    return b"".join([item if isinstance(item, bytes) else _encoded_or_named(item) for item in batch])


def _encoded_or_named(event: Event) -> bytes:
    try:
        return encode_fast(event)
    except (TypeError, ValueError) as error:
        text = f"an event {type(event).__name__} could not be shown ({type(error).__name__})"
        return encode_fast(Log(time.time(), getattr(event, "socket", 0), "station", "error", text))


def encode_fast(event: Event) -> bytes:
    """``protocol.encode``, with a short cut for log lines, of which there may be very many."""
    if type(event) is Log:
        head = f'{{"type":"Log","time":{event.time!r},"socket":{event.socket}{_middle(event.source, event.level)}'
        return f"{head}{_quoted(event.text)}}}\n".encode()
    return encode(event)


@lru_cache(256)
def _middle(source: str, level: str) -> str:
    """What stands between the socket and the text; there are few sources and levels."""
    return f',"source":{_quoted(source)},"level":{_quoted(level)},"text":'
