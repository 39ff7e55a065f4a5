"""TLS files of the server that change, do not fit, or are of another realm; warnings before certificates expire."""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from access_bench import BOOT, Holder, audit_lines, authority, inner, issue
from appliance_bench import (
    Served,
    Station,
)
from cryptography import x509

from station.appliance import audit
from station.appliance.certificates import new_ca, new_endpoint, realm_name
from station.appliance.client_certificate import UNKNOWN, ClientCertificate
from station.appliance.client_expiry import MOST, ClientExpiries
from station.appliance.metrics import Metrics
from station.appliance.service_tls import ServerTls, TlsPaths, expiry_warnings
from station.errors import ConfigError
from station.model import Realm


def peer_serial(folder: Path, port: int) -> int:
    import socket
    import ssl

    context = ssl.create_default_context(cafile=str(folder / "tls/ca-cert.pem"))
    home = folder / "clients/station-1"
    context.load_cert_chain(home / "cert.pem", home / "key.pem")
    plain = socket.create_connection(("127.0.0.1", port), 10)
    with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
        return x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True)).serial_number


def new_server(folder: Path):
    return new_endpoint(realm_name("pa-service", Realm.DEV), ["localhost", "127.0.0.1"], authority(folder), server=True)


def put(path: Path, data: bytes) -> None:
    staged = path.with_suffix(".new")
    shutil.copymode(path, staged) if staged.exists() else staged.touch(path.stat().st_mode & 0o777)
    staged.write_bytes(data)
    staged.replace(path)


def test_new_tls_files_without_a_restart(folder):
    appliance = Served(folder)
    port = appliance.ready["port"]
    client = Station(folder, appliance.target)
    client.log_in()
    first = peer_serial(folder, port)
    fresh = new_server(folder)
    put(folder / "tls/server-cert.pem", fresh.pem)
    assert peer_serial(folder, port) == first  # the key is not there yet
    put(folder / "tls/server-key.pem", fresh.key_pem)
    assert peer_serial(folder, port) == fresh.certificate.serial_number
    (folder / "tls/server-cert.pem").write_text("no certificate")
    assert peer_serial(folder, port) == fresh.certificate.serial_number
    assert client.call("GetOwnerFwBootMessage", BOOT).boot_message  # the connection lives on
    client.close()
    assert appliance.stop() == 0
    log = (folder / "serve.log").read_text()
    assert "expected the key" in log
    assert "expected PEM certificates" in log
    assert "PRIVATE KEY" not in log


def tls_paths(folder) -> TlsPaths:
    return TlsPaths(*(folder / f"tls/{name}.pem" for name in ("server-cert", "server-key", "ca-cert")))


def test_a_key_that_others_can_read_is_not_taken_up(folder, caplog):
    tls = ServerTls(tls_paths(folder), Realm.DEV)
    (folder / "tls/server-key.pem").chmod(0o644)
    assert tls._fetch() is None
    assert "chmod 600" in caplog.text
    (folder / "tls/server-key.pem").chmod(0o600)
    assert tls._fetch() is not None
    assert tls._fetch() is None


def test_a_pair_that_does_not_fit_is_refused_at_start(folder):
    (folder / "tls/server-key.pem").write_bytes(issue(folder, "other").key_pem)
    with pytest.raises(ConfigError, match="to fit the certificate"):
        ServerTls(tls_paths(folder), Realm.DEV)


def test_production_takes_no_development_certificates(folder, caplog):
    paths, development = tls_paths(folder), authority(folder)
    production = new_ca(realm_name("TLS CA", Realm.PRODUCTION), Realm.PRODUCTION)
    good = new_endpoint(realm_name("pa-service", Realm.PRODUCTION), ["localhost"], production, server=True)
    for server, above, wrong in (
        (new_server(folder), production, paths.certificate),
        (good, development, paths.client_ca),
    ):
        put(paths.certificate, server.pem)
        put(paths.client_ca, above.pem)
        with pytest.raises(ConfigError) as refused:
            ServerTls(paths, Realm.PRODUCTION)
        assert f"the certificate in {wrong} is of realm dev and is refused in production" in str(refused.value)
    put(paths.key, good.key_pem)
    put(paths.client_ca, production.pem)
    tls = ServerTls(paths, Realm.PRODUCTION)
    put(paths.client_ca, production.pem + development.pem)
    assert tls._fetch() is None
    assert "is of realm dev" in caplog.text


def test_expiry_is_announced_thirty_days_before(folder, caplog):
    now = datetime(2026, 5, 1, tzinfo=UTC)
    path = Path("cert.pem")
    assert expiry_warnings([(path, now + timedelta(days=31))], now) == []
    (soon,) = expiry_warnings([(path, now + timedelta(days=29, hours=1))], now)
    assert "expires on 2026-05-30, in 29 days" in soon
    (gone,) = expiry_warnings([(path, now)], now)
    assert "expired on 2026-05-01" in gone
    put(folder / "tls/server-cert.pem", (short := short_lived(folder)).pem)
    put(folder / "tls/server-key.pem", short.key_pem)
    with caplog.at_level(logging.WARNING), inner(folder) as appliance:
        appliance.server.warn_of_expiry()
    assert "server-cert.pem expires on" in caplog.text
    assert "ca-cert.pem" not in caplog.text


def test_client_certificates_that_end_soon_are_told_once_a_day(folder, caplog):
    metrics = Metrics()
    with caplog.at_level(logging.INFO), inner(folder, metrics=metrics) as appliance:
        soon = Holder(folder, appliance.target, issue(folder, "soon", days=20.5))
        late = Station(folder, appliance.target)
        for client in (soon, soon, late):
            client.log_in()
            client.call("GetOwnerFwBootMessage", BOOT)
        expiring = metrics.registry.get_sample_value("appliance_client_certificates_expiring")
        soon.close()
        late.close()
    lines = audit_lines(folder)
    assert [line["event"] for line in lines].count("call") == 6
    (told,) = [line for line in lines if line["event"] != "call"]
    assert (told["event"], told["station"], told["days"]) == ("client_certificate_expires", "soon", 20)
    assert expiring == 1
    once = dict.fromkeys(caplog.records)  # pytest listens at the logger of the file, too
    (record,) = [record for record in once if record.levelno == logging.WARNING and "soon" in record.message]
    assert record.name == audit.log.name


def test_the_next_day_it_is_told_again_and_memory_is_bounded(monkeypatch):
    told = []
    monkeypatch.setattr(audit, "write_expiry", lambda certificate, *more: told.append((certificate.fingerprint, more)))
    now = [datetime(2026, 5, 1, tzinfo=UTC)]
    expiries = ClientExpiries(lambda: now[0])
    end = now[0] + timedelta(days=30, hours=1)
    one = ClientCertificate("one", frozenset(), "one", end)
    expiries.note(one, "ft-1")
    expiries.note(UNKNOWN, "unknown")
    assert (told, expiries.count()) == ([], 0)
    for hours in (2, 25, 26, 27):
        now[0] = datetime(2026, 5, 1, hours % 24, tzinfo=UTC) + timedelta(days=hours // 24)
        expiries.note(one, "ft-1")
    assert told == [("one", ("ft-1", end, 29)), ("one", ("ft-1", end, 28))]
    assert expiries.count() == 1
    for number in range(MOST):
        expiries.note(ClientCertificate(str(number), frozenset(), "", end), "")
    assert expiries.count() == MOST
    now[0] = end
    assert expiries.count() == 0


def short_lived(folder: Path):
    from station.appliance import certificates

    before, certificates.ENDPOINT_DAYS = certificates.ENDPOINT_DAYS, 20
    try:
        return new_server(folder)
    finally:
        certificates.ENDPOINT_DAYS = before
