"""``appliance.toml`` of an appliance folder: realm, files, address. Findings as ``FILE:LINE: sentence``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from station.appliance import keystore_settings, registry_settings, run_settings
from station.appliance.keystore_settings import KeystoreSettings
from station.appliance.registry_settings import RegistrySettings
from station.appliance.run_settings import RunSettings
from station.errors import ConfigError, Finding, nearest
from station.model import Realm

FILE = "appliance.toml"
_TEXTS = {
    "realm": "",
    "skus": "skus",
    **keystore_settings.TEXTS,
    **registry_settings.TEXTS,
    **run_settings.TEXTS,
    "host": "127.0.0.1",
    "certificate": "tls/server-cert.pem",
    "key": "tls/server-key.pem",
    "client_ca": "tls/ca-cert.pem",
}


@dataclass(frozen=True, slots=True)
class ApplianceSettings:
    """Everything ``serve`` needs; paths are absolute. ``registry`` is None when devices are not registered here."""

    folder: Path
    realm: Realm
    skus: Path
    keys: KeystoreSettings
    registry: RegistrySettings | None
    certificate: Path
    key: Path
    client_ca: Path
    host: str
    port: int
    endpoint_check: bool
    run: RunSettings

    @property
    def record_files(self) -> tuple[Path, ...]:
        """Files that grow with the calls: device store and account where they are files, and the audit log."""
        registry = self.registry.file if self.registry is not None else None
        files = (registry, None if self.has_shared_account else self.run.counters, self.run.audit)
        return tuple(path for path in files if path is not None)

    @property
    def has_shared_account(self) -> bool:
        """True when device store and account are in a PostgreSQL database, which other instances may use too."""
        return self.registry is not None and self.registry.file is None

    @property
    def waiting(self) -> int:
        """How many calls may wait for keys and database at the same time."""
        database = self.registry.connections if self.registry is not None and self.has_shared_account else 0
        return self.keys.waiting + database

    @property
    def endpoint(self) -> Path:
        """Where the address is written once the appliance is ready."""
        return self.folder / "endpoint.json"

    @property
    def lock(self) -> Path:
        """Locked while a process serves the folder."""
        return self.folder / "serve.lock"


def read_settings(folder: Path) -> ApplianceSettings:
    """Read ``appliance.toml``; all findings at once."""
    path = folder / FILE
    text, values = _load(path)
    findings = [
        Finding(path, _line(text, key), f"unknown key {key!r}{nearest(key, _known())}")
        for key in values
        if key not in _known()
    ]
    findings += [
        Finding(path, _line(text, key), f"expected a text for {key!r}, saw {values[key]!r}")
        for key in _TEXTS
        if not isinstance(values.get(key, ""), str)
    ]
    findings += [Finding(path, _line(text, key), said) for key, said in keystore_settings.findings(values)]
    findings += [Finding(path, _line(text, key), said) for key, said in run_settings.findings(values)]
    findings += [Finding(path, _line(text, key), said) for key, said in registry_settings.findings(values)]
    if values.get("realm") not in set(Realm):
        findings.append(Finding(path, _line(text, "realm"), "expected realm to be dev or production"))
    port, check = values.get("port", 0), values.get("endpoint_check", True)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 0xFFFF:
        findings.append(
            Finding(path, _line(text, "port"), f"expected a port from 0 (any free one) to 65535, saw {port!r}")
        )
    if not isinstance(check, bool):
        findings.append(Finding(path, _line(text, "endpoint_check"), f"expected true or false, saw {check!r}"))
    if findings:
        raise ConfigError(findings)
    return _settings(folder, {**_TEXTS, **values}, port, check)


def _settings(folder: Path, values: dict[str, Any], port: int, check: bool) -> ApplianceSettings:
    return ApplianceSettings(
        folder=folder,
        realm=Realm(values["realm"]),
        skus=folder / values["skus"],
        keys=keystore_settings.keystore_settings(folder, values),
        registry=registry_settings.registry_settings(folder, values),
        certificate=folder / values["certificate"],
        key=folder / values["key"],
        client_ca=folder / values["client_ca"],
        host=values["host"],
        port=port,
        endpoint_check=check,
        run=run_settings.run_settings(folder, values),
    )


def _known() -> tuple[str, ...]:
    numbers = (*keystore_settings.NUMBERS, *registry_settings.NUMBERS, *run_settings.NUMBERS)
    switches = (*registry_settings.SWITCHES, *run_settings.SWITCHES)
    return (*_TEXTS, *numbers, *switches, "port", "endpoint_check")


def _load(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Finding(path, 0, f"expected an appliance folder with {FILE}: {error}")]) from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        raise ConfigError([Finding(path, int(found[1]) if found else 0, f"expected valid TOML: {error}")]) from None


def _line(text: str, key: str) -> int:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*{re.escape(key)}\s*=", line):
            return number
    return 0
