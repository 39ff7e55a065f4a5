"""Reference vectors of the appliance sheet (7.1, 7.4) over the wire, and against what the self-test reckons with.

The vectors of formats are in tests/formats; the key derivation without a server is in test_appliance_tokens.py. The
sheet's files (7.3) are not here, so its one signature over ``tbs.der`` is checked by its key only.
"""

from __future__ import annotations

import hashlib
import hmac

import pytest
from appliance_bench import Served, Station, copy_folder, padded

from station.appliance.device_data import read_device_id
from station.appliance.emulated_device import device_signature, proof_of_origin
from station.appliance.keystore import KeyMaterial, create_keystore, unseal
from station.appliance.passphrase import read_secret
from station.appliance.selftest.oracle import Oracle, published_hashes_hold, registry_id
from station.appliance.settings import read_settings
from station.model import Realm
from station.secret import Secret
from station.wire import device_id_pb2, pa_pb2

HIGH, LOW = (hashlib.sha256(text).digest() for text in (b"high security seed", b"low security seed"))
VECTORS = [  # seed, type, size, diversifier, token (7.4)
    (1, 1, 1, b"test_unlock", "16d4dcc82003dd45a58022355e539312"),
    (1, 2, 1, b"test_unlock", "499c6c5a0add3c6bbed46735a7e55c06"),
    (1, 1, 1, padded(b"test_unlock"), "696205fb304aeca0d6f358cd1783d0cc"),
    (1, 2, 1, padded(b"test_unlock"), "20641dae42418e2c8e62b523e6eca2ed"),
    (1, 1, 1, b"test_exit", "c7d8449d604d9419e9a0248f872a7fc4"),
    (1, 2, 1, b"test_exit", "d6c2fbfc79b17c82f5f0ba0f3c7ac242"),
    (1, 1, 1, padded(b"test_exit"), "75405ca24aabf3b084af8b08857357dd"),
    (1, 2, 1, padded(b"test_exit"), "f6de00357ab73bc41f6e9ecc7a8a6b25"),
    (2, 1, 2, b"was", "38fc2ffee3987d60a97cf0a7f99a431b916df38b6fdf00d800d9215e696eac5e"),
    (2, 1, 2, padded(b"was"), "dbcab5aa73c4a39383be6d2e0e0dd9f4c9875988b11ab7234c56cb41c649779c"),
]
WAS = bytes.fromhex(VECTORS[-1][4])
DEVICE_KEY = bytes.fromhex("aab5cadb93a3c4732e6dbe83f4d90d0e885987c923b71ab141cb564c9c7749c6")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory, made):
    """A development appliance with the seeds of the vectors, and what is in its keystore."""
    folder = copy_folder(made, tmp_path_factory.mktemp("vectors") / "appliance")
    keys = read_settings(folder).keys
    passphrase = read_secret(keys.passphrase, "passphrase")
    material = unseal(keys.file, passphrase, Realm.DEV)
    keys.file.unlink()
    secret = {**material.secret, "eg-kdf-hisec-v0": HIGH, "eg-kdf-losec-v0": LOW}
    known = KeyMaterial(secret, material.private, material.public)
    create_keystore(keys.file, passphrase, Realm.DEV, known)
    return folder, known


def test_seeds_of_the_sheet():
    assert HIGH.hex() == "63d8f39f18bdebabce846bfd9464577f8ba8c19c80f6af96423d29790e8b2547"
    assert LOW.hex() == "255565bec50a5c19719c6ef89bb917bd103fb58188d8b4bc3b647a0f52c28329"


def test_tokens_over_the_wire(vectors):
    appliance = Served(vectors[0])
    client = Station(vectors[0], appliance.target)
    try:
        client.log_in()
        params = [pa_pb2.TokenParams(seed=s, type=t, size=z, diversifier=d) for s, t, z, d, _ in VECTORS]
        answer = client.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=params))
    finally:
        client.close()
        assert appliance.stop() == 0
    assert [token.token.hex() for token in answer.tokens] == [token for *_, token in VECTORS]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector[-1][:8])
def test_the_self_test_reckons_right(vectors, vector):
    seed, kind, size, diversifier, token = vector
    oracle = Oracle(*vectors)
    assert oracle.token({1: "low", 2: "high"}[seed], diversifier, 128 * size, kind == 2).hex() == token


def test_hashes_of_the_netlist():
    assert published_hashes_hold()


@pytest.mark.parametrize("data", [b"", b"one", bytes(range(256)) * 4])
def test_the_emulated_device_keys_its_proof_as_the_part_does(data):
    wanted = hmac.new(DEVICE_KEY, data, hashlib.sha256).digest()
    assert device_signature(WAS, data) == wanted
    assert proof_of_origin(Secret(WAS, "WAS"), [data[:1], data[1:]]) == wanted


def test_device_ids():
    """7.1: device_testdata, and the form of the records that the self-test looks for."""
    origin = device_id_pb2.HardwareOrigin(
        silicon_creator_id=1, product_id=1, device_identification_number=0xBEEFCAFEFEED1234
    )
    message = device_id_pb2.DeviceId(hardware_origin=origin, sku_specific=bytes(16))
    assert read_device_id(message).registry_hex == f"0x{'0' * 40}beefcafefeed123400010001"
    origin = device_id_pb2.HardwareOrigin(silicon_creator_id=0x4001, product_id=3, device_identification_number=77)
    message = device_id_pb2.DeviceId(hardware_origin=origin, sku_specific=bytes(16))
    assert read_device_id(message).registry_hex == registry_id(77)
