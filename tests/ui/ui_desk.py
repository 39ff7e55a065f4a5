"""A window with a link that keeps what it is to send, and a clock that stands still."""

from dataclasses import astuple

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication

from station.protocol import (
    Log,
)
from ui.engine_link import EngineLink
from ui.event_lines import LogLines
from ui.settings import WindowSettings
from ui.window import StationWindow


class FakeLink(EngineLink):
    """A link that keeps what it is to send."""

    def __init__(self):
        super().__init__(lambda: None)
        self.sent, self.live, self.closed, self.starts = [], True, False, 0

    @property
    def alive(self):
        return self.live

    def send(self, command):
        if self.live:
            self.sent.append(command)
        return self.live

    def start(self):
        self.starts += 1
        self.live = True

    def close(self):
        self.closed = True


class Desk:
    """A window with its link and clock."""

    def __init__(self, qtbot, clock, **options):
        self.clock, self.link = clock, FakeLink()
        self.window = StationWindow(self.link, WindowSettings(theme="light"), clock=clock, **options)
        qtbot.addWidget(self.window, before_close_func=self._abandon)
        self.window.resize(1600, 1000)
        self.window.show()

    def _abandon(self, window):
        window.view.sockets.clear()
        window.leave()

    def feed(self, *events):
        for event in events:
            self.window.take([LogLines([astuple(event)]) if isinstance(event, Log) else event])
        self.window.refresh()
        return self

    def key(self, key=Qt.Key.Key_Space, text=" ", repeat=False):
        event = QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier, text, repeat)
        QApplication.sendEvent(self.window, event)

    def scan(self, text):
        for letter in text:
            self.clock.pass_(0.002)
            self.key(Qt.Key(ord(letter.upper())), letter)
        self.clock.pass_(0.002)
        self.key(Qt.Key.Key_Return, "\r")

    @property
    def banner(self):
        return self.window.operate.banner

    def tile(self, number):
        return self.window.operate.tiles[number]


def shown_dialog(window, kind):
    (dialog,) = [d for d in window.findChildren(kind) if d.isVisible()]
    return dialog
