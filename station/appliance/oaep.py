"""RSA-OAEP decoding for tokens that do the bare RSA operation and no OAEP with SHA-256.

Source: RFC 8017, section 7.1.2, step 3, with SHA-256 for both hashes and an empty label. It is for somebody who
recovers one seed by hand: how long it takes tells nobody anything.
"""

from __future__ import annotations

import hashlib
import hmac

from station.errors import FormatError

HASH_BYTES = 32
_EMPTY = hashlib.sha256(b"").digest()


def decode_oaep(block: bytes) -> bytes:
    """The message in an encoded block, which is as long as the modulus; ``FormatError`` for any other block."""
    masked_seed, masked_data = block[1 : 1 + HASH_BYTES], block[1 + HASH_BYTES :]
    seed = _xor(masked_seed, _mask(masked_data, len(masked_seed)))
    data = _xor(masked_data, _mask(seed, len(masked_data)))
    message = data[HASH_BYTES:].lstrip(b"\0")
    good = len(block) > 2 * HASH_BYTES + 1 and block[0] == 0 and hmac.compare_digest(data[:HASH_BYTES], _EMPTY)
    if not good or message[:1] != b"\x01":
        raise FormatError("expected an OAEP block with SHA-256, saw another: use the key that it was made for")
    return message[1:]


def _mask(seed: bytes, length: int) -> bytes:
    """MGF1 with SHA-256 (RFC 8017, B.2.1)."""
    blocks = -(-length // HASH_BYTES)
    return b"".join(hashlib.sha256(seed + n.to_bytes(4, "big")).digest() for n in range(blocks))[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
