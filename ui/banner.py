"""The banner: one sentence and the one primary action, always in the same place."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QPushButton, QWidget

from station.protocol import Answer
from ui.primary import Primary
from ui.text import MANY, TextBlock, factors, label_size, label_width
from ui.theme import RADIUS, Theme, button_sheet
from ui.words import sentence

NOTICE_SECONDS = 8
ICON = 74
MARGIN, GAP = 16, 8
BUTTON_TEXT = 18.0
BUTTONS_SHARE = 0.5
"""Of the banner's width: what is said and asked must be read whole beside them."""


class Banner(QWidget):
    """Shows a ``Primary``; its button and the keys end in the same signal."""

    pressed = Signal()
    answered = Signal(object)  # Answer

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._primary = Primary("")
        self._button_style: object = None
        self._notice = ""
        self._times = 0
        self.choices: list[QPushButton] = []
        self._shown_choices: tuple[tuple[str, Answer], ...] = ()
        self.sentence = TextBlock(theme, 30, self, bold=True)
        self.hint = TextBlock(theme, 16, self)
        self.button = QPushButton(self)
        self.button.clicked.connect(self.pressed)
        self.give_room(1000)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.end_notice)

    @property
    def primary(self) -> Primary:
        """What is shown."""
        return self._primary

    def give_room(self, screen_height: int) -> None:
        """As high as the text size asks for, up to a share of the screen's height."""
        self.setFixedHeight(max(96, min(self._theme.px(96), round(screen_height * 0.15))))

    def show_primary(self, primary: Primary) -> None:
        """Show what to do now."""
        if primary == self._primary:
            return
        self._primary = primary
        self._show()

    def notice(self, text: str) -> None:
        """Show one sentence in place of the hint for a while: a refusal, or what a scan was; a repeat is counted."""
        self._times = self._times + 1 if text == self._notice else 1
        self._notice = text
        self._timer.start(NOTICE_SECONDS * 1000)
        self._show()

    @Slot()
    def end_notice(self) -> None:
        """What was refused has gone well since, or somebody else works here."""
        self._timer.stop()
        if self._notice:
            self._notice = ""
            self._show()

    def _show(self) -> None:
        primary, theme = self._primary, self._theme
        self.sentence.set_text(sentence(primary.sentence), self._ink())
        times = f"  (×{self._times})" if self._times > 1 else ""
        if self._notice:
            self.hint.set_text(
                f"⚠ {sentence(self._notice)}{times}",
                theme.role("fail").edge if primary.role != "neutral" else "#FFFFFF",
            )
        else:
            self.hint.set_text(sentence(primary.hint), self._hint_ink())
        self.button.setVisible(bool(primary.button))
        self.button.setText(primary.button)
        self._show_choices(primary.choices)
        self.setAccessibleName(f"{primary.sentence}. {primary.hint}")
        self._arrange()
        self.update()

    def _show_choices(self, choices: tuple[tuple[str, Answer], ...]) -> None:
        """The buttons of a question, in place of the one action."""
        if choices == self._shown_choices:
            return
        self._shown_choices = choices
        self._button_style = None
        for button in self.choices:
            button.hide()
            button.deleteLater()
        self.choices = [self._choice(text, answer) for text, answer in choices]

    def _choice(self, text: str, answer: Answer) -> QPushButton:
        button = QPushButton(text, self)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(lambda: self.answered.emit(answer))
        button.show()
        return button

    def _ink(self) -> str:
        return "#FFFFFF" if self._primary.role == "neutral" else self._theme.ink

    def _hint_ink(self) -> str:
        return "#FFFFFF" if self._primary.role == "neutral" else self._theme.muted

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Place sentence, hint and button."""
        self._arrange()

    def _arrange(self) -> None:
        """Buttons from the right, then sentence and hint, as large as they can be shown whole."""
        height = min(max(64, self._theme.px(64)), self.height() - 2 * MARGIN)
        room = self.width() - ICON - self._place_buttons(height) - 40
        for factor in factors(self._theme):
            self.sentence.grow(factor)
            self.hint.grow(factor)
            first, second = self.sentence.height_at(room, MANY), self.hint.height_at(room, MANY)
            total = first + (second + 4 if second else 0)
            if total <= self.height() - 12:
                break
        top = max(4, (self.height() - total) // 2)
        self.sentence.setGeometry(ICON, top, room, first)
        self.hint.setGeometry(ICON, top + first + 4, room, max(second, 1))

    def _place_buttons(self, height: int) -> int:
        """Place the one action, or the answers to a question; returns the width that they take."""
        buttons = self.choices or ([self.button] if self._primary.button else [])
        if not buttons:
            return 0
        texts, theme = [button.text() for button in buttons], self._theme
        most = (self.width() * BUTTONS_SHARE - GAP * (len(texts) - 1)) / sum(map(len, texts))
        size = min(label_size(theme, [text], most * len(text), BUTTON_TEXT) for text in texts)
        self._style(buttons, size)
        right = self.width() - MARGIN
        for button, text in zip(reversed(buttons), reversed(texts), strict=True):
            width = label_width(theme, text, size) + 8
            width = max(260, width) if button is self.button else width
            button.setGeometry(right - width, (self.height() - height) // 2, width, height)
            right -= width + GAP
        return self.width() - MARGIN - right

    def _style(self, buttons: list[QPushButton], size: float) -> None:
        """A style sheet is dear: only for other buttons, another role or another size."""
        role = "hold" if self._primary.role == "neutral" else self._primary.role
        wanted = (role, size, [id(button) for button in buttons])
        if wanted != self._button_style:
            self._button_style = wanted
            for button in buttons:
                button.setStyleSheet(button_sheet(self._theme, role, size))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Surface, border and the sign that somebody is to do something."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        pair = self._theme.role(self._primary.role)
        path = QPainterPath()
        path.addRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), RADIUS, RADIUS)
        painter.fillPath(path, QColor(pair.surface))
        painter.setPen(QPen(QColor(self._theme.line if self._primary.role == "hold" else pair.edge), 2))
        painter.drawPath(path)
        self._draw_icon(painter, QColor(pair.ink))

    def _draw_icon(self, painter: QPainter, colour: QColor) -> None:
        middle = self.height() / 2
        painter.setPen(QPen(colour, 4))
        painter.setBrush(colour)
        if self._primary.kind or self._primary.socket:
            points = [QPointF(26, middle - 13), QPointF(26, middle + 13), QPointF(50, middle)]
            painter.setPen(QPen(colour, 1))
            painter.drawPolygon(QPolygonF(points))
        else:
            painter.drawLine(QPointF(28, middle - 12), QPointF(28, middle + 12))
            painter.drawLine(QPointF(42, middle - 12), QPointF(42, middle + 12))
