"""The gRPC server around the service: TLS with a required client certificate, health, drain. There is no plain mode."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from station.appliance.limits import TRANSPORT_BYTES
from station.appliance.refusal import Refusal
from station.appliance.service import ApplianceService
from station.appliance.service_auth import SessionInterceptor
from station.appliance.service_intake import UNFINISHED_CALLS, abort
from station.appliance.service_tls import ServerTls
from station.errors import ConfigError
from station.wire import pa_pb2_grpc

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Calls that compute at the same time: only one of them can run Python code, and more of them only get in its way."""
CALLS = 1024
"""Of all clients, in a thread or waiting for one: beyond it calls are refused with RESOURCE_EXHAUSTED at once."""
SERVICE_NAME = "pa.ProvisioningApplianceService"
HANDSHAKE_MS = 10_000
KEEPALIVE_MS, KEEPALIVE_ANSWER_MS = 30_000, 10_000
HEALTH_NAMES = ("", SERVICE_NAME)
IDLE_POLL = 0.05
GOODBYE_SECONDS = 0.5
OPTIONS = (
    ("grpc.max_receive_message_length", TRANSPORT_BYTES),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ("grpc.max_concurrent_streams", UNFINISHED_CALLS),
    # A peer that is gone without a word is noticed, also while it calls nothing; pings need no data in between.
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


class ApplianceServer:
    """A started server; ``port`` is the port it listens on."""

    def __init__(
        self, service: ApplianceService, interceptor: SessionInterceptor, tls: ServerTls, address: str,
        reflected: bool = False, shared: bool = False,
    ) -> None:  # fmt: skip
        """``shared``: other processes listen on the same port; the system deals connections out among them."""
        self.tls = tls
        self._interceptor = interceptor
        self._server = grpc.server(
            interceptor.intake.crew,  # type: ignore[arg-type]  # any executor will do
            interceptors=[interceptor],
            options=(*OPTIONS, ("grpc.so_reuseport", int(shared))),
            maximum_concurrent_rpcs=CALLS,
        )
        pa_pb2_grpc.add_ProvisioningApplianceServiceServicer_to_server(service, self._server)  # type: ignore[no-untyped-call]
        self._health = _Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflected:
            _offer_reflection(self._server)
        try:
            self.port = int(self._server.add_secure_port(address, tls.credentials()))
        except RuntimeError:
            self.port = 0
        if not self.port:
            self._server.stop(None)
            interceptor.intake.close()
            raise ConfigError(f"expected to listen on {address}: the port is taken or the address is not of here")
        interceptor.intake.start()
        self._server.start()
        for name in HEALTH_NAMES:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def warn_of_expiry(self) -> None:
        """Log which certificates expire soon."""
        self.tls.warn(datetime.now(UTC))

    def drain(self, seconds: float) -> None:
        """Report not serving, refuse new calls, let running ones end within ``seconds``, stop.

        Connections are told to go away, so that clients of a fleet send what was not begun to another instance. Who
        watches the health has a call that never ends: it is ended once the calls of the service are done.
        """
        self._health.enter_graceful_shutdown()
        stopped = self._server.stop(seconds)
        latest = time.monotonic() + seconds
        quiet = 0
        while quiet < 2 and not stopped.wait(IDLE_POLL) and time.monotonic() < latest:
            quiet = quiet + 1 if self._interceptor.idle else 0
        self._server.stop(GOODBYE_SECONDS)
        stopped.wait()
        self._interceptor.intake.close()


class _Health(health.HealthServicer):
    """The health of what is served here: the library's own keeps every other name that was ever asked for."""

    def Watch(self, request: Any, context: grpc.ServicerContext, *more: Any) -> Any:  # noqa: N802
        """Tell the state now and whenever it changes."""
        if request.service not in HEALTH_NAMES:
            abort(context, Refusal("NOT_FOUND", "expected the name of a service of this server, or none"))
        return super().Watch(request, context, *more)


def _offer_reflection(server: grpc.Server) -> None:
    """Tell engineers' tools the calls. Each tool that asks holds one of the threads for as long as it likes."""
    reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    log.warning("reflection is on: its calls pass by roles, rate limit and audit log")
