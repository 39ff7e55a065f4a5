"""The five known SKUs: their CAs with profiles, certificate counts and hash orders, and their SKU files.

Source: opentitan-appliance sheet 3.2 (key labels), 4.2 (CA profiles) and 10 (SKUs).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bcrypt

from station.appliance.certificates import PLAIN_CA, CaProfile
from station.appliance.keystore_settings import PKCS11
from station.appliance.skus import METHODS
from station.errors import ConfigError, nearest
from station.model import Realm

SEED_HIGH, SEED_LOW = "eg-kdf-hisec-v0", "eg-kdf-losec-v0"
RMA_KEY = "sku-eg-rsa-rma-v0.pub"
IDENTITY_KEY, MLDSA_IDENTITY_KEY = "spm-hsm-id-v0.priv", "spm-hsm-id-mldsa-v0.priv"
SHARED_ROOT, PI01_ROOT, MLDSA_ROOT = "opentitan-ca-root-v0", "pi01-ca-root-v0", "opentitan-mldsa-ca-root-v0"
ML_KEM_FILE, X25519_FILE = "ca/hpke_mlkem.pub", "ca/hpke_x25519.pub.der"
MLDSA = "ML-DSA-87"
BCRYPT_COST = 10
PASSWORD_BYTES = 18


@dataclass(frozen=True, slots=True)
class CaPlan:
    """How a CA is made: ``root`` is the label of the CA above, empty for a root; ``title`` names a root."""

    root: str = ""
    profile: CaProfile = PLAIN_CA
    algorithm: str = "P-256"
    title: str = ""


@dataclass(frozen=True, slots=True)
class SkuTemplate:
    """One SKU: ``certs`` gives the CA's key label for each certificate name of the SKU file."""

    name: str
    certs: Mapping[str, str]
    x509_order: tuple[str, ...]
    boot_text: str
    leaf: str = "CDI_1"
    x509_count: int = 3
    cwt_order: tuple[str, ...] = ()
    second_layer: bool = False

    @property
    def needs_mldsa(self) -> bool:
        """True for a SKU with an ML-DSA CA: its keystore must sign with ML-DSA."""
        return any("Mldsa" in name for name in self.certs)


_STRICT = CaProfile(path_length=0, certificates_only=True)
CAS: Mapping[str, CaPlan] = {
    SHARED_ROOT: CaPlan(profile=CaProfile(names_issuer=True), title="Development Root CA"),
    PI01_ROOT: CaPlan(
        profile=CaProfile(path_length=1, certificates_only=True, names_issuer=True), title="Development pi01 Root CA"
    ),
    MLDSA_ROOT: CaPlan(
        profile=CaProfile(names_issuer=True), algorithm=MLDSA, title="Development ML-DSA Root CA"
    ),
    "sival-dice-key-p256-v0": CaPlan(SHARED_ROOT),
    "cr01-ica-dice-key-p256-v0": CaPlan(SHARED_ROOT),
    "cr01-ica-ext-key-p256-v0": CaPlan(SHARED_ROOT, CaProfile(path_length=0)),
    "pi01-ica-dice-key-p256-v0": CaPlan(PI01_ROOT, _STRICT),
    "pi01-ica-ext-key-p256-v0": CaPlan(PI01_ROOT),
    "ti01-ica-dice-key-p256-v0": CaPlan(SHARED_ROOT),
    "sival_pqc-dice-key-mldsa-v0": CaPlan(MLDSA_ROOT, algorithm=MLDSA),
}  # fmt: skip
"""Every CA by the label of its key."""

_DICE = ("UDS", "CDI_0", "CDI_1")
_ALL = (
    SkuTemplate(
        "sival",
        {"RootCA": SHARED_ROOT, "SigningKey/Dice/v0": "sival-dice-key-p256-v0"},
        _DICE,
        "ownership: OWND",
    ),
    SkuTemplate(
        "cr01",
        {
            "RootCA": SHARED_ROOT,
            "SigningKey/Dice/v0": "cr01-ica-dice-key-p256-v0",
            "SigningKey/Ext/v0": "cr01-ica-ext-key-p256-v0",
        },
        (*_DICE, "TPM EK", "TPM CEK", "TPM CIK", "CROS UDS"),
        "Key ladder state: Prod",
        x509_count=7,
    ),
    SkuTemplate(
        "pi01",
        {
            "RootCA": PI01_ROOT,
            "SigningKey/Dice/v0": "pi01-ica-dice-key-p256-v0",
            "SigningKey/Ext/v0": "pi01-ica-ext-key-p256-v0",
        },
        ("UDS", "CEK_0", "CEK_1"),
        "...sleeping...",
        leaf="UDS",
        cwt_order=_DICE,
    ),
    SkuTemplate(
        "ti01",
        {"RootCA": SHARED_ROOT, "SigningKey/Dice/v0": "ti01-ica-dice-key-p256-v0"},
        _DICE,
        "pie_rot_earlgrey_mfg",
    ),
    SkuTemplate(
        "sival_pqc",
        {
            "RootCA": SHARED_ROOT,
            "RootCAMldsa": MLDSA_ROOT,
            "SigningKey/Dice/v0": "sival-dice-key-p256-v0",
            "SigningKey/Dice/Mldsa/v0": "sival_pqc-dice-key-mldsa-v0",
        },
        _DICE,
        "ownership: OWND",
        x509_count=4,
        second_layer=True,
    ),
)
TEMPLATES: Mapping[str, SkuTemplate] = {template.name: template for template in _ALL}


def chosen(names: Sequence[str]) -> tuple[SkuTemplate, ...]:
    """The templates of these SKUs, each once, in the order given; ``all`` stands for every one."""
    wanted = [name for given in names for name in (TEMPLATES if given == "all" else (given,))]
    for name in wanted:
        if name not in TEMPLATES:
            known = ", ".join(TEMPLATES)
            raise ConfigError(f"expected a sku of {known} or all, saw {name[:80]!r}{nearest(name, list(TEMPLATES))}")
    if not wanted:
        raise ConfigError("expected at least one sku, saw none: name one with --sku")
    return tuple(TEMPLATES[name] for name in dict.fromkeys(wanted))


def unservable(template: SkuTemplate, kind: str) -> str:
    """Why a keystore of this kind (as in ``appliance.toml``) cannot serve the SKU; empty when it can."""
    if kind != PKCS11 or not template.needs_mldsa:
        return ""
    return (
        f"sku {template.name} needs ML-DSA keys, for which the PKCS#11 keystore has no mechanism: "
        "use the software keystore for it"
    )


def ordered(names: Sequence[str]) -> tuple[SkuTemplate, ...]:
    """The templates of these SKUs, each once, in the order of the table."""
    wanted = chosen(names)
    return tuple(template for template in _ALL if template in wanted)


def cas_of(templates: Sequence[SkuTemplate]) -> dict[str, CaPlan]:
    """The CAs that these SKUs need, roots first."""
    labels = {label for template in templates for label in template.certs.values()}
    return {label: plan for label, plan in CAS.items() if label in labels}


def issuing_keys(templates: Sequence[SkuTemplate]) -> dict[str, str]:
    """Labels and algorithms of the keys that sign device certificates of these SKUs: all but the roots'."""
    return {private_label(label): plan.algorithm for label, plan in cas_of(templates).items() if plan.root}


def identity_keys(templates: Sequence[SkuTemplate]) -> dict[str, str]:
    """Labels and algorithms of the keys that sign registry records for these SKUs."""
    mldsa = any(template.needs_mldsa for template in templates)
    return {IDENTITY_KEY: "P-256", **({MLDSA_IDENTITY_KEY: MLDSA} if mldsa else {})}


def private_label(ca: str) -> str:
    """Label of a CA's private key."""
    return f"{ca}.priv"


def ca_file(ca: str) -> str:
    """Where the SKU folder keeps a CA's certificate."""
    return f"ca/{ca}.der"


def sku_file(template: SkuTemplate, realm: Realm, mechanism: str = "RsaOaep") -> str:
    """The SKU file in the upstream YAML schema."""
    private = _private_keys(template)
    identities = [IDENTITY_KEY] + [MLDSA_IDENTITY_KEY] * template.needs_mldsa
    lines = [
        f"# realm {realm.value}",
        f"sku: {template.name}",
        "slotId: 0",
        "numSessions: 3",
        f"certCountX509: {template.x509_count}",
        f"certCountCWT: {len(template.cwt_order)}",
        *_names("symmetricKeys", (SEED_HIGH, SEED_LOW)),
        *_names("privateKeys", [*private.values(), *identities]),
        *_names("publicKeys", (RMA_KEY,)),
        "certs:",
        *(f"  - name: {name}\n    path: {ca_file(ca)}" for name, ca in template.certs.items()),
        *_order("cwtCertHashOrder", template.cwt_order),
        *_order("x509CertHashOrder", template.x509_order),
        "attributes:",
        *(f"  {name}: {value}" for name, value in _attributes(template, private, mechanism).items()),
    ]
    return "\n".join(lines) + "\n"


def auth_head(realm: Realm) -> str:
    """How the file of SKU passwords begins; one ``auth_entry`` per SKU follows."""
    return f"# realm {realm.value}\nskuAuthCfgList:\n"


def auth_entry(name: str, password: bytes) -> str:
    """The lines of a SKU in the file of SKU passwords: the password's bcrypt hash, and all methods."""
    return f'  {name}:\n    skuAuth: "{password_hash(password)}"\n    methods: [{", ".join(METHODS)}]\n'


def new_password() -> bytes:
    """A random SKU password, of letters, digits, - and _."""
    return secrets.token_urlsafe(PASSWORD_BYTES).encode()


def password_hash(password: bytes) -> str:
    """The bcrypt hash of a SKU password as the file has it."""
    return bcrypt.hashpw(password, bcrypt.gensalt(BCRYPT_COST, prefix=b"2a")).decode()


def _private_keys(template: SkuTemplate) -> dict[str, str]:
    return {name: private_label(ca) for name, ca in template.certs.items() if name.startswith("SigningKey/")}


def _attributes(template: SkuTemplate, private: Mapping[str, str], mechanism: str) -> dict[str, str]:
    layer = {
        "SecondLayerWrappingMechanism": "Hpke",
        "HPKEPQPublicKeyPath": ML_KEM_FILE,
        "HPKEClassicalPublicKeyPath": X25519_FILE,
    }
    identities = {"SigningKey/Identity/v0": IDENTITY_KEY}
    if template.needs_mldsa:
        identities["SigningKey/Identity/Mldsa/v0"] = MLDSA_IDENTITY_KEY
    return {
        "SeedSecHi": SEED_HIGH,
        "SeedSecLo": SEED_LOW,
        "WASKeyLabel": SEED_HIGH,
        "WASDisable": "false",
        "WrappingMechanism": mechanism,
        "WrappingKeyLabel": RMA_KEY,
        **(layer if template.second_layer else {}),
        **private,
        **identities,
        "CertChainDiceLeaf": template.leaf,
        "OwnerFirmwareBootMessage": f'"{template.boot_text}"',
    }


def _names(key: str, labels: Sequence[str]) -> list[str]:
    return [f"{key}:", *(f"  - name: {label}" for label in labels)]


def _order(key: str, labels: Sequence[str]) -> list[str]:
    return [f"{key}: [{', '.join(labels)}]"] if labels else []
