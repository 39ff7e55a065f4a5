"""Run and watch: audit lines, limits of rate and size, drain, TLS files that change, expiry warnings."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from access_bench import BOOT, Clock, Holder, audit_lines, authority, inner, issue
from appliance_bench import (
    ROOT,
    Served,
    Station,
    TestPart,
    copy_folder,
    dice_ca_of,
    ecdsa,
    endorse_request,
    endorsed,
    open_channel,
    password_of,
    was_of,
)
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from station.appliance import audit, limits
from station.appliance.audit_repeats import EACH
from station.appliance.certificates import new_ca, new_endpoint, realm_name
from station.appliance.client_certificate import UNKNOWN, ClientCertificate
from station.appliance.client_expiry import MOST, ClientExpiries
from station.appliance.metrics import Metrics
from station.appliance.rates import Rates
from station.appliance.refusal import Refusal
from station.appliance.run_settings import NUMBERS
from station.appliance.service_tls import ServerTls, TlsPaths, expiry_warnings
from station.appliance.settings import read_settings
from station.errors import ConfigError
from station.model import Realm
from station.wire import pa_pb2


@pytest.fixture
def folder(tmp_path, made):
    return copy_folder(made, tmp_path / "appliance")


# ---- audit ------------------------------------------------------------------------------------------------------


def test_one_line_per_call_and_no_secret(folder):
    with inner(folder) as appliance:
        client = Station(folder, appliance.target, "auditor")
        client.log_in()
        part = TestPart(dice_ca_of(folder), 0x1234)
        was = was_of(client)
        uds = endorsed(client, part)
        client.call("RegisterDevice", part.registration(uds))
        client.refused("RegisterDevice", pa_pb2.RegistrationRequest())
        client.refused("InitSession", pa_pb2.InitSessionRequest(sku="sival", sku_auth="not-the-password"))
        client.refused("GetOwnerFwBootMessage", BOOT, token="B" * 16)
        client.call("CloseSession", pa_pb2.CloseSessionRequest())
        client.close()
    lines = audit_lines(folder)
    assert [(line["method"], line["result"]) for line in lines] == [
        ("InitSession", "OK"), ("DeriveTokens", "OK"), ("DeriveTokens", "OK"), ("EndorseCerts", "OK"),
        ("RegisterDevice", "OK"), ("RegisterDevice", "INVALID_ARGUMENT"), ("InitSession", "UNAUTHENTICATED"),
        ("GetOwnerFwBootMessage", "NOT_FOUND"), ("CloseSession", "OK"),
    ]  # fmt: skip
    assert {(line["station"], line["user"]) for line in lines} == {("station-1", "auditor")}
    assert [line["sku"] for line in lines] == ["sival"] * 5 + [""] + ["sival"] * 2 + [""]
    assert lines[4]["device"] == "0x" + "00" * 16 + "00000000" + f"{0x1234:016x}" + "0003" + "4001"
    assert lines[3]["tbs"] == [hashlib.sha256(part.uds_tbs).hexdigest()]
    assert all(line["ms"] >= 0 and set(line) <= ALLOWED for line in lines)
    text = (folder / "audit.jsonl").read_text()
    for secret in (password_of(folder), client.token, "B" * 16, "not-the-password", was.hex()):
        assert secret not in text
        assert secret[:12] not in text


ALLOWED = {
    "time", "event", "station", "certificate", "user", "peer", "method", "sku", "device", "tbs", "result", "ms",
}  # fmt: skip


def test_a_client_that_is_refused_for_ever_does_not_fill_the_disk(tmp_path, made):
    """Of no station and beyond its rate: what it does is told, not each time; its good calls and others' always."""
    folder = copy_folder(made, tmp_path / "appliance")
    station = '[[station]]\nname = "ft-1"\ncertificate = "station-1"\nskus = ["sival"]\nroles = ["FT"]\n'
    (folder / "stations.toml").write_text(station)
    settings = folder / "appliance.toml"
    settings.write_text(settings.read_text() + "calls_per_second = 10\n")
    with inner(folder) as appliance:
        stranger = Holder(folder, appliance.target, issue(folder, "of-no-station"))
        codes = [stranger.refused("GetOwnerFwBootMessage", BOOT)[0] for _ in range(600)]
        station = Station(folder, appliance.target, "beside it")
        station.log_in()
        for client in (stranger, station):
            client.close()
    lines = audit_lines(folder)
    assert [line["method"] for line in lines if line["station"] == "ft-1"] == ["InitSession"]
    told = [line for line in lines if line["result"] == "RESOURCE_EXHAUSTED"]
    number = codes.count("RESOURCE_EXHAUSTED")
    assert number >= 2 * EACH
    assert EACH < len(told) <= EACH + 3
    assert number / 2 < len(told) + sum(line.get("repeats", 0) for line in told) <= number
    assert set(codes) == {"PERMISSION_DENIED", "RESOURCE_EXHAUSTED"}


def test_texts_of_the_client_stay_on_their_line(tmp_path):
    file = audit.AuditFile(tmp_path / "audit.jsonl")
    request = pa_pb2.InitSessionRequest(sku='a"\n{"event": "call"}\u2028' + "x" * 5000, sku_auth="secret-word")
    audit.write(UNKNOWN, "u\r\n\x1b[2J", "ipv4:1", "InitSession", request, "OK", 1.0)
    file.close()
    text = (tmp_path / "audit.jsonl").read_text()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "secret-word" not in text
    assert len(json.loads(text)["sku"]) == audit.LONGEST


def test_the_file_may_be_moved_away(tmp_path):
    path = tmp_path / "audit.jsonl"
    file = audit.AuditFile(path)
    audit.write(UNKNOWN, "", "", "one", None, "OK", 1.0)
    path.rename(tmp_path / "old")
    audit.write(UNKNOWN, "", "", "two", None, "OK", 1.0)
    file.close()
    audit.write(UNKNOWN, "", "", "three", None, "OK", 1.0)
    assert [json.loads(p.read_text())["method"] for p in (tmp_path / "old", path)] == ["one", "two"]


def test_a_file_that_cannot_be_written_changes_no_answer(tmp_path, caplog):
    (tmp_path / "audit").mkdir()
    file = audit.AuditFile(tmp_path / "audit/audit.jsonl")
    audit.write(UNKNOWN, "", "", "one", None, "OK", 1.0)
    (tmp_path / "audit").rename(tmp_path / "away")
    audit.write(UNKNOWN, "", "", "two", None, "OK", 1.0)
    (tmp_path / "away").rename(tmp_path / "audit")
    audit.write(UNKNOWN, "", "", "three", None, "OK", 1.0)
    assert file.missed() == 1
    file.close()
    lines = (tmp_path / "audit/audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["method"] for line in lines] == ["one", "three"]
    assert "an audit line is in this log only" in caplog.text
    with pytest.raises(ConfigError, match="expected to write the audit log"):
        audit.AuditFile(tmp_path / "absent/audit.jsonl")


# ---- rates ------------------------------------------------------------------------------------------------------


def refused(call, *arguments) -> str:
    with pytest.raises(Refusal) as failed:
        call(*arguments)
    return failed.value.code


def test_a_client_that_calls_too_often_waits():
    clock = Clock()
    rates = Rates(10, clock)
    for _ in range(20):
        rates.admit("one", "DeriveTokens")
    assert refused(rates.admit, "one", "DeriveTokens") == "RESOURCE_EXHAUSTED"
    rates.admit("two", "DeriveTokens")
    clock.now += 0.125
    rates.admit("one", "DeriveTokens")
    assert refused(rates.admit, "one", "DeriveTokens") == "RESOURCE_EXHAUSTED"
    clock.now += 1000
    for _ in range(20):
        rates.admit("one", "DeriveTokens")
    assert refused(rates.admit, "one", "DeriveTokens") == "RESOURCE_EXHAUSTED"
    unlimited = Rates(0, clock)
    for _ in range(5000):
        unlimited.admit("one", "DeriveTokens")


def test_wrong_passwords_run_out():
    clock = Clock()
    rates = Rates(0, clock)
    for _ in range(30):
        rates.admit("one", "InitSession")
        rates.failed_login("one")
    assert refused(rates.admit, "one", "InitSession") == "RESOURCE_EXHAUSTED"
    rates.admit("one", "DeriveTokens")
    rates.admit("two", "InitSession")
    clock.now += 2
    rates.admit("one", "InitSession")


def test_rates_over_the_wire(folder):
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text() + "calls_per_second = 5\n")
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        codes = set()
        for _ in range(40):
            try:
                client.call("GetOwnerFwBootMessage", BOOT)
            except grpc.RpcError as error:
                codes.add(error.code().name)
        assert codes == {"RESOURCE_EXHAUSTED"}
        with open_channel(folder, appliance.target, "station-2") as channel:  # another client is not held up
            answer = channel.unary_unary("/pa.ProvisioningApplianceService/CloseSession")(b"", timeout=10)
        assert answer == b""
        client.close()


@pytest.mark.parametrize(
    "text",
    [
        "session_minutes = 0",
        "session_minutes = 5.5",
        "calls_per_second = -1",
        "workers = 0",
        "one_core = 1",
        "audit = 3",
    ],
)
def test_findings_of_the_settings(folder, text):
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text() + text + "\n")
    with pytest.raises(ConfigError) as failed:
        read_settings(folder)
    (finding,) = failed.value.findings
    assert finding.line == len(toml.read_text().splitlines())
    assert text.split()[0] in finding.sentence
    assert set(NUMBERS) == {"session_minutes", "calls_per_second", "workers"}


# ---- sizes ------------------------------------------------------------------------------------------------------


def test_requests_that_no_device_needs(folder):
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        was = was_of(client)
        bundle = (ecdsa("UDS"), b"x" * 40)
        rows = [
            ("EndorseCerts", endorse_request(was, [bundle] * 10_000), "INVALID_ARGUMENT"),
            ("EndorseCerts", endorse_request(was, [bundle] * (limits.BUNDLES + 1)), "INVALID_ARGUMENT"),
            ("EndorseCerts", endorse_request(was, [(ecdsa("UDS"), bytes(limits.TBS_BYTES + 1))]), "INVALID_ARGUMENT"),
            ("EndorseCerts", endorse_request(was, [(ecdsa("UDS"), bytes(2 << 20))]), "RESOURCE_EXHAUSTED"),
            ("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[low()] * 65), "INVALID_ARGUMENT"),
            ("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[low(b"station/")]), "INVALID_ARGUMENT"),
            ("GetCaCerts", pa_pb2.GetCaCertsRequest(sku="sival", cert_labels=["root"] * 65), "INVALID_ARGUMENT"),
            ("GetCaSubjectKeys", pa_pb2.GetCaSubjectKeysRequest(sku="sival", cert_labels=["U"] * 65), BAD),
        ]  # fmt: skip
        for name, request, code in rows:
            assert client.refused(name, request)[0] == code, name
        part = TestPart(dice_ca_of(folder))
        large = part.registration(part.cdi_0_cert, perso_tlv_data=bytes(70_000))
        assert client.refused("RegisterDevice", large)[0] == "INVALID_ARGUMENT"
        assert client.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[low()] * 64)).tokens
        assert appliance.quota.account() == []
        assert client.call("GetOwnerFwBootMessage", BOOT).boot_message
        client.close()


BAD = "INVALID_ARGUMENT"


def low(diversifier: bytes = b"x") -> pa_pb2.TokenParams:
    return pa_pb2.TokenParams(seed=1, type=1, size=1, diversifier=diversifier)


# ---- drain ------------------------------------------------------------------------------------------------------


def code_in_the_end(client: Station) -> str:
    """The health is told before the door is closed: a login may still slip in between."""
    request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=password_of(client.folder))
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            client.call("InitSession", request)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def test_drain_ends_what_runs_and_refuses_what_comes(folder, monkeypatch):
    entered, release = threading.Event(), threading.Event()
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        health = open_channel(folder, appliance.target, "station-2")
        seen = []
        watch = health_pb2_grpc.HealthStub(health).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        seen.append(next(watch).status)
        real = appliance.service._spm.boot_message

        def slow(request):
            entered.set()
            assert release.wait(20)
            return real(request)

        monkeypatch.setattr(appliance.service._spm, "boot_message", slow)
        running = client.stub.GetOwnerFwBootMessage.future(
            BOOT, metadata=[("user_id", client.user), ("authorization", client.token)], timeout=30
        )
        assert entered.wait(20)
        drain = threading.Thread(target=appliance.server.drain, args=(20,))
        drain.start()
        seen.append(next(watch).status)
        assert seen == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
        late = Station(folder, appliance.target, "late")
        assert code_in_the_end(late) == "UNAVAILABLE"
        late.close()
        assert drain.is_alive()
        release.set()
        assert running.result().boot_message
        drain.join(10)  # long before its 20 s: who watches the health does not hold it up
        assert not drain.is_alive()
        health.close()
        client.close()


# ---- TLS --------------------------------------------------------------------------------------------------------


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


def test_lines_of_two_processes_are_never_torn(tmp_path):
    path = tmp_path / "audit.jsonl"
    program = (
        "import sys; from pathlib import Path; from station.appliance import audit;"
        "from station.appliance.client_certificate import UNKNOWN;"
        "file = audit.AuditFile(Path(sys.argv[1]));"
        "[audit.write(UNKNOWN, sys.argv[2] * 80, '', f'{n}', None, 'OK', 1.0) for n in range(300)]; file.close()"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(path), letter], cwd=ROOT) for letter in "ab"]
    assert [process.wait(30) for process in processes] == [0, 0]
    lines = audit_lines(tmp_path)
    for letter in "ab":
        assert [line["method"] for line in lines if line["user"] == letter * 80] == [str(n) for n in range(300)]


def test_a_line_that_the_disk_has_no_room_for_is_not_joined_to_the_next(tmp_path, monkeypatch, caplog):
    file = audit.AuditFile(tmp_path / "audit.jsonl")
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
    audit.write(UNKNOWN, "", "", "one", None, "OK", 1.0)
    monkeypatch.setattr(os, "write", write)
    audit.write(UNKNOWN, "", "", "two", None, "OK", 1.0)
    assert file.missed() == 1
    file.close()
    torn, whole = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert len(torn) == 20
    assert json.loads(whole)["method"] == "two"
    assert "No space left" in caplog.text
