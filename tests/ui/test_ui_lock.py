"""Locking: the sign-in form is there at once, and no readable field can take a PIN."""

from __future__ import annotations

from dataclasses import replace

import ui_samples as s
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from ui_desk import Desk

from station.protocol import SignedIn, SignOut, Stop
from ui.bench_view import BenchView
from ui.engineer_menu import EngineerMenu
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


def visible_text(window):
    """Every text that the log card shows."""
    card = window.operate.log
    words = [label.text() for label in card.findChildren(QLabel) if label.isVisible()]
    model = card.table.model()
    shown = range(model.rowCount()) if card.table.isVisible() else ()
    return " ".join([*words, *(str(model.index(row, 3).data()) for row in shown)])


def test_a_locked_window_shows_states_but_no_log(desk):
    desk.feed(*s.bench())
    log = desk.window.operate.log
    log.flush()
    assert "intent stored" in visible_text(desk.window) and log.search.isVisible()
    desk.feed(SignedIn(""), replace(s.LOGS[0], text="a line that came while nobody was there"))
    log.flush()
    assert not (log.table.isVisible() or log.search.isVisible() or log.pause.isVisible() or log.details.isVisible())
    assert visible_text(desk.window) == "Log Sign in to see the log."
    assert desk.tile(1).word.text() == "DO NOT REMOVE" and desk.tile(1).isVisible()
    desk.feed(replace(s.FAIL, epoch=99), SignedIn("", failed="name or PIN is wrong"))
    assert not log.table.isVisible() and desk.tile(4).word.text() == "✖ FAIL  bin 7"
    desk.feed(s.OPERATOR)
    assert "while nobody was there" in visible_text(desk.window) and log.search.isVisible()


def test_a_window_is_locked_from_the_start_and_a_recording_never(qtbot, styled, clock):
    desk = Desk(qtbot, clock)
    desk.feed(s.hello(), SignedIn(""))
    assert not desk.window.operate.log.table.isVisible()
    replay = Desk(qtbot, clock, replay=True)
    replay.feed(*s.bench(), SignedIn(""))
    assert replay.window.operate.log.table.isVisible()


def test_lock_closes_every_page_with_records(desk):
    desk.feed(*s.bench())
    for query in ("history", "bench", "yield"):
        desk.window._show_query(query, query)
    desk.window._show_part("P1")
    desk.window._show_run_of(1)
    desk.window._release("P1", "lid opened", desk.window._dialogs[3])
    assert len(desk.window._dialogs) == 6
    desk.feed(SignedIn(""))
    assert desk.window._dialogs == []
    menu = EngineerMenu(desk.window.view, desk.window.settings, desk.window)
    assert [a.text() for a in menu.actions() if a.text()] == ["Stop all sockets", "Text size", "Theme"]


def test_stop_is_there_for_anybody(desk, qtbot):
    running = replace(s.RUNNING, socket=1)
    desk.feed(*s.bench(states=[running]), SignedIn(""))
    qtbot.mouseClick(desk.tile(1).stop, Qt.MouseButton.LeftButton)
    assert desk.link.sent == [Stop(1, running.epoch)]


def test_a_part_in_a_socket_comes_before_an_empty_socket(qtbot, styled, clock):
    view = BenchView()
    events = s.bench(
        mode="virtual", states=[replace(s.INSERT, socket=1, since=1.0), replace(s.READY, socket=2, since=5.0)]
    )
    for event in events:
        view.apply(event)
    assert primary(view).socket == 2
