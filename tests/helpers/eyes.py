"""What eyes see of two colours: contrast, and CIE76 distance after simulated protanopia and deuteranopia."""

from __future__ import annotations

# Viénot, Brettel and Mollon 1999: dichromats' view in linear RGB.
DICHROMATS = {
    "protanopia": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deuteranopia": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}
TO_XYZ = (
    ((0.4124, 0.3576, 0.1805), 0.9505),
    ((0.2126, 0.7152, 0.0722), 1.0),
    ((0.0193, 0.1192, 0.9505), 1.089),
)
SURFACES_APART = 6.0
INKS_APART = {"light": 30.0, "dark": 15.0}
"""CIE76 distances that pass and fail must keep for every eye.

2.3 is just noticeable side by side; a glance from two metres needs several times that, the state words are ink.
Measured on the tokens (protanopia, deuteranopia): light surfaces 6.3 and 10.1, inks 34 and 59; dark inks 15.3 and 30.
"""


def linear(colour: str) -> list[float]:
    """Linear RGB of ``#RRGGBB``."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]


def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio."""
    high, low = sorted((_weighted(linear(v), TO_XYZ[1][0]) for v in (first, second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def distance(first: str, second: str, kind: str = "") -> float:
    """CIE76 distance of two colours as a dichromat (or, without a kind, everybody) sees them."""
    seen = [_lab(_seen(linear(v), kind)) for v in (first, second)]
    return sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5


def _seen(rgb: list[float], kind: str) -> list[float]:
    return [_weighted(rgb, row) for row in DICHROMATS[kind]] if kind else rgb


def _lab(rgb: list[float]) -> tuple[float, float, float]:
    xyz = [_weighted(rgb, row) / white for row, white in TO_XYZ]
    fx, fy, fz = (max(v, 0.0) ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def _weighted(rgb: list[float], weights: tuple[float, ...]) -> float:
    return sum(k * c for k, c in zip(weights, rgb, strict=True))
