"""What the appliance reads from a client certificate that the TLS handshake has verified."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from station.appliance.certificates import is_of_dev


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Fingerprint (SHA-256 of the DER, hexadecimal), lower-case DNS names and common name, title, last moment.

    ``of_dev``: it is marked as of realm dev.
    """

    fingerprint: str
    names: frozenset[str]
    title: str
    not_after: datetime | None
    of_dev: bool = False


UNKNOWN = ClientCertificate("", frozenset(), "unknown", None)
"""No certificate at all: only a test without TLS comes so."""


@lru_cache(maxsize=1024)
def read_client_certificate(pem: bytes) -> ClientCertificate:
    """The certificate of a PEM text; one that cannot be read counts as none."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        common = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        names = frozenset(name.lower() for name in (*common, *_dns_names(certificate)))
        of_dev = is_of_dev(certificate)
    except ValueError:
        return UNKNOWN
    fingerprint = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
    title = next(iter(common), "") or fingerprint[:16]
    return ClientCertificate(fingerprint, names, title, certificate.not_valid_after_utc, of_dev)


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return found.value.get_values_for_type(x509.DNSName)
