"""TLS certificates from the offline machine: keys stay where they are made, requests and certificates travel.

An endpoint is the SPM machine itself (its server) or a folder of a station. Profiles: opentitan-appliance sheet 2.5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from station.appliance.ceremony.authority import certificate_line, read_request, sign_request
from station.appliance.ceremony.keys import TLS_CA_KEY
from station.appliance.ceremony.machine import Machine
from station.appliance.ceremony.task import People, Side, Step, Task
from station.appliance.ceremony.transfer import Expected, Received, Transfer
from station.appliance.ceremony.vault import Vault
from station.appliance.ceremony.work import DigestCheck, Outcome, Work, attended, require_keys
from station.appliance.certificates import (
    TLS_CA,
    Issued,
    issue_endpoint,
    new_key,
    private_pem,
    realm_name,
    self_signed_ca,
)
from station.appliance.files import holds, place, require_private
from station.appliance.keystore_signer import signer
from station.errors import ConfigError

REQUEST, CERTIFICATE, CA = "tls.csr", "tls-cert.der", "tls-ca-cert.der"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SERVER, CLIENT = "server", "client"
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a TLS certificate says; ``hosts`` are DNS names and addresses."""

    name: str
    role: str
    hosts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"expected a name of letters, digits and - for a TLS certificate, saw {self.name[:80]!r}")
        wrong = next((host for host in self.hosts if not _HOST.fullmatch(host)), None)
        if wrong is not None or not self.hosts:
            raise ConfigError(f"expected host names and addresses for {self.name}, saw {(wrong or '')[:80]!r}")
        if self.role not in (SERVER, CLIENT):
            raise ConfigError(f"expected a TLS server or client, saw {self.role[:80]!r}")


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the files of an endpoint are."""

    key: Path
    certificate: Path
    ca: Path


def endpoint_of(side: Side, name: str, hosts: Sequence[str], server: bool) -> Endpoint:
    """The endpoint of a folder; its name is one of its hosts, as are the names of this computer."""
    role = SERVER if server or side is Side.SPM else CLIENT
    return Endpoint(name, role, tuple(dict.fromkeys((name, *LOOPBACK, *hosts))))


def tls_csr(machine: Machine, people: People, endpoint: Endpoint) -> Outcome:
    """Make a TLS key that stays, and ask for its certificate."""
    with attended(machine, people, Task(Step.TLS_CSR)) as work:
        if done := work.already():
            return done
        work.begin()
        places = _places(machine)
        if not places.key.exists():
            place(places.key, private_pem(new_key()))
        work.send(machine.transfer_path(Step.TLS_CSR), lambda: _request(machine, places, endpoint))
        return work.finish(note=_described(endpoint))


def offline_tls_certgen(machine: Machine, people: People, source: Path, check: DigestCheck) -> Outcome:
    """Certify a TLS endpoint."""
    with attended(machine, people, Task(Step.OFFLINE_TLS_CERTGEN)) as work:
        received = work.receive(source, check, Expected(Step.TLS_CSR, machine.realm, peer="", answers="", skus=()))
        transfer = received.transfer
        work.about(peer=transfer.sender)
        work.require_place(received)
        if done := work.already([received]):
            return done
        endpoint, request = _asked(machine, transfer)
        with machine.vault() as vault:
            require_keys(vault, [TLS_CA_KEY])
            work.begin()
            work.keep(received)
            path = machine.transfer_path(Step.OFFLINE_TLS_CERTGEN, peer=transfer.sender)
            sent = work.send(path, lambda: _certify(machine, vault, received, endpoint, request))
            return work.finish(
                certificates=[certificate_line(f"{endpoint.role} {endpoint.name}", sent.items[CERTIFICATE])],
                note=_described(endpoint),
            )


def tls_cert(machine: Machine, people: People, source: Path, check: DigestCheck) -> Outcome:
    """Install the certificate of this endpoint and the CA of its peers."""
    with attended(machine, people, Task(Step.TLS_CERT)) as work:
        received = _received(machine, work, source, check)
        work.require_place(received)
        if done := work.already([received]):
            return done
        places = _places(machine)
        files = _checked(places, received.transfer)
        for path, data in files.items():
            holds(path, data)
        work.begin()
        work.keep(received)
        for path, data in files.items():
            place(path, data, 0o644)
        lines = [certificate_line(name, received.transfer.items[name]) for name in (CERTIFICATE, CA)]
        return work.finish(certificates=lines)


def _places(machine: Machine) -> _Places:
    if machine.side is Side.SPM:
        folder = machine.folder / "tls"
        return _Places(folder / "server-key.pem", folder / "server-cert.pem", folder / "ca-cert.pem")
    return _Places(machine.folder / "key.pem", machine.folder / "cert.pem", machine.folder / "ca-cert.pem")


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    require_private(path)
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"expected the elliptic-curve key of this endpoint at {path}, saw another: restore it")
    return key


def _request(machine: Machine, places: _Places, endpoint: Endpoint) -> Transfer:
    request = sign_request(_key(places.key), realm_name(endpoint.name, machine.realm))
    facts = {"name": endpoint.name, "role": endpoint.role, "hosts": " ".join(endpoint.hosts)}
    return Transfer(Step.TLS_CSR, machine.realm, machine.id, facts=facts, items={REQUEST: request})


def _asked(machine: Machine, transfer: Transfer) -> tuple[Endpoint, x509.CertificateSigningRequest]:
    transfer.require_items((REQUEST,))
    facts = transfer.facts
    endpoint = Endpoint(facts.get("name", ""), facts.get("role", ""), tuple(facts.get("hosts", "").split()))
    request = read_request(transfer.items[REQUEST], endpoint.name)
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in ("secp256r1", "secp384r1"):
        raise ConfigError(f"expected a P-256 or P-384 key in the request of {endpoint.name}, saw another one")
    if request.subject != realm_name(endpoint.name, machine.realm) or list(request.extensions):
        raise ConfigError(f"expected a request with the name of {endpoint.name} and its realm only, saw another one")
    return endpoint, request


def _certify(
    machine: Machine, vault: Vault, received: Received, endpoint: Endpoint, request: x509.CertificateSigningRequest
) -> Transfer:
    authority = _authority(machine, vault)
    key = request.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    server = endpoint.role == SERVER
    issued = issue_endpoint(request.subject, key, endpoint.hosts, authority, server)
    return Transfer(
        Step.OFFLINE_TLS_CERTGEN,
        machine.realm,
        machine.id,
        peer=received.transfer.sender,
        answers=received.digest,
        items={CERTIFICATE: issued.public_bytes(Encoding.DER), CA: authority.der},
    )


def _authority(machine: Machine, vault: Vault) -> Issued:
    """The TLS CA, whose certificate is made once."""
    path = machine.folder / "tls/ca-cert.pem"
    key = signer(vault, TLS_CA_KEY)
    if not path.exists():
        made = self_signed_ca(realm_name("TLS CA", machine.realm), key, machine.realm, TLS_CA)
        place(path, made.public_bytes(Encoding.PEM), 0o644)
    return Issued(x509.load_pem_x509_certificate(path.read_bytes()), key)


def _received(machine: Machine, work: Work, source: Path, check: DigestCheck) -> Received:
    asked = machine.kept(machine.transfer_path(Step.TLS_CSR))
    if asked is None:
        raise ConfigError(f"expected a certificate that this endpoint has asked for: do {Step.TLS_CSR} first")
    export = machine.kept(machine.transfer_path(Step.OFFLINE_COMMON_EXPORT))
    sender = export.transfer.sender if export else None
    expected = Expected(
        Step.OFFLINE_TLS_CERTGEN, machine.realm, sender=sender, peer=machine.id, answers=asked.digest, skus=()
    )
    return work.receive(source, check, expected)


def _checked(places: _Places, transfer: Transfer) -> dict[Path, bytes]:
    transfer.require_items((CERTIFICATE, CA))
    try:
        certificate = x509.load_der_x509_certificate(transfer.items[CERTIFICATE])
        ca = x509.load_der_x509_certificate(transfer.items[CA])
        ca.verify_directly_issued_by(ca)
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise ConfigError("expected a TLS certificate that its CA has signed, saw another: issue it again") from None
    if certificate.public_key() != _key(places.key).public_key():
        raise ConfigError(f"expected a certificate for the key {places.key}, saw one for another key: ask for it again")
    return {places.ca: ca.public_bytes(Encoding.PEM), places.certificate: certificate.public_bytes(Encoding.PEM)}


def _described(endpoint: Endpoint) -> str:
    return f"TLS {endpoint.role} {endpoint.name}: {', '.join(endpoint.hosts)}"
