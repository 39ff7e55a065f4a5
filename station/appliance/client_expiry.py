"""Client certificates that were seen in calls and end within 30 days: each is told once a day, to log and audit log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from station.appliance import audit
from station.appliance.client_certificate import ClientCertificate
from station.appliance.service_tls import WARN_DAYS

WARN = timedelta(days=WARN_DAYS)
AGAIN = timedelta(days=1)
MOST = 1000
"""Certificates that are remembered; beyond it the oldest may be told a second time on one day."""


def _now() -> datetime:
    return datetime.now(UTC)


class ClientExpiries:
    """Looks at the certificate of every call; safe to call from any thread."""

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[str, tuple[datetime, datetime]] = {}
        """By fingerprint: when it was told, and when it ends."""

    def note(self, certificate: ClientCertificate, station: str) -> None:
        """Tell a certificate that ends soon, unless it was told within the last day."""
        now, end = self._clock(), certificate.not_after
        if end is None or end - now > WARN:
            return
        with self._lock:
            told = self._told.get(certificate.fingerprint)
            if told is not None and now - told[0] < AGAIN:
                return
            self._told.pop(certificate.fingerprint, None)
            self._told[certificate.fingerprint] = now, end
            while len(self._told) > MOST:
                del self._told[next(iter(self._told))]
        audit.write_expiry(certificate, station, end, (end - now).days)

    def count(self) -> int:
        """How many certificates that were told have not ended yet."""
        now = self._clock()
        with self._lock:
            return sum(end > now for _, end in self._told.values())
