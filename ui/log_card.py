"""The log card: one table on the ring, filter pills per socket, find, pause, and the count of dropped lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtGui import QFontMetrics, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from ui.log_lines import LogRow
from ui.log_model import CAPACITY, COLUMNS, Index, LogModel
from ui.lot_cards import Card
from ui.theme import Theme

TYPING_MILLISECONDS = 150
BATCH_MILLISECONDS = 25
CELL_MARGIN = 3
CELL_ALIGNMENT = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextSingleLine)


class WholeRows(QTableView):
    """A table of equal rows that leaves the room of a part of a row empty, at the top."""

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Fit the view to whole rows."""
        super().resizeEvent(event)
        rest = self.contentsRect().height() % self.verticalHeader().defaultSectionSize()
        if self.viewportMargins().top() != rest:
            self.setViewportMargins(0, rest, 0, 0)


class LinePainter(QStyledItemDelegate):
    """Draws a cell without asking the style sheet for each: a third of the time, twenty times a second."""

    def __init__(self, model: LogModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._model = model

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw the text of one cell, elided; the view has painted what is below it, also the selection."""
        text, ink, bold = self._model.cell(index.row(), index.column())
        box = option.rect
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        font = bold or option.font
        room = box.width() - 2 * CELL_MARGIN
        if index.column() == COLUMNS - 1:
            text = QFontMetrics(font).elidedText(text[:room], Qt.TextElideMode.ElideRight, room)
        painter.setFont(font)
        painter.setPen(option.palette.highlightedText().color() if selected else ink)
        painter.drawText(box.adjusted(CELL_MARGIN, 0, -CELL_MARGIN, 0), CELL_ALIGNMENT, text)


class LogCard(Card):
    """Collects lines and shows them in batches; while paused they wait, and their count is shown."""

    def __init__(self, theme: Theme, model: LogModel, sockets: int, parent: QWidget | None = None) -> None:
        super().__init__(theme, "", parent)
        self.model = model
        self._waiting: deque[bytes | LogRow] = deque(maxlen=CAPACITY)  # more would leave the ring at once
        self._arrived = 0  # since the last flush
        self._dropped = 0
        self.title.setText(self.tr("Log"))
        self.pills = QButtonGroup(self)
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Find…"))
        self.search.setMaximumWidth(theme.px(160))
        self.search.setMinimumWidth(theme.px(96))
        self.search.setClearButtonEnabled(True)
        self.search.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # Tab never leads a PIN into a readable field
        self.details = QPushButton(self.tr("Details"))
        self.details.setCheckable(True)
        self.details.setProperty("pill", "true")
        self.details.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.pause = QPushButton(self.tr("Pause"))
        self.pause.setCheckable(True)
        self.pause.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.note = QLabel()
        self.note.setProperty("kind", "small")
        self.table = self._table()
        self.content.addLayout(self._bar(sockets))
        self.content.addWidget(self.table, 1)
        self.locked = QLabel(self.tr("Sign in to see the log."))
        self.locked.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.locked.hide()
        self.content.addWidget(self.locked, 1)
        self._connect()

    def set_locked(self, locked: bool) -> None:
        """Show no line and no way to look for one; the lines are kept for whoever signs in."""
        if locked != self.locked.isHidden():
            return
        self.locked.setVisible(locked)
        for widget in (self.table, self.search, self.details, self.pause, self.note, *self.pills.buttons()):
            widget.setVisible(not locked)
        if not locked:
            self.table.scrollToBottom()

    def forget_search(self) -> None:
        """Empty the search field and take the keys away from it."""
        self.search.clear()
        self.search.clearFocus()

    def _bar(self, sockets: int) -> QHBoxLayout:
        bar = QHBoxLayout()
        bar.setSpacing(6)
        bar.addWidget(self.title)
        bar.addSpacing(10)
        for number in range(sockets + 1):
            pill = QPushButton(str(number) if number else self.tr("All"))
            pill.setProperty("pill", "true")
            pill.setCheckable(True)
            pill.setChecked(number == 0)
            pill.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            self.pills.addButton(pill, number)
            bar.addWidget(pill)
        bar.addWidget(self.details)
        bar.addWidget(self.note)
        bar.addStretch(1)
        bar.addWidget(self.search)
        bar.addWidget(self.pause)
        return bar

    def _table(self) -> QTableView:
        table = WholeRows()
        table.setModel(self.model)
        table.setItemDelegate(LinePainter(self.model, table))
        table.setFont(self.theme.font(13, mono=True))
        table.setStyleSheet(f"QTableView {{ font-family: 'DejaVu Sans Mono'; font-size: {self.theme.px(13)}px; }}")
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerItem)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        vertical, horizontal = table.verticalHeader(), table.horizontalHeader()
        vertical.hide()
        vertical.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        vertical.setDefaultSectionSize(round(self.theme.px(13) * 1.6))
        horizontal.hide()
        horizontal.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        for column, width in enumerate((112, 26, 78)):
            table.setColumnWidth(column, self.theme.px(width))
        horizontal.setStretchLastSection(True)
        return table

    def _connect(self) -> None:
        self.pills.idToggled.connect(self._filter)
        self._typing = QTimer(self)  # a full ring is searched once per word, not once per letter
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MILLISECONDS)
        self._typing.timeout.connect(self._filter)
        self.search.textChanged.connect(self._typing.start)
        self.search.returnPressed.connect(self._filter)
        self.details.toggled.connect(self._filter)
        self.pause.toggled.connect(self._paused)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(BATCH_MILLISECONDS)
        self._timer.timeout.connect(self.flush)

    def add(self, lines: Sequence[bytes | LogRow]) -> None:
        """Take lines; they are shown at the next tick of the timer."""
        self._waiting += lines
        self._arrived += len(lines)
        if self.pause.isChecked():
            self._note()
        elif not self._timer.isActive():
            self._timer.start()

    def add_dropped(self, count: int) -> None:
        """The engine says that it has left out lines."""
        self._dropped += count
        self._note()

    @Slot()
    def flush(self) -> None:
        """Put the waiting lines into the table; the view follows when it stood at the end."""
        if self.pause.isChecked() or not self._waiting:
            return
        bar = self.table.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 1
        lines = list(self._waiting)
        self._waiting.clear()
        self._arrived = 0
        self.model.append(lines)
        if at_end:
            self.table.scrollToBottom()

    @Slot()
    def _filter(self) -> None:
        self._typing.stop()
        self.model.set_filter(self.pills.checkedId(), self.search.text(), self.details.isChecked())
        self.table.scrollToBottom()

    @Slot(bool)
    def _paused(self, paused: bool) -> None:
        if not paused:
            self.flush()
        self._note()

    def _note(self) -> None:
        parts = []
        if self.pause.isChecked():
            parts.append(self.tr("{n} waiting").format(n=self._arrived))
        if self._dropped:
            parts.append(self.tr("{n} lines dropped").format(n=self._dropped))
        self.note.setText(" · ".join(parts))
