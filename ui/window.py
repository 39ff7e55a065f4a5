"""The main window: takes the link's items, shows them at a bounded rate, and turns keys and buttons into commands."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtGui import QCloseEvent, QKeyEvent
from PySide6.QtWidgets import QApplication, QDialog, QMainWindow, QMessageBox

from station.protocol import (
    SCHEMA,
    Answer,
    Command,
    CommandRefused,
    Dropped,
    Ended,
    Event,
    Rows,
    Scan,
    ScanTaken,
    Shutdown,
    SignedIn,
    SignOut,
    SocketState,
    Stop,
)
from ui.bench_dialog import BenchDialog, bench_row
from ui.bench_view import BenchView
from ui.engine_link import EngineLink
from ui.engineer_menu import EngineerMenu
from ui.entry_dialogs import LabelDialog, RecipeDialog
from ui.event_lines import BadLine, Item, LogLines
from ui.guard import KeyGuard
from ui.log_lines import LogRow
from ui.log_model import LogModel
from ui.operate import OperateScreen
from ui.part_dialogs import PartDialog, ReleaseDialog
from ui.primary import primary
from ui.query_dialogs import HistoryDialog, QueryDialog
from ui.run_dialog import RunDialog
from ui.scanner import KeyFilter
from ui.settings import WindowSettings, save
from ui.sign_in import BADGE, SignInDialog
from ui.theme import style_sheet
from ui.words import asked_twice

REFRESH_MILLISECONDS = 33
BLINK_MILLISECONDS = 500


class StationWindow(QMainWindow):
    """One engine, one screen. Decides nothing about parts: it shows states and sends what was pressed."""

    def __init__(
        self,
        link: EngineLink,
        settings: WindowSettings | None = None,
        *,
        settings_file: Path | None = None,
        replay: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.setProperty("operates", True)
        self.setWindowTitle(self.tr("Provisioning Station"))
        self.link = link
        self.settings = settings or WindowSettings()
        self._settings_file = settings_file
        self.view = BenchView(replay=replay)
        self.theme = self.settings.chosen_theme()
        self.guard = KeyGuard(clock)
        self.log_model = LogModel(self.theme, parent=self)
        self.keys = KeyFilter(self.settings.primary_keys(), clock, self)
        self.sign_in = SignInDialog(self)
        self._dialogs: list[QueryDialog | ReleaseDialog] = []
        self._closing = False  # the engine was told to end; the window closes when it has
        self._deserted = False  # the window closes although the engine still works
        self._lit = True
        self.operate: OperateScreen
        self._timers()
        self._build(1)
        self._connect()

    # ---- construction -----------------------------------------------------------------------------------------------

    def _timers(self) -> None:
        self._refresh_timer = QTimer(self)
        self._refresh_timer.setSingleShot(True)
        self._refresh_timer.setInterval(REFRESH_MILLISECONDS)
        self._refresh_timer.timeout.connect(self.refresh)
        self._blink_timer = QTimer(self)
        self._blink_timer.setInterval(BLINK_MILLISECONDS)
        self._blink_timer.timeout.connect(self._blink)

    def _build(self, sockets: int) -> None:
        if self.centralWidget() is not None:
            self.operate.log.flush()
        self.setStyleSheet(style_sheet(self.theme))
        self.operate = OperateScreen(self.theme, self.log_model, sockets)
        self.operate.commanded.connect(self._tile_command)
        self.operate.label_wanted.connect(self._type_label)
        self.operate.banner.pressed.connect(self.press)
        self.operate.banner.answered.connect(self.answer)
        self.operate.header.lock.connect(self._lock)
        self.operate.header.engineer.connect(self._engineer)
        self.setCentralWidget(self.operate)
        self.operate.show()  # a window that is open already would show it only after its next layout
        self.refresh()

    def _connect(self) -> None:
        self.link.received.connect(self.take)
        self.link.ended.connect(self._engine_ended)
        self.keys.scanned.connect(self._scanned)
        self.keys.primary_pressed.connect(self.press)
        self.sign_in.commanded.connect(self.send)
        application = QApplication.instance()
        assert application is not None
        application.installEventFilter(self.keys)

    def apply_settings(self, settings: WindowSettings) -> None:
        """Take text size and theme at once, and store them."""
        self.settings = settings
        self.theme = settings.chosen_theme()
        self.log_model.set_theme(self.theme)
        self._build(self.operate.sockets)
        if self._settings_file is not None and (problem := save(self._settings_file, settings)):
            self.operate.banner.notice(problem)

    # ---- from the engine --------------------------------------------------------------------------------------------

    @Slot(object)
    def take(self, items: list[Item]) -> None:
        """A batch from the link."""
        for item in items:
            if isinstance(item, LogLines):
                self.operate.log.add(item.lines)
            elif isinstance(item, BadLine):
                self._log("warning", item.sentence)
            else:
                self._event(item)
        self._changed()

    def _event(self, event: Event) -> None:
        if self._went_well(event):
            self.operate.banner.end_notice()
        if isinstance(event, SocketState):
            self._tell_bench(event)
        self.view.apply(event)
        if isinstance(event, CommandRefused):
            where = self.tr("Socket {n}: ").format(n=event.socket) if event.socket else ""
            self.operate.banner.notice(where + event.sentence)
            self._refused(event)
        elif isinstance(event, ScanTaken) and event.sentence and event.meaning != "refused":  # that is said already
            self.operate.banner.notice(event.sentence)
        elif isinstance(event, Rows):
            self._rows(event)
        elif isinstance(event, Dropped):
            self.operate.log.add_dropped(event.count)
        elif isinstance(event, SignedIn):
            self.sign_in.answered(event)
            if self.view.locked:
                self._close_pages()
        elif isinstance(event, Ended):
            self._log("info", event.sentence)
        if self.view.hello is not None and event is self.view.hello:
            self._hello(event.schema, event.sockets)

    def _tell_bench(self, state: SocketState) -> None:
        """The page of the bench follows what its hands have done."""
        before = self.view.sockets.get(state.socket)
        if before is None or bench_row(before) != bench_row(state):
            for dialog in self._dialogs:
                if isinstance(dialog, BenchDialog):
                    dialog.changed()

    def _went_well(self, event: Event) -> bool:
        """A scan was taken, a run begins, or somebody signed in or out: what was refused before is over."""
        if isinstance(event, SocketState):
            before = self.view.sockets.get(event.socket)
            return event.state == "checking" and (before is None or before.state != "checking")
        if isinstance(event, ScanTaken):
            return not event.sentence
        return isinstance(event, SignedIn) and not event.failed

    def _hello(self, schema: int, sockets: int) -> None:
        if sockets != self.operate.sockets:
            self._build(max(1, sockets))
        if schema != SCHEMA:
            text = self.tr("This window speaks version {ours}, the engine version {theirs}: update the older one.")
            self.operate.banner.notice(text.format(ours=SCHEMA, theirs=schema))

    def _refused(self, event: CommandRefused) -> None:
        for dialog in self._dialogs:
            if event.command in dialog.hears:
                dialog.refused(event.sentence)

    def _rows(self, rows: Rows) -> None:
        for dialog in self._dialogs:
            if dialog.take_rows(rows):
                return

    @Slot(str)
    def _engine_ended(self, sentence: str) -> None:
        self.view.engine_gone(sentence)
        if self._closing:
            self.close()
        self.refresh()

    def _log(self, level: str, text: str) -> None:
        row: LogRow = (time.time(), 0, "window", level, text)
        self.operate.log.add([row])

    # ---- showing ----------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        if not self._refresh_timer.isActive():
            self._refresh_timer.start()

    @Slot()
    def refresh(self) -> None:
        """Show what is known; what the key would do changes here, together with what the operator sees."""
        self.operate.show_view(self.view)
        shown = primary(self.view)
        self.guard.show(shown.meaning)
        self.operate.banner.show_primary(shown)
        alarm = any(tile.words.alarm for tile in self.operate.tiles.values())
        if alarm and not self._blink_timer.isActive():
            self._blink_timer.start()
        elif not alarm and self._blink_timer.isActive():
            self._blink_timer.stop()
            self.operate.set_lit(True)

    @Slot()
    def _blink(self) -> None:
        self._lit = not self._lit
        self.operate.set_lit(self._lit)

    # ---- to the engine ----------------------------------------------------------------------------------------------

    @Slot(object)
    def send(self, command: Command) -> None:
        """Send one command; a recording has nobody who could take it."""
        if self.view.replay:
            self.operate.banner.notice(self.tr("This is a recording: nothing is sent."))
        elif not self.link.send(command):
            self.operate.banner.notice(self.tr("There is no engine that could take this."))

    @Slot()
    def press(self) -> None:
        """The primary key or button: does what the banner on the screen says, unless that has only just changed."""
        shown = self.operate.banner.primary
        if not shown.kind or shown.kind == "answer" or not self.guard.take():
            return
        if shown.command is not None:
            self.send(shown.command)
        elif shown.kind == "sign_in":
            self.sign_in.open()
        elif shown.kind == "recipe":
            self._choose_recipe()
        elif shown.kind == "restart":
            self.view.starting = True
            self.link.start()
            self.refresh()

    @Slot(object)
    def _tile_command(self, command: Command) -> None:
        if isinstance(command, Answer) and asked_twice(command.choice):
            self.answer(command)
        else:
            self.send(command)

    @Slot(object)
    def answer(self, answer: Answer) -> None:
        """An answer by banner, tile or key; one that cannot be taken back counts when it is given a second time."""
        if not self.guard.take():
            return
        asked = (answer.socket, answer.prompt)
        if asked_twice(answer.choice) and self.view.sure != asked:
            self.view.sure = asked
        else:
            self.view.sure = None
            self.send(answer)
        self.refresh()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """F1, F2 …: the buttons of the question in the banner; a scanner types no such key."""
        place = event.key() - int(Qt.Key.Key_F1)
        choices = self.operate.banner.primary.choices
        if 0 <= place < len(choices) and not event.isAutoRepeat():
            self.answer(choices[place][1])
        else:
            super().keyPressEvent(event)

    @Slot(str)
    def _scanned(self, text: str) -> None:
        dialog = QApplication.activeModalWidget() or QApplication.activeWindow()
        if isinstance(dialog, QDialog):
            if hasattr(dialog, "take_scan"):
                dialog.take_scan(text)
            return
        if text.startswith(BADGE) and not self.view.replay:
            self.sign_in.open()
            self.sign_in.take_scan(text)
            return
        self.send(Scan(text))

    @Slot()
    def _lock(self) -> None:
        self.send(SignOut())
        self.operate.log.forget_search()
        self.sign_in.open()

    def _close_pages(self) -> None:
        """Nobody is signed in any more: no page with records stays open."""
        for dialog in list(self._dialogs):
            dialog.close()

    @Slot(int)
    def _type_label(self, socket: int) -> None:
        state = self.view.sockets.get(socket)
        dialog = LabelDialog(socket, state.expects if state else "", self)
        self._open(dialog, dialog.commanded)

    # ---- the engineer -----------------------------------------------------------------------------------------------

    @Slot()
    def _engineer(self) -> None:
        menu = EngineerMenu(self.view, self.settings, self, self.size().expandedTo(self.screen().availableSize()))
        menu.run_chosen.connect(self._show_run_of)
        menu.query_chosen.connect(self._show_query)
        menu.recipe_chosen.connect(self._choose_recipe)
        menu.stop_chosen.connect(self._stop_all)
        menu.settings_chosen.connect(self.apply_settings)
        button = self.operate.header.engineer_button
        menu.popup(button.mapToGlobal(button.rect().bottomLeft()))

    @Slot()
    def _choose_recipe(self) -> None:
        hello, lot = self.view.hello, self.view.lot
        if hello is not None:
            dialog = RecipeDialog(hello.recipes, hello.recipe, lot.lot if lot else "", self, hello.on_trays)
            self._open(dialog, dialog.commanded)

    @Slot()
    def _stop_all(self) -> None:
        self.send(Stop(0))

    @Slot(int)
    def _show_run_of(self, socket: int) -> None:
        self._open_run(self.tr("Socket {n}: run").format(n=socket), {"socket": str(socket)})

    @Slot(str)
    def _show_run(self, run: str) -> None:
        self._open_run(self.tr("Run {run}").format(run=run), {"run": run})

    def _open_run(self, title: str, arguments: dict[str, str]) -> None:
        lines, with_appliance = self.log_model.between, self.view.appliance is not None
        dialog = RunDialog(self.theme, title, arguments, lines, self.view.titles, self, with_appliance)
        dialog.part_wanted.connect(self._show_part)
        self._show_dialog(dialog)

    @Slot(str)
    def _show_part(self, part: str) -> None:
        dialog = PartDialog(self.theme, part, self)
        dialog.release_wanted.connect(lambda part, why: self._release(part, why, dialog))
        self._show_dialog(dialog)

    def _release(self, part: str, quarantine: str, asked: PartDialog) -> None:
        dialog = ReleaseDialog(part, quarantine, asked)
        dialog.released.connect(asked.ask)
        self._dialogs.append(dialog)
        dialog.finished.connect(lambda _result: self._dialogs.remove(dialog))
        self._open(dialog, dialog.commanded)

    @Slot(str, str)
    def _show_query(self, query: str, title: str) -> None:
        if query == "history":
            history = HistoryDialog(self.theme, self)
            history.run_wanted.connect(self._show_run)
            history.part_wanted.connect(self._show_part)
            self._show_dialog(history)
        elif query == "bench":
            self._show_bench()
        else:
            dialog = QueryDialog(self.theme, query, title, self)
            dialog.arguments = self._arguments(query)
            self._show_dialog(dialog)

    def _show_bench(self) -> None:
        """One page only: of two, one would go on showing a fault that the other has cleared."""
        for dialog in self._dialogs:
            if isinstance(dialog, BenchDialog):
                dialog.raise_()
                dialog.activateWindow()
                dialog.ask()
                return
        has_lid = any(state.has_lid for state in self.view.sockets.values())
        self._show_dialog(BenchDialog(self.theme, self.operate.sockets, self.view.virtual, self, has_lid))

    def _arguments(self, query: str) -> dict[str, str]:
        """Figures of one mode and one recipe only: nothing else can be compared."""
        hello = self.view.hello
        if hello is None or query not in ("yield", "pareto", "sockets", "step_times"):
            return {}
        recipe = {"recipe": hello.recipe} if query == "step_times" and hello.recipe else {}
        return {"mode": hello.mode, **recipe}

    def _show_dialog(self, dialog: QueryDialog) -> None:
        self._dialogs.append(dialog)
        dialog.commanded.connect(self.send)
        dialog.finished.connect(lambda _result, gone=dialog: self._dialogs.remove(gone))
        dialog.show()
        dialog.ask()

    def _open(self, dialog: QDialog, commanded: object) -> None:
        commanded.connect(self.send)  # type: ignore[attr-defined]
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    # ---- leaving ----------------------------------------------------------------------------------------------------

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """A burn asks to wait; the engine is told to finish and is never killed."""
        busy = self.view.working() if self.link.alive and not self.view.replay else ()
        if busy and not self._deserted:
            event.ignore()
            self._ask_to_wait(busy)
            return
        self.leave()
        event.accept()

    def leave(self) -> None:
        """Let go of engine and keyboard."""
        application = QApplication.instance()
        if application is not None:
            application.removeEventFilter(self.keys)
        if self.link.alive and not self.view.replay:
            self.link.send(Shutdown())
        self.link.close()

    def _ask_to_wait(self, busy: tuple[int, ...]) -> None:
        burning = self.view.burning()
        numbers = ", ".join(map(str, burning or busy))
        box = QMessageBox(self)
        box.setObjectName("ask_to_wait")
        box.setIcon(QMessageBox.Icon.Warning)
        if burning:
            box.setText(self.tr("Socket {numbers} is being written: do not remove the part.").format(numbers=numbers))
        else:
            box.setText(self.tr("Socket {numbers} is working.").format(numbers=numbers))
        box.setInformativeText(
            self.tr("Wait, or let the engine finish what it is writing and stop; the window closes when that is done.")
        )
        wait = box.addButton(self.tr("Wait"), QMessageBox.ButtonRole.RejectRole)
        leave = self.tr("Close now; the engine goes on") if self._closing else self.tr("Finish, then close")
        finish = box.addButton(leave, QMessageBox.ButtonRole.AcceptRole)
        box.setDefaultButton(wait)
        finish.clicked.connect(self._desert if self._closing else self._finish_then_close)
        box.finished.connect(box.deleteLater)
        box.open()

    @Slot()
    def _finish_then_close(self) -> None:
        """Tell the engine to end; the window stays until it has, so that DO NOT REMOVE stays on the screen."""
        self._closing = True
        self.link.send(Shutdown())
        self.setWindowTitle(self.tr("Provisioning Station: the engine is finishing"))
        self.refresh()

    @Slot()
    def _desert(self) -> None:
        """The operator insists: the engine finishes without a window."""
        self._deserted = True
        self.close()
