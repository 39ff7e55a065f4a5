"""The keystore in a PKCS#11 token: keys stay inside, what the token has no mechanism for is done here and said so.

Inside the token: HMAC-SHA256, ECDSA (CKM_ECDSA over a digest that is made here), the fresh seed, its HMAC and its
wrapping. A token without RSA-OAEP over SHA-256 (SoftHSM 2.6 takes SHA-1 only) cannot wrap the fresh seed: then seed,
HMAC and wrapping are made in this process. There is no ML-DSA. docs/appliance.md, "Keystores", has the table.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from station.appliance import known_keys
from station.appliance.keystore import SEED_BYTES, KeyInfo, KeyMissing, Role, Wrapping, load_public_key, rsa_padding
from station.appliance.passphrase import SecretSource, reader
from station.appliance.pkcs11_module import Module, TokenChoice
from station.appliance.pkcs11_policy import (
    OBJECT_CLASSES,
    Inventory,
    TokenKey,
    der_signature,
    digest_to_sign,
    take_inventory,
)
from station.appliance.pkcs11_pool import KeySession, SessionPool
from station.appliance.refused_pin import RefusedPin
from station.errors import ConfigError
from station.model import Realm
from station.secret import Secret

log = logging.getLogger(__name__)

SESSIONS = 8
MECHANISMS: Mapping[str, tuple[Mechanism, Any]] = {
    "RsaOaep": (Mechanism.RSA_PKCS_OAEP, (Mechanism.SHA256, MGF.SHA256, None)),
    "RsaPkcs": (Mechanism.RSA_PKCS, None),
}
NOT_OFFERED = (
    pkcs11.ArgumentsBad, pkcs11.FunctionNotSupported, pkcs11.KeyNotWrappable, pkcs11.KeyTypeInconsistent,
    pkcs11.MechanismInvalid, pkcs11.MechanismParamInvalid, pkcs11.WrappingKeyTypeInconsistent, AttributeError,
)  # fmt: skip
"""How a token says that it cannot wrap in this way; AttributeError: the key has no WRAP."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Where the token is and how to log in; ``refused_pin`` is the file of ``RefusedPin``."""

    module: str
    choice: TokenChoice
    pin: SecretSource
    refused_pin: Path
    sessions: int = SESSIONS


@dataclass(frozen=True, slots=True)
class _Seen:
    """The token as it was at the last login; ``wraps`` are the label and mechanism pairs that it wraps itself."""

    inventory: Inventory
    wraps: frozenset[tuple[str, str]]


class TokenKeystore:
    """Keys of one token; open it with ``open_token``, ``close`` it."""

    def __init__(self, realm: Realm, settings: TokenSettings) -> None:
        self.realm = realm
        pin = checked_pin(reader(settings.pin, "HSM PIN"), realm)
        self._seen = _Seen(Inventory(), frozenset())
        self._module = Module(settings.module)
        refused = RefusedPin(settings.refused_pin)
        self._pool = SessionPool(self._module, settings.choice, pin, refused, settings.sessions, self._prepare)
        try:
            self._pool.start()
        except BaseException:  # also an interrupt: the module belongs to the whole process
            self._module.close()
            raise

    def close(self) -> None:
        """Log out and end the use of the module."""
        self._pool.close()

    def labels(self) -> frozenset[str]:
        """All labels that can be used, as of the last login."""
        return self._seen.inventory.labels()

    def missing(self, label: str) -> str:
        """Why a SKU's label cannot be served."""
        return (
            f"expected key {label!r} in the token: import it, or use the software keystore if it is an ML-DSA key, "
            f"which this keystore has no mechanism for"
        )

    def fault(self) -> str:
        """Why the token does not work, since a call noticed it; empty while it works."""
        return self._pool.fault()

    def hmac_sha256(self, label: str, message: bytes) -> Secret:
        """HMAC-SHA256 inside the token."""
        self._require("secret", label)

        def work(session: KeySession) -> bytes:
            key = session.key(ObjectClass.SECRET_KEY, label)
            return bytes(key.sign(message, mechanism=Mechanism.SHA256_HMAC))

        return Secret(self._pool.run(work), f"HMAC under {label}")

    def fresh_hmac_sha256(self, message: bytes, wrapping: Wrapping | None) -> tuple[Secret, bytes]:
        """HMAC-SHA256 under a fresh seed of the token, wrapped there; in this process when the token cannot wrap so."""
        if wrapping is not None:
            key = self._require("public", wrapping.label)
            if (wrapping.label, wrapping.mechanism) not in self._seen.wraps:
                return _fresh_here(message, key.public_key, wrapping)
        mac, wrapped = self._pool.run(lambda session: _fresh(session, message, wrapping))
        return Secret(mac, "HMAC under a fresh seed"), wrapped

    def sign(self, label: str, data: bytes, hash_name: str) -> bytes:
        """ECDSA inside the token over a digest made here."""
        digest = digest_to_sign(data, hash_name, self._require("private", label).info.algorithm)

        def work(session: KeySession) -> bytes:
            key = session.key(ObjectClass.PRIVATE_KEY, label)
            return bytes(key.sign(digest, mechanism=Mechanism.ECDSA))

        return der_signature(self._pool.run(work))

    def sign_mldsa(self, label: str, data: bytes) -> bytes:
        """Always refused."""
        raise KeyMissing(self.missing(label))

    def public_key(self, label: str) -> bytes:
        """SubjectPublicKeyInfo DER."""
        key = self._seen.inventory.get("private", label) or self._require("public", label)
        return key.public_key

    def key_info(self, label: str) -> KeyInfo:
        """Role and algorithm of a key."""
        roles: tuple[Role, ...] = ("secret", "private", "public")
        found = next((key for role in roles if (key := self._seen.inventory.get(role, label))), None)
        if found is None:
            raise KeyMissing(self.missing(label))
        return found.info

    def _require(self, role: Role, label: str) -> TokenKey:
        key = self._seen.inventory.get(role, label)
        if key is None:
            raise KeyMissing(f"expected a {role} key {label!r} in the token: import it or correct the SKU file")
        return key

    def _prepare(self, token: pkcs11.Token, session: KeySession) -> None:
        """After every login: what the token is, holds and can; raises ``ConfigError`` for what the realm refuses."""
        production = self.realm is Realm.PRODUCTION
        if production:
            refuse_software(self._module, token)
        inventory = take_inventory(session.raw)
        refused = [*inventory.refused, *(publicly_known(session, inventory) if production else [])]
        if refused and production:
            raise ConfigError(f"token {token.label!r} is refused in production: {'; '.join(refused)}")
        for sentence in (*refused, *inventory.remarks):
            log.warning("token %r: %s", token.label, sentence)
        self._seen = _Seen(inventory, _tried_wraps(session, inventory))
        log.info("token %r: %d keys, wraps %s", token.label, len(inventory.keys), sorted(self._seen.wraps))


def refuse_software(module: Module, token: pkcs11.Token) -> None:
    """Raise ``ConfigError`` for a token that is a program."""
    if module.is_software(token):
        raise ConfigError(f"{token.model} {token.label!r} is a software token and is refused in production: use an HSM")


def open_token(realm: Realm, settings: TokenSettings) -> TokenKeystore:
    """Log in and check the token; everything wrong raises ``ConfigError`` with one sentence (a PIN: ``PinError``)."""
    return TokenKeystore(realm, settings)


def checked_pin(read: Callable[[], Secret], realm: Realm) -> Callable[[], Secret]:
    """The reader, after a look at what it reads: production refuses a publicly known PIN."""

    def pin() -> Secret:
        secret = read()
        if realm is Realm.PRODUCTION and secret.passes(known_keys.password_is_public):
            raise ConfigError("the HSM's PIN is a publicly known one and is refused in production: set another")
        return secret

    pin()
    return pin


def _fresh(session: KeySession, message: bytes, wrapping: Wrapping | None) -> tuple[bytes, bytes]:
    """A seed that exists in the token during this call; one that is wrapped must be extractable, never readable."""
    template = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: wrapping is not None}
    seed: Any = session.raw.generate_key(
        KeyType.GENERIC_SECRET, SEED_BYTES * 8, store=False, capabilities=MechanismFlag.SIGN, template=template
    )
    try:
        wrapped = b"" if wrapping is None else _wrapped(session, seed, wrapping)
        return bytes(seed.sign(message, mechanism=Mechanism.SHA256_HMAC)), wrapped
    finally:
        seed.destroy()


def _fresh_here(message: bytes, public_key: bytes, wrapping: Wrapping) -> tuple[Secret, bytes]:
    """The same in this process, for a token that cannot wrap in this way: the seed is never inside the token."""
    key = load_public_key(public_key)
    if not isinstance(key, rsa.RSAPublicKey):
        raise KeyMissing(f"expected an RSA public key {wrapping.label!r} for seed wrapping: correct the SKU file")
    seed = secrets.token_bytes(SEED_BYTES)
    wrapped = key.encrypt(seed, rsa_padding(wrapping.mechanism))
    return Secret(hmac.digest(seed, message, "sha256"), "HMAC under a fresh seed"), wrapped


def _wrapped(session: KeySession, seed: Any, wrapping: Wrapping) -> bytes:
    mechanism, parameter = MECHANISMS[wrapping.mechanism]
    key = session.key(ObjectClass.PUBLIC_KEY, wrapping.label)
    return bytes(key.wrap_key(seed, mechanism=mechanism, mechanism_param=parameter))


def _tried_wraps(session: KeySession, inventory: Inventory) -> frozenset[tuple[str, str]]:
    """Lists of mechanisms do not tell the hashes that OAEP takes: a seed is wrapped once to see."""
    good = set()
    labels = [
        label for (role, label), key in inventory.keys.items() if role == "public" and "RSA" in key.info.algorithm
    ]
    for label in labels:
        for mechanism in MECHANISMS:
            try:
                _fresh(session, b"try", Wrapping(mechanism, label))
            except NOT_OFFERED:
                log.warning(
                    "the token does not wrap with %s under %r: fresh seeds are made in this process", mechanism, label
                )
            else:
                good.add((label, mechanism))
    return frozenset(good)


def publicly_known(session: KeySession, inventory: Inventory) -> list[str]:
    """Keys that anybody can look up: public keys by their id, seeds by what they make of a fixed message."""
    found = []
    for key in inventory.keys.values():
        if key.role == "secret":
            seed = session.key(OBJECT_CLASSES[key.role], key.label)
            public = known_keys.seed_check_is_public(
                bytes(seed.sign(known_keys.SEED_CHECK, mechanism=Mechanism.SHA256_HMAC))
            )
        else:
            loaded = load_der_public_key(key.public_key)
            assert isinstance(loaded, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
            public = known_keys.key_is_public(loaded)
        found += [f"{key.role} key {key.label!r} is publicly known"] if public else []
    return found
