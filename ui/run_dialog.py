"""The engineer's page of one run: verdict, steps, measurements, burns, the appliance, what was kept, console."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QHeaderView, QLabel, QPushButton, QTableView, QVBoxLayout, QWidget

from station.protocol import Rows
from ui.log_lines import LogRow
from ui.query_dialogs import QueryDialog
from ui.rows_table import SIGNS, RowsModel, cell_text, rows_view
from ui.theme import RADIUS, Theme
from ui.words import part_state_words, sentence

LogOf = Callable[[int, float, float], Sequence[LogRow]]
FACTS = ("label", "device_id", "recipe", "attempt", "socket", "time", "seconds", "operator", "mode", "build", "fixture")
ROLES = {"pass": "pass", "fail": "fail", "hold": "hold", "quarantine": "quarantine", "bench": "neutral"}
ENDS = ("failure", "reject", "quarantine", "question", "verdict")
LONGEST_RUN = 24 * 3600.0


class Section(QWidget):
    """A titled table of one kind of rows."""

    def __init__(self, theme: Theme, title: str) -> None:
        super().__init__()
        self.model = RowsModel()
        self.table: QTableView = rows_view(theme, self.model)
        self.table.setWordWrap(False)
        self.table.verticalHeader().setDefaultSectionSize(round(theme.px(14) * 1.6))
        name = QLabel(title)
        name.setProperty("kind", "title")
        content = QVBoxLayout(self)
        content.setContentsMargins(0, 0, 0, 0)
        content.setSpacing(4)
        content.addWidget(name)
        content.addWidget(self.table, 1)

    def fill(self, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], wide: int = -1) -> None:
        """Show rows; the column ``wide`` (the last one unless told) takes the room that is left."""
        self.model.show_rows(Rows("", 0, columns, tuple(rows)))
        header = self.table.horizontalHeader()
        header.setStretchLastSection(False)
        for column in range(len(columns)):
            stretched = column == wide % len(columns)
            mode = QHeaderView.ResizeMode.Stretch if stretched else QHeaderView.ResizeMode.ResizeToContents
            header.setSectionResizeMode(column, mode)


class RunDialog(QueryDialog):
    """One run, named by its number or as the last one of a socket.

    ``log_of`` gives the lines that this window still has of a socket in a span of time: console lines are shown, not
    recorded. ``titles`` are the words of step ids.
    """

    part_wanted = Signal(str)

    def __init__(
        self,
        theme: Theme,
        title: str,
        arguments: dict[str, str],
        log_of: LogOf,
        titles: Mapping[str, str],
        parent: QWidget | None = None,
        with_appliance: bool = True,
    ) -> None:
        """``with_appliance``: this bench has one, so that a run without a call to it is worth saying."""
        self._with_appliance = with_appliance
        self._log_of = log_of
        self._titles = titles
        self._theme = theme
        super().__init__(theme, "run", title, parent)
        self.arguments = arguments
        self.run: dict[str, Any] = {}
        self.search.setPlaceholderText(self.tr("Find in this run"))
        self.resize(1360, 860)
        self.part_button = QPushButton(self.tr("Part…"))
        self.part_button.setAutoDefault(False)
        self.part_button.clicked.connect(self._want_part)
        self.bar.addWidget(self.part_button)

    def body(self) -> QWidget:
        """Verdict and facts over two columns of tables, the console below."""
        theme = self._theme
        self.verdict = QLabel()
        self.verdict.setWordWrap(True)  # a long reason must not widen the page
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.steps = Section(theme, self.tr("Steps"))
        self.measurements = Section(theme, self.tr("Measurements"))
        self.burns = Section(theme, self.tr("Burns"))
        self.appliance = Section(theme, self.tr("Sent to the appliance"))
        self.kept = Section(theme, self.tr("Kept for this part"))
        self.ends = Section(theme, self.tr("Answers and endings"))
        self.console = Section(theme, self.tr("Console and log (of this window's session)"))
        page = QWidget()
        grid = QGridLayout(page)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(10)
        grid.addWidget(self.verdict, 0, 0, 1, 3)
        grid.addWidget(self.facts, 1, 0, 1, 3)
        self._grid = grid
        places = (
            (self.steps, 2, 0, 2, 1),
            (self.burns, 2, 1, 1, 1),
            (self.measurements, 3, 1, 1, 1),
            (self.ends, 4, 0, 1, 1),
            (self.console, 4, 1, 1, 2),
        )
        for section, row, column, rows, columns in places:
            grid.addWidget(section, row, column, rows, columns)
        for column, share in enumerate((30, 31, 39)):
            grid.setColumnStretch(column, share)
        for row, share in ((2, 40), (3, 22), (4, 34)):
            grid.setRowStretch(row, share)
        self._place_appliance(self._with_appliance)
        return page

    def _place_appliance(self, shown: bool) -> None:
        """The calls over what was kept, or what was kept alone."""
        self._grid.addWidget(self.appliance, 2, 2)
        self.appliance.setVisible(shown)
        self._grid.addWidget(self.kept, 3 if shown else 2, 2, 1 if shown else 2, 1)

    @property
    def sections(self) -> tuple[Section, ...]:
        """All tables."""
        return (self.steps, self.measurements, self.burns, self.appliance, self.kept, self.ends, self.console)

    # ---- asking -----------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """A socket is asked for its last run first."""
        if "run" in self.arguments:
            super().ask()
        else:
            self._send("history", {**self.arguments, "limit": "1"})

    def show_answer(self, rows: Rows) -> None:
        """The last run of the socket is known now, or this is the run itself."""
        if rows.query == "history":
            if rows.rows and "run" in rows.columns:
                self.arguments = {"run": str(rows.rows[0][rows.columns.index("run")])}
                self.ask()
            else:
                self.note.setText(self.tr("No run was recorded here yet."))
            return
        self._fill([tuple(row) for row in rows.rows])
        self._count()

    # ---- showing ----------------------------------------------------------------------------------------------------

    def _fill(self, rows: list[tuple[Any, ...]]) -> None:
        def of(*kinds: str) -> list[tuple[Any, ...]]:
            return [row for row in rows if row[0] in kinds]

        self.run = {row[1]: row[2] for row in of("run")}
        self._show_verdict()
        seconds = self.tr("seconds")
        detail = self.tr("detail")
        steps = [(self._title(name), f"{value:.3f}", words) for _, name, value, words in of("step")]
        self.steps.fill((self.tr("step"), seconds, self.tr("how")), steps, 0)
        measured = [row[1:] for row in of("measurement")]
        self.measurements.fill((self.tr("name"), self.tr("value"), self.tr("limits")), measured)
        burns = [
            (f"◆ {self._title(name)}", f"{at:.3f}", words.partition(": " + self._title(name))[0])
            for _, name, at, words in of("burn")
        ]
        self.burns.fill((self.tr("burn"), self.tr("at"), detail), burns, 0)
        calls = [row[1:] for row in of("appliance")]
        self._place_appliance(self._with_appliance or bool(calls))
        self.appliance.fill((self.tr("call"), self.tr("ms"), self.tr("sent → got")), calls)
        self.kept.fill((self.tr("name"), self.tr("bytes"), self.tr("form")), [row[1:] for row in of("kept")])
        ends = [(what, self._title(name), text) for what, name, _, text in of(*ENDS)]
        self.ends.fill((self.tr("what"), self.tr("name"), detail), ends)
        self._show_console()

    def _title(self, name: str) -> str:
        return self._titles.get(name, name.replace("_", " "))

    def _show_verdict(self) -> None:
        run = self.run
        kind = str(run.get("kind") or "")
        pair = self._theme.role(ROLES.get(kind, "run"))
        words = [f"{SIGNS.get(kind, '▸')} {kind.upper() or self.tr('RUNNING')}"]
        if run.get("bin") is not None:  # an interrupted run has none
            words.append(self.tr("bin {bin} → {tray}").format(bin=run.get("bin"), tray=run.get("tray")))
        reason, state = str(run.get("reason") or ""), str(run.get("part_state") or "")
        words += [sentence(text) for text in (reason, part_state_words(state, reason)) if text]
        self.verdict.setText("   ".join(words))
        self.verdict.setStyleSheet(
            f"background: {pair.surface}; color: {pair.ink}; border: 2px solid {pair.edge}; font-weight: bold;"
            f" border-radius: {RADIUS}px; padding: 8px 14px; font-size: {self._theme.px(17)}px;"
        )
        facts = [(name, cell_text(run.get(name), name)) for name in FACTS]
        self.facts.setText("   ".join(f"{name.replace('_', ' ')}: {value}" for name, value in facts if value))
        self.part_button.setEnabled(bool(self._part()))

    def _show_console(self) -> None:
        start, seconds = float(self.run.get("time") or 0), float(self.run.get("seconds") or LONGEST_RUN)
        found = self._log_of(int(self.run.get("socket") or 0), start - 0.5, start + seconds + 1.0) if start else ()
        lines = [(f"{at - start:.3f}", source, text) for at, _, source, _, text in found]
        self.console.fill((self.tr("at"), self.tr("source"), self.tr("text")), lines)

    def _count(self) -> None:
        shown = sum(section.model.rowCount() for section in self.sections)
        self.note.setText(self.tr("{n} rows").format(n=shown))

    @Slot()
    def _narrow(self) -> None:
        for section in self.sections:
            section.model.set_needle(self.search.text())
        self._count()

    def _part(self) -> str:
        return str(self.run.get("label") or self.run.get("device_id") or "")

    @Slot()
    def _want_part(self) -> None:
        if part := self._part():
            self.part_wanted.emit(part)
