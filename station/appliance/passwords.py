"""SKU passwords that were verified a moment ago: bcrypt is slow on purpose, and a factory logs in for every part.

What is kept is an HMAC under a key of this process, never the password, for ten minutes after the bcrypt check. The
stored hash is part of what is authenticated, so that a changed password file makes every older entry worthless.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable

import bcrypt

SECONDS = 600.0
MOST = 64


class PasswordCache:
    """Checks passwords against their stored bcrypt hash; safe to call from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = secrets.token_bytes(32)
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[bytes, float] = {}

    def fits(self, stored: str, password: bytes) -> bool:
        """True when the password belongs to the stored hash; only a success is remembered."""
        mark = self._mark(stored, password)
        if self._remembers(mark):
            return True
        if not _bcrypt_fits(stored, password):
            return False
        with self._lock:
            self._until.pop(mark, None)
            self._until[mark] = self._clock() + SECONDS
            while len(self._until) > MOST:
                del self._until[next(iter(self._until))]
        return True

    def clear(self) -> None:
        """Forget everything; the next login of every SKU is checked in full."""
        with self._lock:
            self._until.clear()

    def _remembers(self, mark: bytes) -> bool:
        with self._lock:
            until = self._until.get(mark, 0.0)
            if until and self._clock() >= until:
                del self._until[mark]
            return self._clock() < until

    def _mark(self, stored: str, password: bytes) -> bytes:
        line = stored.encode()
        return hmac.digest(self._key, len(line).to_bytes(4, "big") + line + password, "sha256")


def _bcrypt_fits(stored: str, password: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, stored.encode())
    except ValueError:
        return False
