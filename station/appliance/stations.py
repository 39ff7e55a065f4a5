"""``stations.toml``: which client certificate is which station, and what each station may do.

A work order is a name that whoever runs the appliance writes into this file; its quota counts devices (see
``quota``). In realm dev the file may be absent: then every certificate of the CA may do everything. In production it
must be there. A change is taken up with the next call; a file with findings leaves the old one in force.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from station.appliance.client_certificate import ClientCertificate
from station.appliance.refusal import Refusal, echoed
from station.appliance.watched import Watched
from station.errors import ConfigError, Finding
from station.model import Realm
from station.toml_file import Strict, TomlFile, load
from station.wire import pa_pb2

log = logging.getLogger(__name__)

HIGH, LOW, FRESH = pa_pb2.TOKEN_SEED_HIGH_SECURITY, pa_pb2.TOKEN_SEED_LOW_SECURITY, pa_pb2.TOKEN_SEED_KEYGEN
SEED_NAMES: Mapping[int, str] = {HIGH: "the high seed", LOW: "the low seed", FRESH: "a fresh seed"}
ABSENT = "absent: every certificate of the CA may do everything"
LOOPBACK_NAMES = ("localhost", "localhost.localdomain")


class Role(StrEnum):
    """What a station is for."""

    CP = "CP"
    FT = "FT"
    RMA = "RMA"


ALL_ROLES = tuple(Role)
READING = frozenset(
    {"InitSession", "CloseSession", "GetCaSubjectKeys", "GetCaCerts", "GetOwnerFwBootMessage", "GetStoredTokens"}
)
METHODS: Mapping[Role, frozenset[str]] = {
    Role.CP: READING | {"DeriveTokens"},
    Role.FT: READING | {"DeriveTokens", "EndorseCerts", "RegisterDevice"},
    Role.RMA: READING,
}
SEEDS: Mapping[Role, frozenset[int]] = {
    Role.CP: frozenset({HIGH, LOW}),
    Role.FT: frozenset({LOW, FRESH}),
    Role.RMA: frozenset(),
}


class WorkOrder(Strict):
    """One ``[[work_order]]``: ``quota`` devices may be endorsed for it, in all or per UTC day.

    ``unregistered`` is how many of them may wait for their registration at once.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9._/-]{1,64}$")
    quota: int = Field(ge=0)
    per: Literal["order", "day"] = "order"
    unregistered: int | None = Field(default=None, ge=1)


class StationEntry(Strict):
    """One ``[[station]]``; a SKU name may end in ``*``."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    certificate: str = Field(min_length=1)
    skus: tuple[str, ...] = Field(strict=False, min_length=1)
    roles: tuple[Annotated[Role, Field(strict=False)], ...] = Field(strict=False, min_length=1)
    work_order: str = ""


class StationsFile(Strict):
    """The whole of ``stations.toml``."""

    work_order: tuple[WorkOrder, ...] = Field(default=(), strict=False)
    station: tuple[StationEntry, ...] = Field(strict=False, min_length=1)


@dataclass(frozen=True, slots=True)
class Station:
    """A known station; ``work_order`` is None when its endorsements are not limited."""

    name: str
    skus: tuple[str, ...]
    roles: tuple[Role, ...]
    work_order: WorkOrder | None = None

    def require_sku(self, sku: str) -> None:
        """Refuse a SKU that is not the station's."""
        if not any(covers(name, sku) for name in self.skus):
            raise Refusal("PERMISSION_DENIED", f"station {self.name!r} may not work with sku {echoed(sku)}")

    def require_method(self, method: str) -> None:
        """Refuse a call that none of the station's roles has."""
        if not any(method in METHODS[role] for role in self.roles):
            raise self._refusal(f"call {method}")

    def require_seeds(self, seeds: Iterable[int]) -> None:
        """Refuse seeds that none of the station's roles may use; unknown ones are left to the later checks."""
        for seed in seeds:
            if seed in SEED_NAMES and not any(seed in SEEDS[role] for role in self.roles):
                raise self._refusal(f"use {SEED_NAMES[seed]}")

    def _refusal(self, what: str) -> Refusal:
        return Refusal("PERMISSION_DENIED", f"station {self.name!r} of role {', '.join(self.roles)} may not {what}")


@dataclass(frozen=True, slots=True)
class Stations:
    """All stations by fingerprint and by certificate name; ``None`` as a whole means that everybody may come."""

    by_fingerprint: Mapping[str, Station]
    by_name: Mapping[str, Station]
    work_orders: tuple[WorkOrder, ...] = ()

    def of(self, certificate: ClientCertificate) -> Station:
        """The station of a certificate: its fingerprint decides, else its names, which must mean one station."""
        known = self.by_fingerprint.get(certificate.fingerprint)
        found = {s.name: s for name in certificate.names if (s := self.by_name.get(name)) is not None}
        if known is None and len(found) != 1:
            why = "names several stations" if found else "is of no known station"
            raise Refusal("PERMISSION_DENIED", f"the client certificate {why}: it is not allowed to call")
        return known or next(iter(found.values()))


class Access:
    """From certificates to stations, as ``stations.toml`` says now."""

    def __init__(self, path: Path, realm: Realm) -> None:
        self._path = path
        self._realm = realm
        self._stations = Watched([path], self._read)

    def station_of(self, certificate: ClientCertificate) -> Station:
        """The station, or a refusal."""
        if certificate.of_dev and self._realm is Realm.PRODUCTION:
            raise Refusal("PERMISSION_DENIED", "the client certificate is of realm dev, this appliance is not")
        stations = self._stations.value()
        if stations is None:
            return Station(certificate.title, ("*",), ALL_ROLES)
        return stations.of(certificate)

    @property
    def unlimited(self) -> bool:
        """True while there is no file and every certificate may do everything."""
        return self._stations.value() is None

    def named_skus(self) -> list[tuple[str, str]]:
        """Every station's name with each of the SKUs that the file gives it."""
        stations = self._stations.value()
        known = () if stations is None else (*stations.by_fingerprint.values(), *stations.by_name.values())
        return [(station.name, sku) for station in known for sku in station.skus]

    def work_orders(self) -> tuple[WorkOrder, ...]:
        """The work orders of the file."""
        stations = self._stations.value()
        return () if stations is None else stations.work_orders

    def _read(self) -> Stations | None:
        if self._realm is Realm.DEV and not self._path.exists():
            log.warning("%s is %s", self._path, ABSENT)
            return None
        if not self._path.exists():
            sentence = "expected this file in realm production: it says which certificate may do what"
            raise ConfigError([Finding(self._path, 0, sentence)])
        return read_stations(self._path)


def read_stations(path: Path) -> Stations:
    """Read ``stations.toml``; all findings at once."""
    content, file = load(path, StationsFile)
    findings = [*_duplicates(file, content), *_wrong_certificates(file, content), *_unknown_orders(file, content)]
    if findings:
        raise ConfigError(sorted(findings, key=lambda finding: finding.line))
    orders = {order.name: order for order in content.work_order}
    fingerprints: dict[str, Station] = {}
    names: dict[str, Station] = {}
    for entry in content.station:
        station = Station(entry.name, entry.skus, entry.roles, orders.get(entry.work_order))
        digits = fingerprint_of(entry.certificate)
        if digits:
            fingerprints[digits] = station
        else:
            names[entry.certificate.lower()] = station
    return Stations(fingerprints, names, content.work_order)


def covers(name: str, sku: str) -> bool:
    """True when a SKU name of the file, which may end in ``*``, means this SKU."""
    return sku == name or (name.endswith("*") and sku.startswith(name[:-1]))


def fingerprint_of(text: str) -> str:
    """The 64 lower-case digits of a SHA-256 fingerprint, with or without colons and prefix, else an empty text."""
    digits = re.sub(r"^sha-?256[:=]", "", text.strip().lower()).replace(":", "").replace(" ", "")
    return digits if re.fullmatch(r"[0-9a-f]{64}", digits) else ""


def _duplicates(file: TomlFile, content: StationsFile) -> Iterable[Finding]:
    columns = (
        ("station", "name", [entry.name for entry in content.station]),
        ("station", "certificate", [_identity(entry.certificate) for entry in content.station]),
        ("work_order", "name", [order.name for order in content.work_order]),
    )
    for table, key, values in columns:
        for number, value in enumerate(values):
            if value in values[:number]:
                sentence = f"expected every {key} once, {value!r} is in {table} {values.index(value) + 1} too"
                yield file.finding((table, number, key), sentence)


def _wrong_certificates(file: TomlFile, content: StationsFile) -> Iterable[Finding]:
    for number, entry in enumerate(content.station):
        text = entry.certificate.lower()
        if fingerprint_of(text):
            continue
        if text.startswith(("sha256", "sha-256")) or ":" in text:
            expected = "expected a SHA-256 fingerprint of 64 hexadecimal digits, or a name in the certificate"
            yield file.finding(("station", number, "certificate"), f"{expected}, saw {entry.certificate!r}")
        elif text in LOOPBACK_NAMES or _is_address(text):
            sentence = f"expected a name that only this station's certificate carries, saw {entry.certificate!r}"
            yield file.finding(("station", number, "certificate"), sentence)


def _unknown_orders(file: TomlFile, content: StationsFile) -> Iterable[Finding]:
    known = {order.name for order in content.work_order}
    for number, entry in enumerate(content.station):
        if entry.work_order and entry.work_order not in known:
            sentence = f"expected a [[work_order]] named {entry.work_order!r}: add it or correct the name"
            yield file.finding(("station", number, "work_order"), sentence)


def _identity(certificate: str) -> str:
    return fingerprint_of(certificate) or certificate.lower()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
