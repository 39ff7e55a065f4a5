"""An HTTP registry on loopback that answers well or does something odd; it remembers everything that it was sent."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from station.appliance.device_store import StoredDevice
from station.wire.registry_record_pb2 import RegistryRecord

Records = list[dict[str, Any]]
Answer = Callable[["Handler", Records], None]


class Handler(BaseHTTPRequestHandler):
    """One request; ``server.registry`` is the bench."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        registry: FakeRegistry = self.server.registry  # type: ignore[attr-defined]
        records = [request["record"] for request in json.loads(body)["requests"]]
        with registry.lock:
            registry.running += 1
            registry.most_running = max(registry.most_running, registry.running)
            registry.bodies.append(json.loads(body))
            registry.headers.append(dict(self.headers.items()))
            registry.paths.append(self.path)
        try:
            registry.answer(self, records)
        except OSError:  # the client has gone
            self.close_connection = True
        finally:
            with registry.lock:
                registry.running -= 1

    def say(self, body: bytes | object, status: int = 200) -> None:
        """Answer with JSON, or with bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


class FakeRegistry:
    """``answer`` may be changed at any time; ``accepted`` are the device ids of the good answers, in order."""

    def __init__(self) -> None:
        self.answer: Answer = self.good
        self.lock = threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.accepted: list[str] = []
        self.running = self.most_running = 0
        self.release = threading.Event()
        self.url = ""

    def batches(self) -> list[list[str]]:
        """Device ids of every request."""
        return [[request["record"]["device_id"] for request in body["requests"]] for body in self.bodies]

    def good(self, handler: Handler, records: Records) -> None:
        with self.lock:
            self.accepted += [record["device_id"] for record in records]
        handler.say({"responses": [{"deviceId": record["device_id"]} for record in records]})

    def refusing(self, *devices: str) -> Answer:
        """An error object for these, an acknowledgement for the others."""

        def answer(handler: Handler, records: Records) -> None:
            error = {"code": 3, "status": "INVALID_ARGUMENT", "message": "no such\ndevice"}
            told = [
                {"deviceId": record["device_id"], **({"error": error} if record["device_id"] in devices else {})}
                for record in records
            ]
            handler.say({"responses": told})

        return answer

    def says(self, body: bytes | object, status: int = 200) -> Answer:
        return lambda handler, records: handler.say(body, status)

    def closes(self, handler: Handler, records: Records) -> None:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    def drips(self, handler: Handler, records: Records) -> None:
        """One byte after the other, never the end, until the test releases it."""
        handler.send_response(200)
        handler.end_headers()
        while not self.release.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    def is_silent(self, handler: Handler, records: Records) -> None:
        self.release.wait(20)
        handler.close_connection = True


@contextmanager
def http_registry(tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.registry = registry  # type: ignore[attr-defined]
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    registry.url = f"{'https' if tls else 'http'}://localhost:{server.server_port}/batch?x=1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="registry")
    thread.start()
    try:
        yield registry
    finally:
        registry.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def device(number: int, digest: str = "aa", received_ms: int = 1_700_000_000_000) -> StoredDevice:
    """A stored registration with a real record in it."""
    record = RegistryRecord(
        device_id=f"0x{number:04}", sku="sival", version=0, data=b"data \xff" + bytes((number,)) + digest.encode(),
        auth_pubkey=b"key", auth_signature=b"signature",
    )  # fmt: skip
    return StoredDevice(record.device_id, "sival", record.SerializeToString(), digest, False, "ft-1", received_ms)
