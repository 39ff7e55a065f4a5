"""Locking: the sign-in form is there at once, and no readable field can take a PIN."""

from __future__ import annotations

from dataclasses import replace

import ui_samples as s
from PySide6.QtCore import Qt
from test_ui_window import Desk

from station.protocol import SignOut
from ui.bench_view import BenchView
from ui.primary import primary


def test_lock_opens_the_sign_in_form_and_forgets_the_search(qtbot, styled, clock):
    desk = Desk(qtbot, clock)
    desk.feed(*s.bench())
    log = desk.window.operate.log
    log.search.setText("246810")
    desk.window._lock()
    assert any(isinstance(command, SignOut) for command in desk.link.sent)
    assert desk.window.sign_in.isVisible()
    assert log.search.text() == "" and not log.search.hasFocus()
    assert log.search.focusPolicy() == Qt.FocusPolicy.ClickFocus
    desk.window.sign_in.close()
    desk.window.leave()


def test_a_part_in_a_socket_comes_before_an_empty_socket(qtbot, styled, clock):
    view = BenchView()
    events = s.bench(
        mode="virtual", states=[replace(s.INSERT, socket=1, since=1.0), replace(s.READY, socket=2, since=5.0)]
    )
    for event in events:
        view.apply(event)
    assert primary(view).socket == 2
