"""Who calls, as gRPC tells it: certificate, ``user_id``, connection; and the check of the peer's address.

Source: opentitan-appliance sheet 2.2, 2.3 and 2.5.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import grpc

from station.appliance.client_certificate import UNKNOWN, ClientCertificate, read_client_certificate
from station.appliance.refusal import Refusal
from station.appliance.session_tokens import Holder
from station.appliance.sessions import Seat

LONGEST_USER = 128
NAME_SECONDS = 60
REMEMBERED = 1024
"""Callers whose every call brings the same certificate, user and address; the least recent are read again."""


@dataclass(frozen=True, slots=True)
class Client:
    """The caller: its certificate, its ``user_id`` (empty: none was sent), its address with port.

    ``seat`` is whose sessions these are. ``names`` are the subject alternative names of the certificate, addresses in
    their one spelling; None when the connection has no certificate, which only a test without TLS has.
    """

    certificate: ClientCertificate
    user: str
    peer: str
    seat: Seat
    names: frozenset[str] | None


def client_of(context: grpc.ServicerContext) -> Client:
    """The caller of a call."""
    identity: Mapping[str, Any] = context.auth_context()
    pem = next(iter(identity.get("x509_pem_cert", ())), None)
    names = tuple(identity.get("x509_subject_alternative_name", ()))
    return _client(pem, names, _user(context), str(context.peer()))


@lru_cache(maxsize=REMEMBERED)
def _client(pem: bytes | None, names: tuple[bytes, ...], user: str, peer: str) -> Client:
    certificate = read_client_certificate(pem) if pem else UNKNOWN
    known = None if pem is None else frozenset(_canonical(name.decode()) for name in names)
    seat = Seat(Holder(certificate.fingerprint, user), "" if user else peer)
    return Client(certificate, user, peer, seat, known)


def metadata_value(context: grpc.ServicerContext, key: str) -> str | None:
    """First value of a metadata key."""
    return next((str(value) for name, value in context.invocation_metadata() if name == key), None)


@lru_cache(maxsize=REMEMBERED)
def peer_address(peer: str) -> str:
    """IP address of a peer, without port and brackets."""
    text = unquote(peer)
    address = text.partition(":")[2] if text.startswith(("ipv4:", "ipv6:")) else text
    return _canonical(address.rpartition(":")[0].strip("[]") or text)


def check_endpoint(client: Client) -> None:
    """Refuse a peer whose address, and the name that its address resolves to, are not in its certificate."""
    if client.names is None:
        return
    address = peer_address(client.peer)
    if address in client.names:
        return
    host = _reverse_name(address, int(time.monotonic() // NAME_SECONDS))
    if not host or host not in {name.lower() for name in client.names}:
        raise Refusal("UNKNOWN", f"the client certificate does not name the client's address {address}")


def _user(context: grpc.ServicerContext) -> str:
    user = metadata_value(context, "user_id") or ""
    return user if len(user) <= LONGEST_USER else f"sha256:{hashlib.sha256(user.encode()).hexdigest()}"


def _canonical(text: str) -> str:
    """One spelling per IP address; an IPv4 address inside IPv6 counts as IPv4; names stay as they are."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


@lru_cache(maxsize=REMEMBERED)
def _reverse_name(address: str, period: int) -> str:
    """First label of the address's name, or nothing; asked once in a ``period``: an answer may take seconds."""
    try:
        return socket.gethostbyaddr(address)[0].partition(".")[0].lower()
    except OSError:
        return ""
