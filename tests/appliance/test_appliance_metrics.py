"""Figures for Prometheus: what they say, that clients cannot multiply them, who may look; the reflection service."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from access_bench import BOOT, fingerprint, inner
from appliance_bench import Served, Station, TestPart, dice_ca_of, endorsed, open_channel, password_of
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from station.appliance.metrics import Gauge, Metrics
from station.appliance.metrics_address import MetricsAddress, parse_address
from station.appliance.metrics_listener import MetricsListener
from station.appliance.settings import read_settings
from station.errors import ConfigError, StationError
from station.wire import pa_pb2

STATIONS = """\
[[work_order]]
name = "WO-1"
quota = 12
[[work_order]]
name = "WO-2"
quota = 7
per = "day"
[[station]]
name = "ft-1"
certificate = "{}"
skus = ["sival"]
roles = ["CP", "FT"]
work_order = "WO-1"
"""


def add(folder, text: str) -> None:
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text() + text + "\n")


def get(url: str) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()


def figures(text: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# ---- over a served process --------------------------------------------------------------------------------------


def test_what_a_served_appliance_tells(folder):
    (folder / "stations.toml").write_text(STATIONS.format(fingerprint(folder, "station-1")))
    add(folder, 'metrics = "127.0.0.1:0"')
    appliance = Served(folder)
    url = appliance.ready["metrics"]
    assert url.startswith("http://127.0.0.1:")
    before = figures(get(url))
    assert before["appliance_sessions_open",] == 0
    client = Station(folder, appliance.target)
    client.log_in()
    part = TestPart(dice_ca_of(folder))
    uds = endorsed(client, part)
    after = figures(get(url))
    client.call("RegisterDevice", part.registration(uds))
    client.refused("InitSession", pa_pb2.InitSessionRequest(sku="sival", sku_auth="not-the-password"))
    for number in range(5):
        client.refused("InitSession", pa_pb2.InitSessionRequest(sku=f"never-{number}", sku_auth="x"), user=f"u{number}")
    client.refused("GetOwnerFwBootMessage", BOOT, token="B" * 16)
    text = get(url)
    last = figures(text)
    client.close()
    assert appliance.stop() == 0
    with pytest.raises(OSError):
        get(url)

    assert after["appliance_calls_total", "EndorseCerts", "OK"] == 1
    assert after["appliance_call_seconds_count", "EndorseCerts"] == 1
    assert 0 < after["appliance_call_seconds_sum", "EndorseCerts"] < 10
    assert after["appliance_sessions_open",] == 1
    assert after["appliance_keystore_up",] == 1
    assert after["appliance_endorsed_devices", "WO-1"] == after["appliance_unregistered_devices", "WO-1"] == 1
    assert (after["appliance_endorsed_devices_quota", "WO-1"], after["appliance_endorsed_devices", "WO-2"]) == (12, 0)
    assert last["appliance_unregistered_devices", "WO-1"] == 0
    assert last["appliance_endorsed_devices", "WO-1"] == 1
    assert last["appliance_calls_total", "InitSession", "UNAUTHENTICATED"] == 1
    assert last["appliance_calls_total", "InitSession", "NOT_FOUND"] == 5
    assert last["appliance_calls_total", "GetOwnerFwBootMessage", "NOT_FOUND"] == 1
    assert 800 < last["appliance_certificate_days_left", "certificate"] < 826
    assert last["appliance_certificate_days_left", "client_ca"] > 7000
    assert last["process_resident_memory_bytes",] > 1 << 20
    for secret in (password_of(folder), client.token, "B" * 16, "not-the-password", "never-", "u0"):
        assert secret not in text


def test_nothing_listens_unless_asked(folder):
    assert read_settings(folder).run.metrics is None
    appliance = Served(folder)
    assert "metrics" not in appliance.ready
    assert appliance.stop() == 0


def test_clients_make_no_new_series(folder):
    metrics = Metrics()
    with inner(folder, metrics=metrics) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        client.refused("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="one"))
        seen = series(metrics)
        for number in range(20):
            client.user = f"user-{number}"
            client.log_in()
            client.refused("DeriveTokens", pa_pb2.DeriveTokensRequest(sku=f"two-{number}"))
            unknown = client.channel.unary_unary(f"/pa.ProvisioningApplianceService/Method{number}")
            with pytest.raises(grpc.RpcError) as failed:
                unknown(b"", timeout=10)
            assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        client.close()
        assert series(metrics) == seen


def series(metrics: Metrics) -> set[tuple[str, ...]]:
    return {
        (sample.name, *sample.labels.values()) for family in metrics.registry.collect() for sample in family.samples
    }


# ---- gauges and listener ----------------------------------------------------------------------------------------


@pytest.fixture
def listener():
    metrics = Metrics()
    listener = MetricsListener(MetricsAddress("127.0.0.1", 0), metrics.registry)
    yield metrics, listener
    listener.close()


def test_a_figure_that_is_not_to_be_had_is_left_out(listener, caplog):
    metrics, heard = listener

    def fails() -> float:
        raise StationError("the database is away")

    metrics.watch(Gauge("pending_forwards", "Registrations that wait.", fails), Gauge("other", "Another.", lambda: 2.0))
    found = figures(get(heard.url))
    assert found["appliance_other",] == 2
    assert ("appliance_pending_forwards",) not in found
    assert "the database is away" in caplog.text
    with pytest.raises(ValueError, match="Duplicated"):
        metrics.watch(Gauge("other", "Again.", lambda: 1.0))


def test_one_page_and_no_more(listener):
    _, heard = listener
    for path in ("/", "/metricss", "/metrics/../", "/favicon.ico"):
        with pytest.raises(urllib.error.HTTPError) as failed:
            get(heard.url.removesuffix("/metrics") + path)
        assert failed.value.code == 404
        failed.value.close()
    request = urllib.request.Request(heard.url, method="POST", data=b"x")
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)
    assert failed.value.code == 501
    failed.value.close()


def test_who_never_asks_disturbs_nobody(listener):
    _, heard = listener
    port = int(heard.url.rsplit(":", 1)[1].partition("/")[0])
    silent = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(20)]
    silent[0].sendall(b"GET /metrics HT")
    silent[1].sendall(b"\xff" * 5000 + b"\r\n\r\n")
    assert "appliance_call_seconds" in get(heard.url)
    for connection in silent:
        connection.close()


def test_a_taken_port_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = MetricsAddress("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"expected to listen for metrics on 127\.0\.0\.1:"):
            MetricsListener(address, Metrics().registry)


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:9464", MetricsAddress("127.0.0.1", 9464), True),
        ("localhost:0", MetricsAddress("localhost", 0), True),
        ("[::1]:9464", MetricsAddress("::1", 9464), True),
        ("0.0.0.0:9464", MetricsAddress("0.0.0.0", 9464), False),
        ("pa.example:9464", MetricsAddress("pa.example", 9464), False),
    ],
)
def test_addresses(text, address, loopback):
    found = parse_address(text)
    assert (found, str(found), found.is_loopback) == (address, text, loopback)


@pytest.mark.parametrize("text", ["9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "::1:9464", "[]:1"])
def test_wrong_addresses_are_named_with_their_line(folder, text):
    add(folder, f'metrics = "{text}"')
    with pytest.raises(ConfigError, match=r"appliance\.toml:\d+: expected HOST:PORT for the metrics"):
        read_settings(folder)


def test_a_certificate_near_its_end(folder):
    from station.appliance.metrics_gauges import certificate_gauge

    class Tls:
        def ends(self):
            return {"certificate": datetime.now(UTC) - timedelta(days=2)}

    assert -2.1 < certificate_gauge(Tls()).read()["certificate"] < -1.9


# ---- reflection -------------------------------------------------------------------------------------------------


def reflected(folder, target: str) -> list[str]:
    with open_channel(folder, target) as channel:
        ask = [reflection_pb2.ServerReflectionRequest(list_services="")]
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(ask), timeout=10)
        return sorted(service.name for service in next(answers).list_services_response.service)


def test_reflection_when_switched_on(folder, caplog):
    with inner(folder) as appliance, pytest.raises(grpc.RpcError) as failed:
        reflected(folder, appliance.target)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
    add(folder, "reflection = true")
    with inner(folder) as appliance:
        services = reflected(folder, appliance.target)
    assert services == [
        "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "pa.ProvisioningApplianceService",
    ]  # fmt: skip
    assert "reflection is on" in caplog.text


def test_reflection_is_refused_in_production(folder):
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text().replace('realm = "dev"', 'realm = "production"') + "reflection = true\n")
    with pytest.raises(ConfigError, match="reflection is refused in production"):
        read_settings(folder)
    toml.write_text(toml.read_text().replace("reflection = true", "reflection = 1"))
    with pytest.raises(ConfigError, match="expected true or false for 'reflection'"):
        read_settings(folder)
