"""What the Engineer… button offers; who may do what is the engine's decision."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu, QWidget

from ui.bench_view import BenchView
from ui.settings import WindowSettings, sizes_for


class EngineerMenu(QMenu):
    """Run detail per socket, history, yield, bench, recipe, stop, text size and theme; locked only the last three."""

    run_chosen = Signal(int)
    query_chosen = Signal(str, str)
    recipe_chosen = Signal()
    stop_chosen = Signal()
    settings_chosen = Signal(object)  # WindowSettings

    def __init__(
        self, view: BenchView, settings: WindowSettings, parent: QWidget | None = None, room: QSize | None = None
    ) -> None:
        """``room``: what the window has, or could have; text sizes that it cannot show are not offered."""
        super().__init__(parent)
        self._settings = settings
        self._room = room
        if not view.locked:
            self._runs(view)
            self._queries(view)
            self.addSeparator()
            self.addAction(self.tr("Recipe and lot…"), self.recipe_chosen.emit)
        self.addAction(self.tr("Stop all sockets"), self.stop_chosen.emit)
        self.addSeparator()
        self._text_sizes()
        self._themes()

    def _runs(self, view: BenchView) -> None:
        for number in sorted(view.sockets):
            text = self.tr("Show the last run of socket {n}").format(n=number)
            self.addAction(text, partial(self.run_chosen.emit, number))
        self.addSeparator()

    def _queries(self, view: BenchView) -> None:
        outbox = (("outbox", self.tr("Registrations")),) if view.appliance is not None else ()
        for query, title in (
            ("history", self.tr("History")),
            ("yield", self.tr("Yield")),
            ("pareto", self.tr("Pareto of bins")),
            ("sockets", self.tr("Sockets compared")),
            ("step_times", self.tr("Step times")),
            *outbox,
            ("bench", self.tr("Bench")),
            ("operators", self.tr("Operators")),
        ):
            self.addAction(title, partial(self.query_chosen.emit, query, title))

    def _text_sizes(self) -> None:
        menu = self.addMenu(self.tr("Text size"))
        group = QActionGroup(menu)
        room = self._room or self.screen().size()
        for size in sizes_for(room.width(), room.height()):
            action = menu.addAction(self.tr("{size} %").format(size=size))
            self._choice(group, action, replace(self._settings, text_size=size))

    def _themes(self) -> None:
        menu = self.addMenu(self.tr("Theme"))
        group = QActionGroup(menu)
        for name, title in (
            ("system", self.tr("As the system")),
            ("light", self.tr("Light")),
            ("dark", self.tr("Dark")),
        ):
            self._choice(group, menu.addAction(title), replace(self._settings, theme=name))

    def _choice(self, group: QActionGroup, action: QAction, settings: WindowSettings) -> None:
        group.addAction(action)
        action.setCheckable(True)
        action.setChecked(settings == self._settings)
        action.triggered.connect(lambda: self.settings_chosen.emit(settings))
