"""A SKU as the running appliance holds it: its file and CA certificates, checked against the keystore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from station.appliance.keystore import KeyMissing, Keystore
from station.appliance.refusal import Refusal
from station.appliance.skus import SkuConfig, check_unique, read_sku
from station.errors import ConfigError, Finding
from station.model import Realm

ROOT = "RootCA"
DICE_CA = "SigningKey/Dice/v0"
DICE_MLDSA_CA = "SigningKey/Dice/Mldsa/v0"
EXT_CA = "SigningKey/Ext/v0"
EXT_MLDSA_CA = "SigningKey/Ext/Mldsa/v0"
IDENTITY_KEY = "SigningKey/Identity/v0"
SERVED_LAYERS = ("", "none")


@dataclass(frozen=True, slots=True)
class LoadedSku:
    """One SKU, ready to serve: ``certs`` are DER by the name of the SKU file."""

    config: SkuConfig
    certs: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """Name of the SKU."""
        return self.config.sku

    def attribute(self, name: str, code: str = "INTERNAL") -> str:
        """An attribute's value, or a refusal that names it."""
        value = self.config.attributes.get(name, "")
        if not value:
            raise Refusal(code, f"could not find attribute {name!r} of sku {self.name!r}")
        return value

    def cert(self, name: str, code: str) -> bytes:
        """A CA certificate's DER, or a refusal that names it."""
        if name not in self.certs:
            raise Refusal(code, f"could not find certificate {name!r} of sku {self.name!r}")
        return self.certs[name]


def load_sku(folder: Path, name: str, keystore: Keystore) -> LoadedSku:
    """Read ``sku_NAME.yml``; every label it lists must be in the keystore and every certificate must fit its key."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):  # it becomes a file name
        raise ConfigError(f"expected letters, digits, _ and - in a sku name, saw {name[:80]!r}")
    path = folder / f"sku_{name}.yml"
    config = read_sku(path, folder)
    check_unique(config, name, path)
    certs = {label: file.read_bytes() for label, file in config.certs.items()}
    findings = [*_missing_keys(config, keystore), *_wrong_certs(config, certs, keystore), *_not_served(config)]
    if keystore.realm is Realm.PRODUCTION and config.attributes.get("WASDisable") == "true":
        findings.append("WASDisable is refused in production: a part could be endorsed without proof of its origin")
    if findings:
        raise ConfigError([Finding(path, 0, sentence) for sentence in findings])
    return LoadedSku(config, certs)


def _missing_keys(config: SkuConfig, keystore: Keystore) -> list[str]:
    known = keystore.labels()
    return [f"expected key {label!r} in the keystore: import it" for label in config.key_labels if label not in known]


def _wrong_certs(config: SkuConfig, certs: Mapping[str, bytes], keystore: Keystore) -> list[str]:
    findings = []
    for name, der in certs.items():
        try:
            public_key = x509.load_der_x509_certificate(der).public_key()
        except ValueError:
            findings.append(f"expected a DER certificate for {name!r} in {config.certs[name]}")
            continue
        spki = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        label = config.attributes.get(name)
        if label in keystore.labels() and label is not None and keystore.public_key(label) != spki:
            findings.append(
                f"expected certificate {name!r} to carry the public key of {label!r}: install the matching one"
            )
    return findings


def _not_served(config: SkuConfig) -> list[str]:
    findings = []
    if config.attributes.get("SecondLayerWrappingMechanism", "").lower() not in {
        layer.lower() for layer in SERVED_LAYERS
    }:
        findings.append("this appliance serves no second wrapping layer")
    findings += [
        f"this appliance signs with ECDSA only, {name!r} asks for ML-DSA"
        for name in config.attributes
        if "Mldsa" in name
    ]
    return findings


def require_wrapping_key(keystore: Keystore, label: str) -> None:
    """Refuse a wrapping label that is no RSA public key."""
    try:
        key = serialization.load_der_public_key(keystore.public_key(label))
    except (KeyMissing, ValueError):
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refusal("INTERNAL", f"could not find RSA wrapping key {label!r}")
