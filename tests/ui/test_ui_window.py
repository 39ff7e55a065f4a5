"""The whole window: events to screen, keys to commands, dialogs, closing."""

import sys
from dataclasses import astuple, replace

import pytest
import ui_samples as s
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication, QDialog, QMessageBox, QPushButton

from station.protocol import (
    Acknowledge,
    CommandRefused,
    Dropped,
    Ended,
    Handle,
    Latched,
    Log,
    Progress,
    Query,
    Release,
    Rows,
    Scan,
    ScanTaken,
    SelectRecipe,
    Shutdown,
    SignedIn,
    SignIn,
    SignOut,
    Start,
    Stop,
)
from ui.engine_link import EngineLink
from ui.engineer_menu import EngineerMenu
from ui.entry_dialogs import LabelDialog, RecipeDialog
from ui.event_lines import BadLine, LogLines
from ui.operate import columns_for
from ui.part_dialogs import PartDialog, ReleaseDialog
from ui.query_dialogs import BenchDialog, HistoryDialog
from ui.run_dialog import RunDialog
from ui.settings import WindowSettings, load
from ui.theme import LIGHT
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


@pytest.fixture
def desk(qtbot, styled, clock):
    return Desk(qtbot, clock)


def test_a_bench_is_shown_whole(desk):
    desk.feed(*s.bench())
    screen = desk.window.operate
    assert [screen.tiles[n].word.text() for n in (1, 2, 3, 4)] == [
        "DO NOT REMOVE", "✔ PASS  bin 1", "INSERT PART", "✖ FAIL  bin 7"]  # fmt: skip
    header = screen.header
    values = [
        f.value.text() for f in (header.flow, header.sku, header.lot, header.wafer, header.operator, header.build)
    ]
    assert values == ["Final Test", "sival", "L24-0117", "T12", "op-117", "rev 12 · 0.1.0+g1a2b3c4"]
    assert "pa-1" in header.pill.text() and header.pill.text().startswith("✔")
    assert screen.lot.number.text() == "95.0 %" and screen.lot.left.value.text() == "460"
    assert len(screen.bins.rows.bins) == 5 and len(screen.map.map.cells) == 50
    assert not screen.band.isVisible()


@pytest.mark.parametrize(("sockets", "columns"), [(1, 1), (2, 2), (4, 2), (8, 4)])
def test_layouts(desk, sockets, columns):
    desk.feed(*s.bench(sockets, states=[replace(s.INSERT, socket=n + 1) for n in range(sockets)]))
    QApplication.processEvents()
    tiles = list(desk.window.operate.tiles.values())
    assert len(tiles) == sockets and columns_for(sockets) == columns
    assert len({tile.x() for tile in tiles}) == columns
    assert max(t.width() for t in tiles) - min(t.width() for t in tiles) <= 2
    assert desk.window.width() == 1600 and desk.banner.button.height() >= 64 and desk.banner.sentence.pixel_size() == 30
    if sockets == 4:
        assert tiles[0].word.pixel_size() >= 50


def test_an_appliance_that_was_not_asked_yet_is_no_alarm(desk):
    desk.feed(*s.bench(), replace(s.APPLIANCE, ok=False, text="not checked yet", checked=False))
    pill = desk.window.operate.header.pill
    assert pill.text().startswith("…") and LIGHT.role("hold").ink in pill.styleSheet()
    desk.feed(replace(s.APPLIANCE, ok=False, text="nobody answers"))
    assert pill.text().startswith("✖") and LIGHT.role("fail").ink in pill.styleSheet()


def test_the_log_shows_whole_lines(desk, qtbot):
    desk.feed(*s.bench())
    table = desk.window.operate.log.table
    for height in (200, 211, 223):
        table.setFixedHeight(height)
        QApplication.processEvents()
        assert table.viewport().height() % table.verticalHeader().defaultSectionSize() == 0


def test_mode_bands_are_permanent(desk):
    for mode in ("virtual", "engineering", "training"):
        desk.feed(s.hello(mode=mode))
        assert desk.window.operate.band.isVisible() and mode.upper() in desk.window.operate.band.text()


def test_space_starts_the_socket_on_the_screen_after_400_ms(desk):
    desk.feed(*s.bench(states=[s.READY]))
    desk.clock.pass_(0.39)
    desk.key()
    assert desk.link.sent == []
    desk.clock.pass_(0.02)
    desk.key(repeat=True)
    assert desk.link.sent == []
    desk.key()
    assert desk.link.sent == [Start(3, 12)]


def test_a_press_meant_for_one_socket_never_starts_another(desk):
    desk.feed(*s.bench(states=[s.READY]))
    desk.clock.pass_(1)
    other = replace(s.READY, socket=1, epoch=77, since=1.0)
    desk.feed(other)
    desk.key()
    assert desk.link.sent == []
    desk.clock.pass_(0.5)
    desk.key(Qt.Key.Key_Return, "\r")
    assert desk.link.sent == [Start(1, 77)]


def test_a_state_that_is_not_on_the_screen_yet_is_not_what_a_press_means(desk):
    desk.feed(*s.bench(states=[s.READY]))
    desk.clock.pass_(1)
    desk.window.take([replace(s.READY, epoch=13)])
    desk.key()
    assert desk.link.sent == [Start(3, 12)]  # the engine refuses the old epoch


def test_the_button_is_the_key(desk, qtbot):
    desk.feed(*s.bench(states=[s.FAIL]))
    qtbot.mouseClick(desk.banner.button, Qt.MouseButton.LeftButton)
    assert desk.link.sent == []
    desk.clock.pass_(1)
    qtbot.mouseClick(desk.banner.button, Qt.MouseButton.LeftButton)
    assert desk.link.sent == [Acknowledge(4, 40)]


def test_virtual_round_by_space_alone(desk):
    read = replace(s.FAIL, needs_acknowledge=False, epoch=44)
    for states, command in (
        ([replace(s.INSERT, epoch=1)], Handle(3, "insert")),
        ([replace(s.READY, epoch=2)], Start(3, 2)),
        ([replace(s.FAIL, socket=3, epoch=3)], Acknowledge(3, 3)),
        ([replace(read, socket=3)], Handle(3, "remove")),
    ):
        desk.feed(*s.bench(mode="virtual", states=states))
        desk.clock.pass_(1)
        desk.key()
        assert desk.link.sent.pop() == command
        assert desk.link.sent == []


def test_scans_go_to_the_engine_and_never_act(desk):
    desk.feed(*s.bench(states=[s.READY]))
    desk.clock.pass_(1)
    desk.scan("LOT24-0117")
    assert desk.link.sent == [Scan("LOT24-0117")]
    desk.feed(ScanTaken("LOT24-0117", "lot", 0, "That is the lot label; scan the part"))
    assert "That is the lot label" in desk.banner.hint.text()


def test_refusals_are_shown_with_their_socket(desk):
    desk.feed(*s.bench(), CommandRefused("Start", 3, "the screen was older than the socket"))
    assert desk.banner.hint.text() == "⚠ Socket 3: the screen was older than the socket"
    desk.banner._end_notice()
    assert "older" not in desk.banner.hint.text()


def test_sign_in_by_key_and_badge_leaves_nothing_behind(desk, qtbot):
    desk.feed(s.hello(), SignedIn(""))
    desk.clock.pass_(1)
    desk.key()
    dialog = desk.window.sign_in
    assert dialog.isVisible()
    dialog.take_scan("op-117")
    dialog.pin.setText("4711")
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    command = desk.link.sent.pop()
    assert isinstance(command, SignIn) and command.operator == "op-117" and "4711" not in repr(command)
    assert dialog.pin.text() == "" and not dialog.button.isEnabled()
    desk.feed(SignedIn("", failed="wrong PIN"))
    assert dialog.isVisible() and dialog.message.text() == "wrong PIN"
    desk.feed(SignedIn("op-117", "operator"))
    assert not dialog.isVisible() and dialog.name.text() == ""
    desk.window.operate.log.search.setText("op-117")
    qtbot.mouseClick(desk.window.operate.header.lock_button, Qt.MouseButton.LeftButton)
    assert desk.link.sent == [SignOut()] and dialog.isVisible()  # whoever comes next types a PIN into nothing else
    assert desk.window.operate.log.search.text() == ""
    dialog.reject()


def test_a_scanned_badge_opens_the_sign_in_and_proves_nothing(desk):
    desk.feed(s.hello(), SignedIn(""))
    desk.window._scanned("OP:op-117")
    assert desk.window.sign_in.isVisible() and desk.window.sign_in.name.text() == "op-117" and desk.link.sent == []
    desk.window.sign_in.reject()


def test_a_latched_journal_outlasts_a_change_of_recipe(desk):
    desk.feed(*s.bench(), Latched("The disk is full."), s.hello(recipe_title="Chip Probe"))
    assert desk.tile(2).word.text() == "DO NOT REMOVE"


def test_sign_in_asks_for_what_is_missing(desk, qtbot):
    dialog = desk.window.sign_in
    dialog.open()
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    dialog.name.setText("anna")
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    assert desk.link.sent == [] and dialog.isVisible()
    dialog.reject()
    assert dialog.name.text() == ""


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


def test_latched_journal_blinks_and_stops_blinking(desk):
    desk.feed(*s.bench(), Latched("The disk is full."))
    assert desk.window._blink_timer.isActive() and desk.tile(2).word.text() == "DO NOT REMOVE"
    desk.window._engine_ended("Exit code 5")
    desk.feed(*s.bench())
    assert not desk.window._blink_timer.isActive()


def test_nothing_blinks_without_an_alarm(desk):
    desk.feed(*s.bench())
    assert not desk.window._blink_timer.isActive()
    desk.feed(s.QUARANTINE)
    assert desk.window._blink_timer.isActive()
    desk.feed(replace(s.QUARANTINE, needs_acknowledge=False))
    assert not desk.window._blink_timer.isActive()


def test_a_window_that_gets_no_engine_says_why_and_may_try_again(desk):
    desk.feed(Ended("the engine (process 7) is finishing socket 2; wait until it has ended, then start again"))
    desk.link.live = False
    desk.window._engine_ended("Exit code 2")
    assert "finishing socket 2" in desk.banner.hint.text() and "no engine" in desk.banner.sentence.text()
    assert desk.tile(1).word.text() == "ENGINE STOPPED" and "Leave the part" in desk.tile(1).lead.text()
    desk.clock.pass_(1)
    desk.key()
    assert desk.link.starts == 1


def test_a_lot_without_a_verdict_claims_nothing(desk):
    empty = replace(
        s.LOT, passed=0, failed=0, held=0, quarantined=0, first_pass_yield=0.0, units_per_hour=0.0, to_go=-1,
        yield_line=(), cells=(), bins=(),
    )  # fmt: skip
    desk.feed(*s.bench(), empty)
    lot = desk.window.operate.lot
    assert lot.number.text() == "–" and lot.rate.value.text() == "–" and lot.left.isHidden()
    assert not lot.plot.getAxis("left").isVisible() and not lot.plot.limit.isVisible()
    desk.feed(s.LOT)
    assert lot.number.text() == "95.0 %" and lot.left.isVisible() and lot.plot.getAxis("left").isVisible()


def test_progress_moves_the_bar(desk):
    desk.feed(*s.bench(), Progress(1, 77, 9.9))
    assert (
        desk.tile(1).bar.percent == 77
        and "77 %" in desk.tile(1).band.text()
        and desk.tile(1).clock.text().startswith("9.9")
    )


def test_repainting_is_bounded(desk, qtbot, monkeypatch):
    desk.feed(*s.bench())
    shown = []
    monkeypatch.setattr(desk.window.operate, "show_view", shown.append)
    for percent in range(300):
        desk.window.take([Progress(1, percent % 100, 1.0)])
    qtbot.waitUntil(lambda: shown != [], timeout=2000)
    assert len(shown) <= 3


def test_bad_and_dropped_lines_are_visible(desk):
    desk.feed(*s.bench(), BadLine("expected JSON"), Dropped(12))
    desk.window.operate.log.flush()
    assert desk.window.log_model.rows[-1][4] == "expected JSON"
    assert desk.window.operate.log.note.text() == "12 lines dropped"


def test_newer_engine_is_announced(desk):
    desk.feed(replace(s.hello(), schema=99))
    assert "99" in desk.banner.hint.text()


# ---- closing --------------------------------------------------------------------------------------------------------


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


# ---- replay ---------------------------------------------------------------------------------------------------------


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


# ---- engineer -------------------------------------------------------------------------------------------------------


def shown_dialog(window, kind):
    (dialog,) = [d for d in window.findChildren(kind) if d.isVisible()]
    return dialog


COLUMNS = ("run", "time", "label", "seconds")
RUN = (
    *(("run", name, value, "") for name, value in (
        ("run", 17), ("time", 1_700_000_000.0), ("socket", 2), ("label", "P1"), ("device_id", "0a0b"),
        ("kind", "quarantine"), ("bin", 99), ("tray", "Q"), ("reason", "the power failed"), ("seconds", 2.5))),
    ("step", "unlock", 0.4, "done"),
    ("step", "personalize", 0.2, "failed"),
    ("measurement", "transitions left", 22.0, "[2 … ] inside"),
    ("burn", "unlock", 0.4, "intent recorded: Test unlock"),
    ("burn", "unlock", 0.5, "read back: done"),
    ("failure", "personalize", 1.0, "the power failed"),
    ("appliance", "EndorseCerts", 6.1, "UDS [675 bytes] → UDS [765 bytes]"),
    ("kept", "rma_token_hash", 16, "bytes, bytes"),
    ("verdict", "quarantine", 2.5, "bin 99 quarantine → Q"),
)  # fmt: skip


def test_history_finds_and_opens_a_run(desk, qtbot):
    desk.feed(*s.bench())
    desk.window._show_query("history", "History")
    history = shown_dialog(desk.window, HistoryDialog)
    query = desk.link.sent[-1]
    assert query == Query("history", query.request, {"limit": "1500"})
    rows = ((1, 1_700_000_000.0, "041", 12.5), (2, 0.0, None, 3.0), (3, 0.0, "P041", 3.0))
    desk.feed(Rows("history", query.request - 1, COLUMNS, rows))
    assert history.model.rowCount() == 0
    desk.feed(Rows("history", query.request, COLUMNS, rows))
    assert history.model.rowCount() == 3 and history.model.data(history.model.index(0, 3)) == "12.5"
    assert history.model.data(history.model.index(0, 1)).startswith("2023-11-1")
    header = history.table.horizontalHeader()
    assert [history.model.headerData(header.logicalIndex(i), Qt.Orientation.Horizontal, 0) for i in range(4)] == [
        "run", "time", "label", "seconds"]  # fmt: skip
    history.take_scan("p041")
    assert history.model.rowCount() == 1 and history.note.text() == "1 rows"
    history.table.doubleClicked.emit(history.model.index(0, 0))
    assert desk.link.sent[-1].query == "run" and desk.link.sent[-1].arguments == {"run": "3"}
    shown_dialog(desk.window, RunDialog).close()
    history.close()
    assert desk.window._dialogs == []


def test_enter_asks_the_whole_history_by_every_kind_of_name(desk):
    desk.feed(*s.bench())
    desk.window._show_query("history", "History")
    history = shown_dialog(desk.window, HistoryDialog)
    history.search.setText("L24")
    history._ask_by_name()
    asked = []
    for _ in range(3):
        query = desk.link.sent[-1]
        asked.append(next(iter(query.arguments)))
        desk.feed(Rows("history", query.request, COLUMNS, ()))
    assert asked == ["label", "device_id", "lot"]
    desk.feed(Rows("history", desk.link.sent[-1].request, COLUMNS, ((1, 0.0, "L24", 1.0),)))
    assert history.model.rowCount() == 1
    history.close()


def test_history_opens_the_chosen_run_or_its_part(desk):
    desk.feed(*s.bench())
    desk.window._show_query("history", "History")
    history = shown_dialog(desk.window, HistoryDialog)
    buttons = {button.text(): button for button in history.findChildren(QPushButton)}
    rows = ((1, 0.0, "041", 12.5), (2, 0.0, None, 3.0))
    desk.feed(Rows("history", desk.link.sent[-1].request, COLUMNS, rows))
    sent = len(desk.link.sent)
    buttons["Open the run"].click()
    assert len(desk.link.sent) == sent and "row" in history.note.text()
    history.table.selectRow(0)
    buttons["Open the run"].click()
    assert desk.link.sent[-1].arguments == {"run": "1"}
    buttons["Part…"].click()
    assert desk.link.sent[-1].arguments == {"part": "041"}
    history.table.selectRow(1)
    sent = len(desk.link.sent)
    buttons["Part…"].click()
    assert len(desk.link.sent) == sent
    for dialog in list(desk.window._dialogs):
        dialog.close()


def test_a_refused_query_says_why(desk):
    desk.feed(*s.bench())
    desk.window._show_query("operators", "Operators")
    (dialog,) = desk.window._dialogs
    desk.feed(CommandRefused("Query", 0, "there is no query 'operators'"))
    assert "no query" in dialog.note.text()
    dialog.close()


def test_figures_are_asked_for_one_mode(desk):
    desk.feed(*s.bench(mode="virtual"))
    desk.window._show_query("yield", "Yield")
    assert desk.link.sent[-1].arguments == {"mode": "virtual"}
    desk.window._show_query("step_times", "Step times")
    assert desk.link.sent[-1].arguments == {"mode": "virtual", "recipe": "sival-ft"}
    for dialog in list(desk.window._dialogs):
        dialog.close()


def test_run_of_a_socket_is_its_last_one(desk):
    desk.feed(*s.bench())
    desk.window._show_run_of(2)
    query = desk.link.sent[-1]
    assert query.query == "history" and query.arguments == {"socket": "2", "limit": "1"}
    desk.feed(Rows("history", query.request, COLUMNS, ((17, 0.0, "P1", 1.0),)))
    query = desk.link.sent[-1]
    assert query.query == "run" and query.arguments == {"run": "17"}
    log = Log(1_700_000_001.0, 2, "dut", "debug", "[67 characters]")
    late, other = replace(log, time=1_700_009_000.0), replace(log, socket=1)
    desk.feed(log, late, other, Log(1_700_000_000.5, 2, "dut", "info", "Waiting ..."))
    desk.window.operate.log.flush()
    desk.feed(Rows("run", query.request, ("what", "name", "value", "detail"), RUN))
    dialog = shown_dialog(desk.window, RunDialog)

    def cells(section):
        model = section.model
        return [
            tuple(model.data(model.index(r, c)) for c in range(model.columnCount())) for r in range(model.rowCount())
        ]

    assert cells(dialog.steps) == [("Test unlock", "0.400", "done"), ("Personalize", "0.200", "failed")]
    assert cells(dialog.burns) == [
        ("◆ Test unlock", "0.400", "intent recorded"),
        ("◆ Test unlock", "0.500", "read back: done"),
    ]
    assert cells(dialog.measurements) == [("transitions left", "22", "[2 … ] inside")]
    assert cells(dialog.appliance) == [("EndorseCerts", "6.1", "UDS [675 bytes] → UDS [765 bytes]")]
    assert cells(dialog.kept) == [("rma_token_hash", "16", "bytes, bytes")]
    assert [line for line in cells(dialog.console) if line[1] == "dut"] == [
        ("1.000", "dut", "[67 characters]"),
        ("0.500", "dut", "Waiting ..."),
    ]
    assert "QUARANTINE" in dialog.verdict.text() and "bin 99 → Q" in dialog.verdict.text()
    assert "device id: 0a0b" in dialog.facts.text()
    dialog.search.setText("endorse")
    assert [section.model.rowCount() for section in dialog.sections] == [0, 0, 0, 1, 0, 0, 0]
    dialog.part_button.click()
    assert desk.link.sent[-1] == Query("part", desk.link.sent[-1].request, {"part": "P1"})
    dialog.close()


def test_a_long_reason_does_not_widen_the_run_page(desk):
    desk.feed(*s.bench())
    desk.window._show_run("17")
    dialog = shown_dialog(desk.window, RunDialog)
    rows = [("run", "reason", "the appliance refused " * 30, ""), *(row for row in RUN if row[1] != "reason")]
    desk.feed(Rows("run", desk.link.sent[-1].request, ("what", "name", "value", "detail"), tuple(rows)))
    QApplication.processEvents()
    assert dialog.width() <= 1400 and dialog.minimumSizeHint().width() <= 1400
    dialog.close()


def test_a_socket_without_a_run_says_so(desk):
    desk.feed(*s.bench())
    desk.window._show_run_of(2)
    desk.feed(Rows("history", desk.link.sent[-1].request, COLUMNS, ()))
    dialog = shown_dialog(desk.window, RunDialog)
    assert "No run" in dialog.note.text()
    dialog.close()


def test_a_part_is_released_with_a_reason_only_when_the_engine_agrees(desk):
    desk.feed(*s.bench())
    desk.window._show_part("P1")
    part = shown_dialog(desk.window, PartDialog)
    quarantined = (("label", "part: P1"), ("quarantine", "lid opened during a burn"))
    assert not part.release.isEnabled()
    desk.feed(Rows("part", desk.link.sent[-1].request, ("name", "value"), quarantined))
    part.release.click()
    dialog = shown_dialog(desk.window, ReleaseDialog)
    assert not dialog.button.isEnabled()
    dialog.reason.setText("  x ")
    assert not dialog.button.isEnabled()
    dialog.reason.setText(" read back by hand ")
    dialog.button.click()
    command, query = desk.link.sent[-2:]
    assert command == Release("P1", "read back by hand") and query.query == "part"
    desk.feed(CommandRefused("Release", 0, "this needs the role supervisor; anna is operator"))
    desk.feed(Rows("part", query.request, ("name", "value"), quarantined))
    assert dialog.isVisible() and "supervisor" in dialog.message.text() and dialog.button.isEnabled()
    dialog.button.click()
    desk.feed(Rows("part", desk.link.sent[-1].request, ("name", "value"), (("label", "part: P1"), ("quarantine", ""))))
    assert not dialog.isVisible()
    desk.feed(Rows("part", desk.link.sent[-1].request, ("name", "value"), (("label", "part: P1"), ("quarantine", ""))))
    assert not part.release.isEnabled() and part.quarantine == ""
    part.close()
    assert desk.window._dialogs == []


def test_bench_page_has_hands_on_a_virtual_bench_only(desk, qtbot):
    desk.feed(*s.bench(mode="virtual"))
    desk.window._show_query("bench", "Bench")
    bench = shown_dialog(desk.window, BenchDialog)
    bench.socket.setCurrentIndex(1)
    bench.argument.setCurrentText("power_cut:inside:1")
    bench.handle()
    assert desk.link.sent[-1] == Handle(2, "fault", "power_cut:inside:1")
    bench.action.setCurrentText("Open lid")
    bench.handle()
    assert desk.link.sent[-1] == Handle(2, "lid", "open")
    bench.close()
    desk.feed(*s.bench())
    desk.window._show_query("bench", "Bench")
    bench = shown_dialog(desk.window, BenchDialog)
    assert bench.socket.count() == 0
    bench.close()


def test_engineer_menu(desk):
    desk.feed(*s.bench())
    menu = EngineerMenu(desk.window.view, desk.window.settings, desk.window)
    asked = []
    menu.query_chosen.connect(lambda query, title: asked.append(query))
    menu.run_chosen.connect(asked.append)
    menu.stop_chosen.connect(desk.window._stop_all)
    menu.settings_chosen.connect(desk.window.apply_settings)
    actions = {action.text(): action for action in menu.actions()}
    for text in ("History", "Yield", "Pareto of bins", "Bench", "Operators", "Run in socket 2", "Stop all sockets"):
        actions[text].trigger()
    assert asked == ["history", "yield", "pareto", "bench", "operators", 2] and desk.link.sent == [Stop(0)]
    sizes = {action.text(): action for action in actions["Text size"].menu().actions()}
    sizes["150 %"].trigger()
    assert desk.window.theme.scale == 1.5 and desk.banner.sentence.pixel_size() == 45
    themes = {action.text(): action for action in actions["Theme"].menu().actions()}
    themes["Dark"].trigger()
    assert desk.window.theme.name == "dark" and desk.tile(1).word.text() == "DO NOT REMOVE"


def test_engineer_button_opens_the_menu(desk, qtbot):
    desk.feed(*s.bench())
    qtbot.mouseClick(desk.window.operate.header.engineer_button, Qt.MouseButton.LeftButton)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, EngineerMenu)
    menu.close()


def test_recipe_and_lot_by_hand(desk):
    desk.feed(s.hello(recipe=""), s.OPERATOR)
    desk.clock.pass_(1)
    desk.key()
    dialog = shown_dialog(desk.window, RecipeDialog)
    dialog.recipe.setCurrentText("sival-cp")
    dialog.take_scan("L25")
    dialog.wafer.setText("W01")
    dialog._submit()
    assert desk.link.sent == [SelectRecipe("sival-cp", "L25", "W01")]


def test_label_by_hand_names_its_socket(desk, qtbot):
    desk.feed(*s.bench(states=[s.SCAN]))
    qtbot.mouseClick(desk.tile(3).buttons[0], Qt.MouseButton.LeftButton)
    dialog = shown_dialog(desk.window, LabelDialog)
    dialog.label.setText(" 042 ")
    dialog._submit()
    assert desk.link.sent == [Scan("042", 3)] and isinstance(dialog, QDialog)


def test_settings_are_kept_and_survive_damage(qtbot, styled, clock, tmp_path):
    file = tmp_path / "data" / "window.json"
    desk = Desk(qtbot, clock, settings_file=file)
    desk.window.apply_settings(WindowSettings(text_size=130, theme="dark", foot_switch="F13"))
    assert load(file) == WindowSettings(text_size=130, theme="dark", foot_switch="F13")
    assert load(file).primary_keys() == (int(Qt.Key.Key_F13),)
    file.write_text("{")
    assert load(file) == WindowSettings()
    file.write_text('{"text_size": 9000, "unknown": 1}')
    assert load(file).text_size == 200
    desk.window.leave()


def test_widget_calls_do_not_eat_references_to_none(desk):
    desk.feed(*s.bench())
    before = sys.getrefcount(None)
    for number in range(1000):
        desk.banner.button.setText(str(number))
        desk.tile(1).update()
    drift = sys.getrefcount(None) - before
    assert abs(drift) < 100, drift
