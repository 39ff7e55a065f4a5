"""EndorseCerts with every key kind, and what random and wrong TBS get: a status, never a certificate or a crash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from appliance_bench import device_signature, ecdsa, padded
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given, settings
from hypothesis import strategies as st
from sku_bench import mldsa_of, openssl_verify, tbs_of

from station.appliance.certificates import DICE_CA_NAME, CaProfile, new_ca, new_endpoint, private_der, realm_name
from station.appliance.chains import Chain, verify, verify_ca
from station.appliance.device_data import verify_device_data
from station.appliance.endorse import ca_of, endorse_certs
from station.appliance.keystore import KeyMaterial, SoftwareKeystore
from station.appliance.loaded_sku import DICE_CA, DICE_MLDSA_CA, EXT_CA, EXT_MLDSA_CA, LoadedSku
from station.appliance.refusal import Refusal
from station.appliance.skus import SkuConfig
from station.errors import FormatError
from station.formats import der_tlv, perso_blob
from station.formats.der import parse_certificate
from station.formats.dice import MLDSA_OIDS, assemble_certificate, verify_chain
from station.formats.perso_blob import TYPES, CertObject
from station.model import Realm
from station.wire import device_id_pb2, pa_pb2, registry_record_pb2

SEED = hashlib.sha256(b"high security seed").digest()
WAS = bytes.fromhex("dbcab5aa73c4a39383be6d2e0e0dd9f4c9875988b11ab7234c56cb41c649779c")  # of the seed, padded "was"
SHA256, SHA384, SHA512 = 3, 2, 4


@dataclass
class Bench:
    """A SKU whose four CAs have the key kinds of the test."""

    sku: LoadedSku
    keystore: SoftwareKeystore
    certs: dict[str, bytes] = field(default_factory=dict)

    def call(self, bundles, **changes):
        fields = {
            "sku": "lab",
            "bundles": [pa_pb2.EndorseCertBundle(key_params=params, tbs=tbs) for params, tbs in bundles],
            "diversifier": padded(b"was"),
            "signature": device_signature(WAS, b"".join(tbs for _, tbs in bundles)),
        }
        request = pa_pb2.EndorseCertsRequest(**{**fields, **changes})
        return [item.cert.blob for item in endorse_certs(self.keystore, self.sku, request, datetime.now(UTC)).certs]

    def refused(self, bundles, **changes) -> str:
        with pytest.raises(Refusal) as refusal:
            self.call(bundles, **changes)
        return refusal.value.code


def make_bench(elliptic: str, parameter_set: str, mldsa_root: bool = True) -> Bench:
    root = new_ca(realm_name("Root", Realm.DEV), Realm.DEV, algorithm=elliptic)
    pq_root = new_ca(realm_name("PQ Root", Realm.DEV), Realm.DEV, algorithm=parameter_set) if mldsa_root else root
    cas = {
        DICE_CA: new_ca(DICE_CA_NAME, Realm.DEV, root, algorithm=elliptic),
        EXT_CA: new_ca(DICE_CA_NAME, Realm.DEV, root, algorithm=elliptic),
        DICE_MLDSA_CA: new_ca(DICE_CA_NAME, Realm.DEV, pq_root, algorithm=parameter_set),
        EXT_MLDSA_CA: new_ca(DICE_CA_NAME, Realm.DEV, pq_root, algorithm=parameter_set),
    }
    certs = {"RootCA": root.der, **{name: ca.der for name, ca in cas.items()}}
    if mldsa_root:
        certs["RootCAMldsa"] = pq_root.der
    attributes = {**{name: name for name in cas}, "WASKeyLabel": "seed", "CertChainDiceLeaf": "UDS"}
    config = SkuConfig("lab", 1, 0, (), {}, attributes, (), ("UDS",))
    private = {name: private_der(ca.key) for name, ca in cas.items()}
    return Bench(LoadedSku(config, certs), SoftwareKeystore(Realm.DEV, KeyMaterial({"seed": SEED}, private, {})), certs)


@pytest.fixture(scope="module")
def p384():
    return make_bench("P-384", "ML-DSA-44")


@pytest.fixture(scope="module")
def p256():
    return make_bench("P-256", "ML-DSA-65")


# ---- elliptic curves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hash_type", "hash_", "oid"),
    [
        (SHA256, hashes.SHA256(), "1.2.840.10045.4.3.2"),
        (SHA384, hashes.SHA384(), "1.2.840.10045.4.3.3"),
        (SHA512, hashes.SHA512(), "1.2.840.10045.4.3.4"),
    ],
)
@pytest.mark.parametrize("label", ["UDS", "CEK_0"])
def test_p384_and_the_three_hashes(p384, tmp_path, hash_type, hash_, oid, label):
    ca = p384.certs[DICE_CA if label == "UDS" else EXT_CA]
    tbs = tbs_of("leaf", ca, "P-384", hash_)
    (der,) = p384.call([(ecdsa(label, hash_type), tbs)])
    parsed = parse_certificate(der)
    assert (parsed.algorithm, parsed.tbs.raw) == (oid, tbs)
    assert openssl_verify(tmp_path / oid, [p384.certs["RootCA"], ca, der]) == "leaf.pem: OK"
    assert x509.load_der_x509_certificate(der).signature_algorithm_parameters.algorithm.name == hash_.name


def test_hash_must_be_that_of_the_tbs(p384):
    tbs = tbs_of("leaf", p384.certs[DICE_CA], "P-384", hashes.SHA384())
    assert p384.refused([(ecdsa("UDS", SHA256), tbs)]) == "INTERNAL"


# ---- ML-DSA -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "length"), [(1, 2420), (2, 3309), (3, 4627)])
@pytest.mark.parametrize("own_root", [True, False])
def test_mldsa_sets_and_labels(number, length, own_root):
    name = list(MLDSA_OIDS)[number - 1]
    bench = make_bench("P-256", name, own_root)
    for label, ca in (("UDS", DICE_MLDSA_CA), ("UDS_MLDSA", DICE_MLDSA_CA), ("EXT_MLDSA TPM", EXT_MLDSA_CA)):
        tbs = tbs_of("leaf", bench.certs[ca], name)
        (der,) = bench.call([(mldsa_of(label, number), tbs)])
        parsed = parse_certificate(der)
        assert (parsed.algorithm, parsed.tbs.raw, len(parsed.signature)) == (MLDSA_OIDS[name], tbs, length)
        load_der_public_key(parse_certificate(bench.certs[ca]).tbs.spki).verify(parsed.signature, tbs)
        assert x509.load_der_x509_certificate(der).signature_algorithm_oid.dotted_string == MLDSA_OIDS[name]
        verify_chain([bench.certs["RootCAMldsa" if own_root else "RootCA"], bench.certs[ca], der], datetime.now(UTC))


def test_mldsa_refusals(p256):
    tbs = tbs_of("leaf", p256.certs[DICE_MLDSA_CA], "ML-DSA-65")
    other_ca = tbs_of("leaf", p256.certs[EXT_MLDSA_CA], "ML-DSA-65")
    other_set = tbs_of("leaf", p256.certs[DICE_MLDSA_CA], "ML-DSA-44")
    classical = tbs_of("leaf", p256.certs[DICE_CA])
    rows = [
        (mldsa_of("UDS_MLDSA", 0), tbs),
        (mldsa_of("UDS_MLDSA", 1), tbs),  # the key is ML-DSA-65
        (mldsa_of("UDS_MLDSA", 9), tbs),
        (mldsa_of("UDS_MLDSA", 1), other_set),
        (mldsa_of("UDS_MLDSA", 2), other_set),
        (mldsa_of("UDS_MLDSA", 2), other_ca),  # upstream endorses it: its chain is not checked there
        (mldsa_of("UDS_MLDSA", 2), classical),
        (mldsa_of("UDS_MLDSA", 2), b"no TBS"),
        (mldsa_of("CEK_0", 2), tbs),  # a label of an elliptic-curve CA
        (ecdsa("UDS_MLDSA"), tbs),
        (ecdsa("UDS_MLDSA"), classical),
        (ecdsa("EXT_MLDSA"), other_ca),
    ]
    assert [p256.refused([row]) for row in rows] == ["INTERNAL"] * len(rows)
    assert len(p256.call([(mldsa_of("UDS_MLDSA", 2), tbs), (ecdsa("UDS"), classical)])) == 2
    assert p256.refused([(ecdsa("UDS"), classical), rows[5]]) == "INTERNAL"


def test_mldsa_certificate_with_a_damaged_signature(p256):
    tbs = tbs_of("leaf", p256.certs[DICE_MLDSA_CA], "ML-DSA-65")
    (der,) = p256.call([(mldsa_of("UDS_MLDSA", 2), tbs)])
    chain = [p256.certs["RootCAMldsa"], p256.certs[DICE_MLDSA_CA]]
    with pytest.raises(FormatError, match="wrong signature"):
        verify_chain([*chain, der[:-1] + bytes((der[-1] ^ 1,))])
    with pytest.raises(FormatError, match="3309 bytes"):
        assemble_certificate(tbs, bytes(3308), MLDSA_OIDS["ML-DSA-65"])
    with pytest.raises(FormatError, match="another kind"):
        verify_chain([p256.certs["RootCA"], p256.certs[DICE_CA], _below(p256, tbs)])


def test_parameter_set_of_the_issuer_decides(p256):
    tbs = tbs_of("leaf", p256.certs[DICE_MLDSA_CA], "ML-DSA-44")
    der = assemble_certificate(tbs, bytes(2420), MLDSA_OIDS["ML-DSA-44"])
    with pytest.raises(FormatError, match="one of another kind"):
        verify_chain([p256.certs["RootCAMldsa"], p256.certs[DICE_MLDSA_CA], der])


def test_cas_that_can_issue_nothing():
    now = datetime.now(UTC)
    root = new_ca(realm_name("Root", Realm.DEV), Realm.DEV)
    verify_ca(root.der, new_ca(DICE_CA_NAME, Realm.DEV, root).der, now)
    endpoint = new_endpoint(realm_name("no CA", Realm.DEV), ["localhost"], root, server=True)
    with pytest.raises(FormatError, match="CA certificate with keyCertSign"):
        verify_ca(root.der, endpoint.der, now)
    narrow = new_ca(realm_name("Root", Realm.DEV), Realm.DEV, profile=CaProfile(path_length=0))
    with pytest.raises(FormatError, match="path length 0"):
        verify_ca(narrow.der, new_ca(DICE_CA_NAME, Realm.DEV, narrow).der, now)
    with pytest.raises(FormatError, match="valid at"):
        verify_ca(root.der, new_ca(DICE_CA_NAME, Realm.DEV, root).der, now.replace(year=now.year + 30, day=1))


def _below(bench: Bench, tbs: bytes) -> bytes:
    """A TBS that names the elliptic-curve CA but is signed with ML-DSA."""
    tbs = tbs_of("leaf", bench.certs[DICE_CA], "ML-DSA-65")
    return assemble_certificate(tbs, bench.keystore.sign_mldsa(DICE_MLDSA_CA, tbs), MLDSA_OIDS["ML-DSA-65"])


def test_cas_by_label():
    rows = {
        ("UDS", "ecdsa_params"): DICE_CA,
        ("UDS", None): DICE_CA,
        ("UDS", "mldsa_params"): DICE_MLDSA_CA,
        ("UDS_MLDSA", "ecdsa_params"): DICE_MLDSA_CA,
        ("EXT_MLDSA", "mldsa_params"): EXT_MLDSA_CA,
        ("EXT_MLDSA_2", "ecdsa_params"): EXT_MLDSA_CA,
        ("EXT", "mldsa_params"): EXT_CA,
        ("TPM EK", "ecdsa_params"): EXT_CA,
        ("uds", "ecdsa_params"): EXT_CA,
        ("", "ecdsa_params"): EXT_CA,
    }
    assert {row: ca_of(*row) for row in rows} == rows


def test_attributes_and_certificates_that_the_sku_lacks(p256, good_tbs):
    bundle = [(ecdsa("UDS"), good_tbs)]

    def without(cert="", **attributes):
        values = {k: v for k, v in {**p256.sku.config.attributes, **attributes}.items() if v}
        certs = {name: der for name, der in p256.sku.certs.items() if name != cert}
        return replace(p256, sku=replace(p256.sku, config=replace(p256.sku.config, attributes=values), certs=certs))

    assert len(without().call(bundle)) == 1
    assert without(WASKeyLabel="absent").refused(bundle) == "INVALID_ARGUMENT"
    assert without(WASKeyLabel="").refused(bundle) == "INTERNAL"
    assert without(cert="RootCA").refused(bundle) == "INTERNAL"
    assert without(cert=DICE_CA).refused(bundle) == "INVALID_ARGUMENT"
    assert without(**{DICE_CA: ""}).refused(bundle) == "INVALID_ARGUMENT"
    assert without(**{DICE_CA: "absent"}).refused(bundle) == "INTERNAL"
    for odd, code in (
        (without(cert=DICE_CA), "INTERNAL"),
        (without(cert="RootCA"), "INTERNAL"),
        (without(CertChainDiceLeaf=""), "INTERNAL"),
        (without(CertChainDiceLeaf="CDI_9"), "INTERNAL"),
        (without(), "INVALID_ARGUMENT"),
    ):
        with pytest.raises(Refusal) as refusal:
            verify_device_data(odd.sku, registration(perso_blob.build([], 1)), datetime.now(UTC))
        assert refusal.value.code == code


# ---- random input -----------------------------------------------------------------------------------------------

elements = st.recursive(
    st.builds(der_tlv.element, st.sampled_from([1, 2, 3, 4, 5, 6, 12, 19, 24]), st.binary(max_size=24)),
    lambda inner: st.builds(
        lambda tag, parts: der_tlv.element(tag, *parts),
        st.sampled_from([0x30, 0x31, 0xA0, 0xA3]),
        st.lists(inner, max_size=7),
    ),
    max_leaves=25,
)


@settings(deadline=None, max_examples=150)
@given(
    tbs=st.binary(min_size=1, max_size=200) | elements, label=st.sampled_from(["UDS", "UDS_MLDSA", "x", "EXT_MLDSA"])
)
def test_random_tbs_is_refused_with_a_status(p256, tbs, label):
    for params in (ecdsa(label), mldsa_of(label, 2)):
        assert p256.refused([(params, tbs)]) == "INTERNAL"


@settings(deadline=None, max_examples=150)
@given(at=st.integers(0, 10**6), value=st.integers(1, 255))
def test_changed_tbs_is_endorsed_as_it_is_or_refused(p256, good_tbs, at, value):
    at %= len(good_tbs)
    changed = good_tbs[:at] + bytes((good_tbs[at] ^ value,)) + good_tbs[at + 1 :]
    try:
        (der,) = p256.call([(ecdsa("UDS"), changed)])
    except Refusal as refusal:
        assert refusal.code == "INTERNAL"
    else:
        parsed = verify_chain([p256.certs["RootCA"], p256.certs[DICE_CA], der], datetime.now(UTC))[2]
        assert parsed.tbs.raw == changed


@pytest.fixture(scope="module")
def good_tbs(p256):
    return tbs_of("leaf", p256.certs[DICE_CA])


@settings(deadline=None, max_examples=100)
@given(signature=st.binary(max_size=40), diversifier=st.binary(max_size=60))
def test_random_was_signature_is_refused(p256, good_tbs, signature, diversifier):
    code = p256.refused([(ecdsa("UDS"), good_tbs)], signature=signature, diversifier=diversifier)
    assert code == "INVALID_ARGUMENT"


def registration(blob: bytes) -> pa_pb2.RegistrationRequest:
    origin = device_id_pb2.HardwareOrigin(silicon_creator_id=1, product_id=1, device_identification_number=1)
    data = registry_record_pb2.DeviceData(
        sku="lab", device_id=device_id_pb2.DeviceId(hardware_origin=origin), perso_tlv_data=blob
    )
    return pa_pb2.RegistrationRequest(device_data=data, hash_type=3, certs_hash=bytes(32))


names = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=15)
objects = st.builds(
    CertObject, st.sampled_from([TYPES.X509_CERT, TYPES.CWT_CERT, TYPES.X509_TBS]), names, st.binary(max_size=80)
)


@settings(deadline=None, max_examples=200)
@given(
    blob=st.binary(max_size=300)
    | st.builds(bytes.__add__, st.just(perso_blob.MARKER_V1), st.binary(max_size=200))
    | st.builds(perso_blob.build, st.lists(objects | st.builds(CertObject, st.just(TYPES.X509_CERT), st.just("UDS"),
                                                               elements), max_size=4), st.sampled_from([0, 1]))
)  # fmt: skip
def test_random_perso_blob_is_refused_with_a_status(p256, blob):
    with pytest.raises(Refusal) as refusal:
        verify_device_data(p256.sku, registration(blob), datetime.now(UTC))
    assert refusal.value.code == "INVALID_ARGUMENT"


def test_remembered_ca_signatures_excuse_nothing_else():
    now = datetime.now(UTC)
    root, other = (new_ca(realm_name("Root", Realm.DEV), Realm.DEV) for _ in range(2))
    ca = new_ca(DICE_CA_NAME, Realm.DEV, root)
    tbs = tbs_of("leaf", ca.der)
    leaf = assemble_certificate(tbs, ca.key.sign(tbs, ec.ECDSA(hashes.SHA256())))
    for _ in range(2):  # the second time the CAs are remembered
        verify(Chain(root.der, ca.der, (leaf,)), now)
        with pytest.raises(FormatError, match="valid at"):
            verify(Chain(root.der, ca.der, (leaf,)), now.replace(year=now.year + 30, day=1))
        with pytest.raises(FormatError):
            verify(Chain(other.der, ca.der, (leaf,)), now)
        with pytest.raises(FormatError, match="wrong signature"):
            verify(Chain(root.der, ca.der[:-1] + bytes((ca.der[-1] ^ 1,)), (leaf,)), now)
        with pytest.raises(FormatError, match="wrong signature"):
            verify(Chain(root.der, ca.der, (leaf[:-1] + bytes((leaf[-1] ^ 1,)),)), now)
