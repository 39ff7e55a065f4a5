"""The token goes and comes back under an open keystore, and its PIN is asked for again."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pkcs11
import pytest
from token_bench import MODULE, make_token, raw

from station.appliance import pkcs11_pool
from station.appliance.keystore import (
    KeyMaterial,
    Wrapping,
)
from station.appliance.passphrase import SecretSource
from station.appliance.pkcs11_module import Module
from station.appliance.pkcs11_pool import KeystoreUnavailable
from station.errors import ConfigError

pytestmark = pytest.mark.skipif(not Path(MODULE).exists(), reason="SoftHSM2 is not installed")


def test_the_pin_from_a_descriptor_serves_a_second_login_too(own, at_once):
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(own.pin.read_bytes())
    settings = replace(own.settings, pin=SecretSource("fd", str(reading)))
    with own.opened(settings) as keystore:
        away(own)
        with pytest.raises(KeystoreUnavailable):
            keystore.hmac_sha256("high", b"m")
        back(own)
        assert len(keystore.hmac_sha256("high", b"m")) == 32


# ---- the token goes and comes back --------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch):
    """The token is looked for at every call, not once a second."""
    monkeypatch.setattr(pkcs11_pool, "RETRY_SECONDS", 0.0)


def away(own):
    own.tokens.rename(own.tokens.with_name("away"))


def back(own):
    own.tokens.with_name("away").rename(own.tokens)


def test_a_removed_token_is_refused_and_served_again_when_it_is_back(own, material, at_once, caplog):
    with own.opened() as keystore:
        expected = raw(keystore.hmac_sha256("high", b"m"))
        away(own)
        calls = (
            lambda: keystore.hmac_sha256("high", b"m"),
            lambda: keystore.sign("p256.priv", b"m", "SHA256"),
            lambda: keystore.fresh_hmac_sha256(b"m", Wrapping("RsaPkcs", "rma.pub")),
        )
        for call in calls:
            with pytest.raises(KeystoreUnavailable, match="the HSM does not do its work") as refused:
                call()
            assert refused.value.code == "INTERNAL"
            assert "\n" not in str(refused.value)
        assert "high" in keystore.labels(), "what a SKU needs is known while the token is away"
        back(own)
        assert raw(keystore.hmac_sha256("high", b"m")) == expected
        assert keystore.sign("p256.priv", b"m", "SHA256")
    assert [text for text in caplog.messages if "the HSM is back" in text]


def test_a_lost_token_is_not_looked_for_at_every_call(own, monkeypatch):
    restarts = []
    monkeypatch.setattr(pkcs11_pool, "RETRY_SECONDS", 3600.0)
    restart = Module.restart
    monkeypatch.setattr(Module, "restart", lambda self: (restarts.append(1), restart(self)))
    with own.opened() as keystore:
        away(own)
        for _ in range(3):
            with pytest.raises(KeystoreUnavailable):
                keystore.hmac_sha256("high", b"m")
        back(own)
    assert len(restarts) == 1


def test_another_token_with_the_same_label_is_not_taken(own, tmp_path, material, at_once):
    stranger = make_token(tmp_path / "other", KeyMaterial({"high": bytes(32)}, {}, {}))
    with own.opened() as keystore:
        away(own)
        stranger.pin.replace(own.pin)
        stranger.tokens.rename(own.tokens)
        with pytest.raises(KeystoreUnavailable, match="serial number"):
            keystore.hmac_sha256("high", b"m")


def test_a_pin_that_was_refused_is_not_sent_again(own, at_once, monkeypatch):
    right = own.pin.read_bytes()
    with own.opened() as keystore:
        away(own)
        own.pin.write_bytes(b"87654321")
        with pytest.raises(KeystoreUnavailable):
            keystore.hmac_sha256("high", b"m")
        back(own)
        with pytest.raises(KeystoreUnavailable, match="refuses the PIN"):
            keystore.hmac_sha256("high", b"m")
        with pytest.raises(KeystoreUnavailable, match="not tried again"):
            keystore.hmac_sha256("high", b"m")
        own.pin.write_bytes(right)
        assert len(keystore.hmac_sha256("high", b"m")) == 32


class LockedToken:
    """What a token answers whose PIN was wrong too often; SoftHSM locks none."""

    serial = b"0123456789abcdef"

    def open(self, **_: object):
        raise pkcs11.PinLocked


def test_a_locked_pin_is_told_at_the_start_and_while_serving(own, at_once, monkeypatch):
    with monkeypatch.context() as locked:
        locked.setattr(Module, "find", lambda *_: LockedToken())
        with pytest.raises(ConfigError, match="the PIN is locked"), own.opened():
            pass
    with own.opened() as keystore:
        away(own)
        with pytest.raises(KeystoreUnavailable):
            keystore.hmac_sha256("high", b"m")
        back(own)
        with monkeypatch.context() as locked:
            locked.setattr(Module, "find", lambda *_: LockedToken())
            with pytest.raises(KeystoreUnavailable, match="the PIN is locked") as refused:
                keystore.hmac_sha256("high", b"m")
            assert refused.value.code == "INTERNAL"
            assert "the PIN is locked" in keystore.fault()
        assert len(keystore.hmac_sha256("high", b"m")) == 32
        assert keystore.fault() == ""


def test_threads_get_over_a_lost_token(own, at_once):
    """All of them see the loss, one starts the module again, none uses a session of before."""
    with own.opened() as keystore:
        go, answers = threading.Barrier(7), []

        def work() -> None:
            for _ in range(20):
                try:
                    keystore.hmac_sha256("high", b"m")
                except KeystoreUnavailable:
                    pass
            go.wait()
            go.wait()
            answers.append(raw(keystore.hmac_sha256("high", b"m")))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        away(own)
        go.wait()
        back(own)
        go.wait()
        for thread in threads:
            thread.join()
        assert len(answers) == 6
        assert len(set(answers)) == 1


def test_a_closed_keystore_refuses(own):
    with own.opened() as keystore:
        pass
    with pytest.raises(KeystoreUnavailable, match="closed"):
        keystore.hmac_sha256("high", b"m")
