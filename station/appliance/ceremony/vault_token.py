"""The ceremony's keystore in a PKCS#11 token: keys are made inside, come and leave wrapped, and are unwrapped inside.

Seeds go from token to token under an AES key (CKM_AES_KEY_WRAP), that key under RSA-OAEP. A token without the first
mechanism gets its seeds unwrapped in this process; one without OAEP over SHA-256 (SoftHSM 2.6) uses OAEP over SHA-1
for the transport key, and recovers RMA seeds by the bare RSA operation with the padding taken off here.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pkcs11
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from station.appliance.ceremony import keys as names
from station.appliance.ceremony.keys import NewKey, Use
from station.appliance.ceremony.transcript import KeyLine
from station.appliance.ceremony.transfer import digest_of
from station.appliance.ceremony.vault import (
    OAEP,
    OAEP_SHA1,
    OAEP_SHA256,
    Delivery,
    check_value,
    first_way,
    not_for_us,
    oaep,
)
from station.appliance.keystore import SEED_BYTES, KeyInfo, KeyMissing, Role, spki
from station.appliance.keystore_pkcs11 import TokenSettings, checked_pin, publicly_known, refuse_software
from station.appliance.oaep import decode_oaep
from station.appliance.passphrase import reader
from station.appliance.pkcs11_module import Module, describe
from station.appliance.pkcs11_policy import der_signature, digest_to_sign, take_inventory
from station.appliance.pkcs11_pool import KeySession
from station.appliance.pkcs11_provision import (
    Template,
    create_object,
    generate_pair,
    import_public,
    kept_template,
    seed_template,
)
from station.appliance.refused_pin import PinRefused, RefusedPin
from station.errors import ConfigError, FormatError, PinError
from station.model import Realm
from station.secret import Secret

RSA_BITS = 3072
WAYS = {
    OAEP_SHA256: (Mechanism.SHA256, MGF.SHA256, None),
    OAEP_SHA1: (Mechanism.SHA_1, MGF.SHA1, None),
}
_USES: Mapping[Role, tuple[Attribute, ...]] = {
    "public": (Attribute.VERIFY, Attribute.ENCRYPT, Attribute.WRAP),
    "private": (Attribute.SIGN, Attribute.DECRYPT, Attribute.UNWRAP),
    "secret": (
        Attribute.SIGN, Attribute.VERIFY, Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.WRAP, Attribute.UNWRAP,
    ),
}  # fmt: skip
_ROLES: tuple[Role, ...] = ("secret", "private", "public")


class TokenVault:
    """Open it with ``open_token_vault``; ``leaving`` are labels of keys that may be wrapped and taken away."""

    def __init__(self, realm: Realm, session: pkcs11.Session, inside: bool, leaving: Collection[str]) -> None:
        self.realm = realm
        self._session, self._inside, self._leaving = session, inside, leaving
        self._look()

    # ---- the directory, and signing ----------------------------------------------------------------------------

    def labels(self) -> frozenset[str]:
        """Labels of all keys that can be used."""
        others = [label for label in (names.TRANSPORT_KEY, names.RMA_PRIVATE_KEY) if self._found("private", label)]
        others += [names.AES_KEY] if self._found("secret", names.AES_KEY) else []
        return self._inventory.labels() | frozenset(others)

    def missing(self, label: str) -> str:
        """What to do about a label that is not there."""
        return f"expected key {label!r} in the token: do the step that makes it first"

    def public_key(self, label: str) -> bytes:
        """SubjectPublicKeyInfo DER."""
        found = self._inventory.get("private", label) or self._inventory.get("public", label)
        return found.public_key if found is not None else self._rsa_public(label)

    def key_info(self, label: str) -> KeyInfo:
        """Role and algorithm of a key."""
        found = next((key for role in _ROLES if (key := self._inventory.get(role, label))), None)
        if found is None:
            raise KeyMissing(self.missing(label))
        return found.info

    def sign(self, label: str, data: bytes, hash_name: str) -> bytes:
        """ECDSA inside the token over a digest that is made here."""
        key = self._key(ObjectClass.PRIVATE_KEY, label)
        digest = digest_to_sign(data, hash_name, self.key_info(label).algorithm)
        return der_signature(bytes(key.sign(digest, mechanism=Mechanism.ECDSA)))

    def sign_mldsa(self, label: str, data: bytes) -> bytes:
        """Always refused."""
        raise KeyMissing(f"expected a key {label!r} for ML-DSA: the PKCS#11 keystore has no mechanism for it")

    # ---- new keys ----------------------------------------------------------------------------------------------

    def make(self, keys: Sequence[NewKey], resumed: bool) -> None:
        """One after the other, those that are not there."""
        refusal = names.hsm_refusal(keys)
        if refusal:
            raise ConfigError(refusal)
        for key in keys:
            if key.label in self.labels():
                continue
            if resumed:
                self._remove_half(key)
            if self._found("secret", key.label) or self._found("private", key.label):
                raise ConfigError(
                    f"expected no key {key.label!r} in the token, saw one that cannot be used: keys are never "
                    f"overwritten, look at it with the HSM's own tools"
                )
            self._generate(key)
        self._look()

    def add_public(self, label: str, public_key: bytes) -> None:
        """A public key of another machine."""
        known = self._inventory.get("public", label)
        if known is None:
            import_public(self._session, label, public_key)
            self._look()
        elif known.public_key != public_key:
            raise ConfigError(f"expected no other key under {label!r} in the token: keys are never overwritten")

    def line(self, label: str) -> KeyLine:
        """The key as the transcript shows it."""
        if label == names.AES_KEY:
            return KeyLine(label, names.AES, "")
        if self._inventory.get("secret", label) is not None:
            seed = self._key(ObjectClass.SECRET_KEY, label)
            return KeyLine(label, names.HMAC, _check_value(seed))
        if self._inventory.get("private", label) or self._inventory.get("public", label):
            return KeyLine(label, self.key_info(label).algorithm, digest_of(self.public_key(label)))
        return KeyLine(label, names.RSA, digest_of(self.public_key(label)))

    # ---- wrapping ----------------------------------------------------------------------------------------------

    def unwraps(self) -> tuple[str, ...]:
        """Found out by doing it: lists of mechanisms do not name hashes."""
        key = load_der_public_key(self.public_key(names.TRANSPORT_KEY))
        assert isinstance(key, rsa.RSAPublicKey)
        able = []
        for way in OAEP:
            with suppress(pkcs11.PKCS11Error):
                trial = key.encrypt(secrets.token_bytes(SEED_BYTES), oaep(way))
                if self._inside:
                    self._aes(Delivery(way, trial, {})).destroy()
                else:
                    self._decrypted(Delivery(way, trial, {}))
                able.append(way)
        return tuple(able)

    def check_values(self, delivery: Delivery) -> dict[str, str]:
        """As session objects, which are gone afterwards."""
        try:
            if not self._inside:
                return {label: check_value(seed) for label, seed in self._unwrapped_here(delivery).items()}
            aes = self._aes(delivery)
            values = {}
            for label, wrapped in delivery.seeds.items():
                seed = self._unwrapped(aes, wrapped)
                values[label] = _check_value(seed)
                seed.destroy()
            aes.destroy()
        except (pkcs11.PKCS11Error, KeyError):
            raise not_for_us() from None
        return values

    def take(self, delivery: Delivery) -> None:
        """To stay: sensitive, never extractable."""
        wanted = {label: wrapped for label, wrapped in delivery.seeds.items() if label not in self.labels()}
        if self._inside:
            aes = self._aes(delivery)
            for label, wrapped in wanted.items():
                self._unwrapped(aes, wrapped, label)
            aes.destroy()
        else:
            for label, seed in self._unwrapped_here(delivery).items():
                if label in wanted:
                    value: Template = {Attribute.KEY_TYPE: KeyType.GENERIC_SECRET, Attribute.VALUE: seed}
                    create_object(self._session, "secret", label, {**value, **seed_template(), **kept_template()})
        self._look()

    def wrap(self, recipient: bytes, ways: Sequence[str]) -> Delivery:
        """Inside the token; nothing else can read the seeds."""
        aes, public = self._key(ObjectClass.SECRET_KEY, names.AES_KEY), self._recipient(recipient)
        wrapped = {}
        for way in (way for way in ways if way in WAYS):
            with suppress(pkcs11.PKCS11Error):
                wrapped[way] = bytes(public.wrap_key(aes, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=WAYS[way]))
                break
        public.destroy()
        way = first_way(ways, tuple(wrapped))
        try:
            seeds = {
                label: bytes(aes.wrap_key(self._key(ObjectClass.SECRET_KEY, label), mechanism=Mechanism.AES_KEY_WRAP))
                for label in names.SEEDS
            }
        except (pkcs11.MechanismInvalid, pkcs11.FunctionNotSupported):
            raise ConfigError("expected a token with CKM_AES_KEY_WRAP: use another HSM") from None
        return Delivery(way, wrapped[way], seeds)

    def recover(self, wrapped_seed: bytes, mechanism: str) -> Secret:
        """RSA inside the token; the padding too, when the token knows it."""
        key = self._key(ObjectClass.PRIVATE_KEY, names.RMA_PRIVATE_KEY)
        seed = b""
        with suppress(pkcs11.PKCS11Error, FormatError):
            seed = _pkcs1(key, wrapped_seed) if mechanism == "RsaPkcs" else _oaep(key, wrapped_seed)
        if len(seed) != SEED_BYTES:
            raise FormatError("expected a seed wrapped for these keys, saw another: use the keys of its SKU")
        return Secret(seed, "RMA seed")

    def open_second_layer(self, sealed: bytes) -> bytes:
        """Always refused."""
        raise KeyMissing("expected HPKE keys for the second layer: the PKCS#11 keystore has no mechanism for them")

    # ---- inside ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._keys = KeySession(self._session)
        self._inventory = take_inventory(self._session, self._leaving)
        refused = [*self._inventory.refused]
        if self.realm is Realm.PRODUCTION:
            refused += publicly_known(self._keys, self._inventory)
            if refused:
                raise ConfigError(f"the token is refused in production: {'; '.join(refused)}")

    def _key(self, kind: ObjectClass, label: str) -> Any:
        try:
            return self._keys.key(kind, label)
        except pkcs11.NoSuchKey:
            raise KeyMissing(self.missing(label)) from None

    def _found(self, role: Role, label: str) -> bool:
        kinds = {"secret": ObjectClass.SECRET_KEY, "private": ObjectClass.PRIVATE_KEY, "public": ObjectClass.PUBLIC_KEY}
        wanted = {Attribute.CLASS: kinds[role], Attribute.LABEL: label, Attribute.TOKEN: True}
        return bool(list(self._session.get_objects(wanted)))

    def _rsa_public(self, label: str) -> bytes:
        if not self._found("private", label):
            raise KeyMissing(self.missing(label))
        key = self._key(ObjectClass.PRIVATE_KEY, label)
        e, n = (int.from_bytes(key[name], "big") for name in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
        return spki(rsa.RSAPublicNumbers(e, n).public_key())

    def _generate(self, key: NewKey) -> None:
        leaves = {**kept_template(), Attribute.EXTRACTABLE: key.leaves}
        if key.use is Use.SEED:
            template = {**seed_template(), **leaves}
            self._session.generate_key(
                KeyType.GENERIC_SECRET, SEED_BYTES * 8, label=key.label, store=True, template=template
            )
        elif key.use is Use.WRAP:
            template = {**_only("secret", Attribute.WRAP), **leaves}
            self._session.generate_key(KeyType.AES, 256, label=key.label, store=True, template=template)
        elif key.use is Use.SIGN:
            generate_pair(self._session, key.label, key.algorithm)
        else:
            uses = [Attribute.DECRYPT] if key.use is Use.RECOVER or not self._inside else [Attribute.UNWRAP]
            self._generate_rsa(key.label, uses)

    def _generate_rsa(self, label: str, uses: Sequence[Attribute]) -> None:
        """The public half is in the private key's attributes: it is no object of the token."""
        self._session.generate_keypair(
            KeyType.RSA,
            RSA_BITS,
            store=True,
            public_template={Attribute.TOKEN: False, **_only("public")},
            private_template={Attribute.LABEL: label, **_only("private", *uses), **kept_template()},
        )

    def _remove_half(self, key: NewKey) -> None:
        """A public half that a killed call left behind: nobody has ever seen it."""
        if key.use is not Use.SIGN or self._found("private", key.label):
            return
        label = names.public_label(key.label)
        for half in list(self._session.get_objects(
            {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label, Attribute.TOKEN: True}
        )):  # fmt: skip
            half.destroy()

    def _recipient(self, public_key: bytes) -> Any:
        key = load_der_public_key(public_key)
        assert isinstance(key, rsa.RSAPublicKey)
        numbers = key.public_numbers()
        return self._session.create_object(
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.KEY_TYPE: KeyType.RSA,
                Attribute.TOKEN: False,
                Attribute.MODULUS: numbers.n.to_bytes(RSA_BITS // 8, "big"),
                Attribute.PUBLIC_EXPONENT: numbers.e.to_bytes(3, "big"),
                Attribute.WRAP: True,
            }
        )

    def _aes(self, delivery: Delivery) -> Any:
        transport = self._key(ObjectClass.PRIVATE_KEY, names.TRANSPORT_KEY)
        return transport.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            delivery.aes_key,
            mechanism=Mechanism.RSA_PKCS_OAEP,
            mechanism_param=WAYS[delivery.mechanism],
            store=False,
            template={**_only("secret", Attribute.UNWRAP), **kept_template()},
        )

    def _unwrapped(self, aes: Any, wrapped: bytes, label: str | None = None) -> Any:
        return aes.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.GENERIC_SECRET,
            wrapped,
            label=label,
            mechanism=Mechanism.AES_KEY_WRAP,
            store=label is not None,
            template={**seed_template(), **kept_template()},
        )

    def _decrypted(self, delivery: Delivery) -> bytes:
        transport = self._key(ObjectClass.PRIVATE_KEY, names.TRANSPORT_KEY)
        way = WAYS[delivery.mechanism]
        return bytes(transport.decrypt(delivery.aes_key, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=way))

    def _unwrapped_here(self, delivery: Delivery) -> dict[str, bytes]:
        """In this process, for a token that cannot unwrap with AES."""
        try:
            aes = self._decrypted(delivery)
            seeds = {label: keywrap.aes_key_unwrap(aes, wrapped) for label, wrapped in delivery.seeds.items()}
        except (keywrap.InvalidUnwrap, ValueError):
            raise not_for_us() from None
        if any(len(seed) != SEED_BYTES for seed in seeds.values()):
            raise not_for_us()
        return seeds


@contextmanager
def open_token_vault(settings: TokenSettings, realm: Realm, leaving: Collection[str]) -> Iterator[TokenVault]:
    """Log in for writing; everything wrong raises ``ConfigError`` with one sentence, a refused PIN ``PinError``."""
    pin = checked_pin(reader(settings.pin, "HSM PIN"), realm)
    module = Module(settings.module)
    try:
        token = module.find(settings.choice)
        if realm is Realm.PRODUCTION:
            refuse_software(module, token)
        session = _logged_in(token, pin(), RefusedPin(settings.refused_pin))
        yield TokenVault(realm, session, _unwraps_aes(token), leaving)
    except PinRefused as refused:
        raise PinError(f"{settings.choice}: {refused}") from None
    except pkcs11.PKCS11Error as error:
        raise ConfigError(f"{settings.choice}: {describe(error)}") from None
    finally:
        module.close()


def _logged_in(token: pkcs11.Token, pin: Secret, refused: RefusedPin) -> pkcs11.Session:
    """A PIN that the token refused is not sent again, by a repeated step or by ``serve``: some more tries lock it."""
    with refused.around_login(token.serial, pin), pin.reveal() as raw:
        return token.open(rw=True, user_pin=raw.decode("utf-8", "replace"))


def _unwraps_aes(token: pkcs11.Token) -> bool:
    slot = token.slot
    if Mechanism.AES_KEY_WRAP not in slot.get_mechanisms():
        return False
    return bool(slot.get_mechanism_info(Mechanism.AES_KEY_WRAP).flags & MechanismFlag.UNWRAP)


def _only(role: Role, *uses: Attribute) -> Template:
    return {use: use in uses for use in _USES[role]}


def _check_value(seed: Any) -> str:
    mac = bytes(seed.sign(names.CHECK_TEXT, mechanism=Mechanism.SHA256_HMAC))
    return mac[: names.CHECK_BYTES].hex()


def _pkcs1(key: Any, wrapped: bytes) -> bytes:
    return bytes(key.decrypt(wrapped, mechanism=Mechanism.RSA_PKCS))


def _oaep(key: Any, wrapped: bytes) -> bytes:
    try:
        return bytes(key.decrypt(wrapped, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=WAYS[OAEP_SHA256]))
    except pkcs11.PKCS11Error:
        return decode_oaep(bytes(key.decrypt(wrapped, mechanism=Mechanism.RSA_X_509)))
