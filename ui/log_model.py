"""The ring of log lines behind the log card: newest lines win, filters without a proxy, inserts in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor

from ui.event_lines import LogRow
from ui.theme import Theme

CAPACITY = 100_000
COLUMNS = 4
Index = QModelIndex | QPersistentModelIndex


class LogModel(QAbstractTableModel):
    """Log lines as a table: time, socket, source, text; at most ``capacity`` lines are kept."""

    def __init__(self, theme: Theme, capacity: int = CAPACITY, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._capacity = capacity
        self._all: deque[LogRow] = deque(maxlen=capacity)
        self._shown: list[LogRow] = []
        self._socket = 0
        self._needle = ""
        self._details = False
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        """Take the colours of the theme."""
        self._inks = {
            "debug": QColor(theme.muted),
            "info": QColor(theme.ink),
            "warning": QColor(theme.role("wait").edge),
            "error": QColor(theme.role("fail").edge),
        }
        self._burn = QColor(theme.role("burn").edge)
        self._pass = QColor(theme.role("pass").edge)
        self._muted = QColor(theme.muted)
        self._ink = QColor(theme.ink)
        self._bold = theme.font(13, bold=True, mono=True)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def rows(self) -> Sequence[LogRow]:
        """The lines that pass the filter, oldest first."""
        return self._shown

    def append(self, rows: Sequence[LogRow]) -> None:
        """Add lines at the end; the oldest ones leave when the ring is full."""
        if not rows:
            return
        leaving = max(0, len(self._all) + len(rows) - self._capacity)
        if leaving and leaving >= len(self._all):
            self._all.extend(rows)
            self._refilter()
            return
        self._drop_front(leaving)
        self._all.extend(rows)
        self._insert([row for row in rows if self._passes(row)])

    def set_filter(self, socket: int, needle: str, details: bool = False) -> None:
        """Show one socket (0: all) and lines that contain ``needle``, whatever the case; debug lines on request."""
        wanted = (socket, needle.casefold(), details)
        if wanted != (self._socket, self._needle, self._details):
            self._socket, self._needle, self._details = wanted
            self._refilter()

    def _passes(self, row: LogRow) -> bool:
        return (
            (not self._socket or row[1] == self._socket)
            and (self._details or row[3] != "debug")
            and (not self._needle or self._needle in row[4].casefold() or self._needle in row[2].casefold())
        )

    def between(self, socket: int, first: float, last: float) -> list[LogRow]:
        """All kept lines of one socket in a span of time, details included."""
        return [row for row in self._all if row[1] == socket and first <= row[0] <= last]

    def _refilter(self) -> None:
        self.beginResetModel()
        self._shown = [row for row in self._all if self._passes(row)]
        self.endResetModel()

    def _drop_front(self, count: int) -> None:
        if not count:
            return
        shown = sum(1 for row in islice(self._all, count) if self._passes(row))
        for _ in range(count):
            self._all.popleft()
        if shown:
            self.beginRemoveRows(QModelIndex(), 0, shown - 1)
            del self._shown[:shown]
            self.endRemoveRows()

    def _insert(self, rows: list[LogRow]) -> None:
        if rows:
            first = len(self._shown)
            self.beginInsertRows(QModelIndex(), first, first + len(rows) - 1)
            self._shown += rows
            self.endInsertRows()

    # ---- what the view asks, for visible rows only --------------------------------------------------------------

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        """Number of lines that pass the filter."""
        return 0 if parent.isValid() else len(self._shown)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        """Time, socket, source, text."""
        return 0 if parent.isValid() else COLUMNS

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Text, colour and weight of one cell."""
        row = self._shown[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, index.column())
        if role == Qt.ItemDataRole.ForegroundRole:
            return self._ink_of(row, index.column())
        if role == Qt.ItemDataRole.FontRole and index.column() == 1:
            return self._bold
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == 3:
            return row[4]
        return None

    def _text(self, row: LogRow, column: int) -> str:
        if column == 0:
            return datetime.fromtimestamp(row[0]).strftime("%H:%M:%S.%f")[:-3]
        if column == 1:
            return str(row[1]) if row[1] else ""
        return row[2] if column == 2 else row[4]

    def _ink_of(self, row: LogRow, column: int) -> QColor:
        if column == 1:
            return self._ink
        if column != 3:
            return self._muted
        if row[3] in ("warning", "error"):
            return self._inks[row[3]]
        if row[4].startswith("◆"):
            return self._burn
        if row[4].startswith("✔"):
            return self._pass
        return self._muted if row[2] == "dut" else self._inks.get(row[3], self._ink)
