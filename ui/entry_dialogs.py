"""Two small entries by hand: a label that cannot be scanned, and the recipe with its lot."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QComboBox, QDialog, QFormLayout, QLabel, QLineEdit, QPushButton, QWidget

from station.protocol import Scan, SelectRecipe


def heading(title: str) -> QLabel:
    """The title inside a dialog: a bench without a window manager draws no title bars."""
    label = QLabel(title)
    label.setProperty("kind", "title")
    return label


class LabelDialog(QDialog):
    """Types what a scanner would have read, for one socket."""

    commanded = Signal(object)  # Scan

    def __init__(self, socket: int, expects: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._socket = socket
        self.setWindowTitle(self.tr("Socket {n}: type the label").format(n=socket))
        self.setMinimumWidth(420)
        self.label = QLineEdit()
        button = QPushButton(self.tr("Use this label"))
        button.setDefault(True)
        button.setMinimumHeight(48)
        form = QFormLayout(self)
        form.setContentsMargins(24, 24, 24, 24)
        form.setSpacing(14)
        form.addRow(heading(self.windowTitle()))
        if expects:
            form.addRow(QLabel(self.tr("Expected: {what}").format(what=expects)))
        form.addRow(self.tr("Label"), self.label)
        form.addRow(button)
        button.clicked.connect(self._submit)

    def take_scan(self, text: str) -> None:
        """The scanner worked after all."""
        self.label.setText(text)
        self._submit()

    @Slot()
    def _submit(self) -> None:
        text = self.label.text().strip()
        if text:
            self.commanded.emit(Scan(text, self._socket))
            self.accept()


class RecipeDialog(QDialog):
    """Chooses what this bench does now; the engine decides who may."""

    commanded = Signal(object)  # SelectRecipe

    def __init__(
        self,
        recipes: tuple[str, ...],
        current: str,
        lot: str,
        parent: QWidget | None = None,
        on_trays: tuple[str, ...] = (),
    ) -> None:
        """``on_trays``: recipes whose parts come on trays."""
        self._on_trays = on_trays
        super().__init__(parent)
        self.setWindowTitle(self.tr("Recipe and lot"))
        self.setMinimumWidth(460)
        self.recipe = QComboBox()
        self.recipe.addItems(list(recipes))
        self.recipe.setCurrentText(current)
        self.lot = QLineEdit(lot)
        self.wafer = QLineEdit()
        button = QPushButton(self.tr("Use this recipe"))
        button.setDefault(True)
        button.setMinimumHeight(48)
        form = QFormLayout(self)
        form.setContentsMargins(24, 24, 24, 24)
        form.setSpacing(14)
        form.addRow(heading(self.windowTitle()))
        form.addRow(self.tr("Recipe"), self.recipe)
        form.addRow(self.tr("Lot"), self.lot)
        self.place = QLabel()
        form.addRow(self.place, self.wafer)
        self._name_place()
        self.recipe.currentTextChanged.connect(self._name_place)
        form.addRow(button)
        button.clicked.connect(self._submit)

    def take_scan(self, text: str) -> None:
        """A scanned traveller names the lot."""
        self.lot.setText(text.strip())

    @Slot()
    def _name_place(self) -> None:
        """What the parts of the chosen recipe come on."""
        on_tray = self.recipe.currentText() in self._on_trays
        self.place.setText(self.tr("Tray") if on_tray else self.tr("Wafer"))

    @Slot()
    def _submit(self) -> None:
        if self.recipe.currentText():
            lot, wafer = self.lot.text().strip(), self.wafer.text().strip()
            self.commanded.emit(SelectRecipe(self.recipe.currentText(), lot, wafer))
            self.accept()
