"""The version of TLS, asked below gRPC: only a process that was started as the appliance refuses the older one.

Source: docs/appliance.md, Run and watch.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from functools import partial

from station.appliance.pki import client_files
from station.appliance.selftest.checks import Check, CheckFailed, expect
from station.appliance.selftest.throwaway import MAIN, Throwaway

SECONDS = 10.0


def tls_checks(place: Throwaway, target: str) -> Iterator[Check]:
    """Both of them; ``target`` is ``host:port``."""
    yield Check("TLS 1.3 is spoken", partial(_newest, place, target))
    yield Check("access refused: TLS 1.2", partial(_older, place, target))


def _newest(place: Throwaway, target: str) -> None:
    version = _handshake(place, target, ssl.TLSVersion.TLSv1_3)
    expect(version == "TLSv1.3", "TLSv1.3", version)


def _older(place: Throwaway, target: str) -> None:
    try:
        version = _handshake(place, target, ssl.TLSVersion.TLSv1_2)
    except (ssl.SSLError, ConnectionError):
        return
    raise CheckFailed(f"expected no handshake below TLS 1.3, saw {version}")


def _handshake(place: Throwaway, target: str, version: ssl.TLSVersion) -> str | None:
    """The version that is agreed on when the client offers this one only."""
    files = client_files(place.folder, MAIN)
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.certificate, files.key)
    context.minimum_version = context.maximum_version = version
    host, _, port = target.rpartition(":")
    with (
        socket.create_connection((host, int(port)), SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=host) as encrypted,
    ):
        return encrypted.version()
