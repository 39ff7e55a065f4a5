"""The served process: ready file, health, drain, one per folder, durability, what it refuses to start with."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from pathlib import Path

import grpc
import pytest
from appliance_bench import (
    Served,
    Station,
    TestPart,
    dice_ca_of,
    endorsed,
    open_channel,
    password_of,
    root_ca_of,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc

from station.appliance import server
from station.appliance.device_store import DeviceStore
from station.appliance.keystore import KeyMaterial, create_keystore
from station.appliance.settings import read_settings
from station.appliance.spm import Endorsement, endorsement_holds
from station.errors import ConfigError
from station.model import Realm
from station.secret import Secret
from station.wire import pa_pb2, registry_record_pb2


@pytest.fixture
def refused_to_start(monkeypatch):
    """What ``serve`` says about a folder that it refuses; nothing is started then, so it runs here."""
    monkeypatch.setattr(server, "harden_process", lambda: None)

    def refused(folder) -> str:
        with pytest.raises(ConfigError) as failed:
            server.serve(folder, stop=threading.Event())
        assert not (folder / "endpoint.json").exists()
        return str(failed.value)

    return refused


def test_ready_file_health_and_drain(folder):
    appliance = Served(folder)
    endpoint = json.loads((folder / "endpoint.json").read_text())
    assert endpoint == {key: value for key, value in appliance.ready.items() if key != "event"}
    assert endpoint["pid"] == appliance.process.pid
    assert (endpoint["realm"], endpoint["tls"]) == ("dev", True)
    with open_channel(folder, appliance.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "pa.ProvisioningApplianceService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert appliance.stop() == 0
    assert not (folder / "endpoint.json").exists()


def test_interrupt_ends_it_too(folder):
    appliance = Served(folder)
    appliance.process.send_signal(signal.SIGINT)
    assert appliance.stop() == 0


def test_second_process_on_one_folder(folder, monkeypatch):
    appliance = Served(folder)
    monkeypatch.setattr(server, "harden_process", lambda: None)
    with pytest.raises(ConfigError, match="another appliance process serves it"):
        server.serve(folder, stop=threading.Event())
    assert (folder / "endpoint.json").exists()
    assert appliance.stop() == 0


def test_a_taken_port_is_one_sentence(folder, refused_to_start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        toml = folder / "appliance.toml"
        toml.write_text(toml.read_text().replace("port = 0", f"port = {taken.getsockname()[1]}"))
        assert "the port is taken" in refused_to_start(folder)


def test_plain_text_is_not_answered(served):
    port = served.ready["port"]
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.settimeout(5)
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        try:
            received = plain.recv(100)
        except ConnectionError:
            received = b""
    assert not received.startswith(b"\0\0")  # no HTTP/2 frame; an alert or nothing


def test_no_client_certificate_no_service(served):
    ca = (served.folder / "tls/ca-cert.pem").read_bytes()
    with grpc.secure_channel(served.target, grpc.ssl_channel_credentials(ca)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as failed:
            stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert failed.value.code().name == "UNAVAILABLE"


def test_acknowledged_registration_survives_sigkill(folder):
    appliance = Served(folder)
    client = Station(folder, appliance.target)
    client.log_in()
    part = TestPart(dice_ca_of(folder), 0x1234)
    uds = endorsed(client, part)
    request = part.registration(uds)
    client.call("RegisterDevice", request)
    appliance.kill()
    client.close()
    store = DeviceStore(folder / "registry.db")
    (kept,) = store.find("0x" + "00" * 16 + "00000000" + f"{0x1234:016x}" + "0003" + "4001")
    store.close()
    record = registry_record_pb2.RegistryRecord.FromString(kept.record)
    assert (record.sku, record.version, record.device_id) == ("sival", 0, kept.device_id)
    assert registry_record_pb2.DeviceData.FromString(record.data) == request.device_data
    assert endorsement_holds(Endorsement(record.auth_pubkey, record.auth_signature), record.data)
    assert not endorsement_holds(Endorsement(record.auth_pubkey, record.auth_signature), record.data + b"x")
    again = Served(folder)  # a stale endpoint.json and lock file do not matter
    client = Station(folder, again.target)
    client.log_in()
    client.call("RegisterDevice", request)
    client.close()
    assert again.stop() == 0


def test_a_fault_inside_is_internal_and_tells_nothing():
    from station.appliance.rates import Rates
    from station.appliance.service_auth import Gate, SessionInterceptor
    from station.appliance.service_crew import Crew
    from station.appliance.service_intake import Intake
    from station.appliance.stations import Access

    class Aborted(Exception):
        pass

    class Context:
        def auth_context(self):
            return {}

        def peer(self):
            return "ipv6:%5B::ffff:192.0.2.1%5D:5"

        def invocation_metadata(self):
            return ()

        def abort(self, code, text):
            raise Aborted(code.name, text)

    def fails(request, context):
        raise ZeroDivisionError("inner words")

    gate = Gate(None, None, Access(Path("absent"), Realm.DEV), Rates(0), True)
    guarded = SessionInterceptor(gate, Intake(Crew(1)))._guarded("InitSession", fails)
    with pytest.raises(Aborted) as seen:
        guarded(iter([pa_pb2.InitSessionRequest()]), Context())
    assert seen.value.args[0] == "INTERNAL"
    assert "inner words" not in seen.value.args[1]


def test_chain_by_the_openssl_program(station, served, part, tmp_path):
    from appliance_bench import pem_of

    uds = endorsed(station, part)
    ders = {"root": root_ca_of(served.folder), "ca": dice_ca_of(served.folder), "uds": uds, "cdi_0": part.cdi_0_cert}
    for name, der in {**ders, "cdi_1": part.cdi_1_cert}.items():
        (tmp_path / name).write_bytes(pem_of(der))
    (tmp_path / "between").write_bytes(b"".join((tmp_path / name).read_bytes() for name in ("ca", "uds", "cdi_0")))

    def verify(*options: str) -> subprocess.CompletedProcess[str]:
        command = ["openssl", "verify", *options, "-CAfile", "root", "-untrusted", "between", "cdi_1"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20)

    assert verify("-ignore_critical").returncode == 0, verify("-ignore_critical").stderr
    assert "unhandled critical extension" in verify().stderr
    (tmp_path / "cdi_1").write_bytes(pem_of(part.cdi_1_cert[:-1] + bytes((part.cdi_1_cert[-1] ^ 1,))))
    assert verify("-ignore_critical").returncode != 0


# ---- what it does not start with --------------------------------------------------------------------------------


def test_readable_key_is_refused(folder, refused_to_start):
    (folder / "keystore.passphrase").chmod(0o644)
    assert "chmod 600" in refused_to_start(folder)


def test_wrong_passphrase_is_refused(folder, refused_to_start):
    path = folder / "keystore.passphrase"
    path.write_text("other")
    assert "passphrase is wrong" in refused_to_start(folder)


def test_development_keys_are_refused_in_production(folder, refused_to_start):
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text().replace('realm = "dev"', 'realm = "production"'))
    assert "expected a keystore of realm production" in refused_to_start(folder)


def test_production_refuses_tracing_and_public_passwords(folder, refused_to_start, monkeypatch):
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text().replace('realm = "dev"', 'realm = "production"'))
    monkeypatch.setenv("SSLKEYLOGFILE", str(folder / "keys"))
    assert "SSLKEYLOGFILE" in refused_to_start(folder)
    monkeypatch.delenv("SSLKEYLOGFILE")
    (folder / "keystore.sealed").unlink()
    passphrase = Secret((folder / "keystore.passphrase").read_bytes().strip(), "passphrase")
    create_keystore(folder / "keystore.sealed", passphrase, Realm.PRODUCTION, KeyMaterial({}, {}, {}))
    auth = folder / "skus/sku_auth.yml"
    known = "$2a$10$7ZjR5zTQpig.aomnunzte.Ve1eW4GT2ACx1iy4fxtfzysprfrNMfG"
    auth.write_text(f'skuAuthCfgList:\n  sival:\n    skuAuth: "{known}"\n    methods: []\n')
    assert "publicly known passwords" in refused_to_start(folder)


def test_public_password_is_no_password_in_production(tmp_path, made):
    import bcrypt

    from station.appliance.keystore import SoftwareKeystore
    from station.appliance.refusal import Refusal
    from station.appliance.spm import Spm

    fresh = bcrypt.hashpw(b"test_password", bcrypt.gensalt(4)).decode()
    (tmp_path / "sku_auth.yml").write_text(f'skuAuthCfgList:\n  sival:\n    skuAuth: "{fresh}"\n    methods: []\n')
    spm = Spm(tmp_path, SoftwareKeystore(Realm.PRODUCTION, KeyMaterial({}, {}, {})))
    with pytest.raises(Refusal) as refused:
        spm.log_in("sival", Secret(b"test_password", "SKU password"))
    assert refused.value.code == "UNAUTHENTICATED"
    dev = Spm(tmp_path, SoftwareKeystore(Realm.DEV, KeyMaterial({}, {}, {})))
    with pytest.raises(Refusal) as refused:  # accepted; then the SKU file is missing
        dev.log_in("sival", Secret(b"test_password", "SKU password"))
    assert refused.value.code == "INTERNAL"


def test_reference_password_hash_fits():
    import bcrypt

    known = b"$2a$10$7ZjR5zTQpig.aomnunzte.Ve1eW4GT2ACx1iy4fxtfzysprfrNMfG"
    assert bcrypt.checkpw(b"test_password", known)


def test_settings_findings(folder):
    path = folder / "appliance.toml"
    path.write_text('realm = "prod"\nhosts = "x"\nport = -1\nendpoint_check = 1\nkey = 3\n')
    with pytest.raises(ConfigError) as failed:
        read_settings(folder)
    assert sorted((f.line, f.sentence.split()[0]) for f in failed.value.findings) == [
        (1, "expected"), (2, "unknown"), (3, "expected"), (4, "expected"), (5, "expected"),
    ]  # fmt: skip
    path.write_text("realm =\nport = 1\n")
    with pytest.raises(ConfigError, match=r"appliance\.toml:1: expected valid TOML"):
        read_settings(folder)
    with pytest.raises(ConfigError, match="expected an appliance folder"):
        read_settings(folder / "absent")


# ---- secrecy of the log -----------------------------------------------------------------------------------------


def test_no_secret_in_the_log_at_debug(folder):
    appliance = Served(folder)
    client = Station(folder, appliance.target)
    client.log_in()
    part = TestPart(dice_ca_of(folder))
    uds = endorsed(client, part)
    client.call("RegisterDevice", part.registration(uds))
    params = [pa_pb2.TokenParams(seed=s, type=1, size=2, diversifier=b"x") for s in (1, 2, 3)]
    derived = client.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=params)).tokens
    client.refused("GetOwnerFwBootMessage", pa_pb2.GetOwnerFwBootMessageRequest(sku="sival"), token="B" * 16)
    client.refused("InitSession", pa_pb2.InitSessionRequest(sku="sival", sku_auth="not-the-password"))
    assert appliance.stop() == 0
    client.close()
    log = appliance.log.read_text()
    assert "InitSession" in log
    assert "RegisterDevice" in log
    passphrase = (folder / "keystore.passphrase").read_text().strip()
    for text in (password_of(folder), client.token, "B" * 16, "not-the-password", passphrase):
        assert text not in log
    for raw in (*(token.token for token in derived), bytes(range(64))):
        assert raw.hex() not in log.lower()
        assert repr(raw)[2:-1] not in log
