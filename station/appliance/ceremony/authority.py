"""CA certificates of a ceremony: requests, what a root may sign, roots and intermediates, and the check of both.

Source: opentitan-appliance sheet 4.2. Everything is signed by the keystore that has the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import NameOID

from station.appliance import known_keys
from station.appliance.ceremony.transcript import CertificateLine
from station.appliance.ceremony.transfer import digest_of
from station.appliance.certificates import (
    CA_DAYS,
    DICE_CA_NAME,
    Issued,
    SigningPublicKey,
    authority_of,
    ca_extensions,
    issue_ca,
    self_signed_ca,
    signature_hash,
)
from station.appliance.chains import verify_ca
from station.appliance.keystore import MldsaPublicKey, Signing, algorithm_of, spki
from station.appliance.keystore_signer import signer
from station.appliance.sku_templates import CAS, private_label
from station.errors import ConfigError, FormatError, nearest
from station.formats.dice import verify_chain
from station.model import Realm

Subjects = Mapping[str, x509.Name]
ROOT_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "IL"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Nuvoton Technology Corporation"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Nuvoton Technology OpenTitan Root CA"),
    ]
)
"""Subject of the roots when no other is given."""


def parse_subjects(texts: Sequence[str]) -> dict[str, x509.Name]:
    """``LABEL=NAME`` each, the name as RFC 4514 writes it: the common name first, the country last."""
    found = {}
    for text in texts:
        label, equals, name = text.partition("=")
        if not equals or label not in CAS:
            raise ConfigError(
                f"expected LABEL=NAME with the label of a CA, saw {text[:120]!r}{nearest(label, CAS)}: write such as "
                f"opentitan-ca-root-v0=CN=Example Root CA,O=Example,C=DE"
            )
        try:
            found[label] = x509.Name.from_rfc4514_string(name)
        except ValueError:
            raise ConfigError(f"expected a name such as CN=Root CA,O=Example,C=DE, saw {name[:120]!r}") from None
        if not found[label].rdns:
            raise ConfigError(f"expected a name for {label}, saw an empty one")
    return found


def subject_of(label: str, subjects: Subjects) -> x509.Name:
    """The name of a CA: as given, else that of the table."""
    return subjects.get(label, DICE_CA_NAME if CAS[label].root else ROOT_NAME)


def make_request(keystore: Signing, label: str, subject: x509.Name) -> bytes:
    """A request (PKCS#10 DER) for an intermediate CA, signed with its key."""
    return sign_request(signer(keystore, private_label(label)), subject)


def sign_request(key: ec.EllipticCurvePrivateKey | object, subject: x509.Name) -> bytes:
    """A request (PKCS#10 DER) with nothing but a name and a key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    hash_ = signature_hash(key) if isinstance(key, ec.EllipticCurvePrivateKey) else None
    return builder.sign(key, hash_).public_bytes(Encoding.DER)  # type: ignore[arg-type]  # its own kinds of key


def read_request(der: bytes, label: str) -> x509.CertificateSigningRequest:
    """A request whose signature proves that its maker has the key."""
    try:
        request = x509.load_der_x509_csr(der)
        good = request.is_signature_valid
    except (ValueError, TypeError):
        raise ConfigError(f"expected a request (PKCS#10) for {label}, saw other bytes: make it again") from None
    if not good:
        raise ConfigError(f"expected a request for {label} that is signed with its key, saw a wrong signature")
    return request


def checked_request(der: bytes, label: str, subjects: Subjects, realm: Realm) -> x509.CertificateSigningRequest:
    """A request for an intermediate CA, when the policy lets a root sign it."""
    request = read_request(der, label)
    subject, key = subject_of(label, subjects), signing_key(request.public_key(), label)
    algorithm = algorithm_of(spki(key))
    if algorithm != CAS[label].algorithm:
        raise ConfigError(f"expected a request for {label} with a key of {CAS[label].algorithm}, saw {algorithm}")
    if request.subject != subject:
        raise ConfigError(
            f"expected a request for {label} of the subject {subject.rfc4514_string()}, saw "
            f"{request.subject.rfc4514_string()[:200]}: give --subject on both machines"
        )
    if list(request.extensions) or list(request.attributes):
        raise ConfigError(f"expected a request for {label} with a name and a key only: the root decides the rest")
    if realm is Realm.PRODUCTION and known_keys.key_is_public(key):
        raise ConfigError(f"the key of the request for {label} is publicly known and is refused in production")
    return request


def make_root(keystore: Signing, label: str, subject: x509.Name, realm: Realm) -> bytes:
    """The certificate of a root CA, DER."""
    key = signer(keystore, private_label(label))
    return self_signed_ca(subject, key, realm, CAS[label].profile).public_bytes(Encoding.DER)


def issue(keystore: Signing, label: str, root: bytes, request: x509.CertificateSigningRequest, realm: Realm) -> bytes:
    """The certificate of an intermediate CA, DER; the request must have been checked."""
    above = Issued(x509.load_der_x509_certificate(root), signer(keystore, private_label(CAS[label].root)))
    key = signing_key(request.public_key(), label)
    return issue_ca(request.subject, key, above, realm, CAS[label].profile).public_bytes(Encoding.DER)


def check_ca(der: bytes, label: str, root: bytes, realm: Realm) -> x509.Certificate:
    """The certificate of a CA, when it is exactly as its profile says and is valid below ``root`` (itself for a root).

    Compared are all extensions with their criticality, the length of its life, the algorithm and the realm's mark.
    """
    try:
        certificate, above = x509.load_der_x509_certificate(der), x509.load_der_x509_certificate(root)
        if CAS[label].root:
            verify_ca(root, der, datetime.now(UTC))
        else:
            verify_chain([der], datetime.now(UTC))
    except (ValueError, FormatError) as error:
        raise ConfigError(f"expected the certificate of {label}, valid below its root: {error}") from None
    key, profile = signing_key(certificate.public_key(), label), CAS[label].profile
    authority = authority_of(signing_key(above.public_key(), label), above.issuer, above.serial_number, profile)
    wanted = {(e.oid, critical, e.public_bytes()) for e, critical in ca_extensions(key, authority, realm, profile)}
    seen = {(e.oid, e.critical, e.value.public_bytes()) for e in certificate.extensions}
    if algorithm_of(spki(key)) != CAS[label].algorithm or seen != wanted:
        odd = sorted(oid.dotted_string for oid in {entry[0] for entry in seen ^ wanted})
        raise ConfigError(
            f"expected the certificate of {label} as its profile and realm {realm} say, saw a difference "
            f"({', '.join(odd) or 'algorithm'}): have it issued again"
        )
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if life != timedelta(days=CA_DAYS):
        raise ConfigError(f"expected a certificate of {label} for {CA_DAYS} days, saw {life.days}: issue it again")
    return certificate


def certificate_line(label: str, der: bytes) -> CertificateLine:
    """A certificate as the transcript shows it."""
    certificate = x509.load_der_x509_certificate(der)
    until = certificate.not_valid_after_utc.date().isoformat()
    subject = certificate.subject.rfc4514_string()
    return CertificateLine(label, subject, f"{certificate.serial_number:x}", until, digest_of(der))


def check_rsa(public_key: bytes, label: str, realm: Realm) -> None:
    """Refuse anything but an RSA key of 3072 bits with exponent 65537 (SPKI DER)."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        key = load_der_public_key(public_key)
    except ValueError:
        key = None
    if not isinstance(key, rsa.RSAPublicKey) or (key.key_size, key.public_numbers().e) != (3072, 65537):
        raise ConfigError(f"expected an RSA key of 3072 bits with exponent 65537 as {label}, saw another one")
    if realm is Realm.PRODUCTION and known_keys.key_is_public(key):
        raise ConfigError(f"the key {label} is publicly known and is refused in production")


def signing_key(key: object, label: str) -> SigningPublicKey:
    """A key that a CA may have."""
    if not isinstance(key, ec.EllipticCurvePublicKey | MldsaPublicKey):
        raise ConfigError(f"expected an elliptic-curve or ML-DSA key for {label}, saw another kind")
    return key


def is_name(text: str) -> bool:
    """True for the name of a TLS endpoint."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", text) is not None
