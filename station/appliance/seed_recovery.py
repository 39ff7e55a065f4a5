"""Recovery of an RMA unlock token from a wrapped seed, with the private keys that never reach the appliance.

Source: opentitan-appliance sheet 3.3 (recovery) and 3.4 (layers).
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa

from station.appliance.hpke_layer import HybridPrivateKey, open_layer
from station.appliance.keystore import SEED_BYTES, rsa_padding
from station.errors import FormatError

TOKEN_BYTES = 16


def unwrap_seed(
    wrapped: bytes, key: rsa.RSAPrivateKey, mechanism: str = "RsaOaep", second_layer: HybridPrivateKey | None = None
) -> bytes:
    """The 32-byte seed; ``second_layer`` is the HPKE recipient's key when the SKU seals its seeds twice."""
    try:
        inner = wrapped if second_layer is None else open_layer(wrapped, second_layer)
        seed = key.decrypt(inner, rsa_padding(mechanism))
    except (InvalidTag, ValueError):
        raise FormatError("expected a seed wrapped for these keys, saw another: use the keys of its SKU") from None
    if len(seed) != SEED_BYTES:  # PKCS#1 v1.5 answers a wrong key with random bytes of another length
        raise FormatError(f"expected a seed of {SEED_BYTES} bytes, saw {len(seed)}: use the keys of its SKU")
    return seed


def rma_token(seed: bytes, diversifier: bytes) -> bytes:
    """The raw RMA unlock token; ``diversifier`` are the bytes of the request that made it, padding included."""
    return hmac.digest(seed, diversifier, "sha256")[:TOKEN_BYTES]
