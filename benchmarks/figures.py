"""What a benchmark reports: figures with baseline, ratio and aim, and how they are printed."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class NotMeasuredError(Exception):
    """Something a benchmark needs is not there; the sentence says what."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A limit for a figure's value or for its ratio to the baseline."""

    sign: str  # ">=", "<=" or "=="
    limit: float
    of_ratio: bool = False

    def met(self, figure: Figure) -> bool | None:
        """Whether the figure meets the aim; None when the ratio cannot be told without a baseline."""
        seen = figure.ratio if self.of_ratio else figure.value
        if seen is None:
            return None
        return {">=": seen >= self.limit, "<=": seen <= self.limit, "==": seen == self.limit}[self.sign]

    def __str__(self) -> str:
        sign = {">=": "≥", "<=": "≤", "==": "="}[self.sign]
        return f"{sign} {self.limit:g}{' ×' if self.of_ratio else ''}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; ``ratio`` is value over baseline."""

    name: str
    value: float
    unit: str
    aim: Aim | None = None
    baseline: float | None = None
    baseline_name: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Value over baseline, None without one."""
        return self.value / self.baseline if self.baseline else None

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None when there is none or it cannot be told."""
        return self.aim.met(self) if self.aim else None

    def plain(self) -> dict[str, Any]:
        """The figure as JSON values, verdict included."""
        aim = str(self.aim) if self.aim else ""
        return {**dataclasses.asdict(self), "aim": aim, "ratio": self.ratio, "met": self.met}


@dataclass(slots=True)
class Report:
    """Everything one benchmark says."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"figures": [figure.plain() for figure in self.figures], "notes": self.notes}


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure: ``quick`` takes one short run instead of several long ones."""

    quick: bool = False

    @property
    def runs(self) -> int:
        """How many runs a median is taken of."""
        return 1 if self.quick else 5


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class Spent(NamedTuple):
    """Wall time and processor time of this process, in seconds."""

    wall: float
    cpu: float


def spent_on(work: Callable[[], object]) -> Spent:
    """Wall and processor time of one call; the latter does not grow when others use the machine."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def machine() -> str:
    """This machine in words that name nobody."""
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.system()
    return f"{os.cpu_count()} cores, {system}, {platform.python_implementation()} {platform.python_version()}"


def text_of(plain: dict[str, Any]) -> str:
    """One printed line of a figure given as JSON values."""
    line = f"  {plain['name']:<52} {number(plain['value'])} {plain['unit']}"
    if plain["baseline"] is not None:
        line += f"   {plain['baseline_name']}: {number(plain['baseline'])}   ratio {number(plain['ratio'])}"
    if plain["aim"]:
        verdict = {True: "met", False: "MISSED", None: "not told: no baseline"}[plain["met"]]
        line += f"   aim {plain['aim']}: {verdict}"
    return line + (f"   ({plain['note']})" if plain["note"] else "")


def number(value: float) -> str:
    """Three significant digits, or all digits of a large or whole number."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
