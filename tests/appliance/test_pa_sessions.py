"""Where ``station pa`` finds its appliance and who asks; an appliance that knows no realms, as the reference does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from access_bench import issue
from appliance_bench import ROOT

from station.appliance.pki import client_files
from station.credentials import CredentialStore
from station.model import Realm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "drivers" / "appliance"))
from appliance_fakes import OddAppliance, plain_server, refuse
from pa_bench import direct, rows_of

from station.wire import pa_pb2

STATION = """\
schema = 1
name = "ENG-1"
realm = "dev"
mode = "engineering"

[[socket]]
driver = "ft4232h"

[appliance]
driver = "grpc"
[appliance.settings]
endpoint = "{folder}/endpoint.json"
ca = "{folder}/tls/ca-cert.pem"
certificate = "{folder}/clients/station-1/cert.pem"
key = "{folder}/clients/station-1/key.pem"
"""


@pytest.fixture
def station_file(served, tmp_path):
    """A station file with the password in the credential store of its data folder."""
    path = tmp_path / "station.toml"
    path.write_text(STATION.format(folder=served.folder))
    store = CredentialStore(tmp_path / "data/credentials", Realm.DEV)
    store.store("sku_password_sival", client_files(served.folder, "station-1").password.read_bytes().strip())
    return path


def test_own_files_that_need_care(call, served, here, tmp_path):
    """A key that others can read and a certificate that ends soon keep nothing from working, and are told."""
    issued = issue(served.folder, "station-1", days=12.5)
    files = {"--certificate": (tmp_path / "cert.pem", issued.pem), "--key": (tmp_path / "key.pem", issued.key_pem)}
    for path, content in files.values():
        path.write_bytes(content)
    files["--key"][0].chmod(0o644)
    options = list(here)
    for name, (path, _) in files.items():
        options[options.index(name) + 1] = str(path)
    code, out, err = call("session", "sival", *options, "--json")
    said = json.loads(out)
    assert (code, said["ok"], len(said["warnings"])) == (0, True, 2)
    assert f"the key {tmp_path / 'key.pem'} can be read by others" in said["warnings"][0]
    assert "run chmod 600" in said["warnings"][0]
    assert "cert.pem ends on" in said["warnings"][1] and "in 12 days" in said["warnings"][1]
    assert err.splitlines() == [f"station: warning: {warning}" for warning in said["warnings"]]
    code, out, err = call("boot-message", "--sku", "sival", *options)
    assert code == 0 and err.count("station: warning: ") == 2, "every command says so"


def test_a_session_by_options_alone(call, here):
    code, out, err = call("session", "sival", *here, "--json")
    said = json.loads(out)
    assert (code, err, said["ok"], said["tls"], said["findings"]) == (0, "", True, True, [])
    assert 0 < said["milliseconds"] < 5000
    assert (said["event"], said["sku"]) == ("pa_session", "sival")


def test_as_a_process(served, tmp_path):
    """With its environment cleaned before gRPC is loaded: what would trace tokens is dropped."""
    command = [sys.executable, "-m", "station", "pa", "session", "sival", *direct(served.folder), "--json"]
    traced = {**os.environ, "GRPC_TRACE": "api,http", "GRPC_VERBOSITY": "debug"}
    done = subprocess.run(command, cwd=ROOT, env=traced, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ok"]


def test_a_session_of_the_station_file(call, station_file):
    code, out, _ = call("session", "sival", "--station", station_file)
    assert code == 0
    assert out.startswith("✔ session for sival: a call takes ")


def test_the_station_file_of_this_folder_and_the_endpoint_file(call, served, station_file):
    assert call("boot-message", "--sku", "sival")[:2] == (0, "ownership: OWND\n")
    code, out, _ = call("boot-message", "--sku", "sival", *direct(served.folder), "--json")
    assert (code, json.loads(out)["boot_message"]) == (0, "ownership: OWND")


def test_an_engineer_does_not_end_the_session_of_a_socket(call, served, station_file):
    from station.appliances import Appliances
    from station.config import load_config

    config = load_config(station_file)
    port = Appliances(config, CredentialStore(config.data / "credentials", Realm.DEV), lambda: 0, lambda _: None).of(1)
    port.open_session("sival")
    before = port._sessions["sival"]
    assert call("session", "sival", "--station", station_file)[0] == 0
    assert port.owner_boot_message("sival") == "ownership: OWND"
    assert port._sessions["sival"] is before
    port.close()


def test_the_password_from_stdin(call, served, here):
    password = client_files(served.folder, "station-1").password.read_bytes()
    options = [*here[:-2], "--password-stdin"]
    assert call("session", "sival", *options, stdin=password)[0] == 0
    code, out, err = call("session", "sival", *options, stdin=b"wrong\n")
    assert (code, "SKU password was not accepted" in out, err) == (4, True, "")
    code, _, err = call("session", "sival", *options)
    assert (code, "on the first line of stdin" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (lambda here: here[:-2], "expected the password of SKU sival: store it (station doctor --store"),
        (lambda here: [*here, "--password-stdin"], "either --password-file or --password-stdin"),
        (lambda here: [*here, "--no-tls"], "either --no-tls or --ca"),
        (lambda here: here[2:], "expected --target (or --endpoint) beside --ca, --certificate, --key"),
        (lambda here: [], "expected a station file"),
        (lambda here: [*here, "--driver", "grpcc"], "did you mean 'grpc'"),
        (lambda here: [here[0], here[1], *here[4:]], "expected --ca beside --target"),
        (lambda here: here[:2], "expected --ca, --certificate, --key beside --target"),
        (lambda here: [*here[:-1], "/nowhere/password"], "from /nowhere/password: No such file or directory"),
        (lambda here: [*here, "--endpoint", "x"], "either 'target' (host:port) or 'endpoint'"),
    ],
)
def test_options_that_do_not_fit(call, here, monkeypatch, options, words):
    monkeypatch.setattr("station.cli_common.user_folder", lambda: Path("/nowhere"))
    code, out, err = call("session", "sival", *options(here))
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_password_file_that_others_can_read(call, served, here, tmp_path):
    loose = tmp_path / "password"
    shutil.copy(client_files(served.folder, "station-1").password, loose)
    loose.chmod(0o644)
    code, _, err = call("session", "sival", *here[:-1], loose)
    assert (code, "readable by its owner only" in err) == (2, True)


@pytest.mark.parametrize(
    ("sku", "change", "kind"),
    [
        ("sival", {"--target": "127.0.0.1:1"}, "server_down"),
        ("sivall", {}, "sku_broken"),
        ("other", {}, "sku"),
    ],
)
def test_what_the_doctor_finds(call, here, sku, change, kind):
    options = {**dict(zip(here[::2], here[1::2], strict=True)), **change}
    code, out, err = call("session", sku, *[word for pair in options.items() for word in pair], "--json")
    said = json.loads(out)
    assert (code, err, said["ok"], said["milliseconds"]) == (4, "", False, None)
    assert [found["kind"] for found in said["findings"]] == [kind]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"--realm": "production"}, "realm"),
        ({"--ca": "/nowhere/ca.pem"}, "file"),
        ({"--certificate": __file__}, "file"),
    ],
)
def test_what_is_wrong_before_anything_is_asked_ends_with_2(call, here, change, kind):
    options = {**dict(zip(here[::2], here[1::2], strict=True)), **change}
    code, out, _ = call("session", "sival", *[word for pair in options.items() for word in pair], "--json")
    assert (code, {found["kind"] for found in json.loads(out)["findings"]}) == (2, {kind})


def test_an_expired_certificate_of_our_own_ends_with_2(call, here, monkeypatch):
    from drivers.appliance_grpc import doctor

    class Later(doctor.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz).replace(year=2090)

    monkeypatch.setattr(doctor, "datetime", Later)
    code, out, _ = call("session", "sival", *here, "--json")
    assert (code, {found["kind"] for found in json.loads(out)["findings"]}) == (2, {"expired"})


# ---- an appliance like the reference -----------------------------------------------------------------------------


@pytest.fixture
def reference(tmp_path):
    """No TLS, no realm mark, ten zero bytes for an absent CA."""
    servicer = OddAppliance()
    servicer.answers["GetCaSubjectKeys"] = lambda request, _: pa_pb2.GetCaSubjectKeysResponse(
        key_ids=[b"\1" * 20, bytes(10)][: len(request.cert_labels)]
    )
    servicer.answers["CloseSession"] = pa_pb2.CloseSessionResponse()
    password = tmp_path / "reference-password"
    password.write_text("test_password\n")
    password.chmod(0o600)
    with plain_server(servicer) as target:
        yield servicer, ["--target", target, "--no-tls", "--password-file", str(password)]


def test_an_appliance_that_says_no_realm(call, reference):
    servicer, options = reference
    code, out, _ = call("session", "sival", *options)
    assert (code, "carries no realm mark" in out) == (4, True)
    code, out, _ = call("session", "sival", *options, "--unmarked-realm", "dev")
    assert code == 0
    assert "without TLS" in out
    login = next(request for name, request, _ in servicer.seen if name == "InitSession")
    assert login.sku_auth == "test_password"


def test_short_key_ids_and_a_status_of_its_own(call, reference):
    servicer, options = reference
    options = [*options, "--unmarked-realm", "dev", "--sku", "sival"]
    code, out, _ = call("ca-keys", *options, "--label", "UDS", "--label", "EXT", "--json")
    assert code == 1, "EXT was asked for by name"
    assert rows_of(out) == [
        {"label": "UDS", "key_id": "01" * 20, "has_ca": True}, {"label": "EXT", "key_id": "00" * 20, "has_ca": False}
    ]  # fmt: skip
    servicer.answers["GetOwnerFwBootMessage"] = refuse("NOT_FOUND", "could not find attribute")
    code, out, err = call("boot-message", *options)
    assert (code, out) == (4, "")
    assert "could not find attribute" in err
    assert servicer.names().count("CloseSession") == servicer.names().count("InitSession")
