"""The plan of a run as the operator's checklist, and the progress bar below it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from station.protocol import PlanItem, StepState
from ui.theme import Theme
from ui.words import STEP_GLYPHS, step_glyph, step_time, translate

BURN_SIGN = "◆"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the checklist."""

    glyph: str
    title: str
    burn: bool
    time: str
    status: str


def rows_of(plan: tuple[PlanItem, ...], steps: tuple[StepState, ...]) -> list[Row]:
    """The plan with what has happened to each title; only what the plan names is shown."""
    by_id = {step.id: step for step in steps}
    rows = []
    for item in plan:
        step = by_id.get(item.id)
        rows.append(Row(step_glyph(step), item.title, item.burn, step_time(step), step.status if step else "pending"))
    return rows


def finished(rows: list[Row]) -> list[Row]:
    """The rows of a part that passed: what its run left out was not needed."""
    words = translate("Checklist", "not needed")
    return [
        replace(row, glyph=STEP_GLYPHS["skipped"], time=words, status="skipped") if row.status == "pending" else row
        for row in rows
    ]


def window_of(rows: list[Row], room: int) -> tuple[int, int]:
    """First and last+1 row to show when only ``room`` fit: the running or failed one stays in sight."""
    if len(rows) <= room:
        return 0, len(rows)
    active = [i for i, row in enumerate(rows) if row.status in ("running", "failed")]
    touched = [i for i, row in enumerate(rows) if row.status != "pending"]
    focus = active[-1] if active else (touched[-1] if touched else 0)
    first = min(max(0, focus - room + 2), len(rows) - room)
    return first, first + room


class Checklist(QWidget):
    """Draws as many rows as fit, around the one that matters."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._rows: list[Row] = []
        self._factor = 1.0
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    @property
    def rows(self) -> list[Row]:
        """All rows, also those that do not fit."""
        return self._rows

    def row_height(self) -> int:
        """Height of one row."""
        return round(self._theme.px(14) * 1.6 * self._factor)

    def grow(self, factor: float) -> None:
        """Enlarge the rows with their tile."""
        if factor != self._factor:
            self._factor = factor
            self.update()

    def set_rows(self, rows: list[Row]) -> None:
        """Show these rows; the same again costs nothing."""
        if rows != self._rows:
            self._rows = rows
            self.setAccessibleName("; ".join(f"{row.glyph} {row.title}" for row in rows))
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the rows."""
        painter = QPainter(self)
        height = self.row_height()
        room = self.height() // height
        if room < 1:
            return
        first, last = window_of(self._rows, room)
        for place, row in enumerate(self._rows[first:last]):
            self._draw(painter, row, place * height, height)
        hidden = len(self._rows) - (last - first)
        if hidden:
            self._draw_hidden(painter, hidden, (last - first) * height)

    def _draw(self, painter: QPainter, row: Row, top: int, height: int) -> None:
        theme = self._theme
        strong = row.status in ("running", "failed")
        ink = theme.muted if row.status in ("pending", "skipped") else theme.ink
        indent = 24 * self._factor
        glyph_box = QRectF(0, top, indent, height)
        painter.setFont(theme.font(14 * self._factor, bold=True))
        painter.setPen(QColor(self._glyph_ink(row)))
        painter.drawText(glyph_box, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), row.glyph)
        time_font = theme.font(12 * self._factor, mono=True)
        time_width = QFontMetricsF(time_font).horizontalAdvance(row.time) + 4
        painter.setFont(time_font)
        painter.setPen(QColor(theme.muted))
        right = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight)
        painter.drawText(QRectF(0, top, self.width(), height), right, row.time)
        font = theme.font(14 * self._factor, bold=strong)
        metrics = QFontMetricsF(font)
        room = self.width() - indent - time_width
        sign = f"  {BURN_SIGN}" if row.burn else ""
        title_room = room - metrics.horizontalAdvance(sign)
        painter.setFont(font)
        painter.setPen(QColor(ink))
        text = metrics.elidedText(row.title, Qt.TextElideMode.ElideRight, title_room) + sign
        left = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.drawText(QRectF(indent, top, room, height), left, text)

    def _draw_hidden(self, painter: QPainter, hidden: int, top: int) -> None:
        if self.height() - top < self._theme.px(12):
            return
        text = translate("Checklist", "{n} more steps").format(n=hidden)
        painter.setFont(self._theme.font(11))
        painter.setPen(QColor(self._theme.muted))
        painter.drawText(QRectF(24, top, self.width() - 24, self.height() - top), int(Qt.AlignmentFlag.AlignTop), text)

    def _glyph_ink(self, row: Row) -> str:
        roles = {"done": "pass", "found_done": "pass", "failed": "fail", "running": "run"}
        role = roles.get(row.status)
        return self._theme.role(role).edge if role else self._theme.muted


class Bar(QWidget):
    """A progress bar in the colour of the state."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._percent = 0
        self._colour = theme.ink

    @property
    def percent(self) -> int:
        """What is shown, 0 to 100."""
        return self._percent

    def set_value(self, percent: int, colour: str) -> None:
        """Show a share in a colour."""
        value = (max(0, min(100, percent)), colour)
        if value != (self._percent, self._colour):
            self._percent, self._colour = value
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw track and share."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        radius = self.height() / 2
        painter.setBrush(QColor(self._theme.line))
        painter.drawRoundedRect(QRectF(0, 0, self.width(), self.height()), radius, radius)
        if self._percent:
            painter.setBrush(QColor(self._colour))
            width = max(self.height(), self.width() * self._percent / 100)
            painter.drawRoundedRect(QRectF(0, 0, width, self.height()), radius, radius)
