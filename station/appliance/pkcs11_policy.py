"""What a token holds, and whether its keys are kept as the policy table asks (opentitan-appliance sheet 3.2)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from station.appliance.keystore import KeyInfo, Role, algorithm_of, spki

CURVES: Mapping[bytes, ec.EllipticCurve] = {
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1(),
    bytes.fromhex("06052b81040022"): ec.SECP384R1(),
    bytes.fromhex("06052b81040023"): ec.SECP521R1(),
}
"""DER object identifiers (CKA_EC_PARAMS) of the curves that are served."""

CLASSES: Mapping[ObjectClass, Role] = {
    ObjectClass.SECRET_KEY: "secret",
    ObjectClass.PRIVATE_KEY: "private",
    ObjectClass.PUBLIC_KEY: "public",
}
OBJECT_CLASSES: Mapping[Role, ObjectClass] = {role: number for number, role in CLASSES.items()}
SEED, SIGNER, WRAPPER = "seed", "signing key", "wrapping key"
USES: Mapping[tuple[Role, KeyType], str] = {
    ("secret", KeyType.GENERIC_SECRET): SEED,
    ("secret", KeyType.SHA256_HMAC): SEED,
    ("private", KeyType.EC): SIGNER,
    ("public", KeyType.RSA): WRAPPER,
}
ALLOWED: Mapping[str, frozenset[Attribute]] = {
    SEED: frozenset({Attribute.SIGN, Attribute.DERIVE, Attribute.VERIFY}),
    SIGNER: frozenset({Attribute.SIGN}),
    WRAPPER: frozenset({Attribute.WRAP, Attribute.ENCRYPT}),
}
"""What a key may be used for; all of it is expected except VERIFY, which adds nothing to SIGN of a MAC."""

USAGE = (
    Attribute.SIGN, Attribute.VERIFY, Attribute.DERIVE, Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.WRAP,
    Attribute.UNWRAP,
)  # fmt: skip
ASKED = (
    Attribute.LABEL, Attribute.ID, Attribute.KEY_TYPE, Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.EC_PARAMS,
    Attribute.EC_POINT, Attribute.MODULUS, Attribute.PUBLIC_EXPONENT, *USAGE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key of the token; ``public_key`` is SPKI DER, empty for a secret key."""

    role: Role
    label: str
    info: KeyInfo
    public_key: bytes = b""


@dataclass(slots=True)
class Inventory:
    """Usable keys by role and label, and sentences: ``refused`` stops realm production, ``remarks`` stop nothing."""

    keys: dict[tuple[Role, str], TokenKey] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def labels(self) -> frozenset[str]:
        """Labels of the usable keys."""
        return frozenset(label for _, label in self.keys)

    def get(self, role: Role, label: str) -> TokenKey | None:
        """A usable key."""
        return self.keys.get((role, label))


@dataclass(frozen=True, slots=True)
class _Found:
    role: Role
    attributes: Mapping[Attribute, Any]

    @property
    def label(self) -> str:
        return str(self.attributes.get(Attribute.LABEL, ""))

    @property
    def use(self) -> str:
        return USES.get((self.role, self.attributes[Attribute.KEY_TYPE]), "")

    def allows(self, attribute: Attribute) -> bool:
        return bool(self.attributes.get(attribute, False))


def take_inventory(session: pkcs11.Session, leaving: Collection[str] = ()) -> Inventory:
    """Read all keys that are stored in the token; key pairs are proved to belong together.

    ``leaving`` are labels of keys that may be wrapped and taken away, as on the offline machine of a ceremony.
    """
    found = list(_found(session))
    inventory = Inventory()
    for key in found:
        if key.role != "public":
            inventory.refused += _exposed(key, key.label in leaving)
        inventory.remarks += _odd_usage(key)
    publics = [key for key in found if key.role == "public"]
    for key in found:
        entry = _entry(session, key, publics)
        if isinstance(entry, str):
            inventory.remarks += [entry] if entry else []
        elif (entry.role, entry.label) in inventory.keys or _doubled(key, found):
            inventory.remarks.append(
                f"{key.role} key {key.label!r} is there more than once and is not used: remove one"
            )
        else:
            inventory.keys[entry.role, entry.label] = entry
    return inventory


def _found(session: pkcs11.Session) -> Iterator[_Found]:
    for number, role in CLASSES.items():
        for item in list(session.get_objects({Attribute.CLASS: number, Attribute.TOKEN: True})):
            try:
                attributes = item.get_attributes(list(ASKED))
            except ValueError:  # a vendor's own key type, or a label that is no text
                continue
            if Attribute.KEY_TYPE in attributes:
                yield _Found(role, attributes)


def _exposed(key: _Found, leaves: bool) -> list[str]:
    wrong = ["can be extracted"] if key.attributes.get(Attribute.EXTRACTABLE, True) and not leaves else []
    wrong += [] if key.allows(Attribute.SENSITIVE) else ["is not sensitive"]
    return [f"{key.role} key {key.label!r} {' and '.join(wrong)}"] if wrong else []


def _odd_usage(key: _Found) -> list[str]:
    if not key.use:
        return []
    allowed = ALLOWED[key.use]
    missing = [a.name for a in USAGE if a in allowed and a is not Attribute.VERIFY and not key.allows(a)]
    extra = [a.name for a in USAGE if a not in allowed and key.allows(a)]
    said = [f"lacks {', '.join(missing)}"] if missing else []
    said += [f"may also {', '.join(extra)}"] if extra else []
    return [f"{key.use} {key.label!r} {' and '.join(said)}"] if said else []


def _doubled(key: _Found, found: list[_Found]) -> bool:
    return sum(other.role == key.role and other.label == key.label for other in found) > 1


def _entry(session: pkcs11.Session, key: _Found, publics: list[_Found]) -> TokenKey | str:
    """The usable key, or why it is not used (nothing for keys of others)."""
    if not key.label:
        return ""
    if key.use == SEED:
        return TokenKey("secret", key.label, KeyInfo("secret", "HMAC")) if key.allows(Attribute.SIGN) else ""
    if key.role == "public":
        own = _spki(key)
        return TokenKey("public", key.label, KeyInfo("public", algorithm_of(own)), own) if own else ""
    return _pair(session, key, publics) if key.use == SIGNER and key.allows(Attribute.SIGN) else ""


def _pair(session: pkcs11.Session, key: _Found, publics: list[_Found]) -> TokenKey | str:
    for other in publics:
        public_key = _spki(other) if _belongs(key, other) else b""
        if public_key and _fits(session, key.label, public_key):
            return TokenKey("private", key.label, KeyInfo("private", algorithm_of(public_key)), public_key)
    return f"private key {key.label!r} has no public half in the token and is not used: import it with the same CKA_ID"


def _belongs(key: _Found, other: _Found) -> bool:
    """Same CKA_ID; or same label, ``.priv`` and ``.pub`` taken off."""
    identity = key.attributes.get(Attribute.ID, b"")
    same = bool(identity) and identity == other.attributes.get(Attribute.ID, b"")
    return same or key.label.removesuffix(".priv") == other.label.removesuffix(".pub")


def _fits(session: pkcs11.Session, label: str, public_key: bytes) -> bool:
    public = load_der_public_key(public_key)
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return False
    digest = hashlib.sha256(secrets.token_bytes(32)).digest()
    try:
        private: Any = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
        signature = der_signature(private.sign(digest, mechanism=Mechanism.ECDSA))
        public.verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except (InvalidSignature, pkcs11.MultipleObjectsReturned):
        return False
    return True


def digest_to_sign(data: bytes, hash_name: str, algorithm: str) -> bytes:
    """The digest for CKM_ECDSA with a key of ``algorithm`` (``P-256`` and such); some tokens refuse a longer one."""
    bits = int(algorithm.removeprefix("P-"))
    return hashlib.new(hash_name.lower(), data).digest()[: (bits + 7) // 8]


def der_signature(raw: bytes) -> bytes:
    """PKCS#11 gives r and s side by side; the wire wants their DER SEQUENCE."""
    half = len(raw) // 2
    return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def _spki(key: _Found) -> bytes:
    """SubjectPublicKeyInfo DER of a public key; empty for a kind that is not served."""
    try:
        if key.attributes[Attribute.KEY_TYPE] is KeyType.RSA:
            e, n = key.attributes[Attribute.PUBLIC_EXPONENT], key.attributes[Attribute.MODULUS]
            return spki(rsa.RSAPublicNumbers(int.from_bytes(e, "big"), int.from_bytes(n, "big")).public_key())
        if key.attributes[Attribute.KEY_TYPE] is KeyType.EC:
            return _ec_spki(key.attributes[Attribute.EC_PARAMS], key.attributes[Attribute.EC_POINT])
    except (KeyError, ValueError):
        pass
    return b""


def _ec_spki(parameters: bytes, point: bytes) -> bytes:
    """The point is a DER OCTET STRING; some tokens give it bare."""
    curve = CURVES[parameters]
    length = 1 + 2 * ((curve.key_size + 7) // 8)
    return spki(ec.EllipticCurvePublicKey.from_encoded_point(curve, point[-length:]))
