"""The virtual bench that ``STATION_VIRTUAL_BENCH`` names, as a host sees it: what hangs on it, how it is started."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from drivers.virtual.bench_kind import EARLGREY
from drivers.virtual.link import ENVIRONMENT, BenchLink, LinkError
from station.errors import BenchError

KIND_FILE, MEMORY = "chip", "sockets.json"
"""What a bench keeps in its folder: the kind of its chips, and what is in its sockets."""


def bench_file() -> Path:
    """The bench's address file, which is there while it runs; ``BenchError`` when no bench is named at all."""
    place = os.environ.get(ENVIRONMENT, "")
    if not place:
        raise BenchError(f"expected the virtual bench's file in {ENVIRONMENT}, found nothing; run: station simulate")
    return Path(place)


def adapters() -> list[dict[str, Any]]:
    """Every adapter of the running bench; ``BenchError`` says how to start it when it does not answer."""
    place = bench_file()
    try:
        link = BenchLink.from_file(place)
        try:
            found: list[dict[str, Any]] = link.control({"do": "adapters"})
        finally:
            link.close()
    except LinkError as error:
        raise BenchError(
            f"expected the virtual bench of {place} to answer, but {error.strerror}; start it: {start_line(place)}"
        ) from None
    return found


def start_line(place: Path) -> str:
    """The command that starts the bench of this address file again, with its chips and as many sockets as it had."""
    folder = place.parent
    try:
        chip = (folder / KIND_FILE).read_text("utf-8").strip()
    except OSError:
        chip = EARLGREY
    try:
        sockets = len(json.loads((folder / MEMORY).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        sockets = 1
    words = ["station simulate", *([f"--chip {chip}"] if chip != EARLGREY else []), f"--data {folder}"]
    return " ".join([*words, *([f"--sockets {sockets}"] if sockets > 1 else [])])


def sleeping() -> str:
    """One sentence when the bench does not answer, else nothing; ``BenchError`` when no bench is named at all."""
    bench_file()
    try:
        adapters()
    except BenchError as error:
        return str(error)
    return ""
