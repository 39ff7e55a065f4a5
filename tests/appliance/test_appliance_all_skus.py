"""Every SKU from the first token to the registration, and what the appliance must refuse in each."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from appliance_bench import Served, Station, TestPart, device_signature, padded
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key
from sku_bench import (
    BOOT_TEXT,
    CA_LABELS,
    CWT_LABELS,
    EXT_LABELS,
    HAS,
    calls_of,
    mldsa_of,
    open_spm,
    openssl_verify,
    password_of,
    tbs_of,
    walk_sku,
)

from station.appliance.device_data import verify_device_data
from station.appliance.device_store import DeviceStore
from station.appliance.pki import init
from station.appliance.refusal import Refusal
from station.appliance.seed_recovery import rma_token, unwrap_seed
from station.formats.der import parse_certificate
from station.formats.dice import assemble_certificate, verify_chain
from station.formats.lc_token import lc_hash
from station.formats.perso_blob import TYPES, CertObject, PersoObject
from station.secret import Secret
from station.wire import device_id_pb2, pa_pb2, registry_record_pb2

SKUS = ("sival", "cr01", "pi01", "ti01", "sival_pqc")
CA_OF_LABEL = {"UDS": "dice", "EXT": "ext", "UDS_MLDSA": "dice_mldsa", "EXT_MLDSA": "ext_mldsa"}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A development appliance of all SKUs."""
    folder = tmp_path_factory.mktemp("full") / "appliance"
    init(folder, skus=["all"])
    return folder


@pytest.fixture(scope="module")
def spm(full):
    module = open_spm(full)
    for sku in SKUS:
        assert "RegisterDevice" in module.log_in(sku, password_of(full, sku))
    return module


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = DeviceStore(tmp_path_factory.mktemp("store") / "registry.db")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def call(spm, store):
    return calls_of(spm, store)


@pytest.fixture(scope="module")
def walks(call):
    return {sku: walk_sku(sku, call, number) for number, sku in enumerate(SKUS, 100)}


def chains(walk):
    """Label and chain, root first, of every certificate of the part that hangs below a P-256 CA."""
    dice = [walk.cas["root"], walk.cas["dice"], walk.endorsed["UDS"]]
    found = [("UDS", dice)]
    if walk.sku != "pi01":
        found.append(("CDI_1", [*dice, walk.part.cdi_0_cert, walk.part.cdi_1_cert]))
    found += [
        (label, [walk.cas["root"], walk.cas["ext"], walk.endorsed[label]]) for label in EXT_LABELS.get(walk.sku, ())
    ]
    return found


def refused(call, request, name="RegisterDevice"):
    with pytest.raises(Refusal) as refusal:
        call(name, request)
    return refusal.value.code, str(refusal.value)


# ---- the whole way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sku", SKUS)
def test_openssl_accepts_every_chain(walks, sku, tmp_path):
    for label, chain in chains(walks[sku]):
        assert openssl_verify(tmp_path / label, chain) == "leaf.pem: OK", label


@pytest.mark.parametrize("sku", SKUS)
def test_registration_is_stored_and_signed(walks, store, sku):
    device_id = f"0x{'0' * 32}{'0' * 8}{SKUS.index(sku) + 100:016x}00034001"
    record = registry_record_pb2.RegistryRecord.FromString(store.find(device_id)[0].record)
    assert record.sku == sku
    load_der_public_key(record.auth_pubkey).verify(record.auth_signature, record.data, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("sku", SKUS)
def test_key_ids_are_those_of_the_ca_certificates(walks, sku):
    walk = walks[sku]
    for label, key_id in walk.key_ids.items():
        ca = walk.cas.get(CA_OF_LABEL[label])
        assert key_id == (bytes(20) if ca is None else parse_certificate(ca).tbs.ski), label


@pytest.mark.parametrize("sku", SKUS)
def test_ca_certificates_that_the_sku_lacks(walks, call, sku):
    for label in set(CA_LABELS) - HAS[sku]:
        request = pa_pb2.GetCaCertsRequest(sku=sku, cert_labels=["root", label])
        assert refused(call, request, "GetCaCerts")[0] == "NOT_FOUND"


@pytest.mark.parametrize("sku", SKUS)
def test_boot_text(spm, sku):
    answer = spm.boot_message(pa_pb2.GetOwnerFwBootMessageRequest(sku=sku))
    assert answer.boot_message == BOOT_TEXT.get(sku, "ownership: OWND")


def test_roots_are_shared_as_upstream_shares_them(walks):
    roots = {sku: walk.cas["root"] for sku, walk in walks.items()}
    assert roots["sival"] == roots["cr01"] == roots["ti01"] == roots["sival_pqc"] != roots["pi01"]
    assert walks["sival"].cas["dice"] == walks["sival_pqc"].cas["dice"]


def test_passwords_are_per_sku(spm, full):
    with pytest.raises(Refusal) as refusal:
        spm.log_in("cr01", password_of(full, "sival"))
    assert refusal.value.code == "UNAUTHENTICATED"


def test_mldsa_chain_of_the_part(walks, tmp_path):
    walk = walks["sival_pqc"]
    chain = verify_chain([walk.cas["root_mldsa"], walk.cas["dice_mldsa"], walk.endorsed["UDS_MLDSA"]])
    for issuer, certificate in zip((chain[0], chain[0], chain[1]), chain, strict=True):
        key = load_der_public_key(issuer.tbs.spki)
        assert isinstance(key, mldsa.MLDSA87PublicKey)
        key.verify(certificate.signature, certificate.tbs.raw, None)
        assert certificate.algorithm == "2.16.840.1.101.3.4.3.19"
        assert len(certificate.signature) == 4627
    (tmp_path / "leaf.der").write_bytes(walk.endorsed["UDS_MLDSA"])
    command = ["openssl", "x509", "-inform", "DER", "-in", "leaf.der", "-noout", "-subject"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "subject=CN = UDS_MLDSA"


@pytest.mark.parametrize("sku", SKUS)
def test_rma_token_is_recovered_offline(walks, full, sku):
    load = lambda name: load_pem_private_key((full / "offline" / name).read_bytes(), None)  # noqa: E731
    token = walks[sku].rma
    layer = None
    if sku == "sival_pqc":
        pq, classical = load("hpke-mlkem-key.pem"), load("hpke-x25519-key.pem")
        assert isinstance(pq, mlkem.MLKEM768PrivateKey)
        assert isinstance(classical, x25519.X25519PrivateKey)
        layer = MLKEM768X25519PrivateKey(pq, classical)
    assert len(token.wrapped_seed) == (1120 + 384 + 16 if layer else 384)
    seed = unwrap_seed(token.wrapped_seed, load("rma-key.pem"), "RsaOaep", layer)
    assert lc_hash(rma_token(seed, b"rma".ljust(48, b"\0"))) == token.token


def test_family_sku(full, spm, call):
    text = (full / "skus/sku_cr01.yml").read_text().replace("sku: cr01", 'sku: "cr01_lab"')
    (full / "skus/sku_cr01_lab.yml").write_text(text)
    assert spm.log_in("cr01_lab", password_of(full, "cr01"))
    assert set(walk_sku("cr01_lab", call, 900, like="cr01").endorsed) == {"UDS", *EXT_LABELS["cr01"]}
    for sku, code in (("cr0", "NOT_FOUND"), ("cr01_absent", "INTERNAL")):
        with pytest.raises(Refusal) as refusal:
            spm.log_in(sku, password_of(full, "cr01"))
        assert refusal.value.code == code


# ---- what must be refused ---------------------------------------------------------------------------------------


def without(walk, label, kind=TYPES.X509_CERT):
    return [item for item in walk.objects if getattr(item, "name", "") != label or item.type is not kind]


def changed(walk, label, body, kind=TYPES.X509_CERT):
    return [
        replace(item, body=body) if getattr(item, "name", "") == label and item.type is kind else item
        for item in walk.objects
    ]


def renamed(walk, old, new, kind=TYPES.X509_CERT):
    return [
        replace(item, name=new) if getattr(item, "name", "") == old and item.type is kind else item
        for item in walk.objects
    ]


@pytest.mark.parametrize("sku", SKUS)
def test_no_certificate_may_be_missing_foreign_or_doubled(walks, call, sku):
    walk = walks[sku]
    labels = [item.name for item in walk.objects if getattr(item, "type", None) is TYPES.X509_CERT]
    other = TestPart(walk.cas["dice"], 77)
    for label in labels:
        rows = [without(walk, label), changed(walk, label, other.cdi_0_cert), changed(walk, label, b"\x30\x00")]
        rows.append([*without(walk, label), replace(walk.objects[0], name=labels[labels[0] == label])])
        for objects in rows:
            assert refused(call, walk.registration(objects))[0] == "INVALID_ARGUMENT", label


@pytest.mark.parametrize("sku", SKUS)
def test_certificate_hash_covers_what_the_part_wrote(walks, call, sku):
    walk = walks[sku]
    good = walk.registration()
    seed = [PersoObject(TYPES.DEV_SEED, bytes(64)) if i.type is TYPES.DEV_SEED else i for i in walk.objects]
    rows = [walk.registration(seed)] + [walk.registration(changed(walk, name, b"x", TYPES.CWT_CERT))
                                        for name in CWT_LABELS.get(sku, ())]  # fmt: skip
    for row in rows:
        row.certs_hash = good.certs_hash
        code, text = refused(call, row)
        assert (code, "certificate hash mismatch" in text) == ("INVALID_ARGUMENT", True)
    zeros = walk.registration()
    zeros.certs_hash = bytes(32)
    assert refused(call, zeros)[0] == "INVALID_ARGUMENT"


def test_generic_seeds_and_the_mldsa_certificate_are_not_hashed(walks, call, spm):
    walk = walks["sival_pqc"]
    request = walk.registration([i for i in walk.objects if i.type is not TYPES.GENERIC_SEED])
    assert request.certs_hash == walk.registration().certs_hash
    request.device_data.device_id.hardware_origin.device_identification_number = 5001
    call("RegisterDevice", request)
    hashed = walk.registration(without(walk, "UDS_MLDSA")).certs_hash
    assert hashed == walk.registration().certs_hash


def test_pi01_wants_three_cwts_and_no_more(walks, call):
    walk = walks["pi01"]
    fourth = [*walk.objects, CertObject(TYPES.CWT_CERT, "CDI_2", b"x")]
    twice = renamed(walk, "CDI_1", "CDI_0", TYPES.CWT_CERT)
    for objects in (fourth, without(walk, "CDI_0", TYPES.CWT_CERT), twice):
        code, text = refused(call, walk.registration(objects))
        assert (code, "CWT" in text) == ("INVALID_ARGUMENT", True)


def test_a_certificate_that_no_hash_covers_is_refused(walks, call):
    """Another label than that of the order: the hash would be that of the others."""
    for sku, label, other, kind in (
        ("pi01", "CEK_0", "CEK_9", TYPES.X509_CERT),
        ("cr01", "TPM EK", "TPM EX", TYPES.X509_CERT),
        ("pi01", "CDI_1", "CDI_2", TYPES.CWT_CERT),
    ):
        request = walks[sku].registration(renamed(walks[sku], label, other, kind))
        words = f"expected certificate {label!r} of the sku's hash order in the perso blob"
        code, text = refused(call, request)
        assert (code, words in text) == ("INVALID_ARGUMENT", True), text


def test_pi01_certificates_beyond_the_leaf(walks, call):
    walk = walks["pi01"]
    for label, body, words in (
        ("CDI_1", walk.part.cdi_1_cert, "no CDI_1"),
        ("CDI_0", walk.part.cdi_0_cert, "path length"),  # its DICE CA allows no CA below itself
    ):
        third = CertObject(TYPES.X509_CERT, label, body)
        objects = [third if getattr(item, "name", "") == "CEK_0" else item for item in walk.objects]
        code, text = refused(call, walk.registration(objects))
        assert (code, words in text) == ("INVALID_ARGUMENT", True), text


def test_cdi_0_below_a_uds_leaf_is_verified(walks, spm):
    walk, sku = walks["sival"], spm.sku("sival")
    stranger = TestPart(walk.cas["dice"], 78)
    attributes = {**sku.config.attributes, "CertChainDiceLeaf": "UDS"}
    config = replace(sku.config, x509_count=2, x509_hash_order=("UDS", "CDI_0"), attributes=attributes)
    odd, own = replace(sku, config=config), without(walk, "CDI_1")
    assert verify_device_data(odd, walk.registration(own), datetime.now(UTC)).origin.din_value == walk.part.number
    foreign = [replace(i, body=stranger.cdi_0_cert) if getattr(i, "name", "") == "CDI_0" else i for i in own]
    with pytest.raises(Refusal, match="as issuer"):
        verify_device_data(odd, walk.registration(foreign), datetime.now(UTC))


def test_mldsa_leaf_of_another_kind_or_signer(walks, call):
    walk = walks["sival_pqc"]
    leaf = parse_certificate(walk.endorsed["UDS_MLDSA"])
    forged = assemble_certificate(leaf.tbs.raw, bytes(4627), leaf.algorithm)
    classical = walks["sival"].endorsed["UDS"]
    for body in (forged, classical, walk.endorsed["UDS_MLDSA"][:-1]):
        assert refused(call, walk.registration(changed(walk, "UDS_MLDSA", body)))[0] == "INVALID_ARGUMENT"
    assert refused(call, walk.registration(renamed(walk, "UDS_MLDSA", "EXT_MLDSA")))[0] == "INVALID_ARGUMENT"


def test_part_of_one_sku_is_no_part_of_another(walks, call):
    for sku, other in (("sival", "ti01"), ("ti01", "sival"), ("cr01", "pi01"), ("sival_pqc", "sival")):
        request = walks[sku].registration(sku=other)
        assert refused(call, request)[0] == "INVALID_ARGUMENT"


def test_no_device_id_and_absent_sku_bytes(walks, call):
    for sku, walk in walks.items():
        for device_id in (None, device_id_pb2.DeviceId(sku_specific=bytes(16))):
            assert refused(call, walk.registration(device_id=device_id))[0] == "INVALID_ARGUMENT", sku


def test_leaf_attribute_is_asked_before_the_certificates_are_counted(walks, spm):
    sku = spm.sku("sival")
    attributes = {name: value for name, value in sku.config.attributes.items() if name != "CertChainDiceLeaf"}
    odd = replace(sku, config=replace(sku.config, attributes=attributes))
    with pytest.raises(Refusal) as refusal:
        verify_device_data(odd, walks["sival"].registration([walks["sival"].objects[0]]), datetime.now(UTC))
    assert refusal.value.code == "INTERNAL"


# ---- over the wire ----------------------------------------------------------------------------------------------


def test_two_skus_over_the_channel(full):
    appliance = Served(full)
    try:
        for sku in ("cr01", "sival_pqc"):
            client = Station(full, appliance.target, user=sku)
            with password_of(full, sku).reveal() as raw:
                client.log_in(sku, raw.decode())
            walk = walk_sku(sku, client.call, 3000)
            client.close()
            assert set(walk.endorsed) >= {"UDS"}
    finally:
        assert appliance.stop() == 0


def test_mldsa_label_of_a_sku_without_it(walks, call):
    walk = walks["sival"]
    tbs = tbs_of("UDS_MLDSA", walks["sival_pqc"].cas["dice_mldsa"], "ML-DSA-87")
    for label in ("UDS_MLDSA", "UDS", "EXT_MLDSA_1", "EXT"):
        request = pa_pb2.EndorseCertsRequest(
            sku="sival",
            bundles=[pa_pb2.EndorseCertBundle(key_params=mldsa_of(label), tbs=tbs)],
            diversifier=padded(b"was"),
            signature=device_signature(walk.was, tbs),
        )
        assert refused(call, request, "EndorseCerts")[0] == "INVALID_ARGUMENT"


def test_certificates_carry_the_profiles_of_the_sheet(walks, full):
    cases = {
        "opentitan-ca-root-v0": (None, 3, False, True),
        "opentitan-mldsa-ca-root-v0": (None, 3, False, True),
        "pi01-ca-root-v0": (1, 1, True, True),
        "sival-dice-key-p256-v0": (None, 3, False, False),
        "sival_pqc-dice-key-mldsa-v0": (None, 3, False, False),
        "pi01-ica-dice-key-p256-v0": (0, 1, True, False),
        "pi01-ica-ext-key-p256-v0": (None, 3, False, False),
        "cr01-ica-ext-key-p256-v0": (0, 3, False, False),
    }
    for label, (path_length, usages, critical, names_issuer) in cases.items():
        found = x509.load_der_x509_certificate((full / f"skus/ca/{label}.der").read_bytes()).extensions
        constraints = found.get_extension_for_class(x509.BasicConstraints)
        usage = found.get_extension_for_class(x509.KeyUsage)
        authority = found.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert (constraints.value.ca, constraints.value.path_length, constraints.critical) == (True, path_length, True)
        used = [usage.value.digital_signature, usage.value.key_cert_sign, usage.value.crl_sign]
        assert (sum(used), usage.value.key_cert_sign, usage.critical) == (usages, True, critical)
        assert (authority.authority_cert_issuer is not None) == names_issuer
        assert len(found.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest) == 20


def test_wrong_password_is_a_secret_too(spm):
    with pytest.raises(Refusal) as refusal:
        spm.log_in("pi01", Secret(b"guess-me", "SKU password"))
    assert "guess-me" not in str(refusal.value)
