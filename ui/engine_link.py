"""The window's end of the engine: one thread reads bytes, the GUI thread takes events, commands go the other way.

Bytes become events in the GUI thread, for a few milliseconds in each turn of its loop. In the reader thread that work
would take longer, not less: both threads share one interpreter lock, and every cell that is painted would wait for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from station.protocol import Command, SignIn, encode, encode_credential
from ui.event_lines import EventParser, Item
from ui.sources import Recorder, Source

MOST_WAITING = 8 << 20  # bytes the reader may be ahead of the window before it lets the engine feel it
TURN_SECONDS = 0.004  # what the events of one turn may take; a frame has 16 ms


class Mailbox:
    """What the reader has read and the window has not taken; the reader waits while it is full."""

    def __init__(self, limit: int = MOST_WAITING) -> None:
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, chunk: bytes) -> bool:
        """Add bytes, waiting for room; True when the window has to be woken."""
        with self._changed:
            self._changed.wait_for(lambda: self._weight < self._limit or self._closed)
            if self._closed:
                return False
            self._chunks.append(chunk)
            self._weight += len(chunk)
            return len(self._chunks) == 1

    def take(self) -> bytes:
        """The oldest chunk; nothing when nothing waits."""
        with self._changed:
            chunk = self._chunks.popleft() if self._chunks else b""
            self._weight -= len(chunk)
            self._changed.notify()
            return chunk

    def __len__(self) -> int:
        """How many chunks wait."""
        return len(self._chunks)

    def close(self) -> None:
        """Let the reader go on for ever: nobody takes anything out any more, and what still comes is left out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class EngineLink(QObject):
    """Starts a source, hands its events over in the GUI thread and sends commands; never ends the engine."""

    received = Signal(object)  # list of Item, in the GUI thread, once in a turn of its loop
    ended = Signal(str)  # how the engine ended, in the GUI thread
    _woken = Signal()  # from the reader thread
    _finished = Signal(int, str)  # from the reader thread: which start it belongs to, and how it ended

    def __init__(
        self, start: Callable[[], Source], recorder: Recorder | None = None, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._start = start
        self._recorder = recorder
        self._source: Source | None = None
        self._thread: threading.Thread | None = None
        self._mailbox = Mailbox()
        self._parser = EventParser()
        self._generation = 0
        self._ending: str | None = None
        # Posted events are handled before timers for as long as they keep coming: a busy reader would stop the clocks.
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(self._deliver)
        # Both receivers are bound methods of a QObject of the GUI thread: anything else would run in the reader thread.
        self._woken.connect(self._next_turn)
        self._finished.connect(self._finish)

    @property
    def alive(self) -> bool:
        """True from start until the end of the stream has been reported."""
        return self._source is not None

    def start(self) -> None:
        """Start the source; one that cannot be started is reported like one that has ended."""
        if self._source is not None:
            return
        self._generation += 1
        self._ending = None
        try:
            self._source = self._start()
        except OSError as error:
            sentence = self.tr("The engine could not be started: {error}").format(error=error)
            self._finished.emit(self._generation, sentence)
            return
        self._parser = EventParser()
        self._thread = threading.Thread(
            target=self._read, args=(self._source, self._generation), name="engine-events", daemon=True
        )
        self._thread.start()

    def send(self, command: Command) -> bool:
        """Send one command; False when there is no engine to send it to. A PIN takes its own encoder."""
        if self._source is None:
            return False
        self._source.send(encode_credential(command) if isinstance(command, SignIn) else encode(command))
        return True

    def close(self) -> None:
        """End the commands and let go of the engine, which finishes by itself."""
        if self._source is not None:
            self._source.close()

    def join(self, seconds: float) -> bool:
        """Wait for the reader thread to see the end of the stream; for tests and orderly exits."""
        if self._thread is not None:
            self._mailbox.close()
            self._thread.join(seconds)
            return not self._thread.is_alive()
        return True

    def _read(self, source: Source, generation: int) -> None:
        while chunk := source.read():
            if self._recorder is not None:
                self._recorder.write(chunk)
            if self._mailbox.put(chunk):
                self._wake()
        sentence = source.outcome()
        try:
            self._finished.emit(generation, sentence)
        except RuntimeError:
            pass  # the window is already gone

    def _wake(self) -> None:
        try:
            self._woken.emit()
        except RuntimeError:
            pass  # the window is already gone; the engine is read to its end all the same

    @Slot()
    def _next_turn(self) -> None:
        if not self._turn.isActive():
            self._turn.start(0)

    @Slot()
    def _deliver(self) -> None:
        """Hand over what a turn has time for; the rest waits for the next turn, the end for the last."""
        items = self._read_for(TURN_SECONDS)
        if items:
            self.received.emit(items)
        if self._mailbox:
            self._next_turn()
        elif self._ending is not None:
            sentence, self._ending = self._ending, None
            self._source = None
            self.ended.emit(sentence)

    def _read_for(self, seconds: float) -> list[Item]:
        items: list[Item] = []
        end_at = time.perf_counter() + seconds
        while chunk := self._mailbox.take():
            items += self._parser.feed(chunk)
            if time.perf_counter() >= end_at:
                break
        return items

    @Slot(int, str)
    def _finish(self, generation: int, sentence: str) -> None:
        if generation == self._generation:
            self._ending = sentence
            self._next_turn()
