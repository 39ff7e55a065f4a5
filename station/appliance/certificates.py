"""Building blocks of a PKI: keys, CA certificates and TLS certificates with their profiles.

Source: opentitan-appliance sheet 2.5 (TLS profiles) and 4.2 (CA profiles). TLS keys are P-256 instead of RSA-4096:
the profile fixes usages and names, not the algorithm. Hence without keyEncipherment, which is for RSA keys (RFC 8813).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, mlkem, rsa, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from station.appliance.keystore import MldsaPublicKey, PrivateKey
from station.errors import ConfigError
from station.model import Realm

ORGANISATION = "Provisioning Station"
NETSCAPE_COMMENT = x509.ObjectIdentifier("2.16.840.1.113730.1.13")
CA_DAYS = 7300
"""How long a CA certificate is valid, from its first second to its last."""
ENDPOINT_DAYS = 825
EARLIER_DAYS = 1
"""Certificates are valid from the day before, as clocks differ."""
SigningPublicKey = ec.EllipticCurvePublicKey | MldsaPublicKey
Extension = tuple[x509.ExtensionType, bool]
"""With its criticality."""

# Firmware carries this issuer name in its certificate template; a CA of another name cannot issue its certificates.
DICE_CA_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Google"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Google Engineering ICA"),
    ]
)


@dataclass(frozen=True, slots=True)
class CaProfile:
    """What the extensions of a CA certificate say; source: opentitan-appliance sheet 4.2."""

    path_length: int | None = None
    certificates_only: bool = False
    """Critical key usage with nothing but keyCertSign; else also digitalSignature and cRLSign, not critical."""
    names_issuer: bool = False
    """The authority key identifier carries the issuer's name and serial number too."""


PLAIN_CA = CaProfile()
TLS_CA = CaProfile(path_length=0, certificates_only=True)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate, PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate, DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS#8 PEM without a passphrase."""
        return private_pem(self.key)


def realm_name(common_name: str, realm: Realm) -> x509.Name:
    """A subject whose organisational unit names the realm."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, realm_mark(realm)),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def realm_mark(realm: Realm) -> str:
    """The text that marks a certificate with its realm."""
    return f"realm {realm.value}"


def is_of_dev(certificate: x509.Certificate) -> bool:
    """True when the names of a certificate or of its issuer, or its comment, carry the mark of realm dev."""
    mark = realm_mark(Realm.DEV)
    names = (*certificate.subject, *certificate.issuer)
    if any(name.oid == NameOID.ORGANIZATIONAL_UNIT_NAME and name.value == mark for name in names):
        return True
    try:
        comment = certificate.extensions.get_extension_for_oid(NETSCAPE_COMMENT).value
    except (x509.ExtensionNotFound, ValueError):  # ValueError: extensions that nobody can read
        return False
    return isinstance(comment, x509.UnrecognizedExtension) and mark.encode() in comment.value


def new_key(algorithm: str = "P-256") -> PrivateKey:
    """A fresh signing key: P-256, P-384, ML-DSA-44, ML-DSA-65 or ML-DSA-87."""
    makers: dict[str, Callable[[], PrivateKey]] = {
        "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ML-DSA-44": mldsa.MLDSA44PrivateKey.generate,
        "ML-DSA-65": mldsa.MLDSA65PrivateKey.generate,
        "ML-DSA-87": mldsa.MLDSA87PrivateKey.generate,
    }
    if algorithm not in makers:
        raise ConfigError(f"expected one of {', '.join(makers)} as key algorithm, saw {algorithm!r}")
    return makers[algorithm]()


def new_ca(
    name: x509.Name,
    realm: Realm,
    issuer: Issued | None = None,
    profile: CaProfile = PLAIN_CA,
    algorithm: str = "P-256",
) -> Issued:
    """A CA with a fresh key, self-signed or below ``issuer``."""
    key = new_key(algorithm)
    if issuer is None:
        return Issued(self_signed_ca(name, key, realm, profile), key)
    return Issued(issue_ca(name, key.public_key(), issuer, realm, profile), key)


def self_signed_ca(name: x509.Name, key: PrivateKey, realm: Realm, profile: CaProfile) -> x509.Certificate:
    """The certificate of a root, valid for ``CA_DAYS``."""
    serial = x509.random_serial_number()
    extensions = ca_extensions(key.public_key(), authority_of(key.public_key(), name, serial, profile), realm, profile)
    return _certificate(_Plan(name, name, key.public_key(), CA_DAYS - EARLIER_DAYS, serial), extensions, key)


def issue_ca(
    name: x509.Name, public_key: SigningPublicKey, issuer: Issued, realm: Realm, profile: CaProfile
) -> x509.Certificate:
    """The certificate of a CA below ``issuer``, valid for ``CA_DAYS``."""
    above = issuer.certificate
    authority = authority_of(issuer.key.public_key(), above.issuer, above.serial_number, profile)
    plan = _Plan(name, above.subject, public_key, CA_DAYS - EARLIER_DAYS, x509.random_serial_number())
    return _certificate(plan, ca_extensions(public_key, authority, realm, profile), issuer.key)


def ca_extensions(
    public_key: SigningPublicKey, authority: x509.AuthorityKeyIdentifier, realm: Realm, profile: CaProfile
) -> list[Extension]:
    """All extensions of a CA certificate, each with its criticality; those of realm dev say so in a comment."""
    more = not profile.certificates_only
    usage = _usage(digital_signature=more, key_cert_sign=True, crl_sign=more)
    mark = realm_mark(realm).encode()
    comment = x509.UnrecognizedExtension(NETSCAPE_COMMENT, b"\x16" + bytes((len(mark),)) + mark)
    return [
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (authority, False),
        (x509.BasicConstraints(ca=True, path_length=profile.path_length), True),
        (usage, profile.certificates_only),
        *([(comment, False)] if realm is Realm.DEV else []),
    ]


def authority_of(
    issuer_key: SigningPublicKey, issuer_of_issuer: x509.Name, issuer_serial: int, profile: CaProfile
) -> x509.AuthorityKeyIdentifier:
    """The key identifier of the CA above, with the name and serial number of its certificate when the profile asks."""
    digest = x509.SubjectKeyIdentifier.from_public_key(issuer_key).digest
    if not profile.names_issuer:
        return x509.AuthorityKeyIdentifier(digest, None, None)
    return x509.AuthorityKeyIdentifier(digest, [x509.DirectoryName(issuer_of_issuer)], issuer_serial)


def new_endpoint(
    name: x509.Name, hosts: Sequence[str], issuer: Issued, server: bool, days: float | None = None
) -> Issued:
    """A TLS certificate for a server or a client with a fresh key, see ``issue_endpoint``."""
    key = new_key()
    days = ENDPOINT_DAYS if days is None else days
    return Issued(issue_endpoint(name, key.public_key(), hosts, issuer, server, days), key)


def issue_endpoint(
    name: x509.Name, public_key: SigningPublicKey, hosts: Sequence[str], issuer: Issued, server: bool,
    days: float = ENDPOINT_DAYS,
) -> x509.Certificate:  # fmt: skip
    """The TLS certificate of a server or a client; ``hosts`` are DNS names and IP addresses, ``days`` it is valid."""
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])
    above = issuer.certificate
    extensions: list[Extension] = [
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (authority_of(issuer.key.public_key(), above.issuer, above.serial_number, PLAIN_CA), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage(usages), False),
        (x509.SubjectAlternativeName([_general(host) for host in hosts]), False),
    ]
    plan = _Plan(name, above.subject, public_key, days, x509.random_serial_number())
    return _certificate(plan, extensions, issuer.key)


def private_pem(
    key: PrivateKey | rsa.RSAPrivateKey | mlkem.MLKEM768PrivateKey | x25519.X25519PrivateKey,
) -> bytes:
    """PKCS#8 PEM without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def private_der(key: PrivateKey) -> bytes:
    """PKCS#8 DER without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """The head of a certificate; ``days`` count from now."""

    subject: x509.Name
    issuer: x509.Name
    public_key: SigningPublicKey
    days: float
    serial: int


def _certificate(plan: _Plan, extensions: Sequence[Extension], signer: PrivateKey) -> x509.Certificate:
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(plan.subject)
        .issuer_name(plan.issuer)
        .public_key(plan.public_key)
        .serial_number(plan.serial)
        .not_valid_before(now - timedelta(days=EARLIER_DAYS))
        .not_valid_after(now + timedelta(days=plan.days))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        return builder.sign(signer, None)
    return builder.sign(signer, signature_hash(signer))


def signature_hash(key: ec.EllipticCurvePrivateKey) -> hashes.SHA256 | hashes.SHA384:
    """The hash that goes with an elliptic curve."""
    return hashes.SHA384() if key.key_size == 384 else hashes.SHA256()


def _usage(**claims: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: claims.get(name, False) for name in names})


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
