"""Whether a session was closed at another instance of the fleet: the shared account is asked now and then."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from station.appliance.refusal import Refusal

log = logging.getLogger(__name__)

SECONDS = 5.0
MOST = 100_000


class ClosedElsewhere:
    """Answers for ``Sessions``; safe to call from any thread.

    A session that was found open is not asked about again for ``SECONDS``. An account that does not answer closes
    nothing: the token is authentic, its certificate's own, and it expires.
    """

    def __init__(self, is_closed: Callable[[bytes], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._is_closed = is_closed
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: OrderedDict[bytes, float] = OrderedDict()

    def __call__(self, session: bytes) -> bool:
        """True when the account says so."""
        now = self._clock()
        with self._lock:
            if now - self._asked.get(session, -SECONDS) < SECONDS:
                return False
            self._asked[session] = now
            self._asked.move_to_end(session)
            while len(self._asked) > MOST:
                self._asked.popitem(last=False)
        return self._ask(session)

    def _ask(self, session: bytes) -> bool:
        try:
            closed = self._is_closed(session)
        except Refusal as refusal:
            log.error("nobody knows which sessions were closed at other instances: %s", refusal)
            return False
        if closed:  # ask again next time: that it is closed is the account's to remember
            with self._lock:
                self._asked.pop(session, None)
        return closed
