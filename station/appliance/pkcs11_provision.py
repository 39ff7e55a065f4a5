"""Fill a PKCS#11 token: a private SoftHSM for development and tests, keys made inside a token, keys imported into it.

All keys get the attributes of the policy table (sheet 3.2); a label that is taken is refused, nothing is overwritten.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from pkcs11 import Attribute, KeyType, ObjectClass

from station.appliance.files import write_private
from station.appliance.keystore import CURVES as CURVE_NAMES
from station.appliance.keystore import SEED_BYTES, KeyMaterial, Role, unseal
from station.appliance.keystore_pkcs11 import TokenSettings
from station.appliance.passphrase import read_secret
from station.appliance.pkcs11_module import Module, TokenChoice, describe
from station.appliance.pkcs11_policy import CURVES, OBJECT_CLASSES, take_inventory
from station.appliance.settings import FILE, read_settings
from station.appliance.softhsm import softhsm, write_softhsm_config
from station.errors import ConfigError
from station.model import Realm
from station.secret import Secret

TOKEN = "spm-hsm"
SOFTHSM_FOLDER = "softhsm"
"""Of a private SoftHSM, in the appliance folder."""

Template = dict[Attribute, object]
_SETTINGS = """\
keystore_kind = "pkcs11"  # the keys are in a token of a SoftHSM of this folder
module = "{module}"
token = "{label}"
softhsm = "{softhsm}"
"""


def init_token(module: str, label: str, so_pin: Secret, pin: Secret) -> None:
    """Make a token in a free slot and set its PIN; no PIN appears on a command line."""
    if any(token_label == label for token_label in _labels_of(module)):
        raise ConfigError(f"expected no token {label!r}: it is never overwritten, choose another label")
    with _started(module) as started, so_pin.reveal() as so_raw, pin.reveal() as raw:
        started.init_token(label, so_raw)
        session = started.find(TokenChoice(label)).open(rw=True, so_pin=so_raw.decode())
        session.init_pin(raw.decode())
        session.close()


def provision_folder(folder: Path, module: str, label: str = TOKEN) -> tuple[Path, tuple[str, ...]]:
    """Bring the keys of a development appliance into a SoftHSM of its own and make its settings name the token.

    Returns the SoftHSM's configuration file and the labels that stay out (ML-DSA). When none does, the sealed file and
    its passphrase are removed: the token is the only place of the keys from then on.
    """
    settings = read_settings(folder)
    if settings.realm is not Realm.DEV:
        raise ConfigError("expected an appliance of realm dev: in production keys are made inside an HSM")
    material = unseal(settings.keys.file, read_secret(settings.keys.passphrase, "keystore passphrase"), settings.realm)
    out = tuple(sorted(name for name, der in material.private.items() if not _is_elliptic(der)))
    kept = {name: der for name, der in material.private.items() if name not in out}
    config = write_softhsm_config(folder / SOFTHSM_FOLDER)
    pin = Secret(secrets.token_hex(16).encode(), "HSM PIN")
    with pin.reveal() as raw:
        write_private(folder / "keystore.pin", raw + b"\n")
    with softhsm(config):
        init_token(module, label, Secret(secrets.token_hex(16).encode(), "SO PIN"), pin)
        token = TokenSettings(module, TokenChoice(label), settings.keys.pin, settings.keys.refused_pin)
        import_keys(token, KeyMaterial(material.secret, kept, material.public))
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(_SETTINGS.format(module=module, label=label, softhsm=SOFTHSM_FOLDER))
    if not out:
        settings.keys.file.unlink()
        if settings.keys.passphrase.kind == "file":
            Path(settings.keys.passphrase.value).unlink()
    return config, out


def generate_keys(settings: TokenSettings, seeds: Sequence[str], signers: Mapping[str, str]) -> dict[str, bytes]:
    """Make seeds and EC key pairs (label: ``P-256`` and such) inside the token; SPKI DER of the pairs by label."""
    with _writing(settings, [*seeds, *signers]) as session:
        for label in seeds:
            session.generate_key(
                KeyType.GENERIC_SECRET,
                SEED_BYTES * 8,
                label=label,
                store=True,
                template={**seed_template(), **kept_template()},
            )
        for label, curve in signers.items():
            generate_pair(session, label, curve)
        inventory = take_inventory(session)
    return {label: inventory.keys["private", label].public_key for label in signers}


def import_keys(settings: TokenSettings, material: KeyMaterial) -> None:
    """Bring the keys of a software keystore into the token; for development and tests: they were outside it once."""
    private = {label: _ec_private(label, der) for label, der in material.private.items()}
    with _writing(settings, [*material.secret, *private, *material.public]) as session:
        for label, raw in material.secret.items():
            template = {Attribute.KEY_TYPE: KeyType.GENERIC_SECRET, Attribute.VALUE: raw}
            create_object(session, "secret", label, {**template, **seed_template(), **kept_template()})
        for label, key in private.items():
            _import_pair(session, label, key)
        for label, der in material.public.items():
            import_public(session, label, der)


def generate_pair(session: pkcs11.Session, label: str, curve: str) -> None:
    """An EC key pair inside the token; the public half, under ``.pub``, is stored too."""
    names = {CURVE_NAMES[found.name]: parameters for parameters, found in CURVES.items()}
    parameters = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: names[curve]}, local=True)
    parameters.generate_keypair(
        id=secrets.token_bytes(16),
        store=True,
        public_template={Attribute.LABEL: _public_label(label), **_verifier()},
        private_template={Attribute.LABEL: label, **signer_template(), **kept_template()},
    )


def _import_pair(session: pkcs11.Session, label: str, key: ec.EllipticCurvePrivateKey) -> None:
    size = (key.curve.key_size + 7) // 8
    value = key.private_numbers().private_value.to_bytes(size, "big")
    both: Template = {Attribute.ID: secrets.token_bytes(16), **_ec_parameters(key.curve)}
    create_object(session, "private", label, {**both, Attribute.VALUE: value, **signer_template(), **kept_template()})
    create_object(session, "public", _public_label(label), {**both, **_ec_point(key.public_key()), **_verifier()})


def import_public(session: pkcs11.Session, label: str, der: bytes) -> None:
    """A public key from outside."""
    key = load_der_public_key(der)
    if isinstance(key, ec.EllipticCurvePublicKey):
        template: Template = {**_ec_parameters(key.curve), **_ec_point(key), **_verifier()}
    elif isinstance(key, rsa.RSAPublicKey):
        template = {
            Attribute.KEY_TYPE: KeyType.RSA,
            Attribute.MODULUS: _big(key.public_numbers().n),
            Attribute.PUBLIC_EXPONENT: _big(key.public_numbers().e),
            Attribute.WRAP: True,
            Attribute.ENCRYPT: True,
            Attribute.VERIFY: False,
        }
    else:
        raise ConfigError(f"expected an RSA or elliptic-curve public key {label!r}: a token holds no other kind here")
    create_object(session, "public", label, template)


def create_object(session: pkcs11.Session, role: Role, label: str, template: Template) -> None:
    """An object of the token from its attributes."""
    number = OBJECT_CLASSES[role]
    session.create_object({Attribute.CLASS: number, Attribute.TOKEN: True, Attribute.LABEL: label, **template})


def kept_template() -> Template:
    """Attributes of a key that stays in the token."""
    return {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


def seed_template() -> Template:
    """Attributes of a seed: what it may be used for (sheet 3.2)."""
    others = (Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.WRAP, Attribute.UNWRAP, Attribute.VERIFY)
    return {Attribute.SIGN: True, Attribute.DERIVE: True, **dict.fromkeys(others, False)}


def signer_template() -> Template:
    """Attributes of a signing key: what it may be used for."""
    return {Attribute.SIGN: True, **dict.fromkeys((Attribute.DECRYPT, Attribute.UNWRAP, Attribute.DERIVE), False)}


def _verifier() -> Template:
    return {Attribute.VERIFY: True, **dict.fromkeys((Attribute.ENCRYPT, Attribute.WRAP), False)}


def _ec_parameters(curve: ec.EllipticCurve) -> Template:
    parameters = next(parameters for parameters, found in CURVES.items() if found.name == curve.name)
    return {Attribute.KEY_TYPE: KeyType.EC, Attribute.EC_PARAMS: parameters}


def _ec_point(key: ec.EllipticCurvePublicKey) -> Template:
    size = (key.curve.key_size + 7) // 8
    numbers = key.public_numbers()
    point = b"\x04" + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")
    length = bytes((len(point),)) if len(point) < 0x80 else bytes((0x81, len(point)))
    return {Attribute.EC_POINT: b"\x04" + length + point}  # as a DER OCTET STRING


def _is_elliptic(der: bytes) -> bool:
    return isinstance(load_der_private_key(der, None), ec.EllipticCurvePrivateKey)


def _ec_private(label: str, der: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(der, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(
            f"expected an elliptic-curve private key {label!r}: the PKCS#11 keystore has no mechanism for ML-DSA, "
            f"use the software keystore for this SKU"
        )
    return key


def _public_label(label: str) -> str:
    return f"{label.removesuffix('.priv')}.pub"


def _big(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _labels_of(module: str) -> list[str]:
    with _started(module) as started:
        return started.labels()


@contextmanager
def _started(module: str) -> Iterator[Module]:
    started = Module(module)
    try:
        yield started
    except pkcs11.PKCS11Error as error:
        raise ConfigError(f"{module}: {describe(error)}") from None
    finally:
        started.close()


@contextmanager
def _writing(settings: TokenSettings, labels: Sequence[str]) -> Iterator[pkcs11.Session]:
    pin = read_secret(settings.pin, "HSM PIN")
    with _started(settings.module) as module, pin.reveal() as raw:
        session = module.find(settings.choice).open(rw=True, user_pin=raw.decode())
        stored = {found[Attribute.LABEL] for found in _keys(session)}
        taken = sorted(stored & set(labels))
        if taken:
            raise ConfigError(f"expected no key {', '.join(taken)} in the token: keys are never overwritten")
        yield session


def _keys(session: pkcs11.Session) -> list[pkcs11.Object]:
    numbers = (ObjectClass.SECRET_KEY, ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
    return [
        item for number in numbers for item in session.get_objects({Attribute.CLASS: number, Attribute.TOKEN: True})
    ]
