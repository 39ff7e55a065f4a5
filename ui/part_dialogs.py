"""What is known of one part, and its release from quarantine by a supervisor, with a reason."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QDialog, QFormLayout, QLabel, QLineEdit, QPushButton, QWidget

from station.protocol import Query, Release, Rows
from ui.entry_dialogs import heading
from ui.query_dialogs import QueryDialog
from ui.theme import Theme

SHORTEST_REASON = 3


class PartDialog(QueryDialog):
    """Labels, id, burns, verdicts and quarantine of one part."""

    release_wanted = Signal(str, str)

    def __init__(self, theme: Theme, part: str, parent: QWidget | None = None) -> None:
        super().__init__(theme, "part", "", parent)
        self.part = part
        self.arguments = {"part": part}
        title = self.tr("Part {part}").format(part=part)
        self.heading.setText(title)
        self.setWindowTitle(title)
        self.resize(900, 560)
        self.release = QPushButton(self.tr("Release from quarantine…"))
        self.release.setAutoDefault(False)
        self.release.setEnabled(False)
        self.release.clicked.connect(self._want_release)
        self.bar.addWidget(self.release)

    @property
    def quarantine(self) -> str:
        """Why the part is in quarantine; an empty text when it is not."""
        return next((str(row[1]) for row in self.model.answer.rows if row[0] == "quarantine" and row[1]), "")

    def show_answer(self, rows: Rows) -> None:
        """Only a part in quarantine can be released."""
        super().show_answer(rows)
        self.release.setEnabled(bool(self.quarantine))

    @Slot()
    def _want_release(self) -> None:
        self.release_wanted.emit(self.part, self.quarantine)


class ReleaseDialog(QDialog):
    """Asks for the reason; closes only when the engine has released the part, else says why it has not."""

    commanded = Signal(object)  # Release, then Query
    released = Signal()
    hears = ("Release", "Query")

    def __init__(self, part: str, quarantine: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.part = part
        self._request = 0
        self.setWindowTitle(self.tr("Release {part}").format(part=part))
        self.setMinimumWidth(620)
        why = QLabel(quarantine)
        why.setWordWrap(True)
        self.reason = QLineEdit()
        self.reason.setPlaceholderText(self.tr("What was checked, and why the part may go on"))
        self.reason.setMaxLength(500)
        self.message = QLabel()
        self.message.setProperty("kind", "error")
        self.message.setWordWrap(True)
        self.button = QPushButton(self.tr("Release the part"))
        self.button.setMinimumHeight(48)
        self.button.setDefault(True)
        self.button.setEnabled(False)
        form = QFormLayout(self)
        form.setContentsMargins(24, 24, 24, 24)
        form.setSpacing(14)
        form.addRow(heading(self.windowTitle()))
        form.addRow(self.tr("Part"), QLabel(part))
        form.addRow(self.tr("In quarantine"), why)
        form.addRow(self.tr("Reason"), self.reason)
        form.addRow(
            QLabel(self.tr("The reason is recorded with your name. A part that is released may be burnt again."))
        )
        form.addRow(self.message)
        form.addRow(self.button)
        self.reason.textChanged.connect(self._check)
        self.button.clicked.connect(self._submit)

    @Slot()
    def _check(self) -> None:
        self.button.setEnabled(len(self.reason.text().strip()) >= SHORTEST_REASON)

    @Slot()
    def _submit(self) -> None:
        """The question after the release is answered after it, so its answer says that the release was carried out."""
        self.message.setText("")
        self.button.setEnabled(False)
        self._request = QueryDialog.next_request()
        self.commanded.emit(Release(self.part, self.reason.text().strip()))
        self.commanded.emit(Query("part", self._request, {"part": self.part}))

    def take_rows(self, rows: Rows) -> bool:
        """The part as it is after the release."""
        if rows.request != self._request:
            return False
        if not self.message.text():
            self.released.emit()
            self.accept()
        return True

    def refused(self, sentence: str) -> None:
        """Say why the part stays in quarantine."""
        self.message.setText(sentence)
        self._check()
