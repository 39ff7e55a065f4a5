"""Tokens of the operator screen, the dark theme derived from them, and the style sheet built from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtGui import QColor, QFont, QFontDatabase

RADIUS = 8
GRID = 12
SMALLEST_TEXT = 11
LABEL_PADDING = 22  # left and right of the text of a primary button
READABLE = 4.5  # WCAG 1.4.3 contrast of body text


@dataclass(frozen=True, slots=True)
class Pair:
    """One role: ``ink`` on ``surface``; ``edge`` is its border and its text on a card."""

    ink: str
    surface: str
    edge: str


def _pair(ink: str, surface: str) -> Pair:
    return Pair(ink, surface, ink)


@dataclass(frozen=True)
class Theme:
    """All colours and sizes of the window; ``scale`` is the font size setting."""

    name: str
    background: str
    card: str
    line: str
    ink: str
    muted: str
    faint: str
    roles: Mapping[str, Pair]
    scale: float = 1.0

    def px(self, size: float) -> int:
        """A text size in pixels after the font size setting, never below the smallest readable one."""
        return max(SMALLEST_TEXT, round(size * self.scale))

    def role(self, name: str) -> Pair:
        """The colours of one role; an unknown role is shown as neutral."""
        return self.roles.get(name, self.roles["neutral"])

    def font(self, size: float, bold: bool = False, mono: bool = False, narrow: bool = False) -> QFont:
        """A font of this theme; ``narrow`` is the condensed cut for the large state words."""
        font = QFont("DejaVu Sans Mono" if mono else "DejaVu Sans")
        font.setStyleHint(QFont.StyleHint.Monospace if mono else QFont.StyleHint.SansSerif)
        font.setPixelSize(self.px(size))
        font.setBold(bold)
        if narrow:
            font.setStretch(QFont.Stretch.SemiCondensed)
        return font


LIGHT = Theme(
    name="light",
    background="#ECEEF0",
    card="#FFFFFF",
    line="#CDD3D9",
    ink="#1B2733",
    muted="#5C6B7A",
    faint="#8A97A4",
    roles={
        "pass": _pair("#0A7570", "#DDF1EF"),
        "fail": _pair("#B3361B", "#FBE4DC"),
        "run": _pair("#1F5FBF", "#E1ECFA"),
        "wait": _pair("#8A5A00", "#FFF1CC"),
        "burn": _pair("#6A3D9A", "#EEE5F7"),
        "quarantine": _pair("#6A3D9A", "#EEE5F7"),
        "hold": _pair("#3D5166", "#E4EAF0"),
        "neutral": Pair("#FFFFFF", "#2F3B47", "#2F3B47"),
    },
)


def _channels(colour: QColor) -> tuple[float, float, float]:
    return colour.redF(), colour.greenF(), colour.blueF()


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.1)."""
    value = QColor(colour)
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(value)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.1)."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mix(first: str, second: str, share: float) -> str:
    """``first`` with ``share`` (0 to 1) of ``second`` in it."""
    pairs = zip(_channels(QColor(first)), _channels(QColor(second)), strict=True)
    return QColor.fromRgbF(*(x + (y - x) * share for x, y in pairs)).name().upper()


def _readable(colour: str, surfaces: tuple[str, ...]) -> str:
    """The colour, lightened until it can be read on all of the dark surfaces."""
    for step in range(21):
        candidate = mix(colour, "#FFFFFF", step / 20)
        if all(contrast(candidate, surface) >= READABLE + 0.1 for surface in surfaces):
            return candidate
    return "#FFFFFF"


def dark(light: Theme = LIGHT) -> Theme:
    """The dark theme: the same roles on dark surfaces, inks lightened until they can be read."""
    background, card = "#12181E", "#1B232B"
    roles = {}
    for name, pair in light.roles.items():
        surface = mix(card, pair.edge, 0.30)
        ink = _readable(pair.edge, (surface, card))
        roles[name] = Pair(ink, surface, ink)
    roles["neutral"] = Pair("#FFFFFF", "#4A5662", "#AAB6C2")
    return replace(
        light,
        name="dark",
        background=background,
        card=card,
        line="#3A4651",
        ink="#E8EDF2",
        muted=_readable("#8A97A4", (card, background)),
        faint="#66727E",
        roles=roles,
    )


def load_fonts(folder: Path) -> list[str]:
    """Register the fonts that are shipped in ``folder``, if any; returns their families."""
    families: list[str] = []
    for file in sorted(folder.glob("*.ttf")):
        families += QFontDatabase.applicationFontFamilies(QFontDatabase.addApplicationFont(str(file)))
    return families


def _colours(theme: Theme) -> dict[str, str]:
    run = theme.role("run")
    return {
        "background": theme.background,
        "card": theme.card,
        "line": theme.line,
        "ink": theme.ink,
        "muted": theme.muted,
        "faint": theme.faint,
        "run": run.ink,
        "run_surface": run.surface,
        "on_run": theme.card,
        "fail": theme.role("fail").ink,
        "radius": str(RADIUS),
        "body": str(theme.px(14)),
        "small": str(theme.px(12)),
        "title": str(theme.px(16)),
        "value": str(theme.px(17)),
    }


_SHEET = """
* {{ font-family: "DejaVu Sans"; font-size: {body}px; color: {ink}; }}
QMainWindow, QDialog {{ background: {background}; }}
QFrame[card="true"] {{ background: {card}; border: 1px solid {line}; border-radius: {radius}px; }}
QLabel {{ background: transparent; border: none; }}
QLabel[kind="small"] {{ font-size: {small}px; color: {muted}; }}
QLabel[kind="title"] {{ font-size: {title}px; font-weight: bold; }}
QLabel[kind="value"] {{ font-size: {value}px; font-weight: bold; }}
QLabel[kind="error"] {{ color: {fail}; font-weight: bold; }}
QPushButton {{
    background: {card};
    border: 1px solid {line};
    border-radius: {radius}px;
    padding: 6px 16px;
    min-height: 22px;
}}
QPushButton:hover {{ border-color: {muted}; }}
QPushButton:pressed {{ background: {background}; }}
QPushButton:disabled {{ color: {muted}; background: {background}; }}
QPushButton:checked {{ background: {run_surface}; border-color: {run}; color: {run}; }}
QDialog QPushButton:default {{ background: {run}; border-color: {run}; color: {on_run}; }}
QDialog QPushButton:default:disabled {{ background: {background}; border-color: {line}; color: {muted}; }}
QPushButton[pill="true"] {{ border-radius: 14px; padding: 2px 10px; min-height: 22px; }}
QLineEdit, QComboBox, QPlainTextEdit {{
    background: {card};
    border: 1px solid {line};
    border-radius: 6px;
    padding: 5px 8px;
    min-height: 20px;
}}
QComboBox::drop-down {{ border: none; width: 26px; }}
QComboBox::down-arrow {{
    width: 0;
    height: 0;
    border-left: 5px solid {card};
    border-right: 5px solid {card};
    border-top: 6px solid {muted};
}}
QLineEdit:focus, QComboBox:focus {{ border-color: {run}; }}
QTableView {{
    background: {card};
    border: none;
    gridline-color: {line};
    selection-background-color: {run_surface};
    selection-color: {ink};
}}
QTableView[framed="true"] {{ border: 1px solid {line}; border-radius: 6px; }}
QTableView[framed="true"]::item {{ padding: 0 8px; }}
QHeaderView::section {{
    background: {background};
    border: none;
    border-bottom: 1px solid {line};
    padding: 5px 8px;
    color: {muted};
}}
QMenu {{ background: {card}; border: 1px solid {line}; padding: 6px; }}
QMenu::item {{ padding: 8px 24px; }}
QMenu::item:selected {{ background: {run_surface}; }}
QToolTip {{ background: {card}; color: {ink}; border: 1px solid {line}; }}
QScrollBar:vertical {{ background: transparent; width: 10px; margin: 0; }}
QScrollBar::handle:vertical {{ background: {line}; border-radius: 5px; min-height: 30px; }}
QScrollBar::add-line:vertical, QScrollBar::sub-line:vertical {{ height: 0; }}
"""


def style_sheet(theme: Theme) -> str:
    """The style sheet of the whole window, from the tokens."""
    return _SHEET.format(**_colours(theme))


def button_sheet(theme: Theme, role: str, size: float) -> str:
    """The style sheet of the one primary button: ink of the role as its surface."""
    pair = theme.role(role)
    surface = pair.edge if theme.name == "light" else pair.ink
    text = "#FFFFFF" if contrast("#FFFFFF", surface) >= contrast("#12181E", surface) else "#12181E"
    return (
        f"QPushButton {{ background: {surface}; color: {text}; border: none; border-radius: {RADIUS}px;"
        f" font-size: {theme.px(size)}px; font-weight: bold; padding: 0 {LABEL_PADDING}px; }}"
        f"QPushButton:pressed {{ background: {mix(surface, '#000000', 0.2)}; }}"
    )
