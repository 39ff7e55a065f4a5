"""The whole window: events to screen."""

import sys
from dataclasses import replace

import pytest
import ui_samples as s
from PySide6.QtCore import QDateTime, Qt
from PySide6.QtWidgets import QApplication
from test_ui_tile import ERASE, whole
from ui_desk import Desk

from station.protocol import (
    CommandRefused,
    Dropped,
    Latched,
    Progress,
    ScanTaken,
    SignedIn,
)
from ui.event_lines import BadLine
from ui.operate import columns_for
from ui.settings import TEXT_SIZES, WindowSettings, load, sizes_for
from ui.theme import LIGHT


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
    states = [replace(s.INSERT, socket=n + 1) for n in range(1, sockets)]
    desk.feed(*s.bench(sockets, states=[replace(s.READY, socket=1), *states]))
    QApplication.processEvents()
    tiles = list(desk.window.operate.tiles.values())
    assert len(tiles) == sockets and columns_for(sockets) == columns
    assert len({tile.x() for tile in tiles}) == columns
    assert max(t.width() for t in tiles) - min(t.width() for t in tiles) <= 2
    assert desk.window.width() == 1600 and desk.banner.button.height() >= 64 and desk.banner.sentence.pixel_size() == 30
    if sockets == 4:
        assert tiles[0].word.pixel_size() >= 50


@pytest.mark.parametrize("sockets", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [150, 200])
def test_a_large_text_gives_its_room_to_the_tiles(qtbot, styled, clock, sockets, size):
    desk = Desk(qtbot, clock)
    desk.window.apply_settings(WindowSettings(theme="light", text_size=size))
    others = [replace(s.FAIL, socket=n) for n in range(2, sockets + 1)]
    asking = replace(s.PROMPT, socket=1, prompt=replace(s.PROMPT.prompt, text=ERASE))
    desk.feed(*s.bench(sockets, states=[asking, *others]))
    QApplication.processEvents()
    screen = desk.window.operate
    assert (desk.window.width(), desk.window.height()) == (1600, 1000), "no larger than its screen"
    assert not screen.cards.isVisible() and screen.tiles[sockets].geometry().right() > 1560
    assert all(tile.geometry().bottom() < 1000 for tile in screen.tiles.values())
    for block in (desk.banner.sentence, desk.banner.hint, screen.tiles[1].question):
        assert whole(block), block.text()
    assert ERASE in desk.banner.hint.text()
    for tile in list(screen.tiles.values())[1:]:
        assert whole(tile.lead) and tile.lead.text() == "→ tray RED"
    desk.feed(replace(s.PASS, socket=1), *others)
    assert "tray RED" in desk.banner.hint.text() + desk.banner.sentence.text() or sockets == 1
    assert whole(desk.banner.hint) and whole(desk.banner.sentence)
    desk.window.apply_settings(WindowSettings(theme="light"))
    QApplication.processEvents()
    assert desk.window.operate.cards.isVisible()


def test_a_text_size_that_cannot_be_read_is_not_offered():
    assert sizes_for(1600, 1000) == TEXT_SIZES == sizes_for(1920, 1080)
    assert sizes_for(1366, 768) == (80, 100, 115, 130, 150)
    assert sizes_for(1024, 768) == (80, 100, 115, 130)
    assert sizes_for(640, 480) == (80, 100)


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


def test_refusals_are_shown_with_their_socket(desk):
    desk.feed(*s.bench(), CommandRefused("Start", 3, "the screen was older than the socket"))
    assert desk.banner.hint.text() == "⚠ Socket 3: the screen was older than the socket"
    desk.banner.end_notice()
    assert "older" not in desk.banner.hint.text()


@pytest.mark.parametrize(
    "good", [ScanTaken("042", "part", 3), s.CHECKING, SignedIn(""), SignedIn("op-118", "operator")]
)
def test_a_refusal_goes_when_something_went_well(desk, good):
    desk.feed(*s.bench(states=[s.READY]), CommandRefused("Scan", 0, "no socket waits for this scan"))
    desk.feed(s.READY, replace(s.RUNNING, percent=62), SignedIn("", failed="wrong PIN"))
    assert desk.banner.hint.text() == "⚠ No socket waits for this scan"
    desk.feed(good)
    assert "no socket waits" not in desk.banner.hint.text().lower()


def test_the_same_refusal_shows_as_a_new_one(desk):
    refusal = (ScanTaken("X", "refused", 0, "no socket waits"), CommandRefused("Scan", 0, "no socket waits"))
    desk.feed(*s.bench(states=[s.READY]), *refusal)
    assert desk.banner.hint.text() == "⚠ No socket waits"
    desk.feed(*refusal)
    assert desk.banner.hint.text() == "⚠ No socket waits  (×2)"


def test_a_latched_journal_outlasts_a_change_of_recipe(desk):
    desk.feed(*s.bench(), Latched("The disk is full."), s.hello(recipe_title="Chip Probe"))
    assert desk.tile(2).word.text() == "DO NOT REMOVE"


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


def test_the_lot_card_says_what_it_counts(desk):
    desk.feed(*s.bench())
    screen = desk.window.operate
    assert screen.lot.title.text() == "This lot" and screen.map.title.text() == "Tray T12"
    morning = QDateTime.currentDateTime().addSecs(-3600)
    today = replace(s.LOT, lot="", wafer="", map_name="L24 W3", map_kind="wafer", since=morning.toSecsSinceEpoch())
    desk.feed(today)
    assert screen.lot.title.text() == f"Today since {morning.toString('HH:mm')} · no lot"
    assert screen.map.title.text() == "Wafer L24 W3"
    desk.feed(replace(today, since=morning.addDays(-1).toSecsSinceEpoch()))
    assert screen.lot.title.text() == f"Since {morning.addDays(-1).toString('yyyy-MM-dd HH:mm')} · no lot"


def test_a_part_on_hold_makes_no_yield(desk):
    desk.feed(*s.bench(), replace(s.LOT, passed=0, failed=0, held=1, first_pass_yield=0.0, yield_line=()))
    assert desk.window.operate.lot.number.text() == "–" and desk.window.operate.lot.held.value.text() == "1 · 0"


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
