"""The gRPC server around the service: TLS with a required client certificate, health, drain. There is no plain mode."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from station.appliance.limits import TRANSPORT_BYTES
from station.appliance.service import ApplianceService
from station.appliance.service_auth import SessionInterceptor
from station.appliance.service_tls import ServerTls
from station.errors import ConfigError
from station.wire import pa_pb2_grpc

log = logging.getLogger(__name__)

THREADS = 4
"""Calls that compute at the same time: only one of them can run Python code, and more of them only get in its way."""
SERVICE_NAME = "pa.ProvisioningApplianceService"
HANDSHAKE_MS = 10_000
IDLE_POLL = 0.05
GOODBYE_SECONDS = 0.5
OPTIONS = (
    ("grpc.max_receive_message_length", TRANSPORT_BYTES),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
)


class ApplianceServer:
    """A started server; ``port`` is the port it listens on."""

    def __init__(
        self, service: ApplianceService, interceptor: SessionInterceptor, tls: ServerTls, address: str,
        reflected: bool = False, waiting: int = 0, shared: bool = False,
    ) -> None:  # fmt: skip
        """``waiting`` is how many calls may wait for something outside of this computer beside those that compute.

        ``shared``: other processes listen on the same port; the system deals connections out among them.
        """
        self.tls = tls
        self._interceptor = interceptor
        self._pool = ThreadPoolExecutor(THREADS + waiting, thread_name_prefix="appliance")
        self._server = grpc.server(
            self._pool, interceptors=[interceptor], options=(*OPTIONS, ("grpc.so_reuseport", int(shared)))
        )
        pa_pb2_grpc.add_ProvisioningApplianceServiceServicer_to_server(service, self._server)  # type: ignore[no-untyped-call]
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflected:
            _offer_reflection(self._server)
        try:
            self.port = int(self._server.add_secure_port(address, tls.credentials()))
        except RuntimeError:
            self.port = 0
        if not self.port:
            self._server.stop(None)
            self._pool.shutdown()
            raise ConfigError(f"expected to listen on {address}: the port is taken or the address is not of here")
        self._server.start()
        for name in ("", SERVICE_NAME):
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
        self._pool.shutdown()


def _offer_reflection(server: grpc.Server) -> None:
    """Tell engineers' tools the calls. Each tool that asks holds one of the threads for as long as it likes."""
    reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    log.warning("reflection is on: its calls pass by roles, rate limit and audit log")
