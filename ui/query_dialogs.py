"""Dialogs for the engineer: each asks the engine one query and shows the rows that come back."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import QComboBox, QDialog, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from station.protocol import Handle, Query, Rows
from ui.rows_table import RowsModel, rows_view
from ui.theme import Theme

FAULTS = (
    "power_cut:before:1",
    "power_cut:inside:1",
    "power_cut:after:1",
)
ASK_AFTER_TYPING = 250  # milliseconds


class QueryDialog(QDialog):
    """A title, a find field and a table; ``commanded`` carries the ``Query``."""

    commanded = Signal(object)  # Command
    _requests = 0

    def __init__(self, theme: Theme, query: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.query = query
        self.arguments: dict[str, str] = {}
        self.request = 0
        self.setWindowTitle(title)
        self.resize(1000, 640)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.model = RowsModel()
        self.table = rows_view(theme, self.model)
        self.search = QLineEdit()
        self.search.setClearButtonEnabled(True)
        self.note = QLabel()
        self.note.setProperty("kind", "small")
        self.bar = QHBoxLayout()
        self.content = QVBoxLayout(self)
        self.content.setContentsMargins(16, 16, 16, 16)
        self.content.setSpacing(12)
        heading = QLabel(title)
        heading.setProperty("kind", "title")
        self.content.addWidget(heading)
        self.bar.addWidget(self.search, 1)
        self.content.addLayout(self.bar)
        self.content.addWidget(self.table, 1)
        self.content.addWidget(self.note)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(ASK_AFTER_TYPING)
        self._timer.timeout.connect(self.ask)
        self.search.textChanged.connect(self._find_changed)

    @Slot()
    def ask(self) -> None:
        """Send the query; only the answer to the last one is shown."""
        self.request = QueryDialog._requests = QueryDialog._requests + 1
        arguments = dict(self.arguments)
        if self.search.text():
            arguments["find"] = self.search.text()
        self.note.setText(self.tr("Asking the engine…"))
        self.commanded.emit(Query(self.query, self.request, arguments))

    def take_rows(self, rows: Rows) -> bool:
        """Show an answer when it is the one that was asked for."""
        if rows.request != self.request:
            return False
        self.model.show_rows(rows)
        self.table.resizeColumnsToContents()
        self.table.horizontalHeader().setStretchLastSection(True)
        self.note.setText(self.tr("{n} rows").format(n=len(rows.rows)))
        return True

    def take_scan(self, text: str) -> None:
        """A scan in this dialog is what to look for."""
        self.search.setText(text.strip())

    @Slot()
    def _find_changed(self) -> None:
        self._timer.start()


class HistoryDialog(QueryDialog):
    """Find runs by device id, label, lot, bin, date or operator; a double click opens one."""

    run_wanted = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "history", "", parent)
        self.setWindowTitle(self.tr("History"))
        self.search.setPlaceholderText(self.tr("Device id, label, lot, bin, date or operator"))
        self.table.doubleClicked.connect(self._open)

    @Slot(QModelIndex)
    def _open(self, index: QModelIndex) -> None:
        run = self.model.value(index.row(), "run")
        if run is not None:
            self.run_wanted.emit(str(run))


class RunDialog(QueryDialog):
    """One run: steps with times, measurements against limits, console, what went to the appliance."""

    def __init__(self, theme: Theme, title: str, arguments: dict[str, str], parent: QWidget | None = None) -> None:
        super().__init__(theme, "run", title, parent)
        self.arguments = arguments
        self.search.setPlaceholderText(self.tr("Find in this run"))


class BenchDialog(QueryDialog):
    """Sockets, ports, adapters, contact counters and self-check; simulated faults on a virtual bench."""

    def __init__(self, theme: Theme, sockets: int, virtual: bool, parent: QWidget | None = None) -> None:
        super().__init__(theme, "bench", "", parent)
        self.setWindowTitle(self.tr("Bench"))
        self.search.hide()
        self.socket = QComboBox()
        self.fault = QComboBox()
        again = QPushButton(self.tr("Ask again"))
        again.clicked.connect(self.ask)
        self.bar.addWidget(again)
        if virtual:
            self._add_faults(sockets)
        self.bar.addStretch(1)

    def _add_faults(self, sockets: int) -> None:
        for number in range(1, sockets + 1):
            self.socket.addItem(self.tr("Socket {n}").format(n=number), number)
        self.fault.setEditable(True)
        self.fault.addItems(FAULTS)
        button = QPushButton(self.tr("Simulate fault"))
        button.clicked.connect(self._send_fault)
        opened = QPushButton(self.tr("Open lid"))
        opened.clicked.connect(self._open_lid)
        for widget in (self.socket, self.fault, button, opened):
            self.bar.addWidget(widget)

    @Slot()
    def _send_fault(self) -> None:
        self.commanded.emit(Handle(int(self.socket.currentData()), "fault", self.fault.currentText().strip()))

    @Slot()
    def _open_lid(self) -> None:
        self.commanded.emit(Handle(int(self.socket.currentData()), "lid", "open"))
