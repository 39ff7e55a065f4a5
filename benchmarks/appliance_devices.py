"""Devices for the appliance's load: keys, TBS, own certificates and requests, made before the clock starts.

A device is what a part brings to its personalisation (``sival``: one TBS and two certificates of its own; ``pi01``:
three TBS and three CWTs). Requests that do not depend on an answer are serialised here once.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from drivers.appliance_grpc.messages import derive_request, endorse_request
from station.appliance.endorse import swapped_words
from station.flows.chip_probe import CP_TOKENS
from station.flows.final_test import FT_TOKENS, RMA_TOKEN
from station.formats import dice_build, perso_blob
from station.formats.der import parse_certificate
from station.formats.dice import KEY_ID_BYTES, assemble_certificate
from station.formats.perso_blob import TYPES, AnyObject, CertObject, PersoObject
from station.wire import crypto_common_pb2, device_id_pb2, pa_pb2, registry_record_pb2

EXT_LABELS: Mapping[str, tuple[str, ...]] = {"sival": (), "pi01": ("CEK_0", "CEK_1")}
CA_LABELS: Mapping[str, tuple[str, ...]] = {"sival": ("dice",), "pi01": ("dice", "ext")}
X509_ORDER: Mapping[str, tuple[str, ...]] = {"sival": ("UDS", "CDI_0", "CDI_1"), "pi01": ("UDS", "CEK_0", "CEK_1")}
CWT_ORDER: Mapping[str, tuple[str, ...]] = {"sival": (), "pi01": ("UDS", "CDI_0", "CDI_1")}
CWT_BYTES = 256
BLOB_VERSION = 0
DIGESTS = tuple(hashlib.sha256(bytes((number,))).digest() for number in range(4))
MEASURED = dice_build.Measurements("UDS", 0, DIGESTS)


@dataclass(frozen=True, slots=True)
class Requests:
    """What every device of a SKU asks in the same words, serialised."""

    cp_tokens: bytes
    ft_tokens: bytes
    rma_token: bytes
    key_ids: bytes
    ca_certs: bytes
    boot_text: bytes

    @classmethod
    def of(cls, sku: str) -> Requests:
        """The requests of a SKU."""
        return cls(
            derive_request(sku, CP_TOKENS).SerializeToString(),
            derive_request(sku, FT_TOKENS).SerializeToString(),
            derive_request(sku, [RMA_TOKEN]).SerializeToString(),
            pa_pb2.GetCaSubjectKeysRequest(sku=sku, cert_labels=["UDS", "EXT"]).SerializeToString(),
            pa_pb2.GetCaCertsRequest(sku=sku, cert_labels=["root", *CA_LABELS[sku]]).SerializeToString(),
            pa_pb2.GetOwnerFwBootMessageRequest(sku=sku).SerializeToString(),
        )


@dataclass(frozen=True, slots=True)
class Issuer:
    """What a certificate template says about the CA above it: DER of its name, and its key id."""

    name: bytes
    key_id: bytes

    @classmethod
    def of(cls, certificate: bytes) -> Issuer:
        """From the CA's certificate."""
        tbs = parse_certificate(certificate).tbs
        assert tbs.ski is not None
        return cls(tbs.subject, tbs.ski)


@dataclass(frozen=True, slots=True)
class Device:
    """One device: its number, the request that has its TBS endorsed, and what it holds itself."""

    number: int
    sku: str
    tbs: tuple[tuple[str, bytes], ...]
    endorse: bytes
    own: tuple[AnyObject, ...]

    def registration(self, endorsed: Sequence[bytes], wrapped_seed: bytes) -> bytes:
        """RegisterDevice for the certificates that the appliance made, serialised."""
        made = [CertObject(TYPES.X509_CERT, name, der) for (name, _), der in zip(self.tbs, endorsed, strict=True)]
        objects = [*made, *self.own]
        origin = device_id_pb2.HardwareOrigin(
            silicon_creator_id=device_id_pb2.SILICON_CREATOR_ID_OPENSOURCE,
            product_id=device_id_pb2.PRODUCT_ID_EARLGREY_A2,
            device_identification_number=self.number,
        )
        data = registry_record_pb2.DeviceData(
            sku=self.sku,
            device_id=device_id_pb2.DeviceId(hardware_origin=origin, sku_specific=bytes(16)),
            device_life_cycle=registry_record_pb2.DEVICE_LIFE_CYCLE_PROD,
            metadata=registry_record_pb2.Metadata(registration_state=1, create_time_ms=1, update_time_ms=1),
            wrapped_rma_unlock_token=wrapped_seed,
            perso_tlv_data=perso_blob.build(objects, BLOB_VERSION),
            perso_fw_sha256_hash=bytes(32),
            num_perso_tlv_objects=len(objects),
        )
        return pa_pb2.RegistrationRequest(
            device_data=data,
            hash_type=crypto_common_pb2.HASH_TYPE_SHA256,
            certs_hash=perso_blob.appliance_certs_hash(objects, CWT_ORDER[self.sku], X509_ORDER[self.sku]),
        ).SerializeToString()


def make_devices(sku: str, issuers: Sequence[Issuer], was: bytes, numbers: range) -> Iterator[Device]:
    """Different devices of one SKU; ``was`` is the wafer secret that all of them got, ``issuers`` are DICE and EXT."""
    for number in numbers:
        uds = _Key()
        tbs = [("UDS", dice_build.uds_tbs(uds.spki, uds.key_id, issuers[0].name, issuers[0].key_id, MEASURED))]
        for label in EXT_LABELS[sku]:
            key = _Key()
            tbs.append((label, dice_build.build_tbs(key.spki, key.key_id, issuers[1].name, issuers[1].key_id, MEASURED)))
        own: list[AnyObject] = [*_below(uds)] if sku == "sival" else []
        own += [CertObject(TYPES.CWT_CERT, label, uds.key_id.ljust(CWT_BYTES, b"\1")) for label in CWT_ORDER[sku]]
        own.append(PersoObject(TYPES.DEV_SEED, uds.key_id.ljust(64, b"\1")))
        signature = hmac.digest(swapped_words(was), b"".join(body for _, body in tbs), "sha256")
        request = endorse_request(sku, tbs, CP_TOKENS[0].diversifier, signature).SerializeToString()
        yield Device(number, sku, tuple(tbs), request, tuple(own))


class _Key:
    """A P-256 key of the part with its 20-byte key id."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        numbers = self._private.public_key().public_numbers()
        self.spki = dice_build.spki_p256(numbers.x, numbers.y)
        self.key_id = hashlib.sha256(self.spki).digest()[:KEY_ID_BYTES]

    def sign(self, tbs: bytes) -> bytes:
        return assemble_certificate(tbs, self._private.sign(tbs, ec.ECDSA(hashes.SHA256())))


def _below(uds: _Key) -> Iterator[CertObject]:
    """CDI_0 and CDI_1, which the part issues itself."""
    parent = uds
    for label in ("CDI_0", "CDI_1"):
        key = _Key()
        tbs = dice_build.cdi_tbs(key.spki, key.key_id, parent.key_id, MEASURED)
        yield CertObject(TYPES.X509_CERT, label, parent.sign(tbs))
        parent = key
