"""A device that is not there: the keys, TBS, proof of origin, certificates and registration of a part of any SKU.

It does by itself what a part does at personalisation, so that an appliance can be tried without one. Nothing of it is
taken from the appliance's own operations. Source: opentitan-appliance sheet 3.5, 3.6, 4.3, 5.4, 5.5 and 10.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from station.appliance.certificates import new_key
from station.appliance.sku_templates import MLDSA, SkuTemplate
from station.formats import dice_build, perso_blob
from station.formats.dice import assemble_certificate
from station.formats.perso_blob import TYPES, AnyObject, CertObject, PersoObject
from station.secret import Secret
from station.wire import (
    crypto_cert_pb2,
    crypto_common_pb2,
    crypto_ecdsa_pb2,
    crypto_mldsa_pb2,
    device_id_pb2,
    pa_pb2,
    registry_record_pb2,
)

WAS_DIVERSIFIER = b"was".ljust(48, b"\0")
KEY_ID_BYTES = 20
OWN_CERTIFICATES = ("CDI_0", "CDI_1")
"""Issued by the device itself, below its UDS certificate."""
UDS_MLDSA = "UDS_MLDSA"
DICE_CA, DICE_MLDSA_CA, EXT_CA = "SigningKey/Dice/v0", "SigningKey/Dice/Mldsa/v0", "SigningKey/Ext/v0"
LEAF_DAYS = 3650
SHA256 = crypto_common_pb2.HASH_TYPE_SHA256

TbsHash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
Bundle = tuple[crypto_cert_pb2.SigningKeyParams | None, bytes]
"""Parameters and TBS of one certificate that is asked for."""


def ecdsa_params(label: str, hash_type: int = SHA256) -> crypto_cert_pb2.SigningKeyParams:
    """What is asked of an ECDSA CA for the TBS of this label: P-256, DER."""
    params = crypto_ecdsa_pb2.EcdsaParams(
        hash_type=hash_type,  # type: ignore[arg-type]  # open enum: wrong numbers are sent too
        curve=crypto_common_pb2.ELLIPTIC_CURVE_TYPE_NIST_P256,
        encoding=crypto_ecdsa_pb2.ECDSA_SIGNATURE_ENCODING_DER,
    )
    return crypto_cert_pb2.SigningKeyParams(key_label=label, ecdsa_params=params)


def mldsa_params(label: str, parameter_set: int = crypto_mldsa_pb2.MLDSA_87) -> crypto_cert_pb2.SigningKeyParams:
    """What is asked of an ML-DSA CA."""
    params = crypto_mldsa_pb2.MldsaParams(param_sets=parameter_set)  # type: ignore[arg-type]  # open enum
    return crypto_cert_pb2.SigningKeyParams(key_label=label, mldsa_params=params)


def device_signature(was: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 of the data as the part keys it: its secret is eight words, stored the other way round."""
    return hmac.digest(struct.pack("<8I", *struct.unpack(">8I", was)), data, "sha256")


def proof_of_origin(was: Secret, tbs: Sequence[bytes]) -> bytes:
    """The same over all TBS in their order, for a wafer authentication secret that must not be shown."""
    with was.reveal() as raw:
        return device_signature(raw, b"".join(tbs))


def endorse_request(
    sku: str, was: bytes, bundles: Sequence[Bundle], diversifier: bytes = WAS_DIVERSIFIER
) -> pa_pb2.EndorseCertsRequest:
    """The request for certificates, with the part's proof over all TBS in their order."""
    return pa_pb2.EndorseCertsRequest(
        sku=sku,
        bundles=[pa_pb2.EndorseCertBundle(key_params=params, tbs=tbs) for params, tbs in bundles],
        diversifier=diversifier,
        signature=device_signature(was, b"".join(tbs for _, tbs in bundles)),
    )


def leaf_tbs(common_name: str, ca: bytes, algorithm: str = "P-256", hash_algorithm: TbsHash | None = None) -> bytes:
    """TBS of a plain leaf below the CA (DER), whose signature algorithm is that of a CA key of ``algorithm``."""
    issuer = x509.load_der_x509_certificate(ca)
    key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer.subject)
        .public_key(new_key(MLDSA if algorithm.startswith("ML-DSA") else algorithm).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=LEAF_DAYS))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    stand_in = new_key(algorithm)  # its signature is thrown away
    if not isinstance(stand_in, ec.EllipticCurvePrivateKey):
        return builder.sign(stand_in, None).tbs_certificate_bytes
    return builder.sign(stand_in, hash_algorithm or hashes.SHA256()).tbs_certificate_bytes


def endorsed_labels(template: SkuTemplate) -> list[str]:
    """Labels of the certificates that the appliance signs for a device of the SKU."""
    hashed = [label for label in template.x509_order if label not in OWN_CERTIFICATES]
    return [*hashed, UDS_MLDSA] if template.needs_mldsa else hashed


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A P-256 key of the device with its 20-byte key id."""

    private: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> DeviceKey:
        """A fresh key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def spki(self) -> bytes:
        """SubjectPublicKeyInfo DER."""
        numbers = self.private.public_key().public_numbers()
        return dice_build.spki_p256(numbers.x, numbers.y)

    @property
    def key_id(self) -> bytes:
        """The first 20 bytes of the SHA-256 of the public key."""
        return hashlib.sha256(self.spki).digest()[:KEY_ID_BYTES]

    def certify(self, tbs: bytes) -> bytes:
        """The certificate of a TBS, signed with this key (ECDSA with SHA-256)."""
        return assemble_certificate(tbs, self.private.sign(tbs, ec.ECDSA(hashes.SHA256())))


class EmulatedDevice:
    """One device of a SKU; ``cas`` are the DER of its CAs by their name in the SKU file, ``number`` makes it unique.

    ``sku`` is the name that it is registered under, when that is another than the template's (a family member).
    """

    def __init__(self, template: SkuTemplate, cas: Mapping[str, bytes], number: int, sku: str = "") -> None:
        self.template = template
        self.sku = sku or template.name
        self.number = number
        self._cas = cas
        self.uds, self.cdi_0, self.cdi_1 = DeviceKey.new(), DeviceKey.new(), DeviceKey.new()
        ca = x509.load_der_x509_certificate(cas[DICE_CA])
        ca_key_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        name = ca.subject.public_bytes()
        self.uds_tbs = dice_build.uds_tbs(self.uds.spki, self.uds.key_id, name, ca_key_id, self._measured("UDS"))
        self.cdi_0_cert = self.uds.certify(self._cdi_tbs(self.cdi_0, self.uds))
        self.cdi_1_cert = self.cdi_0.certify(self._cdi_tbs(self.cdi_1, self.cdi_0))

    def bundles(self) -> list[Bundle]:
        """What the appliance is asked to endorse: the UDS TBS, those below the EXT CA, the ML-DSA one."""
        return [self._bundle(label) for label in endorsed_labels(self.template)]

    def _bundle(self, label: str) -> Bundle:
        if label == "UDS":
            return ecdsa_params(label), self.uds_tbs
        if label == UDS_MLDSA:
            return mldsa_params(label), leaf_tbs(label, self._cas[DICE_MLDSA_CA], MLDSA)
        return ecdsa_params(label), leaf_tbs(label, self._cas[EXT_CA])

    def objects(self, endorsed: Mapping[str, bytes]) -> list[AnyObject]:
        """What the registry gets: own and endorsed certificates (DER by label), CWTs, seeds."""
        own = {"CDI_0": self.cdi_0_cert, "CDI_1": self.cdi_1_cert}
        kept = {name: own[name] for name in OWN_CERTIFICATES if name in self.template.x509_order}
        return [
            *(CertObject(TYPES.X509_CERT, name, body) for name, body in {**kept, **endorsed}.items()),
            *(CertObject(TYPES.CWT_CERT, name, name.encode() * 50) for name in self.template.cwt_order),
            PersoObject(TYPES.DEV_SEED, hashlib.sha512(self.uds.key_id).digest()),
            PersoObject(TYPES.GENERIC_SEED, hashlib.sha256(self.uds.key_id).digest()),
        ]

    def device_data(self, objects: Sequence[AnyObject], wrapped_seed: bytes) -> registry_record_pb2.DeviceData:
        """The data of a registration."""
        version = int(self.template.needs_mldsa)  # version 0 has no room for an ML-DSA certificate
        origin = device_id_pb2.HardwareOrigin(
            silicon_creator_id=device_id_pb2.SILICON_CREATOR_ID_NUVOTON,
            product_id=device_id_pb2.PRODUCT_ID_EARLGREY_A2,
            device_identification_number=self.number,
        )
        return registry_record_pb2.DeviceData(
            sku=self.sku,
            device_id=device_id_pb2.DeviceId(hardware_origin=origin, sku_specific=bytes(16)),
            device_life_cycle=registry_record_pb2.DEVICE_LIFE_CYCLE_PROD,
            metadata=registry_record_pb2.Metadata(
                registration_state=registry_record_pb2.DEVICE_REGISTRATION_STATE_PROVISIONED,
                create_time_ms=1,
                update_time_ms=1,
            ),
            wrapped_rma_unlock_token=wrapped_seed,
            perso_tlv_data=perso_blob.build(objects, version),
            perso_fw_sha256_hash=bytes(32),
            num_perso_tlv_objects=len(objects) + version,
        )

    def certs_hash(self, objects: Sequence[AnyObject]) -> bytes:
        """SHA-256 of the CWTs, the X.509 certificates and the device seeds in the SKU's order, byte-reversed.

        Source: opentitan-appliance sheet 3.6; not the appliance's own reader.
        """
        certs = {(item.type, item.name): item.body for item in objects if isinstance(item, CertObject)}
        digest = hashlib.sha256()
        for kind, order in ((TYPES.CWT_CERT, self.template.cwt_order), (TYPES.X509_CERT, self.template.x509_order)):
            for name in order:
                digest.update(certs.get((kind, name), b""))
        for item in objects:
            if isinstance(item, PersoObject) and item.type is TYPES.DEV_SEED:
                digest.update(item.payload)
        return digest.digest()[::-1]

    def registration(self, objects: Sequence[AnyObject], wrapped_seed: bytes) -> pa_pb2.RegistrationRequest:
        """The registration with the right hash."""
        return pa_pb2.RegistrationRequest(
            device_data=self.device_data(objects, wrapped_seed),
            hash_type=SHA256,
            certs_hash=self.certs_hash(objects),
        )

    def _cdi_tbs(self, key: DeviceKey, parent: DeviceKey) -> bytes:
        return dice_build.cdi_tbs(key.spki, key.key_id, parent.key_id, self._measured("CDI"))

    def _measured(self, model: str) -> dice_build.Measurements:
        return dice_build.Measurements(model, 0, tuple(hashlib.sha256(bytes((n,))).digest() for n in range(4)))
