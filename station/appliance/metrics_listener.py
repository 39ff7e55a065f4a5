"""The HTTP listener that answers ``GET /metrics``, in threads of its own; nothing else can be asked of it."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from station.appliance.metrics_address import MetricsAddress
from station.errors import ConfigError

log = logging.getLogger(__name__)

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_SECONDS = 5.0
"""How long a connection may be silent, so that one which never asks ends."""


class MetricsListener:
    """Listens from the moment it is made; ``url`` is where the figures are."""

    def __init__(self, address: MetricsAddress, registry: CollectorRegistry) -> None:
        handler = type("Handler", (_Handler,), {"registry": registry})
        kind = _Server6 if ":" in address.host else _Server
        try:
            self._server = kind((address.host, address.port), handler)
        except OSError as error:
            raise ConfigError(f"expected to listen for metrics on {address}: {error.strerror or error}") from None
        self._address = MetricsAddress(address.host, int(self._server.server_address[1]))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where ``GET`` gives the figures."""
        return f"http://{self._address}{PATH}"

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingTCPServer):
    """``http.server.HTTPServer`` would look its own name up in the DNS first."""

    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody hung up, or a figure is wrong: one line instead of a stack trace."""
        log.warning("a request for metrics failed: %s", type(sys.exception()).__name__)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    timeout = REQUEST_SECONDS
    server_version, sys_version = "station-appliance", ""

    def do_GET(self) -> None:
        """The figures, or 404."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(404)
            return
        body = generate_latest(self.registry)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Somebody asks every few seconds: nothing is said about it."""
