"""Token derivation and seed wrapping against the reference vectors (appliance sheet 7.4), without a server."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from appliance_bench import padded
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from station.appliance.endorse import swapped_words
from station.appliance.keystore import KeyMaterial, SoftwareKeystore, spki
from station.appliance.loaded_sku import LoadedSku
from station.appliance.refusal import Refusal
from station.appliance.skus import SkuConfig
from station.appliance.tokens import derive_tokens
from station.formats.lc_token import lc_hash
from station.model import Realm
from station.wire.pa_pb2 import DeriveTokensRequest, TokenParams

HIGH = hashlib.sha256(b"high security seed").digest()
LOW = hashlib.sha256(b"low security seed").digest()


@pytest.fixture(scope="module")
def rma():
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


@pytest.fixture
def keystore(rma):
    material = KeyMaterial(secret={"high": HIGH, "low": LOW}, private={}, public={"rma.pub": spki(rma.public_key())})
    return SoftwareKeystore(Realm.DEV, material)


def sku(**attributes) -> LoadedSku:
    values = {
        "SeedSecHi": "high", "SeedSecLo": "low", "WrappingMechanism": "RsaOaep", "WrappingKeyLabel": "rma.pub",
        **attributes,
    }  # fmt: skip
    values = {name: value for name, value in values.items() if value}
    return LoadedSku(SkuConfig("sival", 3, 0, (), dict[str, Path](), values, (), ()), {})


def one(keystore, loaded=None, **params):
    request = DeriveTokensRequest(sku="sival", params=[TokenParams(**params)])
    return derive_tokens(keystore, loaded or sku(), request).tokens[0]


VECTORS = [
    (1, b"test_unlock", "16d4dcc82003dd45a58022355e539312", "499c6c5a0add3c6bbed46735a7e55c06"),
    (1, padded(b"test_unlock"), "696205fb304aeca0d6f358cd1783d0cc", "20641dae42418e2c8e62b523e6eca2ed"),
    (1, b"test_exit", "c7d8449d604d9419e9a0248f872a7fc4", "d6c2fbfc79b17c82f5f0ba0f3c7ac242"),
    (1, padded(b"test_exit"), "75405ca24aabf3b084af8b08857357dd", "f6de00357ab73bc41f6e9ecc7a8a6b25"),
]


@pytest.mark.parametrize(("seed", "diversifier", "raw", "hashed"), VECTORS)
def test_test_tokens(keystore, seed, diversifier, raw, hashed):
    assert one(keystore, seed=seed, type=1, size=1, diversifier=diversifier).token.hex() == raw
    assert one(keystore, seed=seed, type=2, size=1, diversifier=diversifier).token.hex() == hashed


def test_seeds_of_the_vectors():
    assert HIGH.hex() == "63d8f39f18bdebabce846bfd9464577f8ba8c19c80f6af96423d29790e8b2547"
    assert LOW.hex() == "255565bec50a5c19719c6ef89bb917bd103fb58188d8b4bc3b647a0f52c28329"


def test_wafer_secret_and_its_device_key(keystore):
    unpadded = one(keystore, seed=2, type=1, size=2, diversifier=b"was").token
    secret = one(keystore, seed=2, type=1, size=2, diversifier=padded(b"was")).token
    assert unpadded.hex() == "38fc2ffee3987d60a97cf0a7f99a431b916df38b6fdf00d800d9215e696eac5e"
    assert secret.hex() == "dbcab5aa73c4a39383be6d2e0e0dd9f4c9875988b11ab7234c56cb41c649779c"
    assert swapped_words(secret).hex() == "aab5cadb93a3c4732e6dbe83f4d90d0e885987c923b71ab141cb564c9c7749c6"


def test_hashed_256_bits_are_32_bytes(keystore):
    token = one(keystore, seed=2, type=2, size=2, diversifier=b"was").token
    assert token == lc_hash(bytes.fromhex("38fc2ffee3987d60a97cf0a7f99a431b916df38b6fdf00d800d9215e696eac5e"))
    assert len(token) == 32


@pytest.mark.parametrize("mechanism", ["RsaOaep", "RsaPkcs"])
def test_rma_token_is_recovered_from_the_wrapped_seed(keystore, rma, mechanism):
    loaded = sku(WrappingMechanism=mechanism)
    token = one(keystore, loaded, seed=3, type=2, size=1, diversifier=b"rma: device_id", wrap_seed=True)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    seed = rma.decrypt(token.wrapped_seed, oaep if mechanism == "RsaOaep" else padding.PKCS1v15())
    assert len(token.wrapped_seed) == 384
    assert len(seed) == 32
    assert lc_hash(hmac.digest(seed, b"rma: device_id", "sha256")[:16]) == token.token


def test_fresh_seeds_differ_and_may_go_unwrapped(keystore):
    first, second = (one(keystore, seed=3, type=1, size=1, diversifier=b"rma") for _ in range(2))
    assert first.token != second.token
    assert not first.wrapped_seed


GOOD = {"seed": 1, "type": 1, "size": 1, "diversifier": b"x"}
REFUSALS = [
    ({"SeedSecHi": ""}, {}, "INTERNAL"),
    ({"SeedSecLo": ""}, {}, "INTERNAL"),
    ({}, {"seed": 0}, "INVALID_ARGUMENT"),
    ({}, {"seed": 9}, "INVALID_ARGUMENT"),
    ({"WrappingMechanism": ""}, {"seed": 3, "wrap_seed": True}, "INTERNAL"),
    ({"WrappingKeyLabel": ""}, {"seed": 3, "wrap_seed": True}, "INTERNAL"),
    ({"WrappingKeyLabel": "high"}, {"seed": 3, "wrap_seed": True}, "INTERNAL"),
    ({"WrappingMechanism": "AesGcm"}, {"seed": 3, "wrap_seed": True}, "INTERNAL"),
    ({"WrappingMechanism": "AesGcm"}, {"seed": 0, "wrap_seed": True}, "INVALID_ARGUMENT"),
    ({}, {"size": 0}, "INVALID_ARGUMENT"),
    ({}, {"size": 3}, "INVALID_ARGUMENT"),
    ({}, {"type": 0}, "INVALID_ARGUMENT"),
    ({}, {"type": 3}, "INVALID_ARGUMENT"),
    ({}, {"diversifier": b""}, "INTERNAL"),
    ({}, {"seed": 2, "wrap_seed": True}, "INTERNAL"),
    ({"SeedSecLo": "absent"}, {}, "INTERNAL"),
]


@pytest.mark.parametrize(("attributes", "params", "code"), REFUSALS)
def test_refusals(keystore, attributes, params, code):
    with pytest.raises(Refusal) as refused:
        one(keystore, sku(**attributes), **{**GOOD, **params})
    assert refused.value.code == code


def test_no_parameters_no_tokens(keystore):
    assert not derive_tokens(keystore, sku(), DeriveTokensRequest(sku="sival")).tokens
