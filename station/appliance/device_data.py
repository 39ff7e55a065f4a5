"""VerifyDeviceData: what a registration must prove before it is stored.

Source: opentitan-appliance sheet 3.6 (order, chain, certificate hash) and 1.5 (status codes). Stricter on purpose: a
certificate hash of 32 zero bytes is compared like any other, and no X.509 certificate stays unverified.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from station.appliance.chains import Chain, verify
from station.appliance.loaded_sku import DICE_CA, DICE_MLDSA_CA, EXT_CA, EXT_MLDSA_CA, ROOT, LoadedSku
from station.appliance.refusal import Refusal
from station.errors import FormatError
from station.formats import perso_blob
from station.formats.der import parse_certificate
from station.formats.device_id import DeviceId, HardwareOrigin
from station.formats.dice import MLDSA_OIDS
from station.wire import crypto_common_pb2, device_id_pb2, pa_pb2

DICE_ORDER = ("UDS", "CDI_0", "CDI_1")
DICE_MLDSA = "UDS_MLDSA"


def verify_device_data(sku: LoadedSku, request: pa_pb2.RegistrationRequest, now: datetime) -> DeviceId:
    """The device's id when all certificates, their count, chains and hash are right; else a refusal."""
    data = request.device_data
    try:
        blob = perso_blob.parse(data.perso_tlv_data, check_der=False, skip_unknown=True)
        device_id = read_device_id(data.device_id)
        root, dice_ca = sku.cert(ROOT, "INTERNAL"), sku.cert(DICE_CA, "INTERNAL")
        leaf = _dice_leaf(sku)
        certs = _counted(sku, blob)
        for label in certs:
            if label not in DICE_ORDER:
                ca = _issuer(label, certs[label])
                verify(Chain(sku.root_of(ca), sku.cert(ca, "INVALID_ARGUMENT"), (certs[label],)), now)
        verify(Chain(root, dice_ca, _dice_chain(leaf, certs)), now)
        _check_hash(sku, blob, request)
    except FormatError as error:
        raise Refusal("INVALID_ARGUMENT", str(error)) from None
    return device_id


def read_device_id(message: device_id_pb2.DeviceId) -> DeviceId:
    """The id of the message; an absent origin, an unknown creator or product, or a wrong length raise FormatError."""
    if not message.HasField("hardware_origin"):
        raise FormatError("expected a hardware origin in the device id, saw none")
    origin = HardwareOrigin(
        message.hardware_origin.silicon_creator_id,
        message.hardware_origin.product_id,
        message.hardware_origin.device_identification_number,
        message.hardware_origin.cp_reserved,
    )
    origin.check_registrable()
    if len(message.sku_specific) not in (0, 16):
        raise FormatError(f"expected 0 or 16 SKU-specific bytes, saw {len(message.sku_specific)}")
    return DeviceId(origin, message.sku_specific or bytes(16))


def _counted(sku: LoadedSku, blob: perso_blob.PersoBlob) -> Mapping[str, bytes]:
    x509 = blob.certs(perso_blob.TYPES.X509_CERT)
    cwt = blob.certs(perso_blob.TYPES.CWT_CERT)
    for kind, found, wanted in (("X.509", x509, sku.config.x509_count), ("CWT", cwt, sku.config.cwt_count)):
        if len(found) != wanted:
            raise FormatError(f"expected {wanted} {kind} certificates in the perso blob, saw {len(found)}")
        if len({item.name for item in found}) != len(found):
            raise FormatError(f"expected {kind} certificates of different names in the perso blob, saw one name twice")
    return {item.name: item.body for item in x509}


def _issuer(label: str, cert: bytes) -> str:
    """The SKU's name of the CA above a certificate that is no part of the classical DICE chain."""
    if label == DICE_MLDSA:
        return DICE_MLDSA_CA
    return EXT_MLDSA_CA if parse_certificate(cert).algorithm in MLDSA_OIDS.values() else EXT_CA


def _dice_leaf(sku: LoadedSku) -> str:
    leaf = sku.attribute("CertChainDiceLeaf")
    if leaf not in DICE_ORDER:
        raise Refusal("INTERNAL", f"invalid attribute CertChainDiceLeaf of sku {sku.name!r}: {leaf!r}")
    return leaf


def _dice_chain(leaf: str, certs: Mapping[str, bytes]) -> tuple[bytes, ...]:
    needed = DICE_ORDER[: DICE_ORDER.index(leaf) + 1]
    missing = [label for label in needed if label not in certs]
    if missing:
        raise FormatError(f"expected certificate {missing[0]!r} in the perso blob, saw none")
    if "CDI_1" in certs and leaf != "CDI_1":
        raise FormatError(f"expected no CDI_1 certificate for a sku whose leaf is {leaf}, saw one")
    return tuple(certs[label] for label in DICE_ORDER if label in certs)


def _check_hash(sku: LoadedSku, blob: perso_blob.PersoBlob, request: pa_pb2.RegistrationRequest) -> None:
    if request.hash_type != crypto_common_pb2.HASH_TYPE_SHA256:
        raise FormatError(f"expected hash type SHA256 (3), saw {request.hash_type}")
    _check_hashed(blob.certs(perso_blob.TYPES.X509_CERT), sku.config.x509_hash_order)
    _check_hashed(blob.certs(perso_blob.TYPES.CWT_CERT), sku.config.cwt_hash_order)
    computed = perso_blob.appliance_certs_hash(blob.objects, sku.config.cwt_hash_order, sku.config.x509_hash_order)
    if not hmac.compare_digest(computed, request.certs_hash):
        raise FormatError("certificate hash mismatch: the part and the registration disagree about its certificates")


def _check_hashed(certs: Sequence[perso_blob.CertObject], order: Sequence[str]) -> None:
    """The order has as many labels as there are certificates: one that is absent leaves another one unhashed."""
    missing = [label for label in order if label not in {item.name for item in certs}]
    if missing:
        raise FormatError(f"expected certificate {missing[0]!r} of the sku's hash order in the perso blob, saw none")
