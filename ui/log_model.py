"""The ring of log lines behind the log card: newest lines win, filters without a proxy, inserts in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor, QFont

from ui.log_lines import LogFilter, LogRow, Rows, as_lines, between, row_of
from ui.theme import Theme

CAPACITY = 100_000
COLUMNS = 4
DISPLAY, INK = int(Qt.ItemDataRole.DisplayRole), int(Qt.ItemDataRole.ForegroundRole)
FONT, TIP = int(Qt.ItemDataRole.FontRole), int(Qt.ItemDataRole.ToolTipRole)
ANSWERED = frozenset((DISPLAY, INK, FONT, TIP))  # the view asks for five other roles of every cell it paints
Index = QModelIndex | QPersistentModelIndex


class LogModel(QAbstractTableModel):
    """Log lines as a table: time, socket, source, text; at most ``capacity`` lines are kept."""

    def __init__(self, theme: Theme, capacity: int = CAPACITY, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._capacity = capacity
        self._all: deque[bytes] = deque(maxlen=capacity)
        self._shown: list[bytes] = []
        self._filter = LogFilter()
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
        return Rows(self._shown)

    def append(self, lines: Sequence[bytes | LogRow]) -> None:
        """Add lines at the end; the oldest ones leave when the ring is full."""
        if not lines:
            return
        new = as_lines(lines)
        leaving = max(0, len(self._all) + len(new) - self._capacity)
        if leaving and leaving >= len(self._all):
            self._all.extend(new)
            self._refilter()
            return
        gone = self._shown_of_first(leaving)
        self._all.extend(new)
        self._remove(gone)
        self._insert(self._filter.shown(new))

    def set_filter(self, socket: int, needle: str, details: bool = False) -> None:
        """Show one socket (0: all) and lines that contain ``needle``, whatever the case; debug lines on request."""
        chosen = LogFilter(socket, needle, details)
        if chosen.wanted != self._filter.wanted:
            self._filter = chosen
            self._refilter()

    def between(self, socket: int, first: float, last: float) -> list[LogRow]:
        """All kept lines of one socket in a span of time, details included."""
        return between(self._all, socket, first, last)

    def _refilter(self) -> None:
        self.beginResetModel()
        self._shown = self._filter.shown(self._all)
        self.endResetModel()

    def _shown_of_first(self, count: int) -> int:
        """How many of the oldest lines the table shows; the filter is asked only when it holds anything back."""
        if count == 0 or len(self._shown) == len(self._all):
            return count
        return len(self._filter.shown(islice(self._all, count)))

    def _remove(self, count: int) -> None:
        if count:
            self.beginRemoveRows(QModelIndex(), 0, count - 1)
            del self._shown[:count]
            self.endRemoveRows()

    def _insert(self, lines: list[bytes]) -> None:
        if lines:
            first = len(self._shown)
            self.beginInsertRows(QModelIndex(), first, first + len(lines) - 1)
            self._shown += lines
            self.endInsertRows()

    # ---- what the view asks, for visible rows only --------------------------------------------------------------

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        """Number of lines that pass the filter."""
        return 0 if parent.isValid() else len(self._shown)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        """Time, socket, source, text."""
        return 0 if parent.isValid() else COLUMNS

    def data(self, index: Index, role: int = DISPLAY) -> object:
        """Text, colour and weight of one cell."""
        if role not in ANSWERED:
            return None
        column = index.column()
        if role == FONT:
            return self._bold if column == 1 else None
        row = row_of(self._shown[index.row()])
        if role == DISPLAY:
            return self._text(row, column)
        if role == INK:
            return self._ink_of(row, column)
        return row[4] if column == 3 else None

    def cell(self, row: int, column: int) -> tuple[str, QColor, QFont | None]:
        """What is painted in one cell: text, colour, and a font where it is not the view's."""
        line = row_of(self._shown[row])
        return self._text(line, column), self._ink_of(line, column), self._bold if column == 1 else None

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
