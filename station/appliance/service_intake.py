"""Takes the message of each call: it must be whole in time, small enough and readable.

gRPC for Python waits for a message in a thread of its pool. Handlers for one request have no context by then and cannot
end that wait, so that a few calls whose message never ends would hold all threads: every handler is therefore offered
as one for a stream of requests, of which the first is taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from station.appliance.limits import MESSAGE_BYTES
from station.appliance.refusal import Refusal
from station.appliance.service_crew import Crew

MESSAGE_SECONDS = 10.0
"""From when a call has a thread until its message is whole; over a slow line of 1 Mbit/s the largest takes 8."""
SLOW_SECONDS = 0.1
"""After which the thread counts as waiting; of a client that has a slow call, further ones do at once."""
UNFINISHED_CALLS = 64
"""Of one client, in all its connections; as many as one connection may have streams, so that one never meets it."""


@dataclass(slots=True)
class _Client:
    unfinished: int = 0
    slow: int = 0


@dataclass(slots=True, eq=False)
class _Unfinished:
    client: _Client
    context: grpc.ServicerContext
    began: float
    is_slow: bool = False
    is_late: bool = False


class Intake:
    """Gives out messages, ends the calls whose message is late; safe to call from any thread.

    What is wrong with a message comes as a ``Refusal`` in its place, so that the caller can write it down.
    """

    def __init__(self, crew: Crew, seconds: float = MESSAGE_SECONDS, most: int = UNFINISHED_CALLS) -> None:
        """``seconds`` is the time for a message, ``most`` how many unfinished calls a client may have."""
        self.crew = crew
        self._seconds = seconds
        self._most = most
        self._lock = threading.Lock()
        self._clients: dict[str, _Client] = {}
        self._calls: dict[_Unfinished, None] = {}  # in the order in which they began
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._look_after, name="appliance-intake", daemon=True)

    def start(self) -> None:
        """Have the crew work, and look after slow messages."""
        self.crew.start()
        self._watch.start()

    def close(self) -> None:
        """End the threads, after the server has stopped."""
        self.crew.shutdown()
        if self._watch.is_alive():
            self._closed.set()
            self._watch.join()

    def message(self, client: str, messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
        """The message of a client's call, or what it is refused for; ends the call of a client that has gone."""
        call = self._begin(client, context)
        if call is None:
            return Refusal("RESOURCE_EXHAUSTED", f"{self._most} other calls of this client lack their message")
        try:
            return next(messages)
        except (StopIteration, grpc.RpcError) as ended:  # of a cancelled call either one, as events come
            if call.is_late:
                return Refusal("CANCELLED", f"expected the whole message within {self._seconds:g} seconds")
            if isinstance(ended, grpc.RpcError):  # the client has gone
                raise
            abort(context, Refusal("UNIMPLEMENTED", "expected exactly one message, saw none"))
        finally:
            self._end(client, call)

    def _begin(self, name: str, context: grpc.ServicerContext) -> _Unfinished | None:
        with self._lock:
            client = self._clients.get(name)
            if client is None:
                client = self._clients[name] = _Client()
            if client.unfinished >= self._most:
                return None
            client.unfinished += 1
            call = _Unfinished(client, context, time.monotonic())
            self._calls[call] = None
            if client.slow:
                self._step_aside(call)
            return call

    def _end(self, name: str, call: _Unfinished) -> None:
        with self._lock:
            self._calls.pop(call, None)
            client = call.client
            client.unfinished -= 1
            if not client.unfinished:
                del self._clients[name]
            if call.is_slow:
                client.slow -= 1
                self.crew.step_back()

    def _step_aside(self, call: _Unfinished) -> None:
        if not call.is_slow and self.crew.step_aside():
            call.is_slow = True
            call.client.slow += 1

    def _look_after(self) -> None:
        while not self._closed.wait(SLOW_SECONDS):
            for call in self._late_ones():
                call.context.cancel()  # type: ignore[no-untyped-call]

    def _late_ones(self) -> list[_Unfinished]:
        """Calls whose time is over; those that are only slow wait from now on."""
        with self._lock:
            now = time.monotonic()
            slow = list(takewhile(lambda call: now - call.began >= SLOW_SECONDS, self._calls))
            for call in slow:
                self._step_aside(call)
                call.is_late = now - call.began >= self._seconds
            return [call for call in slow if call.is_late]


def tolerant(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A message that cannot be read becomes its refusal: gRPC itself would end the call and nobody wrote it down."""

    def read(raw: bytes) -> Any:
        if len(raw) > MESSAGE_BYTES:
            return Refusal("RESOURCE_EXHAUSTED", f"expected at most {MESSAGE_BYTES} bytes in a message, saw {len(raw)}")
        try:
            return parse(raw)
        except DecodeError:
            return Refusal("INTERNAL", f"expected a message of this call, saw {len(raw)} bytes that are none")

    return read


def abort(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    """End the call with the refusal's status."""
    context.abort(grpc.StatusCode[refusal.code], refusal.details)
    raise AssertionError("abort returned")
