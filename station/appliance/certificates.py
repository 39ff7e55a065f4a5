"""Building blocks of the development PKI: keys, CA certificates and TLS certificates with their profiles.

Source: opentitan-appliance sheet 2.5 (TLS profiles) and 4.2 (CA profiles). TLS keys are P-256 instead of RSA-4096:
the profile fixes usages and names, not the algorithm.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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
class Issued:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

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


def new_ca(name: x509.Name, realm: Realm, issuer: Issued | None = None) -> Issued:
    """A CA certificate, self-signed or below ``issuer``; the realm stands in a comment extension too."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, key, issuer, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True, key_cert_sign=True, crl_sign=True), critical=False)
    mark = realm_mark(realm).encode()
    comment = x509.UnrecognizedExtension(NETSCAPE_COMMENT, b"\x16" + bytes((len(mark),)) + mark)
    builder = builder.add_extension(comment, critical=False)
    return _signed(builder, key, issuer)


def new_endpoint(name: x509.Name, hosts: Sequence[str], issuer: Issued, server: bool) -> Issued:
    """A TLS certificate for a server or a client; ``hosts`` are DNS names and IP addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, key, issuer, ENDPOINT_DAYS)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True, key_encipherment=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
    return _signed(builder, key, issuer)


def private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """PKCS#8 PEM without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def private_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#8 DER without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, issuer: Issued | None, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    authority = key.public_key() if issuer is None else issuer.key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer: Issued | None) -> Issued:
    return Issued(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)


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
