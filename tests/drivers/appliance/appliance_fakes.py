"""Settings of a client, and a recording gRPC server for what the embedded appliance never does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from appliance_bench import password_of

from station.appliance.pki import client_files
from station.secret import Secret
from station.wire import pa_pb2, pa_pb2_grpc


class OddAppliance(pa_pb2_grpc.ProvisioningApplianceServiceServicer):
    """Answers what the test puts into ``answers``: a message, or a callable (request, context)."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {"InitSession": pa_pb2.InitSessionResponse(sku_session_token="T" * 16)}
        self.seen: list[tuple[str, object, dict[str, str]]] = []
        self.release = threading.Event()

    def names(self) -> list[str]:
        return [name for name, _, _ in self.seen]

    def _answer(self, name: str, request, context):
        self.seen.append((name, request, dict(context.invocation_metadata())))
        answer = self.answers.get(name)
        if answer is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")
        return answer(request, context) if callable(answer) else answer

    def wait(self, request, context):
        """Silence until the test releases it."""
        self.release.wait(20)
        return pa_pb2.DeriveTokensResponse()


def _method(name: str) -> Callable:
    def method(self, request, context):
        return self._answer(name, request, context)

    return method


for _name in [method.name for method in pa_pb2.DESCRIPTOR.services_by_name["ProvisioningApplianceService"].methods]:
    setattr(OddAppliance, _name, _method(_name))


@contextmanager
def plain_server(servicer: OddAppliance):
    """The servicer on a loopback port without TLS; gives the target."""
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool)
    pa_pb2_grpc.add_ProvisioningApplianceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        servicer.release.set()
        server.stop(0).wait()
        pool.shutdown()


def refuse(code: str, text: str) -> Callable:
    def answer(request, context):
        context.abort(grpc.StatusCode[code], text)

    return answer


def settings_of(folder: Path, **changes) -> dict[str, object]:
    files = client_files(folder, "station-1")
    settings = {
        "endpoint": str(folder / "endpoint.json"),
        "ca": str(files.ca),
        "certificate": str(files.certificate),
        "key": str(files.key),
        "sku_password": Secret(password_of(folder).encode(), "SKU password"),
        "user_id": "bench-1",
        "realm": "dev",
        **changes,
    }
    return {key: value for key, value in settings.items() if value is not None}
