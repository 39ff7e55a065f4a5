"""The connection doctor tells apart what gRPC reports alike; every case with a real server on loopback."""

from __future__ import annotations

import re
import secrets
import shutil
import socket
import threading
from dataclasses import replace
from datetime import datetime, timedelta

import bcrypt
import pytest
from appliance_bench import Served, copy_folder
from appliance_fakes import OddAppliance, plain_server
from cryptography import x509

from drivers.appliance_grpc.doctor import addresses
from drivers.appliance_grpc.settings import read_settings
from station.appliance import certificates
from station.appliance.certificates import Issued, new_ca, new_endpoint, realm_name
from station.appliance.keystore import create_keystore, unseal
from station.appliance.pki import _ec_key, init
from station.appliance.session_tokens import SESSION_KEY
from station.errors import ApplianceError
from station.model import Realm
from station.secret import Secret


def kinds(appliance, sku="sival") -> list[str]:
    found = appliance.diagnose(sku)
    for diagnosis in found:
        assert str(diagnosis) == diagnosis.sentence
        assert ": " in diagnosis.sentence or "; " in diagnosis.sentence  # seen, then what to try
    return [diagnosis.kind for diagnosis in found]


def error_of(appliance) -> ApplianceError:
    with pytest.raises(ApplianceError) as failed:
        appliance.open_session("sival")
    return failed.value


@pytest.fixture
def authority(folder) -> Issued:
    return Issued(
        x509.load_pem_x509_certificate((folder / "tls/ca-cert.pem").read_bytes()),
        _ec_key((folder / "offline/tls-ca-key.pem").read_bytes()),
    )


@pytest.fixture
def issue(tmp_path, authority):
    """Client files of a certificate that the test describes."""

    def write(
        issuer=authority, realm=Realm.DEV, hosts=("localhost", "127.0.0.1", "::1"), server=False
    ) -> dict[str, str]:
        issued = new_endpoint(realm_name("odd", realm), hosts, issuer, server=server)
        (tmp_path / "odd-cert.pem").write_bytes(issued.pem)
        (tmp_path / "odd-key.pem").write_bytes(issued.key_pem)
        return {"certificate": str(tmp_path / "odd-cert.pem"), "key": str(tmp_path / "odd-key.pem")}

    return write


@pytest.fixture
def shifted(monkeypatch):
    """Issue certificates as if it were another day."""

    def shift(days: int) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + timedelta(days=days)

        monkeypatch.setattr(certificates, "datetime", Clock)

    return shift


@pytest.fixture
def with_server_certificate(folder, tmp_path, authority):
    """An appliance process that shows another certificate."""
    running = []

    def start(hosts=("localhost", "127.0.0.1"), realm=Realm.DEV) -> Served:
        copied = copy_folder(folder, tmp_path / f"served-{len(running)}")
        issued = new_endpoint(realm_name("pa", realm), hosts, authority, server=True)
        (copied / "tls/server-cert.pem").write_bytes(issued.pem)
        (copied / "tls/server-key.pem").write_bytes(issued.key_pem)
        running.append(Served(copied))
        return running[-1]

    yield start
    for appliance in running:
        assert appliance.stop() == 0


def test_all_is_well(served, folder, connect):
    assert kinds(connect(folder)) == []
    assert kinds(connect(folder), sku="") == []


# ---- a fleet ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fleet(folder, tmp_path, connect):
    """A client of several appliance processes behind one target, each on a folder that a function has changed."""
    running = []

    def start(*changes, **settings):
        for number, change in enumerate(changes):
            copied = copy_folder(folder, tmp_path / f"instance-{number}")
            change(copied)
            running.append(Served(copied))
        target = "ipv4:" + ",".join(f"127.0.0.1:{appliance.ready['port']}" for appliance in running)
        fixed = {"endpoint": None, "target": target, "target_name": "localhost", "load_balancing": "round_robin"}
        return connect(folder, **{**fixed, **settings})

    yield start
    for appliance in running:
        assert appliance.stop() == 0


def unchanged(folder):
    pass


def another_session_key(folder):
    passphrase = Secret((folder / "keystore.passphrase").read_bytes().strip(), "passphrase")
    material = unseal(folder / "keystore.sealed", passphrase, Realm.DEV)
    (folder / "keystore.sealed").unlink()
    changed = replace(material, secret={**material.secret, SESSION_KEY: secrets.token_bytes(32)})
    create_keystore(folder / "keystore.sealed", passphrase, Realm.DEV, changed)


def audited(folder) -> int:
    return len((folder / "audit.jsonl").read_text().splitlines())


def test_a_fleet_of_copies(fleet, tmp_path):
    appliance = fleet(unchanged, unchanged)
    assert kinds(appliance) == []
    folders = [tmp_path / f"instance-{number}" for number in range(2)]
    before = sum(map(audited, folders))
    assert kinds(appliance) == []
    assert sum(map(audited, folders)) == before + 2, "once it is known to be one it costs a login and its end"
    lines = "".join((folder / "audit.jsonl").read_text() for folder in folders)
    assert lines.count("CloseSession") == lines.count("InitSession"), "no session of the doctor is left open"


@pytest.mark.parametrize(("balancing", "found"), [("round_robin", ["fleet"]), ("pick_first", [])])
def test_instances_that_do_not_share_their_session_key(fleet, tmp_path, balancing, found):
    """Without turns the client stays at one, and logs in again when that one is gone."""
    appliance = fleet(unchanged, another_session_key, load_balancing=balancing)
    assert kinds(appliance) == found
    assert kinds(appliance) == found, "as long as it is so"
    if found:
        (sentence,) = map(str, appliance.diagnose("sival"))
        assert "does not know a session of ipv4:127.0.0.1:" in sentence
        assert "give all instances the keystore of one" in sentence


@pytest.mark.parametrize("balancing", ["round_robin", "pick_first"])
def test_instances_with_other_ca_keys(fleet, tmp_path, balancing):
    """As two SPM machines of one ceremony have them."""
    init(tmp_path / "foreign")

    def foreign_keys(folder):
        for name in ("keystore.sealed", "keystore.passphrase", "skus/ca"):
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
            copy = shutil.copytree if (tmp_path / "foreign" / name).is_dir() else shutil.copy2
            copy(tmp_path / "foreign" / name, folder / name)

    appliance = fleet(unchanged, unchanged, foreign_keys, load_balancing=balancing)
    assert kinds(appliance) == ["fleet"]
    (sentence,) = map(str, appliance.diagnose("sival"))
    assert "has other CA keys than ipv4:127.0.0.1:" in sentence


def test_an_instance_with_another_password(fleet):
    def other_password(folder):
        auth = folder / "skus/sku_auth.yml"
        hashed = bcrypt.hashpw(b"another", bcrypt.gensalt(4, prefix=b"2a")).decode()
        auth.write_text(re.sub(r'skuAuth: ".*"', f'skuAuth: "{hashed}"', auth.read_text()))

    appliance = fleet(unchanged, other_password, load_balancing="pick_first")
    assert kinds(appliance) == ["password"]


def test_targets_of_single_instances():
    for target, instances in (
        ("ipv4:10.0.0.1:5,10.0.0.2:6", ("ipv4:10.0.0.1:5", "ipv4:10.0.0.2:6")),
        ("ipv6:[::1]:5,[::2]:6", ("ipv6:[::1]:5", "ipv6:[::2]:6")),
        ("pa.example:5003", ("pa.example:5003",)),
        ("dns:///pa.example:5003", ("dns:///pa.example:5003",)),
    ):
        password = Secret(b"password", "password")
        assert read_settings({"target": target, "tls": "off", "sku_password": password}).instances == instances


# ---- what is between the station and one appliance -------------------------------------------------------------------


def test_server_down(served, folder, connect, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    appliance = connect(folder, endpoint=None, target=f"localhost:{port}")
    assert kinds(appliance) == ["server_down"]
    assert f"localhost:{port}" in str(error_of(appliance))
    assert error_of(appliance).code == "UNAVAILABLE"
    never = connect(folder, endpoint=str(tmp_path / "endpoint.json"))
    assert kinds(never) == ["server_down"]
    assert "start the appliance" in str(error_of(never))


def test_name_that_does_not_resolve(folder, connect):
    assert kinds(connect(folder, endpoint=None, target="no-such-host.invalid:5000")) == ["address"]


def test_unknown_ca(served, folder, connect, tmp_path):
    other = new_ca(realm_name("other", Realm.DEV), Realm.DEV)
    (tmp_path / "other-ca.pem").write_bytes(other.pem)
    appliance = connect(folder, ca=str(tmp_path / "other-ca.pem"))
    assert kinds(appliance) == ["unknown_ca"]
    assert "other-ca.pem" in str(error_of(appliance))


def test_wrong_host_name(with_server_certificate, connect):
    appliance = with_server_certificate(hosts=["elsewhere.example"])
    assert kinds(connect(appliance.folder)) == ["host_name"]
    assert "another name" in str(error_of(connect(appliance.folder)))
    assert kinds(connect(appliance.folder, target_name="elsewhere.example")) == []


def test_rejected_client_certificate(served, folder, connect, issue):
    foreign = issue(issuer=new_ca(realm_name("foreign", Realm.DEV), Realm.DEV))
    appliance = connect(folder, **foreign)
    assert kinds(appliance) == ["client_rejected"]
    assert "odd-cert.pem" in str(error_of(appliance))


def test_client_certificate_of_another_computer(served, folder, connect, issue):
    appliance = connect(folder, **issue(hosts=["elsewhere.example"]))
    assert kinds(appliance) == ["client_address"]
    assert "issue a client certificate for it" in str(error_of(appliance))


def test_expired_client_certificate(served, folder, connect, issue, shifted):
    shifted(-2000)
    appliance = connect(folder, **issue())
    assert kinds(appliance) == ["expired"]
    assert "expired on" in str(error_of(appliance))


def test_client_certificate_of_tomorrow(served, folder, connect, issue, shifted):
    shifted(100)
    assert kinds(connect(folder, **issue())) == ["not_yet_valid"]


def test_expired_ca(served, folder, connect, tmp_path, shifted):
    shifted(-9000)
    (tmp_path / "old-ca.pem").write_bytes(new_ca(realm_name("old", Realm.DEV), Realm.DEV).pem)
    assert kinds(connect(folder, ca=str(tmp_path / "old-ca.pem"))) == ["expired"]


def test_expired_server_certificate(with_server_certificate, connect, shifted):
    shifted(-2000)
    appliance = with_server_certificate()
    assert kinds(connect(appliance.folder)) == ["server_expired"]
    assert "renew it on the appliance" in str(error_of(connect(appliance.folder)))


def test_wrong_realm_in_the_certificates(with_server_certificate, connect, issue, served, folder):
    assert kinds(connect(folder, realm="production")) == ["realm"]  # the client's own certificate is of realm dev
    production = issue(realm=Realm.PRODUCTION)
    assert kinds(connect(folder, realm="production", **production)) == ["realm"]  # the server's is
    marked = with_server_certificate(realm=Realm.PRODUCTION)
    assert kinds(connect(marked.folder)) == ["realm"]


def test_wrong_realm_at_the_login(served, folder, connect, issue):
    error = error_of(connect(folder, realm="production", **issue(realm=Realm.PRODUCTION)))
    assert (error.code, "realm" in str(error)) == ("FAILED_PRECONDITION", True)


def test_wrong_password_and_wrong_sku(served, folder, connect):
    wrong = connect(folder, sku_password=Secret(b"wrong-password", "SKU password"))
    assert kinds(wrong) == ["password"]
    assert "wrong-password" not in str(wrong.diagnose("sival")[0])
    assert kinds(connect(folder), sku="saval") == ["sku"]


def test_no_tls_at_the_other_end(folder, connect):
    with plain_server(OddAppliance()) as target:
        appliance = connect(folder, endpoint=None, target=target)
        assert kinds(appliance) == ["no_tls"]
        assert "speaks no TLS" in str(error_of(appliance))


def test_tls_at_the_other_end_only(served, folder, connect):
    port = served.ready["port"]
    plain = connect(folder, endpoint=None, target=f"127.0.0.1:{port}", tls="off")
    assert kinds(plain) != []


def test_a_listener_that_says_nothing(folder, connect):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        appliance = connect(folder, endpoint=None, target=f"127.0.0.1:{silent.getsockname()[1]}", deadline=0.4)
        assert kinds(appliance) == ["no_answer"]


def test_a_listener_that_hangs_up(folder, connect):
    with socket.socket() as rude:
        rude.bind(("127.0.0.1", 0))
        rude.listen()

        def hang_up():
            connection, _ = rude.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        found = kinds(connect(folder, endpoint=None, target=f"127.0.0.1:{rude.getsockname()[1]}", deadline=2))
        thread.join(5)
    assert found in (["client_rejected"], ["no_tls"])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ca", None, "No such file"),
        ("certificate", None, "No such file"),
        ("key", None, "No such file"),
        ("certificate", b"no PEM", "something else"),
        ("key", b"no PEM", "PEM private key"),
    ],
)
def test_files(folder, connect, tmp_path, name, content, words):
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_bytes(content)
    appliance = connect(folder, **{name: str(path)})
    (found,) = appliance.diagnose("sival")
    assert (found.kind, found.file) == ("file", path)
    assert words in found.sentence
    assert error_of(appliance).code == "UNAVAILABLE"


def test_key_of_another_certificate(folder, connect, issue):
    (found,) = connect(folder, key=issue()["key"]).diagnose("sival")
    assert (found.kind, "does not belong to" in found.sentence) == ("file", True)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("localhost:5000", [("localhost", 5000)]),
        ("ipv4:127.0.0.1:1,10.0.0.2:2", [("127.0.0.1", 1), ("10.0.0.2", 2)]),
        ("ipv6:[::1]:7", [("::1", 7)]),
        ("[::1]:7", [("::1", 7)]),
        ("dns:///pa.example:7", [("pa.example", 7)]),
        ("pa.example", [("pa.example", 443)]),
    ],
)
def test_addresses_of_a_target(target, expected):
    assert addresses(target) == expected
