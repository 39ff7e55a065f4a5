"""Tiles as they are drawn: words, sizes, colours, buttons."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import ui_samples as s
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QColor, QImage

from station.protocol import Answer, Handle, PromptView, Stop
from ui.checklist import rows_of, window_of
from ui.text import break_lines
from ui.theme import LIGHT, SMALLEST_TEXT
from ui.tile import SocketTile
from ui.words import LINE, TileContext

FOUR = (464, 400)  # a tile of four sockets at 1600 × 1000
EIGHT = (226, 400)


@pytest.fixture
def make(qtbot, styled):
    def build(state, size=FOUR, theme=LIGHT, virtual=False, live=True, context=None):
        tile = SocketTile(theme, state.socket)
        qtbot.addWidget(tile)
        tile.resize(*size)
        tile.show()
        tile.show_state(state, context or TileContext(), virtual=virtual, live=live)
        return tile

    return build


def colours_of(widget, box=None):
    picture = widget.grab(box).toImage() if box else widget.grab().toImage()
    return Counter(
        picture.pixelColor(x, y).name().upper()
        for x in range(0, picture.width(), 2)
        for y in range(0, picture.height(), 2)
    )


@pytest.mark.parametrize("name", s.TILE_STATES)
def test_each_state_is_drawn_in_its_colours(make, name):
    tile = make(s.TILE_STATES[name])
    pair = LIGHT.role(tile.words.role)
    counts = colours_of(tile)
    assert counts[pair.surface] > 500 and counts[pair.edge] > 100
    assert tile.word.text() == tile.words.word
    assert tile.name.text() == f"Socket {s.TILE_STATES[name].socket}"
    assert tile.words.word in tile.accessibleName()


@pytest.mark.parametrize("name", s.TILE_STATES)
def test_words_are_large_enough_for_two_metres(make, name):
    tile = make(s.TILE_STATES[name])
    assert tile.word.pixel_size() >= 44
    for block in (tile.lead, tile.reason, tile.band):
        assert block.pixel_size() >= 24
    for block in (tile.name, tile.clock, tile.part, tile.notes, tile.question, tile.stop_reason):
        assert block.pixel_size() >= 13 > SMALLEST_TEXT


@pytest.mark.parametrize("name", s.TILE_STATES)
def test_nothing_overlaps_or_leaves_the_tile(make, name):
    for size in (FOUR, EIGHT, (940, 820)):
        tile = make(s.TILE_STATES[name], size)
        parts = [tile.name, tile.word, tile.band, tile.lead, tile.reason, tile.notes, tile.part, tile.checklist]
        parts += [tile.question, *tile.buttons, tile.stop, tile.bar]
        boxes = [part.geometry() for part in parts if part.isVisible()]
        assert all(tile.rect().contains(box) for box in boxes), size
        for i, box in enumerate(boxes):
            assert not any(box.intersects(other.adjusted(1, 1, -1, -1)) for other in boxes[i + 1 :]), (size, i)


def test_tray_and_retest_survive_a_small_tile(make):
    tile = make(s.FAIL, EIGHT)
    assert tile.lead.isVisible() and tile.notes.isVisible()
    assert tile.notes.height() >= 2 * tile.notes.line_height()


def test_state_word_breaks_into_two_lines_on_eight_sockets(make):
    assert make(s.BURNING, EIGHT).word.pixel_size() >= 32


def test_burn_band_is_filled_and_stop_is_grey_with_its_reason(make):
    tile = make(s.BURNING)
    assert tile.band.isVisible() and colours_of(tile)[LIGHT.role("burn").edge] > 4000
    assert not tile.stop.isEnabled() and tile.stop.isVisible()
    assert tile.stop_reason.isVisible() and "never torn" in tile.stop_reason.text()


def test_stop_names_socket_and_epoch(make, qtbot):
    tile = make(s.RUNNING)
    with qtbot.waitSignal(tile.commanded) as sent:
        qtbot.mouseClick(tile.stop, Qt.MouseButton.LeftButton)
    assert sent.args == [Stop(1, 20)]
    tile.show_state(replace(s.RUNNING, stop_requested=True), TileContext(), virtual=False)
    assert not tile.stop.isEnabled() and "next wait" in tile.stop_reason.text()


def test_quarantine_is_hatched(make):
    def edge_changes(state):
        picture = make(state).grab().toImage()
        column = [picture.pixelColor(8, y) == QColor(LIGHT.role("quarantine").edge) for y in range(150, 380)]
        return sum(a != b for a, b in pairwise(column))

    assert edge_changes(s.QUARANTINE) > 20 > edge_changes(s.BURNING)


def test_only_an_alarm_blinks(make):
    alarm, quiet = make(s.QUARANTINE), make(s.FAIL)
    before = [colours_of(tile) for tile in (alarm, quiet)]
    for tile in (alarm, quiet):
        tile.set_lit(False)
    assert colours_of(alarm) != before[0] and colours_of(quiet) == before[1]


def test_prompt_is_answered_inside_its_tile(make, qtbot):
    tile = make(s.INTERRUPTED)
    assert tile.question.text() == "Is the part still in socket 2?" and tile.question.isVisible()
    assert [button.text() for button in tile.buttons] == ["Yes: check it", "No: quarantine"]
    with qtbot.waitSignal(tile.commanded) as sent:
        qtbot.mouseClick(tile.buttons[1], Qt.MouseButton.LeftButton)
    assert sent.args == [Answer(2, 7, "No: quarantine")]


def test_buttons_are_not_rebuilt_by_progress(make):
    tile = make(s.PROMPT)
    first = list(tile.buttons)
    tile.show_state(replace(s.PROMPT, percent=99), TileContext(), virtual=False)
    assert tile.buttons == first


def test_virtual_bench_offers_its_hands(make, qtbot):
    tile = make(s.INSERT, virtual=True)
    with qtbot.waitSignal(tile.commanded) as sent:
        qtbot.mouseClick(tile.buttons[0], Qt.MouseButton.LeftButton)
    assert sent.args == [Handle(3, "insert")]
    assert make(s.INSERT).buttons == []
    assert [b.text() for b in make(s.PASS, virtual=True).buttons] == ["Remove virtual part"]


def test_a_replay_has_no_buttons(make):
    tile = make(s.PROMPT, live=False)
    assert tile.buttons == [] and not tile.stop.isVisible()


def test_checklist_marks_burns_and_keeps_the_running_step_in_sight():
    rows = rows_of(s.PLAN, s.steps(5))
    assert [row.burn for row in rows].count(True) == 5
    assert rows[5].status == "running" and rows[8].glyph == "·"
    first, last = window_of(rows, 4)
    assert first <= 5 < last and last - first == 4
    assert window_of(rows, 20) == (0, 9)
    assert window_of(rows_of(s.PLAN, ()), 3) == (0, 3)


def test_a_part_that_passed_has_no_open_steps(make):
    left_out = tuple(step for step in s.PASS.steps if step.id != "install")
    rows = {row.title: row for row in make(replace(s.PASS, steps=left_out)).checklist.rows}
    row = rows["Install certificates"]
    assert (row.glyph, row.time, row.status) == ("–", "not needed", "skipped") and row.burn
    assert all(other.glyph == "✔" for title, other in rows.items() if title != row.title)


def test_a_failed_part_shows_no_pending_steps(make):
    assert [row.status for row in make(s.FAIL).checklist.rows] == ["done"] * 5 + ["failed"]


def test_text_size_setting_enlarges_the_tile(make):
    large = make(s.FAIL, (700, 600), replace(LIGHT, scale=1.5))
    assert large.lead.pixel_size() >= 36


def whole(block):
    """Whether the lines that are drawn hold all of the text."""
    lines = block._lines(block.width(), max(1, min(block.most_lines, block.height() // block.line_height())))
    return block.isVisible() and " ".join(lines).split() == block.text().replace(LINE, " ").split()


ERASE = (
    "Part P000002: the debug port is closed, as with every new part. It is erased whole: if it holds keys, they are "
    "gone for good."
)
HALF = (
    "'Provision: run the image that makes the keys' is half done, and can be neither finished nor repeated (the "
    "firmware stopped: Kernel panic (assertion err == 0 failed at WEST_TOPDIR/nrf/lib/hw_unique_key/hw_unique_key.c:73 "
    "at 0x00003c1c, in thread main): its life cycle is PROVISIONING (0xffff0000 0xffffffff), 4 of 4 slots of the "
    "hardware unique keys and 0 of 2 of the identity key are written)"
)
HELPS = (
    "'Provision: run the image that makes the keys' is half done: only the erasure of the whole part, with all its "
    "keys, helps (recipe nrf5340-dk-recover)"
)
LOST = (
    "contact with the part was lost during 'Put the production firmware in the image's place': the debug probe VP0001 "
    "is gone; plug it in again and start the part once more"
)
BEGUN = (
    "by its record 'Provision: run the image that makes the keys' is done, 'Put the production firmware in the image's "
    "place' was begun and may be half done"
)
LOST_INSIDE = replace(s.QUARANTINE, verdict=replace(s.QUARANTINE.verdict, reason=LOST, part_state=BEGUN))
ERASING = replace(s.PROMPT, prompt=PromptView(3, ERASE, ("The part is new: erase", "No: the part goes to RECOVER")))
HALF_DONE = replace(s.FAIL, verdict=replace(s.FAIL.verdict, tray="RECOVER", reason=HALF, part_state=HELPS))


@pytest.mark.parametrize("scale", [1.0, 1.15, 1.3, 1.5, 2.0])
@pytest.mark.parametrize("state", [ERASING, HALF_DONE, LOST_INSIDE, *s.TILE_STATES.values()])
def test_what_must_be_read_is_whole_at_every_text_size(make, state, scale):
    """Tiles of four sockets on a screen of 1600 x 1000, with the cards beside them or without."""
    tile = make(state, (464, 380) if scale < 1.4 else (776, 324), replace(LIGHT, scale=scale), virtual=True)
    for block in (tile.lead, tile.reason, tile.notes, tile.question, tile.band):
        assert not block.text() or whole(block), block.text()
    assert tile.part.isVisible() or not tile.words.part
    if tile.words.detail:
        assert tile.detail.height() >= 3 * tile.detail.line_height() and tile.words.detail in tile.toolTip()
        assert tile.notes.pixel_size() >= 12
    parts = [tile.name, tile.word, tile.band, tile.lead, tile.reason, tile.notes, tile.detail, tile.part]
    boxes = [part.geometry() for part in (*parts, tile.checklist, tile.question, *tile.buttons, tile.stop, tile.bar)
             if part.isVisible()]  # fmt: skip
    assert all(tile.rect().contains(box) for box in boxes)
    for i, box in enumerate(boxes):
        assert not any(box.intersects(other.adjusted(1, 1, -1, -1)) for other in boxes[i + 1 :])
    for button in tile.buttons:
        button.ensurePolished()
        assert button.fontMetrics().horizontalAdvance(button.text()) <= button.width() - 4
        assert button.fontMetrics().height() <= button.height()


class Paints(QObject):
    """Counts the paint events of a widget."""

    def __init__(self, widget):
        super().__init__(widget)
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, _widget, event):
        self.count += event.type() == QEvent.Type.Paint
        return False


def test_the_same_again_is_not_painted_but_its_epoch_counts(make, qtbot, qapp):
    tile = make(s.RUNNING)
    qapp.processEvents()
    paints = Paints(tile)
    tile.show_state(replace(s.RUNNING, epoch=99), TileContext(), virtual=False)
    qapp.processEvents()
    assert paints.count == 0
    with qtbot.waitSignal(tile.commanded) as sent:
        qtbot.mouseClick(tile.stop, Qt.MouseButton.LeftButton)
    assert sent.args == [Stop(1, 99)]
    tile.show_state(s.FAIL, TileContext(), virtual=False)
    qapp.processEvents()
    assert paints.count > 0


def test_texts_that_stay_are_not_broken_again(make, monkeypatch, qapp):
    tile = make(s.RUNNING)
    qapp.processEvents()
    broken = []
    monkeypatch.setattr("ui.text.break_lines", lambda text, *rest: broken.append(text) or break_lines(text, *rest))
    tile.show_state(replace(s.RUNNING, elapsed=s.RUNNING.elapsed + 1), TileContext(), virtual=False)
    qapp.processEvents()
    assert tile.clock.text() in broken and tile.lead.text() not in broken
    tile.resize(EIGHT[0], EIGHT[1])
    assert tile.lead.text() in broken


def on_the_screen(widget):
    return widget.screen().grabWindow(widget.winId()).toImage().convertToFormat(QImage.Format.Format_RGB32)


@pytest.mark.parametrize("name", s.TILE_STATES)
def test_every_change_reaches_the_screen(make, name, qapp):
    state = s.TILE_STATES[name]
    tile = make(replace(s.QUARANTINE, socket=state.socket))
    qapp.processEvents()
    short, long = (replace(s.BURNING, burn_title=title) for title in ("A", "Another " * 12))
    for shown in (state, s.PASS, s.FAIL, short, long, short, state):
        tile.show_state(shown, TileContext(), virtual=False)
        qapp.processEvents()
        assert on_the_screen(tile) == tile.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)


@pytest.mark.parametrize("size", [FOUR, EIGHT, (940, 820)])
def test_a_quarantined_tile_always_shows_its_label_and_the_tooltip_the_whole_reason(make, size):
    reason = "The run was interrupted and the part was moved before it could be checked, " * 3 + "so call an engineer."
    tile = make(replace(s.QUARANTINE, verdict=replace(s.QUARANTINE.verdict, reason=reason)), size, virtual=True)
    assert tile.part.isVisible() and tile.part.height() >= tile.part.line_height() and "039" in tile.part.text()
    assert tile.reason.isVisible() and "so call an engineer." in tile.toolTip() and "039" in tile.toolTip()


def test_a_reason_takes_the_room_that_there_is(make):
    reason = "The device answered with another identity than the one that was scanned before this run began. " * 2
    tile = make(replace(s.FAIL, verdict=replace(s.FAIL.verdict, reason=reason + "Call an engineer.")), (560, 520))
    lines = tile.reason._lines(tile.reason.width(), tile.reason.most_lines)
    assert len(lines) > 4 and " ".join(lines).endswith("Call an engineer.")
    assert tile.notes.height() >= 2 * tile.notes.line_height(), "state and retest rule stay"


def test_a_part_that_nobody_watched_is_taken_out_with_no_word_of_a_verdict(make):
    tile = make(s.LEFT_BEHIND, virtual=True)
    assert tile.words.word == "TAKE OUT" and "look at its label" in tile.lead.text()
    assert "look at its label." in tile.lead._lines(tile.lead.width(), tile.lead.most_lines)[-1]
    assert tile.words.role == "wait" and not tile.reason.text()
    assert [button.text() for button in tile.buttons] == ["Remove virtual part"]
