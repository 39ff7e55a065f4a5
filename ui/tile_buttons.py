"""The buttons of a tile: side by side or one above the other, with labels that are never cut."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtGui import QFontMetricsF
from PySide6.QtWidgets import QPushButton

from ui.text import label_size, label_width
from ui.theme import Theme, button_sheet

GAP = 8
HEIGHT = 44
LEAST_BESIDE = 0.75
"""Rather than smaller than this share of their size, labels stand one above the other."""
ANSWER_TEXT, PLAIN_TEXT = 16.0, 14.0


class ButtonRow:
    """Places the buttons of its tile; ``factor``: the share of their size that there is room for.

    A button with the property ``answers`` has the colour of the tile's role.
    """

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._styled: tuple[float, str] | None = None
        self.buttons: list[QPushButton] = []
        self.factor = 1.0

    def replace(self, buttons: Sequence[QPushButton]) -> None:
        """Other buttons; those of before are taken away."""
        for button in self.buttons:
            button.hide()
            button.deleteLater()
        self.buttons = list(buttons)
        self._styled = None

    def height(self, width: int) -> int:
        """Height of all buttons at a width, with the gap above them."""
        if not self.buttons:
            return 0
        _size, stacked, height = self._form(width)
        return (len(self.buttons) if stacked else 1) * (height + GAP)

    def place(self, left: int, bottom: int, width: int, role: str) -> int:
        """Place the buttons from a line upwards; returns the line above which there is room."""
        size, stacked, height = self._form(width)
        self._style(size, role)
        count, top = len(self.buttons), bottom - self.height(width) + GAP
        wide = width if stacked else (width - GAP * (count - 1)) // count
        for place, button in enumerate(self.buttons):
            x, y = (0, place * (height + GAP)) if stacked else (place * (wide + GAP), 0)
            button.setGeometry(left + x, top + y, wide, height)
        return top - GAP

    def _form(self, width: int) -> tuple[float, bool, int]:
        """Text size, whether the buttons stand one above the other, and the height of each."""
        texts, size = [button.text() for button in self.buttons], ANSWER_TEXT * self.factor
        wide = (width - GAP * (len(texts) - 1)) // len(texts)
        beside = label_size(self._theme, texts, wide, size)
        fits = all(label_width(self._theme, text, beside) <= wide for text in texts)
        stacked = not fits or beside < LEAST_BESIDE * size
        size = label_size(self._theme, texts, width, size) if stacked else beside
        line = QFontMetricsF(self._theme.font(size, bold=True)).height()
        return size, stacked, max(round(HEIGHT * self.factor), round(line * 1.6))

    def _style(self, size: float, role: str) -> None:
        """A style sheet is dear: only for other buttons, another size or role."""
        if (size, role) == self._styled:
            return
        self._styled = (size, role)
        plain = f"QPushButton {{ font-size: {self._theme.px(min(size, PLAIN_TEXT))}px; padding: 0 8px; }}"
        for button in self.buttons:
            button.setStyleSheet(button_sheet(self._theme, role, size) if button.property("answers") else plain)
