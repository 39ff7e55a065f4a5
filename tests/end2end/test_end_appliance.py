"""The appliance is down, strange or refuses us: bench fault before the first burn, exit code 4, part not charged."""

from __future__ import annotations

import datetime
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from end2end_bench import CP_LABEL, FT_LABEL, ROOT, Engine, environment

from station.appliance.pki import init
from station.credentials import CredentialStore
from station.model import Realm


@pytest.fixture
def place(bench):
    """A bare die in the closed socket."""
    place = bench.place()
    bench.insert(place)
    return place


@pytest.fixture(scope="session")
def stranger(tmp_path_factory) -> Path:
    """The files of an appliance that is not ours."""
    folder = tmp_path_factory.mktemp("stranger") / "appliance"
    init(folder, ["station-1"])
    return folder


def bench_fault(bench, place, *expected: str) -> str:
    """Exit code 4, verdict bench with one sentence, nothing burnt; the same part passes as soon as all is well."""
    before = bench.before(place)
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 4, said
    verdict = said.verdict
    assert (verdict["kind"], verdict["bin"], verdict["part_state"]) == ("bench", 0, "nothing was burnt")
    for words in expected:
        assert words in verdict["reason"], verdict["reason"]
    bench.unchanged(place, before, journal=False)
    assert "verdict" in place.kinds(before.rows)
    return str(verdict["reason"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def endpoint(place, target: str) -> str:
    """An ``endpoint.json`` that names another address."""
    path = place.folder / "endpoint.json"
    path.write_text(json.dumps({"target": target}))
    return str(path)


def test_the_appliance_is_down_and_the_part_passes_when_it_is_back(bench, place) -> None:
    good = place.settings["endpoint"]
    place.write(endpoint=endpoint(place, f"localhost:{free_port()}"))
    bench_fault(bench, place, "no appliance listens at", "start it")
    place.write(endpoint=good)
    said = place.run("earlgrey-cp", CP_LABEL)
    assert (said.code, said.verdict["kind"]) == (0, "pass"), said
    assert place.double_burns() == []


@pytest.mark.full
def test_the_appliance_has_never_been_started(bench, place) -> None:
    place.write(endpoint=str(place.folder / "nobody.json"))
    bench_fault(bench, place, "nobody.json", "start the appliance")


def test_an_appliance_of_another_ca(bench, place, stranger) -> None:
    place.write(ca=str(stranger / "tls" / "ca-cert.pem"))
    bench_fault(bench, place, "shows no certificate of", "install its CA file")


def test_a_client_certificate_of_another_ca(bench, place, stranger) -> None:
    client = stranger / "clients" / "station-1"
    place.write(certificate=str(client / "cert.pem"), key=str(client / "key.pem"))
    bench_fault(bench, place, "rejects the client certificate", str(client / "cert.pem"))


def test_an_expired_client_certificate(bench, place) -> None:
    path = place.folder / "expired.pem"
    path.write_bytes(expired(bench.appliance, Path(place.settings["certificate"])))
    place.write(certificate=str(path))
    bench_fault(bench, place, f"the certificate {path} has expired on 2020-02-02", "have a new one issued")


def test_an_expired_server_certificate(bench, place, tmp_path) -> None:
    own = tmp_path / "appliance"
    shutil.copytree(bench.appliance, own)
    (own / "endpoint.json").unlink(missing_ok=True)
    server = own / "tls" / "server-cert.pem"
    server.write_bytes(expired(own, server))
    served = Served(own)
    try:
        place.write(endpoint=str(own / "endpoint.json"))
        bench_fault(bench, place, "the certificate of the appliance at", "has expired", "renew it on the appliance")
    finally:
        served.end()


def expired(appliance: Path, certificate: Path) -> bytes:
    """The same certificate, issued by the same CA for a time long ago."""
    old = x509.load_pem_x509_certificate(certificate.read_bytes())
    authority = x509.load_pem_x509_certificate((appliance / "tls" / "ca-cert.pem").read_bytes())
    key = serialization.load_pem_private_key((appliance / "offline" / "tls-ca-key.pem").read_bytes(), None)
    builder = (
        x509.CertificateBuilder(authority.subject, old.subject, old.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.datetime(2019, 2, 2, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2020, 2, 2, tzinfo=datetime.UTC))
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


@pytest.mark.full
def test_a_certificate_file_that_is_gone(bench, place) -> None:
    place.write(key=str(place.folder / "no-key.pem"))
    bench_fault(bench, place, "expected a PEM file at", "no-key.pem", "correct the settings")


def test_a_wrong_sku_password(bench, place) -> None:
    CredentialStore(place.data / "credentials", Realm.DEV).store("sku_password_sival", b"not-the-password")
    reason = bench_fault(bench, place, "the SKU password was not accepted", "store the right one")
    assert "not-the-password" not in reason


@pytest.mark.full
def test_no_sku_password(bench, place) -> None:
    shutil.rmtree(place.data / "credentials")
    bench_fault(bench, place, "password", "store it")


def test_a_sku_that_the_appliance_does_not_know(bench, place) -> None:
    own = place.folder / "own"
    shutil.copytree(ROOT / "resources" / "recipes", own / "recipes")
    shutil.copytree(ROOT / "resources" / "skus" / "sival", own / "skus" / "elsewhere")
    pack = own / "skus" / "elsewhere" / "pack.toml"
    pack.write_text(pack.read_text().replace('sku = "sival"', 'sku = "elsewhere"'))
    recipe = own / "recipes" / "earlgrey-cp.toml"
    recipe.write_text(recipe.read_text().replace('sku = "sival"', 'sku = "elsewhere"'))
    CredentialStore(place.data / "credentials", Realm.DEV).store("sku_password_elsewhere", b"some-password-of-it")
    place.write(more='resources = ["own"]\n')
    bench_fault(bench, place, "elsewhere", "SKU")


def test_an_appliance_of_another_realm(bench, place) -> None:
    """The station is told that its appliance is of realm production, which its certificate denies."""
    place.station.write_text(
        place.station.read_text().replace("[appliance.settings]", '[appliance.settings]\nrealm = "production"')
    )
    bench_fault(bench, place, "realm")


def test_a_recipe_of_another_realm(bench, place) -> None:
    own = place.folder / "own"
    shutil.copytree(ROOT / "resources" / "recipes", own / "recipes")
    recipe = own / "recipes" / "earlgrey-cp.toml"
    recipe.write_text(recipe.read_text().replace('realm = "dev"', 'realm = "production"'))
    place.write(more='resources = ["own"]\n')
    before = bench.before(place)
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code == 2 and "realm" in said.sentence and "production" in said.sentence, said
    bench.unchanged(place, before)


def test_the_registration_is_not_acknowledged(bench) -> None:
    """Everything is burnt and the registry fails: hold, until the outbox delivers what the journal kept."""
    place = bench.probed()
    bench.insert(place)
    devices = bench.devices()
    registry(bench, "CREATE TRIGGER jam BEFORE INSERT ON registrations BEGIN SELECT RAISE(ABORT, 'jammed'); END")
    try:
        with Engine(place) as engine:
            engine.begin("earlgrey-ft", FT_LABEL)
            verdict = engine.verdict()
            assert verdict.kind == "hold" and "the outbox delivers" in verdict.finishes_by, verdict
            assert "RegisterDevice" in verdict.reason and "see its log" in verdict.reason, verdict.reason
            assert "registered" not in place.kinds() and bench.devices() == devices
            registry(bench, "DROP TRIGGER jam")
            passed = engine.state(lambda tile: tile.state == "pass", "the outbox", 60.0)
            assert passed.verdict.reason == "the outbox delivered the registration"
            assert engine.end() == 0
    finally:
        registry(bench, "DROP TRIGGER IF EXISTS jam")
    assert place.kinds().count("registered") == 1 and bench.devices() == devices + 1
    assert place.double_burns() == []


def registry(bench, statement: str) -> None:
    """Do something to the appliance's registry behind its back."""
    with closing(sqlite3.connect(bench.appliance / "registry.db", timeout=10)) as db, db:
        db.execute(statement)


@pytest.mark.full
def test_the_appliance_goes_down_during_the_run(bench, tmp_path) -> None:
    """Burns are closed: hold; put back when the appliance is there again, the part passes without a second burn."""
    place = bench.probed()
    own = tmp_path / "appliance"
    shutil.copytree(bench.appliance, own)
    (own / "endpoint.json").unlink(missing_ok=True)
    served = Served(own)
    bench.insert(place)
    place.write(endpoint=str(own / "endpoint.json"))
    with Engine(place) as engine:
        engine.begin("earlgrey-ft", FT_LABEL)
        engine.state(lambda tile: any(step.id == "individualize" for step in tile.steps), "the second burn")
        served.end()
        verdict = engine.verdict()
        assert verdict.kind == "hold" and "put it back" in verdict.finishes_by, verdict
        assert "start the appliance" in verdict.reason or "start it" in verdict.reason, verdict.reason
        assert engine.end() == 0
    served = Served(own, served.port)
    said = place.run("earlgrey-ft", FT_LABEL)
    served.end()
    assert (said.code, said.verdict["kind"]) == (0, "pass"), said
    assert place.double_burns() == []


class Served:
    """An appliance process of this test alone."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "station", "appliance", "serve", str(folder), "--port", str(port), "--json"]
        self._log = (folder.parent / "serve.log").open("ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, env=environment())
        assert self.process.stdout is not None
        line = json.loads(self.process.stdout.readline())
        self.port = int(line["target"].rpartition(":")[2])

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()
