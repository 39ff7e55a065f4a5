"""One connection attempt below gRPC, to see which layer refuses: name, port, TLS, certificate, first byte."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

# HTTP/2 client preface with an empty SETTINGS frame: every gRPC server answers with its own SETTINGS.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
_HOST_CODES = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_NOT_YET_VALID = 9
_EXPIRED = 10


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found; ``kind`` is empty when the connection works. ``units`` are from the server's certificate."""

    kind: str = ""
    units: tuple[str, ...] = ()


def probe_plain(host: str, port: int, seconds: float) -> Probe:
    """Connect without TLS and wait for the first byte of HTTP/2."""
    try:
        with socket.create_connection((host, port), seconds) as connection:
            connection.sendall(_PREFACE)
            return Probe() if connection.recv(1) else Probe("no_answer")
    except OSError as error:
        return Probe(_network(error))


def probe_tls(host: str, port: int, name: str, ca: Path, certificate: Path, key: Path, seconds: float) -> Probe:
    """Connect with mutual TLS, expecting ``name`` in the server's certificate, and wait for the first byte."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca))
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((host, port), seconds) as connection:
            return _handshake(connection, context, name)
    except OSError as error:
        return Probe(_network(error))


def _handshake(connection: socket.socket, context: ssl.SSLContext, name: str) -> Probe:
    try:
        encrypted = context.wrap_socket(connection, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        return Probe(_verification(error.verify_code))
    except ssl.SSLError as error:
        return Probe(
            "no_tls" if (error.reason or "") in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE") else "client_rejected"
        )
    except ConnectionError:
        return Probe("client_rejected")
    except TimeoutError:
        return Probe("no_answer")
    with encrypted:
        return _first_byte(encrypted)


def _first_byte(encrypted: ssl.SSLSocket) -> Probe:
    peer = encrypted.getpeercert() or {}
    subject = peer.get("subject", ())
    units = tuple(str(pair[1]) for part in subject for pair in part if pair[0] == "organizationalUnitName")
    try:
        encrypted.sendall(_PREFACE)
        answered = bool(encrypted.recv(1))
    except TimeoutError:
        return Probe("no_answer", units)
    except OSError:  # an alert or a reset: both are how a server rejects a certificate
        answered = False
    return Probe("" if answered else "client_rejected", units)


def _verification(code: int) -> str:
    if code in _HOST_CODES:
        return "host_name"
    return {_EXPIRED: "server_expired", _NOT_YET_VALID: "not_yet_valid"}.get(code, "unknown_ca")


def _network(error: OSError) -> str:
    return "address" if isinstance(error, socket.gaierror) else "server_down"
