"""``appliance init``: a whole development PKI, marked with its realm, private where it must be, never overwritten."""

from __future__ import annotations

import json
import subprocess

import pytest
from cryptography import x509

from station.appliance.commands import init_command
from station.appliance.pki import init
from station.errors import ConfigError

PRIVATE = {
    "keystore.sealed", "keystore.passphrase", "tls/server-key.pem", "offline/tls-ca-key.pem", "offline/ca-root-key.pem",
    "offline/rma-key.pem", "clients/station-1/key.pem", "clients/station-2/key.pem", "clients/sku_password",
    "clients/sku_password_sival", "skus/sku_auth.yml",
}  # fmt: skip


def test_private_files_are_private(made):
    modes = {str(p.relative_to(made)): p.stat().st_mode & 0o777 for p in made.rglob("*") if p.is_file()}
    assert {name for name, mode in modes.items() if mode & 0o077 == 0} == PRIVATE
    assert made.stat().st_mode & 0o777 == 0o700


def test_every_certificate_says_dev(made):
    certificates = [x509.load_pem_x509_certificate(p.read_bytes()) for p in made.rglob("*cert.pem")]
    certificates += [x509.load_der_x509_certificate(p.read_bytes()) for p in made.rglob("*.der")]
    assert len(certificates) == 6
    for certificate in certificates:
        units = [a.value for a in certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)]
        comments = [e.value.value for e in certificate.extensions if e.oid.dotted_string == "2.16.840.1.113730.1.13"]
        assert "realm dev" in units or any(b"realm dev" in comment for comment in comments)


def test_issuer_that_firmware_names(made):
    certificate = x509.load_der_x509_certificate((made / "skus/ca/sival-dice-key-p256-v0.der").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=Google Engineering ICA,OU=Engineering,O=Google,ST=CA,C=US"
    assert certificate.subject != certificate.issuer
    assert certificate.subject.public_bytes().hex() == (  # the bytes that firmware carries, string types included
        "3062310b3009060355040613025553310b300906035504080c024341310f300d060355040a0c06476f6f676c6531143012060355040b0c"
        "0b456e67696e656572696e67311f301d06035504030c16476f6f676c6520456e67696e656572696e6720494341"
    )


def test_rma_key_is_rsa_3072(made):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    assert load_pem_private_key((made / "offline/rma-key.pem").read_bytes(), None).key_size == 3072


def test_openssl_accepts_the_tls_certificates(made):
    for certificate, purpose in (("tls/server-cert.pem", "sslserver"), ("clients/station-1/cert.pem", "sslclient")):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "tls/ca-cert.pem", certificate]
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr


def test_two_appliances_share_nothing(made, tmp_path):
    init(tmp_path / "second")
    for name in ("keystore.passphrase", "clients/sku_password", "skus/ca/opentitan-ca-root-v0.der", "tls/ca-cert.pem"):
        assert (tmp_path / "second" / name).read_bytes() != (made / name).read_bytes()


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("mine")
    with pytest.raises(ConfigError, match="never overwritten"):
        init(tmp_path / "taken")
    with pytest.raises(ConfigError, match="station name"):
        init(tmp_path / "new", ["../evil"])
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "taken"]


def test_skus_by_name(tmp_path):
    init(tmp_path / "two", skus=["pi01", "sival_pqc", "pi01"])
    made = {str(p.relative_to(tmp_path / "two")) for p in (tmp_path / "two").rglob("*") if p.is_file()}
    assert {name for name in made if "sku_" in name and name.endswith(".yml")} == {
        "skus/sku_auth.yml", "skus/sku_pi01.yml", "skus/sku_sival_pqc.yml",
    }  # fmt: skip
    passwords = [(tmp_path / "two/clients" / f"sku_password{end}").read_text() for end in ("", "_pi01", "_sival_pqc")]
    assert passwords[0] == passwords[1] != passwords[2]
    assert not any("cr01" in name or "ti01" in name for name in made)
    for path in [p for p in (tmp_path / "two").rglob("*") if p.is_file() and p.parent.name in ("offline", "clients")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert {name for name in made if name.startswith("offline/")} == {
        f"offline/{name}-key.pem"
        for name in ("ca-root", "pi01-ca-root-v0", "opentitan-mldsa-ca-root-v0", "rma", "tls-ca", "hpke-mlkem",
                     "hpke-x25519")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("skus", "words"), [(["sivall"], "did you mean 'sival'"), ([], "at least one"), (["../x"], "pi01")]
)
def test_unknown_skus(tmp_path, skus, words):
    with pytest.raises(ConfigError, match=words):
        init(tmp_path / "new", skus=skus)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path):
    from click.testing import CliRunner

    from station.cli import cli

    arguments = ["appliance", "init", str(tmp_path / "a"), "--sku", "ti01", "--sku", "cr01", "--json"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    event = json.loads(done.output.splitlines()[-1])
    assert sorted(event["passwords"]) == ["cr01", "ti01"]
    assert (tmp_path / "a/skus/sku_cr01.yml").exists()


def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    from station.appliance import pki

    monkeypatch.setattr(pki, "_make_skus", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        init(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_command_says_where_the_files_are(tmp_path):
    lines = []
    (tmp_path / "empty").mkdir()
    assert init_command(folder=tmp_path / "empty", stations=["s1", "s2"], as_json=True, say=lines.append) == 0
    event = json.loads(lines[0])
    assert event["event"] == "appliance_made"
    assert sorted(event["clients"]) == ["s1", "s2"]
    password = (tmp_path / "empty/clients/sku_password").read_text().strip()
    assert password not in lines[0]
    assert init_command(folder=tmp_path / "plain", say=lines.append) == 0
    assert "appliance serve" in lines[1]
