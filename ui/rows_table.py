"""A table of ``Rows``: whatever columns the engine names, with a find field."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from station.protocol import Rows
from ui.theme import Theme

Index = QModelIndex | QPersistentModelIndex


def cell_text(value: Any) -> str:
    """A plain value as shown: no trailing zeros, no ``None``."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class RowsModel(QAbstractTableModel):
    """The last answer to one query."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = Rows("", 0, (), ())

    def show_rows(self, rows: Rows) -> None:
        """Replace everything."""
        self.beginResetModel()
        self.answer = rows
        self.endResetModel()

    def value(self, row: int, column: str) -> Any:
        """The value of a named column, or None when the engine does not send it."""
        columns = self.answer.columns
        return self.answer.rows[row][columns.index(column)] if column in columns else None

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        """Number of rows."""
        return 0 if parent.isValid() else len(self.answer.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        """Number of columns."""
        return 0 if parent.isValid() else len(self.answer.columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Text of one cell."""
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return None
        row = self.answer.rows[index.row()]
        return cell_text(row[index.column()]) if index.column() < len(row) else ""

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
