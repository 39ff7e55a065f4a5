"""SKU files in the upstream YAML schema, read as they are; everything wrong is reported as ``FILE:LINE: sentence``.

Source: opentitan-appliance sheet 2.1 (passwords and methods) and 3.1 (schema and attributes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from station.appliance.yaml_reader import Node, read_yaml
from station.errors import ConfigError

MECHANISMS = ("none", "RsaPkcs", "RsaOaep", "AesGcm", "AesKwp")
LEAVES = ("UDS", "CDI_0", "CDI_1")
UDS_MLDSA = "UDS_MLDSA"
SECOND_LAYERS = ("none", "Hpke")
METHODS = (
    "DeriveTokens",
    "GetCaSubjectKeys",
    "EndorseCerts",
    "GetCaCerts",
    "GetOwnerFwBootMessage",
    "RegisterDevice",
)
ATTRIBUTES = (
    "SeedSecHi",
    "SeedSecLo",
    "WASKeyLabel",
    "WASDisable",
    "WrappingMechanism",
    "WrappingKeyLabel",
    "SecondLayerWrappingMechanism",
    "HPKEPQPublicKeyPath",
    "HPKEClassicalPublicKeyPath",
    "SigningKey/Dice/v0",
    "SigningKey/Dice/Mldsa/v0",
    "SigningKey/Ext/v0",
    "SigningKey/Ext/Mldsa/v0",
    "SigningKey/Identity/v0",
    "SigningKey/Identity/Mldsa/v0",
    "CertChainDiceLeaf",
    "OwnerFirmwareBootMessage",
)
SKU_KEYS = (
    "sku",
    "slotId",
    "numSessions",
    "certCountX509",
    "certCountCWT",
    "symmetricKeys",
    "privateKeys",
    "publicKeys",
    "certs",
    "attributes",
    "cwtCertHashOrder",
    "x509CertHashOrder",
)


@dataclass(frozen=True, slots=True)
class SkuConfig:
    """One SKU file."""

    sku: str
    x509_count: int
    cwt_count: int
    key_labels: tuple[str, ...]
    certs: Mapping[str, Path]
    attributes: Mapping[str, str]
    cwt_hash_order: tuple[str, ...]
    x509_hash_order: tuple[str, ...]
    layer_keys: tuple[Path, ...] = ()
    """Key files of the second wrapping layer: ML-KEM, then classical; empty without one."""


@dataclass(frozen=True, slots=True)
class SkuAuth:
    """Password hash (bcrypt) and allowed methods of one SKU or SKU family."""

    password_hash: str
    methods: tuple[str, ...]


def read_sku(path: Path, folder: Path) -> SkuConfig:
    """Read one SKU file; certificate paths in it are relative to ``folder``."""
    top = read_yaml(path)
    top.only(SKU_KEYS)
    labels = [name for key in ("symmetricKeys", "privateKeys", "publicKeys") for name in _names(top, key)]
    attributes = _attributes(top, labels)
    config = SkuConfig(
        sku=top.text("sku"),
        x509_count=top.count("certCountX509"),
        cwt_count=top.count("certCountCWT"),
        key_labels=tuple(labels),
        certs=_certs(top, folder),
        attributes=attributes,
        cwt_hash_order=top.texts("cwtCertHashOrder"),
        x509_hash_order=top.texts("x509CertHashOrder"),
        layer_keys=_layer_keys(top, attributes, folder),
    )
    _check_order(
        top, "x509CertHashOrder", config.x509_hash_order, config.x509_count - _unhashed(config), _chain(config)
    )
    _check_order(top, "cwtCertHashOrder", config.cwt_hash_order, config.cwt_count)
    top.count("slotId", required=False)
    top.count("numSessions", required=False)
    top.finish()
    return config


def read_auth(path: Path) -> dict[str, SkuAuth]:
    """Read the file of SKU passwords and methods."""
    top = read_yaml(path)
    top.only(("skuAuthCfgList",))
    skus = top.mapping("skuAuthCfgList")
    found = {name: _auth(skus.mapping(name)) for name in skus.names()}
    top.finish()
    return found


def _auth(node: Node) -> SkuAuth:
    node.only(("skuAuth", "methods"))
    password_hash = node.text("skuAuth")
    if password_hash and not password_hash.startswith(("$2a$", "$2b$", "$2y$")):
        node.wrong(
            "skuAuth", "expected a bcrypt hash that starts with $2a$: make another password with appliance sku-password"
        )
    return SkuAuth(password_hash, node.texts("methods"))


def _names(top: Node, key: str) -> list[str]:
    names = []
    for entry in top.mappings(key):
        entry.only(("name", "endorsingCert") if key == "privateKeys" else ("name",))
        names.append(entry.text("name"))
    return names


def _certs(top: Node, folder: Path) -> dict[str, Path]:
    certs = {}
    for entry in top.mappings("certs"):
        entry.only(("name", "path"))
        path = folder / entry.text("path")
        if not path.is_file():
            entry.wrong("path", f"expected a certificate file at {path}: copy it there or correct the path")
        certs[entry.text("name")] = path
    return certs


def _attributes(top: Node, labels: list[str]) -> dict[str, str]:
    node = top.mapping("attributes")
    node.only(ATTRIBUTES)
    values = {name: node.text(name) for name in node.names() if not node.is_null(name)}
    _require_choice(node, values, "WrappingMechanism", MECHANISMS)
    _require_choice(node, values, "SecondLayerWrappingMechanism", SECOND_LAYERS)
    _require_choice(node, values, "CertChainDiceLeaf", LEAVES)
    _require_choice(node, values, "WASDisable", ("true", "false"))
    for name in (
        "SeedSecHi",
        "SeedSecLo",
        "WASKeyLabel",
        "WrappingKeyLabel",
        *(a for a in values if "SigningKey" in a),
    ):
        if name in values and values[name] not in labels:
            node.wrong(name, f"expected a label that the file lists as a key, saw {values[name]!r}: list it")
    return values


def _layer_keys(top: Node, attributes: Mapping[str, str], folder: Path) -> tuple[Path, ...]:
    if attributes.get("SecondLayerWrappingMechanism", "none") == "none":
        return ()
    node = top.mapping("attributes")
    found = []
    for name in ("HPKEPQPublicKeyPath", "HPKEClassicalPublicKeyPath"):
        path = folder / attributes.get(name, "")
        if not path.is_file():
            node.wrong(name, f"expected a public key file for {name!r} at {path}: copy it there or correct the path")
        found.append(path)
    return tuple(found)


def _unhashed(config: SkuConfig) -> int:
    """The ML-DSA certificate beside UDS is counted, and parts leave it out of their hash."""
    return int("SigningKey/Dice/Mldsa/v0" in config.attributes and UDS_MLDSA not in config.x509_hash_order)


def _chain(config: SkuConfig) -> tuple[str, ...]:
    """Labels of the DICE certificates that every part of the SKU has."""
    leaf = config.attributes.get("CertChainDiceLeaf")
    return LEAVES[: LEAVES.index(leaf) + 1] if leaf in LEAVES else ()


def _check_order(top: Node, key: str, order: Sequence[str], wanted: int, chain: Sequence[str] = ()) -> None:
    """An order that leaves a certificate out would let it be exchanged; one with a wrong label fits no part."""
    saw = f"saw {', '.join(map(repr, order)) or 'none'}: name the certificates that a part hashes, in its order"
    if len(order) != wanted or len(set(order)) != wanted:
        top.wrong(key, f"expected {wanted} different labels for {key!r}, one per certificate, {saw}")
    elif missing := [label for label in chain if label not in order]:
        top.wrong(key, f"expected {missing[0]!r} for {key!r}, which is in the SKU's DICE chain, {saw}")


def _require_choice(node: Node, values: Mapping[str, str], name: str, choices: tuple[str, ...]) -> None:
    if name in values and values[name] not in choices:
        node.wrong(name, f"expected one of {', '.join(choices)}, saw {values[name]!r}")


def check_unique(config: SkuConfig, name: str, path: Path) -> None:
    """Refuse a SKU file whose name and content disagree."""
    if config.sku != name:
        raise ConfigError(f"{path}: expected sku {name!r} in the file of that name, saw {config.sku!r}")
