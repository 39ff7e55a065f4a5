"""Public keys out of ECDSA signatures over NIST P-256 (SEC 1 v2.0, section 4.1.6).

Only public values go in and come out, so that nothing here is made to take constant time. What is found is verified
again with ``cryptography``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from station.errors import FormatError

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
COORDINATE_BYTES = 32
UNCOMPRESSED = b"\x04"

_Jacobian = tuple[int, int, int]
"""X, Y, Z with x = X / Z², y = Y / Z³; Z = 0 is the point at infinity."""

_G: _Jacobian = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    1,
)
_INFINITY: _Jacobian = (1, 1, 0)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A point of the curve."""

    x: int
    y: int

    @classmethod
    def parse(cls, raw: bytes) -> PublicKey:
        """From 65 bytes 04 X Y or 64 bytes X Y, big-endian; a point off the curve raises ``FormatError``."""
        body = raw[1:] if len(raw) == 2 * COORDINATE_BYTES + 1 and raw[:1] == UNCOMPRESSED else raw
        if len(body) != 2 * COORDINATE_BYTES:
            raise FormatError(f"expected a public key of 65 bytes 04 X Y or 64 bytes X Y, saw {len(raw)} bytes")
        x, y = (int.from_bytes(body[at : at + COORDINATE_BYTES], "big") for at in (0, COORDINATE_BYTES))
        if x >= P or y >= P or (y * y - _right_side(x)) % P:
            raise FormatError("expected a point of P-256 as the public key, saw numbers that are none")
        return cls(x, y)

    @property
    def raw(self) -> bytes:
        """65 bytes: 04, X, Y, big-endian."""
        return UNCOMPRESSED + b"".join(number.to_bytes(COORDINATE_BYTES, "big") for number in (self.x, self.y))

    def verifies(self, message: bytes, r: int, s: int) -> bool:
        """Whether (r, s) is this key's ECDSA signature with SHA-256 over the message."""
        if not (0 < r < N and 0 < s < N):
            return False
        key = ec.EllipticCurvePublicNumbers(self.x, self.y, ec.SECP256R1()).public_key()
        try:
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def candidates(digest: int, r: int, s: int) -> Iterator[PublicKey]:
    """Every key (mostly two) whose signature over the digest (256 bits) can be (r, s): Q = (s R - e G) / r."""
    if not (0 < r < N and 0 < s < N):
        raise FormatError("expected r and s of a signature between 1 and the order of P-256, saw another number")
    inverse = pow(r, -1, N)
    fixed = _times(-digest * inverse % N, _G)
    for x in range(r, P, N):
        square = _right_side(x)
        y = pow(square, (P + 1) // 4, P)
        if y * y % P != square:
            continue
        moving = _times(s * inverse % N, (x, y, 1))
        for half in (moving, (moving[0], -moving[1] % P, moving[2])):
            point = _sum(half, fixed)
            if point[2]:
                yield _affine(point)


def _right_side(x: int) -> int:
    """x³ - 3x + b."""
    return (x * x * x - 3 * x + B) % P


def _affine(point: _Jacobian) -> PublicKey:
    x, y, z = point
    inverse = pow(z, -1, P)
    square = inverse * inverse % P
    return PublicKey(x * square % P, y * square * inverse % P)


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if not z or not y:
        return _INFINITY
    gamma, delta = y * y % P, z * z % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    new_x = (alpha * alpha - 8 * beta) % P
    return new_x, (alpha * (4 * beta - new_x) - 8 * gamma * gamma) % P, 2 * y * z % P


def _sum(one: _Jacobian, other: _Jacobian) -> _Jacobian:
    x1, y1, z1 = one
    x2, y2, z2 = other
    if not z1 or not z2:
        return other if not z1 else one
    square1, square2 = z1 * z1 % P, z2 * z2 % P
    u1, u2 = x1 * square2 % P, x2 * square1 % P
    s1, s2 = y1 * square2 * z2 % P, y2 * square1 * z1 % P
    if u1 == u2:
        return _double(one) if s1 == s2 else _INFINITY
    height, slope = (u2 - u1) % P, (s2 - s1) % P
    square = height * height % P
    cube, middle = square * height % P, u1 * square % P
    new_x = (slope * slope - cube - 2 * middle) % P
    return new_x, (slope * (middle - new_x) - s1 * cube) % P, height * z1 * z2 % P


def _times(scalar: int, point: _Jacobian) -> _Jacobian:
    found = _INFINITY
    for bit in bin(scalar)[2:]:
        found = _double(found)
        if bit == "1":
            found = _sum(found, point)
    return found
