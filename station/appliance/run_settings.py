"""The part of ``appliance.toml`` that says who may call, how long sessions live and what is written about calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from station.appliance.metrics_address import MetricsAddress, parse_address
from station.errors import ConfigError
from station.model import Realm

TEXTS = {"stations": "stations.toml", "counters": "counters.db", "audit": "audit.jsonl", "metrics": ""}
SWITCHES = {"reflection": False, "one_core": True}
NUMBERS = {"session_minutes": (60, 1, 1440), "calls_per_second": (2000, 0, 1_000_000), "workers": (1, 1, 64)}
"""Default, least and most."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Paths are absolute; ``audit`` is None when the log is the only place; 0 calls per second means no limit.

    ``metrics`` is None when nothing listens for Prometheus. ``workers`` processes serve the folder together,
    each on one core when ``one_core`` is set.
    """

    stations: Path
    counters: Path
    audit: Path | None
    metrics: MetricsAddress | None
    reflection: bool
    one_core: bool
    session_minutes: int
    calls_per_second: int
    workers: int


def findings(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and sentence of everything wrong."""
    for key, (_, least, most) in NUMBERS.items():
        value = values.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            yield key, f"expected a whole number from {least} to {most} for {key!r}, saw {value!r}"
    for key, default in SWITCHES.items():
        if not isinstance(values.get(key, default), bool):
            yield key, f"expected true or false for {key!r}, saw {values[key]!r}"
    if values.get("reflection") is True and values.get("realm") == Realm.PRODUCTION:
        yield (
            "reflection",
            "reflection is refused in production: its calls hold threads and pass by roles and audit log",
        )
    if isinstance(values.get("metrics"), str) and values["metrics"]:
        try:
            parse_address(values["metrics"])
        except ConfigError as error:
            yield "metrics", str(error)


def run_settings(folder: Path, values: Mapping[str, Any]) -> RunSettings:
    """The checked settings."""
    texts = {key: str(values.get(key, default)) for key, default in TEXTS.items()}
    numbers = {key: int(values.get(key, default)) for key, (default, _, _) in NUMBERS.items()}
    switches = {key: bool(values.get(key, default)) for key, default in SWITCHES.items()}
    return RunSettings(
        stations=folder / texts["stations"],
        counters=folder / texts["counters"],
        audit=folder / texts["audit"] if texts["audit"] else None,
        metrics=parse_address(texts["metrics"]) if texts["metrics"] else None,
        reflection=switches["reflection"],
        one_core=switches["one_core"],
        **numbers,
    )
