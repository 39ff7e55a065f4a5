"""The operate screen: header, banner, tiles, lot, bins, map and log, laid out for 1, 2, 4 or 8 sockets."""

from __future__ import annotations

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from ui.banner import Banner
from ui.bench_view import BenchView
from ui.header import Header, ModeBand
from ui.log_card import LogCard
from ui.log_model import LogModel
from ui.lot_cards import BinsCard, LotCard, MapCard
from ui.primary import primary
from ui.theme import GRID, Theme
from ui.tile import SocketTile
from ui.words import TileContext

ROOMY = (1150, 700)
"""Width and height, in pixels at a text size of 100 %, below which the cards give their room to the tiles.

What an operator must read comes first; the figures of the lot and the log of a run are on the engineer's pages.
"""


def columns_for(sockets: int) -> int:
    """Tile columns: 1, 2, 2×2, 4×2; other counts take the next larger grid."""
    if sockets <= 1:
        return 1
    return 2 if sockets <= 4 else 4


class OperateScreen(QWidget):
    """Shows a ``BenchView``; knows nothing of the engine."""

    commanded = Signal(object)  # Command
    label_wanted = Signal(int)

    def __init__(self, theme: Theme, log: LogModel, sockets: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.sockets = sockets
        self.band = ModeBand(theme)
        self.header = Header(theme)
        self.banner = Banner(theme)
        self.tiles = {number: SocketTile(theme, number) for number in range(1, sockets + 1)}
        self.lot = LotCard(theme)
        self.bins = BinsCard(theme)
        self.map = MapCard(theme)
        self.log = LogCard(theme, log, sockets)
        self._shown_lot: object = None
        self._lay_out()
        for tile in self.tiles.values():
            tile.commanded.connect(self.commanded)
            tile.label_wanted.connect(self.label_wanted)

    def _lay_out(self) -> None:
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.setSpacing(0)
        page.addWidget(self.band)
        page.addWidget(self.header)
        body = QVBoxLayout()
        body.setContentsMargins(GRID + 4, GRID + 4, GRID + 4, GRID + 4)
        body.setSpacing(GRID)
        body.addWidget(self.banner)
        halves = QHBoxLayout()
        halves.setSpacing(GRID)
        left, right = (68, 32) if self.sockets > 4 else (59, 41)
        halves.addLayout(self._tile_grid(), left)
        halves.addWidget(self._cards(), right)
        body.addLayout(halves, 1)
        page.addLayout(body, 1)

    def _tile_grid(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(GRID)
        columns = columns_for(self.sockets)
        for number, tile in self.tiles.items():
            row, column = divmod(number - 1, columns)
            grid.addWidget(tile, row, column)
            grid.setRowStretch(row, 1)
            grid.setColumnStretch(column, 1)
        return grid

    def _cards(self) -> QWidget:
        self.cards = QWidget()
        cards, middle = QVBoxLayout(self.cards), QHBoxLayout()
        cards.setContentsMargins(0, 0, 0, 0)
        cards.setSpacing(GRID)
        middle.setSpacing(GRID)
        middle.addWidget(self.bins, 1)
        middle.addWidget(self.map, 1)
        cards.addWidget(self.lot, 31)
        cards.addLayout(middle, 31)
        cards.addWidget(self.log, 38)
        return self.cards

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """With a large text on a small screen there are tiles only."""
        scale = self._theme.scale
        roomy = self.width() / scale >= ROOMY[0] and self.height() / scale >= ROOMY[1]
        self.cards.setVisible(roomy)
        self.header.set_tight(not roomy)
        self.banner.give_room(self.height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """What does not fit is left out or drawn smaller, so that the window is never larger than its screen."""
        return QSize(640, 480)

    def show_view(self, view: BenchView) -> None:
        """Show everything that is known; unchanged parts cost next to nothing."""
        self.band.show_mode(view.mode)
        self.header.show_view(view)
        self.log.set_locked(view.locked)
        context = TileContext(latched=view.latched.sentence if view.latched else "", lost=view.lost, sure=view.sure)
        shown = primary(view)
        for number, tile in self.tiles.items():
            tile.has_keys = bool(shown.choices) and number == shown.socket
            tile.show_state(view.sockets.get(number), context, virtual=view.virtual, live=not view.replay)
        if view.lot is not None and view.lot is not self._shown_lot:
            self._shown_lot = view.lot
            self.lot.show_lot(view.lot)
            self.bins.rows.show_bins(view.lot.bins)
            self.map.show_lot(view.lot)

    def set_lit(self, lit: bool) -> None:
        """One half of a blink."""
        for tile in self.tiles.values():
            tile.set_lit(lit)
