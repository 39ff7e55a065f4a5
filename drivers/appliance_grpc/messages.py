"""Between the values of the port and the messages of the wire.

Source: opentitan-appliance sheet 1.4 (fields) and 5.1 (what the reference client fills in).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from station.errors import ApplianceError, FormatError
from station.formats.der import parse_tbs
from station.formats.device_id import DeviceId
from station.formats.dice import MLDSA_OIDS, OID_ECDSA_SHA256, OID_ECDSA_SHA384, OID_ECDSA_SHA512
from station.model import Registration, TokenRequest
from station.wire import (
    crypto_cert_pb2,
    crypto_common_pb2,
    crypto_ecdsa_pb2,
    crypto_mldsa_pb2,
    device_id_pb2,
    pa_pb2,
    registry_record_pb2,
)

DIVERSIFIER_BYTES = 48
KEY_ID_BYTES = 20
_SEEDS = {
    "high": pa_pb2.TOKEN_SEED_HIGH_SECURITY,
    "low": pa_pb2.TOKEN_SEED_LOW_SECURITY,
    "keygen": pa_pb2.TOKEN_SEED_KEYGEN,
}
_SIZES = {128: pa_pb2.TOKEN_SIZE_128_BITS, 256: pa_pb2.TOKEN_SIZE_256_BITS}
_HASHES = {
    OID_ECDSA_SHA256: crypto_common_pb2.HASH_TYPE_SHA256,
    OID_ECDSA_SHA384: crypto_common_pb2.HASH_TYPE_SHA384,
    OID_ECDSA_SHA512: crypto_common_pb2.HASH_TYPE_SHA512,
}
_PARAMETER_SETS = {
    MLDSA_OIDS["ML-DSA-44"]: crypto_mldsa_pb2.MLDSA_44,
    MLDSA_OIDS["ML-DSA-65"]: crypto_mldsa_pb2.MLDSA_65,
    MLDSA_OIDS["ML-DSA-87"]: crypto_mldsa_pb2.MLDSA_87,
}
_LIFE_CYCLES = {
    "DEV": registry_record_pb2.DEVICE_LIFE_CYCLE_DEV,
    "PROD": registry_record_pb2.DEVICE_LIFE_CYCLE_PROD,
    "PROD_END": registry_record_pb2.DEVICE_LIFE_CYCLE_PROD_END,
}


def refuse(sentence: str) -> ApplianceError:
    """An error about a request that is never sent."""
    return ApplianceError(sentence, "INVALID_ARGUMENT")


def padded_diversifier(text: bytes) -> bytes:
    """1 to 48 bytes, zero-padded to the 48 that the reference client always sends."""
    if not 1 <= len(text) <= DIVERSIFIER_BYTES:
        raise refuse(f"expected a diversifier of 1 to 48 bytes, saw {len(text)}: correct the token's definition")
    return text.ljust(DIVERSIFIER_BYTES, b"\0")


def token_params(request: TokenRequest) -> pa_pb2.TokenParams:
    """Parameters of one token; a fresh seed is always wrapped."""
    if request.seed not in _SEEDS or request.bits not in _SIZES:
        raise refuse(f"expected seed high, low or keygen and 128 or 256 bits for {request.label!r}: correct it")
    hashed = pa_pb2.TOKEN_TYPE_HASHED_OT_LC_TOKEN if request.hashed else pa_pb2.TOKEN_TYPE_RAW
    return pa_pb2.TokenParams(
        seed=_SEEDS[request.seed],
        type=hashed,
        size=_SIZES[request.bits],
        diversifier=padded_diversifier(request.diversifier),
        wrap_seed=request.seed == "keygen",
    )


def derive_request(sku: str, requests: Sequence[TokenRequest]) -> pa_pb2.DeriveTokensRequest:
    """One request for all tokens."""
    return pa_pb2.DeriveTokensRequest(sku=sku, params=[token_params(request) for request in requests])


def endorse_request(
    sku: str, tbs: Sequence[tuple[str, bytes]], diversifier: bytes, signature: bytes
) -> pa_pb2.EndorseCertsRequest:
    """Every (label, TBS) in order, each to be signed with the algorithm that stands in it."""
    bundles = [pa_pb2.EndorseCertBundle(key_params=signing_params(label, body), tbs=body) for label, body in tbs]
    return pa_pb2.EndorseCertsRequest(
        sku=sku, bundles=bundles, diversifier=padded_diversifier(diversifier), signature=signature
    )


def signing_params(label: str, tbs: bytes) -> crypto_cert_pb2.SigningKeyParams:
    """What is asked of the CA: the algorithm inside the TBS; ECDSA with SHA-256 for what the appliance will refuse."""
    try:
        algorithm = parse_tbs(tbs).algorithm
    except FormatError:
        algorithm = ""
    if algorithm in _PARAMETER_SETS:
        mldsa = crypto_mldsa_pb2.MldsaParams(param_sets=_PARAMETER_SETS[algorithm])
        return crypto_cert_pb2.SigningKeyParams(key_label=label, mldsa_params=mldsa)
    ecdsa = crypto_ecdsa_pb2.EcdsaParams(
        hash_type=_HASHES.get(algorithm, crypto_common_pb2.HASH_TYPE_SHA256),
        curve=crypto_common_pb2.ELLIPTIC_CURVE_TYPE_NIST_P256,
        encoding=crypto_ecdsa_pb2.ECDSA_SIGNATURE_ENCODING_DER,
    )
    return crypto_cert_pb2.SigningKeyParams(key_label=label, ecdsa_params=ecdsa)


def registration_request(registration: Registration) -> pa_pb2.RegistrationRequest:
    """RegisterDevice as the reference client fills it: state PROVISIONED, times of now, ``ate_raw`` in capital hex."""
    if registration.life_cycle not in _LIFE_CYCLES:
        raise refuse(f"expected life cycle DEV, PROD or PROD_END, saw {registration.life_cycle!r}: do not register it")
    data = registry_record_pb2.DeviceData(
        sku=registration.sku,
        device_id=_device_id(registration.device_id),
        device_life_cycle=_LIFE_CYCLES[registration.life_cycle],
        metadata=_metadata(registration),
        wrapped_rma_unlock_token=registration.wrapped_rma_seed,
        perso_tlv_data=registration.perso_tlv,
        perso_fw_sha256_hash=registration.perso_fw_sha256,
        num_perso_tlv_objects=registration.perso_tlv_objects,
    )
    return pa_pb2.RegistrationRequest(
        device_data=data, hash_type=crypto_common_pb2.HASH_TYPE_SHA256, certs_hash=registration.certs_sha256
    )


def _device_id(raw: bytes) -> device_id_pb2.DeviceId:
    try:
        parsed = DeviceId.parse(raw)
    except FormatError as error:
        raise refuse(str(error)) from None
    # cp_reserved stays unset, as in the reference client
    origin = device_id_pb2.HardwareOrigin(
        silicon_creator_id=parsed.origin.silicon_creator,  # type: ignore[arg-type]  # open enum
        product_id=parsed.origin.product,  # type: ignore[arg-type]
        device_identification_number=parsed.origin.din_value,
    )
    return device_id_pb2.DeviceId(hardware_origin=origin, sku_specific=parsed.sku_specific)


def _metadata(registration: Registration) -> registry_record_pb2.Metadata:
    now = time.time_ns() // 1_000_000
    return registry_record_pb2.Metadata(
        registration_state=registry_record_pb2.DEVICE_REGISTRATION_STATE_PROVISIONED,
        create_time_ms=now,
        update_time_ms=now,
        ate_id=registration.ate_id,
        ate_raw=registration.ate_raw.hex().upper(),
        year=registration.year,
        week=registration.week,
        lot_num=registration.lot,
        wafer_id=registration.wafer,
        x=registration.x,
        y=registration.y,
    )
