"""A table of ``Rows``: whatever columns the engine names, narrowed by what is typed into the find field."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QCoreApplication, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from station.protocol import Rows
from ui.theme import Theme

translate = QCoreApplication.translate
Index = QModelIndex | QPersistentModelIndex
TIMES = ("time", "acknowledged")
SIGNS = {"pass": "✔", "fail": "✖", "hold": "‖", "quarantine": "⚠", "bench": "⚠"}


def cell_text(value: Any, column: str = "") -> str:
    """A plain value as shown: no trailing zeros, no ``None``, local times, verdicts with their sign."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return translate("rows", "yes") if value else translate("rows", "no")
    if column == "kind" and value in SIGNS:
        return f"{SIGNS[value]} {value}"
    if column in TIMES and isinstance(value, (int, float)):
        return datetime.fromtimestamp(value).strftime("%Y-%m-%d %H:%M:%S") if value else ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class RowsModel(QAbstractTableModel):
    """The last answer to one query."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = Rows("", 0, (), ())
        self._texts: list[tuple[str, ...]] = []
        self._shown: list[int] = []
        self._needle = ""

    def show_rows(self, rows: Rows) -> None:
        """Replace everything."""
        self.beginResetModel()
        self.answer = rows
        self._texts = [tuple(map(cell_text, row, rows.columns)) for row in rows.rows]
        self._narrow()
        self.endResetModel()

    def set_needle(self, needle: str) -> None:
        """Show the rows in which every word of ``needle`` occurs somewhere."""
        self.beginResetModel()
        self._needle = needle
        self._narrow()
        self.endResetModel()

    def _narrow(self) -> None:
        words = self._needle.casefold().split()
        joined = ["\n".join(row).casefold() for row in self._texts] if words else []
        self._shown = [i for i in range(len(self._texts)) if all(word in joined[i] for word in words)]

    def value(self, row: int, column: str) -> Any:
        """The value of a named column in a shown row, or None when the engine does not send it."""
        columns = self.answer.columns
        return self.answer.rows[self._shown[row]][columns.index(column)] if column in columns else None

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        """Number of rows that are shown."""
        return 0 if parent.isValid() else len(self._shown)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        """Number of columns."""
        return 0 if parent.isValid() else len(self.answer.columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Text of one cell."""
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return None
        texts = self._texts[self._shown[index.row()]]
        return texts[index.column()] if index.column() < len(texts) else ""

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> object:  # noqa: N802
        """Column names as the engine writes them."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return self.answer.columns[section].replace("_", " ")
        return None


def rows_view(theme: Theme, model: RowsModel) -> QTableView:
    """A calm table on a model."""
    view = QTableView()
    view.setProperty("framed", "true")
    view.setModel(model)
    view.setShowGrid(False)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.verticalHeader().hide()
    view.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    view.verticalHeader().setDefaultSectionSize(round(theme.px(14) * 1.9))
    view.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
    view.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
    view.horizontalHeader().setStretchLastSection(True)
    return view
