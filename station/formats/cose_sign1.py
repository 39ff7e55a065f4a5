"""COSE_Sign1 with ES256: one payload, one signer, as initial attestation tokens use it (RFC 9052 section 4.2).

Byte strings on the wire: CBOR tag 18, array of protected header (``{1: -7}`` as bytes), unprotected header (empty map),
payload (bytes), signature (r and s, 32 bytes each, big-endian).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import cbor2

from station.errors import FormatError
from station.formats import cbor_item

TAG = 18
ALGORITHM, ES256 = 1, -7
ES256_ALONE = cbor2.dumps({ALGORITHM: ES256})
SIGNATURE_BYTES = 64
CONTEXT = "Signature1"


@dataclass(frozen=True, slots=True)
class Sign1:
    """A signed payload: ``protected`` are the header's bytes as they were signed, ``r`` and ``s`` the signature."""

    protected: bytes
    payload: bytes = field(repr=False)
    r: int = field(repr=False)
    s: int = field(repr=False)

    @property
    def to_be_signed(self) -> bytes:
        """``Sig_structure``: context, protected header, no external data, payload (RFC 9052 section 4.4)."""
        return cbor2.dumps([CONTEXT, self.protected, b"", self.payload])

    @property
    def digest(self) -> int:
        """SHA-256 of ``to_be_signed`` as a number, big-endian."""
        return int.from_bytes(hashlib.sha256(self.to_be_signed).digest(), "big")


def parse(data: bytes) -> Sign1:
    """Read one COSE_Sign1; another structure, algorithm or signature length raises ``FormatError``."""
    value = cbor_item.tagged(data, TAG, "the token")
    if not isinstance(value, list) or [type(item) for item in value] != [bytes, dict, bytes, bytes]:
        raise FormatError("expected header, header, payload and signature in the token, saw another structure")
    protected, unprotected, payload, signature = value
    header = cbor_item.decode(protected, "the protected header") if protected else {}
    if cbor2.dumps(header) != ES256_ALONE:  # not compared as maps: to Python True is 1
        raise FormatError(f"expected the signature algorithm ES256 (-7) alone in the header, saw {str(header)[:60]}")
    if unprotected:
        raise FormatError("expected an empty unprotected header, saw one with content: nothing signs what it says")
    if len(signature) != SIGNATURE_BYTES:
        raise FormatError(f"expected a signature of {SIGNATURE_BYTES} bytes (r and s), saw {len(signature)}")
    half = SIGNATURE_BYTES // 2
    return Sign1(protected, payload, *(int.from_bytes(part, "big") for part in (signature[:half], signature[half:])))
