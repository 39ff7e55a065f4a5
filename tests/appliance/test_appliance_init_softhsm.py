"""``appliance init --keystore softhsm2``: a folder that serves from a token of its own SoftHSM, wherever it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from appliance_bench import ROOT, Served, Station, copy_folder, password_of
from click.testing import CliRunner
from sku_bench import walk_sku

from station.appliance import softhsm
from station.appliance.commands import init_command
from station.appliance.keystore import KeyInfo, KeyMaterial, create_keystore, open_keystore, unseal
from station.appliance.keystores import configured_keystore
from station.appliance.passphrase import read_secret
from station.appliance.pki import init
from station.appliance.session_tokens import LABEL, SESSION_KEY, fleet_key
from station.appliance.settings import read_settings
from station.cli import cli
from station.errors import ConfigError
from station.model import Realm


def init_by_command(folder, *more: str) -> dict:
    command = [sys.executable, "-m", "station", "appliance", "init", str(folder), "--keystore", "softhsm2", *more]
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def hsm(tmp_path_factory):
    """Made at one place and moved to another before anybody serves it."""
    folder = tmp_path_factory.mktemp("softhsm") / "made"
    said = init_by_command(folder, "--sku", "all")
    moved = folder.rename(folder.with_name("moved"))
    return said, moved


def test_what_is_said_and_what_is_on_the_disk(hsm):
    said, folder = hsm
    assert said["keystore"] == "softhsm2"
    assert sorted(said["passwords"]) == ["cr01", "pi01", "sival", "ti01"]
    (reason,) = said["left_out"]
    assert "sival_pqc" in reason and "ML-DSA" in reason
    for name in ("keystore.sealed", "keystore.passphrase"):
        assert not (folder / name).exists(), "the token is the only place of the keys"
    assert (folder / "keystore.pin").stat().st_mode & 0o077 == 0
    assert (folder / "softhsm/tokens").stat().st_mode & 0o077 == 0
    keys = read_settings(folder).keys
    assert (keys.kind, keys.token, keys.softhsm) == ("pkcs11", "spm-hsm", folder / "softhsm")


@pytest.mark.parametrize("sku", ["sival", "pi01"])
def test_serve_needs_nothing_but_the_folder(hsm, sku, monkeypatch):
    monkeypatch.delenv("SOFTHSM2_CONF", raising=False)
    _, folder = hsm
    appliance = Served(folder)
    assert appliance.ready, appliance.log.read_text()[-2000:]
    client = Station(folder, appliance.target)
    try:
        client.log_in(sku, (folder / f"clients/sku_password_{sku}").read_text().strip())
        assert walk_sku(sku, client.call, 1 if sku == "sival" else 2).endorsed
    finally:
        client.close()
        assert appliance.stop() == 0


def test_the_environment_is_put_back(hsm, monkeypatch):
    monkeypatch.setenv("SOFTHSM2_CONF", "/elsewhere.conf")
    _, folder = hsm
    settings = read_settings(folder)
    with configured_keystore(settings.keys, settings.realm) as keystore:
        assert os.environ["SOFTHSM2_CONF"] == str(folder / "softhsm/softhsm2.conf")
        assert keystore.key_info(SESSION_KEY) == KeyInfo("secret", "HMAC")
    assert os.environ["SOFTHSM2_CONF"] == "/elsewhere.conf"


def test_sessions_do_not_use_a_seed(hsm, made):
    """New folders have a key for session tokens; those of before, without it, go on with the high seed."""
    for folder in (hsm[1], made):
        settings = read_settings(folder)
        with configured_keystore(settings.keys, settings.realm) as keystore:
            assert fleet_key(keystore) == keystore.hmac_sha256(SESSION_KEY, LABEL)
            assert fleet_key(keystore) != keystore.hmac_sha256("eg-kdf-hisec-v0", LABEL)


def test_a_folder_of_before_still_serves(made, tmp_path):
    folder = copy_folder(made, tmp_path / "before")
    keys = read_settings(folder).keys
    passphrase = read_secret(keys.passphrase, "passphrase")
    material = unseal(keys.file, passphrase, Realm.DEV)
    keys.file.unlink()
    kept = {label: raw for label, raw in material.secret.items() if label != SESSION_KEY}
    create_keystore(keys.file, passphrase, Realm.DEV, KeyMaterial(kept, material.private, material.public))
    assert SESSION_KEY not in open_keystore(keys.file, passphrase, Realm.DEV).labels()
    appliance = Served(folder)
    client = Station(folder, appliance.target)
    try:
        client.log_in("sival", password_of(folder))
        assert walk_sku("sival", client.call, 1).endorsed
    finally:
        client.close()
        assert appliance.stop() == 0


# ---- what is refused --------------------------------------------------------------------------------------------


def refused(tmp_path, *more: str) -> str:
    done = CliRunner().invoke(cli, ["appliance", "init", str(tmp_path / "new"), "--keystore", "softhsm2", *more])
    assert isinstance(done.exception, ConfigError), done.output
    assert list(tmp_path.iterdir()) == []
    return str(done.exception)


def test_a_sku_that_needs_mldsa(tmp_path):
    assert "no mechanism: use the software keystore" in refused(tmp_path, "--sku", "ti01", "--sku", "sival_pqc")


def test_softhsm_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(softhsm, "PLACES", ())
    assert "install the package softhsm2" in refused(tmp_path)


def test_the_package_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    said = refused(tmp_path)
    assert "provisioning-station[hsm]" in said
    assert "pip install --require-hashes -r requirements-appliance.lock" in said


def test_a_token_that_cannot_be_filled_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "station.appliance.pkcs11_provision.import_keys", lambda *_: (_ for _ in ()).throw(OSError("x"))
    )
    with pytest.raises(OSError, match="x"):
        init_command(folder=tmp_path / "new", keystore="softhsm2", say=pytest.fail)
    assert list(tmp_path.iterdir()) == []


def test_the_line_needs_the_other_one(tmp_path):
    (tmp_path / "appliance.toml").write_text('realm = "dev"\nsofthsm = "softhsm"\n')
    with pytest.raises(ConfigError, match=r'appliance\.toml:2: expected keystore_kind = "pkcs11" beside it'):
        read_settings(tmp_path)


def test_a_softhsm_without_its_tokens(hsm, tmp_path):
    with pytest.raises(ConfigError, match="expected the tokens of a private SoftHSM"):
        softhsm.current_config(tmp_path)


def test_a_configuration_that_cannot_be_written(tmp_path, monkeypatch):
    softhsm.write_softhsm_config(tmp_path / "made")
    moved = (tmp_path / "made").rename(tmp_path / "moved")
    monkeypatch.setattr(softhsm, "replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(ConfigError, match=r"expected to write .*softhsm2\.conf"):
        softhsm.current_config(moved)


def test_people_read_what_was_left_out(tmp_path):
    lines: list[str] = []
    assert init_command(folder=tmp_path / "new", skus=["all"], keystore="softhsm2", say=lines.append) == 0
    assert any(line.startswith("  left out: sku sival_pqc") for line in lines)


def test_finish_is_part_of_making(tmp_path):
    """What fails at the end leaves nothing either."""

    def fail(folder):
        assert (folder / "appliance.toml").exists()
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        init(tmp_path / "new", finish=fail)
    assert list(tmp_path.iterdir()) == []
