"""The PKCS#11 keystore against a real SoftHSM: the same answers as the software keystore, and what it refuses.

SoftHSM reads ``SOFTHSM2_CONF`` each time it is started, and every keystore starts and ends it: so each token lives in a
folder of its own and tests may run in one process.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
from dataclasses import replace
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, ObjectClass
from token_bench import MODULE, TOKEN, raw

from station.appliance import known_keys
from station.appliance.certificates import private_der
from station.appliance.keystore import (
    KeyInfo,
    KeyMaterial,
    KeyMissing,
    SoftwareKeystore,
    Wrapping,
    rsa_padding,
    spki,
)
from station.appliance.pkcs11_module import Module, TokenChoice
from station.appliance.pkcs11_provision import _writing, generate_keys, import_keys, init_token
from station.errors import ConfigError
from station.model import Realm
from station.secret import Secret

pytestmark = pytest.mark.skipif(not Path(MODULE).exists(), reason="SoftHSM2 is not installed")

HASHES = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}


# ---- the same as the software keystore ------------------------------------------------------------------------


def test_keys_are_those_of_the_software_keystore(keystore, material):
    software = SoftwareKeystore(Realm.DEV, material)
    assert keystore.labels() >= software.labels()
    for label in software.labels():
        assert keystore.key_info(label) == software.key_info(label)
    for label in ("p256.priv", "p384.priv", "rma.pub"):
        assert keystore.public_key(label) == software.public_key(label)
    assert keystore.key_info("p384.priv") == KeyInfo("private", "P-384")


@pytest.mark.parametrize("message", [b"", b"was", bytes(48), bytes(100_000)])
@pytest.mark.parametrize("label", ["high", "low"])
def test_macs_are_equal(keystore, material, label, message):
    assert keystore.hmac_sha256(label, message) == SoftwareKeystore(Realm.DEV, material).hmac_sha256(label, message)


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("label", ["p256.priv", "p384.priv"])
def test_signatures_verify(keystore, label, hash_name):
    signature = keystore.sign(label, b"some data", hash_name)
    key = load_der_public_key(keystore.public_key(label))
    key.verify(signature, b"some data", ec.ECDSA(HASHES[hash_name]))


@pytest.mark.parametrize("mechanism", ["RsaOaep", "RsaPkcs"])
def test_the_unwrapped_seed_reproduces_the_token(keystore, rma, mechanism):
    made = [keystore.fresh_hmac_sha256(b"rma", Wrapping(mechanism, "rma.pub")) for _ in range(2)]
    seeds = [rma.decrypt(wrapped, rsa_padding(mechanism)) for _, wrapped in made]
    assert seeds[0] != seeds[1]
    for (mac, wrapped), seed in zip(made, seeds, strict=True):
        assert len(seed) == 32
        assert len(wrapped) == 384
        assert raw(mac) == hmac.digest(seed, b"rma", "sha256")


def test_a_fresh_seed_without_wrapping(keystore):
    first, second = (keystore.fresh_hmac_sha256(b"rma", None) for _ in range(2))
    assert first[1] == second[1] == b""
    assert first[0] != second[0]


def test_which_wrapping_softhsm_does_itself(token, caplog, monkeypatch):
    """PKCS#1 v1.5 inside; OAEP with SHA-256 not: that seed never is in the token and the log says so."""
    with caplog.at_level(logging.WARNING), token.opened() as keystore:
        assert any("RsaOaep under 'rma.pub'" in text and "this process" in text for text in caplog.messages)
        assert not any("RsaPkcs" in text for text in caplog.messages)
        monkeypatch.setattr(secrets, "token_bytes", lambda size: b"\x07" * size)
        inside, _ = keystore.fresh_hmac_sha256(b"m", Wrapping("RsaPkcs", "rma.pub"))
        here, _ = keystore.fresh_hmac_sha256(b"m", Wrapping("RsaOaep", "rma.pub"))
    assert raw(here) == hmac.digest(b"\x07" * 32, b"m", "sha256")
    assert inside != here


def test_no_fresh_seed_stays_in_the_token(token):
    with token.opened() as keystore:
        for _ in range(5):
            keystore.fresh_hmac_sha256(b"rma", Wrapping("RsaPkcs", "rma.pub"))
        seen = keystore._pool.run(lambda s: len(list(s.raw.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}))))
    assert seen == 2


def test_missing_keys(keystore):
    asks = {
        "secret": lambda: keystore.hmac_sha256("p256.priv", b""),
        "private": lambda: keystore.sign("high", b"", "SHA256"),
        "public": lambda: keystore.public_key("high"),
        "'none'": lambda: keystore.key_info("none"),
        "ML-DSA": lambda: keystore.sign_mldsa("p256.priv", b""),
        "RSA": lambda: keystore.fresh_hmac_sha256(b"m", Wrapping("RsaOaep", "p256.pub")),
    }
    for word, ask in asks.items():
        with pytest.raises(KeyMissing, match=word):
            ask()


def test_eight_threads(keystore, material):
    """More threads than sessions; without the module's own locks SoftHSM crashes here."""
    expected = {n: hmac.digest(material.secret["high"], bytes((n,)), "sha256") for n in range(8)}
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for _ in range(50):
                if raw(keystore.hmac_sha256("high", bytes((number,)))) != expected[number]:
                    wrong.append(number)
            keystore.fresh_hmac_sha256(b"m", Wrapping("RsaPkcs", "rma.pub"))
        except Exception as error:  # a thread's failure is the test's
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- attributes -------------------------------------------------------------------------------------------------


def test_keys_have_the_attributes_of_the_policy(own):
    generate_keys(own.settings, ["made-seed"], {"made.priv": "P-256"})
    with _writing(own.settings, []) as session:
        for label in ("high", "made-seed"):
            key = session.get_key(object_class=ObjectClass.SECRET_KEY, label=label)
            assert key[Attribute.SIGN] and key[Attribute.DERIVE] and key[Attribute.SENSITIVE]
            assert not key[Attribute.EXTRACTABLE] and not key[Attribute.ENCRYPT] and not key[Attribute.WRAP]
            with pytest.raises(pkcs11.AttributeSensitive):
                key[Attribute.VALUE]
        for label in ("p256.priv", "made.priv"):
            key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
            assert key[Attribute.SIGN] and key[Attribute.SENSITIVE]
            assert not key[Attribute.EXTRACTABLE] and not key[Attribute.DECRYPT] and not key[Attribute.DERIVE]
            with pytest.raises(pkcs11.AttributeSensitive):
                key[Attribute.VALUE]
        key = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label="rma.pub")
        assert key[Attribute.WRAP] and key[Attribute.ENCRYPT] and not key[Attribute.VERIFY]
        for kind, label in ((ObjectClass.SECRET_KEY, "made-seed"), (ObjectClass.PRIVATE_KEY, "made.priv")):
            made = session.get_key(object_class=kind, label=label)
            assert made[Attribute.LOCAL] and made[Attribute.NEVER_EXTRACTABLE] and made[Attribute.ALWAYS_SENSITIVE]


def test_generated_keys_serve(own):
    public = generate_keys(own.settings, ["seed"], {"ca.priv": "P-384"})
    with own.opened() as keystore:
        assert keystore.public_key("ca.priv") == public["ca.priv"]
        assert keystore.key_info("ca.priv") == KeyInfo("private", "P-384")
        assert len(keystore.hmac_sha256("seed", b"m")) == 32


def spoil(own, **changes):
    """A second seed with other attributes."""
    template = {
        Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: pkcs11.KeyType.GENERIC_SECRET,
        Attribute.LABEL: "spoilt", Attribute.VALUE: bytes(31) + b"1", Attribute.TOKEN: True, Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.SIGN: True, Attribute.DERIVE: True,
        Attribute.ENCRYPT: False, Attribute.DECRYPT: False, Attribute.WRAP: False, Attribute.UNWRAP: False,
    }  # fmt: skip
    with _writing(own.settings, []) as session:
        session.create_object({**template, **{Attribute[name]: value for name, value in changes.items()}})


@pytest.fixture
def hardware(monkeypatch):
    """SoftHSM passes for an HSM, so that the other checks of realm production are reached."""
    monkeypatch.setattr(Module, "is_software", lambda self, token: False)


@pytest.mark.parametrize(
    ("changes", "said"), [({"EXTRACTABLE": True}, "can be extracted"), ({"SENSITIVE": False}, "is not sensitive")]
)
def test_exposed_keys_are_refused_in_production_and_warned_of_in_dev(own, hardware, caplog, changes, said):
    with own.opened(realm=Realm.PRODUCTION):
        pass
    spoil(own, **changes)
    with caplog.at_level(logging.WARNING), own.opened() as keystore:
        assert "spoilt" in keystore.labels()
    assert any(f"secret key 'spoilt' {said}" in text for text in caplog.messages)
    with (
        pytest.raises(ConfigError, match=f"refused in production.*'spoilt' {said}"),
        own.opened(realm=Realm.PRODUCTION),
    ):
        pass


def test_what_a_key_may_do_besides_is_remarked(own, caplog):
    spoil(own, ENCRYPT=True, DERIVE=False)
    with caplog.at_level(logging.WARNING), own.opened():
        pass
    assert any("seed 'spoilt' lacks DERIVE and may also ENCRYPT" in text for text in caplog.messages)


def test_doubled_labels_and_lone_private_keys_are_not_used(own, caplog):
    spoil(own, LABEL="high")
    with _writing(own.settings, []) as session:
        session.get_key(object_class=ObjectClass.PUBLIC_KEY, label="p256.pub").destroy()
    with caplog.at_level(logging.WARNING), own.opened() as keystore:
        assert not {"high", "p256.priv"} & keystore.labels()
        assert {"low", "p384.priv"} <= keystore.labels()
    assert any("'high' is there more than once" in text for text in caplog.messages)
    assert any("'p256.priv' has no public half" in text for text in caplog.messages)


def test_a_foreign_public_half_is_not_believed(own, material):
    """Anybody who is logged in can store a public key under any label."""
    with _writing(own.settings, []) as session:
        session.get_key(object_class=ObjectClass.PUBLIC_KEY, label="p256.pub").destroy()
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    import_keys(own.settings, KeyMaterial({}, {}, {"p256.pub": spki(stranger)}))
    with own.opened() as keystore:
        assert "p256.priv" not in keystore.labels()


def test_production_refuses_softhsm(token):
    with (
        pytest.raises(ConfigError, match="software token and is refused in production"),
        token.opened(realm=Realm.PRODUCTION),
    ):
        pass


def test_production_refuses_public_keys(own, hardware, monkeypatch):
    import_keys(own.settings, KeyMaterial({"test-seed": hashlib.sha256(b"high security seed").digest()}, {}, {}))
    own_key = load_der_public_key(_public_of(own, "p256.priv"))
    key_id = known_keys.SubjectKeyIdentifier.from_public_key(own_key).digest.hex()
    monkeypatch.setattr(known_keys, "KEY_ID_SHA1", frozenset({key_id}))
    with pytest.raises(ConfigError) as refused, own.opened(realm=Realm.PRODUCTION):
        pass
    assert "secret key 'test-seed' is publicly known" in str(refused.value)
    assert "private key 'p256.priv' is publicly known" in str(refused.value)
    assert "'low'" not in str(refused.value)


def _public_of(own, label):
    with own.opened() as keystore:
        return keystore.public_key(label)


def test_seeds_are_known_by_value_and_by_mac():
    seeds = [hashlib.sha256(f"{name} security seed".encode()).digest() for name in ("high", "low")]
    for seed in (*seeds, bytes(32), b"\xff" * 32):
        assert known_keys.seed_is_public(seed)
        assert known_keys.seed_check_is_public(hmac.digest(seed, known_keys.SEED_CHECK, "sha256"))
    assert len(known_keys.SEED_CHECK_HMAC) == len(known_keys.SEED_SHA256)


def test_production_refuses_a_public_pin(own, hardware):
    own.pin.write_bytes(b"cryptoki")
    with pytest.raises(ConfigError, match="PIN is a publicly known one"), own.opened(realm=Realm.PRODUCTION):
        pass


# ---- filling a token ----------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(own, material):
    with pytest.raises(ConfigError, match=r"high, low.*never overwritten"):
        import_keys(own.settings, material)
    with pytest.raises(ConfigError, match=rf"no token '{TOKEN}'.*never overwritten"):
        init_token(MODULE, TOKEN, Secret(b"12345678", "SO PIN"), Secret(b"12345678", "PIN"))


def test_mldsa_keys_are_refused_with_the_reason(own):
    from cryptography.hazmat.primitives.asymmetric import mldsa

    key = mldsa.MLDSA44PrivateKey.generate()
    with pytest.raises(ConfigError, match="no mechanism for ML-DSA"):
        import_keys(own.settings, KeyMaterial({}, {"pq.priv": private_der(key)}, {}))


# ---- finding the token, logging in --------------------------------------------------------------------------------


def test_a_slot_is_an_index_among_the_slots_with_a_token(token):
    with token.opened(replace(token.settings, choice=TokenChoice(slot=0))) as keystore:
        assert "high" in keystore.labels()
    with (
        pytest.raises(ConfigError, match="expected a token in slot 9"),
        token.opened(replace(token.settings, choice=TokenChoice(slot=9))),
    ):
        pass


@pytest.mark.parametrize("path", ["/nowhere/libnone.so", "libc.so.6"])
def test_what_is_no_module(token, path):
    with (
        pytest.raises(ConfigError, match="expected a PKCS#11 module at"),
        token.opened(replace(token.settings, module=path)),
    ):
        pass


def test_another_label_is_named(token):
    with (
        pytest.raises(ConfigError, match="expected token 'other'"),
        token.opened(replace(token.settings, choice=TokenChoice("other"))),
    ):
        pass


def test_two_keystores_do_not_share_a_module(token):
    with token.opened() as keystore:
        with pytest.raises(ConfigError, match="once per process"), token.opened():
            pass
        assert len(keystore.hmac_sha256("high", b"still served")) == 32


def test_a_wrong_pin_is_one_sentence(own):
    own.pin.write_bytes(b"87654321")
    with pytest.raises(ConfigError) as refused, own.opened():
        pass
    assert str(refused.value) == f"token '{TOKEN}': the token refuses the PIN: correct it"


def test_the_module_can_be_opened_again_after_a_refusal(own):
    right = own.pin.read_bytes()
    own.pin.write_bytes(b"87654321")
    with pytest.raises(ConfigError), own.opened():
        pass
    own.pin.write_bytes(right)
    with own.opened() as keystore:
        assert len(keystore.hmac_sha256("high", b"m")) == 32
