"""The connection doctor: tells apart what gRPC reports with one and the same status.

Source: libraries sheet 3 (measured): a rejected client certificate shows in TLS 1.3 only as a handshake that succeeds
and a connection that is closed at the first byte; gRPC then says no more than "Socket closed".
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from drivers.appliance_grpc.sentences import CallFailed
from drivers.appliance_grpc.settings import ClientSettings, TlsPaths
from drivers.appliance_grpc.tls_probe import Probe, probe_plain, probe_tls
from station.errors import ApplianceError
from station.model import Realm

_SENTENCES = {
    "address": "the name of the appliance {where} cannot be resolved: correct the address",
    "server_down": "no appliance listens at {where}: start it, or correct address and firewall",
    "no_tls": "what listens at {where} speaks no TLS: check the port, and whether the appliance has TLS switched on",
    "unknown_ca": "the appliance at {where} shows no certificate of {ca}: install its CA file",
    "host_name": "the certificate of the appliance at {where} is for another name: use that name or set target_name",
    "server_expired": "the certificate of the appliance at {where} has expired: renew it on the appliance",
    "not_yet_valid": "the certificate of the appliance at {where} is not valid yet: check the clocks of both computers",
    "client_rejected": "the appliance at {where} rejects the client certificate {certificate}: let its CA issue it",
    "no_answer": "what listens at {where} does not answer in time: check that it is the appliance, and its log",
}


OTHERS = 0o077
WARN = timedelta(days=30)
_ONE_KEYSTORE = "give all instances the keystore of one, or name one address only"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One finding: a stable ``kind`` for machines, a sentence for people, the file concerned if there is one."""

    kind: str
    sentence: str
    file: Path | None = None

    def __str__(self) -> str:
        return self.sentence


def diagnose_connection(settings: ClientSettings) -> list[Diagnosis]:
    """Files, address, TLS and realm, without a login; the first layer that fails hides the ones behind it."""
    found = _check_files(settings) if settings.tls else []
    if found:
        return found
    try:
        address = settings.address()
    except ApplianceError as error:
        return [Diagnosis("server_down", str(error), settings.endpoint)]
    for host, port in addresses(address):
        if settings.tls is None:
            probe = probe_plain(host, port, settings.deadline)
        else:
            tls = settings.tls
            probe = probe_tls(
                host, port, settings.target_name or host, tls.ca, tls.certificate, tls.key, settings.deadline
            )
        diagnosis = _judge(settings, f"{host}:{port}", probe)
        if diagnosis:
            found.append(diagnosis)
    return found


def cautions(settings: ClientSettings) -> list[Diagnosis]:
    """What keeps nothing from working yet: a key that others can read, a certificate of ours that ends soon."""
    if settings.tls is None:
        return []
    found = []
    tls = settings.tls
    with suppress(OSError):  # absent: the connection doctor says so
        if sys.platform != "win32" and tls.key.stat().st_mode & OTHERS:
            sentence = (
                f"the key {tls.key} can be read by others, who could pass for this station: run chmod 600 {tls.key}"
            )
            found.append(Diagnosis("key", sentence, tls.key))
    with suppress(OSError, ValueError):
        end = _certificate(tls.certificate).not_valid_after_utc
        left = end - datetime.now(UTC)
        if timedelta(0) < left <= WARN:
            sentence = (
                f"the certificate {tls.certificate} ends on {end:%Y-%m-%d}, in {left.days} days: have a new one issued"
            )
            found.append(Diagnosis("expires", sentence, tls.certificate))
    return found


def diagnose_login(failed: CallFailed, address: str) -> Diagnosis:
    """What a refused login means."""
    kinds = {
        "UNAUTHENTICATED": "password",
        "NOT_FOUND": "sku",
        "FAILED_PRECONDITION": "realm",
        "UNKNOWN": "client_address",
        "INTERNAL": "sku_broken",
    }
    return Diagnosis(kinds.get(failed.code, "refused"), str(failed.as_error(address)))


def other_cas(first: str, other: str) -> Diagnosis:
    """Two instances of one target that endorse with different keys."""
    sentence = f"the appliance at {other} has other CA keys than {first}: a part is not registered at both"
    return Diagnosis("fleet", f"{sentence}; {_ONE_KEYSTORE}")


def other_sessions(first: str, other: str) -> Diagnosis:
    """Two instances that calls go to by turns, with a session that only one of them knows."""
    sentence = f"the appliance at {other} does not know a session of {first}: every other call fails"
    return Diagnosis("fleet", f"{sentence}; {_ONE_KEYSTORE}")


def addresses(target: str) -> list[tuple[str, int]]:
    """Host and port of every address of a gRPC target."""
    bare = re.sub(r"^(ipv4:|ipv6:|dns:(///)?)", "", target)
    found = []
    for part in bare.split(","):
        host, _, port = part.strip().rpartition(":")
        if port.isdecimal():
            found.append((host.strip("[]"), int(port)))
        else:
            found.append((part.strip("[] "), 443))
    return found


def first_host_name(settings: ClientSettings) -> str:
    """The first DNS name in the station's certificate, or nothing."""
    if settings.tls is None:
        return ""
    try:
        certificate = _certificate(settings.tls.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return ""
    return next(iter(names.get_values_for_type(x509.DNSName)), "")


def _judge(settings: ClientSettings, where: str, probe: Probe) -> Diagnosis | None:
    if probe.kind:
        tls = settings.tls
        fields = {"where": where, "ca": tls.ca if tls else "", "certificate": tls.certificate if tls else ""}
        return Diagnosis(probe.kind, _SENTENCES[probe.kind].format(**fields))
    marked = _realm_in(probe.units)
    if marked is not None and marked is not settings.realm:
        seen = f"the appliance at {where} is of realm {marked}, the station of realm {settings.realm}"
        return Diagnosis("realm", f"{seen}: use the appliance of the station's realm")
    return None


def _check_files(settings: ClientSettings) -> list[Diagnosis]:
    tls = settings.tls
    assert tls is not None
    found = [item for path in (tls.ca, tls.certificate) if (item := _check_certificate(path))]
    found += [item for item in (_check_key(tls),) if item]
    if not found:
        mark = _realm_in(_units(_certificate(tls.certificate)))
        if mark is not None and mark is not settings.realm:
            sentence = (
                f"the client certificate {tls.certificate} is of realm {mark}, the station of realm {settings.realm}"
            )
            found.append(Diagnosis("realm", f"{sentence}: use the certificate of the station's realm", tls.certificate))
    return found


def _check_certificate(path: Path) -> Diagnosis | None:
    try:
        certificate = _certificate(path)
    except OSError as error:
        return Diagnosis("file", f"expected a certificate at {path}: {error.strerror}; correct the path", path)
    except ValueError:
        return Diagnosis("file", f"expected a PEM certificate in {path}, saw something else: replace the file", path)
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        day = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        return Diagnosis("expired", f"the certificate {path} has expired on {day}: have a new one issued", path)
    if now < certificate.not_valid_before_utc:
        day = f"{certificate.not_valid_before_utc:%Y-%m-%d}"
        return Diagnosis("not_yet_valid", f"the certificate {path} is valid from {day} only: check this clock", path)
    return None


def _check_key(tls: TlsPaths) -> Diagnosis | None:
    try:
        key = serialization.load_pem_private_key(tls.key.read_bytes(), None)
    except OSError as error:
        return Diagnosis("file", f"expected a private key at {tls.key}: {error.strerror}; correct the path", tls.key)
    except (ValueError, TypeError):
        return Diagnosis("file", f"expected an unencrypted PEM private key in {tls.key}: replace the file", tls.key)
    try:
        belongs = key.public_key() == _certificate(tls.certificate).public_key()
    except (OSError, ValueError):
        return None
    if belongs:
        return None
    return Diagnosis(
        "file", f"the key {tls.key} does not belong to {tls.certificate}: take both from one folder", tls.key
    )


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _units(certificate: x509.Certificate) -> tuple[str, ...]:
    attributes = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    return tuple(str(attribute.value) for attribute in attributes)


def _realm_in(units: tuple[str, ...]) -> Realm | None:
    """The realm that a certificate's organisational unit names, or None for one that does not know realms."""
    return next((realm for realm in Realm for unit in units if unit == f"realm {realm.value}"), None)
