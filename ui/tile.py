"""One socket's tile: head with the state word, where the part goes, checklist, prompt, stop and progress.

The tile places its blocks by hand: first the head, then what stands at the bottom, then the text from the top down;
the checklist takes what is left. So a long reason never moves the other tiles.
"""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QPainter, QPainterPath, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QPushButton, QSizePolicy, QWidget

from station.protocol import Answer, Command, Handle, SocketState, Stop
from ui.checklist import Bar, Checklist, finished, rows_of
from ui.primary import answers
from ui.text import MANY, FitWord, TextBlock, factors
from ui.theme import GRID, RADIUS, Theme, mix
from ui.tile_buttons import ButtonRow
from ui.words import LINE, TileContext, TileWords, lies_unwatched, tile_words, whole_words

BORDER = 3
PADDING = 16
READABLE = 0.85
DETAIL_LINES = 3
"""Rather than the rest becoming smaller than READABLE, the small print is cut to these lines; the tip has all of it."""
WORD_LIMIT = 50.0
LARGEST_WORD = 96.0
LONG_WORD = 7.6  # width of a long state word in the condensed cut, in word heights


class SocketTile(QWidget):
    """Shows one ``SocketState``; its buttons send commands that name this socket."""

    commanded = Signal(object)  # Command
    label_wanted = Signal(int)  # the operator wants to type the label of this socket

    def __init__(self, theme: Theme, number: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.number = number
        self._state: SocketState | None = None
        self._words = tile_words(None)
        self._virtual = False
        self._sure = False
        self._live = False
        self._lit = True
        self.has_keys = False  # the banner asks this tile's question: its keys stand on the buttons
        self._shown: object = None
        self._drawn: object = None
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self._build()
        self.show_state(None, TileContext(), virtual=False)

    def _build(self) -> None:
        theme = self._theme
        self.name = TextBlock(theme, 15, self, bold=True)
        self.clock = TextBlock(theme, 15, self)
        self.clock.alignment = Qt.AlignmentFlag.AlignRight
        self.word = FitWord(theme, self)
        self.band = TextBlock(theme, 24, self, bold=True, narrow=True)
        self.lead = TextBlock(theme, 24, self, bold=True)
        self.reason = TextBlock(theme, 24, self)
        self.notes = TextBlock(theme, 16, self)
        self.part = TextBlock(theme, 14, self, mono=True)
        self.detail = TextBlock(theme, 12, self)
        self.checklist = Checklist(theme, self)
        self.question = TextBlock(theme, 18, self, bold=True)
        self.stop_reason = TextBlock(theme, 13, self)
        self.stop = QPushButton(self.tr("Stop"), self)
        self.stop.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.stop.clicked.connect(self._stop)
        self.bar = Bar(theme, self)
        self.row = ButtonRow(theme)
        self._button_key: object = None
        self._factor = 1.0
        self._fitted: object = None

    # ---- what is shown --------------------------------------------------------------------------------------------

    @property
    def buttons(self) -> list[QPushButton]:
        """The answers to a question, or what a hand may do."""
        return self.row.buttons

    @property
    def words(self) -> TileWords:
        """What the tile says."""
        return self._words

    def show_state(self, state: SocketState | None, context: TileContext, *, virtual: bool, live: bool = True) -> None:
        """Show a state; ``live`` is False when commands would reach nobody. The same again costs next to nothing."""
        self._state = state  # also when it looks the same: its epoch goes into the commands
        seen = replace(state, epoch=0, since=0.0) if state else None
        sure = context.sure == (state.socket, state.prompt.id) if state and state.prompt else False
        wanted = (seen, replace(context, sure=None), sure, self.has_keys, virtual, live)
        if wanted != self._shown:
            self._shown = wanted
            self._sure = sure
            self._virtual, self._live = virtual, live and context.lost is None
            self._words = tile_words(state, context)
            self._show_words(state, self._words)

    def _show_words(self, state: SocketState | None, words: TileWords) -> None:
        pair = self._theme.role(words.role)
        theme = self._theme
        head_ink = pair.ink if words.role == "neutral" else theme.muted
        self.name.set_text(self.tr("Socket {n}").format(n=self.number), head_ink)
        self.clock.set_text(words.clock, head_ink)
        self.word.set_word(words.word, pair.ink)
        self.band.set_text(words.band, _on(theme, pair.edge))
        strong = words.role in ("pass", "fail", "hold", "quarantine", "burn")
        self.lead.set_text(words.lead, pair.edge if strong else theme.ink)
        self.reason.set_text(words.reason, theme.ink)
        self.notes.set_text(LINE.join(words.notes), theme.ink)
        self.part.set_text(words.part, theme.muted)
        self.detail.set_text(words.detail, theme.muted)
        self._show_run(state, words, pair.edge)
        self._show_buttons(state)
        self.setToolTip(whole_words(words))
        self.setAccessibleName(f"{self.name.text()}: {words.word}. {words.lead} {words.reason}")
        self._arrange()
        self._repaint_if_changed()

    def _repaint_if_changed(self) -> None:
        """Paint card, head and border again when they look different; the blocks on them see to themselves."""
        words = self._words
        drawn = (words.role, words.hatched, words.alarm, self.band.height() if words.band else 0)
        if drawn != self._drawn:
            self._drawn = drawn
            self.update()

    def _show_run(self, state: SocketState | None, words: TileWords, colour: str) -> None:
        rows = rows_of(state.plan, state.steps) if state and words.shows_plan else []
        if words.role == "fail":
            rows = [row for row in rows if row.status != "pending"]
        elif words.role == "pass":
            rows = finished(rows)
        self.checklist.set_rows(rows)
        self.bar.set_value(state.percent if state else 0, colour)
        self.stop_reason.set_text(words.stop_reason, self._theme.muted)
        allowed = bool(state and words.shows_stop and state.stop_allowed and state.state != "burning")
        self.stop.setEnabled(allowed and self._live and not (state and state.stop_requested))
        self.stop.setToolTip(words.stop_reason)

    def set_lit(self, lit: bool) -> None:
        """The two halves of a blink; only an alarm that nobody has acknowledged has a dark half."""
        lit = lit or not self._words.alarm
        if lit != self._lit:
            self._lit = lit
            self.update()

    # ---- buttons --------------------------------------------------------------------------------------------------

    def _show_buttons(self, state: SocketState | None) -> None:
        choices = self._choices(state)
        key = (self._live, [(text, command) for text, command in choices])
        if key == self._button_key:
            return
        self._button_key = key
        self.row.replace([self._button(text, command) for text, command in choices])
        prompt = state.prompt if state else None
        self.question.set_text(prompt.text if prompt and self._live else "", self._theme.ink)

    def _choices(self, state: SocketState | None) -> list[tuple[str, Command | None]]:
        if state is None or not self._live:
            return []
        if state.prompt is not None:
            return list(answers(state, self._sure, self.has_keys))
        if state.state == "scan":
            return [(self.tr("Change the label…") if state.label else self.tr("Type the label…"), None)]
        if self._virtual and state.state == "insert_part" and not state.present:
            return [(self.tr("Insert virtual part"), Handle(self.number, "insert"))]
        if self._virtual and (lies_unwatched(state) or (state.present and state.verdict is not None)):
            return [(self.tr("Remove virtual part"), Handle(self.number, "remove"))]
        return []

    def _button(self, text: str, command: Command | None) -> QPushButton:
        button = QPushButton(text, self)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        if command is None:
            button.clicked.connect(self._want_label)
        else:
            button.clicked.connect(lambda: self.commanded.emit(command))
        button.setProperty("answers", isinstance(command, Answer))
        button.show()
        return button

    def _want_label(self) -> None:
        self.label_wanted.emit(self.number)

    def _stop(self) -> None:
        if self._state is not None:
            self.commanded.emit(Stop(self.number, self._state.epoch))

    # ---- geometry -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Place everything again."""
        self._arrange()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Below this a tile cannot be read."""
        return QSize(190, 200)

    def _narrow(self) -> bool:
        """A tile in which most words need two lines."""
        return self.width() < 300 * self._theme.scale

    def _word_limit(self) -> float:
        """The largest state word: about 50 px on four sockets, more where the tile is larger."""
        scale = self._theme.scale * min(1.0, self._factor)
        if self._narrow():
            return WORD_LIMIT * scale
        by_size = min((self.width() - 2 * PADDING) / LONG_WORD, self.height() * 0.135)
        return max(30.0, min(LARGEST_WORD * scale, by_size))

    def _head_height(self) -> int:
        lines = 1.7 if self._narrow() else 1.0
        return round(PADDING * 0.5 + self.name.line_height() + self._word_limit() * 1.22 * lines + 6)

    def _fit(self, width: int) -> None:
        """The largest text at which everything that must be read is whole; the smallest when there is none.

        On one or two sockets there is room for larger text, with a large text size often not even for that.
        """
        words, question = self._words, self.question.text()
        labels = [button.text() for button in self.buttons]
        shown = (self.width(), self.height(), replace(words, clock=""), question, labels, self._live)
        if shown == self._fitted:
            return
        self._fitted = shown
        largest = max(1.0, min(1.5, self.width() / 560, self.height() / 400))
        sizes = factors(self._theme, largest)
        for detail, least in ((MANY, READABLE), (DETAIL_LINES, 0.0)):
            for factor in sizes:
                self._grow(factor)
                if self._needed(width, detail) <= self.height():
                    return
                if factor * self._theme.scale < least:
                    break

    def _grow(self, factor: float) -> None:
        self._factor = factor
        self.row.factor = min(1.0, factor)
        for block in (self.name, self.clock, self.lead, self.reason, self.notes, self.part, self.band, self.checklist):
            block.grow(factor)
        for block in (self.question, self.stop_reason, self.detail):
            block.grow(min(1.0, factor))

    def _needed(self, width: int, detail: int) -> int:
        """Height of all that must be read: where the part goes, why, what is asked, and which part it is.

        ``detail``: lines of the small print that are asked for.
        """
        words = self._words
        texts = (self.lead, self.reason, self.notes, self.question)
        height = self._head_height() + 8 + sum(block.height_at(width, MANY) + 6 for block in texts if block.text())
        height += self.part.line_height() + 6 if words.part else 0
        height += self.detail.height_at(width, detail) + 6 if words.detail else 0
        height += self.band.height_at(width, 2) + 10 if words.band else 0
        height += self.row.height(width)
        height += self.stop.sizeHint().height() + 6 if words.shows_stop and self._live else 0
        return height + PADDING + (18 if words.shows_bar else 0)

    def _arrange(self) -> None:
        width = self.width() - 2 * PADDING
        self._fit(width)
        name_height = self.name.line_height()
        head = self._head_height()
        name = min(width // 2, self.name.natural_width())
        self.name.setGeometry(PADDING, PADDING // 2 + 2, name, name_height)
        self.clock.setGeometry(PADDING + name + 6, PADDING // 2 + 2, width - name - 6, name_height)
        top = PADDING // 2 + 2 + name_height
        self.word.place(PADDING, top, width, head - top - 2, self._word_limit())
        y = head + self._place_band(head, width)
        bottom = self._place_bottom(width)
        self._place_texts(y + 8, bottom, width)

    def _place_band(self, top: int, width: int) -> int:
        """The purple strip below the head while a burn is open; returns its height."""
        self.band.setVisible(bool(self._words.band))
        if not self._words.band:
            return 0
        text = self.band.height_at(width, 2)
        self.band.setGeometry(PADDING, top + 5, width, text)
        return text + 10

    def _place_bottom(self, width: int) -> int:
        """Bar, stop row and buttons from the bottom up; returns the highest y in use."""
        y = self.height() - PADDING
        self.bar.setVisible(self._words.shows_bar)
        if self._words.shows_bar:
            self.bar.setGeometry(PADDING, y - 10, width, 10)
            y -= 10 + 8
        shows_stop = self._words.shows_stop and self._live
        self.stop.setVisible(shows_stop)
        self.stop_reason.setVisible(shows_stop)
        if shows_stop:
            y = self._place_stop(y, width)
        self.question.setVisible(bool(self.question.text()))
        if not self.buttons:
            return y
        return self._place_question(self.row.place(PADDING, y, width, self._words.role), width)

    def _place_stop(self, bottom: int, width: int) -> int:
        hint = self.stop.sizeHint()
        self.stop.setGeometry(PADDING + width - hint.width(), bottom - hint.height(), hint.width(), hint.height())
        room = width - hint.width() - 8
        height = self.stop_reason.height_at(room, 2)
        self.stop_reason.setGeometry(PADDING, bottom - hint.height() + (hint.height() - height) // 2, room, height)
        return bottom - hint.height() - 6

    def _place_question(self, bottom: int, width: int) -> int:
        if not self.question.text():
            return bottom
        room = max(1, (bottom - self._head_height()) // self.question.line_height())
        height = self.question.height_at(width, min(MANY, room))
        self.question.setGeometry(PADDING, bottom - height, width, height)
        return bottom - height - 6

    def _place_texts(self, y: int, bottom: int, width: int) -> None:
        """Where it goes, why, whether it may be tried again; then small print and checklist as far as there is room."""
        label = self.part.line_height() + 6 if self._words.role == "quarantine" and self._words.part else 0
        y = self._place_text(self.lead, y, bottom - label - self._reserve(bottom - label - y, width), width, MANY)
        y = self._place_text(self.reason, y, bottom - label - self._reserve(bottom - label - y, width), width, MANY)
        y = self._place_text(self.notes, y, bottom - label, width, MANY)
        y = self._place_text(self.part, y, bottom, width, 1 if self._words.detail else 3)
        y = self._place_text(self.detail, y, bottom, width, MANY)
        enough = bottom - y >= self.checklist.row_height() and bool(self.checklist.rows)
        self.checklist.setVisible(enough)
        if enough:
            self.checklist.setGeometry(PADDING, y, width, bottom - y)

    def _reserve(self, room: int, width: int) -> int:
        """What is kept for the notes: three lines, fewer where the reason itself would not get two."""
        if not self.notes.text():
            return 0
        kept = [self.notes.height_at(width, lines) + 6 for lines in (3, 2)]
        enough = (height for height in kept if room - height >= 2 * self.reason.line_height())
        return next(enough, self.notes.height_at(width, 1) + 6)

    def _place_text(self, block: TextBlock, y: int, bottom: int, width: int, most: int) -> int:
        """Place one block below ``y``; returns where the next one may begin."""
        room = (bottom - y) // block.line_height()
        shown = bool(block.text()) and room >= 1
        block.setVisible(shown)
        if not shown:
            return y
        height = block.height_at(width, min(most, room))
        block.setGeometry(PADDING, y, width, height)
        return y + height + 6

    # ---- painting -------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Card, head, hatching, burn band and border."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        pair = self._theme.role(self._words.role)
        outline = QRectF(self.rect()).adjusted(BORDER / 2, BORDER / 2, -BORDER / 2, -BORDER / 2)
        path = QPainterPath()
        path.addRoundedRect(outline, RADIUS, RADIUS)
        painter.fillPath(path, QColor(self._theme.card))
        painter.save()
        painter.setClipPath(path)
        head = QRectF(0, 0, self.width(), self._head_height())
        painter.fillRect(head, QColor(pair.surface if self._lit else mix(pair.surface, pair.edge, 0.25)))
        if self._words.hatched:
            self._hatch(painter, pair.edge)
        if self._words.band:
            band = QRectF(0, head.bottom(), self.width(), self.band.height() + 10)
            painter.fillRect(band, QColor(pair.edge))
        painter.restore()
        painter.setPen(QPen(QColor(pair.edge if self._lit else mix(pair.edge, self._theme.card, 0.6)), BORDER))
        painter.drawPath(path)

    def _hatch(self, painter: QPainter, colour: str) -> None:
        """Diagonal lines along the left and right edge and under the head: shape, not only colour."""
        brush = QBrush(QColor(colour), Qt.BrushStyle.BDiagPattern)
        head = self._head_height()
        painter.fillRect(QRectF(0, head - 6, self.width(), 6), brush)
        painter.fillRect(QRectF(0, 0, GRID, self.height()), brush)
        painter.fillRect(QRectF(self.width() - GRID, 0, GRID, self.height()), brush)


def _on(theme: Theme, surface: str) -> str:
    """The ink of the burn band."""
    return "#FFFFFF" if theme.name == "light" else theme.background
