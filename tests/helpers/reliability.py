"""Counts of the crash matrix: one file per test below ``build/reliability``, merged into ``build/reliability.json``.

``python tests/helpers/reliability.py`` writes the table of docs/reliability.md from the merged file.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
DOCUMENT = ROOT / "docs" / "reliability.md"
POINTS = ROOT / "tests" / "flows" / "quarantine_points.toml"
BEGIN, END = "<!-- counts: begin -->", "<!-- counts: end -->"
OUTCOMES = ("pass", "recovered", "quarantine", "broken")


class Ledger:
    """The counts of one test."""

    def __init__(self, name: str, full: bool) -> None:
        self.name = name
        self.full = full

    def write(self, counts: dict[str, Any]) -> None:
        """Keep the counts of this test and merge all that there are."""
        folder = BUILD / "reliability"
        folder.mkdir(parents=True, exist_ok=True)
        safe = re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-")
        _replace(folder / f"{safe}.json", {"full": self.full, **counts})
        merge()


def merge() -> dict[str, Any]:
    """All tests' counts in one file; what the full matrix has counted hides the subset's."""
    parts = [json.loads(path.read_text()) for path in sorted((BUILD / "reliability").glob("*.json"))]
    chosen = [part for part in parts if part["full"]] or parts
    counts: dict[str, Counter[str]] = {}
    for part in chosen:
        for key, row in part["counts"].items():
            counts.setdefault(key, Counter()).update(row)
    body = {
        "full": any(part["full"] for part in parts),
        "cases": sum(sum(row.values()) for row in counts.values()),
        "double_burns": sum(part["double_burns"] for part in chosen),
        "counts": {key: dict(row) for key, row in sorted(counts.items())},
        "quarantined": sorted({point for part in chosen for point in part["quarantined"]}),
    }
    _replace(BUILD / "reliability.json", body)
    return body


def table(body: dict[str, Any]) -> str:
    """The counts as Markdown."""
    lines = ["| Flow | From just before | What strikes | Cases | Pass on the rerun | Recovered | Quarantine | Broken |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for key, row in body["counts"].items():
        flow, window, kind = key.split("|")
        numbers = [row.get(outcome, 0) for outcome in OUTCOMES]
        lines.append(f"| {flow} | {window} | {kind} | {sum(row.values())} | {' | '.join(map(str, numbers))} |")
    totals = [sum(row.get(outcome, 0) for row in body["counts"].values()) for outcome in OUTCOMES]
    lines.append(f"| **all** | | | **{body['cases']}** | {' | '.join(f'**{n}**' for n in totals)} |")
    return "\n".join([*lines, "", f"Double burns in all cases: **{body['double_burns']}**."])


def points() -> str:
    """The reviewed list as Markdown."""
    lines = [
        "| Flow | Burn | What strikes | When | While writing | Why it stays in quarantine |",
        "|---|---|---|---|---|---|",
    ]
    for point in tomllib.loads(POINTS.read_text())["point"]:
        moments, partitions = (", ".join(point[name]) for name in ("moments", "partitions"))
        lines.append(
            f"| {point['flow']} | {point['burn']} | {point['kind']} | {moments} | {partitions} | {point['reason']} |"
        )
    return "\n".join(lines)


def write_document() -> None:
    """Put the present counts and the reviewed points into docs/reliability.md."""
    body = merge()
    text = DOCUMENT.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table(body)}\n\n### Reviewed quarantine points\n\n{points()}\n{END}{after}")


def _replace(path: Path, body: dict[str, Any]) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(body, indent=1) + "\n")
    os.replace(fresh, path)


if __name__ == "__main__":
    write_document()
