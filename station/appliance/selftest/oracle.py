"""What the appliance must answer, computed from the throwaway's keys with the formulas of the sheet.

Source: opentitan-appliance sheet 3.3 (tokens), 3.4 (wrapped seeds) and 4.2 (key ids).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import mlkem, rsa, x25519
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from station.appliance.hpke_layer import HybridPrivateKey
from station.appliance.keystore import KeyMaterial, PrivateKey, spki
from station.appliance.seed_recovery import unwrap_seed
from station.appliance.sku_templates import IDENTITY_KEY, SEED_HIGH, SEED_LOW, SkuTemplate, ca_file
from station.errors import ConfigError
from station.formats.lc_token import lc_hash
from station.secret import Secret

SEED_LABELS: Mapping[str, str] = {"high": SEED_HIGH, "low": SEED_LOW}
KEY_ID_BYTES = 20
RSA_BYTES, HPKE_BYTES = 384, 1120 + 384 + 16
"""A wrapped seed; with the second layer: ML-KEM-768 and X25519 key, then the ciphertext with its tag."""
PUBLISHED_HASHES: Mapping[str, str] = {
    "00000000000000000000000000000000": "3852305BAECF5FF1D5C1D25F6DB9058D",
    "E4225DC332EA1FDA63B4C524556ED4D4": "F51C9CB753A5AADEA5FDC7D23AB29F6D",
}
"""Life cycle token and hash as 128-bit numbers, little-endian on the wire (sheet 7.1)."""


class Oracle:
    """Knows all keys of one development appliance, those included that the appliance itself never has."""

    def __init__(self, folder: Path, material: KeyMaterial) -> None:
        self._folder = folder
        self._seeds = {name: Secret(material.secret[label], label) for name, label in SEED_LABELS.items()}
        self.identity = spki(_private(material.private[IDENTITY_KEY]).public_key())

    def token(self, seed: str, diversifier: bytes, bits: int, hashed: bool) -> bytes:
        """The token of the high or low seed."""
        with self._seeds[seed].reveal() as raw:
            return _token(raw, diversifier, bits, hashed)

    def recovered_token(self, wrapped: bytes, layered: bool, diversifier: bytes, bits: int, hashed: bool) -> bytes:
        """The token of a fresh seed, from that seed as the offline keys unwrap it."""
        key = load_pem_private_key(self._offline("rma-key.pem"), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ConfigError("expected an RSA key to unwrap seeds with")
        seed = unwrap_seed(wrapped, key, "RsaOaep", self._second_layer() if layered else None)
        return _token(seed, diversifier, bits, hashed)

    def cas(self, template: SkuTemplate) -> dict[str, bytes]:
        """DER of the SKU's CA certificates by their name in the SKU file."""
        return {name: (self._folder / "skus" / ca_file(ca)).read_bytes() for name, ca in template.certs.items()}

    def seed_bytes(self) -> list[Secret]:
        """The seeds, to look for them where they must not be."""
        return list(self._seeds.values())

    def _second_layer(self) -> HybridPrivateKey:
        pq = load_pem_private_key(self._offline("hpke-mlkem-key.pem"), None)
        classical = load_pem_private_key(self._offline("hpke-x25519-key.pem"), None)
        if not isinstance(pq, mlkem.MLKEM768PrivateKey) or not isinstance(classical, x25519.X25519PrivateKey):
            raise ConfigError("expected an ML-KEM-768 and an X25519 key to open the second layer with")
        return MLKEM768X25519PrivateKey(pq, classical)

    def _offline(self, name: str) -> bytes:
        return (self._folder / "offline" / name).read_bytes()


def key_id_of(der: bytes) -> bytes:
    """SHA-1 of the public key's bits, from the key itself and not from what the certificate says."""
    key = x509.load_der_x509_certificate(der).public_key()
    return x509.SubjectKeyIdentifier.from_public_key(key).digest


def published_hashes_hold() -> bool:
    """True when the self-test's own token hash gives the published values."""
    pairs = ((bytes.fromhex(token)[::-1], bytes.fromhex(digest)[::-1]) for token, digest in PUBLISHED_HASHES.items())
    return all(lc_hash(token) == digest for token, digest in pairs)


def registry_id(number: int) -> str:
    """The text form of an emulated device's id (sheet 5.6): SKU-specific zeros, number, product, creator."""
    return f"0x{'0' * 32}{'0' * 8}{number:016x}00034001"


def _token(seed: bytes, diversifier: bytes, bits: int, hashed: bool) -> bytes:
    cut = hmac.new(seed, diversifier, hashlib.sha256).digest()[: bits // 8]
    return lc_hash(cut) if hashed else cut


def _private(der: bytes) -> PrivateKey:
    key = load_der_private_key(der, None)
    if not isinstance(key, PrivateKey):
        raise ConfigError("expected an identity key that signs")
    return key
