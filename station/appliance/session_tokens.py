"""Session tokens that every instance with the same keystore can check without asking another one.

A token is ``version, expiry, id, SKU`` and an HMAC-SHA256 over them and over who holds it (client certificate and
user), as hexadecimal text: letters and digits as upstream's, only longer. Clients treat it as opaque.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from station.appliance.keystore import KeyMissing, Keystore
from station.secret import Secret

log = logging.getLogger(__name__)

SESSION_KEY = "station-session-v0"
FALLBACK_KEYS = ("eg-kdf-hisec-v0", "eg-kdf-losec-v0")
RESERVED = b"station/"
"""Diversifiers that begin so are refused: a token derived for ``LABEL`` would be the fleet's session key."""
LABEL = RESERVED + b"session-tokens/1"
NO_KEY = f"none of the secret keys {', '.join((SESSION_KEY, *FALLBACK_KEYS))}"
VERSION = 1
HEAD = 1 + 5 + 16
MAC = 32
LONGEST = 512


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a token was given to: SHA-256 of the client certificate, and its ``user_id`` (empty: none was sent)."""

    fingerprint: str
    user: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What an authentic token says; ``expires`` is in seconds since 1970."""

    id: bytes
    sku: str
    expires: int


def fleet_key(keystore: Keystore) -> Secret:
    """The key of all session tokens: the HMAC of a fixed label under a secret key of the keystore."""
    key = kept_key(keystore)
    if key is not None:
        return key
    log.warning("the keystore has %s: sessions are valid in this process only", NO_KEY)
    return Secret(secrets.token_bytes(32), "session key of this process")


def kept_key(keystore: Keystore, text: bytes = LABEL) -> Secret | None:
    """The same at every instance with this keystore, and after a restart; None when no secret key is there.

    Another ``text`` gives another HMAC under the same secret key: that of ``CHECK_TEXT`` names it to people.
    """
    for label in (SESSION_KEY, *FALLBACK_KEYS):
        try:
            return keystore.hmac_sha256(label, text)
        except KeyMissing:
            continue
    return None


class SessionTokens:
    """Makes and checks tokens; holds no state but the key."""

    def __init__(self, key: Secret, seconds: int, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._seconds = seconds
        self.clock = clock

    def issue(self, sku: str, holder: Holder) -> tuple[Secret, Claims]:
        """A fresh token for the holder's session of the SKU."""
        claims = Claims(secrets.token_bytes(16), sku, int(self.clock()) + self._seconds)
        head = bytes((VERSION,)) + claims.expires.to_bytes(5, "big") + claims.id + sku.encode()
        return Secret((head + self._mac(head, holder)).hex().encode(), "session token"), claims

    def read(self, text: str, holder: Holder) -> Claims | None:
        """What the token says, when it is authentic, of this holder and not expired."""
        try:
            raw = bytes.fromhex(text) if len(text) <= LONGEST else b""
        except ValueError:
            return None
        head, mac = raw[:-MAC], raw[-MAC:]
        if len(head) < HEAD or not hmac.compare_digest(self._mac(head, holder), mac):
            return None
        claims = Claims(head[6:HEAD], head[HEAD:].decode(), int.from_bytes(head[1:6], "big"))
        return claims if self.clock() < claims.expires else None

    def _mac(self, head: bytes, holder: Holder) -> bytes:
        with self._key.reveal() as raw:
            return hmac.digest(raw, _who(holder) + head, "sha256")


@lru_cache(maxsize=4096)
def _who(holder: Holder) -> bytes:
    """The holder in 64 bytes, so that no two holders are the same text."""
    return b"".join(hashlib.sha256(text.encode()).digest() for text in (holder.fingerprint, holder.user))
