"""``appliance add-station`` and ``sku-password``: what a station needs, made after ``init`` or the ceremony."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys

import bcrypt
import pytest
from access_bench import BOOT, inner
from appliance_bench import Station, password_of
from ceremony_bench import Bench

from station.appliance import pki
from station.appliance.client_access import add_station_command, sku_password_command
from station.appliance.pki import client_files, init
from station.appliance.service_client import identity_of
from station.appliance.skus import read_auth
from station.appliance.stations import fingerprint_of
from station.errors import ConfigError
from station.wire import pa_pb2


def test_a_further_station(folder):
    """Its certificate is of the same CA, and its fingerprint is shown as stations.toml and openssl have it."""
    said: list[str] = []
    assert add_station_command(folder=folder, name="ft-2", hosts=["192.0.2.7"], say=said.append) == 0
    files = client_files(folder, "ft-2")
    assert files.key.stat().st_mode & 0o777 == 0o600
    (fingerprint,) = [line.partition('"')[2].rstrip('"') for line in said if "sha256:" in line]
    command = ["openssl", "x509", "-in", str(files.certificate), "-noout", "-fingerprint", "-sha256"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    assert fingerprint_of(shown.partition("=")[2]) == fingerprint_of(fingerprint) != ""
    line = f'[[station]]\nname = "ft-2"\ncertificate = "{fingerprint}"\nskus = ["sival"]\nroles = ["FT"]\n'
    (folder / "stations.toml").write_text(line)
    with inner(folder) as appliance:
        new = Station(folder, appliance.target, identity=identity_of(files))
        new.log_in()
        new.call("GetOwnerFwBootMessage", BOOT)
        new.close()


def test_as_json(folder):
    said: list[str] = []
    add_station_command(folder=folder, name="ft-2", as_json=True, say=said.append)
    told = json.loads(said[0])
    assert told["event"] == "station_added"
    assert told["certificate"] == str(client_files(folder, "ft-2").certificate)
    assert len(told["sha256"]) == 64


def test_what_is_there_is_not_made_anew(folder):
    before = client_files(folder, "station-1").certificate.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        add_station_command(folder=folder, name="station-1", say=print)
    assert client_files(folder, "station-1").certificate.read_bytes() == before
    with pytest.raises(ConfigError, match="letters, digits and -"):
        add_station_command(folder=folder, name="../x", say=print)


@pytest.mark.parametrize("name", ["tls/ca-cert.pem", "offline/tls-ca-key.pem"])
def test_a_damaged_tls_ca_is_one_sentence(folder, name):
    before = sorted((folder / "clients").iterdir())
    (folder / name).write_text("-----BEGIN")
    with pytest.raises(ConfigError, match=f"expected the PEM file of the TLS CA at .*{name}, saw another content"):
        add_station_command(folder=folder, name="ft-2", say=print)
    if name.startswith("tls"):
        (folder / name).unlink()
        with pytest.raises(ConfigError, match=f"expected a readable file at .*{name}: No such file"):
            add_station_command(folder=folder, name="ft-2", say=print)
    assert sorted((folder / "clients").iterdir()) == before


def test_a_half_done_station_leaves_nothing_and_can_be_repeated(folder, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    before = sorted((folder / "clients").iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(pki, "write_private", full)
        with pytest.raises(ConfigError, match=r"files of ft-2 in .*No space left on device; make room on the disk"):
            add_station_command(folder=folder, name="ft-2", say=print)
    assert sorted((folder / "clients").iterdir()) == before
    add_station_command(folder=folder, name="ft-2", say=print)
    assert identity_of(client_files(folder, "ft-2"))


needs_root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="gives files away")


@needs_root
def test_what_root_adds_belongs_to_the_owner_of_the_folder(folder):
    os.chown(folder, 12345, 12346)
    shutil.rmtree(folder / "clients")
    add_station_command(folder=folder, name="ft-2", say=print)
    sku_password_command(folder=folder, sku="sival", say=print)
    home = folder / "clients/ft-2"
    for path in (home.parent, home, home / "cert.pem", home / "key.pem", home.parent / "sku_password_sival"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346), path


@needs_root
def test_a_password_file_is_for_those_of_before(folder):
    """The serving user may read it as a member of its group."""
    auth = folder / "skus/sku_auth.yml"
    os.chown(auth, 0, 12346)
    for mode, kept in ((0o640, 0o640), (0o664, 0o660), (0o600, 0o600)):
        auth.chmod(mode)
        sku_password_command(folder=folder, sku="sival", say=print)
        found = auth.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, 12346, kept)


def test_after_a_ceremony_there_are_steps_for_it(tmp_path):
    bench = Bench(tmp_path)
    bench.run()
    with pytest.raises(ConfigError, match="after a ceremony use tls-csr"):
        add_station_command(folder=bench.spm, name="ft-2", say=print)


def test_another_password_counts_at_once(folder):
    old = password_of(folder)
    methods = read_auth(folder / "skus/sku_auth.yml")["sival"].methods
    said: list[str] = []
    with inner(folder) as appliance:
        station = Station(folder, appliance.target)
        station.log_in()
        assert sku_password_command(folder=folder, sku="sival", say=said.append) == 0
        station.call("GetOwnerFwBootMessage", BOOT)  # the session goes on
        again = Station(folder, appliance.target, "again")
        request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=old)
        assert again.refused("InitSession", request, token=None)[0] == "UNAUTHENTICATED"
        again.log_in()
        for client in (station, again):
            client.close()
    new = password_of(folder)
    assert new != old
    assert (folder / "clients/sku_password_sival").read_text().strip() == new
    assert new not in said[0] and "clients/sku_password_sival" in said[0]
    assert read_auth(folder / "skus/sku_auth.yml")["sival"].methods == methods
    for path in (folder / "skus/sku_auth.yml", folder / "clients/sku_password_sival"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_uid == os.geteuid()


def test_passwords_of_other_skus_and_remarks_stay(tmp_path):
    init(tmp_path / "all", skus=["sival", "cr01"])
    auth = tmp_path / "all/skus/sku_auth.yml"
    auth.write_text(auth.read_text() + "# a remark\n")
    before, text = read_auth(auth), auth.read_text()
    kept = (tmp_path / "all/clients/sku_password").read_bytes()
    sku_password_command(folder=tmp_path / "all", sku="cr01", say=print)
    after = read_auth(auth)
    assert after["sival"] == before["sival"] and after["cr01"] != before["cr01"]
    assert auth.read_text().endswith("# a remark\n")
    assert len(auth.read_text().splitlines()) == len(text.splitlines())
    assert (tmp_path / "all/clients/sku_password").read_bytes() == kept, "that is of the first SKU"


@pytest.mark.parametrize("hash_", ["", '"no bcrypt hash"', "'$2a$10$x' # old"])
def test_a_hash_that_is_none_is_replaced(folder, hash_):
    """What the error about such a hash advises works."""
    auth = folder / "skus/sku_auth.yml"
    old = next(line for line in auth.read_text().splitlines() if "skuAuth:" in line)
    auth.write_text(auth.read_text().replace(old, f"    skuAuth: {hash_}"))
    sku_password_command(folder=folder, sku="sival", say=print)
    assert read_auth(auth)["sival"].password_hash.startswith("$2a$")


ENTRY = '  aa:\n    skuAuth: "$2a$10$aa"\n    methods: [DeriveTokens]\n'


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY,
        ENTRY.replace("skuAuth:", '"skuAuth":'),
        ENTRY.replace("skuAuth:", "skuAuth :"),
        ENTRY.replace("aa:", "aa: # main"),
        ENTRY.replace("  aa:", '  "aa":'),
        ENTRY.replace("aa:\n", "aa:\n\n"),
        "  aa: {methods: [DeriveTokens], skuAuth: '$2a$10$aa'} # all\n",
        "  aa:\n    methods:\n    - DeriveTokens # é\n    skuAuth: # none yet\n",
    ],
)
def test_the_password_of_exactly_this_sku_however_it_is_written(folder, entry):
    auth = folder / "skus/sku_auth.yml"
    auth.write_text(f"skuAuthCfgList:\n{entry}{ENTRY.replace('aa', 'bb')}")
    remarks = [line.partition("#")[2] for line in auth.read_text().splitlines()]
    for sku, other in (("aa", "bb"), ("bb", "aa")):
        before = auth.read_text()
        sku_password_command(folder=folder, sku=sku, say=print)
        password = (folder / f"clients/sku_password_{sku}").read_bytes().strip()
        after = read_auth(auth)
        assert bcrypt.checkpw(password, after[sku].password_hash.encode())
        assert after[sku].methods == ("DeriveTokens",)
        assert sku == "aa" or after[other].password_hash in before
        assert sku == "bb" or after[other].password_hash == "$2a$10$bb"
    assert [line.partition("#")[2] for line in auth.read_text().splitlines()] == remarks


@pytest.mark.parametrize(
    "entries",
    [
        "  aa: &both\n    skuAuth: '$2a$10$aa'\n    methods: [DeriveTokens]\n  bb: *both\n",
        "  aa: {skuAuth: &hash '$2a$10$aa'}\n  bb: {skuAuth: *hash}\n",
        "  aa:\n    skuAuth: >-\n      $2a$10$aa\n    methods: []\n",
        "  aa:\n    methods: []\n  bb:\n    skuAuth: '$2a$10$bb'\n",
    ],
)
def test_a_hash_that_cannot_be_replaced_alone(folder, entries):
    auth = folder / "skus/sku_auth.yml"
    auth.write_text(f"skuAuthCfgList:\n{entries}")
    with pytest.raises(ConfigError):
        sku_password_command(folder=folder, sku="aa", say=print)
    assert auth.read_text() == f"skuAuthCfgList:\n{entries}"
    assert not (folder / "clients/sku_password_aa").exists()
    assert sorted(path.name for path in auth.parent.glob(".*")) == []


def test_what_changes_no_password(folder):
    auth = folder / "skus/sku_auth.yml"
    text, password = auth.read_text(), password_of(folder)
    with pytest.raises(ConfigError, match=r"expected a SKU of .*\(sival\), saw 'sivall' \(did you mean 'sival'"):
        sku_password_command(folder=folder, sku="sivall", say=print)
    broken = text + "  other:\n    skuAuth: [1]\n"
    auth.write_text(broken)
    with pytest.raises(ConfigError):
        sku_password_command(folder=folder, sku="sival", say=print)
    assert (auth.read_text(), password_of(folder)) == (broken, password)
    assert sorted(path.name for path in auth.parent.glob(".*")) == []
