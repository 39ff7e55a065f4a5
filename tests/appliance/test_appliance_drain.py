"""Drain: what runs ends, what comes is refused."""

from __future__ import annotations

import threading
import time

import grpc
from access_bench import BOOT, inner
from appliance_bench import (
    Station,
    open_channel,
    password_of,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc

from station.wire import pa_pb2


def code_in_the_end(client: Station) -> str:
    """The health is told before the door is closed: a login may still slip in between."""
    request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=password_of(client.folder))
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            client.call("InitSession", request)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def test_drain_ends_what_runs_and_refuses_what_comes(folder, monkeypatch):
    entered, release = threading.Event(), threading.Event()
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        health = open_channel(folder, appliance.target, "station-2")
        seen = []
        watch = health_pb2_grpc.HealthStub(health).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        seen.append(next(watch).status)
        real = appliance.service._spm.boot_message

        def slow(request):
            entered.set()
            assert release.wait(20)
            return real(request)

        monkeypatch.setattr(appliance.service._spm, "boot_message", slow)
        running = client.stub.GetOwnerFwBootMessage.future(
            BOOT, metadata=[("user_id", client.user), ("authorization", client.token)], timeout=30
        )
        assert entered.wait(20)
        drain = threading.Thread(target=appliance.server.drain, args=(20,))
        drain.start()
        seen.append(next(watch).status)
        assert seen == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
        late = Station(folder, appliance.target, "late")
        assert code_in_the_end(late) == "UNAVAILABLE"
        late.close()
        assert drain.is_alive()
        release.set()
        assert running.result().boot_message
        drain.join(10)  # long before its 20 s: who watches the health does not hold it up
        assert not drain.is_alive()
        health.close()
        client.close()
