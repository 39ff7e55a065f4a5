"""What belongs to this window only: text size, theme, language, foot switch key; a JSON file beside the data."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from PySide6.QtCore import QStandardPaths, Qt
from PySide6.QtGui import QGuiApplication, QKeySequence

from ui.theme import LIGHT, Theme, dark

TEXT_SIZES = (80, 100, 115, 130, 150, 200)
LEAST_SCREEN = (780, 480)
"""Width and height of a screen, in pixels at a text size of 100 %, on which everything can still be read whole."""


def sizes_for(width: int, height: int) -> tuple[int, ...]:
    """The text sizes that a screen has room for; up to 100 % there is always."""
    return tuple(
        size for size in TEXT_SIZES
        if size <= 100 or (100 * width / size >= LEAST_SCREEN[0] and 100 * height / size >= LEAST_SCREEN[1])
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """``text_size`` in per cent; ``theme`` is system, light or dark; ``foot_switch`` a key name such as F13."""

    text_size: int = 100
    theme: str = "system"
    language: str = ""
    foot_switch: str = ""

    def chosen_theme(self) -> Theme:
        """The theme with the text size applied."""
        name = self.theme
        if name == "system":
            scheme = QGuiApplication.styleHints().colorScheme()
            name = "dark" if scheme == Qt.ColorScheme.Dark else "light"
        return replace(dark() if name == "dark" else LIGHT, scale=self.text_size / 100)

    def primary_keys(self) -> tuple[int, ...]:
        """Extra keys of the primary action."""
        sequence = QKeySequence(self.foot_switch)
        return (int(sequence[0].key()),) if sequence.count() else ()  # type: ignore[index]


def settings_file(data: Path | None) -> Path:
    """Where the settings of this window live."""
    if data is not None:
        return data / "window.json"
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericConfigLocation)
    return Path(folder) / "provisioning-station" / "window.json"


def load(file: Path) -> WindowSettings:
    """The stored settings; anything unreadable or unknown is left at its default."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        known = {f.name: stored[f.name] for f in fields(WindowSettings) if f.name in stored}
        settings = WindowSettings(**known)
        return replace(settings, text_size=min(200, max(80, int(settings.text_size))))
    except (OSError, ValueError, TypeError):
        return WindowSettings()


def save(file: Path, settings: WindowSettings) -> str:
    """Store the settings; returns a sentence when that failed, since the window works without."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(settings), indent=1), encoding="utf-8")
        os.replace(fresh, file)
    except OSError as error:
        return str(error)
    return ""
