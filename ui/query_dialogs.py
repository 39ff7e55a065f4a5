"""Dialogs for the engineer: each asks the engine one query and shows the rows that come back."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, Qt, Signal, Slot
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from station.protocol import Query, Rows
from ui.rows_table import RowsModel, rows_view
from ui.theme import Theme

REASON_WIDTH = 320
RECENT = "1500"  # runs that are fetched at once; what is older is asked for by name with Enter
FIRST_COLUMNS = ("run", "time", "label", "recipe", "kind", "bin", "tray", "reason", "attempt", "socket", "operator")
NAMED = ("label", "device_id", "lot", "operator", "bin_id")


class QueryDialog(QDialog):
    """A title, a find field and a table; ``commanded`` carries the ``Query``."""

    commanded = Signal(object)  # Command
    hears = ("Query",)  # commands whose refusal is for this dialog
    _requests = 0

    def __init__(self, theme: Theme, query: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.query = query
        self.arguments: dict[str, str] = {}
        self.request = 0
        self.setWindowTitle(title)
        self.resize(1100, 680)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.model = RowsModel()
        self.table = rows_view(theme, self.model)
        self.search = QLineEdit()
        self.search.setClearButtonEnabled(True)
        self.search.setPlaceholderText(self.tr("Find…"))
        self.note = QLabel()
        self.note.setProperty("kind", "small")
        self.heading = QLabel(title)
        self.heading.setProperty("kind", "title")
        self.bar = QHBoxLayout()
        self._lay_out()
        self.search.textChanged.connect(self._narrow)

    def _lay_out(self) -> None:
        content = QVBoxLayout(self)
        content.setContentsMargins(16, 16, 16, 16)
        content.setSpacing(12)
        content.addWidget(self.heading)
        self.bar.addWidget(self.search, 1)
        content.addLayout(self.bar)
        content.addWidget(self.body(), 1)
        content.addWidget(self.note)

    def body(self) -> QWidget:
        """What stands between the find field and the note."""
        return self.table

    @Slot()
    def ask(self) -> None:
        """Send the query; only the answer to the last one is shown."""
        self._send(self.query, self.arguments)

    @staticmethod
    def next_request() -> int:
        """A number that no other request of this window has."""
        QueryDialog._requests += 1
        return QueryDialog._requests

    def _send(self, query: str, arguments: dict[str, str]) -> None:
        self.request = self.next_request()
        self.note.setText(self.tr("Asking the engine…"))
        self.commanded.emit(Query(query, self.request, dict(arguments)))

    def take_rows(self, rows: Rows) -> bool:
        """Show an answer when it is the one that was asked for."""
        if rows.request != self.request:
            return False
        self.show_answer(rows)
        return True

    def show_answer(self, rows: Rows) -> None:
        """Fill the table."""
        self.model.show_rows(rows)
        self.table.resizeColumnsToContents()
        self.table.horizontalHeader().setStretchLastSection(True)
        self._count()

    def refused(self, sentence: str) -> None:
        """The engine does not answer this query: say why where the answer would be."""
        self.note.setText(sentence)

    def take_scan(self, text: str) -> None:
        """A scan in this dialog is what to look for."""
        self.search.setText(text.strip())

    def _count(self) -> None:
        self.note.setText(self.tr("{n} rows").format(n=self.model.rowCount()))

    @Slot()
    def _narrow(self) -> None:
        self.model.set_needle(self.search.text())
        self._count()


class HistoryDialog(QueryDialog):
    """Find runs by device id, label, lot, bin, date or operator; a double click opens one.

    The find field narrows the recent runs; Enter asks the whole history for exactly that name.
    """

    run_wanted = Signal(str)
    part_wanted = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "history", "", parent)
        self.resize(1400, 760)
        self.arguments = {"limit": RECENT}
        self._tries: list[str] = []
        self.heading.setText(self.tr("History"))
        self.setWindowTitle(self.tr("History"))
        self.search.setPlaceholderText(
            self.tr("Device id, label, lot, bin, date or operator; Enter asks for all times")
        )
        self.search.returnPressed.connect(self._ask_by_name)
        self.table.doubleClicked.connect(self._open)
        for text, slot in ((self.tr("Open the run"), self._open_chosen), (self.tr("Part…"), self._part_chosen)):
            button = QPushButton(text)
            button.setAutoDefault(False)
            button.clicked.connect(slot)
            self.bar.addWidget(button)

    @Slot()
    def _ask_by_name(self) -> None:
        if self.search.text().strip():
            self._tries = list(NAMED)
            self._try_next()
        else:
            self.ask()

    def _try_next(self) -> None:
        self._send("history", {self._tries.pop(0): self.search.text().strip(), "limit": RECENT})

    def show_answer(self, rows: Rows) -> None:
        """An empty answer to one name asks for the next kind of name."""
        if not rows.rows and self._tries:
            self._try_next()
            return
        self._tries = []
        super().show_answer(rows)
        header = self.table.horizontalHeader()
        for place, name in enumerate(name for name in FIRST_COLUMNS if name in rows.columns):
            header.moveSection(header.visualIndex(rows.columns.index(name)), place)
        if "reason" in rows.columns:
            self.table.setColumnWidth(rows.columns.index("reason"), REASON_WIDTH)

    @Slot(QModelIndex)
    def _open(self, index: QModelIndex) -> None:
        run = self.model.value(index.row(), "run")
        if run is not None:
            self.run_wanted.emit(str(run))

    @Slot()
    def _open_chosen(self) -> None:
        if (index := self._chosen()).isValid():
            self._open(index)

    @Slot()
    def _part_chosen(self) -> None:
        row = self._chosen().row()
        part = (self.model.value(row, "label") or self.model.value(row, "device_id")) if row >= 0 else None
        if part:
            self.part_wanted.emit(str(part))

    def _chosen(self) -> QModelIndex:
        """The selected row; when there is only one, that one."""
        chosen = self.table.selectionModel().selectedRows()
        if chosen:
            return chosen[0]
        if self.model.rowCount() == 1:
            return self.model.index(0, 0)
        self.note.setText(self.tr("Choose a row first."))
        return QModelIndex()
