"""The engine ends or the window is closed; and a recording that is replayed."""

import ui_samples as s
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QPushButton
from ui_desk import Desk

from station.protocol import (
    Ended,
    Shutdown,
)


def test_engine_death_reaches_every_tile_and_can_be_started_again(desk):
    desk.feed(*s.bench())
    desk.link.live = False
    desk.window._engine_ended("Exit code 70: boom")
    assert {tile.word.text() for tile in desk.window.operate.tiles.values()} == {"ENGINE STOPPED"}
    assert "seeds are being written" in desk.tile(1).words.reason and desk.banner.hint.text() == "Exit code 70: boom"
    assert not desk.tile(1).stop.isVisible()
    desk.clock.pass_(1)
    desk.key()
    assert desk.link.starts == 1 and desk.banner.sentence.text() == "The engine is starting"
    assert desk.tile(1).word.text() == "ENGINE STOPPED"
    desk.feed(s.hello(), s.OPERATOR)
    assert desk.tile(1).word.text() == "…"
    desk.feed(*s.bench())
    assert desk.tile(1).word.text() == "DO NOT REMOVE"


def test_farewell_of_the_engine_is_what_is_shown(desk):
    desk.feed(*s.bench(), Ended("The journal is closed."))
    desk.window._engine_ended("The engine ended with exit code 0.")
    assert desk.banner.hint.text() == "The journal is closed."


def test_a_window_that_gets_no_engine_says_why_and_may_try_again(desk):
    desk.feed(Ended("the engine (process 7) is finishing socket 2; wait until it has ended, then start again"))
    desk.link.live = False
    desk.window._engine_ended("Exit code 2")
    assert "finishing socket 2" in desk.banner.hint.text() and "no engine" in desk.banner.sentence.text()
    assert desk.tile(1).word.text() == "ENGINE STOPPED" and "Leave the part" in desk.tile(1).lead.text()
    desk.clock.pass_(1)
    desk.key()
    assert desk.link.starts == 1


def boxes(window):
    return [box for box in window.findChildren(QMessageBox, "ask_to_wait") if box.isVisible()]


def test_closing_during_a_burn_asks_to_wait(desk, qtbot):
    desk.feed(*s.bench())
    assert not desk.window.close() and desk.window.isVisible()
    (box,) = boxes(desk.window)
    assert "Socket 1 is being written" in box.text() and box.defaultButton().text() == "Wait"
    qtbot.mouseClick(box.defaultButton(), Qt.MouseButton.LeftButton)
    assert desk.window.isVisible() and desk.link.sent == []


def test_finish_then_close_waits_for_the_engine(desk, qtbot):
    desk.feed(*s.bench())
    desk.window.close()
    finish = next(b for b in boxes(desk.window)[0].findChildren(QPushButton) if b.text() == "Finish, then close")
    qtbot.mouseClick(finish, Qt.MouseButton.LeftButton)
    assert desk.link.sent == [Shutdown()] and desk.window.isVisible()
    desk.link.live = False
    desk.window._engine_ended("The engine ended with exit code 0.")
    assert not desk.window.isVisible()


def test_closing_an_idle_bench_ends_the_engine_orderly(desk):
    desk.feed(*s.bench(states=[s.INSERT]))
    assert desk.window.close()
    assert desk.link.sent == [Shutdown()] and desk.link.closed


def test_replay_shows_its_band_and_sends_nothing(qtbot, styled, clock):
    desk = Desk(qtbot, clock, replay=True)
    desk.feed(*s.bench(states=[s.READY]))
    assert "REPLAY" in desk.window.operate.band.text()
    desk.clock.pass_(1)
    desk.key()
    desk.scan("ABCDEF")
    assert desk.link.sent == [] and "recording" in desk.banner.hint.text()
    desk.window._engine_ended("End of file.jsonl.")
    assert "ended" in desk.banner.sentence.text()
    assert desk.window.close() and desk.link.sent == []
