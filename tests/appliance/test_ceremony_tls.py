"""TLS certificates from the offline machine: keys stay, names are looked at, what does not fit is refused."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest
from ceremony_bench import Bench, contents, digest_check
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from station.appliance.ceremony import tls
from station.appliance.ceremony.machine import at_machine, make_machine
from station.appliance.ceremony.task import Side, Step
from station.appliance.ceremony.transfer import read_transfer
from station.appliance.certificates import new_ca, new_key, realm_name
from station.errors import ConfigError
from station.model import Realm

ENDPOINT = (Side.SPM, Side.STATION)


@pytest.fixture
def station(ended, tmp_path) -> Path:
    """The folder of a new station."""
    return tmp_path / "station"


def asked(bench: Bench, folder: Path, name: str = "ft-1", hosts: tuple[str, ...] = ()) -> Path:
    make_machine(folder, Side.STATION, bench.realm, {})
    with at_machine(folder, ENDPOINT) as machine:
        return tls.tls_csr(machine, bench.people, tls.endpoint_of(machine.side, name, hosts, False)).sent


def issue(bench: Bench, source: Path) -> Path:
    with bench.at(Side.OFFLINE) as machine:
        return tls.offline_tls_certgen(machine, bench.people, source, digest_check(source)).sent


def install(bench: Bench, folder: Path, source: Path):
    with at_machine(folder, ENDPOINT) as machine:
        return tls.tls_cert(machine, bench.people, source, digest_check(source))


def changed(path: Path, target: Path, **changes) -> Path:
    target.write_bytes(dataclasses.replace(read_transfer(path.read_bytes()), **changes).encode())
    return target


def test_server_and_client(ended, station):
    ended.tls(ended.spm, "pa-service")
    install(ended, station, issue(ended, asked(ended, station, hosts=("ft-1.example", "192.0.2.7"))))
    assert (station / "ca-cert.pem").read_bytes() == (ended.spm / "tls/ca-cert.pem").read_bytes()
    assert sorted(path.name for path in station.iterdir() if path.suffix == ".pem") == [
        "ca-cert.pem", "cert.pem", "key.pem",
    ]  # fmt: skip
    for folder, name, purpose in ((ended.spm / "tls", "server", "sslserver"), (station, "", "sslclient")):
        cert = f"{name}-cert.pem" if name else "cert.pem"
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca-cert.pem", cert]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        key = load_pem_private_key((folder / cert.replace("cert", "key")).read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((folder / cert).read_bytes())
        assert certificate.public_key() == key.public_key()
        assert (folder / cert.replace("cert", "key")).stat().st_mode & 0o777 == 0o600
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["ft-1", "localhost", "ft-1.example"]
    server = x509.load_pem_x509_certificate((ended.spm / "tls/server-cert.pem").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName)[:2] == ["pa-service", "localhost"], "the stations' target_name"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.0.2.7" in [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def test_a_client_is_no_server(ended, station):
    install(ended, station, issue(ended, asked(ended, station)))
    command = ["openssl", "verify", "-purpose", "sslserver", "-CAfile", "ca-cert.pem", "cert.pem"]
    done = subprocess.run(command, cwd=station, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "purpose" in done.stderr


def test_a_server_in_a_folder_of_its_own(ended, station):
    """How a certificate is renewed: in a new folder, whose files are moved into place."""
    make_machine(station, Side.STATION, Realm.DEV, {})
    with at_machine(station, ENDPOINT) as machine:
        source = tls.tls_csr(machine, ended.people, tls.endpoint_of(machine.side, "pa-service", (), True)).sent
    install(ended, station, issue(ended, source))
    certificate = x509.load_pem_x509_certificate((station / "cert.pem").read_bytes())
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert x509.ExtendedKeyUsageOID.SERVER_AUTH in usages


def test_the_transcripts_name_it(ended, station):
    install(ended, station, issue(ended, asked(ended, station)))
    for folder, event in ((station, "tls-cert"), (ended.offline, "offline-tls-certgen")):
        with at_machine(folder, tuple(Side)) as machine:
            entry = machine.transcript.entries[-1]
        assert (entry.event, entry.step) == ("done", event)
        assert "CN=ft-1,OU=realm dev,O=Provisioning Station" in [line.subject for line in entry.certificates]


def test_repeated_steps_do_nothing(ended, station):
    request = asked(ended, station)
    certificate = issue(ended, request)
    install(ended, station, certificate)
    before = contents(station), contents(ended.offline)
    assert asked(ended, station) == request
    assert issue(ended, request) == certificate
    assert install(ended, station, certificate).already
    assert (contents(station), contents(ended.offline)) == before


# ---- refused ---------------------------------------------------------------------------------------------------------


def csr(subject: x509.Name, key=None, names: tuple[str, ...] = ()) -> dict[str, bytes]:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    return {tls.REQUEST: builder.sign(key or new_key(), hashes.SHA256()).public_bytes(Encoding.DER)}


FT_1 = realm_name("ft-1", Realm.DEV)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"realm": Realm.PRODUCTION}, "realms never mix"),
        ({"step": Step.SPM_INIT}, "take the right file"),
        ({"items": {}}, r"a difference in tls\.csr"),
        ({"items": {tls.REQUEST: b"x"}}, "saw other bytes"),
        ({"items": csr(realm_name("ft-2", Realm.DEV))}, "the name of ft-1 and its realm"),
        ({"items": csr(realm_name("ft-1", Realm.PRODUCTION))}, "the name of ft-1 and its realm"),
        ({"items": csr(FT_1, names=("evil.example",))}, "the name of ft-1 and its realm"),
        ({"items": csr(FT_1, rsa.generate_private_key(public_exponent=65537, key_size=2048))}, "P-256 or P-384"),
        ({"facts": {"name": "../x", "role": "client", "hosts": "a"}}, "a name of letters, digits"),
        ({"facts": {"name": "ft-1", "role": "ca", "hosts": "a"}}, "a TLS server or client"),
        ({"facts": {"name": "ft-1", "role": "client", "hosts": ""}}, "host names and addresses"),
        ({"facts": {"name": "ft-1", "role": "client", "hosts": "a b/c"}}, "host names and addresses"),
        ({"facts": {}}, "a name of letters, digits"),
        ({"skus": ("sival",)}, "no SKU in particular"),
    ],
    ids=lambda value: "",
)
def test_requests_that_are_refused(ended, station, tmp_path, changes, words):
    source = changed(asked(ended, station), tmp_path / "changed", **changes)
    before = contents(ended.offline, ("ceremony.lock", "transcript.jsonl"))
    with pytest.raises(ConfigError, match=words):
        issue(ended, source)
    assert contents(ended.offline, ("ceremony.lock", "transcript.jsonl")) == before


@pytest.mark.parametrize("what", ["peer", "answers", "other key", "other CA", "no certificate", "realm"])
def test_certificates_that_are_refused(ended, station, tmp_path, what):
    source = issue(ended, asked(ended, station))
    transfer = read_transfer(source.read_bytes())
    ca = new_ca(realm_name("TLS CA", Realm.DEV), Realm.DEV)
    changes, words = {
        "peer": ({"peer": "ab" * 8}, "another ceremony"),
        "answers": ({"answers": "ab" * 32}, "an earlier or another ceremony"),
        "other key": ({"items": {tls.CERTIFICATE: ca.der, tls.CA: ca.der}}, "saw one for another key"),
        "other CA": ({"items": {**transfer.items, tls.CA: ca.der}}, "that its CA has signed"),
        "no certificate": ({"items": {**transfer.items, tls.CERTIFICATE: b"x"}}, "that its CA has signed"),
        "realm": ({"realm": Realm.PRODUCTION}, "realms never mix"),
    }[what]
    before = contents(station, ("ceremony.lock", "transcript.jsonl"))
    with pytest.raises(ConfigError, match=words):
        install(ended, station, changed(source, tmp_path / "changed", **changes))
    assert contents(station, ("ceremony.lock", "transcript.jsonl")) == before


def test_an_spm_machine_takes_the_ca_of_its_offline_machine_only(ended, tmp_path):
    ended.tls_steps(ended.spm, "pa-service")[Step.TLS_CSR]()
    with ended.at(Side.SPM) as machine:
        source = machine.transfer_path(Step.TLS_CSR)
    sent = changed(issue(ended, source), tmp_path / "changed", sender="ab" * 8)
    with pytest.raises(ConfigError, match="belongs to another ceremony"):
        install(ended, ended.spm, sent)


def test_a_certificate_in_the_way(ended, station):
    source = issue(ended, asked(ended, station))
    (station / "cert.pem").write_text("mine")
    with pytest.raises(ConfigError, match=r"expected no other file at .*cert\.pem"):
        install(ended, station, source)
    assert not (station / "ca-cert.pem").exists()


def test_a_certificate_before_its_request(ended, station, tmp_path):
    source = issue(ended, asked(ended, station))
    other = tmp_path / "other"
    make_machine(other, Side.STATION, Realm.DEV, {})
    with pytest.raises(ConfigError, match="do tls-csr first"):
        install(ended, other, source)


def test_a_key_that_others_can_read(ended, station):
    source = issue(ended, asked(ended, station))
    (station / "key.pem").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        install(ended, station, source)
