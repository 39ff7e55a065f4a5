"""TLS of the server: a client certificate is required; changed files are taken up by the next handshake.

While a new certificate and its key are being copied one after the other they do not fit: then the old pair stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from station.appliance.certificates import is_of_dev
from station.appliance.files import require_private
from station.appliance.watched import Watched
from station.errors import ConfigError
from station.model import Realm

log = logging.getLogger(__name__)

WARN_DAYS = 30


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """PEM files: the server's chain and key, and the CA that client certificates must come from."""

    certificate: Path
    key: Path
    client_ca: Path


@dataclass(frozen=True, slots=True)
class TlsContent:
    """What was read: PEM for the library, and when each file's first certificate expires."""

    certificate: bytes
    key: bytes
    client_ca: bytes
    expiries: tuple[tuple[Path, datetime], ...]

    def __repr__(self) -> str:
        return "<TLS files>"


class ServerTls:
    """The server's credentials, which follow their files."""

    def __init__(self, paths: TlsPaths, realm: Realm) -> None:
        self._watched = Watched([paths.certificate, paths.key, paths.client_ca], lambda: read_tls(paths, realm))
        self._served = self._watched.value()

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for a port."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._served),
            self._fetch,  # type: ignore[arg-type]  # the stubs do not know that None means no change
            require_client_authentication=True,
        )

    def warn(self, now: datetime) -> None:
        """Log what expires soon."""
        for sentence in expiry_warnings(self._watched.value().expiries, now):
            log.warning("%s", sentence)

    def ends(self) -> dict[str, datetime]:
        """When the first certificate of each file expires, by the file's name in the settings."""
        (_, certificate), (_, client_ca) = self._watched.value().expiries
        return {"certificate": certificate, "client_ca": client_ca}

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Called at every handshake; None: nothing has changed."""
        content = self._watched.value()
        if content is self._served:
            return None
        self._served = content
        return _configuration(content)


def read_tls(paths: TlsPaths, realm: Realm) -> TlsContent:
    """Read the three files; ``ConfigError`` for a pair that does not fit, or another realm's certificates."""
    require_private(paths.key)
    content = [_read(path) for path in (paths.certificate, paths.key, paths.client_ca)]
    chain, authorities = _certificates(paths.certificate, content[0]), _certificates(paths.client_ca, content[2])
    if realm is Realm.PRODUCTION:
        _refuse_dev(paths.certificate, chain)
        _refuse_dev(paths.client_ca, authorities)
    try:
        key = load_pem_private_key(content[1], None).public_key()
        fits = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == _spki(chain[0])
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"expected a PEM private key without a passphrase in {paths.key}") from None
    if not fits:
        raise ConfigError(f"expected the key {paths.key} to fit the certificate {paths.certificate}: copy both again")
    expiries = (paths.certificate, _first_end(chain)), (paths.client_ca, _first_end(authorities))
    return TlsContent(content[0], content[1], content[2], expiries)


def expiry_warnings(expiries: Iterable[tuple[Path, datetime]], now: datetime) -> list[str]:
    """One sentence per file whose certificate has expired or will within 30 days."""
    found = []
    for path, end in expiries:
        if end <= now:
            found.append(f"the certificate in {path} expired on {end:%Y-%m-%d}: replace it now, no restart is needed")
        elif end - now <= timedelta(days=WARN_DAYS):
            days = (end - now).days
            found.append(f"the certificate in {path} expires on {end:%Y-%m-%d}, in {days} days: replace it")
    return found


def _configuration(content: TlsContent) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(content.key, content.certificate)], root_certificates=content.client_ca
    )


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigError(f"expected PEM certificates in {path}") from None


def _refuse_dev(path: Path, certificates: Iterable[x509.Certificate]) -> None:
    if any(map(is_of_dev, certificates)):
        raise ConfigError(f"the certificate in {path} is of realm dev and is refused in production: issue another one")


def _first_end(certificates: Iterable[x509.Certificate]) -> datetime:
    return min(certificate.not_valid_after_utc for certificate in certificates)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"expected a PEM file at {path}: {error.strerror}; run appliance init first") from None
