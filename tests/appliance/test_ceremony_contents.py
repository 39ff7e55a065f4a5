"""What is inside a transfer: keys, requests and certificates that do not fit; steps before their time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ceremony_bench import Bench, contents
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from transfer_bench import changed, incoming, receive, refused

from station.appliance.ceremony.task import Side, Step
from station.appliance.ceremony.transfer import read_transfer
from station.appliance.certificates import DICE_CA_NAME, new_ca, new_key
from station.appliance.keystore import spki
from station.errors import ConfigError
from station.model import Realm


@pytest.mark.parametrize(("bits", "exponent"), [(2048, 65537), (3072, 3)], ids=["2048 bits", "exponent 3"])
def test_a_weak_transport_key(stage, tmp_path, bits, exponent):
    step = Step.OFFLINE_COMMON_EXPORT
    bench = stage(step)
    weak = rsa.generate_private_key(public_exponent=exponent, key_size=bits)
    items = dict(read_transfer(incoming(bench, step).read_bytes()).items)
    items["spm-rsa-wrap-v0.pub"] = spki(weak.public_key())
    refused(bench, step, changed(bench, step, tmp_path, items=items), "RSA key of 3072 bits with exponent 65537")


def test_no_way_to_wrap(stage, tmp_path):
    step = Step.OFFLINE_COMMON_EXPORT
    bench = stage(step)
    path = changed(bench, step, tmp_path, facts={"unwraps": "RsaPkcs"})
    with pytest.raises(ConfigError, match="expected a way to wrap the transport key that both keystores can do"):
        receive(bench, step, path)
    assert not incoming_of_spm(bench).exists()


def incoming_of_spm(bench: Bench) -> Path:
    return bench.path(Step.OFFLINE_COMMON_EXPORT, side=Side.OFFLINE)


@pytest.mark.parametrize("item", ["eg-aes-wrap-v0", "eg-kdf-hisec-v0", "eg-kdf-losec-v0"])
def test_wrapped_keys_that_do_not_unwrap(stage, tmp_path, item):
    step = Step.SPM_SKU_INIT
    bench = stage(step)
    items = dict(read_transfer(incoming(bench, step).read_bytes()).items)
    items[item] = bytes([items[item][0] ^ 1]) + items[item][1:]
    refused(bench, step, changed(bench, step, tmp_path, items=items), "wrapped for this machine's spm-rsa-wrap-v0")


def test_seeds_in_each_others_place(stage, tmp_path):
    """They unwrap, but the check values tell."""
    step = Step.SPM_SKU_INIT
    bench = stage(step)
    items = dict(read_transfer(incoming(bench, step).read_bytes()).items)
    items["eg-kdf-hisec-v0"], items["eg-kdf-losec-v0"] = items["eg-kdf-losec-v0"], items["eg-kdf-hisec-v0"]
    refused(bench, step, changed(bench, step, tmp_path, items=items), "with the check values of the export")


def request(name: x509.Name = DICE_CA_NAME, key=None, extension: bool = False) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if extension:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key or new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


OTHER_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Another CA")])


@pytest.mark.parametrize(
    ("csr", "words"),
    [
        (lambda: request(OTHER_NAME), "of the subject CN=Google Engineering ICA"),
        (lambda: request(key=ec.generate_private_key(ec.SECP384R1())), "with a key of P-256, saw P-384"),
        (lambda: request(key=rsa.generate_private_key(public_exponent=65537, key_size=2048)), "or ML-DSA key"),
        (lambda: request(extension=True), "with a name and a key only"),
        (lambda: request()[:-3], "saw other bytes"),
        (lambda: b"", "saw other bytes"),
    ],
    ids=["subject", "curve", "kind", "extension", "cut", "empty"],
)
def test_requests_against_the_policy(stage, tmp_path, csr, words):
    step = Step.OFFLINE_SKU_CERTGEN
    bench = stage(step)
    path = changed(bench, step, tmp_path, items={"sival-dice-key-p256-v0.csr": csr()})
    refused(bench, step, path, words)


def test_a_request_without_the_key(stage, tmp_path):
    step = Step.OFFLINE_SKU_CERTGEN
    bench = stage(step)
    csr = bytearray(request())
    csr[-1] ^= 1  # inside the signature
    path = changed(bench, step, tmp_path, items={"sival-dice-key-p256-v0.csr": bytes(csr)})
    refused(bench, step, path, "saw a wrong signature|saw other bytes")


def test_a_publicly_known_key_in_production(tmp_path):
    from station.appliance import known_keys
    from station.appliance.ceremony.authority import checked_request

    key = new_key()
    csr = request(key=key)
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_keys, "KEY_ID_SHA1", {digest})
        with pytest.raises(ConfigError, match="publicly known and is refused in production"):
            checked_request(csr, "sival-dice-key-p256-v0", {}, Realm.PRODUCTION)
        assert checked_request(csr, "sival-dice-key-p256-v0", {}, Realm.DEV)
    assert checked_request(csr, "sival-dice-key-p256-v0", {}, Realm.PRODUCTION)


def test_a_second_key_for_a_ca(stage, tmp_path):
    """A label of an SPM machine is certified once."""
    step = Step.OFFLINE_SKU_CERTGEN
    bench = stage(step)
    receive(bench, step, incoming(bench, step))
    (bench.path(Step.OFFLINE_SKU_CERTGEN, bench.skus, Side.OFFLINE)).unlink()
    kept = bench.path(Step.SPM_SKU_CSR, bench.skus, Side.OFFLINE)
    kept.unlink()
    (bench.offline / "transcript.jsonl").unlink()
    path = changed(bench, step, tmp_path, items={"sival-dice-key-p256-v0.csr": request()})
    with pytest.raises(ConfigError, match="a CA is certified once"):
        receive(bench, step, path)


@pytest.mark.parametrize("what", ["another root", "another key", "another realm", "more extensions"])
def test_certificates_that_do_not_fit(stage, tmp_path, what):
    step = Step.SPM_SKU_CERTS
    bench = stage(step)
    root = new_ca(DICE_CA_NAME, Realm.DEV)
    der = {
        "another root": lambda: new_ca(DICE_CA_NAME, Realm.DEV, root).der,
        "another key": lambda: issued_by_the_root(bench, Realm.DEV),
        "another realm": lambda: issued_by_the_root(bench, Realm.PRODUCTION),
        "more extensions": lambda: issued_by_the_root(bench, Realm.DEV, path_length=3),
    }[what]()
    words = {
        "another root": "valid below its root",
        "another key": "for its own key and subject",
        "another realm": r"2\.16\.840\.1\.113730\.1\.13",
        "more extensions": r"2\.5\.29\.19",
    }[what]
    refused(bench, step, changed(bench, step, tmp_path, items={"sival-dice-key-p256-v0.der": der}), words)


def issued_by_the_root(bench: Bench, realm: Realm, path_length: int | None = None) -> bytes:
    """What the right root signs for a key of its own choice."""
    from ceremony_bench import material_of
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    from station.appliance.certificates import CaProfile, Issued, issue_ca

    key = load_der_private_key(material_of(bench.offline).private["opentitan-ca-root-v0.priv"], None)
    root = x509.load_der_x509_certificate((bench.offline / "ca/opentitan-ca-root-v0.der").read_bytes())
    profile = CaProfile(path_length=path_length)
    made = issue_ca(DICE_CA_NAME, new_key().public_key(), Issued(root, key), realm, profile)
    return made.public_bytes(Encoding.DER)


def test_the_roots_of_other_skus(stage, tmp_path):
    bench = stage(Step.SPM_SKU_CERTS)
    roots = bench.path(Step.OFFLINE_CA_ROOT_CERTGEN, bench.skus, Side.OFFLINE)
    transfer = dataclasses.replace(read_transfer(roots.read_bytes()), skus=("cr01",))
    (tmp_path / "roots").write_bytes(transfer.encode())
    with pytest.raises(ConfigError, match="expected the roots of sival"):
        bench.spm_sku_certs(tmp_path / "roots", incoming(bench, Step.SPM_SKU_CERTS))


def test_a_file_in_the_way_is_not_overwritten(stage):
    bench = stage(Step.SPM_SKU_CERTS)
    (bench.spm / "skus").mkdir()
    (bench.spm / "skus/sku_sival.yml").write_text("mine\n")
    before = contents(bench.spm, ("ceremony.lock", "transcript.jsonl"))
    with pytest.raises(ConfigError, match=r"expected no other file at .*sku_sival\.yml: it is never overwritten"):
        bench.spm_sku_certs()
    assert contents(bench.spm, ("ceremony.lock", "transcript.jsonl")) == before


def test_a_kept_transfer_that_was_changed_later(stage):
    bench = stage(Step.SPM_SKU_CERTS)
    path = bench.path(Step.SPM_SKU_CSR, bench.skus)
    transfer = dataclasses.replace(read_transfer(path.read_bytes()), facts={"more": "x"})
    path.write_bytes(transfer.encode())
    with pytest.raises(ConfigError, match="as the transcript knows it"):
        bench.spm_sku_certs()


def test_steps_before_their_time(tmp_path):
    bench = Bench(tmp_path)
    bench.spm_init()
    bench.offline_common_init()
    for do, words in (
        (bench.spm_sku_csr, "do spm-sku-init with --input first"),
        (bench.offline_ca_root_certgen, None),
        (lambda: bench.spm_sku_certs(bench.path(Step.SPM_INIT)), "expected the two transfers"),
    ):
        if words is None:
            assert not do().already
            continue
        with pytest.raises(ConfigError, match=words):
            do()


def test_roots_before_requests(stage):
    bench = stage(Step.OFFLINE_SKU_CERTGEN)
    for path in (bench.offline / "ca").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="do offline-ca-root-certgen first"):
        bench.offline_sku_certgen()
