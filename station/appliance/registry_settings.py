"""The lines of ``appliance.toml`` that say where registered devices are kept and which HTTP registry gets them.

``registry`` is a file of the folder (SQLite), an address ``postgresql://…`` without a password, or nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from station.appliance.passphrase import SecretSource, parse_source
from station.errors import ConfigError
from station.model import Realm

SCHEMES = ("postgresql", "postgres")
TEXTS: Mapping[str, str] = {
    "registry": "registry.db",
    "registry_password": "",
    "forward_url": "",
    "forward_headers": "",
    "forward_ca": "",
}
NUMBERS: Mapping[str, tuple[int, int, int]] = {
    "registry_connections": (8, 2, 256),
    "forward_batch": (100, 1, 1000),
    "forward_seconds": (30, 1, 600),
}
"""Default, least and greatest value."""
SWITCHES: Mapping[str, bool] = {"forward_plain": False}
NO_PASSWORD = "expected no password in the address: use registry_password, or passfile= or service= in the address"


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """Where stored records go: ``headers`` is a private file of ``Name: value`` lines, ``ca`` a PEM file or None."""

    url: str
    headers: Path | None
    ca: Path | None
    batch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """``file`` for SQLite, else ``url`` for PostgreSQL with ``password`` (None: libpq finds it) and ``connections``."""

    file: Path | None
    url: str
    password: SecretSource | None
    connections: int
    forward: ForwardSettings | None

    def named_files(self, option: str) -> list[Path]:
        """The file that an option of the address names, such as ``passfile``; none for ``sslrootcert=system``."""
        return [Path(value) for value in parse_qs(urlsplit(self.url).query).get(option, []) if value != "system"]


def findings(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong, as key and sentence; that a text is a text is checked elsewhere."""
    texts = {key: value for key, default in TEXTS.items() if isinstance(value := values.get(key, default), str)}
    for key, (default, least, greatest) in NUMBERS.items():
        number = values.get(key, default)
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= greatest:
            yield key, f"expected a whole number from {least} to {greatest} for {key!r}, saw {number!r}"
    for key in SWITCHES:
        if not isinstance(values.get(key, False), bool):
            yield key, f"expected true or false for {key!r}, saw {values[key]!r}"
    if is_address(texts.get("registry", "")):
        yield from _wrong_address(texts["registry"], values)
    elif texts.get("registry_password"):
        yield "registry_password", "expected an address postgresql://… in registry: a file has no password"
    if texts.get("forward_url"):
        yield from _wrong_forward(texts, values)


def registry_settings(folder: Path, values: Mapping[str, Any]) -> RegistrySettings | None:
    """The settings of values without findings; None when devices are not registered here."""
    given = {**TEXTS, **{key: default for key, (default, _, _) in NUMBERS.items()}, **values}
    if not given["registry"]:
        return None
    address = is_address(given["registry"])
    password = given["registry_password"]
    return RegistrySettings(
        file=None if address else folder / given["registry"],
        url=given["registry"] if address else "",
        password=parse_source(password, folder) if password else None,
        connections=given["registry_connections"],
        forward=_forward(folder, given) if given["forward_url"] else None,
    )


def is_address(registry: str) -> bool:
    """True for PostgreSQL."""
    return registry.partition("://")[0].lower() in SCHEMES


def is_loopback(host: str) -> bool:
    """True when what is sent there never leaves this computer."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _forward(folder: Path, given: Mapping[str, Any]) -> ForwardSettings:
    return ForwardSettings(
        url=given["forward_url"],
        headers=folder / given["forward_headers"] if given["forward_headers"] else None,
        ca=folder / given["forward_ca"] if given["forward_ca"] else None,
        batch=given["forward_batch"],
        seconds=float(given["forward_seconds"]),
    )


def _wrong_address(address: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(address)
        options = parse_qs(parts.query)
    except ValueError as error:
        yield "registry", f"expected an address postgresql://USER@HOST/DATABASE: {error}"
        return
    if ":" in parts.netloc.rpartition("@")[0] or {"password", "sslpassword"} & set(options):
        yield "registry", NO_PASSWORD
    if "counters" in values:
        yield "counters", "expected no counters beside a registry in PostgreSQL: the account is in the same database"
    if values.get("realm") == Realm.PRODUCTION:
        yield from _unprotected(parts, options)
    source = values.get("registry_password")
    if isinstance(source, str) and source:
        try:
            parse_source(source, Path())
        except ConfigError as error:
            yield "registry_password", str(error)


def _unprotected(parts: SplitResult, options: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """A database on another computer must prove who it is: records and account go there.

    A service file may name any computer; it fills in only what the address leaves out, so ``sslmode`` is safe there.
    """
    named = ",".join(options.get("host", []) + options.get("hostaddr", [])) or parts.netloc.rpartition("@")[2]
    hosts = [_without_port(host) for host in named.split(",") if host]
    away = ["the host of the service file"] if "service" in options else []
    away += [host for host in hosts if not host.startswith(("/", "%2F", "%2f")) and not is_loopback(host)]
    if away and options.get("sslmode") != ["verify-full"]:
        yield "registry", f"expected sslmode=verify-full for the database on {away[0]} (realm production)"


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def _wrong_forward(texts: Mapping[str, str], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if texts.get("registry") == "":
        yield "forward_url", "expected a registry beside forward_url: only stored records are forwarded"
    try:
        parts = urlsplit(texts["forward_url"])
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        yield "forward_url", f"expected https://HOST/PATH: {error}"
        return
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.fragment:
        yield "forward_url", "expected https://HOST/PATH without a user: credentials are in the file of forward_headers"
    elif parts.scheme == "http" and not is_loopback(host):
        if values.get("forward_plain") is not True:
            yield "forward_url", f"expected https for a registry on {host}"
        elif values.get("realm") != Realm.DEV:
            yield "forward_plain", "expected https in realm production: forward_plain is for realm dev"
    elif parts.scheme == "http" and texts.get("forward_ca"):
        yield "forward_ca", "expected https in forward_url: http needs no CA"
