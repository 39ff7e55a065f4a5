"""Painted text: a word as large as its box allows, and a block of lines that ends in an ellipsis, never in a cut."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QTextLayout, QTextOption
from PySide6.QtWidgets import QWidget

from ui.theme import LABEL_PADDING, SMALLEST_TEXT, Theme


def break_lines(text: str, font: QFont, width: float, most: int) -> list[str]:
    """The text in at most ``most`` lines of ``width`` pixels, the last one elided."""
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    layout = QTextLayout(text, font)
    layout.setTextOption(option)
    layout.beginLayout()
    pieces: list[tuple[int, int]] = []
    while (line := layout.createLine()).isValid():
        line.setLineWidth(max(1.0, width))
        pieces.append((line.textStart(), line.textLength()))
    layout.endLayout()
    lines = [text[start : start + length].rstrip() for start, length in pieces[:most]]
    if len(pieces) > most:
        rest = text[pieces[most - 1][0] :]
        lines[-1] = QFontMetricsF(font).elidedText(rest, Qt.TextElideMode.ElideRight, width)
    return lines


MANY = 99  # lines: as many as there is room for
SHRINK = 0.9
LEAST_TEXT = 0.7
"""What does not fit is drawn smaller, step by step, down to this share of its size at a text size of 100 %."""


def factors(theme: Theme, largest: float = 1.0) -> list[float]:
    """Sizes to try for a text that must be read whole, largest first."""
    found, least = [largest], min(largest, LEAST_TEXT / theme.scale)
    while found[-1] * SHRINK > least:
        found.append(found[-1] * SHRINK)
    return [*found, least] if least < found[-1] else found


def label_width(theme: Theme, text: str, size: float) -> int:
    """Width of a primary button with this text (``button_sheet``)."""
    return round(QFontMetricsF(theme.font(size, bold=True)).horizontalAdvance(text)) + 2 * LABEL_PADDING + 2


def label_size(theme: Theme, texts: Sequence[str], width: float, size: float) -> float:
    """The largest size up to ``size`` at which each of these labels fits a button of this width."""
    while theme.px(size) > SMALLEST_TEXT and any(label_width(theme, text, size) > width for text in texts):
        size *= SHRINK
    return size


class TextBlock(QWidget):
    """One text in one size and colour, wrapped; its owner asks for the height and places it."""

    def __init__(
        self,
        theme: Theme,
        size: float,
        parent: QWidget,
        *,
        bold: bool = False,
        mono: bool = False,
        narrow: bool = False,
    ) -> None:
        super().__init__(parent)
        self._font = theme.font(size, bold=bold, mono=mono, narrow=narrow)
        self._base = self._font.pixelSize()
        self._metrics = QFontMetricsF(self._font)
        self._broken: dict[tuple[int, int], list[str]] = {}  # by width and number of lines, until text or size changes
        self._colour = QColor(theme.ink)
        self._text = ""
        self.most_lines = 1
        self.alignment = Qt.AlignmentFlag.AlignLeft
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def grow(self, factor: float) -> None:
        """Enlarge the text with its tile; 1 is the size it was made with."""
        wanted = max(SMALLEST_TEXT, round(self._base * factor))
        if wanted != self._font.pixelSize():
            self._font.setPixelSize(wanted)
            self._metrics = QFontMetricsF(self._font)
            self._broken.clear()
            self.update()

    def text(self) -> str:
        """The whole text, also what does not fit."""
        return self._text

    def pixel_size(self) -> int:
        """Text size in pixels."""
        return self._font.pixelSize()

    def set_text(self, text: str, colour: str) -> None:
        """Show a text in a colour; the same again costs nothing."""
        wanted = QColor(colour)
        if text == self._text and wanted == self._colour:
            return
        self._text, self._colour = text, wanted
        self._broken.clear()
        self.setAccessibleName(text)
        self.update()

    def _lines(self, width: int, most: int) -> list[str]:
        key = (width, most)
        if key not in self._broken:
            if len(self._broken) > 8:  # a tile that is being resized
                self._broken.clear()
            self._broken[key] = break_lines(self._text, self._font, width, most)
        return self._broken[key]

    def natural_width(self) -> int:
        """Width of the text on one line."""
        return round(self._metrics.horizontalAdvance(self._text) + 1)

    def line_height(self) -> int:
        """Height of one line."""
        return round(self._metrics.height())

    def height_at(self, width: int, most_lines: int) -> int:
        """Height of the text at a width, with a limit of lines that is also remembered for painting."""
        self.most_lines = most_lines
        if not self._text:
            return 0
        return len(self._lines(width, most_lines)) * self.line_height()

    def sizeHint(self) -> QSize:  # noqa: N802
        """One line of the text."""
        return QSize(self.natural_width(), self.line_height())

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the lines that fit."""
        painter = QPainter(self)
        painter.setFont(self._font)
        painter.setPen(self._colour)
        height = self.line_height()
        most = max(1, min(self.most_lines, self.height() // height))
        for number, line in enumerate(self._lines(self.width(), most)):
            painter.drawText(QRectF(0, number * height, self.width(), height), int(self.alignment), line)


class FitWord(QWidget):
    """One or two lines of bold text, as large as the box allows up to a limit."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._text = ""
        self._colour = QColor(theme.ink)
        self._limit = 50.0
        self._lines: list[str] = []
        self._font = theme.font(self._limit, bold=True, narrow=True)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def text(self) -> str:
        """The word."""
        return self._text

    def pixel_size(self) -> int:
        """The size that was chosen."""
        return self._font.pixelSize()

    def set_word(self, text: str, colour: str) -> None:
        """Show a word in a colour."""
        wanted = QColor(colour)
        if text != self._text or wanted != self._colour:
            self._text, self._colour = text, wanted
            self.setAccessibleName(text)
            self._fit()
            self.update()

    def place(self, x: int, y: int, width: int, height: int, limit: float) -> None:
        """Give the word its box and its largest size."""
        box = QRect(x, y, width, height)
        if (box, limit) != (self.geometry(), self._limit):
            self._limit = limit
            self.setGeometry(box)
            self._fit()

    def _fit(self) -> None:
        one = self._size_of([self._text])
        two_lines = self._halves()
        two = self._size_of(two_lines)
        self._lines = two_lines if two > one * 1.2 else [self._text]
        self._font = self._theme.font(1, bold=True, narrow=True)
        self._font.setPixelSize(max(SMALLEST_TEXT, int(max(one, two) if two > one * 1.2 else one)))

    def _halves(self) -> list[str]:
        """The most even break into two lines."""
        words = self._text.split()
        if len(words) < 2:
            return [self._text]
        breaks = [[" ".join(words[:i]), " ".join(words[i:])] for i in range(1, len(words))]
        return min(breaks, key=lambda pair: max(map(len, pair)))

    def _size_of(self, lines: list[str]) -> float:
        """The largest size at which these lines fit the box."""
        probe = self._theme.font(1, bold=True, narrow=True)
        probe.setPixelSize(100)
        metrics = QFontMetricsF(probe)
        widest = max(metrics.horizontalAdvance(line) for line in lines) or 1.0
        by_height = self.height() * 100 / (metrics.height() * len(lines))
        return min(self._limit, self.width() * 100 / widest, by_height)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the word, centred in height."""
        painter = QPainter(self)
        painter.setFont(self._font)
        painter.setPen(self._colour)
        metrics = QFontMetricsF(self._font)
        top = (self.height() - metrics.height() * len(self._lines)) / 2
        for number, line in enumerate(self._lines):
            painter.drawText(QPointF(0, top + metrics.ascent() + number * metrics.height()), line)
