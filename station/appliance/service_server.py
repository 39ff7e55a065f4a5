"""The gRPC server around the service: TLS with a required client certificate, health, drain. There is no plain mode."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from station.appliance.service import ApplianceService
from station.appliance.service_auth import SessionInterceptor
from station.errors import ConfigError
from station.wire import pa_pb2_grpc

THREADS = 16
SERVICE_NAME = "pa.ProvisioningApplianceService"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM contents: the server's chain and key, and the CA that client certificates must come from."""

    certificate: bytes
    key: bytes
    client_ca: bytes

    def __repr__(self) -> str:
        return "<TLS files>"


class ApplianceServer:
    """A started server; ``port`` is the port it listens on."""

    def __init__(self, service: ApplianceService, interceptor: SessionInterceptor, tls: TlsFiles, address: str) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="appliance")
        self._server = grpc.server(self._pool, interceptors=[interceptor], options=(("grpc.so_reuseport", 0),))
        pa_pb2_grpc.add_ProvisioningApplianceServiceServicer_to_server(service, self._server)  # type: ignore[no-untyped-call]
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            self.port = int(self._server.add_secure_port(address, _credentials(tls)))
        except RuntimeError:
            self.port = 0
        if not self.port:
            self._server.stop(None)
            self._pool.shutdown()
            raise ConfigError(
                f"expected to listen on {address}: the port is taken or the certificate does not fit its key"
            )
        self._server.start()
        for name in ("", SERVICE_NAME):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def drain(self, seconds: float) -> None:
        """Report not serving, refuse new calls, let running ones end within ``seconds``, stop."""
        self._health.enter_graceful_shutdown()
        self._server.stop(seconds).wait()
        self._pool.shutdown()


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)], root_certificates=tls.client_ca, require_client_auth=True
    )
