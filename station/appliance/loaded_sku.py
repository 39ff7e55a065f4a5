"""A SKU as the running appliance holds it: its file and CA certificates, checked against the keystore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from station.appliance.certificates import is_of_dev
from station.appliance.chains import verify_ca
from station.appliance.hpke_layer import HpkeLayer, load_layer
from station.appliance.keystore import KeyDirectory, KeyMissing, load_public_key
from station.appliance.refusal import Refusal
from station.appliance.skus import SkuConfig, check_unique, read_sku
from station.errors import ConfigError, Finding, FormatError
from station.model import Realm

ROOT = "RootCA"
ROOT_MLDSA = "RootCAMldsa"
DICE_CA = "SigningKey/Dice/v0"
DICE_MLDSA_CA = "SigningKey/Dice/Mldsa/v0"
EXT_CA = "SigningKey/Ext/v0"
EXT_MLDSA_CA = "SigningKey/Ext/Mldsa/v0"
IDENTITY_KEY = "SigningKey/Identity/v0"
MLDSA_IDENTITY_KEY = "SigningKey/Identity/Mldsa/v0"
SEEDS = ("SeedSecHi", "SeedSecLo", "WASKeyLabel")
CAS = (DICE_CA, DICE_MLDSA_CA, EXT_CA, EXT_MLDSA_CA)
ECDSA_KEYS = ("P-256", "P-384")
MLDSA_KEYS = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")
RSA_BITS = 3072


@dataclass(frozen=True, slots=True)
class LoadedSku:
    """One SKU, ready to serve: ``certs`` are DER by the name of the SKU file."""

    config: SkuConfig
    certs: Mapping[str, bytes]
    second_layer: HpkeLayer | None = None

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

    def root_of(self, ca: str) -> bytes:
        """The root certificate above a CA: the ML-DSA root, when the SKU has one, for an ML-DSA CA."""
        if ca in (DICE_MLDSA_CA, EXT_MLDSA_CA) and ROOT_MLDSA in self.certs:
            return self.certs[ROOT_MLDSA]
        return self.cert(ROOT, "INTERNAL")


def load_sku(folder: Path, name: str, keystore: KeyDirectory) -> LoadedSku:
    """Read ``sku_NAME.yml``; all keys must be there and of the right kind, every CA must fit its key and its root."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):  # it becomes a file name
        raise ConfigError(f"expected letters, digits, _ and - in a sku name, saw {name[:80]!r}")
    path = folder / f"sku_{name}.yml"
    config = read_sku(path, folder)
    check_unique(config, name, path)
    findings = [*_missing_keys(config, keystore), *_wrong_keys(config, keystore), *_refused(config, keystore.realm)]
    sku = LoadedSku(
        config, {label: file.read_bytes() for label, file in config.certs.items()}, _second_layer(config, findings)
    )
    findings += [*_wrong_certs(config, sku.certs, keystore), *_wrong_chains(sku), *_of_dev(sku, keystore.realm)]
    if findings:
        raise ConfigError([Finding(path, 0, sentence) for sentence in findings])
    return sku


def _missing_keys(config: SkuConfig, keystore: KeyDirectory) -> list[str]:
    known = keystore.labels()
    return [keystore.missing(label) for label in config.key_labels if label not in known]


def _wrong_keys(config: SkuConfig, keystore: KeyDirectory) -> list[str]:
    findings = []
    for name, label in config.attributes.items():
        wanted = _wanted_key(name)
        if wanted is None or label not in keystore.labels():
            continue
        info = keystore.key_info(label)
        role, algorithms = wanted
        fits = _long_enough(info.algorithm) if role == "public" else info.role == role and info.algorithm in algorithms
        if not fits:
            findings.append(
                f"expected {' or '.join(algorithms)} ({role} key) under {label!r} for {name!r}, saw {info.algorithm} "
                f"({info.role} key): name the right key"
            )
    return findings


def _wanted_key(attribute: str) -> tuple[str, tuple[str, ...]] | None:
    """Role and algorithms that the key of an attribute must have; None for an attribute that names no key."""
    if attribute in SEEDS:
        return "secret", ("HMAC",)
    if attribute == "WrappingKeyLabel":
        return "public", (f"RSA-{RSA_BITS}", "longer RSA")
    if attribute in (DICE_MLDSA_CA, EXT_MLDSA_CA, MLDSA_IDENTITY_KEY):
        return "private", MLDSA_KEYS
    return ("private", ECDSA_KEYS) if attribute.startswith("SigningKey/") else None


def _is_private(keystore: KeyDirectory, label: str) -> bool:
    return label in keystore.labels() and keystore.key_info(label).role == "private"


def _long_enough(algorithm: str) -> bool:
    kind, _, bits = algorithm.partition("-")
    return kind == "RSA" and int(bits) >= RSA_BITS


def _refused(config: SkuConfig, realm: Realm) -> list[str]:
    findings = []
    mechanism = config.attributes.get("WrappingMechanism", "none")
    if mechanism not in ("none", "RsaOaep", "RsaPkcs"):
        findings.append(
            f"expected WrappingMechanism RsaOaep, saw {mechanism}: this appliance wraps seeds with RSA only"
        )
    if realm is not Realm.PRODUCTION:
        return findings
    if mechanism == "RsaPkcs":
        findings.append("WrappingMechanism RsaPkcs is refused in production: use RsaOaep")
    if config.attributes.get("WASDisable") == "true":
        findings.append("WASDisable is refused in production: a part could be endorsed without proof of its origin")
    origin, high, low = (config.attributes.get(name) for name in ("WASKeyLabel", "SeedSecHi", "SeedSecLo"))
    if origin is not None and (origin != high or origin == low):
        findings.append(
            f"WASKeyLabel {origin} is refused in production: name the high seed, as a station of final test may derive "
            f"from the low one and could prove the origin of any part"
        )
    return findings


def _second_layer(config: SkuConfig, findings: list[str]) -> HpkeLayer | None:
    if not config.layer_keys:
        return None
    pq, classical = (path.read_bytes() for path in config.layer_keys)
    try:
        return load_layer(pq, classical)
    except ConfigError as error:
        findings.append(str(error))
        return None


def _wrong_certs(config: SkuConfig, certs: Mapping[str, bytes], keystore: KeyDirectory) -> list[str]:
    findings = []
    for name, der in certs.items():
        try:
            public_key = x509.load_der_x509_certificate(der).public_key()
        except (ValueError, UnsupportedAlgorithm):
            findings.append(f"expected a DER certificate for {name!r} in {config.certs[name]}")
            continue
        spki = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        label = config.attributes.get(name)
        if label is not None and _is_private(keystore, label) and keystore.public_key(label) != spki:
            findings.append(
                f"expected certificate {name!r} to carry the public key of {label!r}: install the matching one"
            )
    return findings


def _wrong_chains(sku: LoadedSku) -> list[str]:
    findings = []
    for name in CAS:
        if name not in sku.certs or ROOT not in sku.certs:
            continue
        try:
            verify_ca(sku.root_of(name), sku.certs[name], datetime.now(UTC))
        except FormatError as error:
            findings.append(f"expected certificate {name!r} to be issued by its root and to be valid now: {error}")
    return findings


def _of_dev(sku: LoadedSku, realm: Realm) -> list[str]:
    """Keys in a token carry no realm, but what they sign is checked against certificates that do."""
    findings = []
    for name, der in sku.certs.items() if realm is Realm.PRODUCTION else ():
        with suppress(ValueError):  # no certificate, which is said already
            if is_of_dev(x509.load_der_x509_certificate(der)):
                findings.append(f"certificate {name!r} is of realm dev and is refused in production")
    return findings


def require_wrapping_key(keystore: KeyDirectory, label: str) -> None:
    """Refuse a wrapping label that is no RSA public key."""
    try:
        key = load_public_key(keystore.public_key(label))
    except (KeyMissing, ValueError):
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refusal("INTERNAL", f"could not find RSA wrapping key {label!r}")
