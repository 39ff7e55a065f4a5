"""Which sessions this instance has seen open, and which were ended here before they expired.

A token proves itself; what is kept here only ends it early and tells an unknown caller from a wrong token, which the
wire contract answers differently (opentitan-appliance sheet 2.4). A session belongs to a seat: the certificate with
its ``user_id``, or without one the certificate's connection, because upstream clients send no ``user_id`` and two of
them on one computer must not end one another's session.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from station.appliance.refusal import Refusal
from station.appliance.session_tokens import Claims, Holder, SessionTokens
from station.secret import Secret

log = logging.getLogger(__name__)

KeepClosed = Callable[[bytes, int], None]
MOST = 100_000
"""Sessions that are remembered; beyond it the oldest are forgotten here, though their tokens stay good."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Whose session: the holder, and the connection when the holder has no ``user_id``."""

    holder: Holder
    connection: str


class Sessions:
    """Opens, finds and closes sessions; safe to call from any thread.

    ``closed`` are the ids (with expiry) that were closed before a restart; ``keep_closed`` makes a new one durable.
    ``closed_elsewhere`` is asked about each session that is not known to be closed: another process may have done it.
    """

    def __init__(
        self, tokens: SessionTokens, closed: Iterable[tuple[bytes, int]] = (), keep_closed: KeepClosed | None = None,
        closed_elsewhere: Callable[[bytes], bool] | None = None,
    ) -> None:  # fmt: skip
        self._tokens = tokens
        self._lock = threading.Lock()
        self._seats: dict[Seat, Claims] = {}
        self._closed: dict[bytes, int] = dict(sorted(closed, key=lambda entry: entry[1]))
        self._keep_closed = keep_closed
        self._closed_elsewhere = closed_elsewhere

    def open(self, seat: Seat, sku: str) -> Secret:
        """A token for a new session; it ends the session that the seat had at this instance."""
        token, claims = self._tokens.issue(sku, seat.holder)
        with self._lock:
            self._prune()
            ended = self._seats.pop(seat, None)
            self._seats[seat] = claims
            self._end(ended)
        self._keep(ended)
        return token

    def close(self, seat: Seat, token: str | None) -> None:
        """End the seat's session, and the one of the token when it is sent; that there is none is no error."""
        sent = None if token is None else self._tokens.read(token, seat.holder)
        with self._lock:
            ended = self._seats.pop(seat, None)
            self._end(ended)
            self._end(sent)
        self._keep(ended)
        if sent != ended:
            self._keep(sent)

    def find(self, seat: Seat, token: str | None) -> Claims:
        """The session of the token; refuses with the codes of the wire contract."""
        claims = None if token is None else self._tokens.read(token, seat.holder)
        if claims is not None and self._closed_elsewhere is not None and self._closed_elsewhere(claims.id):
            claims = None
        with self._lock:
            known = seat in self._seats
            if claims is not None and claims.id not in self._closed:
                self._seats.pop(seat, None)
                self._seats[seat] = claims
                return claims
        if not known:
            raise Refusal("INTERNAL", "user not found: call InitSession first")
        if token is None:
            raise Refusal("UNAUTHENTICATED", "no access token was sent")
        raise Refusal("NOT_FOUND", "incorrect access token: it is wrong, closed or expired")

    def open_count(self) -> int:
        """How many sessions are open here."""
        with self._lock:
            self._prune()
            return len(self._seats)

    def _end(self, claims: Claims | None) -> None:
        if claims is not None:
            self._closed[claims.id] = claims.expires

    def _keep(self, claims: Claims | None) -> None:
        """It is closed here; an account that does not answer is no reason to refuse the login that ended it."""
        if claims is None or self._keep_closed is None:
            return
        try:
            self._keep_closed(claims.id, claims.expires)
        except Refusal as refusal:
            log.error("a session that was closed here is open at other instances and after a restart: %s", refusal)

    def _prune(self) -> None:
        """Forget what has expired, from the oldest on: all tokens live equally long."""
        now = self._tokens.clock()
        while self._seats and (len(self._seats) >= MOST or next(iter(self._seats.values())).expires <= now):
            del self._seats[next(iter(self._seats))]
        while self._closed and next(iter(self._closed.values())) <= now:
            del self._closed[next(iter(self._closed))]
