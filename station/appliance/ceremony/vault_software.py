"""The ceremony's keystore in a sealed file: keys are added to it, and the file is replaced as a whole."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.asymmetric import mlkem, rsa, x25519
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from station.appliance import known_keys
from station.appliance.ceremony import keys as names
from station.appliance.ceremony.keys import NewKey
from station.appliance.ceremony.transcript import KeyLine
from station.appliance.ceremony.transfer import digest_of
from station.appliance.ceremony.vault import OAEP, Delivery, check_value, first_way, not_for_us, oaep
from station.appliance.certificates import new_key
from station.appliance.files import place, replace, require_private
from station.appliance.hpke_layer import open_layer
from station.appliance.keystore import (
    SEED_BYTES,
    KeyInfo,
    KeyMaterial,
    KeyMissing,
    SoftwareKeystore,
    algorithm_of,
    public_labels,
    seal,
    unseal,
)
from station.appliance.passphrase import SecretSource, choose_secret, read_secret
from station.appliance.seed_recovery import unwrap_seed
from station.errors import ConfigError, FormatError
from station.model import Realm
from station.secret import Secret

RSA_BITS = 3072
LEAST_LETTERS = 12
"""Of a new passphrase in realm production: whoever copies the sealed file can try as many as the KDF lets through."""
_HPKE, _RSA = (names.ML_KEM_KEY, names.X25519_KEY), (names.TRANSPORT_KEY, names.RMA_PRIVATE_KEY)
_MAKERS: Mapping[str, Callable[[], Any]] = {
    names.RSA: lambda: rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS),
    names.ML_KEM: mlkem.MLKEM768PrivateKey.generate,
    names.X25519: x25519.X25519PrivateKey.generate,
}


class SoftwareVault:
    """Open it with ``open_software_vault``."""

    def __init__(self, path: Path, passphrase: Secret, realm: Realm, material: KeyMaterial, new: bool) -> None:
        self.realm = realm
        self._path, self._passphrase, self._new = path, passphrase, new
        self._loaded: dict[str, rsa.RSAPrivateKey] = {}
        self._use(material)

    # ---- the directory, and signing ----------------------------------------------------------------------------

    def labels(self) -> frozenset[str]:
        """All labels, of whatever kind."""
        return frozenset((*self._material.secret, *self._material.private, *self._material.public))

    def missing(self, label: str) -> str:
        """What to do about a label that is not there."""
        return f"expected key {label!r} in the keystore: do the step that makes it first"

    def public_key(self, label: str) -> bytes:
        """SubjectPublicKeyInfo DER."""
        if label in self._material.private:
            private: Any = (
                self._rsa(label) if label in _RSA else load_der_private_key(self._material.private[label], None)
            )
            spki: bytes = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return spki
        if label not in self._material.public:
            raise KeyMissing(self.missing(label))
        return self._material.public[label]

    def key_info(self, label: str) -> KeyInfo:
        """Role and algorithm of a key."""
        if label in self._material.secret:
            return KeyInfo("secret", "HMAC")
        return KeyInfo("private" if label in self._material.private else "public", algorithm_of(self.public_key(label)))

    def sign(self, label: str, data: bytes, hash_name: str) -> bytes:
        """ECDSA signature, DER."""
        return self._signing.sign(label, data, hash_name)

    def sign_mldsa(self, label: str, data: bytes) -> bytes:
        """ML-DSA signature."""
        return self._signing.sign_mldsa(label, data)

    # ---- new keys ----------------------------------------------------------------------------------------------

    def make(self, keys: Sequence[NewKey], resumed: bool) -> None:
        """All that are not there, in one new version of the file."""
        wanted = [key for key in keys if key.label not in self.labels()]
        secret = {key.label: secrets.token_bytes(SEED_BYTES) for key in wanted if _is_secret(key)}
        private = {key.label: _private_der(_new(key.algorithm)) for key in wanted if not _is_secret(key)}
        self._add(secret, private, {})

    def add_public(self, label: str, public_key: bytes) -> None:
        """A public key of another machine."""
        if label not in self.labels():
            self._add({}, {}, {label: public_key})
        elif self.public_key(label) != public_key:
            raise ConfigError(f"expected no other key under {label!r} in the keystore: keys are never overwritten")

    def line(self, label: str) -> KeyLine:
        """The key as the transcript shows it."""
        if label == names.AES_KEY:
            return KeyLine(label, names.AES, "")
        if label in self._material.secret:
            return KeyLine(label, names.HMAC, check_value(self._material.secret[label]))
        spki = self.public_key(label)
        return KeyLine(label, _algorithm(spki), digest_of(spki))

    # ---- wrapping ----------------------------------------------------------------------------------------------

    def unwraps(self) -> tuple[str, ...]:
        """All ways."""
        return tuple(OAEP)

    def check_values(self, delivery: Delivery) -> dict[str, str]:
        """Unwrap the seeds and tell their check values."""
        return {label: check_value(seed) for label, seed in self._unwrapped(delivery).items()}

    def take(self, delivery: Delivery) -> None:
        """Keep the seeds."""
        seeds = self._unwrapped(delivery)
        self._add({label: seed for label, seed in seeds.items() if label not in self.labels()}, {}, {})

    def wrap(self, recipient: bytes, ways: Sequence[str]) -> Delivery:
        """Wrap the seeds."""
        way = first_way(ways, tuple(OAEP))
        key = load_der_public_key(recipient)
        assert isinstance(key, rsa.RSAPublicKey)
        aes = self._material.secret[names.AES_KEY]
        seeds = {label: keywrap.aes_key_wrap(aes, self._material.secret[label]) for label in names.SEEDS}
        return Delivery(way, key.encrypt(aes, oaep(way)), seeds)

    def recover(self, wrapped_seed: bytes, mechanism: str) -> Secret:
        """The RMA seed."""
        return Secret(unwrap_seed(wrapped_seed, self._rsa(names.RMA_PRIVATE_KEY), mechanism), "RMA seed")

    def open_second_layer(self, sealed: bytes) -> bytes:
        """The first layer."""
        stored = self._material.private
        if names.ML_KEM_KEY not in stored or names.X25519_KEY not in stored:
            raise KeyMissing(self.missing(names.ML_KEM_KEY))
        pq = load_der_private_key(stored[names.ML_KEM_KEY], None)
        classical = load_der_private_key(stored[names.X25519_KEY], None)
        assert isinstance(pq, mlkem.MLKEM768PrivateKey)
        assert isinstance(classical, x25519.X25519PrivateKey)
        try:
            return open_layer(sealed, MLKEM768X25519PrivateKey(pq, classical))
        except (InvalidTag, ValueError):
            raise FormatError("expected a seed sealed for these keys, saw another: use the right keys") from None

    # ---- the file ----------------------------------------------------------------------------------------------

    def _unwrapped(self, delivery: Delivery) -> dict[str, bytes]:
        try:
            aes = self._rsa(names.TRANSPORT_KEY).decrypt(delivery.aes_key, oaep(delivery.mechanism))
            seeds = {label: keywrap.aes_key_unwrap(aes, wrapped) for label, wrapped in delivery.seeds.items()}
        except (ValueError, KeyError, keywrap.InvalidUnwrap):
            raise not_for_us() from None
        if any(len(seed) != SEED_BYTES for seed in seeds.values()):
            raise not_for_us()
        return seeds

    def _rsa(self, label: str) -> rsa.RSAPrivateKey:
        if label not in self._material.private:
            raise KeyMissing(self.missing(label))
        if label not in self._loaded:
            key = load_der_private_key(self._material.private[label], None)
            assert isinstance(key, rsa.RSAPrivateKey)
            self._loaded[label] = key
        return self._loaded[label]

    def _add(self, secret: Mapping[str, bytes], private: Mapping[str, bytes], public: Mapping[str, bytes]) -> None:
        if not (secret or private or public):
            return
        old = self._material
        material = KeyMaterial(
            secret={**secret, **old.secret}, private={**private, **old.private}, public={**public, **old.public}
        )
        content = seal(self._passphrase, self.realm, material)
        if self._new:
            place(self._path, content)
        else:
            replace(self._path, content, 0o600)
        self._new = False
        self._use(material)

    def _use(self, material: KeyMaterial) -> None:
        self._material = material
        self._signing = SoftwareKeystore(self.realm, _without(material, *_HPKE, *_RSA))


def open_software_vault(path: Path, source: SecretSource, realm: Realm, new: bool) -> SoftwareVault:
    """Open the sealed file, or begin one when it may be ``new``; production refuses publicly known keys."""
    if not path.exists() and new:
        return SoftwareVault(path, _chosen(source, realm), realm, KeyMaterial({}, {}, {}), new=True)
    if not path.exists():
        raise ConfigError(
            f"expected the keystore {path} of the steps that are done, saw none: restore it from its backup, lost keys "
            "are not made anew"
        )
    require_private(path)
    passphrase = read_secret(source, "keystore passphrase")
    material = unseal(path, passphrase, realm)
    public = public_labels(_without(material, *_HPKE)) if realm is Realm.PRODUCTION else []
    if public:
        raise ConfigError(f"{path}: publicly known test keys are refused in production: {', '.join(public)}")
    return SoftwareVault(path, passphrase, realm, material, new=False)


def _chosen(source: SecretSource, realm: Realm) -> Secret:
    passphrase = choose_secret(source, "keystore passphrase")
    if realm is Realm.PRODUCTION and passphrase.passes(known_keys.password_is_public):
        raise ConfigError("the passphrase is a publicly known one and is refused in production: choose another")
    if realm is Realm.PRODUCTION and passphrase.passes(_is_short):
        raise ConfigError(
            f"expected a passphrase of at least {LEAST_LETTERS} characters in realm production, saw a shorter one: "
            "choose another"
        )
    return passphrase


def _is_short(passphrase: bytes) -> bool:
    return len(passphrase.decode("utf-8", "replace")) < LEAST_LETTERS


def _without(material: KeyMaterial, *labels: str) -> KeyMaterial:
    """Without some private keys; it takes long to load an RSA key, and a running appliance has no HPKE keys."""
    private = {label: der for label, der in material.private.items() if label not in labels}
    return KeyMaterial(material.secret, private, material.public)


def _is_secret(key: NewKey) -> bool:
    return key.algorithm in (names.HMAC, names.AES)


def _new(algorithm: str) -> Any:
    return _MAKERS[algorithm]() if algorithm in _MAKERS else new_key(algorithm)


def _private_der(key: Any) -> bytes:
    der: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return der


def _algorithm(spki: bytes) -> str:
    """Also of HPKE keys, which ``algorithm_of`` does not know."""
    kinds = {mlkem.MLKEM768PublicKey: names.ML_KEM, x25519.X25519PublicKey: names.X25519}
    loaded = load_der_public_key(spki)
    return next((name for kind, name in kinds.items() if isinstance(loaded, kind)), algorithm_of(spki))
