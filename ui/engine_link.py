"""The window's end of the engine: one reader thread, batches to a slot of the GUI thread, commands the other way."""

from __future__ import annotations

import threading
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal, Slot

from station.protocol import Command, SignIn, encode, encode_credential
from ui.event_lines import EventParser, Item, LogLines
from ui.sources import Recorder, Source

MOST_WAITING = 50_000  # items the reader may be ahead of the window before it lets the engine feel it


class Mailbox:
    """What the reader has read and the window has not taken; the reader waits while it is full."""

    def __init__(self, limit: int = MOST_WAITING) -> None:
        self._limit = limit
        self._items: list[Item] = []
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, items: list[Item]) -> bool:
        """Add items, waiting for room; True when the window has to be woken."""
        with self._changed:
            self._changed.wait_for(lambda: self._weight < self._limit or self._closed)
            first = not self._items
            self._items += items
            self._weight += sum(len(item.rows) if isinstance(item, LogLines) else 1 for item in items)
            return first and bool(items)

    def take(self) -> list[Item]:
        """Everything that waits."""
        with self._changed:
            items, self._items, self._weight = self._items, [], 0
            self._changed.notify_all()
            return items

    def close(self) -> None:
        """Let the reader go on for ever: nobody takes anything out any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class EngineLink(QObject):
    """Starts a source, hands its events over in the GUI thread and sends commands; never ends the engine."""

    received = Signal(object)  # list of Item, in the GUI thread
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
        self._generation = 0
        # Both receivers are bound methods of a QObject of the GUI thread: anything else would run in the reader thread.
        self._woken.connect(self._deliver)
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
        try:
            self._source = self._start()
        except OSError as error:
            sentence = self.tr("The engine could not be started: {error}").format(error=error)
            self._finished.emit(self._generation, sentence)
            return
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
        parser = EventParser()
        while chunk := source.read():
            if self._recorder is not None:
                self._recorder.write(chunk)
            if self._mailbox.put(parser.feed(chunk)):
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
    def _deliver(self) -> None:
        items = self._mailbox.take()
        if items:
            self.received.emit(items)

    @Slot(int, str)
    def _finish(self, generation: int, sentence: str) -> None:
        self._deliver()
        if generation == self._generation:
            self._source = None
            self.ended.emit(sentence)
