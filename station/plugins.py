"""Plug-ins: drivers, appliances, parts, flows, simulators, handlers and windows are entry points, found by name."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires
from pathlib import Path
from typing import Any

from station.errors import ConfigError, nearest

GROUPS = {
    "station.drivers": "driver",
    "station.appliances": "appliance driver",
    "station.parts": "part",
    "station.flows": "flow",
    "station.simulators": "simulator",
    "station.handlers": "handler",
    "station.windows": "window",
}
FOR_DEVELOPERS = ("test", "benchmark", "fuzz", "build")
"""Extras that no bench installs."""


def names(group: str) -> list[str]:
    """All plug-in names of a group."""
    return sorted(_entries(group))


def load(group: str, name: str) -> Any:
    """The plug-in object; an unknown name or a missing package is a ``ConfigError`` of one sentence."""
    entries = _entries(group)
    word = GROUPS.get(group, "plug-in")
    entry = entries.get(name)
    if entry is None:
        known = ", ".join(sorted(entries)) or "none is installed"
        raise ConfigError(f"there is no {word} '{name}'{nearest(name, entries)}; installed are: {known}")
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = _extra_with(package)
        hint = f"; it comes with the extra '{extra}': pip install 'provisioning-station[{extra}]'" if extra else ""
        raise ConfigError(
            f"the {word} '{name}' needs the Python package that provides '{package}', which is not installed{hint}"
        ) from None
    except (AttributeError, ImportError, OSError) as error:  # OSError: a library that a package brings along
        raise ConfigError(f"the {word} '{name}' ({entry.value}) is broken: {error}") from None


def require_one(group: str, wanted: Sequence[str]) -> None:
    """See that one of them can be had at least; ``ConfigError`` with every sentence otherwise. None may be wanted."""
    said = []
    for name in dict.fromkeys(wanted):
        try:
            load(group, name)
        except ConfigError as error:
            said.append(str(error))
        else:
            return
    if said:
        raise ConfigError("\n".join(said))


def beside(group: str, name: str, attribute: str) -> Any:
    """Something optional that the module of a plug-in has beside it; None when it has none."""
    return getattr(sys.modules.get(getattr(load(group, name), "__module__", "")), attribute, None)


def _extra_with(package: str) -> str:
    """The optional extra of this project that brings a package along, if there is one."""
    try:
        wanted = requires("provisioning-station") or []
    except PackageNotFoundError:
        return ""
    pattern = re.compile(rf"{re.escape(package)}\b.*extra == ['\"](?P<extra>[a-z]+)['\"]")
    extras = [match["extra"] for line in wanted if (match := pattern.match(line))]
    return min((extra for extra in extras if extra not in FOR_DEVELOPERS), default="")


def _entries(group: str) -> dict[str, EntryPoint]:
    found = {entry.name: entry for entry in _checkout_entries() if entry.group == group}
    return {**found, **{entry.name: entry for entry in entry_points(group=group)}}


@cache
def _checkout_entries() -> tuple[EntryPoint, ...]:
    """Our own plug-ins when the station runs from a source folder that was never installed."""
    project = Path(__file__).resolve().parent.parent / "pyproject.toml"
    try:
        tables = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["entry-points"]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return ()
    return tuple(
        EntryPoint(name=name, value=value, group=group)
        for group, table in tables.items()
        for name, value in table.items()
    )
