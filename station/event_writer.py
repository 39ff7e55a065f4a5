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
from typing import IO

from station.protocol import Dropped, Event, Log, Progress, encode

QUEUE = 65_536
SPARE = 4_096  # so many places only states and verdicts may take
BATCH = 512
DROPPABLE = (Log, Progress)
_quoted = json.encoder.encode_basestring  # the text as JSON, other scripts kept as they are


class EventWriter:
    """Encodes and writes events to a file descriptor in the order they came."""

    def __init__(self, descriptor: int, gone: Callable[[], None], record: IO[bytes] | None = None) -> None:
        self._descriptor = descriptor
        self._gone = gone
        self._record = record
        self._queue: deque[Event] = deque()
        self._dropped = 0
        self._incomplete = False
        self._closing = False
        self._broken = False
        self._snapshot: Callable[[], Iterable[Event]] = tuple
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="event writer", daemon=True)
        self._thread.start()

    def snapshots_from(self, snapshot: Callable[[], Iterable[Event]]) -> None:
        """Where the whole state comes from when something had to be left out."""
        self._snapshot = snapshot

    def emit(self, event: Event) -> None:
        """Queue an event; never blocks."""
        droppable = isinstance(event, DROPPABLE)
        with self._changed:
            if self._broken:
                return
            if len(self._queue) >= (QUEUE if droppable else QUEUE + SPARE):
                if droppable:
                    self._dropped += 1
                else:
                    self._incomplete = True
                return
            self._queue.append(event)
            if len(self._queue) == 1:
                self._changed.notify()

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

    def _take(self) -> list[Event]:
        """The next events; what had to be left out is told (and made up for) as soon as the queue is empty."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
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


def _encoded(batch: list[Event]) -> bytes:
    """The lines of a batch; an event that cannot be a line is named instead, and the others still go out."""
    try:
        return b"".join(map(encode_fast, batch))
    except (TypeError, ValueError):
        return b"".join(map(_encoded_or_named, batch))


def _encoded_or_named(event: Event) -> bytes:
    try:
        return encode_fast(event)
    except (TypeError, ValueError) as error:
        text = f"an event {type(event).__name__} could not be shown ({type(error).__name__})"
        return encode_fast(Log(time.time(), getattr(event, "socket", 0), "station", "error", text))


def encode_fast(event: Event) -> bytes:
    """``protocol.encode``, with a short cut for log lines, of which there may be very many."""
    if type(event) is Log:
        source, level, text = _quoted(event.source), _quoted(event.level), _quoted(event.text)
        head = f'{{"type":"Log","time":{event.time!r},"socket":{event.socket},"source":{source}'
        return f'{head},"level":{level},"text":{text}}}\n'.encode()
    return encode(event)
