"""Scans never reach a field, hands always do."""

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication, QLineEdit, QPushButton, QVBoxLayout, QWidget

from ui.scanner import FASTEST_HAND, KeyFilter

FAST, SLOW = FASTEST_HAND / 4, FASTEST_HAND * 4


class Bench:
    def __init__(self, qtbot, clock):
        self.clock = clock
        self.window = QWidget()
        self.window.setProperty("operates", True)
        qtbot.addWidget(self.window)
        layout = QVBoxLayout(self.window)
        self.field, self.button = QLineEdit(), QPushButton("Stop")
        layout.addWidget(self.field)
        layout.addWidget(self.button)
        self.keys = KeyFilter(clock=clock, parent=self.window)
        self.scans, self.presses = [], []
        self.keys.scanned.connect(self.scans.append)
        self.keys.primary_pressed.connect(self._press)
        QApplication.instance().installEventFilter(self.keys)

    def _press(self):
        self.presses.append(self.clock.now)

    def key(self, target, text="", key=None, repeat=False):
        code = key or Qt.Key(ord(text.upper()))
        event = QKeyEvent(QEvent.Type.KeyPress, code, Qt.KeyboardModifier.NoModifier, text, repeat)
        QApplication.sendEvent(target, event)

    def type(self, target, text, gap):
        for letter in text:
            self.clock.pass_(gap)
            if letter == "\n":
                self.key(target, "\r", Qt.Key.Key_Return)
            else:
                self.key(target, letter)


@pytest.fixture
def bench(qtbot, styled, clock):
    made = Bench(qtbot, clock)
    yield made
    QApplication.instance().removeEventFilter(made.keys)


@pytest.mark.parametrize("target", ["field", "button", "window"])
def test_a_burst_is_a_scan_and_reaches_no_field(bench, target):
    bench.type(getattr(bench, target), "1TL24 0117\n", FAST)
    assert bench.scans == ["1TL24 0117"] and bench.field.text() == "" and bench.presses == []


def test_hands_type_into_the_field(bench):
    bench.type(bench.field, "hello", SLOW)
    bench.keys.release()
    assert bench.field.text() == "hello" and bench.scans == []


def test_held_keys_are_released_by_the_timer(bench, qtbot):
    bench.key(bench.field, "x")
    assert bench.field.text() == ""
    qtbot.waitUntil(lambda: bench.field.text() == "x", timeout=2000)


def test_a_fast_pair_of_keys_is_not_lost(bench):
    bench.type(bench.field, "ab", FAST)
    bench.type(bench.field, "c", SLOW)
    bench.keys.release()
    assert bench.field.text() == "abc" and bench.scans == []


@pytest.mark.parametrize("key", [Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter])
def test_primary_keys_press_even_on_a_focused_button(bench, key):
    clicked = []
    bench.button.clicked.connect(lambda: clicked.append(1))
    bench.key(bench.button, " " if key == Qt.Key.Key_Space else "\r", key)
    assert len(bench.presses) == 1 and clicked == []


def test_auto_repeat_is_no_press(bench):
    bench.key(bench.window, " ", Qt.Key.Key_Space, repeat=True)
    assert bench.presses == []


def test_space_in_a_field_is_a_space(bench):
    bench.key(bench.field, " ", Qt.Key.Key_Space)
    assert bench.presses == [] and bench.field.text() == " "


def test_a_short_burst_is_neither_scan_nor_press(bench):
    bench.type(bench.window, "ab\n", FAST)
    assert bench.scans == [] and bench.presses == []


def test_a_slow_scanner_does_not_press_the_primary_key(bench):
    bench.type(bench.window, "LOT 24\n", SLOW)
    assert bench.scans == [] and bench.presses == []
    bench.clock.pass_(1.0)
    bench.key(bench.window, " ", Qt.Key.Key_Space)
    assert len(bench.presses) == 1


def test_keys_with_modifiers_pass(bench):
    event = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Space, Qt.KeyboardModifier.ControlModifier, " ")
    QApplication.sendEvent(bench.window, event)
    assert bench.presses == []


def test_a_window_that_does_not_operate_has_no_primary_key(bench, qtbot):
    other = QWidget()
    qtbot.addWidget(other)
    bench.key(other, " ", Qt.Key.Key_Space)
    assert bench.presses == []


def test_field_separators_of_mh10_labels_stay_in_the_scan(bench):
    for text in "1TA":
        bench.clock.pass_(FAST)
        bench.key(bench.window, text)
    bench.clock.pass_(FAST)
    bench.key(bench.window, "\x1d", Qt.Key.Key_BracketRight)
    bench.type(bench.window, "S7\n", FAST)
    assert bench.scans == ["1TA\x1dS7"]
