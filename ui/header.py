"""The header: which bench, what it does, who works at it, appliance, time; and the mode band above it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, QTime, QTimer, Signal, Slot
from PySide6.QtGui import QColor, QKeySequence, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QStyle, QStyleOption, QVBoxLayout, QWidget

from ui.bench_view import BenchView
from ui.text import TextBlock
from ui.theme import Theme
from ui.words import mode_words, translate

ENGINEER_KEY, LOCK_KEY = "F10", "Ctrl+L"
"""So that the whole job can be done with keys: the recipe changes between Chip Probe and Final Test."""


TIGHT_PILL = 110
QWIDGETSIZE_MAX = 16777215


class ModeBand(QWidget):
    """Says permanently that this is not production."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._text = TextBlock(theme, 15, self, bold=True)
        self.setFixedHeight(self._text.line_height() + 10)
        self.hide()

    def text(self) -> str:
        """What the band says."""
        return self._text.text()

    def show_mode(self, mode: str) -> None:
        """Show the band of a mode; production has none."""
        self._text.set_text(mode_words(mode), self._theme.role("neutral").ink)
        self.setVisible(bool(self._text.text()))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Fill the band."""
        QPainter(self).fillRect(self.rect(), QColor(self._theme.role("neutral").surface))
        self._text.setGeometry(18, 5, self.width() - 36, self._text.line_height())


class ElidedLabel(QLabel):
    """A label that shrinks: what does not fit ends in an ellipsis, the whole is in the tip."""

    least = 110  # pixels that are kept for its text

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Room for a short text."""
        return QSize(min(self.least, super().sizeHint().width()), super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the text, shortened where it must be."""
        option = QStyleOption()
        option.initFrom(self)
        painter = QPainter(self)
        self.style().drawPrimitive(QStyle.PrimitiveElement.PE_Widget, option, painter, self)
        box = self.contentsRect()
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, box.width())
        self.setToolTip(self.text() if text != self.text() else "")
        painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), text)


class Field(QWidget):
    """A small title over a value."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        self._title = ElidedLabel(title)
        self._title.setProperty("kind", "small")
        self.value = ElidedLabel()
        self.value.setProperty("kind", "value")
        layout.addWidget(self._title)
        layout.addWidget(self.value)

    def set_title(self, title: str) -> None:
        """Name the value."""
        if title != self._title.text():
            self._title.setText(title)

    def set_value(self, text: str, tip: str = "") -> None:
        """Show a value; an empty one hides the field."""
        self.setVisible(bool(text))
        if text != self.value.text():
            self.value.setText(text)
        self.setToolTip(tip)


class Header(QFrame):
    """Fields on the left; appliance pill, engineer, lock and clock on the right."""

    engineer = Signal()
    lock = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._tight = False
        self.setObjectName("header")
        self.setStyleSheet(
            f"QFrame#header {{ background: {theme.card}; border: none; border-bottom: 1px solid {theme.line}; }}"
        )
        self.station = QLabel()
        self.station.setStyleSheet(f"font-size: {theme.px(19)}px; font-weight: bold;")
        self.flow = Field(self.tr("Flow"))
        self.sku = Field(self.tr("SKU"))
        self.lot = Field(self.tr("Lot"))
        self.wafer = Field("")  # the lot says whether it lies on trays
        self.operator = Field(self.tr("Operator"))
        self.build = Field(self.tr("Recipe · build"))
        self.build.value.setStyleSheet(f"font-size: {theme.px(13)}px; font-weight: normal;")
        self.pill = ElidedLabel()
        self.pill.least = 60
        self.pill_text = ("", "")
        self.engineer_button = QPushButton(self.tr("Engineer…"))
        self.lock_button = QPushButton(self.tr("Lock"))
        self.engineer_button.setShortcut(QKeySequence(ENGINEER_KEY))
        self.lock_button.setShortcut(QKeySequence(LOCK_KEY))
        for button, key in ((self.engineer_button, ENGINEER_KEY), (self.lock_button, LOCK_KEY)):
            button.setToolTip(self.tr("Key: {key}").format(key=key))
        self.clock = QLabel()
        self.clock.setStyleSheet(f"font-size: {theme.px(20)}px; font-weight: bold;")
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        layout = QHBoxLayout(self)
        layout.setContentsMargins(20, 8, 20, 8)
        layout.setSpacing(22)
        layout.addWidget(self.station)
        for field in (self.flow, self.sku, self.lot, self.wafer, self.operator, self.build):
            layout.addWidget(field)
        layout.addStretch(1)
        right = QHBoxLayout()
        right.setSpacing(12)
        for widget in (self.pill, self.engineer_button, self.lock_button, self.clock):
            right.addWidget(widget)
        layout.addLayout(right)

    def _connect(self) -> None:
        self.engineer_button.clicked.connect(self.engineer)
        self.lock_button.clicked.connect(self.lock)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(1000)
        self._tick()

    @Slot()
    def _tick(self) -> None:
        text = QTime.currentTime().toString("HH:mm")
        if text != self.clock.text():
            self.clock.setText(text)

    def set_tight(self, tight: bool) -> None:
        """Leave out what the operator does not need, so that the rest can be read."""
        self._tight = tight
        for field in (self.sku, self.build):
            field.setVisible(not tight and bool(field.value.text()))
        self.pill.setMaximumWidth(self._theme.px(TIGHT_PILL) if tight else QWIDGETSIZE_MAX)

    def show_view(self, view: BenchView) -> None:
        """Show what is known now."""
        hello, lot = view.hello, view.lot
        station = hello.station if hello else "…"
        if station != self.station.text():
            self.station.setText(station)
        self.flow.set_value((hello.recipe_title or hello.recipe) if hello else "")
        self.sku.set_value(hello.sku if hello else "")
        self.lot.set_value(lot.lot if lot else "")
        if lot is not None:
            self.wafer.set_title(self.tr("Tray") if lot.map_kind == "tray" else self.tr("Wafer / tray"))
        self.wafer.set_value(lot.wafer if lot else "")
        signed = view.signed_in
        self.operator.set_value(signed.operator, signed.role)
        self.lock_button.setEnabled(bool(signed.operator) and view.lost is None and not view.replay)
        self.build.set_value(self._build_words(view), hello.fingerprint if hello else "")
        self._show_appliance(view)
        self.set_tight(self._tight)

    def _build_words(self, view: BenchView) -> str:
        if view.hello is None:
            return ""
        revision = view.hello.recipe_revision or "–"
        return self.tr("rev {revision} · {build}").format(revision=revision, build=view.hello.build)

    def _show_appliance(self, view: BenchView) -> None:
        """A bench without appliance has no light."""
        state = view.appliance
        self.pill.setVisible(state is not None)
        if state is None:
            return
        role, sign = ("pass", "✔") if state.ok else ("fail", "✖") if state.checked else ("hold", "…")
        text = f"{sign}  {self.tr('Appliance')}  {state.name} · {state.text}"
        if state.ok and state.milliseconds and " ms" not in state.text:
            text += f" · {state.milliseconds:.0f} ms"
        if state.pending_registrations:
            pending = translate("Header", "{n} registrations pending").format(n=state.pending_registrations)
            text, role = f"{text} · {pending}", "wait" if state.ok else role
        if (text, role) == self.pill_text:
            return
        self.pill_text = (text, role)
        pair = self._theme.role(role)
        self.pill.setText(text)
        self.pill.setStyleSheet(
            f"background: {pair.surface}; color: {pair.ink}; border: 1px solid {pair.edge};"
            " border-radius: 15px; padding: 5px 14px;"
        )
