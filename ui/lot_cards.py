"""This lot: yield with its line and stop limit, bins, and the map of wafer or tray."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import QDateTime, QEvent, QPointF, QRectF, QSize, Qt, QTimer, Slot
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolTip, QVBoxLayout, QWidget

from station.protocol import BinCount, Lot, MapCell
from ui.signs import ROLES, draw_cell
from ui.theme import Theme

NOTHING = "–"
MINUTE, DAY = 60_000, 24 * 3600  # milliseconds, seconds
LEAST_COLUMNS, LEAST_ROWS = 10, 5  # the engine sends used places only; the first part must not fill the card


class Card(QFrame):
    """A white card with a title."""

    def __init__(self, theme: Theme, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.setProperty("card", "true")
        self.title = QLabel(title)
        self.title.setProperty("kind", "title")
        self.content = QVBoxLayout(self)
        self.content.setContentsMargins(16, 12, 16, 12)
        self.content.setSpacing(6)


class Figure(QWidget):
    """A large number over its name."""

    def __init__(self, theme: Theme, name: str, colour: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.value = QLabel(NOTHING)
        self.value.setStyleSheet(f"font-size: {theme.px(26)}px; font-weight: bold; color: {colour};")
        title = QLabel(name)
        title.setProperty("kind", "small")
        layout.addWidget(self.value)
        layout.addWidget(title)

    def set_value(self, text: str) -> None:
        """Show a number."""
        if text != self.value.text():
            self.value.setText(text)


class YieldPlot(pg.PlotWidget):
    """First-pass yield over the parts of the lot, with the limit that stops the lot."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(background=theme.card)
        self.setMenuEnabled(False)
        self.setMouseEnabled(False, False)
        self.hideButtons()
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.getPlotItem().hideAxis("bottom")
        axis = self.getAxis("left")
        axis.setPen(pg.mkPen(None))
        axis.setTextPen(theme.muted)
        axis.setStyle(tickFont=theme.font(12), tickLength=0)
        axis.setWidth(theme.px(42))
        self.showGrid(y=True, alpha=0.15)
        dots = self.devicePixelRatioF()  # widths of these pens are in pixels of the screen
        self._line = self.plot([], pen=pg.mkPen(theme.role("run").edge, width=2 * dots), antialias=True)
        limit_pen = pg.mkPen(theme.role("fail").edge, width=1.5 * dots, style=Qt.PenStyle.DashLine)
        self.limit = pg.InfiniteLine(
            angle=0,
            pen=limit_pen,
            label="",
            labelOpts={"position": 0.9, "color": theme.role("fail").edge, "anchors": [(0.5, 0), (0.5, 0)]},
        )
        self.limit.label.setFont(theme.font(12))
        self.limit.hide()
        self.addItem(self.limit)
        self.setMinimumHeight(70)
        self.hideAxis("left")

    def show_line(self, values: tuple[float, ...], limit: float) -> None:
        """Show yields (0 to 1) in per cent, and the limit; a limit of 0 is none."""
        values, limit = tuple(100 * value for value in values), 100 * limit
        self.showAxis("left", bool(values))  # an axis without a line says nothing
        self.limit.setVisible(limit > 0 and bool(values))
        self.limit.setValue(limit)
        self.limit.label.setFormat(self.tr("stop limit {limit:.0f} %").format(limit=limit))
        if len(values) == 1:
            values *= 2  # a line needs two ends
        self._line.setData(list(range(len(values))), list(values))
        known = [*values, *([limit] if limit > 0 else [])] or [100.0]
        self.setYRange(max(0.0, min(90.0, min(known) - 3)), 101, padding=0)
        self.setXRange(0, max(1, len(values) - 1), padding=0.01)


class LotCard(Card):
    """The yield number, the four counts and the yield line."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "", parent)
        self._shown: Lot | None = None
        self._title()
        self.number = QLabel(NOTHING)
        self.number.setStyleSheet(f"font-size: {theme.px(40)}px; font-weight: bold;")
        self.hint = QLabel()
        self.hint.setProperty("kind", "small")
        self.passed = Figure(theme, self.tr("pass"), theme.role("pass").edge)
        self.failed = Figure(theme, self.tr("fail"), theme.role("fail").edge)
        self.held = Figure(theme, self.tr("hold · quarantine"), theme.role("quarantine").edge)
        self.rate = Figure(theme, self.tr("units / h"), theme.ink)
        self.left = Figure(theme, self.tr("to go"), theme.ink)
        self.left.hide()
        self.plot = YieldPlot(theme)
        row = QHBoxLayout()
        row.setSpacing(22)
        row.addWidget(self.number)
        row.addStretch(1)
        for figure in (self.passed, self.failed, self.held, self.rate, self.left):
            row.addWidget(figure)
        self.content.addWidget(self.title)
        self.content.addLayout(row)
        self.content.addWidget(self.hint)
        self.content.addWidget(self.plot, 1)
        timer = QTimer(self)
        timer.timeout.connect(self._title)  # midnight comes without an event
        timer.start(MINUTE)

    @Slot()
    def _title(self) -> None:
        """Which parts are counted: this lot's, or without one those of today."""
        lot = self._shown
        if lot is None or lot.lot or not lot.since:
            self.title.setText(self.tr("This lot"))
            return
        began, now = QDateTime.fromSecsSinceEpoch(int(lot.since)), QDateTime.currentDateTime()
        if began.secsTo(now) < DAY:
            words = self.tr("Today since {clock} · no lot").format(clock=began.toString("HH:mm"))
        else:
            words = self.tr("Since {moment} · no lot").format(moment=began.toString("yyyy-MM-dd HH:mm"))
        self.title.setText(words)

    def show_lot(self, lot: Lot) -> None:
        """Show the lot's figures."""
        self._shown = lot
        self._title()
        known = bool(lot.yield_line)  # a part on hold has no result yet
        self.number.setText(self.tr("{value:.1f} %").format(value=100 * lot.first_pass_yield) if known else NOTHING)
        hint = self.tr("first-pass yield")
        self.hint.setText(f"{hint} · {lot.stop_hint}" if lot.stop_hint else hint)
        self.passed.set_value(str(lot.passed))
        self.failed.set_value(str(lot.failed))
        self.held.set_value(f"{lot.held} · {lot.quarantined}")
        self.rate.set_value(f"{lot.units_per_hour:.0f}" if lot.units_per_hour else NOTHING)
        self.left.setVisible(lot.to_go >= 0)
        self.left.set_value(str(lot.to_go))
        self.plot.show_line(lot.yield_line, lot.stop_limit)


class BinRows(QWidget):
    """One painted row per bin: number, name, bar, count."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.bins: tuple[BinCount, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)

    def show_bins(self, bins: tuple[BinCount, ...]) -> None:
        """Show these bins, as many as fit."""
        if bins != self.bins:
            self.bins = bins
            self.update()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Room for three rows."""
        return QSize(180, 3 * self._theme.px(26))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the rows; bins with parts come first when there is not room for all."""
        if not self.bins:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        smallest = self._theme.px(24)
        room = max(1, self.height() // smallest)
        shown = self.bins if len(self.bins) <= room else sorted(self.bins, key=lambda row: -row.count)[:room]
        height = min(self._theme.px(36), self.height() / len(shown))
        most = max(1, *(row.count for row in self.bins))
        for place, row in enumerate(shown):
            self._draw(painter, row, QRectF(0, place * height, self.width(), height), most)

    def _draw(self, painter: QPainter, row: BinCount, box: QRectF, most: int) -> None:
        theme = self._theme
        ink = QColor(theme.ink if row.count else theme.muted)
        flags = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.setPen(ink)
        painter.setFont(theme.font(15, bold=True))
        painter.drawText(box, flags, str(row.bin))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight), str(row.count))
        painter.setFont(theme.font(13))
        left, right = theme.px(32), theme.px(40)
        name = QRectF(left, box.top(), (box.width() - left - right) * 0.6, box.height())
        text = painter.fontMetrics().elidedText(row.name, Qt.TextElideMode.ElideRight, int(name.width() - 6))
        painter.drawText(name, flags, text)
        track = QRectF(name.right() + 4, box.center().y() - 6, box.width() - right - name.right() - 4, 12)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.background))
        painter.drawRoundedRect(track, 3, 3)
        if row.count:
            painter.setBrush(QColor(theme.role(ROLES.get(row.kind, "neutral")).edge))
            width = max(5.0, track.width() * row.count / most)
            painter.drawRoundedRect(QRectF(track.left(), track.top(), width, track.height()), 3, 3)


class BinsCard(Card):
    """The bins of this lot."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "", parent)
        self.title.setText(self.tr("Bins"))
        self.rows = BinRows(theme)
        self.content.addWidget(self.title)
        self.content.addWidget(self.rows, 1)


class MapView(QWidget):
    """Dies of a wafer or places of a tray, each with hue and sign."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.cells: tuple[MapCell, ...] = ()
        self._square = True
        self._boxes: list[tuple[QRectF, MapCell]] = []
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)

    def show_cells(self, cells: tuple[MapCell, ...], square: bool) -> None:
        """Show a map; dies are square, tray places may be higher than wide."""
        if (cells, square) != (self.cells, self._square):
            self.cells, self._square = cells, square
            self.update()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Room for a small tray."""
        return QSize(150, 80)

    def _layout_boxes(self) -> list[tuple[QRectF, MapCell]]:
        if not self.cells:
            return []
        left = min(0 if not self._square else c.x for c in self.cells)
        top = min(0 if not self._square else c.y for c in self.cells)
        columns = max(LEAST_COLUMNS, max(c.x for c in self.cells) - left + 1)
        rows = max(LEAST_ROWS, max(c.y for c in self.cells) - top + 1)
        width, height = self.width() / columns, self.height() / rows
        if self._square:
            width = height = min(width, height)
        else:
            height = min(height, width * 1.3)
            width = min(width, height * 1.3)
        gap = 1.0 if width < 14 else 4.0
        indent = (self.width() - width * columns) / 2 if self._square else 0.0
        return [
            (QRectF(indent + (c.x - left) * width, (c.y - top) * height, width - gap, height - gap), c)
            for c in self.cells
        ]

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the cells; places of a tray that are still empty show their number."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._boxes = self._layout_boxes()
        painter.setFont(self._theme.font(11))
        columns = max(LEAST_COLUMNS, max((c.x for c in self.cells), default=0) + 1)
        for box, cell in self._boxes:
            draw_cell(painter, self._theme, cell.kind, box)
            if not cell.kind and not self._square and box.width() >= 22:
                painter.setPen(QColor(self._theme.muted))
                painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), str(cell.y * columns + cell.x + 1))

    def event(self, event: QEvent) -> bool:
        """The tip of a cell names its place and bin."""
        if isinstance(event, QHelpEvent):
            place = QPointF(event.pos())
            for box, cell in self._boxes:
                if box.contains(place):
                    text = self.tr("x {x}, y {y}: {kind} bin {bin}")
                    tip = text.format(x=cell.x, y=cell.y, kind=cell.kind or "–", bin=cell.bin)
                    QToolTip.showText(event.globalPos(), tip, self)
                    return True
        return super().event(event)


class MapCard(Card):
    """Wafer map in chip probe, tray map in final test."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, "", parent)
        self.map = MapView(theme)
        self.content.addWidget(self.title)
        self.content.addWidget(self.map, 1)

    def show_lot(self, lot: Lot) -> None:
        """Show the lot's map."""
        name = self.tr("Wafer {name}") if lot.map_kind == "wafer" else self.tr("Tray {name}")
        self.title.setText(name.format(name=lot.map_name or lot.wafer).rstrip())
        self.map.show_cells(lot.cells, lot.map_kind == "wafer")
