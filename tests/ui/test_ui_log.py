"""The ring, its filters, and the card around it."""

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QAbstractItemModelTester

from ui.log_card import LogCard
from ui.log_lines import HEAD, line_of, read, row_of
from ui.log_model import CAPACITY, LogModel
from ui.theme import LIGHT, style_sheet


def row(number, socket=1, text="", level="info", source="dut"):
    return (float(number), socket, source, level, text or f"line {number}")


@pytest.fixture
def model(styled):
    made = LogModel(LIGHT, capacity=10)
    made.tester = QAbstractItemModelTester(made, QAbstractItemModelTester.FailureReportingMode.Warning)
    return made


def texts(model):
    return [line[4] for line in model.rows]


def test_ring_keeps_the_newest(model):
    model.append([row(i) for i in range(7)])
    model.append([row(i) for i in range(7, 14)])
    assert len(model) == 10 and texts(model) == [f"line {i}" for i in range(4, 14)]
    model.append([row(i) for i in range(100, 130)])
    assert texts(model) == [f"line {i}" for i in range(120, 130)]
    assert model.rowCount() == 10


def test_ring_under_a_filter(model):
    model.set_filter(2, "")
    model.append([row(i, socket=1 + i % 2) for i in range(8)])
    assert texts(model) == [f"line {i}" for i in (1, 3, 5, 7)]
    model.append([row(i, socket=1 + i % 2) for i in range(8, 14)])
    assert texts(model) == [f"line {i}" for i in (5, 7, 9, 11, 13)]
    model.set_filter(0, "")
    assert len(texts(model)) == 10


def test_find_ignores_case_and_looks_at_the_source(model):
    model.append([row(1, text="Refused"), row(2, source="PA"), row(3)])
    model.set_filter(0, "refused")
    assert texts(model) == ["Refused"]
    model.set_filter(0, "pa")
    assert texts(model) == ["line 2"]


def test_debug_lines_are_details(model):
    model.append([row(1, level="debug"), row(2), row(3, socket=2, level="debug")])
    assert texts(model) == ["line 2"]
    model.set_filter(0, "", details=True)
    assert texts(model) == ["line 1", "line 2", "line 3"]
    model.set_filter(2, "", details=True)
    assert texts(model) == ["line 3"]
    assert [line[4] for line in model.between(1, 0.5, 2.0)] == ["line 1", "line 2"]


def test_details_pill(styled, qtbot, model):
    card = LogCard(LIGHT, model, 2)
    qtbot.addWidget(card)
    model.append([row(1, level="debug"), row(2)])
    assert texts(model) == ["line 2"]
    card.details.click()
    assert texts(model) == ["line 1", "line 2"]


def test_cells(model):
    model.append([row(0.5, socket=3, level="error"), row(1, socket=0)])
    cell = model.index(0, 1)
    assert model.data(cell) == "3" and model.data(model.index(1, 1)) == ""
    assert model.data(model.index(0, 0)).endswith(".500")
    ink = model.data(model.index(0, 3), Qt.ItemDataRole.ForegroundRole)
    assert ink.name().upper() == LIGHT.role("fail").edge
    assert model.rowCount(cell) == 0 and model.columnCount(QModelIndex()) == 4


# ---- lines that are read late -------------------------------------------------------------------------------------


def test_lines_are_read_only_when_somebody_looks(styled):
    model = LogModel(LIGHT)
    lines = [line_of(row(i)) for i in range(8)]
    row_of.cache_clear()
    model.append(lines)
    model.append(lines)
    assert row_of.cache_info().misses == 0
    assert model.data(model.index(15, 3)) == "line 7" and row_of.cache_info().misses == 1


@pytest.mark.parametrize(
    "text", ["plain", "◆ burn · 2 µs", 'a "quoted" word', "back\\slash", "tab\tand\nline", "\ud800"]
)
def test_a_row_is_kept_as_the_line_that_says_it(text):
    line = line_of(row(1.25, text=text, source="pa·1"))
    assert line.startswith(HEAD) and b"\n" not in line
    assert read(line) == (1.25, 1, "pa·1", "info", text)


def test_a_key_inside_a_text_is_no_key(model):
    model.append([row(1, text='{"level":"debug","socket":2,"text":"x"}'), row(2, socket=11), row(3, socket=2)])
    assert len(model.rows) == 3
    model.set_filter(2, "")
    assert texts(model) == ["line 3"]
    model.set_filter(1, "")
    assert texts(model) == ['{"level":"debug","socket":2,"text":"x"}']
    model.set_filter(0, "level")
    assert texts(model) == ['{"level":"debug","socket":2,"text":"x"}']


def test_few_debug_lines_among_many(styled):
    many = LogModel(LIGHT)
    many.append([row(i, level="debug" if i % 300 == 7 else "info") for i in range(1000)])
    assert len(many.rows) == 996 and "line 307" not in texts(many)
    many.set_filter(0, "", details=True)
    assert len(many.rows) == 1000


@pytest.mark.parametrize(
    "needle",
    ["a", "text", "SS", "ß", 'say "', "\\\\", "}", ":", "µ", "info", "jtag", "1", " ", "tt\\n", "n", "nx", "back"],
)
def test_find_finds_what_the_rows_say(needle, styled):
    sayings = [
        "Straße",
        "STRASSE ss",
        'say "text"',
        "back\\slash",
        "a}",
        "text:",
        "Μ µ",
        "info",
        "plain",
        "tt\\n",
        "tt\nx",
        " ",
    ]
    rows = [row(i, text=text, source="JTAG" if i % 2 else "dut·a") for i, text in enumerate(sayings)]
    many = LogModel(LIGHT)
    many.append(rows)
    many.set_filter(0, needle)
    folded = needle.casefold()
    assert list(many.rows) == [r for r in rows if folded in r[4].casefold() or folded in r[2].casefold()]


def test_find_reads_what_another_hand_has_escaped(styled):
    many = LogModel(LIGHT)
    body = b'1.0,"socket":1,"source":"a","level":"info","text":"'
    many.append([HEAD + body + text + b'"}' for text in (b"caf\\u00e9", b"and\\/or", b"caf\\\\u00e9")])
    many.set_filter(0, "é")
    assert texts(many) == ["café"]
    many.set_filter(0, "d/o")
    assert texts(many) == ["and/or"]


@pytest.mark.parametrize("damage", [b"", b'"x"}', b'null,"socket":1,"source":"a","level":"info","text":"b"}'])
def test_a_damaged_line_says_so(model, damage):
    model.append([HEAD + damage])
    assert "damaged" in model.data(model.index(0, 3)) and model.data(model.index(0, 2)) == "window"


@pytest.fixture
def card(qtbot, styled):
    made = LogCard(LIGHT, LogModel(LIGHT), 4)
    qtbot.addWidget(made)
    made.resize(640, 300)
    made.show()
    return made


def test_lines_arrive_in_batches(card, qtbot):
    inserts = []
    card.model.rowsInserted.connect(lambda parent, first, last: inserts.append(last - first + 1))
    for i in range(500):
        card.add([row(i)])
    assert card.model.rowCount() == 0
    qtbot.waitUntil(lambda: card.model.rowCount() == 500, timeout=2000)
    assert inserts == [500]


def test_pause_counts_and_resumes(card):
    card.pause.setChecked(True)
    card.add([row(1), row(2)])
    card.flush()
    assert card.model.rowCount() == 0 and card.note.text() == "2 waiting"
    card.pause.setChecked(False)
    assert card.model.rowCount() == 2 and card.note.text() == ""


def test_dropped_lines_are_counted_on_the_card(card):
    card.add_dropped(3)
    card.add_dropped(4)
    assert card.note.text() == "7 lines dropped"


def test_pills_filter_by_socket(card, qtbot):
    card.add([row(1, socket=1), row(2, socket=2)])
    card.flush()
    card.pills.button(2).click()
    assert texts(card.model) == ["line 2"] and card.pills.checkedId() == 2
    card.search.setText("nothing like it")
    qtbot.waitUntil(lambda: texts(card.model) == [], timeout=5000)


def test_a_word_is_searched_once_and_at_once_with_enter(card, qtbot, monkeypatch):
    card.add([row(1), row(12)])
    card.flush()
    real, asked = card.model.set_filter, []
    monkeypatch.setattr(card.model, "set_filter", lambda *arguments: (asked.append(arguments[1]), real(*arguments)))
    for letter in "line 12":
        qtbot.keyClicks(card.search, letter)
    qtbot.keyClick(card.search, Qt.Key.Key_Return)
    assert texts(card.model) == ["line 12"]
    assert asked[-1] == "line 12" and len(asked) < len("line 12")


def test_view_follows_only_at_its_end(card, qtbot):
    card.add([row(i) for i in range(200)])
    card.flush()
    bar = card.table.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0, timeout=2000)
    card.table.scrollToBottom()
    card.add([row(200)])
    card.flush()
    assert bar.value() == bar.maximum()
    bar.setValue(10)
    card.add([row(201)])
    card.flush()
    assert bar.value() == 10


def test_a_long_pause_keeps_what_the_ring_keeps_and_counts_all(card):
    card.pause.setChecked(True)
    card.add([line_of(row(1))] * CAPACITY)
    card.add([line_of(row(i)) for i in range(10)])
    assert len(card._waiting) == CAPACITY and card.note.text() == f"{CAPACITY + 10} waiting"
    card.pause.setChecked(False)
    assert len(card.model) == CAPACITY and texts(card.model)[-1] == "line 9" and card.note.text() == ""


def seen_colours(widget):
    picture = widget.grab().toImage()
    return {
        picture.pixelColor(x, y).name().upper() for x in range(0, picture.width()) for y in range(0, picture.height())
    }


def test_cells_are_painted_in_their_inks_and_on_the_selection(card):
    card.setStyleSheet(style_sheet(LIGHT))
    card.add([row(1, text="a line of text that is too long for this column " * 5), row(2, level="error", text="wrong")])
    card.flush()
    error, selection = LIGHT.role("fail").edge.upper(), LIGHT.role("run").surface.upper()
    before = seen_colours(card.table.viewport())
    assert error in before and LIGHT.ink.upper() in before and selection not in before
    card.table.selectRow(1)
    after = seen_colours(card.table.viewport())
    assert selection in after and error not in after


def test_a_line_is_copied(card, qtbot):
    card.add([row(1, text="first"), row(2, text="second ◆")])
    card.flush()
    card.table.setCurrentIndex(card.model.index(1, 3))
    qtbot.keyClick(card.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == "second ◆"
