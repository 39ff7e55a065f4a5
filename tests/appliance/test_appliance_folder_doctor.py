"""``appliance doctor``: each thing that can be wrong with a folder, all at once, and what ``serve`` says of it."""

from __future__ import annotations

import hmac
import json
import os
import re
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from access_bench import authority
from appliance_bench import ROOT, Served, Serving, copy_folder
from store_bench import configure

from station.appliance import certificates, doctor, file_guard, server
from station.appliance.certificates import new_endpoint, realm_name
from station.appliance.doctor import Check, Level, examine, exit_code
from station.appliance.keystore import create_keystore, unseal
from station.appliance.passphrase import read_secret
from station.appliance.pki import init
from station.appliance.settings import read_settings
from station.errors import ConfigError
from station.model import Realm
from station.secret import Secret

USUAL = ["process", "user", "stations"]
"""Warnings that depend on who runs the tests (root, a process that is not hardened), and one of a folder of init."""


@pytest.fixture
def serve_refuses(monkeypatch):
    monkeypatch.setattr(server, "harden_process", lambda: None)

    def refused(folder) -> str:
        with pytest.raises(ConfigError) as failed:
            server.serve(folder, stop=threading.Event())
        return str(failed.value)

    return refused


def bad(folder) -> list[Check]:
    """What is not well, without the warnings that are usual in tests."""
    usual = [(name, Level.WARNING) for name in USUAL]
    return [c for c in examine(folder) if c.level is not Level.OK and (c.check, c.level) not in usual]


def add(folder, text: str) -> None:
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text() + text + "\n")


def in_production(folder) -> None:
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text().replace('realm = "dev"', 'realm = "production"'))


def put_server(folder, days: float, hosts=("localhost",), server_: bool = True) -> None:
    before, certificates.ENDPOINT_DAYS = certificates.ENDPOINT_DAYS, days
    try:
        made = new_endpoint(realm_name("pa-service", Realm.DEV), hosts, authority(folder), server=server_)
    finally:
        certificates.ENDPOINT_DAYS = before
    (folder / "tls/server-cert.pem").write_bytes(made.pem)
    (folder / "tls/server-key.pem").write_bytes(made.key_pem)


# ---- a good folder ----------------------------------------------------------------------------------------------


def test_a_good_folder_and_nothing_is_changed(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    checks = examine(folder)
    assert bad(folder) == []
    assert exit_code(checks) == 0
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [check.check for check in checks] == [
        "settings", "files", "environment", "user", "process", "TLS", "keystore", "session key", "SKU passwords",
        "sku sival", "stations", "device store", "counters", "audit log", "disk", "clock", "port",
    ]  # fmt: skip


def test_the_session_key_has_a_check_value_that_tells_folders_apart(folder, tmp_path):
    """A copy has the same; another keystore has not, and without any secret key there is none."""
    init(tmp_path / "other")

    def said(of) -> Check:
        (check,) = [check for check in examine(of) if check.check == "session key"]
        return check

    form = r"check value ([0-9a-f]{4} [0-9a-f]{4}  [0-9a-f]{4} [0-9a-f]{4}), the same at every instance of a fleet"
    value = re.fullmatch(form, said(folder).sentence)
    assert value is not None
    assert said(copy_folder(folder, tmp_path / "copy")) == said(folder)
    assert said(tmp_path / "other") != said(folder)
    passphrase = Secret((folder / "keystore.passphrase").read_bytes().strip(), "passphrase")
    material = unseal(folder / "keystore.sealed", passphrase, Realm.DEV)
    mac = hmac.digest(material.secret["station-session-v0"], b"station/key-check/1", "sha256").hex()
    assert mac.startswith(value[1].replace(" ", ""))
    (folder / "keystore.sealed").unlink()
    create_keystore(folder / "keystore.sealed", passphrase, Realm.DEV, replace(material, secret={}))
    assert said(folder).level is Level.WARNING
    assert "none of the secret keys station-session-v0" in said(folder).sentence


def test_every_sku_is_loaded(tmp_path):
    init(tmp_path / "all", skus=["all"])
    names = {check.check for check in examine(tmp_path / "all") if check.check.startswith("sku ")}
    assert names == {"sku cr01", "sku pi01", "sku sival", "sku sival_pqc", "sku ti01"}
    assert bad(tmp_path / "all") == []
    text = (tmp_path / "all/skus/sku_sival.yml").read_text()
    (tmp_path / "all/skus/sku_other.yml").write_text(text.replace("sku: sival\n", "sku: other\n"))
    (tmp_path / "all/skus/sku_ti01.yml").unlink()
    (tmp_path / "all/skus/sku_cr01.yml").rename(tmp_path / "all/skus/sku_cr01_lab.yml")
    found = {(check.check, check.level) for check in bad(tmp_path / "all")}
    assert found == {("sku other", "warning"), ("sku ti01", "wrong"), ("sku cr01_lab", "wrong")}


# ---- the command ------------------------------------------------------------------------------------------------


def doctor_of(folder, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "station", "appliance", "doctor", str(folder), *options]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def test_the_command_tells_all_at_once(folder):
    (folder / "keystore.passphrase").chmod(0o644)
    (folder / "tls/ca-cert.pem").write_text("no certificate")
    (folder / "stations.toml").write_text("[[station]]\nname = 1\n")
    done = doctor_of(folder, "--json", SSLKEYLOGFILE="/dev/null")
    assert done.returncode == 2
    said = json.loads(done.stdout)
    wrong = [check["check"] for check in said["checks"] if check["level"] == "wrong"]
    assert (said["event"], said["wrong"]) == ("doctor_ended", len(wrong))
    assert set(wrong) == {"files", "TLS", "keystore", "stations"}
    warned = [check["check"] for check in said["checks"] if check["level"] == "warning"]
    assert said["warnings"] == len(warned)
    assert {"environment", "skus"} <= set(warned)
    assert "process" not in warned  # the command hardens itself before it reads a passphrase
    plain = doctor_of(folder)
    assert plain.returncode == 2
    assert "✖ TLS: expected PEM certificates in" in plain.stdout
    assert "✔ counters" in plain.stdout
    assert plain.stderr == ""
    assert (folder / "keystore.passphrase").read_text().strip() not in plain.stdout + done.stdout


@pytest.mark.parametrize(
    ("wrong", "code"),
    [((), 0), (("device store", "disk"), 5), (("audit log", "TLS"), 2), (("settings",), 2)],
)
def test_exit_codes(wrong, code):
    checks = [Check("TLS", Level.WARNING, "soon"), *(Check(name, Level.WRONG, "x") for name in wrong)]
    assert exit_code(checks) == code


def test_settings_with_findings_are_all_told(folder):
    (folder / "appliance.toml").write_text('realm = "prod"\nhosts = "x"\nport = -1\n')
    found = examine(folder)
    assert [(check.check, check.level) for check in found] == [("settings", "wrong")] * 3
    assert ["did you mean 'host'" in found[0].sentence, "appliance.toml:1:" in found[1].sentence] == [True, True]
    assert [check.check for check in examine(folder / "absent")] == ["settings"]


# ---- files and owners -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["keystore.passphrase", "keystore.sealed", "tls/server-key.pem"])
def test_keys_that_others_can_read(folder, serve_refuses, name):
    (folder / name).chmod(0o640)
    assert "chmod 600" in serve_refuses(folder)
    assert name in {c.sentence.split(f"{folder}/")[1].split()[0] for c in bad(folder) if c.check == "files"}


def test_all_open_keys_at_once(folder, serve_refuses):
    for name in ("keystore.passphrase", "keystore.sealed", "tls/server-key.pem"):
        (folder / name).chmod(0o644)
    assert len(serve_refuses(folder).splitlines()) == 3
    assert not (folder / "endpoint.json").exists()


def test_keys_of_another_user(folder, serve_refuses, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    sentence = serve_refuses(folder)
    assert "expected " in sentence
    assert f"owned by the user that serves ({os.getuid() + 1})" in sentence
    assert any("keystore.sealed" in check.sentence for check in bad(folder) if check.check == "files")


@pytest.mark.parametrize("name", ["appliance.toml", "stations.toml", "skus/sku_sival.yml", "tls/ca-cert.pem", "tls"])
def test_what_others_could_change(folder, serve_refuses, name, caplog):
    (folder / "stations.toml").touch()
    (folder / name).chmod(0o775)
    settings = read_settings(folder)
    assert file_guard.changeable(settings) == []  # the folder itself is closed
    folder.chmod(0o755)
    (sentence,) = file_guard.changeable(settings)
    assert sentence == f"expected {folder / name} to be writable by its owner only: run chmod go-w {folder / name}"
    found = [check for check in examine(folder) if check.check == "files"]
    assert [(check.level, check.sentence) for check in found] == [(Level.WARNING, sentence)]
    in_production(folder)
    assert [check.level for check in examine(folder) if check.check == "files"] == [Level.WRONG]
    assert sentence in serve_refuses(folder)


@pytest.fixture
def outside(folder, tmp_path):
    """A folder and a file that everybody may change, beside an appliance folder that is closed."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open/file").write_bytes((folder / "tls/ca-cert.pem").read_bytes())
    (tmp_path / "open/file").chmod(0o666)
    assert folder.stat().st_mode & 0o077 == 0
    assert file_guard.changeable(read_settings(folder)) == []
    return tmp_path / "open/file"


@pytest.mark.parametrize(
    "lines",
    [
        {"stations": "{}"},
        {"client_ca": "{}"},
        {"certificate": "{}"},
        {"stations": "../open/file"},
        {"forward_url": "https://registry.example/x", "forward_ca": "{}"},
        {"keystore_kind": "pkcs11", "module": "{}"},
        {"registry": "postgresql://a@/d?host=/run/pg&sslrootcert={}"},
        {"registry": "postgresql://a@/d?host=/run/pg&passfile={}"},
        {"passphrase": "{}"},
    ],
    ids=lambda lines: " ".join(lines),
)
def test_what_lies_outside_is_not_protected_by_the_folder(folder, outside, lines):
    configure(folder, **{key: value.format(outside) for key, value in lines.items()})
    said = file_guard.changeable(read_settings(folder))
    wanted = [
        f"expected {path} to be writable by its owner only: run chmod go-w {path}" for path in (outside.parent, outside)
    ]
    assert said == wanted
    outside.chmod(0o644)
    assert file_guard.changeable(read_settings(folder)) == wanted[:1]
    outside.parent.chmod(0o755)
    assert file_guard.changeable(read_settings(folder)) == []
    outside.parent.parent.chmod(0o777)
    (above,) = file_guard.changeable(read_settings(folder))
    assert f"expected {outside.parent.parent} to be" in above


def test_links_and_files_of_a_sku_may_lead_outside(folder, outside):
    (folder / "tls/ca-cert.pem").unlink()
    (folder / "tls/ca-cert.pem").symlink_to(outside)
    assert len(file_guard.changeable(read_settings(folder))) == 2
    configure(folder, client_ca="tls/server-cert.pem")
    assert file_guard.changeable(read_settings(folder)) == []
    sku = folder / "skus/sku_sival.yml"
    sku.write_text(sku.read_text().replace("ca/opentitan-ca-root-v0.der", str(outside)))
    assert len(file_guard.changeable(read_settings(folder))) == 2


def test_the_passfile_of_the_database_is_a_secret(folder, tmp_path):
    passfile = tmp_path / "passfile"
    passfile.touch(0o640)
    configure(folder, registry=f"postgresql://a@/d?host=/run/pg&passfile={passfile}")
    (said,) = file_guard.exposed(read_settings(folder))
    assert f"chmod 600 {passfile}" in said
    passfile.chmod(0o600)
    assert file_guard.exposed(read_settings(folder)) == []


def test_production_serves_nothing_with_roles_that_others_can_change(folder, outside, serve_refuses):
    configure(folder, stations=str(outside), realm="production")
    said = serve_refuses(folder)
    assert f"chmod go-w {outside}" in said
    assert {check.level for check in examine(folder) if check.check == "files"} == {Level.WRONG}


def test_registered_devices_are_private(folder, serve_refuses):
    appliance = Served(folder)
    assert appliance.stop() == 0
    kept = ("registry.db", "counters.db", "audit.jsonl")
    folder.chmod(0o755)
    assert {(folder / name).stat().st_mode & 0o777 for name in kept if (folder / name).exists()} == {0o600}
    assert file_guard.exposed(read_settings(folder)) == []
    (folder / "registry.db").chmod(0o644)
    assert "registry.db to be readable by its owner only" in serve_refuses(folder)


# ---- TLS and keys -----------------------------------------------------------------------------------------------


def test_dates_of_the_server(folder):
    put_server(folder, 20)
    (found,) = bad(folder)
    assert (found.check, found.level) == ("TLS", "warning")
    assert "server-cert.pem expires on" in found.sentence
    put_server(folder, -0.5)
    (found,) = bad(folder)
    assert (found.check, found.level) == ("TLS", "wrong")
    assert "expired on" in found.sentence


def test_a_certificate_that_serves_no_client(folder):
    put_server(folder, 100, server_=False)
    assert ["serverAuth" in check.sentence for check in bad(folder)] == [True]
    put_server(folder, 100, hosts=())
    assert ["saw none: no client would accept it" in check.sentence for check in bad(folder)] == [True]


def test_a_certificate_of_tomorrow(folder, monkeypatch):
    class Yesterday(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=3)

    monkeypatch.setattr(doctor, "datetime", Yesterday)
    assert {check.check for check in bad(folder)} == {"TLS", "sku sival"}
    assert all("is not valid before" in check.sentence for check in bad(folder))


def test_keys_that_a_sku_names_and_a_ca_of_another(folder, tmp_path):
    init(tmp_path / "other")
    ca = "skus/ca/sival-dice-key-p256-v0.der"
    (folder / ca).write_bytes((tmp_path / "other" / ca).read_bytes())
    yml = folder / "skus/sku_sival.yml"
    yml.write_text(yml.read_text().replace("eg-kdf-losec-v0", "absent-v0"))
    sentences = [check.sentence for check in bad(folder)]
    assert {check.check for check in bad(folder)} == {"sku sival"}
    assert len(sentences) >= 3
    assert any("absent-v0" in sentence for sentence in sentences)
    assert any("to carry the public key of" in sentence for sentence in sentences)
    assert any("to be issued by its root" in sentence for sentence in sentences)


def test_development_certificates_in_production(folder):
    """The keys were brought over into a keystore of the other realm, as they may be into an HSM."""
    keys = read_settings(folder).keys
    passphrase = read_secret(keys.passphrase, "passphrase")
    material = unseal(keys.file, passphrase, Realm.DEV)
    keys.file.unlink()
    create_keystore(keys.file, passphrase, Realm.PRODUCTION, material)
    line = '[[station]]\nname = "a"\ncertificate = "station-1"\nskus = ["sival"]\nroles = ["FT"]\n'
    (folder / "stations.toml").write_text(line)
    in_production(folder)
    found = bad(folder)
    assert {(check.check, check.level) for check in found} == {("TLS", "wrong"), ("sku sival", "wrong")}
    assert all("is of realm dev and is refused in production" in check.sentence for check in found)
    appliance = Serving(folder)
    assert appliance.wait() == ConfigError.exit_code
    assert "server-cert.pem is of realm dev" in appliance.log.read_text()


def test_a_wrong_passphrase_and_passwords_that_cannot_be_read(folder):
    (folder / "skus/sku_auth.yml").write_text("skuAuthCfgList: 3\n")
    assert {check.check for check in bad(folder)} == {"SKU passwords"}
    (folder / "keystore.passphrase").write_text("another\n")
    found = {check.check: check for check in bad(folder)}
    assert set(found) == {"keystore", "skus"}
    assert "passphrase is wrong" in found["keystore"].sentence


# ---- records, clock, ports, environment -------------------------------------------------------------------------


def test_databases_that_cannot_be_used(folder):
    (folder / "registry.db").write_bytes(b"no database" * 100)
    (folder / "counters.db").write_bytes(b"no database" * 100)
    checks = examine(folder)
    wrong = {check.check: check.sentence for check in checks if check.level is Level.WRONG}
    assert set(wrong) == {"device store", "counters"}
    assert "expected a usable database at" in wrong["device store"]
    assert "expected a usable database at" in wrong["counters"]
    assert exit_code(checks) == 5
    add(folder, 'audit = "absent/audit.jsonl"')
    assert "audit log" in {check.check for check in bad(folder)}


def test_an_unusable_database_is_one_sentence_at_the_start(folder, serve_refuses):
    (folder / "counters.db").write_bytes(b"no database" * 100)
    assert "expected a usable database at" in serve_refuses(folder)
    (folder / "registry.db").write_bytes(b"no database" * 100)
    assert "expected a usable database at" in serve_refuses(folder)


@pytest.mark.parametrize(("free", "level"), [(50 << 20, "wrong"), (500 << 20, "warning"), (2 << 30, "ok")])
def test_free_room(folder, monkeypatch, free, level):
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert [check.level for check in examine(folder) if check.check == "disk"] == [level]


def test_a_clock_behind_the_records(folder):
    (folder / "audit.jsonl").touch()
    later = datetime.now(UTC).timestamp() + 3600
    os.utime(folder / "audit.jsonl", (later, later))
    (found,) = bad(folder)
    assert (found.check, found.level) == ("clock", "wrong")


def test_ports_taken_by_others_and_by_itself(folder):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        numbers = [taken.getsockname()[1] for taken in (one, two)]
        toml = folder / "appliance.toml"
        toml.write_text(toml.read_text().replace("port = 0", f"port = {numbers[0]}"))
        add(folder, f'metrics = "127.0.0.1:{numbers[1]}"')
        assert [check.check for check in bad(folder)] == ["port", "metrics port"]
    appliance = Served(folder, port=numbers[0], environment={"SECRET_OF_SOMEBODY": "x"})
    checks = {check.check: check.level for check in examine(folder)}
    assert appliance.stop() == 0
    assert (checks["port"], checks["metrics port"], checks["serving process"]) == ("ok", "ok", "ok")


def test_switches_that_production_refuses(folder, monkeypatch):
    monkeypatch.setenv("GRPC_TRACE", "all")
    assert [(check.check, check.level) for check in bad(folder)] == [("environment", "warning")]
    in_production(folder)
    assert ("environment", "wrong") in [(check.check, check.level) for check in bad(folder)]


def test_without_stations_everybody_may_do_everything(folder):
    def said() -> tuple[Level, str]:
        (check,) = [check for check in examine(folder) if check.check == "stations"]
        return check.level, check.sentence

    path = folder / "stations.toml"
    assert said() == (Level.WARNING, f"{path} is absent: every certificate of the CA may do everything")
    path.write_text('[[station]]\nname = "a"\ncertificate = "a"\nskus = ["sival"]\nroles = ["FT"]\n')
    assert said() == (Level.OK, "")


def test_a_sku_of_a_station_that_there_is_none_of(folder):
    line = '[[station]]\nname = "a"\ncertificate = "a"\nskus = {}\nroles = ["FT"]\n'

    def said(skus: str) -> list[str]:
        (folder / "stations.toml").write_text(line.format(skus))
        return [check.sentence for check in examine(folder) if check.check == "stations"]

    wrong = "station 'a' may work with sku 'sivall', which is none of sival (did you mean 'sival'?)"
    assert said('["sivall", "sival"]') == [wrong]
    assert said('["siv*", "*", "sival"]') == [""]
    assert said("[]") == [f"{folder / 'stations.toml'}:4: station.0.skus: expected at least 1, found 0"]


def test_stations_are_read(folder):
    (folder / "stations.toml").write_text('[[station]]\nname = "a"\ncertificate = "a"\nskus = ["x"]\nroles = ["QT"]\n')
    assert {(check.check, check.level) for check in bad(folder)} == {("stations", "wrong")}
    assert any("stations.toml:5: station.0.roles.0: expected 'CP'" in check.sentence for check in bad(folder))
