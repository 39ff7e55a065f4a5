"""SKU passwords: what is remembered, for how long, and what a changed password file does."""

from __future__ import annotations

import bcrypt
import pytest
from access_bench import Clock

from station.appliance import passwords
from station.appliance.keystore import KeyMaterial, SoftwareKeystore
from station.appliance.passwords import PasswordCache
from station.appliance.refusal import Refusal
from station.appliance.spm import Spm
from station.model import Realm
from station.secret import Secret


def hashed(password: bytes) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()


@pytest.fixture
def slow_checks(monkeypatch):
    """How often bcrypt was asked."""
    seen = []
    real = passwords._bcrypt_fits

    def counted(stored, password):
        seen.append(password)
        return real(stored, password)

    monkeypatch.setattr(passwords, "_bcrypt_fits", counted)
    return seen


def test_a_verified_password_is_remembered_for_ten_minutes(slow_checks):
    clock, stored = Clock(), hashed(b"right")
    cache = PasswordCache(clock)
    for _ in range(3):
        assert cache.fits(stored, b"right")
        clock.now += 250
    assert len(slow_checks) == 1
    assert cache.fits(stored, b"right")  # 750 s after the check, however often it was used meanwhile
    assert len(slow_checks) == 2


def test_a_wrong_password_is_checked_every_time(slow_checks):
    cache, stored = PasswordCache(), hashed(b"right")
    assert cache.fits(stored, b"right")
    for wrong in (b"wrong", b"wrong", b"right ", b"", b"right\0"):
        assert not cache.fits(stored, wrong)
    assert len(slow_checks) == 6


def test_another_hash_of_the_same_password_is_checked(slow_checks):
    cache = PasswordCache()
    assert cache.fits(hashed(b"right"), b"right")
    assert cache.fits(hashed(b"right"), b"right")
    assert len(slow_checks) == 2
    assert not cache.fits("no hash", b"right")


def test_the_password_is_not_kept():
    cache, stored = PasswordCache(), hashed(b"right-password")
    assert cache.fits(stored, b"right-password")
    assert b"right-password" not in repr(vars(cache)).encode()
    other = PasswordCache()
    assert other.fits(stored, b"right-password")
    assert set(cache._until) != set(other._until)  # each process has a key of its own


def test_memory_is_bounded(slow_checks, monkeypatch):
    monkeypatch.setattr(passwords, "_bcrypt_fits", lambda stored, password: True)
    cache = PasswordCache()
    for number in range(500):
        assert cache.fits("stored", str(number).encode())
    assert len(cache._until) == passwords.MOST


# ---- the file ---------------------------------------------------------------------------------------------------


def auth_file(folder, password: bytes, methods: str = "[]") -> None:
    line = hashed(password)
    text = f'skuAuthCfgList:\n  sival:\n    skuAuth: "{line}"\n    methods: {methods}\n'
    (folder / "sku_auth.yml").write_text(text)


def code_of(spm: Spm, password: bytes) -> str:
    """INTERNAL means that the password was accepted: there is no SKU file."""
    with pytest.raises(Refusal) as refused:
        spm.log_in("sival", Secret(password, "SKU password"))
    return refused.value.code


def test_a_changed_file_counts_at_once(tmp_path, slow_checks, caplog):
    auth_file(tmp_path, b"first")
    spm = Spm(tmp_path, SoftwareKeystore(Realm.DEV, KeyMaterial({}, {}, {})))
    assert [code_of(spm, b"first") for _ in range(3)] == ["INTERNAL"] * 3
    assert len(slow_checks) == 1
    auth_file(tmp_path, b"second", "[GetCaCerts]")
    assert code_of(spm, b"first") == "UNAUTHENTICATED"
    assert code_of(spm, b"second") == "INTERNAL"
    assert spm.methods("sival") == ("GetCaCerts",)
    (tmp_path / "sku_auth.yml").write_text("skuAuthCfgList: [")
    assert code_of(spm, b"second") == "INTERNAL"
    assert "stays in force" in caplog.text
    assert len(slow_checks) == 4  # a file that was touched makes everybody prove the password again


def test_production_does_not_take_up_a_public_password(tmp_path, caplog):
    auth_file(tmp_path, b"own-password")
    spm = Spm(tmp_path, SoftwareKeystore(Realm.PRODUCTION, KeyMaterial({}, {}, {})))
    known = "$2a$10$7ZjR5zTQpig.aomnunzte.Ve1eW4GT2ACx1iy4fxtfzysprfrNMfG"
    (tmp_path / "sku_auth.yml").write_text(f'skuAuthCfgList:\n  sival:\n    skuAuth: "{known}"\n    methods: []\n')
    assert code_of(spm, b"own-password") == "INTERNAL"
    assert code_of(spm, b"test_password") == "UNAUTHENTICATED"
    assert "publicly known passwords" in caplog.text
