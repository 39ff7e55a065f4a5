"""Settings of the appliance driver, checked before anything is opened."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from station.errors import ApplianceError, ConfigError, nearest
from station.model import Realm
from station.ports import OwnJournal
from station.secret import Secret

DEFAULT_DEADLINE = 15.0
PICK_FIRST, ROUND_ROBIN = "pick_first", "round_robin"
_KNOWN = (
    "target",
    "endpoint",
    "tls",
    "ca",
    "certificate",
    "key",
    "sku",
    "sku_password",
    "user_id",
    "realm",
    "unmarked_realm",
    "target_name",
    "deadline",
    "load_balancing",
    "journal",
)


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """PEM files: CA that the appliance must come from, the station's certificate and key."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What the driver needs.

    ``target`` is a gRPC target (``host:port``, ``ipv4:a:p,b:p``) or empty with ``endpoint``, the path of the
    ``endpoint.json`` of an embedded appliance. ``tls`` is None only when the settings say ``tls = "off"``.
    ``unmarked_realm`` is what an appliance without a realm mark counts as. ``deadline`` is in seconds, per call.
    ``target_name`` replaces the host name in the certificate check, for targets of several addresses.
    ``load_balancing`` is gRPC's policy for them, ``pick_first`` or ``round_robin``. ``journal`` is the station's own.
    """

    target: str
    endpoint: Path | None
    tls: TlsPaths | None
    password: Secret | Mapping[str, Secret]
    user_id: str
    realm: Realm
    unmarked_realm: Realm
    target_name: str
    deadline: float
    sku: str
    load_balancing: str = PICK_FIRST
    journal: OwnJournal | None = None

    @property
    def is_fleet(self) -> bool:
        """True when another instance may answer what one has not: ``target`` names several, or a policy says so."""
        return "," in self.target or self.load_balancing != PICK_FIRST

    @property
    def instances(self) -> tuple[str, ...]:
        """A target for each address that ``target`` names."""
        scheme = next((scheme for scheme in ("ipv4:", "ipv6:") if self.target.startswith(scheme)), "")
        return tuple(f"{scheme}{address}" for address in self.target.removeprefix(scheme).split(","))

    def address(self) -> str:
        """The gRPC target now; an embedded appliance writes its own when it is ready."""
        if self.endpoint is None:
            return self.target
        try:
            return str(json.loads(self.endpoint.read_text(encoding="utf-8"))["target"])
        except (OSError, ValueError, KeyError, TypeError):
            raise ApplianceError(
                f"expected a running appliance to have written {self.endpoint}, saw none: start the appliance",
                "UNAVAILABLE",
            ) from None

    def password_of(self, sku: str) -> Secret:
        """The SKU's password."""
        if isinstance(self.password, Secret):
            return self.password
        if sku not in self.password:
            raise ApplianceError(
                f"expected a password for sku {sku!r}, none is stored: store it first", "UNAUTHENTICATED"
            )
        return self.password[sku]


def read_settings(settings: Mapping[str, object]) -> ClientSettings:
    """Check the mapping; all findings in one ``ConfigError``."""
    reader = _Reader(settings)
    reader.check_names()
    tls = reader.tls()
    target, endpoint = reader.text("target"), reader.text("endpoint")
    if bool(target) == bool(endpoint):
        reader.wrong("expected either 'target' (host:port) or 'endpoint' (path of endpoint.json)")
    if re.match(r"ipv4:[^,]*[A-Za-z]", target):
        reader.wrong(f"expected numeric addresses after ipv4:, saw {target!r}: write host:port without ipv4:")
    user_id = reader.text("user_id") or platform.node() or "station"
    if not re.fullmatch(r"[!-~]{1,128}", user_id):
        reader.wrong("expected 'user_id' of 1 to 128 printable ASCII characters without blanks")
    realm = reader.realm("realm", Realm.DEV)
    result = ClientSettings(
        target=target,
        endpoint=Path(endpoint) if endpoint else None,
        tls=tls,
        password=reader.password(),
        user_id=user_id,
        realm=realm,
        unmarked_realm=reader.realm("unmarked_realm", Realm.PRODUCTION),
        target_name=reader.text("target_name"),
        deadline=reader.deadline(),
        sku=reader.text("sku"),
        load_balancing=reader.load_balancing(),
        journal=reader.journal(),
    )
    reader.finish()
    return result


class _Reader:
    def __init__(self, settings: Mapping[str, object]) -> None:
        self._settings = settings
        self._findings: list[str] = []

    def wrong(self, sentence: str) -> None:
        self._findings.append(f"appliance settings: {sentence}")

    def finish(self) -> None:
        if self._findings:
            raise ConfigError("\n".join(self._findings))

    def check_names(self) -> None:
        for name in self._settings:
            if name not in _KNOWN:
                self.wrong(f"unknown key {name!r}{nearest(name, _KNOWN)}")

    def text(self, name: str) -> str:
        value = self._settings.get(name, "")
        if not isinstance(value, str | Path):
            self.wrong(f"expected a text for {name!r}")
            return ""
        return str(value)

    def tls(self) -> TlsPaths | None:
        mode = self.text("tls") or "mtls"
        if mode == "off":
            return None
        if mode != "mtls":
            self.wrong(f'expected tls = "mtls" or "off", saw {mode!r}')
        paths = {name: self.text(name) for name in ("ca", "certificate", "key")}
        missing = [name for name, value in paths.items() if not value]
        if missing:
            self.wrong(f'expected PEM files for {", ".join(missing)} (or tls = "off" for engineering)')
        return TlsPaths(*map(Path, paths.values()))

    def realm(self, name: str, default: Realm) -> Realm:
        value = self._settings.get(name, default)
        if value not in set(Realm):
            self.wrong(f"expected {name!r} to be dev or production, saw {value!r}")
            return default
        return Realm(str(value))

    def password(self) -> Secret | Mapping[str, Secret]:
        value = self._settings.get("sku_password")
        if isinstance(value, Secret):
            return value
        if isinstance(value, Mapping) and all(isinstance(secret, Secret) for secret in value.values()):
            return value
        self.wrong("expected 'sku_password' as a Secret, or a mapping from SKU to Secret")
        return {}

    def load_balancing(self) -> str:
        value = self.text("load_balancing") or PICK_FIRST
        if value not in (PICK_FIRST, ROUND_ROBIN):
            self.wrong(f"expected 'load_balancing' to be {PICK_FIRST} or {ROUND_ROBIN}, saw {value!r}")
        return value

    def journal(self) -> OwnJournal | None:
        value = self._settings.get("journal")
        if value is not None and not isinstance(value, OwnJournal):
            self.wrong("expected 'journal' from the station, not from a file")
            return None
        return value

    def deadline(self) -> float:
        value = self._settings.get("deadline", DEFAULT_DEADLINE)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            self.wrong(f"expected 'deadline' in seconds above 0, saw {value!r}")
            return DEFAULT_DEADLINE
        return float(value)
