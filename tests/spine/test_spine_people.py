"""Operators with their PINs and lockout, credentials with their realm, processes with their environment."""

from __future__ import annotations

import os
import stat

import pytest

from station.config import load_config  # noqa: F401 - the import must not need a display or hardware
from station.credentials import PUBLIC_RAW_UNLOCK, CredentialStore
from station.errors import ConfigError, Refused
from station.model import Realm, Role
from station.operators import FIRST_DELAY, FREE_TRIES, LONGEST_DELAY, Operators, may
from station.processes import allowed_environment, clean_environment
from station.secret import Sealed, Secret

PIN = b"271828"


def pin(text: bytes = PIN) -> Secret:
    return Secret(text, "pin")


@pytest.fixture
def clock():
    return [1_000_000.0]


@pytest.fixture
def operators(tmp_path, clock, monkeypatch):
    from argon2 import PasswordHasher

    made = Operators(tmp_path, clock=lambda: clock[0])
    made._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)  # the default takes 90 ms per check
    made.add("ann", Role.OPERATOR, PIN)
    return made


def test_sign_in_gives_the_role(operators):
    assert operators.sign_in("ann", pin()) is Role.OPERATOR
    assert not operators.has_supervisor()


def test_default_hash_is_argon2id_and_the_file_is_private(tmp_path):
    Operators(tmp_path).add("ann", Role.SUPERVISOR, PIN)
    path = tmp_path / "operators.json"
    assert "$argon2id$" in path.read_text() and PIN.decode() not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_wrong_pin_and_unknown_name_get_the_same_sentence(operators):
    said = set()
    for name, given in (("ann", b"000001"), ("bob", PIN)):
        with pytest.raises(Refused) as caught:
            operators.sign_in(name, pin(given))
        said.add(str(caught.value))
    assert said == {"name or PIN is wrong"}


def test_lockout_grows_and_survives_a_restart(operators, tmp_path, clock):
    for _ in range(FREE_TRIES):
        with pytest.raises(Refused, match="wrong"):
            operators.sign_in("ann", pin(b"000001"))
    again = Operators(tmp_path, clock=lambda: clock[0])
    with pytest.raises(Refused, match=f"try again in {FIRST_DELAY:.0f} s"):
        again.sign_in("ann", pin())
    clock[0] += FIRST_DELAY + 1
    with pytest.raises(Refused, match="wrong"):
        operators.sign_in("ann", pin(b"000001"))
    with pytest.raises(Refused, match=f"try again in {2 * FIRST_DELAY:.0f} s"):
        operators.sign_in("ann", pin())
    clock[0] += 2 * FIRST_DELAY + 1
    assert operators.sign_in("ann", pin()) is Role.OPERATOR
    with pytest.raises(Refused, match="name or PIN"):
        operators.sign_in("ann", pin(b"000001"))


def test_a_clock_set_back_locks_nobody_out_for_good(operators, clock):
    for _ in range(FREE_TRIES):
        with pytest.raises(Refused):
            operators.sign_in("ann", pin(b"000001"))
    clock[0] -= 10 * 365 * 86400
    with pytest.raises(Refused, match=f"in {LONGEST_DELAY:.0f} s"):
        operators.sign_in("ann", pin())


@pytest.mark.parametrize("bad", [b"12345", b"12345a", b"", b"111111", b"123456", b"987654", "１２３４５６".encode()])
def test_weak_pins_are_refused(operators, bad):
    with pytest.raises(ConfigError):
        operators.add("bob", Role.OPERATOR, bad)


@pytest.mark.parametrize("name", ["", "a b", "x" * 33, "../x", "ä"])
def test_strange_names_are_refused(operators, name):
    with pytest.raises(ConfigError):
        operators.add(name, Role.OPERATOR, PIN)


def test_roles_are_ranked():
    assert (
        may(Role.SUPERVISOR, Role.ENGINEER) and not may(Role.OPERATOR, Role.ENGINEER) and not may(None, Role.OPERATOR)
    )


def test_a_garbled_list_of_operators_is_said(tmp_path):
    (tmp_path / "operators.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        Operators(tmp_path)


# ---- credentials --------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    return CredentialStore(tmp_path / "credentials", Realm.DEV)


def test_credentials_are_sealed_and_private(store, tmp_path):
    store.store("sku_password_x", b"a private value")
    path = tmp_path / "credentials" / "sku_password_x.sealed"
    assert b"private" not in path.read_bytes()
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = CredentialStore(tmp_path / "credentials", Realm.DEV)
    assert again.credential("sku_password_x") == Secret(b"a private value", "x")
    assert again.names("sku_password_") == ["sku_password_x"]


def test_a_credential_file_under_another_name_does_not_open(store, tmp_path):
    store.store("one", b"value of one")
    folder = tmp_path / "credentials"
    (folder / "one.sealed").rename(folder / "two.sealed")
    with pytest.raises(ConfigError, match="another station key or was changed"):
        store.credential("two")


def test_unknown_credentials_get_a_hint(store):
    store.store("raw_unlock", b"x")
    with pytest.raises(ConfigError, match="did you mean 'raw_unlock'"):
        store.credential("raw_unlok")
    with pytest.raises(ConfigError, match="credential name"):
        store.credential("../etc/passwd")


def test_the_published_raw_unlock_token_is_for_realm_dev_only(tmp_path, store):
    assert store.credential("raw_unlock_token") == Secret(PUBLIC_RAW_UNLOCK, "x")
    strict = CredentialStore(tmp_path / "strict", Realm.PRODUCTION)
    with pytest.raises(ConfigError, match="expected the credential 'raw_unlock_token'"):
        strict.credential("raw_unlock_token")
    for public in (PUBLIC_RAW_UNLOCK, PUBLIC_RAW_UNLOCK[::-1], b"test_password", bytes(16)):
        with pytest.raises(ConfigError, match="publicly known"):
            strict.store("raw_unlock_token", public)
    store.store("raw_unlock_token", PUBLIC_RAW_UNLOCK)
    moved = CredentialStore(tmp_path / "credentials", Realm.PRODUCTION)
    with pytest.raises(ConfigError, match="publicly known"):
        moved.credential("raw_unlock_token")


def test_a_key_that_others_may_read_is_refused(store, tmp_path):
    (tmp_path / "credentials" / "station.key").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        CredentialStore(tmp_path / "credentials", Realm.DEV)


def test_sealing_hides_and_authenticates(store):
    sealed = store.seal(b"device seeds", "registration")
    assert b"device seeds" not in sealed.blob and store.unseal(sealed) == b"device seeds"
    assert store.seal(b"device seeds", "registration") != sealed
    flipped = sealed.blob[:-1] + bytes([sealed.blob[-1] ^ 1])
    for wrong in (Sealed(sealed.blob, "other"), Sealed(flipped, "registration"), Sealed(b"x", "y")):
        with pytest.raises(ConfigError):
            store.unseal(wrong)


# ---- environment --------------------------------------------------------------------------------------------------


def test_only_listed_variables_reach_our_processes():
    given = {"PATH": "/bin", "LC_ALL": "C", "GRPC_TRACE": "all", "AWS_SECRET": "x", "QT_QPA_PLATFORM": "offscreen"}
    assert allowed_environment(given) == {"PATH": "/bin", "LC_ALL": "C", "QT_QPA_PLATFORM": "offscreen"}


@pytest.mark.parametrize("name", ["GRPC_TRACE", "PYUSB_DEBUG", "LIBUSB_DEBUG", "SSLKEYLOGFILE"])
def test_production_refuses_switches_that_write_secrets(name, monkeypatch):
    monkeypatch.setattr(os, "environ", {"PATH": "/bin", name: "1"})
    with pytest.raises(ConfigError, match=name):
        clean_environment(Realm.PRODUCTION)
    clean_environment(Realm.DEV)
    assert os.environ == {"PATH": "/bin"}
