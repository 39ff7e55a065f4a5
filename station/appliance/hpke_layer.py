"""The second layer around a wrapped seed: HPKE to a hybrid of ML-KEM and an elliptic-curve key.

Source: opentitan-appliance sheet 3.4. Base mode, HKDF-SHA256, AES-256-GCM, info ``token-seed-wrap``, no AAD; the
result is the encapsulated key followed by the ciphertext. The files are read and checked when a SKU is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, rsa, x25519
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    MLKEM1024P384PrivateKey,
    MLKEM1024P384PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from station.errors import ConfigError

INFO = b"token-seed-wrap"
RAW_768, RAW_1024 = 1184, 1568
P384 = "secp384r1"
HybridPublicKey = MLKEM768X25519PublicKey | MLKEM1024P384PublicKey
HybridPrivateKey = MLKEM768X25519PrivateKey | MLKEM1024P384PrivateKey
PqKey = mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey
_P256 = "ML-KEM-768 with P-256 is no KEM of this appliance's library: give an X25519 key with it"
_KEMS: Mapping[type[object], KEM] = {
    MLKEM768X25519PublicKey: KEM.MLKEM768_X25519,
    MLKEM768X25519PrivateKey: KEM.MLKEM768_X25519,
    MLKEM1024P384PublicKey: KEM.MLKEM1024_P384,
    MLKEM1024P384PrivateKey: KEM.MLKEM1024_P384,
}


@dataclass(frozen=True, slots=True)
class HpkeLayer:
    """Seals wrapped seeds to one recipient."""

    recipient: HybridPublicKey

    def seal(self, wrapped_seed: bytes) -> bytes:
        """Encapsulated key followed by the ciphertext of the first layer's output."""
        return _suite(self.recipient).encrypt(wrapped_seed, self.recipient, info=INFO)


def load_layer(pq: bytes, classical: bytes) -> HpkeLayer:
    """The layer for the content of the two key files; a pair that cannot be served raises ``ConfigError``."""
    pq_key = _pq_key(pq)
    try:
        key = load_der_public_key(classical)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError("expected the DER of a public key in the classical HPKE key file: copy it again") from None
    if isinstance(pq_key, mlkem.MLKEM768PublicKey) and isinstance(key, x25519.X25519PublicKey):
        return HpkeLayer(MLKEM768X25519PublicKey(pq_key, key))
    curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""
    if isinstance(pq_key, mlkem.MLKEM1024PublicKey) and isinstance(key, ec.EllipticCurvePublicKey) and curve == P384:
        return HpkeLayer(MLKEM1024P384PublicKey(pq_key, key))
    raise ConfigError(_refusal(pq_key, key, curve))


def recipient_files(pq: mlkem.MLKEM768PublicKey, classical: x25519.X25519PublicKey) -> tuple[bytes, bytes]:
    """The content of the two key files of a recipient."""
    return pq.public_bytes_raw(), classical.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def open_layer(sealed: bytes, recipient: HybridPrivateKey) -> bytes:
    """The first layer's output; for recovery away from the appliance. Raises ``InvalidTag`` for other bytes."""
    return _suite(recipient).decrypt(sealed, recipient, info=INFO)


def _suite(key: HybridPublicKey | HybridPrivateKey) -> Suite:
    return Suite(_KEMS[type(key)], KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _pq_key(content: bytes) -> PqKey:
    try:
        if len(content) == RAW_768:
            return mlkem.MLKEM768PublicKey.from_public_bytes(content)
        if len(content) == RAW_1024:
            return mlkem.MLKEM1024PublicKey.from_public_bytes(content)
        key = load_der_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, PqKey):
        raise ConfigError("expected an ML-KEM public key, DER or raw, in the HPKE key file: copy it again")
    return key


def _refusal(pq: PqKey, classical: object, curve: str) -> str:
    if isinstance(classical, rsa.RSAPublicKey):
        return "expected an X25519 or P-384 key in the classical HPKE key file, saw RSA: it cannot be used with HPKE"
    if isinstance(pq, mlkem.MLKEM768PublicKey) and curve == "secp256r1":
        return f"expected an HPKE key pair that can be served: {_P256}"
    wanted = "X25519" if isinstance(pq, mlkem.MLKEM768PublicKey) else "P-384"
    return f"expected {wanted} beside this ML-KEM key, saw another key in the classical HPKE key file: correct it"
