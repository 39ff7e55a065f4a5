"""Which handshakes the served process takes: TLS 1.3 only, for every kind of server key, also with ML-KEM hybrid."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from access_bench import authority
from appliance_bench import Served, Station, copy_folder
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from hello_bench import X25519MLKEM768, group_of, hello_with, observed_hello

from station.appliance.certificates import private_pem, realm_name
from station.appliance.tls_version import SWITCH
from station.model import Realm
from station.wire import pa_pb2


@pytest.fixture(scope="module", params=["P-256", "RSA"])
def appliance(tmp_path_factory, made, request):
    """A process that was told from outside to take TLS 1.2, with an elliptic-curve or an RSA server key."""
    folder = copy_folder(made, tmp_path_factory.mktemp("tls") / "appliance")
    if request.param == "RSA":
        put_rsa_server(folder)
    served = Served(folder, environment={SWITCH: "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"})
    yield served
    assert served.stop() == 0


def put_rsa_server(folder: Path) -> None:
    old = x509.load_pem_x509_certificate((folder / "tls/server-cert.pem").read_bytes())
    key, issuer = rsa.generate_private_key(65537, 2048), authority(folder)
    builder = x509.CertificateBuilder(
        old.issuer, realm_name("pa-service", Realm.DEV), key.public_key(), x509.random_serial_number(),
        old.not_valid_before_utc, old.not_valid_after_utc,
    )  # fmt: skip
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    certificate = builder.add_extension(names, critical=False).sign(issuer.key, hashes.SHA256())
    from cryptography.hazmat.primitives.serialization import Encoding

    (folder / "tls/server-cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "tls/server-key.pem").write_bytes(private_pem(key))


def s_client(appliance: Served, *options: str) -> subprocess.CompletedProcess[str]:
    """``openssl s_client`` with the station's certificate; 0: the handshake succeeded."""
    home = appliance.folder / "clients/station-1"
    trusted = ("-CAfile", appliance.folder / "tls/ca-cert.pem", "-verify_return_error", "-alpn", "h2")
    shown = ("-cert", home / "cert.pem", "-key", home / "key.pem")
    command = ["openssl", "s_client", "-connect", appliance.target, *trusted, *shown, *options]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=30
    )


def test_tls_13_is_accepted(appliance):
    done = s_client(appliance, "-tls1_3")
    assert done.returncode == 0, done.stderr
    assert "New, TLSv1.3, Cipher is TLS_" in done.stdout
    client = Station(appliance.folder, appliance.target)
    client.log_in()
    assert client.call("GetOwnerFwBootMessage", pa_pb2.GetOwnerFwBootMessageRequest(sku="sival")).boot_message
    client.close()


@pytest.mark.parametrize(
    "options",
    [
        ("-tls1_2",),
        ("-tls1_2", "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "PSK:@SECLEVEL=0", "-psk", "00" * 16, "-psk_identity", "anybody"),
        ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
    ],
    ids=["1.2", "1.2 all", "1.2 shared key", "1.1"],
)
def test_older_versions_are_refused(appliance, options):
    done = s_client(appliance, *options)
    assert done.returncode != 0
    assert "Cipher is (NONE)" in done.stdout


def test_ml_kem_hybrid_is_the_group_of_our_own_client(appliance):
    client_hello, server_hello = observed_hello(appliance.ready["port"], appliance.folder)
    assert group_of(server_hello) == X25519MLKEM768
    assert X25519MLKEM768.to_bytes(2, "big") in client_hello


@pytest.mark.parametrize("name", ["X25519MLKEM768", "X25519"])
def test_a_client_that_offers_one_group_only(appliance, name):
    hello, group = hello_with(name)
    with socket.create_connection(("127.0.0.1", appliance.ready["port"]), 10) as plain:
        plain.settimeout(10)
        plain.sendall(hello)
        assert group_of(plain.makefile("rb")) == group
