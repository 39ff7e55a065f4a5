"""What a bad network gets: half handshakes, calls whose message does not come, watchers (rows of bad_bench)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import grpc
import pytest
from access_bench import BOOT, Holder, audit_lines, inner, issue
from appliance_bench import (
    WAIT,
    Served,
    Station,
    copy_folder,
)
from bad_bench import DENIED, HEALTH, SERVICE, Scene, refused
from grpc_health.v1 import health_pb2
from hello_bench import hello_with

from station.appliance import server
from station.appliance.service_intake import UNFINISHED_CALLS, Intake
from station.wire import pa_pb2


def test_hundreds_of_half_handshakes(scene):
    """Connections that say nothing, half a ClientHello, or no more than one; and a whole call beside them."""
    hello, _ = hello_with("X25519")
    halves = []

    def flood(s: Scene) -> tuple[str, str]:
        for number in range(300):
            half = socket.create_connection(("127.0.0.1", s.served.ready["port"]), 10)
            half.sendall((b"", hello[:60], hello)[number % 3])
            halves.append(half)
        fresh = Station(s.folder, s.served.target, "beside the flood")
        fresh.log_in()
        answer = fresh.refused("GetOwnerFwBootMessage", BOOT, token="B" * 16)
        fresh.close()
        return answer

    refused(scene, flood, "NOT_FOUND", 2)
    for half in halves:
        half.close()
    refused(scene, lambda s: s.send("GetStoredTokens", pa_pb2.GetStoredTokensRequest(sku="sival")), DENIED, 1)


class Halves:
    """Calls of a client that were begun and whose message does not come, until the end of the context."""

    def __init__(self, channel: grpc.Channel, method: str, number: int) -> None:
        self._ended = threading.Event()
        begin = channel.stream_unary(method)
        self.calls = [begin.future(self._never()) for _ in range(number)]

    def _never(self) -> Iterator[bytes]:
        self._ended.wait()
        yield from ()

    def __enter__(self) -> Halves:
        return self

    def __exit__(self, *what: object) -> None:
        for call in self.calls:
            call.cancel()
        self._ended.set()


@pytest.mark.parametrize("method", [SERVICE + "RegisterDevice", HEALTH + "Check", HEALTH + "Watch"])
def test_half_a_call_stops_nobody(scene, method):
    """More of them than threads work, before whole calls of the same connection and of another one."""
    other = Station(scene.folder, scene.served.target, "beside the halves")
    with Halves(scene.station.channel, method, 12) as halves:
        other.log_in()
        assert not any(call.done() for call in halves.calls)
        refused(scene, lambda s: s.send("GetStoredTokens", pa_pb2.GetStoredTokensRequest(sku="sival")), DENIED, 1)
        refused(scene, lambda s: other.refused("GetOwnerFwBootMessage", BOOT, token="B" * 16), "NOT_FOUND", 1)
    other.close()


def test_half_calls_of_one_client_have_an_end(scene):
    """As many as one connection may have; the client gets no further by another one, and all others go on."""
    issued = issue(scene.folder, "bad")
    bad = [Holder(scene.folder, scene.served.target, issued, f"bad {n}") for n in range(2)]
    with Halves(bad[0].channel, SERVICE + "RegisterDevice", UNFINISHED_CALLS + 10):
        end, answer = time.monotonic() + WAIT, ("", "")
        while answer[0] != "RESOURCE_EXHAUSTED" and time.monotonic() < end:
            answer = bad[1].refused("GetOwnerFwBootMessage", BOOT)
        assert answer == ("RESOURCE_EXHAUSTED", f"{UNFINISHED_CALLS} other calls of this client lack their message")
        refused(scene, lambda s: s.send("GetStoredTokens", pa_pb2.GetStoredTokensRequest(sku="sival")), DENIED, 1)
    while answer[0] == "RESOURCE_EXHAUSTED" and time.monotonic() < end:
        answer = bad[1].refused("GetOwnerFwBootMessage", BOOT)
    assert answer[0] == "INTERNAL"  # no session
    for client in bad:
        client.close()


def test_half_a_call_does_not_stay(tmp_path, made, monkeypatch):
    monkeypatch.setattr(server, "Intake", partial(Intake, seconds=0.3))
    folder = copy_folder(made, tmp_path / "appliance")
    with inner(folder) as appliance:
        station = Station(folder, appliance.target, "half")
        with Halves(station.channel, SERVICE + "RegisterDevice", 6) as halves:
            assert {call.exception(WAIT).code().name for call in halves.calls} == {"CANCELLED"}
        with Halves(station.channel, HEALTH + "Check", 6) as halves:
            assert {call.exception(WAIT).code().name for call in halves.calls} == {"CANCELLED"}
        station.log_in()
        station.close()
    lines = [(line["method"], line["result"]) for line in audit_lines(folder)]
    assert lines == [("RegisterDevice", "CANCELLED")] * 6 + [("InitSession", "OK")]


def test_half_a_call_does_not_hold_up_the_end(tmp_path, made):
    folder = copy_folder(made, tmp_path / "appliance")
    served = Served(folder)
    station = Station(folder, served.target, "half")
    with Halves(station.channel, SERVICE + "RegisterDevice", 6) as halves:
        station.log_in()
        assert served.stop() == 0
        assert {call.exception(WAIT).code().name for call in halves.calls} <= {"CANCELLED", "UNAVAILABLE"}
    station.close()
    assert "Traceback" not in served.log.read_text()


def test_a_call_without_a_message(scene):
    def silent(s: Scene) -> tuple[str, str]:
        with pytest.raises(grpc.RpcError) as failed:
            s.station.channel.stream_unary(SERVICE + "RegisterDevice")(iter(()), timeout=WAIT)
        return failed.value.code().name, failed.value.details()

    assert refused(scene, silent, "UNIMPLEMENTED", 0) == "expected exactly one message, saw none"


def test_who_watches_the_health_holds_no_thread(scene):
    watch = scene.station.channel.unary_stream(
        HEALTH + "Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    watching = [watch(health_pb2.HealthCheckRequest()) for _ in range(12)]
    assert {next(one).status for one in watching} == {health_pb2.HealthCheckResponse.SERVING}
    refused(scene, lambda s: s.send("GetStoredTokens", pa_pb2.GetStoredTokensRequest(sku="sival")), DENIED, 1)
    for one in watching:
        one.cancel()
    with pytest.raises(grpc.RpcError) as failed:
        next(watch(health_pb2.HealthCheckRequest(service="of no server")))
    assert failed.value.code().name == "NOT_FOUND"
    with pytest.raises(grpc.RpcError) as failed:
        scene.station.channel.unary_unary(HEALTH + "Check")(b"\xff" * 40)
    assert failed.value.code().name == "INTERNAL"
