"""The lines of ``appliance.toml`` that say where the keys are: a sealed file, or a token of a PKCS#11 module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from station.appliance.passphrase import SecretSource, parse_source
from station.errors import ConfigError

SOFTWARE, PKCS11 = "software", "pkcs11"
TEXTS: Mapping[str, str] = {
    "keystore_kind": SOFTWARE,
    "keystore": "keystore.sealed",
    "passphrase": "keystore.passphrase",
    "module": "",
    "token": "",
    "pin": "keystore.pin",
    "softhsm": "",
}
REFUSED_PIN = "pin.refused"
NUMBERS: Mapping[str, tuple[int, int, int]] = {"slot": (0, 0, 1 << 16), "hsm_sessions": (8, 1, 256)}
"""Default, least and greatest value."""


@dataclass(frozen=True, slots=True)
class KeystoreSettings:
    """Of kind ``software``: ``file`` and ``passphrase``; of kind ``pkcs11``: everything else.

    ``refused_pin`` is the file of ``RefusedPin``, ``softhsm`` the folder of a private SoftHSM when the module is one.
    """

    kind: str
    file: Path
    passphrase: SecretSource
    module: str
    token: str
    slot: int
    pin: SecretSource
    sessions: int
    refused_pin: Path
    softhsm: Path | None = None

    @property
    def secret(self) -> SecretSource:
        """Where that comes from which opens the keystore: the passphrase or the PIN."""
        return self.pin if self.kind == PKCS11 else self.passphrase

    def reading(self, source: SecretSource) -> KeystoreSettings:
        """The same with another source of it."""
        return replace(self, pin=source) if self.kind == PKCS11 else replace(self, passphrase=source)

    @property
    def waiting(self) -> int:
        """How many calls may wait for the keys at the same time; a private SoftHSM computes in this process itself."""
        return self.sessions if self.kind == PKCS11 and self.softhsm is None else 0


def findings(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong, as key and sentence; that a text is a text is checked elsewhere."""
    found = []
    kind = values.get("keystore_kind", SOFTWARE)
    if isinstance(kind, str) and kind not in (SOFTWARE, PKCS11):
        found.append(("keystore_kind", f"expected {SOFTWARE} or {PKCS11}, saw {kind!r}"))
    if kind == PKCS11 and not values.get("module"):
        found.append(("keystore_kind", "expected module, the path of the HSM's PKCS#11 library, beside it"))
    if values.get("softhsm") and kind != PKCS11:
        found.append(("softhsm", f'expected keystore_kind = "{PKCS11}" beside it: add that line or remove this one'))
    if values.get("token") and "slot" in values:
        found.append(("slot", "expected either token or slot: remove one of them"))
    for key, (default, least, greatest) in NUMBERS.items():
        value = values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= greatest:
            found.append((key, f"expected a number from {least} to {greatest}, saw {value!r}"))
    return found + [(key, sentence) for key in ("passphrase", "pin") if (sentence := _wrong_source(values.get(key)))]


def keystore_settings(folder: Path, values: Mapping[str, Any]) -> KeystoreSettings:
    """The settings of values without findings."""
    given = {**TEXTS, **{key: default for key, (default, _, _) in NUMBERS.items()}, **values}
    return KeystoreSettings(
        kind=given["keystore_kind"],
        file=folder / given["keystore"],
        passphrase=parse_source(given["passphrase"], folder),
        module=given["module"],
        token=given["token"],
        slot=given["slot"],
        pin=parse_source(given["pin"], folder),
        sessions=given["hsm_sessions"],
        refused_pin=folder / REFUSED_PIN,
        softhsm=folder / given["softhsm"] if given["softhsm"] else None,
    )


def _wrong_source(text: object) -> str:
    if not isinstance(text, str):  # absent, or said elsewhere
        return ""
    try:
        parse_source(text, Path())
    except ConfigError as error:
        return str(error)
    return ""
