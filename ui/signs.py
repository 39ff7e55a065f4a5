"""The signs of bins, drawn as shapes so that they stay readable at any size and without colour."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPen, QPolygonF

from ui.theme import Pair, Theme, mix

SMALL = 15.0  # pixels; smaller cells have no border

ROLES = {
    "pass": "pass",
    "fail": "fail",
    "hold": "hold",
    "quarantine": "quarantine",
    "bench": "neutral",
    "running": "run",
}


def draw_cell(painter: QPainter, theme: Theme, kind: str, box: QRectF) -> None:
    """One die or tray place: surface, border and sign of its kind; an empty kind is a blank place."""
    role = ROLES.get(kind)
    pair = theme.role(role) if role else None
    if pair is not None and box.width() < SMALL:
        _draw_small(painter, kind, pair, box)
        return
    radius = min(4.0, box.width() / 5)
    painter.setPen(QPen(QColor(pair.edge if pair else theme.line), 1))
    painter.setBrush(QColor(pair.surface if pair and role != "neutral" else theme.card if pair else theme.background))
    painter.drawRoundedRect(box, radius, radius)
    if pair is None:
        return
    if kind == "quarantine":
        painter.fillRect(box.adjusted(1, 1, -1, -1), QBrush(QColor(pair.edge), Qt.BrushStyle.BDiagPattern))
    draw_sign(painter, kind, box, QColor(pair.edge))


def _draw_small(painter: QPainter, kind: str, pair: Pair, box: QRectF) -> None:
    """A die of a large wafer: passes stay light, everything else is filled so that it stands out."""
    light = kind == "pass"
    painter.fillRect(box, QColor(pair.surface if light else pair.edge))
    draw_sign(painter, kind, box, QColor(mix(pair.edge, pair.surface, 0.35) if light else pair.surface))


def draw_sign(painter: QPainter, kind: str, box: QRectF, colour: QColor) -> None:
    """The sign alone: tick, cross, two bars, triangle, dash or diamond."""
    middle = box.center()
    size = min(box.width(), box.height()) * 0.24
    pen = QPen(colour, max(1.4, size * 0.42))
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if kind == "pass":
        painter.drawPolyline(_points(middle, size, [(-1, 0.1), (-0.3, 0.8), (1, -0.8)]))
    elif kind == "fail":
        painter.drawLine(_point(middle, size, -0.9, -0.9), _point(middle, size, 0.9, 0.9))
        painter.drawLine(_point(middle, size, -0.9, 0.9), _point(middle, size, 0.9, -0.9))
    elif kind == "hold":
        painter.drawLine(_point(middle, size, -0.5, -0.9), _point(middle, size, -0.5, 0.9))
        painter.drawLine(_point(middle, size, 0.5, -0.9), _point(middle, size, 0.5, 0.9))
    elif kind == "quarantine":
        painter.setBrush(colour)
        painter.drawPolygon(_points(middle, size, [(0, -0.9), (1, 0.8), (-1, 0.8)]))
    elif kind == "bench":
        painter.drawLine(_point(middle, size, -0.9, 0), _point(middle, size, 0.9, 0))
    elif kind == "running":
        painter.setBrush(colour)
        painter.drawPolygon(_points(middle, size, [(0, -1), (1, 0), (0, 1), (-1, 0)]))


def _point(middle: QPointF, size: float, x: float, y: float) -> QPointF:
    return QPointF(middle.x() + x * size, middle.y() + y * size)


def _points(middle: QPointF, size: float, corners: list[tuple[float, float]]) -> QPolygonF:
    return QPolygonF([_point(middle, size, x, y) for x, y in corners])
