"""A few digits that tell whether two appliances derive the same token, and nothing else about it."""

from __future__ import annotations

import hashlib

from station.errors import ConfigError
from station.secret import Secret

DIGITS = 8
SHORTEST = 16
"""Bytes of a token; of a shorter secret the digits would narrow down what it is."""


def check_value(token: Secret) -> str:
    """The first digits of the token's SHA-256."""
    if len(token) < SHORTEST:
        raise ConfigError(f"expected a token of {SHORTEST} bytes or more, saw {len(token)}: it has no check value")
    with token.reveal() as raw:
        return hashlib.sha256(raw).hexdigest()[:DIGITS]
