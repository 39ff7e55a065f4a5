"""What must hold for every byte string that reaches the readers of DER and of personalization blobs.

A target takes bytes and returns; anything that escapes from it is a finding. ``corpus`` makes the bytes to start from.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from station.appliance.certificates import DICE_CA_NAME, Issued, new_ca, realm_name
from station.appliance.device_data import verify_device_data
from station.appliance.loaded_sku import DICE_CA, LoadedSku
from station.appliance.quota import device_candidates
from station.appliance.refusal import Refusal
from station.appliance.skus import SkuConfig
from station.errors import FormatError
from station.formats import der, der_tlv, dice, dice_build, perso_blob
from station.formats.perso_blob import TYPES, CertObject, PersoObject
from station.model import Realm
from station.wire import device_id_pb2, pa_pb2, registry_record_pb2

ROOT = new_ca(realm_name("Root", Realm.DEV), Realm.DEV)
CA = new_ca(DICE_CA_NAME, Realm.DEV, ROOT)
NOW = datetime.now(UTC)
SKU = LoadedSku(
    SkuConfig("lab", 1, 0, (), {}, {"CertChainDiceLeaf": "UDS"}, (), ("UDS",)), {"RootCA": ROOT.der, DICE_CA: CA.der}
)
MEASURED = dice_build.Measurements("UDS", 0, tuple(hashlib.sha256(bytes((n,))).digest() for n in range(4)))


# ---- targets ----------------------------------------------------------------------------------------------------


def perso_reader(data: bytes) -> None:
    """A blob is read or refused, alike with and without its count; what was read can be written and read again."""
    for check_der in (False, True):
        for skip in (False, True):
            try:
                blob = perso_blob.parse(data, check_der=check_der, skip_unknown=skip)
            except FormatError:
                continue
            assert skip or perso_blob.parse(data, blob.num_objs, check_der=check_der) == blob
            again = perso_blob.build(blob.objects, blob.version)
            assert len(again) <= len(data)
            if again:  # an empty one is refused, though one of zeros alone is read
                assert perso_blob.parse(again, check_der=check_der) == blob
            device_candidates(item.body for item in blob.certs(TYPES.X509_CERT))


def der_reader(data: bytes) -> None:
    """Elements lie one behind the other and inside one another; each part of a certificate can be asked for."""
    try:
        for _, element in der_tlv.walk(data):
            assert element.raw.endswith(element.content)
            assert element.raw in data
    except FormatError:
        pass
    for parse in (der.parse_tbs, lambda raw: der.parse_certificate(raw).tbs):
        try:
            tbs = parse(data)
        except FormatError:
            continue
        assert tbs.raw in data
        ask(tbs)


def ask(tbs: der.Tbs) -> None:
    """Everything that is asked of a TBS somewhere."""
    questions: tuple[Callable[[], object], ...] = (
        lambda: tbs.ski, lambda: tbs.aki, lambda: tbs.basic_constraints, lambda: tbs.key_usage,
        lambda: tbs.subject_serial, lambda: tbs.issuer_serial, lambda: dice.tcb_info(tbs),
        lambda: dice.check_key_ids(tbs), lambda: dice.check_device_links((tbs, tbs)),
    )  # fmt: skip
    for question in questions:
        try:
            question()
        except FormatError:
            pass


def chain(data: bytes) -> None:
    """A certificate under the CA is refused, or the CA has signed just that: its TBS is one of the corpus."""
    try:
        verified = dice.verify_chain([ROOT.der, CA.der, data], NOW)[-1]
    except FormatError:
        return
    assert verified.tbs.raw in SIGNED, "a certificate was accepted that nobody signed"


def assembled(data: bytes) -> None:
    """A TBS becomes a certificate that reads as this TBS, or is refused."""
    try:
        certificate = dice.assemble_certificate(data, ec_signature(data))
    except FormatError:
        return
    assert der.parse_certificate(certificate).tbs.raw == data


def registration(data: bytes) -> None:
    """A blob is refused with INVALID_ARGUMENT, or it holds a UDS certificate that the CA has signed."""
    origin = device_id_pb2.HardwareOrigin(silicon_creator_id=1, product_id=1, device_identification_number=1)
    record = registry_record_pb2.DeviceData(
        sku="lab", device_id=device_id_pb2.DeviceId(hardware_origin=origin), perso_tlv_data=data
    )
    request = pa_pb2.RegistrationRequest(device_data=record, hash_type=3, certs_hash=UDS_HASH)
    try:
        verify_device_data(SKU, request, NOW)
    except Refusal as refusal:
        assert refusal.code == "INVALID_ARGUMENT"
        return
    (uds,) = perso_blob.parse(data, check_der=False, skip_unknown=True).certs(TYPES.X509_CERT)
    assert (uds.name, uds.body) == ("UDS", UDS_CERT)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (perso_reader, der_reader, chain, assembled, registration)
}


# ---- corpus -----------------------------------------------------------------------------------------------------


def ec_signature(tbs: bytes, issuer: Issued = CA) -> bytes:
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    return issuer.key.sign(tbs, ec.ECDSA(hashes.SHA256()))


def dice_tbs(quirks: bool = True) -> bytes:
    """A UDS TBS under the CA, as firmware templates make it, or as strict DER."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    ca_key_id = CA.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    spki = dice_build.spki_p256(key.x, key.y)
    name = CA.certificate.subject.public_bytes()
    return dice_build.uds_tbs(spki, hashlib.sha256(spki).digest()[:20], name, ca_key_id, MEASURED, quirks=quirks)


TBS = (dice_tbs(), dice_tbs(quirks=False))
SIGNED = TBS
UDS_CERT = dice.assemble_certificate(TBS[0], ec_signature(TBS[0]))
UDS_HASH = perso_blob.appliance_certs_hash(
    [CertObject(TYPES.X509_CERT, "UDS", UDS_CERT), PersoObject(TYPES.DEV_SEED, bytes(64))], (), ("UDS",)
)


def certificates() -> list[bytes]:
    """Certificates of all kinds: endorsed ones, CAs of both curves, one with an ML-DSA key."""
    mldsa = new_ca(realm_name("PQ", Realm.DEV), Realm.DEV, algorithm="ML-DSA-44")
    p384 = new_ca(realm_name("P-384", Realm.DEV), Realm.DEV, algorithm="P-384")
    strict = dice.assemble_certificate(TBS[1], ec_signature(TBS[1]))
    return [UDS_CERT, strict, ROOT.der, CA.der, p384.der, mldsa.der]


def blobs() -> list[bytes]:
    """Blobs of both versions, as the part sends them and as they are registered."""
    uds = CertObject(TYPES.X509_CERT, "UDS", UDS_CERT)
    seed = PersoObject(TYPES.DEV_SEED, bytes(64))
    sent = [
        PersoObject(TYPES.DEVICE_ID, secrets.token_bytes(32)), PersoObject(TYPES.WAS_TBS_HMAC, bytes(32)),
        CertObject(TYPES.X509_TBS, "UDS", TBS[0]), CertObject(TYPES.CWT_CERT, "CDI_0", b"\xd2\x84" + bytes(80)),
        PersoObject(TYPES.PERSO_SHA256_HASH, bytes(32)), PersoObject(TYPES.GENERIC_SEED, bytes(32)),
    ]  # fmt: skip
    made = [perso_blob.build(objects, version) for objects in ([uds, seed], sent, [*sent, uds]) for version in (0, 1)]
    return [*made, made[0] + bytes(64), made[0] + b"\xff" * 64]


def corpus(target: str) -> list[bytes]:
    """Bytes to start from; among them what was a finding once."""
    ders = [*certificates(), *TBS, der_tlv.sequence(*[der_tlv.integer(n) for n in range(4)])]
    return {"perso_reader": blobs(), "registration": blobs(), "assembled": list(TBS)}.get(target, ders)
