"""Which keys a ceremony makes, on which machine, and what each may be used for.

Source: opentitan-appliance sheet 3.2. ``station-session-v0``, the TLS CA and the HPKE recipient keys are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from station.appliance.session_tokens import RESERVED, SESSION_KEY
from station.appliance.sku_templates import (
    CAS,
    IDENTITY_KEY,
    MLDSA,
    RMA_KEY,
    SEED_HIGH,
    SEED_LOW,
    SkuTemplate,
    cas_of,
    identity_keys,
    issuing_keys,
    private_label,
)

TRANSPORT_KEY = "spm-rsa-wrap-v0.priv"
AES_KEY = "eg-aes-wrap-v0"
RMA_PRIVATE_KEY = f"{RMA_KEY.removesuffix('.pub')}.priv"
TLS_CA_KEY = "station-tls-ca-v0.priv"
ML_KEM_KEY, X25519_KEY = "sku-hpke-mlkem-v0.priv", "sku-hpke-x25519-v0.priv"
SEEDS = (SEED_HIGH, SEED_LOW)
RSA, AES, HMAC, ML_KEM, X25519 = "RSA-3072", "AES-256", "HMAC", "ML-KEM-768", "X25519"
CHECK_TEXT = RESERVED + b"key-check/1"
"""The HMAC of it names a seed without telling it; no client can ask for it, as its beginning is reserved."""
CHECK_BYTES = 8


class Use(Enum):
    """What a key is for; HSM attributes follow from it."""

    SIGN = "signs certificates and records"
    SEED = "derives tokens"
    UNWRAP = "unwraps the transport key"
    WRAP = "wraps seeds"
    RECOVER = "unwraps RMA seeds"
    RECEIVE = "opens the second layer of RMA seeds"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made; one that ``leaves`` can be wrapped, never read."""

    label: str
    algorithm: str
    use: Use
    leaves: bool = False


def public_label(private: str) -> str:
    """Label of the public half of a key pair."""
    return f"{private.removesuffix('.priv')}.pub"


def spm_keys() -> tuple[NewKey, ...]:
    """Keys of an SPM machine that belong to no SKU."""
    return (
        NewKey(TRANSPORT_KEY, RSA, Use.UNWRAP),
        NewKey(IDENTITY_KEY, "P-256", Use.SIGN),
        NewKey(SESSION_KEY, HMAC, Use.SEED),
    )


def spm_sku_keys(templates: Sequence[SkuTemplate]) -> tuple[NewKey, ...]:
    """Keys that an SPM machine needs for these SKUs beside the seeds."""
    wanted = {**identity_keys(templates), **issuing_keys(templates)}
    return tuple(NewKey(label, kind, Use.SIGN) for label, kind in wanted.items() if label != IDENTITY_KEY)


def offline_keys() -> tuple[NewKey, ...]:
    """Keys of an offline machine that belong to no SKU."""
    return (
        *(NewKey(label, HMAC, Use.SEED, leaves=True) for label in SEEDS),
        NewKey(AES_KEY, AES, Use.WRAP, leaves=True),
        NewKey(RMA_PRIVATE_KEY, RSA, Use.RECOVER),
        NewKey(TLS_CA_KEY, "P-256", Use.SIGN),
    )


def offline_sku_keys(templates: Sequence[SkuTemplate]) -> tuple[NewKey, ...]:
    """Keys that an offline machine needs for these SKUs: roots, and recipients of the second layer."""
    roots = [NewKey(private_label(label), CAS[label].algorithm, Use.SIGN) for label in roots_of(templates)]
    if any(template.second_layer for template in templates):
        roots += [NewKey(ML_KEM_KEY, ML_KEM, Use.RECEIVE), NewKey(X25519_KEY, X25519, Use.RECEIVE)]
    return tuple(roots)


def roots_of(templates: Sequence[SkuTemplate]) -> list[str]:
    """Labels of the root CAs of these SKUs."""
    return [label for label, plan in cas_of(templates).items() if not plan.root]


def hsm_refusal(keys: Sequence[NewKey]) -> str:
    """Why a PKCS#11 token cannot hold one of these keys; empty when it can hold all."""
    wrong = [key.label for key in keys if key.algorithm in (MLDSA, ML_KEM, X25519)]
    if not wrong:
        return ""
    return (
        f"expected keys that the PKCS#11 keystore can make, saw {', '.join(wrong)}: it has no mechanism for ML-DSA and "
        f"HPKE keys, use the software keystore for such a SKU"
    )
