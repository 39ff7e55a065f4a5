"""The station file (``station.toml``): name, realm, sockets with their drivers, appliance, limits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from station import plugins
from station.errors import ConfigError, Finding
from station.model import Mode, Realm
from station.toml_file import Strict, TomlFile, load

VIRTUAL_BENCH = "STATION_VIRTUAL_BENCH"
"""Environment variable with the bench file of the virtual bench; the adapters' backend reads it."""


FILE_SETTINGS = frozenset({"endpoint", "ca", "certificate", "key"})


class PluginEntry(Strict):
    """A plug-in and its settings."""

    driver: str = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)


class SocketEntry(PluginEntry):
    """One ``[[socket]]``; sockets are numbered from 1 in the order of the file."""

    fixture: str = ""
    contacts_limit: int = Field(default=50_000, ge=1)


class LotLimits(Strict):
    """``[limits]``: when the lot stops (0 switches a rule off); ``day_starts``: the hour of a day without a lot."""

    yield_limit: float = Field(default=0.0, ge=0.0, le=1.0)
    yield_minimum_parts: int = Field(default=20, ge=1)
    consecutive_fails: int = Field(default=0, ge=0)
    lot_size: int = Field(default=0, ge=0)
    day_starts: int = Field(default=0, ge=0, le=23)


class StationFile(Strict):
    """The whole of ``station.toml``."""

    schema_: int = Field(alias="schema", ge=1, le=1)
    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")
    realm: Realm = Field(strict=False)
    mode: Mode = Field(default=Mode.PRODUCTION, strict=False)
    data: str = "data"
    resources: tuple[str, ...] = Field(default=(), strict=False)
    recipes: tuple[str, ...] = Field(default=(), strict=False)
    virtual_bench: str = ""
    socket: tuple[SocketEntry, ...] = Field(strict=False, min_length=1, max_length=64)
    appliance: PluginEntry | None = None
    handler: PluginEntry | None = None
    limits: LotLimits = Field(default_factory=LotLimits)


@dataclass(frozen=True, slots=True)
class StationConfig:
    """A checked station file; all paths are absolute. A station whose flows need no appliance names none."""

    path: Path
    name: str
    realm: Realm
    mode: Mode
    data: Path
    resources: tuple[Path, ...]
    recipes: tuple[str, ...]
    virtual_bench: Path | None
    sockets: tuple[SocketEntry, ...]
    appliance: PluginEntry | None
    handler: PluginEntry | None
    limits: LotLimits

    def use_environment(self) -> None:
        """Point the adapters' backend at the virtual bench, or away from any."""
        if self.virtual_bench is None:
            os.environ.pop(VIRTUAL_BENCH, None)
        else:
            os.environ[VIRTUAL_BENCH] = str(self.virtual_bench)

    def require_drivers(self) -> None:
        """Raise ``ConfigError`` when no socket's driver can be had: nothing is started then.

        One among others is that socket's fault alone: on the rest parts are made, released and answered for.
        """
        plugins.require_one("station.drivers", [entry.driver for entry in self.sockets])


def load_config(path: Path, data: Path | None = None) -> StationConfig:
    """Read a station file; raises ``ConfigError`` with every finding. ``data`` overrides the file's data folder."""
    parsed, file = load(path, StationFile)
    base = path.resolve().parent
    findings = _findings(parsed, file)
    if findings:
        raise ConfigError(findings)
    return StationConfig(
        path=path.resolve(), name=parsed.name, realm=parsed.realm, mode=parsed.mode,
        data=data.resolve() if data else (base / parsed.data).resolve(),
        resources=tuple((base / folder).resolve() for folder in parsed.resources), recipes=parsed.recipes,
        virtual_bench=(base / parsed.virtual_bench).resolve() if parsed.virtual_bench else None,
        sockets=parsed.socket, appliance=_absolute(parsed.appliance, base) if parsed.appliance else None,
        handler=parsed.handler, limits=parsed.limits,
    )  # fmt: skip


def _findings(parsed: StationFile, file: TomlFile) -> list[Finding]:
    findings = []
    for index, entry in enumerate(parsed.socket):
        findings += _unknown_plugin(file, ("socket", index, "driver"), "station.drivers", entry.driver)
    findings += _shared_adapters(file, parsed.socket)
    findings += _appliance_findings(file, parsed)
    if parsed.handler is not None:
        findings += _unknown_plugin(file, ("handler", "driver"), "station.handlers", parsed.handler.driver)
    if (parsed.mode is Mode.VIRTUAL) != bool(parsed.virtual_bench):
        sentence = "a station is all virtual or all real: mode 'virtual' and virtual_bench go together"
        findings.append(file.finding(("virtual_bench",) if parsed.virtual_bench else ("mode",), sentence))
    if parsed.realm is Realm.PRODUCTION and parsed.virtual_bench:
        sentence = "no virtual part may reach a production registry: realm 'production' allows no virtual_bench"
        findings.append(file.finding(("realm",), sentence))
    return findings


def _appliance_findings(file: TomlFile, parsed: StationFile) -> list[Finding]:
    if parsed.appliance is None:
        return []
    findings = _unknown_plugin(file, ("appliance", "driver"), "station.appliances", parsed.appliance.driver)
    if parsed.appliance.settings.get("tls") == "off" and parsed.mode is not Mode.ENGINEERING:
        sentence = "without TLS anybody may read the secrets: tls = \"off\" is for mode 'engineering' only"
        findings.append(file.finding(("appliance", "settings", "tls"), sentence))
    return findings


def _shared_adapters(file: TomlFile, sockets: tuple[SocketEntry, ...]) -> list[Finding]:
    """Two sockets on one adapter would be two labels for one part."""
    first: dict[tuple[str, str], int] = {}
    findings = []
    for index, entry in enumerate(sockets):
        serial = str(entry.settings.get("serial", ""))
        other = first.setdefault((entry.driver, serial), index) if serial else index
        if other != index:
            sentence = f"socket {index + 1} names the adapter {serial}, which socket {other + 1} has already"
            findings.append(file.finding(("socket", index, "settings", "serial"), sentence))
    return findings


def _unknown_plugin(file: TomlFile, key: tuple[str | int, ...], group: str, name: str) -> list[Finding]:
    if name in plugins.names(group):
        return []
    try:
        plugins.load(group, name)
    except ConfigError as error:
        return [file.finding(key, str(error))]
    return []


def _absolute(entry: PluginEntry, base: Path) -> PluginEntry:
    """File names among an appliance's settings are relative to the station file."""
    settings = {
        key: str((base / value).resolve()) if key in FILE_SETTINGS and isinstance(value, str) and value else value
        for key, value in entry.settings.items()
    }
    return PluginEntry(driver=entry.driver, settings=settings)
