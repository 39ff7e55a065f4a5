"""Keys behind one small interface: what leaves it are MACs, signatures, public keys and wrapped seeds, never a key.

``SoftwareKeystore`` keeps everything in one file sealed with AES-256-GCM under an argon2id key; a PKCS#11 keystore
offers the same methods. Source of the operations: opentitan-appliance sheet 3.2 to 3.6.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from station.appliance import known_keys
from station.appliance.files import write_private
from station.errors import ConfigError, StationError
from station.model import Realm
from station.secret import Secret

FORMAT = "station-keystore-1"
SEED_BYTES = 32
HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}

MldsaPrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
MldsaPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | MldsaPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | MldsaPublicKey
CURVES: Mapping[str, str] = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
MLDSA_SETS: Mapping[type[object], str] = {
    mldsa.MLDSA44PublicKey: "ML-DSA-44",
    mldsa.MLDSA65PublicKey: "ML-DSA-65",
    mldsa.MLDSA87PublicKey: "ML-DSA-87",
}
Role = Literal["secret", "private", "public"]


class KeyMissing(StationError):
    """The keystore has no key of this kind under this label."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a label stands for; ``algorithm`` is ``HMAC``, ``P-256``, ``RSA-3072``, ``ML-DSA-87`` and such."""

    role: Role
    algorithm: str


@dataclass(frozen=True, slots=True)
class Wrapping:
    """How a fresh seed leaves: ``mechanism`` is ``RsaOaep`` (SHA-256, empty label) or ``RsaPkcs`` (v1.5)."""

    mechanism: str
    label: str


class KeyDirectory(Protocol):
    """Which keys there are, and their public halves; labels are those of the SKU file."""

    realm: Realm

    def labels(self) -> frozenset[str]:
        """All labels, of whatever kind."""
        ...

    def missing(self, label: str) -> str:
        """A sentence for a SKU's label that is not there: what to do about it."""
        ...

    def public_key(self, label: str) -> bytes:
        """SubjectPublicKeyInfo DER of a private or public key."""
        ...

    def key_info(self, label: str) -> KeyInfo:
        """Role and algorithm of a key, asked once when a SKU is loaded; raises ``KeyMissing``."""
        ...


class Signing(KeyDirectory, Protocol):
    """Keys that sign without leaving."""

    def sign(self, label: str, data: bytes, hash_name: str) -> bytes:
        """ECDSA over ``hash_name`` (SHA256, SHA384, SHA512) of the data: DER SEQUENCE of r and s."""
        ...

    def sign_mldsa(self, label: str, data: bytes) -> bytes:
        """ML-DSA over the data itself with an empty context; the key decides the parameter set."""
        ...


class Keystore(Signing, Protocol):
    """What the secure provisioning module may ask of its keys."""

    def fault(self) -> str:
        """Why no key can be used at the moment, as far as is known; empty while they can."""
        ...

    def hmac_sha256(self, label: str, message: bytes) -> Secret:
        """HMAC-SHA256 of the message under the secret key ``label``; raises ``KeyMissing``."""
        ...

    def fresh_hmac_sha256(self, message: bytes, wrapping: Wrapping | None) -> tuple[Secret, bytes]:
        """HMAC-SHA256 under a fresh 256-bit seed that exists for this call only, and the wrapped seed (or nothing)."""
        ...


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """What is inside a software keystore: secret keys raw, private keys PKCS#8 DER, public keys SPKI DER."""

    secret: Mapping[str, bytes] = field(repr=False)
    private: Mapping[str, bytes] = field(repr=False)
    public: Mapping[str, bytes] = field(repr=False)


class SoftwareKeystore:
    """A keystore in one sealed file; open it with ``open_keystore``."""

    def __init__(self, realm: Realm, material: KeyMaterial) -> None:
        self.realm = realm
        self._secret = {label: Secret(raw, label) for label, raw in material.secret.items()}
        self._private = _signing_keys(material)
        self._public = dict(material.public)
        self._spki = {label: spki(key.public_key()) for label, key in self._private.items()}

    def labels(self) -> frozenset[str]:
        """All labels, of whatever kind."""
        return frozenset(self._secret) | frozenset(self._private) | frozenset(self._public)

    def missing(self, label: str) -> str:
        """What to do about a label that is not there."""
        return f"expected key {label!r} in the keystore: import it"

    def fault(self) -> str:
        """Nothing: the keys are in this process."""
        return ""

    def hmac_sha256(self, label: str, message: bytes) -> Secret:
        """HMAC-SHA256 of the message under the secret key ``label``."""
        key = self._secret.get(label)
        if key is None:
            raise KeyMissing(f"expected a secret key {label!r} in the keystore: import it or correct the SKU file")
        with key.reveal() as raw:
            return Secret(hmac.digest(raw, message, "sha256"), f"HMAC under {label}")

    def fresh_hmac_sha256(self, message: bytes, wrapping: Wrapping | None) -> tuple[Secret, bytes]:
        """HMAC-SHA256 under a fresh seed, and that seed wrapped when asked."""
        seed = secrets.token_bytes(SEED_BYTES)
        wrapped = b"" if wrapping is None else self._wrap(seed, wrapping)
        return Secret(hmac.digest(seed, message, "sha256"), "HMAC under a fresh seed"), wrapped

    def sign(self, label: str, data: bytes, hash_name: str) -> bytes:
        """ECDSA signature, DER."""
        key = self._private.get(label)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeyMissing(f"expected a private key {label!r} for ECDSA in the keystore: correct the SKU file")
        return key.sign(data, ec.ECDSA(HASHES[hash_name]))

    def sign_mldsa(self, label: str, data: bytes) -> bytes:
        """ML-DSA signature over the data itself."""
        key = self._private.get(label)
        if not isinstance(key, MldsaPrivateKey):
            raise KeyMissing(f"expected a private key {label!r} for ML-DSA in the keystore: correct the SKU file")
        return key.sign(data)

    def public_key(self, label: str) -> bytes:
        """SubjectPublicKeyInfo DER."""
        if label in self._spki:
            return self._spki[label]
        if label in self._public:
            return self._public[label]
        raise KeyMissing(f"expected a key pair or public key {label!r} in the keystore: correct the SKU file")

    def key_info(self, label: str) -> KeyInfo:
        """Role and algorithm of a key."""
        if label in self._secret:
            return KeyInfo("secret", "HMAC")
        return KeyInfo("private" if label in self._private else "public", algorithm_of(self.public_key(label)))

    def _wrap(self, seed: bytes, wrapping: Wrapping) -> bytes:
        key = load_public_key(self.public_key(wrapping.label))
        if not isinstance(key, rsa.RSAPublicKey):
            raise KeyMissing(f"expected an RSA public key {wrapping.label!r} for seed wrapping: correct the SKU file")
        return key.encrypt(seed, rsa_padding(wrapping.mechanism))


def rsa_padding(mechanism: str) -> padding.AsymmetricPadding:
    """The RSA padding of a wrapping mechanism: OAEP with SHA-256 throughout, or PKCS#1 v1.5."""
    sha256 = hashes.SHA256()
    oaep = padding.OAEP(mgf=padding.MGF1(sha256), algorithm=sha256, label=None)
    return oaep if mechanism == "RsaOaep" else padding.PKCS1v15()


@lru_cache(maxsize=64)
def load_public_key(der: bytes) -> PublicKeyTypes:
    """The public key of a SubjectPublicKeyInfo; the appliance uses few of them for every device."""
    return serialization.load_der_public_key(der)


def spki(key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo DER of a public key."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def algorithm_of(public_key: bytes) -> str:
    """Name of the algorithm of a SubjectPublicKeyInfo, as in ``KeyInfo``; ``unknown`` for any other key."""
    try:
        key = serialization.load_der_public_key(public_key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "unknown"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES.get(key.curve.name, "unknown")
    return next((name for kind, name in MLDSA_SETS.items() if isinstance(key, kind)), "unknown")


def create_keystore(path: Path, passphrase: Secret, realm: Realm, material: KeyMaterial) -> None:
    """Seal the material into a new file of mode 0600; never overwrites."""
    write_private(path, seal(passphrase, realm, material))


def seal(passphrase: Secret, realm: Realm, material: KeyMaterial) -> bytes:
    """The content of a keystore file."""
    header: dict[str, Any] = {
        "format": FORMAT,
        "realm": realm.value,
        "kdf": {"name": "argon2id", "memory_kib": 65536, "iterations": 3, "lanes": 1, "salt": os.urandom(16).hex()},
        "nonce": os.urandom(12).hex(),
    }
    plain = json.dumps(
        {
            kind: {label: base64.b64encode(raw).decode() for label, raw in sorted(keys.items())}
            for kind, keys in (("secret", material.secret), ("private", material.private), ("public", material.public))
        }
    ).encode()
    cipher = AESGCM(_sealing_key(header, passphrase))
    sealed = cipher.encrypt(bytes.fromhex(header["nonce"]), plain, _canonical(header))
    return json.dumps({**header, "sealed": base64.b64encode(sealed).decode()}, indent=1).encode()


def open_keystore(path: Path, passphrase: Secret, realm: Realm) -> SoftwareKeystore:
    """Unseal the file; refuses another realm, a wrong passphrase, a damaged file and public keys in production."""
    material = unseal(path, passphrase, realm)
    keystore = SoftwareKeystore(realm, material)
    if realm is Realm.PRODUCTION and (public := public_labels(material)):
        raise ConfigError(f"{path}: publicly known test keys are refused in production: {', '.join(public)}")
    return keystore


def unseal(path: Path, passphrase: Secret, realm: Realm) -> KeyMaterial:
    """What is inside a keystore file, for those who bring it into another keystore."""
    header, sealed = _read(path)
    if header["realm"] != realm.value:
        raise ConfigError(
            f"expected a keystore of realm {realm}, {path} is of realm {header['realm']}: use the right one"
        )
    try:
        plain = AESGCM(_sealing_key(header, passphrase)).decrypt(
            bytes.fromhex(header["nonce"]), sealed, _canonical(header)
        )
    except InvalidTag:
        raise ConfigError(f"expected {path} to open: the passphrase is wrong or the file is damaged") from None
    stored = json.loads(plain)
    kinds = ({k: base64.b64decode(v) for k, v in stored[kind].items()} for kind in ("secret", "private", "public"))
    return KeyMaterial(*kinds)


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        stored = json.loads(path.read_bytes())
        sealed = base64.b64decode(stored.pop("sealed"), validate=True)
        if stored["format"] != FORMAT:
            raise ValueError(stored["format"])
        bytes.fromhex(stored["nonce"] + stored["kdf"]["salt"])
        stored["realm"], stored["kdf"]["memory_kib"], stored["kdf"]["iterations"], stored["kdf"]["lanes"]
    except OSError as error:
        raise ConfigError(f"expected a keystore at {path}: {error.strerror}; restore it from its backup") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"expected a keystore file of format {FORMAT} at {path}: restore it from its backup"
        ) from None
    return stored, sealed


def _sealing_key(header: Mapping[str, Any], passphrase: Secret) -> bytes:
    kdf = header["kdf"]
    derive = Argon2id(
        salt=bytes.fromhex(kdf["salt"]),
        length=32,
        iterations=kdf["iterations"],
        lanes=kdf["lanes"],
        memory_cost=kdf["memory_kib"],
    )
    with passphrase.reveal() as raw:
        return derive.derive(raw)


def _canonical(header: Mapping[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _private_key(label: str, der: bytes) -> PrivateKey | rsa.RSAPrivateKey:
    key = serialization.load_der_private_key(der, None)
    if not isinstance(key, PrivateKey | rsa.RSAPrivateKey):
        raise ConfigError(
            f"expected an elliptic-curve, ML-DSA or RSA private key {label!r}: remove it from this keystore"
        )
    return key


def _signing_keys(material: KeyMaterial) -> dict[str, PrivateKey]:
    """Without RSA: such a key brought the seeds here, and nobody asks a running appliance for it."""
    loaded = {label: _private_key(label, der) for label, der in material.private.items()}
    return {label: key for label, key in loaded.items() if not isinstance(key, rsa.RSAPrivateKey)}


def public_labels(material: KeyMaterial) -> list[str]:
    """Labels of publicly known keys, which production refuses."""
    public = [label for label, raw in material.secret.items() if known_keys.seed_is_public(raw)]
    loaded = {label: _private_key(label, der).public_key() for label, der in material.private.items()}
    return sorted(public + [label for label, key in loaded.items() if known_keys.key_is_public(key)])
