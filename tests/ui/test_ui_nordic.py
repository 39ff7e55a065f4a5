"""No OpenTitan terms on a Nordic screen: everything that the window of a real Nordic bench shows, says or exports.

The window is the real one, its engine too; the parts are virtual. What is looked at: texts, tool tips and accessible
names of all widgets, entries of all menus and tables, every string that is painted, and what the engine sends.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray, Qt, Slot
from PySide6.QtGui import QAction, QPainter
from PySide6.QtWidgets import QAbstractItemView, QApplication, QComboBox, QWidget

from drivers.virtual.handler import open_handler
from station.model import Role
from station.operators import Operators
from station.protocol import Acknowledge, Answer, Scan, Secret, SelectRecipe, SignIn, Start
from station.virtual_station import VirtualStation
from ui.engine_link import EngineLink
from ui.engineer_menu import EngineerMenu
from ui.event_lines import LogLines
from ui.part_dialogs import ReleaseDialog
from ui.settings import WindowSettings
from ui.sign_in import SignInDialog
from ui.sources import EngineProcess
from ui.window import StationWindow

pytestmark = pytest.mark.timeout(150)
ROOT = Path(__file__).resolve().parents[2]
NAME, PIN = "anna", b"4829164073951862"
FOREIGN = re.compile(
    r"\b(OpenTitan|Earlgrey|wafers?|dies?|RMA|SECRET[0-9]?|OTP|appliances?|registrations?|registered|chip probe"
    r"|final test|CP|FT|ROM_EXT|perso\w*|endorse\w*|TEST_(UN)?LOCKED[0-9]?)\b",
    re.IGNORECASE,
)
PROPERTIES = ("text", "title", "windowTitle", "toolTip", "statusTip", "whatsThis", "accessibleName", "placeholderText",
              "accessibleDescription", "html", "plainText")  # fmt: skip
QUERIES = ("history", "yield", "pareto", "sockets", "step_times", "bench", "operators")
SECONDS = 60_000


class Screen:
    """What was ever seen on a window; each text once, with where it stood."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, text: object, where: str) -> None:
        if isinstance(text, str) and text.strip():
            self.texts.setdefault(text, where)

    def look(self) -> None:
        """Everything that is there now."""
        for top in QApplication.topLevelWidgets():
            if top.isVisible():
                for widget in filter(QWidget.isVisible, (top, *top.findChildren(QWidget))):
                    self._widget(widget)

    def _widget(self, widget: QWidget) -> None:
        where = type(widget).__name__
        known = {bytes(QByteArray(widget.metaObject().property(n).name().encode())).decode()
                 for n in range(widget.metaObject().propertyCount())}  # fmt: skip
        for name in known.intersection(PROPERTIES):
            self.add(widget.property(name), f"{where}.{name}")
        for action in (*widget.actions(), *widget.findChildren(QAction)):
            self.add(action.text(), f"{where} entry")
        if isinstance(widget, QComboBox):
            for number in range(widget.count()):
                self.add(widget.itemText(number), f"{where} entry")
        if isinstance(widget, QAbstractItemView) and widget.model() is not None:
            self._table(widget.model(), where)

    def _table(self, model, where: str) -> None:
        roles = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole)
        for column in range(model.columnCount()):
            self.add(model.headerData(column, Qt.Orientation.Horizontal), f"{where} header")
            for row in range(model.rowCount()):
                for role in roles:
                    self.add(model.index(row, column).data(role), f"{where} cell")

    @contextmanager
    def painting(self):
        """Whatever is drawn meanwhile is seen, too."""
        draw = QPainter.drawText

        def drawn(painter, *how):
            for one in how:
                self.add(one, "painted")
            return draw(painter, *how)

        QPainter.drawText = drawn
        try:
            yield
        finally:
            QPainter.drawText = draw

    @Slot(object)
    def hear(self, items) -> None:
        """What the engine sends."""
        for item in items:
            if isinstance(item, LogLines):
                for row in item.rows:
                    self.add(row[-1], "log")
            else:
                self.value(item, type(item).__name__)

    def value(self, value: object, where: str) -> None:
        """Every text in it; of a table by names the values."""
        if is_dataclass(value):
            for field in fields(value):
                self.value(getattr(value, field.name), f"{where}.{field.name}")
        elif isinstance(value, (tuple, list, dict)):
            for one in value.values() if isinstance(value, dict) else value:
                self.value(one, where)
        else:
            self.add(value, where)

    @property
    def foreign(self) -> dict[str, str]:
        return {text: where for text, where in self.texts.items() if FOREIGN.search(text)}


class Bench:
    """A window on an engine on one virtual nRF5340 socket, and the hands of an operator."""

    def __init__(self, qtbot, station: VirtualStation, screen: Screen) -> None:
        command = [sys.executable, "-m", "station", "engine", "--station", str(station.station_file)]
        self.link = EngineLink(lambda: EngineProcess([*command, "--data", str(station.data)]))
        self.link.received.connect(screen.hear)
        self.window = StationWindow(self.link, WindowSettings(theme="light"))
        self.hands = open_handler({"bench": str(station.folder / "bench" / "bench.json")})
        self.qtbot, self.screen = qtbot, screen
        self.window.resize(1600, 1000)
        self.window.show()
        self.link.start()

    def close(self) -> None:
        self.hands.close()
        self.link.close()
        assert self.link.join(30.0)
        self.window.view.sockets.clear()
        self.window.leave()
        self.window.deleteLater()

    @property
    def socket(self):
        return self.window.view.sockets.get(1)

    def until(self, ready) -> None:
        """Wait, and look at the screen all the while."""

        def seen() -> bool:
            self.window.grab()
            self.screen.look()
            return bool(ready())

        self.qtbot.waitUntil(seen, timeout=SECONDS)

    def tell(self, command) -> None:
        assert self.link.send(command)

    def choose(self, recipe: str) -> None:
        self.tell(SelectRecipe(recipe, "N26-031", "T04"))
        self.until(lambda: self.window.view.hello.recipe == recipe)

    def seat(self, name: str) -> None:
        self.hands.insert(1, name)
        self.hands.lid(1, True)
        self.until(lambda: self.socket.state == "scan")

    def start(self, label: str) -> None:
        self.tell(Scan(label, 1))
        self.until(lambda: self.socket.may_start)
        self.tell(Start(1, self.socket.epoch))

    def answer(self) -> None:
        """Yes to the question that comes."""
        self.until(lambda: self.socket.prompt)
        prompt = self.socket.prompt
        self.tell(Answer(1, prompt.id, prompt.choices[0]))
        self.until(lambda: self.socket.prompt != prompt)

    def verdict(self):
        self.until(lambda: self.socket.verdict)
        return self.socket.verdict

    def take_out(self) -> None:
        if self.socket.needs_acknowledge:
            self.tell(Acknowledge(1, self.socket.epoch))
            self.until(lambda: not self.socket.needs_acknowledge)
        self.hands.remove(1)
        self.until(lambda: self.socket.state == "insert_part")

    def dialogs(self) -> None:
        """All entries of the engineer's menu, and what they open."""
        menu = EngineerMenu(self.window.view, self.window.settings, self.window, self.window.size())
        for action in (*menu.actions(), *menu.findChildren(QAction)):
            self.screen.add(action.text(), "menu")
        menu.deleteLater()
        for query in QUERIES:
            self.window._show_query(query, query)
            self._read_and_close()
        self.window._show_run_of(1)
        self._read_and_close()
        self.window._show_part("P000002")
        self._read_and_close()
        self.window._choose_recipe()
        self._read_and_close()
        self.window._type_label(1)
        self._read_and_close()
        for dialog in (SignInDialog(self.window), ReleaseDialog("P000002", "somebody touched it", self.window)):
            dialog.show()
            self._read_and_close()

    def _read_and_close(self) -> None:
        (dialog,) = self._opened()
        note = getattr(dialog, "note", None)
        self.until(lambda: note is None or "Asking" not in note.text())
        dialog.grab()
        dialog.close()
        self.until(lambda: not self._opened())

    def _opened(self) -> list[QWidget]:
        return [top for top in QApplication.topLevelWidgets() if top.isVisible() and top is not self.window]


@pytest.fixture
def station(tmp_path):
    with VirtualStation(tmp_path / "station", 1, chip="nrf5340") as made:
        Operators(made.data).add(NAME, Role.SUPERVISOR, PIN)
        yield made


def test_no_opentitan_terms_on_a_nordic_screen(qtbot, styled, station):
    screen = Screen()
    with screen.painting():
        bench = Bench(qtbot, station, screen)
        try:
            play(bench)
        finally:
            bench.close()
    assert len(screen.texts) > 400 and {"painted", "menu", "log"} <= set(screen.texts.values())
    exports(station, screen)
    assert screen.foreign == {}


@pytest.mark.parametrize("text", ["Wafer / tray", "Take the die out", "SECRET1 locked", "2 registrations pending"])
def test_such_words_are_found(text):
    screen = Screen()
    screen.value({"name": (text, "a part of tray T04")}, "here")
    assert screen.foreign == {text: "here"}


def exports(station: VirtualStation, screen: Screen) -> None:
    """What the command line gives of the same records; of the journal the values, its names are those of its format."""
    run = json.loads(told(station, "history", "--json"))[0]["run"]
    for arguments in (
        *(["history", "--query", query] for query in QUERIES if query not in ("bench", "operators")),
        ["history", "--query", "run", "--where", f"run={run}"],
        ["part", "show", "P000001"],
        ["part", "export", "P000001", str(station.folder / "files")],
    ):
        screen.add(told(station, *arguments), " ".join(arguments[:3]))
    for line in told(station, "journal", "export").splitlines():
        screen.value(list(json.loads(line).values()), "journal")
    files = list((station.folder / "files").iterdir())
    assert {"iak_public_key.bin", "attestation_token.bin"} <= {file.name for file in files}
    for file in files:
        screen.add(file.name, "file")
        if file.suffix in (".json", ".txt"):
            screen.add(file.read_text(), file.name)


def told(station: VirtualStation, *arguments: str) -> str:
    command = [sys.executable, "-m", "station", *arguments, "--data", str(station.data)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def play(bench: Bench) -> None:
    """A good part, one that fails, its recovery, and every page of the engineer."""
    bench.until(lambda: bench.window.view.hello and bench.socket)
    bench.tell(SignIn(NAME, Secret(PIN, "PIN")))
    bench.until(lambda: bench.window.view.signed_in.operator == NAME)
    bench.choose("nrf5340-dk")
    bench.seat("part-0001")
    bench.start("P000001")
    bench.answer()
    assert bench.verdict().kind == "pass"
    bench.take_out()
    bench.seat("part-0002")
    bench.hands.fault(1, "identity:no_mkek")
    bench.start("P000002")
    assert bench.verdict().kind == "fail"
    bench.dialogs()
    bench.take_out()
    bench.choose("nrf5340-dk-recover")
    bench.seat("part-0002")
    bench.start("P000002")
    bench.answer()
    bench.answer()
    assert bench.verdict().bin_id == "recovered"
    bench.take_out()
