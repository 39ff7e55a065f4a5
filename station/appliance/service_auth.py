"""The interceptor in front of every call: who calls, with which token, may it call this, from where, how often.

Source: opentitan-appliance sheet 2.2 to 2.5. The order of the checks and their status codes are part of the contract;
what upstream does not check (stations, the session's SKU, sizes, rates) comes before or after them, never between.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import grpc

from station.appliance import audit
from station.appliance.audit_repeats import Repeats
from station.appliance.client_certificate import ClientCertificate
from station.appliance.client_expiry import ClientExpiries
from station.appliance.limits import require_size
from station.appliance.rates import Rates
from station.appliance.refusal import Refusal, SkuNotLoaded, echoed
from station.appliance.service_intake import Intake, abort, tolerant
from station.appliance.service_peer import Client, check_endpoint, client_of, metadata_value
from station.appliance.sessions import Sessions
from station.appliance.spm import Spm
from station.appliance.stations import Access, Station
from station.wire import pa_pb2

log = logging.getLogger(__name__)

SERVICE = "/pa.ProvisioningApplianceService/"
WITHOUT_SESSION = ("InitSession", "CloseSession")

Handler = Callable[[Any, grpc.ServicerContext], Any]
Count = Callable[[str, str, float], None]
"""Told of every call: method, name of the status code, seconds."""


def _count_nothing(method: str, result: str, seconds: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides about every call; refuses by raising."""

    spm: Spm
    sessions: Sessions
    access: Access
    rates: Rates
    endpoint_check: bool
    expiries: ClientExpiries = field(default_factory=ClientExpiries)

    def identify(self, method: str, client: Client) -> Station:
        """The station that calls: not too often, with a certificate that is still valid and known."""
        self.rates.admit(client.certificate.fingerprint, method)
        _require_valid(client.certificate)
        station = self.access.station_of(client.certificate)
        self.expiries.note(client.certificate, station.name)
        return station

    def admit(self, method: str, request: Any, client: Client, station: Station, context: grpc.ServicerContext) -> None:
        """All further checks, in the order of the contract."""
        sku = ""
        if method not in WITHOUT_SESSION:
            sku = self.sessions.find(client.seat, metadata_value(context, "authorization")).sku
            if method not in self.spm.methods(sku):
                raise Refusal("PERMISSION_DENIED", f"sku {sku!r} may not call {method}")
        if self.endpoint_check:
            check_endpoint(client)
        station.require_method(method)
        if method not in WITHOUT_SESSION:
            station.require_sku(sku)
            self._require_own_sku(sku, request)
            require_size(request)
        if isinstance(request, pa_pb2.DeriveTokensRequest):
            station.require_seeds(params.seed for params in request.params)

    def _require_own_sku(self, sku: str, request: Any) -> None:
        """Upstream lets a session of one SKU work with every loaded one; here it is for its own."""
        if isinstance(request, pa_pb2.RegistrationRequest) and not request.HasField("device_data"):
            return
        wanted = audit.sku_of(request)
        if wanted == sku:
            self.spm.load(sku)  # another instance may have served the login
        elif not self.spm.is_loaded(wanted):
            raise SkuNotLoaded(wanted)
        else:
            raise Refusal(
                "PERMISSION_DENIED",
                f"this session is for sku {sku!r}, the call names {echoed(wanted)}: log in for that one",
            )


class SessionInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Takes the message of every call; checks those of the service, then writes an audit line about each.

    Of a client that is refused again and again not each time (``Repeats``).
    """

    def __init__(self, gate: Gate, intake: Intake, count: Count = _count_nothing) -> None:
        self.intake = intake
        self._gate = gate
        self._count = count
        self._repeats = Repeats()
        self._lock = threading.Lock()
        self._running = 0
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    @property
    def idle(self) -> bool:
        """True while no call is running."""
        with self._lock:
            return not self._running

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Wrap the handlers; those of other services (health) pass without any check of the caller."""
        handler = continuation(details)
        if handler is None or handler.request_streaming:
            return handler
        method = details.method
        inner, wrapped = self._wrapped.get(method, (None, None))
        if inner is not handler:  # gRPC asks at every call, and answers with the same handler
            wrapped = self._wrap(method, handler)
            self._wrapped[method] = (handler, wrapped)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        parse, serialize = tolerant(handler.request_deserializer), handler.response_serializer
        if method.startswith(SERVICE):
            guarded = self._guarded(method.removeprefix(SERVICE), handler.unary_unary)
            return grpc.stream_unary_rpc_method_handler(guarded, parse, serialize)
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self._unguarded(handler.unary_stream), parse, serialize)
        return grpc.stream_unary_rpc_method_handler(self._unguarded(handler.unary_unary), parse, serialize)

    def _unguarded(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(inner)  # with its attributes: by one of them the health service says that it holds no thread
        def unguarded(messages: Iterator[Any], context: grpc.ServicerContext, *more: Any) -> Any:
            request = self.intake.message(client_of(context).certificate.fingerprint, messages, context)
            if isinstance(request, Refusal):
                abort(context, request)
            return inner(request, context, *more)

        return unguarded

    def _guarded(self, method: str, inner: Handler) -> Handler:
        def guarded(messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
            client = client_of(context)
            request = self.intake.message(client.certificate.fingerprint, messages, context)
            started = time.monotonic()
            code, name, reason = "OK", "", ""
            self._run(1)
            try:
                station = self._gate.identify(method, client)
                name = station.name
                if isinstance(request, Refusal):
                    raise request
                self._gate.admit(method, request, client, station, context)
                return inner(request, context)
            except Refusal as refusal:
                code, reason = refusal.code, refusal.details
                if (method, code) == ("InitSession", "UNAUTHENTICATED"):
                    self._gate.rates.failed_login(client.certificate.fingerprint)
                abort(context, refusal)
            except Exception as error:  # no stack trace to the client, and the server lives on
                code, reason = "INTERNAL", f"internal error ({type(error).__name__}): see the appliance's log"
                _log_fault(method, error)
                abort(context, Refusal("INTERNAL", "internal error: see the appliance's log"))
            finally:
                self._run(-1)
                spent = time.monotonic() - started
                self._count(method, code, spent)
                repeats = 0 if code == "OK" else self._repeats.note(client.certificate.fingerprint, code)
                if repeats is not None:
                    audit.write(
                        client.certificate, client.user, client.peer, method, request, code, 1000 * spent, name,
                        repeats, reason,
                    )  # fmt: skip

        return guarded

    def _run(self, more: int) -> None:
        with self._lock:
            self._running += more


def _require_valid(certificate: ClientCertificate) -> None:
    """A connection outlives the handshake that looked at the certificate's dates."""
    if certificate.not_after is not None and datetime.now(UTC) > certificate.not_after:
        raise Refusal("UNAUTHENTICATED", "the client certificate has expired: issue another one")


def _log_fault(method: str, error: Exception) -> None:
    """Where it happened, without the words of the error: they may hold what the call carried."""
    log.error("%s failed: %s\n%s", method, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
