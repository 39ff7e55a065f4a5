"""How often one client may call, and how often it may try a wrong password: token buckets by certificate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from station.appliance.refusal import Refusal

BURST_SECONDS = 2.0
FAILED_LOGINS = 30
FAILED_LOGINS_SECONDS = 60.0
MOST = 10_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class RateLimit:
    """``per_second`` calls on average with short bursts of ``burst``; 0 per second means no limit."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}

    def take(self, client: str) -> bool:
        """Use one of the client's calls up; False when none is left."""
        return self._left(client, 1.0)

    def has_left(self, client: str) -> bool:
        """True when the client may go on; nothing is used up."""
        return self._left(client, 0.0)

    def _left(self, client: str, use: float) -> bool:
        if not self._per_second:
            return True
        with self._lock:
            now = self._clock()
            bucket = self._buckets.pop(client, None) or _Bucket(self._burst, now)
            bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._per_second)
            bucket.at = now
            self._buckets[client] = bucket
            while len(self._buckets) > MOST:
                del self._buckets[next(iter(self._buckets))]
            if bucket.left < 1.0:
                return False
            bucket.left -= use
            return True


class Rates:
    """The appliance's limits per client."""

    def __init__(self, calls_per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._calls = RateLimit(calls_per_second, BURST_SECONDS * calls_per_second, clock)
        self._logins = RateLimit(FAILED_LOGINS / FAILED_LOGINS_SECONDS, FAILED_LOGINS, clock)

    def admit(self, client: str, method: str) -> None:
        """Refuse a client that calls too often, or that has tried too many wrong passwords."""
        if not self._calls.take(client):
            raise Refusal("RESOURCE_EXHAUSTED", "too many calls of this client: try again in a few seconds")
        if method == "InitSession" and not self._logins.has_left(client):
            raise Refusal("RESOURCE_EXHAUSTED", "too many wrong passwords of this client: try again in a minute")

    def failed_login(self, client: str) -> None:
        """Count a wrong password."""
        self._logins.take(client)
