"""The bench page: sockets, adapters and contact counters; on a virtual bench also its hands and its faults."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from station.protocol import Handle, Query, Rows, SocketState
from ui.query_dialogs import QueryDialog
from ui.theme import Theme

SOON = 250  # milliseconds
RIGHT_AGAIN = (("replug", ""), ("power", "on"), ("fault", "clear"))
"""What a hand does after a rehearsal: cable in, supply on, nothing armed."""


def bench_row(state: SocketState) -> tuple[object, ...]:
    """What the page shows of a socket."""
    return (state.state, state.may_start, state.present, state.lid_closed, state.contacts)


class BenchDialog(QueryDialog):
    """Asks for the bench again after everything that a hand has done, so that what is armed is what is shown."""

    hears = ("Query", "Handle")

    def __init__(
        self, theme: Theme, sockets: int, virtual: bool, parent: QWidget | None = None, has_lid: bool = True
    ) -> None:
        """``has_lid``: the sockets have lids that a hand opens and closes."""
        self._has_lid = has_lid
        self.hands = QWidget()
        super().__init__(theme, "bench", "", parent)
        self.heading.setText(self.tr("Bench"))
        self.setWindowTitle(self.tr("Bench"))
        self.socket = QComboBox()
        self.action = QComboBox()
        self.fault = QComboBox()
        self.meaning = QLabel()
        self.meaning.setProperty("kind", "small")
        self.meaning.setWordWrap(True)  # no sentence widens the page
        self.socket.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.socket.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._virtual = virtual
        self._faults_request = 0
        self._meanings: dict[str, str] = {}
        self._refusal = ""
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SOON)
        self._soon.timeout.connect(self.ask)
        self.bar.addWidget(self._button(self.tr("Ask again"), self.ask))
        self.hands.setVisible(virtual)
        if virtual:
            self._add_hands(sockets)

    def body(self) -> QWidget:
        """The table over the hands."""
        page = QWidget()
        content = QVBoxLayout(page)
        content.setContentsMargins(0, 0, 0, 0)
        content.setSpacing(12)
        content.addWidget(self.table, 1)
        content.addWidget(self.hands)
        return page

    def _button(self, text: str, slot: object) -> QPushButton:
        button = QPushButton(text)
        button.setAutoDefault(False)
        button.clicked.connect(slot)
        return button

    def _add_hands(self, sockets: int) -> None:
        for number in range(1, sockets + 1):
            self.socket.addItem(self.tr("Socket {n}").format(n=number), number)
        lid = ((self.tr("Open lid"), "lid", "open"), (self.tr("Close lid"), "lid", "closed"))
        for title, action, argument in (
            (self.tr("Insert part"), "insert", ""),
            (self.tr("Remove part"), "remove", ""),
            *(lid if self._has_lid else ()),
            (self.tr("Power off"), "power", "off"),
            (self.tr("Power on"), "power", "on"),
            (self.tr("Unplug adapter"), "unplug", ""),
            (self.tr("Plug adapter in"), "replug", ""),
        ):
            self.action.addItem(title, (action, argument))
        self.fault.setEditable(True)
        self.fault.setMinimumWidth(220)
        self.fault.currentTextChanged.connect(self._explain)
        both, rows = QHBoxLayout(self.hands), QVBoxLayout()
        both.setContentsMargins(0, 0, 0, 0)
        both.addWidget(self.socket)
        both.addLayout(rows, 1)
        first, second = QHBoxLayout(), QHBoxLayout()
        for widget in (self.action, self._button(self.tr("Do it"), self.handle)):
            first.addWidget(widget)
        first.addStretch(1)
        arm = self._button(self.tr("Arm fault"), self.arm)
        for widget in (self.fault, arm, self._button(self.tr("Clear faults"), self.clear)):
            second.addWidget(widget)
        second.addWidget(self.meaning, 1)
        rows.addLayout(first)
        rows.addLayout(second)

    # ---- answers --------------------------------------------------------------------------------------------------

    def take_rows(self, rows: Rows) -> bool:
        """The bench's state, or once its list of faults."""
        if rows.request != self._faults_request:
            return super().take_rows(rows)
        self._meanings = {str(name): str(meaning) for name, meaning in rows.rows}
        self.fault.addItems([name for name in self._meanings if name != "clear"])
        for place in range(self.fault.count()):
            meaning = self._meanings[self.fault.itemText(place)]
            self.fault.setItemData(place, meaning, Qt.ItemDataRole.ToolTipRole)
        return True

    def show_answer(self, rows: Rows) -> None:
        """Fill the table; say what is armed, or why the hand could not do what it was told."""
        super().show_answer(rows)
        if self._refusal:
            self.note.setText(self._refusal)
        elif "armed" in rows.columns:
            place = rows.columns.index("armed")
            armed = [
                self.tr("socket {n}: {faults}").format(n=row[0], faults=row[place]) for row in rows.rows if row[place]
            ]
            self.note.setText(
                self.tr("Armed in {list}").format(list="; ".join(armed)) if armed else self.tr("No fault is armed.")
            )
        if self._virtual and not self._faults_request:
            self._faults_request = self.next_request()
            self.commanded.emit(Query("faults", self._faults_request))

    def refused(self, sentence: str) -> None:
        """Keep the sentence until the next thing is done: the answer that follows must not cover it."""
        self._refusal = sentence
        super().refused(sentence)

    def changed(self) -> None:
        """A socket is not what it was: ask again soon, once for all that changes meanwhile."""
        if not self._soon.isActive():
            self._soon.start()

    @Slot(str)
    def _explain(self, text: str) -> None:
        """What the fault does; an argument may follow its name."""
        known = [name for name in self._meanings if text == name or text.startswith(f"{name}:")]
        name = max(known, key=len, default="")
        words = self._meanings.get(name, "")
        if "argument" in words:
            words += " " + self.tr("An argument is typed behind a colon: {name}:ARGUMENT").format(name=name)
        self.meaning.setText(words)

    # ---- hands ----------------------------------------------------------------------------------------------------

    @Slot()
    def handle(self) -> None:
        """Send what the hand is to do."""
        self._do(self.action.currentData())

    @Slot()
    def arm(self) -> None:
        """Arm the fault that is chosen or typed."""
        self._do(("fault", self.fault.currentText().strip()))

    @Slot()
    def clear(self) -> None:
        """Put the socket right again."""
        self._do(*RIGHT_AGAIN)

    def _do(self, *actions: tuple[str, str]) -> None:
        self._refusal = ""
        for action, argument in actions:
            self.commanded.emit(Handle(int(self.socket.currentData()), action, argument))
        self.ask()
