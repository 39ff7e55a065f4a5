"""Building blocks of the development PKI: keys, CA certificates and TLS certificates with their profiles.

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

from station.appliance.keystore import PrivateKey
from station.errors import ConfigError
from station.model import Realm

ORGANISATION = "Provisioning Station"
NETSCAPE_COMMENT = x509.ObjectIdentifier("2.16.840.1.113730.1.13")
CA_DAYS = 7300
ENDPOINT_DAYS = 825

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
    """A CA certificate, self-signed or below ``issuer``; the realm stands in a comment extension too."""
    key = new_key(algorithm)
    builder = _builder(name, key, issuer, CA_DAYS, profile.names_issuer)
    constraints = x509.BasicConstraints(ca=True, path_length=profile.path_length)
    more = not profile.certificates_only
    usage = _usage(digital_signature=more, key_cert_sign=True, crl_sign=more)
    mark = realm_mark(realm).encode()
    comment = x509.UnrecognizedExtension(NETSCAPE_COMMENT, b"\x16" + bytes((len(mark),)) + mark)
    builder = builder.add_extension(constraints, critical=True)
    builder = builder.add_extension(usage, critical=profile.certificates_only)
    return _signed(builder.add_extension(comment, critical=False), key, issuer)


def new_endpoint(
    name: x509.Name, hosts: Sequence[str], issuer: Issued, server: bool, days: float | None = None
) -> Issued:
    """A TLS certificate for a server or a client; ``hosts`` are DNS names and IP addresses, ``days`` it is valid."""
    key = new_key()
    builder = _builder(name, key, issuer, ENDPOINT_DAYS if days is None else days)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
    return _signed(builder, key, issuer)


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


def _builder(
    name: x509.Name, key: PrivateKey, issuer: Issued | None, days: float, names_issuer: bool = False
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    serial = x509.random_serial_number()
    issuer_name = name if issuer is None else issuer.certificate.subject
    authority = x509.SubjectKeyIdentifier.from_public_key((key if issuer is None else issuer.key).public_key())
    issuer_serial = serial if issuer is None else issuer.certificate.serial_number
    known_as = ([x509.DirectoryName(issuer_name)], issuer_serial) if names_issuer else (None, None)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(authority.digest, *known_as), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: PrivateKey, issuer: Issued | None) -> Issued:
    signer = key if issuer is None else issuer.key
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        return Issued(builder.sign(signer, None), key)
    return Issued(builder.sign(signer, hashes.SHA384() if signer.key_size == 384 else hashes.SHA256()), key)


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
