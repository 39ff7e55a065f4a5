"""The initial attestation token that TF-M makes: CBOR claims, COSE_Sign1 with ES256 (nordic-tfm sheet 4).

The few bytes of CBOR are written here, so that the station's reader meets an encoder that is not its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PROFILE_1 = "PSA_IOT_PROFILE_1"
KEYS_1 = {
    "nonce": -75008, "boot_seed": -75004, "instance_id": -75009, "implementation_id": -75003, "client_id": -75001,
    "lifecycle": -75002, "profile": -75000, "no_measurements": -75007, "certificate": -75005, "service": -75010,
}  # fmt: skip
KEYS_2 = {
    "nonce": 10, "boot_seed": 2397, "instance_id": 256, "implementation_id": 2396, "client_id": 2394,
    "lifecycle": 2395, "profile": 265, "components": 2399, "certificate": 2398, "service": 2400,
}  # fmt: skip
KEYS_RFC9783 = {**KEYS_2, "boot_seed": 268}
CLIENT_ID = -1006632960
Claim = bytes | str | int | list[dict[int, "bytes | str"]]


def keys_of(profile: str) -> Mapping[str, int]:
    """Which claim has which key in this profile, in the order in which they are sent."""
    if profile == PROFILE_1:
        return KEYS_1
    return KEYS_RFC9783 if profile.startswith("tag:") else KEYS_2


def instance_id(key: ec.EllipticCurvePublicKey) -> bytes:
    """UEID: 0x01, then SHA-256 over the uncompressed point."""
    return b"\x01" + hashlib.sha256(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).digest()


def payload(profile: str, claims: Mapping[str, Claim]) -> bytes:
    """The claims map; claims that the profile has not are left out, so are empty texts."""
    keys = keys_of(profile)
    pairs = [(key, claims[name]) for name, key in keys.items() if name in claims and claims[name] != ""]
    return _head(5, len(pairs)) + b"".join(_cbor(key) + _cbor(value) for key, value in pairs)


def sign(content: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """COSE_Sign1 with tag 18."""
    protected = _head(5, 1) + _cbor(1) + _cbor(-7)
    to_be_signed = _head(4, 4) + _cbor("Signature1") + _cbor(protected) + _cbor(b"") + _cbor(content)
    r, s = decode_dss_signature(key.sign(to_be_signed, ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return _head(6, 18) + _head(4, 4) + _cbor(protected) + _head(5, 0) + _cbor(content) + _cbor(signature)


def _cbor(value: Claim) -> bytes:
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return _head(3, len(raw)) + raw
    return _head(4, len(value)) + b"".join(
        _head(5, len(entry)) + b"".join(_cbor(key) + _cbor(content) for key, content in entry.items())
        for entry in value
    )


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | code]) + number.to_bytes(size, "big")
    raise ValueError(f"{number} does not fit into CBOR")
