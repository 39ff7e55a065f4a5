"""Appliances in the test's process with a clock that the test turns, stations of several certificates, audit lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance_bench import Station

from station.appliance import server
from station.appliance.audit import AuditFile
from station.appliance.certificates import Issued, new_endpoint, realm_name
from station.appliance.client_certificate import read_client_certificate
from station.appliance.keystores import configured_keystore
from station.appliance.metrics import Metrics
from station.appliance.pki import client_files, tls_authority
from station.appliance.quota import Quota
from station.appliance.service_client import Identity
from station.appliance.settings import read_settings
from station.appliance.stores import open_stores
from station.model import Realm
from station.wire import pa_pb2

BOOT = pa_pb2.GetOwnerFwBootMessageRequest(sku="sival")


class Clock:
    """Seconds since 1970 as the test wants them."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Inner:
    """A served appliance of this process."""

    folder: Path
    server: server.ApplianceServer
    service: object
    quota: Quota
    clock: Clock

    @property
    def target(self) -> str:
        return f"localhost:{self.server.port}"


@contextmanager
def inner(folder: Path, clock: Clock | None = None, metrics: Metrics | None = None) -> Iterator[Inner]:
    clock = clock or Clock()
    settings = read_settings(folder)
    with (
        open_stores(settings) as stores,
        closing(AuditFile(settings.run.audit)),
        configured_keystore(settings.keys, settings.realm) as keystore,
    ):
        service, interceptor = server.assemble(settings, keystore, stores.store, stores.quota, clock, metrics)
        served = server._start(settings, service, interceptor, "127.0.0.1", 0)
        try:
            yield Inner(folder, served, service, stores.quota, clock)
        finally:
            served.drain(5)


def authority(folder: Path) -> Issued:
    return tls_authority(folder)


def issue(folder: Path, name: str, issuer: Issued | None = None, days: float = 100.0) -> Issued:
    """A client certificate of the appliance's CA (or another), valid for ``days`` from now."""
    hosts = [name, "localhost", "127.0.0.1"]
    return new_endpoint(realm_name(name, Realm.DEV), hosts, issuer or authority(folder), server=False, days=days)


def fingerprint(folder: Path, station: str) -> str:
    return read_client_certificate(client_files(folder, station).certificate.read_bytes()).fingerprint


class Holder(Station):
    """A raw client with a certificate of its own."""

    def __init__(self, folder: Path, target: str, issued: Issued, user: str = "raw") -> None:
        ca = (folder / "tls/ca-cert.pem").read_bytes()
        super().__init__(folder, target, user, Identity(ca, issued.pem, issued.key_pem))


def second_sku(folder: Path, name: str = "sival_b") -> None:
    """Another SKU of the same family: it logs in with the same password."""
    text = (folder / "skus/sku_sival.yml").read_text().replace("sku: sival\n", f"sku: {name}\n")
    (folder / f"skus/sku_{name}.yml").write_text(text)


def audit_lines(folder: Path) -> list[dict[str, object]]:
    path = folder / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
