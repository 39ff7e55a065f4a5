"""Wrapped RMA seeds: both RSA paddings, the HPKE layer, and keys that are refused before the first part."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from appliance_bench import copy_folder
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM1024P384PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sku_bench import open_spm

from station.appliance.hpke_layer import load_layer, open_layer
from station.appliance.keystore import KeyMaterial, SoftwareKeystore, algorithm_of, spki
from station.appliance.loaded_sku import LoadedSku, load_sku
from station.appliance.pki import init
from station.appliance.refusal import Refusal
from station.appliance.seed_recovery import rma_token, unwrap_seed
from station.appliance.skus import SkuConfig
from station.appliance.tokens import derive_tokens
from station.errors import ConfigError, FormatError
from station.formats.lc_token import lc_hash
from station.model import Realm
from station.wire.pa_pb2 import DeriveTokensRequest, TokenParams

PQ, CLASSICAL = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
LARGE_PQ, P384 = mlkem.MLKEM1024PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())


def der(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def raw(key) -> bytes:
    return key.public_key().public_bytes_raw()


@pytest.fixture(scope="module")
def rma():
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


@pytest.fixture(scope="module")
def pqc(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pqc") / "appliance"
    init(folder, skus=["sival_pqc"])
    return folder


def wrapped_token(rma, layer, mechanism="RsaOaep", **params):
    keystore = SoftwareKeystore(Realm.DEV, KeyMaterial({"s": bytes(32)}, {}, {"rma.pub": spki(rma.public_key())}))
    attributes = {"SeedSecHi": "s", "SeedSecLo": "s", "WrappingMechanism": mechanism, "WrappingKeyLabel": "rma.pub"}
    sku = LoadedSku(SkuConfig("sival_pqc", 4, 0, (), {}, attributes, (), ()), {}, layer)
    asked = TokenParams(**{"seed": 3, "type": 2, "size": 1, "diversifier": b"rma", "wrap_seed": True, **params})
    return derive_tokens(keystore, sku, DeriveTokensRequest(sku="sival_pqc", params=[asked])).tokens[0]


# ---- the layer --------------------------------------------------------------------------------------------------


def labeled(suite: bytes, label: bytes) -> bytes:
    return b"HPKE-v1" + suite + label


def expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand of RFC 9180 with HKDF-SHA256, for at most one block."""
    text = length.to_bytes(2, "big") + labeled(suite, label) + info
    return hmac.digest(secret, text + b"\x01", "sha256")[:length]


def hpke_open(shared: bytes, ciphertext: bytes, kem_id: int) -> bytes:
    """Base mode of RFC 9180 with HKDF-SHA256 and AES-256-GCM, written from the RFC for this test."""
    suite = b"HPKE" + kem_id.to_bytes(2, "big") + (1).to_bytes(2, "big") + (2).to_bytes(2, "big")
    hashes = [hmac.digest(b"", labeled(suite, label) + text, "sha256")
              for label, text in ((b"psk_id_hash", b""), (b"info_hash", b"token-seed-wrap"))]  # fmt: skip
    context = b"\x00" + b"".join(hashes)
    secret = hmac.digest(shared, labeled(suite, b"secret"), "sha256")
    key, nonce = expand(suite, secret, b"key", context, 32), expand(suite, secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def test_layer_opens_with_a_construction_of_our_own():
    """X-Wing (ML-KEM-768 and X25519 under SHA3-256, KEM 0x647a), then the key schedule of RFC 9180."""
    sealed = load_layer(raw(PQ), der(CLASSICAL)).seal(b"first layer")
    pq_part, point, ciphertext = sealed[:1088], sealed[1088:1120], sealed[1120:]
    agreed = CLASSICAL.exchange(x25519.X25519PublicKey.from_public_bytes(point))
    shared = hashlib.sha3_256(PQ.decapsulate(pq_part) + agreed + point + raw(CLASSICAL) + rb"\.//^\ "[:6]).digest()
    assert hpke_open(shared, ciphertext, 0x647A) == b"first layer"


@pytest.mark.parametrize("pq_file", [raw, der])
def test_both_forms_of_the_pq_file_and_both_hybrids(pq_file):
    small = load_layer(pq_file(PQ), der(CLASSICAL))
    assert len(small.seal(bytes(384))) == 1120 + 384 + 16
    assert open_layer(small.seal(b"x"), MLKEM768X25519PrivateKey(PQ, CLASSICAL)) == b"x"
    large = load_layer(pq_file(LARGE_PQ), der(P384))
    assert open_layer(large.seal(b"y"), MLKEM1024P384PrivateKey(LARGE_PQ, P384)) == b"y"
    assert small.seal(b"x") != small.seal(b"x")


@pytest.mark.parametrize(
    ("pq", "classical", "words"),
    [
        (raw(PQ), der(ec.generate_private_key(ec.SECP256R1())), "ML-KEM-768 with P-256 is no KEM"),
        (raw(PQ), der(rsa.generate_private_key(public_exponent=65537, key_size=2048)), "saw RSA"),
        (raw(PQ), der(P384), "expected X25519 beside"),
        (raw(LARGE_PQ), der(CLASSICAL), "expected P-384 beside"),
        (raw(LARGE_PQ), der(ec.generate_private_key(ec.SECP256R1())), "expected P-384 beside"),
        (raw(LARGE_PQ), der(ec.generate_private_key(ec.BrainpoolP384R1())), "expected P-384 beside"),
        (raw(PQ)[:-1], der(CLASSICAL), "ML-KEM public key"),
        (b"\xff" * 1184, der(CLASSICAL), "ML-KEM public key"),
        (b"", der(CLASSICAL), "ML-KEM public key"),
        (der(CLASSICAL), der(CLASSICAL), "ML-KEM public key"),
        (raw(PQ), b"no key", "classical HPKE key file"),
        (raw(PQ), b"", "classical HPKE key file"),
    ],
    ids=range(12),  # keys are made anew in each process: they name nothing
)
def test_pairs_that_cannot_be_served(pq, classical, words):
    with pytest.raises(ConfigError, match=words):
        load_layer(pq, classical)


# ---- tokens with it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["RsaOaep", "RsaPkcs"])
@pytest.mark.parametrize("layered", [False, True])
def test_recovered_token_is_the_derived_one(rma, mechanism, layered):
    layer = load_layer(raw(PQ), der(CLASSICAL)) if layered else None
    token = wrapped_token(rma, layer, mechanism)
    key = MLKEM768X25519PrivateKey(PQ, CLASSICAL) if layered else None
    seed = unwrap_seed(token.wrapped_seed, rma, mechanism, key)
    assert lc_hash(rma_token(seed, b"rma")) == token.token


@pytest.mark.parametrize("params", [{"wrap_seed": False}, {"seed": 2, "wrap_seed": False}])
def test_nothing_is_sealed_that_was_not_asked_for(rma, params):
    assert wrapped_token(rma, load_layer(raw(PQ), der(CLASSICAL)), **params).wrapped_seed == b""


def test_unwrapping_with_other_keys(rma):
    token = wrapped_token(rma, load_layer(raw(PQ), der(CLASSICAL)))
    other = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    right = MLKEM768X25519PrivateKey(PQ, CLASSICAL)
    wrong = MLKEM768X25519PrivateKey(mlkem.MLKEM768PrivateKey.generate(), CLASSICAL)
    flipped = bytes((token.wrapped_seed[0] ^ 1,)) + token.wrapped_seed[1:]
    for wrapped, key, mechanism, layer in (
        (token.wrapped_seed, other, "RsaOaep", right),
        (token.wrapped_seed, rma, "RsaPkcs", right),
        (token.wrapped_seed, rma, "RsaOaep", wrong),
        (token.wrapped_seed, rma, "RsaOaep", None),
        (flipped, rma, "RsaOaep", right),
        (b"", rma, "RsaOaep", right),
    ):
        with pytest.raises(FormatError):
            unwrap_seed(wrapped, key, mechanism, layer)


# ---- refused when the SKU is loaded -----------------------------------------------------------------------------


def load_changed(pqc, tmp_path, change, realm=Realm.DEV, material=None):
    """Findings of the SKU after ``change`` worked on the folder of SKU files."""
    folder = copy_folder(pqc, tmp_path / "appliance")
    keystore = open_spm(folder)._keystore
    keystore.realm = realm
    keystore._public.update(material or {})
    change(folder / "skus")
    try:
        load_sku(folder / "skus", "sival_pqc", keystore)
    except ConfigError as error:
        return "\n".join(finding.sentence for finding in error.findings)
    return ""


def edit(old, new):
    def change(skus):
        path = skus / "sku_sival_pqc.yml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def test_the_sku_as_made_loads_and_production_refuses_its_certificates(pqc, tmp_path):
    assert load_changed(pqc, tmp_path, lambda skus: None) == ""
    said = load_changed(pqc, tmp_path / "p", lambda skus: None, Realm.PRODUCTION).splitlines()
    names = ("RootCA", "RootCAMldsa", "SigningKey/Dice/v0", "SigningKey/Dice/Mldsa/v0")
    refused = (f"certificate {name!r} is of realm dev and is refused in production" for name in names)
    assert sorted(said) == sorted(refused)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit("RsaOaep", "AesGcm"), "wraps seeds with RSA only"),
        (edit(": Hpke", ": Other"), "expected one of none, Hpke"),
        (edit("ca/hpke_mlkem.pub", "ca/absent.pub"), "absent.pub"),
        (edit("  HPKEClassicalPublicKeyPath: ca/hpke_x25519.pub.der\n", ""), "HPKEClassicalPublicKeyPath"),
        (edit("ca/hpke_x25519.pub.der", "ca/p256.der"), "ML-KEM-768 with P-256"),
        (edit("WrappingKeyLabel: sku-eg-rsa-rma-v0.pub", "WrappingKeyLabel: spm-hsm-id-v0.priv"), "RSA-3072"),
        (edit("SeedSecHi: eg-kdf-hisec-v0", "SeedSecHi: sku-eg-rsa-rma-v0.pub"), "HMAC (secret key)"),
        (
            edit("Dice/v0: sival-dice-key-p256-v0.priv", "Dice/v0: sku-eg-rsa-rma-v0.pub"),
            "P-256 or P-384 (private key)",
        ),
        (edit("Dice/Mldsa/v0: sival_pqc-dice-key-mldsa-v0.priv", "Dice/Mldsa/v0: spm-hsm-id-v0.priv"), "ML-DSA-87"),
        (edit("Identity/v0: spm-hsm-id-v0.priv", "Identity/v0: spm-hsm-id-mldsa-v0.priv"), "P-256 or P-384"),
        (edit("RootCA\n    path: ca/opentitan-ca", "RootCA\n    path: ca/opentitan-mldsa-ca"), "issued by its root"),
        (edit("path: ca/sival-dice-key-p256-v0.der", "path: ca/hpke_mlkem.pub"), "expected a DER certificate"),
        (edit("path: ca/sival-dice-key-p256-v0.der", "path: ca/opentitan-ca-root-v0.der"), "carry the public key"),
    ],
)
def test_a_sku_that_could_not_be_served(pqc, tmp_path, change, words):
    def both(skus):
        (skus / "ca/p256.der").write_bytes(der(ec.generate_private_key(ec.SECP256R1())))
        change(skus)

    assert words in load_changed(pqc, tmp_path, both)


def test_short_rsa_keys_and_pkcs1_in_production(pqc, tmp_path):
    short = spki(rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key())
    material = {"sku-eg-rsa-rma-v0.pub": short}
    assert "saw RSA-2048" in load_changed(pqc, tmp_path / "a", lambda skus: None, material=material)
    pkcs = edit("RsaOaep", "RsaPkcs")
    assert load_changed(pqc, tmp_path / "b", pkcs) == ""
    assert "RsaPkcs is refused in production" in load_changed(pqc, tmp_path / "c", pkcs, Realm.PRODUCTION)


@pytest.mark.parametrize("value", ["none", "null", "", '"none"'])
def test_no_second_layer(pqc, tmp_path, value):
    folder = copy_folder(pqc, tmp_path / "appliance")
    edit(": Hpke", f": {value}")(folder / "skus")
    edit("ca/hpke_mlkem.pub", "ca/absent.pub")(folder / "skus")
    assert load_sku(folder / "skus", "sival_pqc", open_spm(folder)._keystore).second_layer is None


def test_names_of_algorithms(rma):
    assert algorithm_of(spki(rma.public_key())) == "RSA-3072"
    assert algorithm_of(der(P384)) == "P-384"
    assert algorithm_of(der(CLASSICAL)) == algorithm_of(b"no key") == "unknown"


def test_refusals_keep_their_place_with_a_second_layer(rma):
    layer = load_layer(raw(PQ), der(CLASSICAL))
    for params, code in (
        ({"seed": 2}, "INTERNAL"),
        ({"seed": 0}, "INVALID_ARGUMENT"),
        ({"size": 9}, "INVALID_ARGUMENT"),
    ):
        with pytest.raises(Refusal) as refusal:
            wrapped_token(rma, layer, **params)
        assert refusal.value.code == code
