"""Sign-in: name or badge, and PIN. The PIN leaves this dialog as a ``Secret`` and is cleared from its field at once."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDialog, QFormLayout, QLabel, QLineEdit, QPushButton, QWidget

from station.protocol import (  # type: ignore[attr-defined]  # the window may import the protocol only
    Secret,
    SignedIn,
    SignIn,
)
from ui.entry_dialogs import heading

BADGE = "OP:"  # prefix of a badge; it names the operator and proves nothing


class SignInDialog(QDialog):
    """Asks who works at the bench; stays until the engine has answered."""

    commanded = Signal(object)  # SignIn

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Sign in"))
        self.setMinimumWidth(420)
        self.name = QLineEdit()
        self.name.setPlaceholderText(self.tr("Scan the badge or type the name"))
        self.pin = QLineEdit()
        self.pin.setEchoMode(QLineEdit.EchoMode.Password)
        self.pin.setInputMethodHints(Qt.InputMethodHint.ImhHiddenText | Qt.InputMethodHint.ImhSensitiveData)
        self.message = QLabel()
        self.message.setProperty("kind", "error")
        self.message.setWordWrap(True)
        self.button = QPushButton(self.tr("Sign in"))
        self.button.setDefault(True)
        self.button.setMinimumHeight(56)
        form = QFormLayout(self)
        form.setContentsMargins(24, 24, 24, 24)
        form.setSpacing(14)
        form.addRow(heading(self.windowTitle()))
        form.addRow(self.tr("Name"), self.name)
        form.addRow(self.tr("PIN"), self.pin)
        form.addRow(self.message)
        form.addRow(self.button)
        self.button.clicked.connect(self._submit)

    def take_scan(self, text: str) -> None:
        """A scanned badge names the operator; it is never a PIN."""
        self.name.setText(text.strip().removeprefix(BADGE))
        self.pin.clear()
        self.pin.setFocus()

    @Slot()
    def _submit(self) -> None:
        name = self.name.text().strip()
        if not name:
            self.name.setFocus()
            return
        if not self.pin.text():
            self.pin.setFocus()
            return
        command = SignIn(name, Secret(self.pin.text().encode(), "PIN"))
        self.pin.clear()
        self.message.setText("")
        self.button.setEnabled(False)
        self.commanded.emit(command)

    def answered(self, event: SignedIn) -> None:
        """The engine's answer: close, or say why not."""
        self.button.setEnabled(True)
        if event.failed:
            self.message.setText(event.failed)
            self.pin.setFocus()
        elif event.operator:
            self.accept()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """What is typed next is a name, wherever the cursor was before: no PIN lands in the field that can be read."""
        super().showEvent(event)
        (self.pin if self.name.text() else self.name).setFocus()

    def done(self, result: int) -> None:
        """Leave nothing in the fields, whatever ended the dialog."""
        self.name.clear()
        self.pin.clear()
        self.message.setText("")
        self.button.setEnabled(True)
        super().done(result)
