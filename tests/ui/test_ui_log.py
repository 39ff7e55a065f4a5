"""The ring, its filters, and the card around it."""

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtTest import QAbstractItemModelTester

from ui.log_card import LogCard
from ui.log_model import LogModel
from ui.theme import LIGHT


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


def test_pills_filter_by_socket(card):
    card.add([row(1, socket=1), row(2, socket=2)])
    card.flush()
    card.pills.button(2).click()
    assert texts(card.model) == ["line 2"] and card.pills.checkedId() == 2
    card.search.setText("nothing like it")
    assert texts(card.model) == []


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
