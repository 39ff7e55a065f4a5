"""``station pa`` against a served appliance of ours, and against one that knows no realms, as the reference does."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from appliance_bench import (
    ROOT,
    TestPart,
    copy_folder,
    dice_ca_of,
    root_ca_of,
)
from appliance_bench import Served as ServedAppliance
from token_bench import raw

from station.appliance.check_value import check_value
from station.appliance.device_store import DeviceStore
from station.appliance.emulated_device import device_signature, leaf_tbs
from station.appliance.pki import client_files, init
from station.appliance.selftest.oracle import registry_id
from station.cli import command_line
from station.credentials import CredentialStore
from station.errors import ConfigError
from station.formats.der import parse_certificate
from station.formats.dice import verify_chain
from station.formats.lc_token import lc_hash
from station.model import Realm, Registration
from station.registrations import read_registration, registration_body
from station.secret import Secret

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "drivers" / "appliance"))
from appliance_fakes import OddAppliance, plain_server, refuse

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
def call(monkeypatch, capsys, tmp_path):
    """Run one command in this process; exit code, what it printed, what it complained of."""
    monkeypatch.setattr("station.pa_connection.harden_process", lambda: None)
    monkeypatch.setattr("station.pa_connection.clean_environment", lambda realm: None)
    monkeypatch.delenv("STATION_FILE", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["station", "pa", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = command_line()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def direct(folder: Path, target: str = "") -> list[str]:
    """Options that say everything."""
    files = client_files(folder, "station-1")
    where = ["--target", target] if target else ["--endpoint", str(folder / "endpoint.json")]
    return [*where, "--ca", str(files.ca), "--certificate", str(files.certificate), "--key", str(files.key),
            "--password-file", str(files.password)]  # fmt: skip


@pytest.fixture
def here(served):
    return direct(served.folder, served.target)


@pytest.fixture
def station_file(served, tmp_path):
    """A station file with the password in the credential store of its data folder."""
    path = tmp_path / "station.toml"
    path.write_text(STATION.format(folder=served.folder))
    store = CredentialStore(tmp_path / "data/credentials", Realm.DEV)
    store.store("sku_password_sival", client_files(served.folder, "station-1").password.read_bytes().strip())
    return path


def rows_of(out: str) -> list[dict]:
    return json.loads(out)


# ---- where the appliance is and who asks ------------------------------------------------------------------------


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
        (lambda here: [here[0], here[1], *here[4:]], "expected PEM files for ca"),
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
        ("sival", {"--realm": "production"}, "realm"),
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


# ---- an appliance like the reference ----------------------------------------------------------------------------


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
    assert code == 0
    assert rows_of(out) == [
        {"label": "UDS", "key_id": "01" * 20, "has_ca": True}, {"label": "EXT", "key_id": "00" * 20, "has_ca": False}
    ]  # fmt: skip
    servicer.answers["GetOwnerFwBootMessage"] = refuse("NOT_FOUND", "could not find attribute")
    code, out, err = call("boot-message", *options)
    assert (code, out) == (4, "")
    assert "could not find attribute" in err
    assert servicer.names().count("CloseSession") == servicer.names().count("InitSession")


# ---- CAs --------------------------------------------------------------------------------------------------------


def test_ca_keys(call, served, here):
    code, out, _ = call("ca-keys", "--sku", "sival", *here, "--json")
    wanted = parse_certificate(dice_ca_of(served.folder)).tbs.ski.hex()
    assert code == 0
    assert {row["label"]: row["key_id"] for row in rows_of(out)} == {
        "UDS": wanted, "EXT": "00" * 20, "UDS_MLDSA": "00" * 20, "EXT_MLDSA": "00" * 20
    }  # fmt: skip
    assert wanted in call("ca-keys", "--sku", "sival", *here)[1]


def test_ca_certs(call, served, here, tmp_path):
    code, out, _ = call("ca-certs", "--sku", "sival", *here, "--out", tmp_path / "cas", "--json")
    assert code == 0
    assert (tmp_path / "cas/root.der").read_bytes() == root_ca_of(served.folder)
    assert (tmp_path / "cas/dice.der").read_bytes() == dice_ca_of(served.folder)
    assert [row["label"] for row in rows_of(out)] == ["root", "dice"]
    assert rows_of(out)[0]["file"] == str(tmp_path / "cas/root.der")
    assert rows_of(out)[0]["valid_until"] > "2040"
    assert call("ca-certs", "--sku", "sival", *here, "--out", tmp_path / "cas")[0] == 0  # the same stays
    (tmp_path / "cas/dice.der").write_bytes(b"mine")
    code, _, err = call("ca-certs", "--sku", "sival", *here, "--out", tmp_path / "cas")
    assert (code, "never overwritten" in err) == (2, True)
    assert (tmp_path / "cas/dice.der").read_bytes() == b"mine"


def test_a_ca_that_the_sku_lacks(call, here, tmp_path):
    code, out, err = call("ca-certs", "--sku", "sival", *here, "--label", "ext", "--out", tmp_path / "cas")
    assert (code, out) == (4, "")
    assert "NOT_FOUND" in err
    assert not (tmp_path / "cas").exists()


# ---- endorse ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tbs(served, tmp_path):
    part = TestPart(dice_ca_of(served.folder), 4711)
    path = tmp_path / "uds.tbs"
    path.write_bytes(part.uds_tbs)
    return path


@pytest.fixture
def was(served) -> bytes:
    """The wafer secret of the reference diversifier, from the appliance's keystore."""
    from sku_bench import open_spm

    with open_spm(served.folder)._keystore.hmac_sha256("eg-kdf-hisec-v0", b"was".ljust(48, b"\0")).reveal() as value:
        return value


def test_endorse_with_a_derived_secret(call, served, here, tbs, was, tmp_path):
    code, out, err = call(
        "endorse", "--sku", "sival", *here, "--derive-was", "--out", tmp_path / "certs", tbs, "--json"
    )
    assert (code, err) == (0, "")
    certificate = (tmp_path / "certs/uds.tbs.cert.der").read_bytes()
    chain = verify_chain([root_ca_of(served.folder), dice_ca_of(served.folder), certificate])
    assert chain[2].tbs.raw == tbs.read_bytes()
    (row,) = rows_of(out)
    assert (row["label"], row["file"]) == ("UDS", str(tmp_path / "certs/uds.tbs.cert.der"))
    assert was.hex() not in out + err


@pytest.mark.parametrize("form", ["hex", "hex file", "raw file"])
def test_endorse_with_the_parts_own_proof(call, here, tbs, was, tmp_path, form):
    proof = device_signature(was, tbs.read_bytes())
    given = tmp_path / "proof"
    given.write_bytes(proof if form == "raw file" else f"{proof.hex()}\n".encode())
    how = ["--signature", proof.hex()] if form == "hex" else ["--signature-file", given]
    assert call("endorse", "--sku", "sival", *here, *how, tbs)[0] == 0
    assert (tmp_path / "uds.tbs.cert.der").exists()


def test_several_files_in_their_order(call, served, here, tbs, was, tmp_path):
    other = tmp_path / "other.tbs"
    other.write_bytes(leaf_tbs("other", dice_ca_of(served.folder)))
    proof = device_signature(was, tbs.read_bytes() + other.read_bytes()).hex()
    wrong = call("endorse", "--sku", "sival", *here, "--signature", proof, other, tbs)
    assert (wrong[0], "does not endorse this part" in wrong[2]) == (4, True)
    assert list(tmp_path.glob("*.cert.der")) == []
    assert call("endorse", "--sku", "sival", *here, "--signature", proof, tbs, other)[0] == 0
    for path in (tbs, other):
        issued = parse_certificate(path.with_name(f"{path.name}.cert.der").read_bytes())
        assert issued.tbs.raw == path.read_bytes()


def test_another_hash_and_mldsa_follow_the_tbs(call, tmp_path):
    """The SKU with an ML-DSA CA: each TBS is signed with the algorithm that stands in it."""
    from cryptography.hazmat.primitives import hashes

    folder = tmp_path / "appliance"
    init(folder, ["station-1"], skus=["sival_pqc"])
    cas = {name: (folder / f"skus/ca/{name}.der").read_bytes() for name in (
        "sival-dice-key-p256-v0", "sival_pqc-dice-key-mldsa-v0")}  # fmt: skip
    files = {
        "sha384.tbs": leaf_tbs("a", cas["sival-dice-key-p256-v0"], hash_algorithm=hashes.SHA384()),
        "sha512.tbs": leaf_tbs("b", cas["sival-dice-key-p256-v0"], hash_algorithm=hashes.SHA512()),
        "mldsa.tbs": leaf_tbs("c", cas["sival_pqc-dice-key-mldsa-v0"], "ML-DSA-87"),
    }
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    appliance = ServedAppliance(folder)
    labels = [word for label in ("UDS", "UDS", "UDS_MLDSA") for word in ("--label", label)]
    try:
        done = call("endorse", "--sku", "sival_pqc", *direct(folder), "--derive-was", *labels, *files)
    finally:
        assert appliance.stop() == 0
    assert done[0] == 0, done
    oids = [parse_certificate((tmp_path / f"{name}.cert.der").read_bytes()).algorithm for name in files]
    assert oids == ["1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4", "2.16.840.1.101.3.4.3.19"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--derive-was", "absent.tbs"], "expected a TBS certificate at absent.tbs"),
        (["uds.tbs"], "one of --signature, --signature-file and --derive-was"),
        (["--derive-was", "--signature", "00" * 32, "uds.tbs"], "one of --signature"),
        (["--signature", "00" * 31, "uds.tbs"], "expected the part's proof as 32 bytes"),
        (["--signature", "zz" * 32, "uds.tbs"], "expected the part's proof as 32 bytes"),
        (["--signature-file", "uds.tbs", "uds.tbs"], "expected the part's proof as 32 bytes"),
        (["--derive-was", "--label", "A", "--label", "B", "uds.tbs"], "one --label, or one for each of 1 files"),
        (["--derive-was", "uds.tbs", "uds.tbs"], "uds.tbs.cert.der twice"),
        (["--derive-was", "taken.tbs"], "expected no file at taken.tbs.cert.der"),
    ],
)
def test_endorsements_that_are_never_asked_for(call, here, tbs, tmp_path, monkeypatch, arguments, words):
    for name in ("taken.tbs", "taken.tbs.cert.der"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr("station.pa_commands.opened", lambda *_: pytest.fail("nothing may be asked"))
    code, out, err = call("endorse", "--sku", "sival", *here, *arguments)
    assert (code, out) == (2, "")
    assert words in err


# ---- register ---------------------------------------------------------------------------------------------------


@pytest.fixture
def registration(served, was) -> Registration:
    from appliance_bench import Station, endorse_request

    from station.appliance.emulated_device import ecdsa_params
    from station.formats.device_id import DeviceId, HardwareOrigin

    part = TestPart(dice_ca_of(served.folder), 815)
    client = Station(served.folder, served.target, user="makes a registration")
    client.log_in()
    answer = client.call("EndorseCerts", endorse_request(was, [(ecdsa_params("UDS"), part.uds_tbs)]))
    client.close()
    request = part.registration(answer.certs[0].cert.blob)
    return Registration(
        sku="sival", device_id=DeviceId(HardwareOrigin(0x4001, 3, 815)).pack(), life_cycle="PROD",
        wrapped_rma_seed=b"wrapped", perso_tlv=request.device_data.perso_tlv_data, perso_tlv_objects=4,
        perso_fw_sha256=bytes(32), certs_sha256=request.certs_hash,
    )  # fmt: skip


def write(path: Path, registration: Registration, **changes) -> Path:
    body = {**registration_body(registration), **changes}
    path.write_text(json.dumps({name: value for name, value in body.items() if value is not None}))
    return path


def test_register_from_a_file(call, served, here, registration, tmp_path):
    file = write(tmp_path / "device.json", registration, ate_id=None, year=None)
    assert read_registration(file) == registration
    code, out, _ = call("register", file, *here, "--json")
    assert code == 0
    assert json.loads(out) == {
        "event": "pa_registered", "sku": "sival", "device_id": registration.device_id.hex(), "from": str(file)
    }  # fmt: skip
    store = DeviceStore(served.folder / "registry.db")
    assert len(store.find(registry_id(815))) == 1
    store.close()
    assert call("register", file, *here)[:2] == (0, f"registered {registration.device_id.hex()} of sival\n")


def test_a_registration_that_the_appliance_refuses(call, here, registration, tmp_path):
    file = write(tmp_path / "device.json", registration, certs_sha256="00" * 32)
    code, out, err = call("register", file, *here)
    assert (code, out) == (4, "")
    assert "certificate hash mismatch" in err
    assert registration.perso_tlv.hex()[:64] not in err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"devise_id": "00"}, "unknown field 'devise_id' (did you mean 'device_id'?)"),
        ({"perso_tlv": None}, "expected the field 'perso_tlv', saw none"),
        ({"perso_tlv": "xyz"}, "expected hex digits, two for each byte, for 'perso_tlv'"),
        ({"device_id": "00" * 31}, "expected 32 bytes for 'device_id', saw 31"),
        ({"perso_tlv_objects": "4"}, "expected a whole number from 0"),
        ({"perso_tlv_objects": True}, "expected a whole number from 0"),
        ({"week": -1}, "expected a whole number from 0"),
        ({"sku": 1}, "expected a text for 'sku', saw int"),
    ],
)
def test_a_file_that_is_no_registration(registration, tmp_path, changes, words):
    with pytest.raises(ConfigError) as failed:
        read_registration(write(tmp_path / "device.json", registration, **changes))
    assert words in str(failed.value)
    assert str(failed.value).startswith(str(tmp_path / "device.json"))
    assert registration.perso_tlv.hex()[:64] not in str(failed.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff"])
def test_a_file_that_is_no_json_object(call, here, tmp_path, text):
    (tmp_path / "device.json").write_text(text)
    code, _, err = call("register", "device.json", *here)
    assert (code, "expected a registration as JSON object" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a FILE or --part NAME"),
        (["x.json", "--part", "D1"], "expected a FILE or --part NAME"),
        (["--part", "D1", "--target", "x:1"], "expected the station's own appliance"),
        (["--part", "D1", "--password-stdin"], "expected the station's own appliance"),
    ],
)
def test_what_is_to_be_registered(call, arguments, words):
    code, _, err = call("register", *arguments)
    assert (code, words in err) == (2, True)


# ---- tokens -----------------------------------------------------------------------------------------------------


def test_check_values_tell_appliances_apart(call, served, here, made, tmp_path):
    code, out, _ = call("tokens", "--sku", "sival", *here, "--json")
    assert code == 0
    rows = rows_of(out)
    assert [row["diversifier"] for row in rows] == ["test_unlock", "test_exit"]
    from sku_bench import open_spm

    spm = open_spm(served.folder)
    for row in rows:
        with spm._keystore.hmac_sha256("eg-kdf-losec-v0", row["diversifier"].encode().ljust(48, b"\0")).reveal() as mac:
            token = Secret(lc_hash(mac[:16]), "token")
        assert row["check_value"] == check_value(token)
        assert raw(token).hex() not in out
        assert row["hash"] == ""
    assert call("tokens", "--sku", "sival", *here, "--json")[1] == out
    other = ServedAppliance(copy_folder(made, tmp_path / "other"))
    try:
        elsewhere = rows_of(call("tokens", "--sku", "sival", *direct(other.folder), "--json")[1])
    finally:
        assert other.stop() == 0
    assert {row["check_value"] for row in elsewhere}.isdisjoint({row["check_value"] for row in rows})


def test_fresh_tokens_and_their_wrapped_seeds(call, served, here, tmp_path):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from station.appliance.seed_recovery import rma_token, unwrap_seed

    options = ["--sku", "sival", *here, "--seed", "fresh", "--diversifier", "rma"]
    code, out, _ = call("tokens", *options, "--out", tmp_path / "seeds", "--json")
    (row,) = rows_of(out)
    assert code == 0
    wrapped = (tmp_path / "seeds/rma.wrapped").read_bytes()
    seed = unwrap_seed(wrapped, load_pem_private_key((served.folder / "offline/rma-key.pem").read_bytes(), None))
    assert row["hash"] == lc_hash(rma_token(seed, b"rma".ljust(48, b"\0"))).hex()
    assert row["check_value"] == ""
    code, _, err = call("tokens", *options, "--out", tmp_path / "seeds")
    assert (code, "nothing is overwritten" in err) == (2, True)
    assert "384 bytes" in call("tokens", *options)[1]


def test_tokens_that_are_never_asked_for(call, here, monkeypatch):
    monkeypatch.setattr("station.pa_commands.opened", lambda *_: pytest.fail("nothing may be asked"))
    for more, words in (
        (["--out", "x"], "expected --seed fresh beside --out"),
        (["--seed", "fresh", "--out", "x", "--diversifier", "a/b", "--diversifier", "a_b"], "a_b.wrapped twice"),
    ):
        code, _, err = call("tokens", "--sku", "sival", *here, *more)
        assert (code, words in err) == (2, True), err


def test_a_short_secret_has_no_check_value():
    with pytest.raises(ConfigError, match="no check value"):
        check_value(Secret(b"123456", "PIN"))
