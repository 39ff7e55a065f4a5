"""Whose chip lies in the socket: what it says of itself against what was scanned (docs/decisions/0010)."""

from __future__ import annotations

import re

from station.formats.device_id import Din, HardwareOrigin
from station.run import Run


def identify(run: Run, raw: bytes, lot_number: str = "") -> None:
    """Bind the label to the chip's hardware origin (16 bytes), unless it is one that many chips share."""
    origin = HardwareOrigin.parse(raw)
    if origin.is_blind and run.device_id:
        raise run.quarantined(
            f"label {run.label} belongs to device {run.device_id}, but the chip in the socket was assembled blind", None
        )
    if origin.is_blind:
        run.log("this chip was assembled blind: its id is not its own, so it is known by its label alone")
        return
    check_place(run, origin.din, lot_number)
    run.identify(raw.hex())


def check_place(run: Run, din: Din | None, lot_number: str = "") -> None:
    """Quarantine a die that lay elsewhere than its label says; a label without x and y, or a blind die, says nothing.

    ``lot_number``: the first group of this pattern, found in the label's lot, is the lot's number (recipe setting).
    """
    label = run.context
    if din is None or din.blind or label.x < 0 or label.y < 0:
        return
    pairs = {"wafer": (_number(r"([0-9]+)$", label.wafer), din.wafer), "x": (label.x, din.x), "y": (label.y, din.y)}
    if lot_number:
        pairs["lot"] = (_number(lot_number, label.lot), din.lot)
    wrong = [f"{name} {scanned} (the die says {own})" for name, (scanned, own) in pairs.items()
             if scanned is not None and scanned != own]  # fmt: skip
    if wrong:
        says = ", ".join(wrong)
        raise run.quarantined(f"label {run.label} is of another die: it says {says}; find the right label", None)


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return int(found[1]) if found else None
