"""Publicly known seeds, keys and passwords, by digest: they may serve development and never production.

Source: opentitan-appliance sheet 2.1, 3.2, 7.2, 7.4 and opentitan-device sheet 8 (test data of public repositories).
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, mldsa, rsa
from cryptography.x509 import SubjectKeyIdentifier

SEED_SHA256 = frozenset(
    {
        "ec7c7c93d03f2dcc05fce3dd70cd7fbd6b5211eba79067868105a03190e71593",  # high seed of the reference tests
        "658117dc90e39dedc47941b7655a08231a406ec73382ce3ce3bcf4a2eb5c6d27",  # low seed of the reference tests
        "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925",  # 32 zero bytes
        "af9613760f72635fbdb44a5a0a63c39f12af30f950a6ee5c971be188e89c4051",  # 32 bytes 0xff
    }
)
SEED_CHECK = b"station: is this seed publicly known?"
SEED_CHECK_HMAC = frozenset(
    {
        "241c336622d52d842e30d6d388f9b00257e73f244974eead576fc96585558b14",  # high seed of the reference tests
        "ffcfaefb3129ebd7e58414959062f8a3e16cc27ba6fb363aa46732167fdbc2bd",  # low seed of the reference tests
        "c78097c51da137e506086c8697f016541b2f4be602844c8b3db34c83cb040a55",  # 32 zero bytes
        "c1c98c3b010c06f6b8590f51705acd7e05eabc0975dc3765f34c4cbc6a818ac3",  # 32 bytes 0xff
    }
)
"""HMAC-SHA256 of ``SEED_CHECK`` under the same seeds: how a seed is known that cannot be read out of a token."""

KEY_ID_SHA1 = frozenset({"fe584ae753790cfd8601a312fb32d3c1b822d112"})  # fake DICE CA of the reference tests
PASSWORD_SHA256 = frozenset(
    {
        "10a6e6cc8311a3e2bcc09bf6c199adecd5dd59408c343e926b129c4914f3cb01",  # SKU password of the reference files
        "b298857ca34dc4b4337e6c3f610c2968283b8c41f33f3966ffc574768e5c0783",  # token PIN of the reference files
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # empty
    }
)
PASSWORD_HASH_SHA256 = frozenset(
    {"f390880f5ab7fa052ef4e9d7e3d78da6d4d110a2b9a0ef523927218bd94f4e31"}  # bcrypt line of the reference files
)


def seed_is_public(seed: bytes) -> bool:
    """True for a seed that anybody can look up."""
    return hashlib.sha256(seed).hexdigest() in SEED_SHA256


def seed_check_is_public(mac: bytes) -> bool:
    """True for the HMAC of ``SEED_CHECK`` under a seed that anybody can look up."""
    return mac.hex() in SEED_CHECK_HMAC


def key_is_public(
    key: ec.EllipticCurvePublicKey
    | rsa.RSAPublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey,
) -> bool:
    """True when the private half of ``key`` has been published."""
    return SubjectKeyIdentifier.from_public_key(key).digest.hex() in KEY_ID_SHA1


def password_is_public(password: bytes) -> bool:
    """True for a password that anybody can look up, and for the empty one."""
    return hashlib.sha256(password).hexdigest() in PASSWORD_SHA256


def password_hash_is_public(line: str) -> bool:
    """True for a stored password hash that is copied from a public file."""
    return hashlib.sha256(line.encode()).hexdigest() in PASSWORD_HASH_SHA256
