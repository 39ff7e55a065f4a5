"""EndorseCerts: proof that the TBS come from a part of ours (WAS), then signature, certificate and chain.

Source: opentitan-appliance sheet 3.5 (WAS check, choice of the CA), 4.1 (assembly) and 1.5 (order of checks).
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from datetime import datetime

from station.appliance.chains import Chain, verify
from station.appliance.keystore import KeyMissing, Keystore
from station.appliance.loaded_sku import (
    DICE_CA,
    DICE_MLDSA_CA,
    EXT_CA,
    EXT_MLDSA_CA,
    ROOT,
    LoadedSku,
)
from station.appliance.refusal import Refusal, echoed
from station.errors import FormatError
from station.formats.dice import MLDSA_OIDS, assemble_certificate
from station.wire import crypto_cert_pb2, crypto_common_pb2, crypto_mldsa_pb2, pa_pb2

log = logging.getLogger(__name__)

SIGNATURES = {
    crypto_common_pb2.HASH_TYPE_SHA256: ("SHA256", "1.2.840.10045.4.3.2"),
    crypto_common_pb2.HASH_TYPE_SHA384: ("SHA384", "1.2.840.10045.4.3.3"),
    crypto_common_pb2.HASH_TYPE_SHA512: ("SHA512", "1.2.840.10045.4.3.4"),
}

PARAMETER_SETS = {
    crypto_mldsa_pb2.MLDSA_44: MLDSA_OIDS["ML-DSA-44"],
    crypto_mldsa_pb2.MLDSA_65: MLDSA_OIDS["ML-DSA-65"],
    crypto_mldsa_pb2.MLDSA_87: MLDSA_OIDS["ML-DSA-87"],
}


@dataclass(frozen=True, slots=True)
class Signer:
    """What signs one bundle: the SKU's name for the CA and the key's label in the keystore."""

    ca: str
    key: str


def endorse_certs(
    keystore: Keystore, sku: LoadedSku, request: pa_pb2.EndorseCertsRequest, now: datetime
) -> pa_pb2.EndorseCertsResponse:
    """One certificate per bundle, in order; nothing is returned unless all of them verify."""
    check_was(keystore, sku, request)
    sku.cert(ROOT, "INTERNAL")
    certs = []
    for bundle in request.bundles:
        signer = _signer(sku, bundle)
        der = _endorsed(keystore, signer, bundle)
        chain = Chain(sku.root_of(signer.ca), sku.cert(signer.ca, "INVALID_ARGUMENT"), (der,))
        _check_chain(chain, now, bundle.key_params.key_label)
        certs.append(
            pa_pb2.CertBundle(key_label=bundle.key_params.key_label, cert=crypto_cert_pb2.Certificate(blob=der))
        )
    return pa_pb2.EndorseCertsResponse(certs=certs)


def check_was(keystore: Keystore, sku: LoadedSku, request: pa_pb2.EndorseCertsRequest) -> None:
    """Refuse unless the signature is the HMAC of all TBS under the part's wafer authentication secret."""
    data = b"".join(bundle.tbs for bundle in request.bundles)
    if not data:
        raise Refusal("INVALID_ARGUMENT", "no data to endorse")
    label = sku.attribute("WASKeyLabel")
    if _was_matches(keystore, label, request.diversifier, data, request.signature):
        return
    if sku.config.attributes.get("WASDisable") == "true":
        log.warning("WAS signature of sku %s is wrong; accepted because WASDisable is set", sku.name)
        return
    reason = "could not verify WAS signature: the data came damaged, or the part holds another wafer secret"
    raise Refusal("INVALID_ARGUMENT", reason)


def swapped_words(secret: bytes) -> bytes:
    """Each group of four bytes reversed: the order in which the part keys its HMAC."""
    return b"".join(secret[at : at + 4][::-1] for at in range(0, len(secret), 4))


def ca_of(key_label: str, algorithm: str | None) -> str:
    """The SKU's name of the CA for a TBS label; ``algorithm`` is ``ecdsa_params`` or ``mldsa_params``."""
    if key_label == "UDS_MLDSA" or (key_label == "UDS" and algorithm == "mldsa_params"):
        return DICE_MLDSA_CA
    if key_label == "UDS":
        return DICE_CA
    return EXT_MLDSA_CA if key_label.startswith("EXT_MLDSA") else EXT_CA


def _was_matches(keystore: Keystore, label: str, diversifier: bytes, data: bytes, signature: bytes) -> bool:
    if not diversifier:
        return False
    try:
        was = keystore.hmac_sha256(label, diversifier)
    except KeyMissing:
        return False
    with was.reveal() as raw:
        return hmac.compare_digest(hmac.digest(swapped_words(raw), data, "sha256"), signature)


def _signer(sku: LoadedSku, bundle: pa_pb2.EndorseCertBundle) -> Signer:
    if not bundle.HasField("key_params"):
        raise Refusal("INVALID_ARGUMENT", "expected key parameters in every bundle")
    if not bundle.tbs:
        raise Refusal("INVALID_ARGUMENT", "expected a TBS in every bundle")
    ca = ca_of(bundle.key_params.key_label, bundle.key_params.WhichOneof("key"))
    key = sku.attribute(ca, "INVALID_ARGUMENT")
    sku.cert(ca, "INVALID_ARGUMENT")
    return Signer(ca, key)


def _endorsed(keystore: Keystore, signer: Signer, bundle: pa_pb2.EndorseCertBundle) -> bytes:
    kind = bundle.key_params.WhichOneof("key")
    if kind is None:
        raise Refusal("UNIMPLEMENTED", "unsupported key format")
    sign = _ecdsa if kind == "ecdsa_params" else _mldsa
    try:
        return sign(keystore, signer.key, bundle)
    except (KeyMissing, FormatError) as error:
        raise Refusal("INTERNAL", f"could not endorse {echoed(bundle.key_params.key_label)} cert: {error}") from None


def _ecdsa(keystore: Keystore, key: str, bundle: pa_pb2.EndorseCertBundle) -> bytes:
    signature = SIGNATURES.get(bundle.key_params.ecdsa_params.hash_type)
    if signature is None:
        raise FormatError("unsupported hash type")
    hash_name, oid = signature
    return assemble_certificate(bundle.tbs, keystore.sign(key, bundle.tbs, hash_name), oid)


def _mldsa(keystore: Keystore, key: str, bundle: pa_pb2.EndorseCertBundle) -> bytes:
    oid = PARAMETER_SETS.get(bundle.key_params.mldsa_params.param_sets)
    if oid is None:
        raise FormatError("unsupported ML-DSA parameter set")
    return assemble_certificate(bundle.tbs, keystore.sign_mldsa(key, bundle.tbs), oid)


def _check_chain(chain: Chain, now: datetime, label: str) -> None:
    try:
        verify(chain, now)
    except FormatError as error:
        raise Refusal("INTERNAL", f"could not endorse {echoed(label)} cert: {error}") from None
