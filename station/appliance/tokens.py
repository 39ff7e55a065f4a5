"""DeriveTokens: HMAC of the diversifier under a seed, cut to size, hashed when asked, seed wrapped when asked.

Source: opentitan-appliance sheet 1.5 (order of checks), 3.3 (derivation) and 3.4 (wrapped seeds).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from station.appliance.hpke_layer import HpkeLayer
from station.appliance.keystore import KeyMissing, Keystore, Wrapping
from station.appliance.loaded_sku import LoadedSku, require_wrapping_key
from station.appliance.refusal import Refusal
from station.formats.lc_token import lc_hash
from station.wire import pa_pb2

SERVED_MECHANISMS = ("RsaOaep", "RsaPkcs")
SIZES = {pa_pb2.TOKEN_SIZE_128_BITS: 16, pa_pb2.TOKEN_SIZE_256_BITS: 32}
TYPES = (pa_pb2.TOKEN_TYPE_RAW, pa_pb2.TOKEN_TYPE_HASHED_OT_LC_TOKEN)


@dataclass(frozen=True, slots=True)
class _Job:
    """One checked request: ``seed_label`` is empty for a fresh seed."""

    seed_label: str
    wrapping: Wrapping | None
    size: int
    hashed: bool
    diversifier: bytes


def derive_tokens(
    keystore: Keystore, sku: LoadedSku, request: pa_pb2.DeriveTokensRequest
) -> pa_pb2.DeriveTokensResponse:
    """All tokens of the request in its order; every parameter is checked before the first token is made."""
    seeds = {
        pa_pb2.TOKEN_SEED_HIGH_SECURITY: sku.attribute("SeedSecHi"),
        pa_pb2.TOKEN_SEED_LOW_SECURITY: sku.attribute("SeedSecLo"),
        pa_pb2.TOKEN_SEED_KEYGEN: "",
    }
    jobs = [_checked(keystore, sku, params, seeds) for params in request.params]
    return pa_pb2.DeriveTokensResponse(tokens=[_token(keystore, job, sku.second_layer) for job in jobs])


def _checked(
    keystore: Keystore, sku: LoadedSku, params: pa_pb2.TokenParams, seeds: Mapping[pa_pb2.TokenSeed, str]
) -> _Job:
    if params.seed not in seeds:
        raise Refusal("INVALID_ARGUMENT", f"invalid key seed requested: {params.seed}")
    wrapping = _wrapping(keystore, sku) if params.wrap_seed else None
    if params.size not in SIZES:
        raise Refusal("INVALID_ARGUMENT", f"invalid token size requested: {params.size}")
    if params.type not in TYPES:
        raise Refusal("INVALID_ARGUMENT", f"invalid token type requested: {params.type}")
    hashed = params.type == pa_pb2.TOKEN_TYPE_HASHED_OT_LC_TOKEN
    return _Job(seeds[params.seed], wrapping, SIZES[params.size], hashed, params.diversifier)


def _wrapping(keystore: Keystore, sku: LoadedSku) -> Wrapping:
    mechanism = sku.attribute("WrappingMechanism")
    label = sku.attribute("WrappingKeyLabel")
    if mechanism not in SERVED_MECHANISMS:
        raise Refusal("INTERNAL", f"unsupported wrapping mechanism: {mechanism}")
    require_wrapping_key(keystore, label)
    return Wrapping(mechanism, label)


def _token(keystore: Keystore, job: _Job, second_layer: HpkeLayer | None) -> pa_pb2.Token:
    if not job.diversifier:
        raise Refusal("INTERNAL", "could not generate symmetric key: the diversifier is empty")
    if job.seed_label and job.wrapping:
        raise Refusal("INTERNAL", "could not generate symmetric key: only a fresh seed can be wrapped")
    wrapped = b""
    try:
        if job.seed_label:
            full = keystore.hmac_sha256(job.seed_label, job.diversifier)
        else:
            full, wrapped = keystore.fresh_hmac_sha256(job.diversifier, job.wrapping)
    except KeyMissing as missing:
        raise Refusal("INTERNAL", f"could not generate symmetric key: {missing}") from None
    if wrapped and second_layer is not None:
        wrapped = second_layer.seal(wrapped)
    with full.reveal() as raw:
        cut = raw[: job.size]
        return pa_pb2.Token(token=lc_hash(cut) if job.hashed else cut, wrapped_seed=wrapped)
