"""The sealed keystore file: what opens it, what does not, and what production refuses."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
import quick_seal
from cryptography.hazmat.primitives.asymmetric import ec

from station.appliance import known_keys
from station.appliance.certificates import private_der
from station.appliance.files import require_private
from station.appliance.keystore import KeyMaterial, KeyMissing, create_keystore, open_keystore
from station.errors import ConfigError
from station.model import Realm
from station.secret import Secret

PASSPHRASE = Secret(b"correct horse", "passphrase")


@pytest.fixture(autouse=True)
def whole_cost(monkeypatch):
    """Files are sealed here as commands seal them."""
    monkeypatch.setattr(quick_seal, "QUICK", {})


def make(path, realm=Realm.DEV, seed=b"s" * 32):
    key = ec.generate_private_key(ec.SECP256R1())
    create_keystore(path, PASSPHRASE, realm, KeyMaterial({"seed": seed}, {"key": private_der(key)}, {}))
    return path


def test_round_trip(tmp_path):
    keystore = open_keystore(make(tmp_path / "k"), PASSPHRASE, Realm.DEV)
    assert keystore.labels() == {"seed", "key"}
    with keystore.hmac_sha256("seed", b"m").reveal() as raw:
        assert raw == __import__("hmac").digest(b"s" * 32, b"m", "sha256")
    assert keystore.sign("key", b"data", "SHA256")[0] == 0x30


def test_file_hides_its_content_and_its_mode_is_private(tmp_path):
    path = make(tmp_path / "k", seed=bytes(range(32)))
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert bytes(range(32)).hex() not in text
    assert "seed" not in json.loads(text)
    assert "bytes" not in repr(KeyMaterial({"a": b"secret"}, {}, {}))
    assert "secret" not in repr(KeyMaterial({"a": b"hidden-secret"}, {}, {}))


def test_every_guess_of_the_passphrase_is_slow(tmp_path):
    kdf = json.loads(make(tmp_path / "k").read_text())["kdf"]
    assert len(bytes.fromhex(kdf.pop("salt"))) == 16
    assert kdf == {"name": "argon2id", "memory_kib": 65536, "iterations": 3, "lanes": 1}


def test_wrong_passphrase_and_damage(tmp_path):
    path = make(tmp_path / "k")
    with pytest.raises(ConfigError, match="passphrase is wrong or the file is damaged"):
        open_keystore(path, Secret(b"other", "passphrase"), Realm.DEV)
    stored = json.loads(path.read_text())
    stored["kdf"]["salt"] = "00" * 16
    path.write_text(json.dumps(stored))
    with pytest.raises(ConfigError, match="damaged"):
        open_keystore(path, PASSPHRASE, Realm.DEV)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other", "sealed": ""}', "\x00"])
def test_garbage_is_no_keystore(tmp_path, text):
    (tmp_path / "k").write_text(text)
    with pytest.raises(ConfigError, match="keystore file"):
        open_keystore(tmp_path / "k", PASSPHRASE, Realm.DEV)


def test_realm_is_authenticated(tmp_path):
    path = make(tmp_path / "k")
    with pytest.raises(ConfigError, match="realm"):
        open_keystore(path, PASSPHRASE, Realm.PRODUCTION)
    stored = json.loads(path.read_text())
    stored["realm"] = "production"
    path.write_text(json.dumps(stored))
    with pytest.raises(ConfigError, match="damaged"):
        open_keystore(path, PASSPHRASE, Realm.PRODUCTION)


def test_public_seeds_are_refused_in_production_only(tmp_path):
    seed = hashlib.sha256(b"high security seed").digest()
    open_keystore(make(tmp_path / "d", Realm.DEV, seed), PASSPHRASE, Realm.DEV)
    with pytest.raises(ConfigError, match=r"publicly known.*seed"):
        open_keystore(make(tmp_path / "p", Realm.PRODUCTION, seed), PASSPHRASE, Realm.PRODUCTION)
    open_keystore(make(tmp_path / "q", Realm.PRODUCTION, os.urandom(32)), PASSPHRASE, Realm.PRODUCTION)


def test_public_key_ids_are_refused_in_production(tmp_path, monkeypatch):
    path = tmp_path / "k"
    key = ec.generate_private_key(ec.SECP256R1())
    create_keystore(path, PASSPHRASE, Realm.PRODUCTION, KeyMaterial({}, {"ca": private_der(key)}, {}))
    open_keystore(path, PASSPHRASE, Realm.PRODUCTION)
    from cryptography.x509 import SubjectKeyIdentifier

    key_id = SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    monkeypatch.setattr(known_keys, "KEY_ID_SHA1", frozenset({key_id}))
    with pytest.raises(ConfigError, match=r"publicly known.*ca"):
        open_keystore(path, PASSPHRASE, Realm.PRODUCTION)


def test_nothing_is_overwritten(tmp_path):
    path = make(tmp_path / "k")
    with pytest.raises(ConfigError, match="never overwritten"):
        make(path)


def test_missing_keys(tmp_path):
    keystore = open_keystore(make(tmp_path / "k"), PASSPHRASE, Realm.DEV)
    for ask in (
        lambda: keystore.hmac_sha256("key", b""),
        lambda: keystore.sign("seed", b"", "SHA256"),
        lambda: keystore.public_key("seed"),
    ):
        with pytest.raises(KeyMissing):
            ask()


def test_files_that_others_can_read_are_refused(tmp_path):
    path = make(tmp_path / "k")
    require_private(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        require_private(path)
    with pytest.raises(ConfigError, match="correct the path, or restore the file"):
        require_private(tmp_path / "absent")
