"""Keys of the whole application: scanner bursts, the primary key, and everything else to where it belongs.

A keyboard-wedge scanner types a label within milliseconds and ends with Enter. Printable keys are therefore held for
a moment: when Enter follows fast enough they are a scan and reach no field; when it does not, they are typed after all.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication, QComboBox, QLineEdit, QPlainTextEdit, QTextEdit, QWidget
from shiboken6 import isValid

FASTEST_HAND = 0.035  # seconds between two keys: a hand is slower, a scanner faster
SHORTEST_SCAN = 4
LONGEST_SCAN = 4096
AFTER_TYPING = 0.5  # seconds after a typed key in which Space and Enter belong to a slow scanner, not to the operator
ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class KeyFilter(QObject):
    """Event filter of the application; emits whole scans and presses of the primary key."""

    scanned = Signal(str)
    primary_pressed = Signal()

    def __init__(
        self,
        primary_keys: tuple[int, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._primary_keys = {int(Qt.Key.Key_Space), *map(int, ENTER), *primary_keys}
        self._clock = clock
        self._held: list[tuple[QWidget, QKeyEvent]] = []
        self._last = 0.0
        self._typed = -AFTER_TYPING
        self._releasing = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(round(FASTEST_HAND * 1000) + 5)
        self._timer.timeout.connect(self.release)

    def eventFilter(self, target: QObject, event: QEvent) -> bool:  # noqa: N802
        """Take key presses of widgets; True means that the key goes nowhere else."""
        if event.type() != QEvent.Type.KeyPress or self._releasing or not isinstance(target, QWidget):
            return False
        if not isinstance(event, QKeyEvent):
            return False
        return self._key(target, event)

    def _key(self, target: QWidget, event: QKeyEvent) -> bool:
        stamp = event.timestamp() / 1000 if event.timestamp() else self._clock()
        in_burst = bool(self._held) and stamp - self._last <= FASTEST_HAND
        if self._held and not in_burst:
            self.release()
        if event.key() in ENTER and in_burst:
            return self._end_of_burst(target)
        if _printable(event) and (in_burst or event.key() not in self._primary_keys):
            return self._hold(target, event, stamp)
        if in_burst and event.key() == Qt.Key.Key_Shift:
            self._last = stamp
            return True
        self.release()
        return self._primary(target, event, stamp)

    def _end_of_burst(self, target: QWidget) -> bool:
        """Enter right behind typed keys: a scan when it is long enough, and in no case the primary key."""
        if len(self._held) >= SHORTEST_SCAN:
            self._scan()
            return True
        self.release()
        return not _takes_text(target)

    def _hold(self, target: QWidget, event: QKeyEvent, stamp: float) -> bool:
        if event.isAutoRepeat():
            self.release()
            return False
        self._held.append((target, QKeyEvent(event.type(), event.key(), event.modifiers(), event.text())))
        self._last = self._typed = stamp
        self._timer.start()
        if len(self._held) > LONGEST_SCAN:
            self._held.clear()
        return True

    def _scan(self) -> None:
        text = "".join(key.text() for _, key in self._held)
        self._forget()
        self.scanned.emit(text)

    @Slot()
    def release(self) -> None:
        """What was held is no scan: give it to where it was typed."""
        held = list(self._held)
        self._forget()
        self._releasing = True
        try:
            for target, key in held:
                if isValid(target):
                    QApplication.sendEvent(target, key)
        finally:
            self._releasing = False

    def _forget(self) -> None:
        self._held.clear()
        self._timer.stop()

    def _primary(self, target: QWidget, event: QKeyEvent, stamp: float) -> bool:
        plain = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier == Qt.KeyboardModifier.NoModifier
        if event.key() not in self._primary_keys or not plain:
            return False
        if QApplication.activeModalWidget() or QApplication.activePopupWidget() or _takes_text(target):
            return False
        if not target.window().property("operates"):
            return False
        if not event.isAutoRepeat() and stamp - self._typed >= AFTER_TYPING:
            self.primary_pressed.emit()
        return True


def _printable(event: QKeyEvent) -> bool:
    text = event.text()
    special = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier
    # GS (0x1d) separates the fields of MH10.8 labels.
    return len(text) == 1 and (text.isprintable() or text == "\x1d") and not event.modifiers() & special


def _takes_text(target: QWidget) -> bool:
    return isinstance(target, (QLineEdit, QPlainTextEdit, QTextEdit, QComboBox))
