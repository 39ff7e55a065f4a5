"""Limits of rate and size, and their settings."""

from __future__ import annotations

import grpc
import pytest
from access_bench import BOOT, Clock, inner
from appliance_bench import (
    Station,
    TestPart,
    dice_ca_of,
    ecdsa,
    endorse_request,
    open_channel,
    was_of,
)

from station.appliance import limits
from station.appliance.rates import Rates
from station.appliance.refusal import Refusal
from station.appliance.run_settings import NUMBERS
from station.appliance.settings import read_settings
from station.errors import ConfigError
from station.wire import pa_pb2


def refused(call, *arguments) -> str:
    with pytest.raises(Refusal) as failed:
        call(*arguments)
    return failed.value.code


def test_a_client_that_calls_too_often_waits():
    clock = Clock()
    rates = Rates(10, clock)
    for _ in range(20):
        rates.admit("one", "DeriveTokens")
    assert refused(rates.admit, "one", "DeriveTokens") == "RESOURCE_EXHAUSTED"
    rates.admit("two", "DeriveTokens")
    clock.now += 0.125
    rates.admit("one", "DeriveTokens")
    assert refused(rates.admit, "one", "DeriveTokens") == "RESOURCE_EXHAUSTED"
    clock.now += 1000
    for _ in range(20):
        rates.admit("one", "DeriveTokens")
    assert refused(rates.admit, "one", "DeriveTokens") == "RESOURCE_EXHAUSTED"
    unlimited = Rates(0, clock)
    for _ in range(5000):
        unlimited.admit("one", "DeriveTokens")


def test_wrong_passwords_run_out():
    clock = Clock()
    rates = Rates(0, clock)
    for _ in range(30):
        rates.admit("one", "InitSession")
        rates.failed_login("one")
    assert refused(rates.admit, "one", "InitSession") == "RESOURCE_EXHAUSTED"
    rates.admit("one", "DeriveTokens")
    rates.admit("two", "InitSession")
    clock.now += 2
    rates.admit("one", "InitSession")


def test_rates_over_the_wire(folder):
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text() + "calls_per_second = 5\n")
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        codes = set()
        for _ in range(40):
            try:
                client.call("GetOwnerFwBootMessage", BOOT)
            except grpc.RpcError as error:
                codes.add(error.code().name)
        assert codes == {"RESOURCE_EXHAUSTED"}
        with open_channel(folder, appliance.target, "station-2") as channel:  # another client is not held up
            answer = channel.unary_unary("/pa.ProvisioningApplianceService/CloseSession")(b"", timeout=10)
        assert answer == b""
        client.close()


@pytest.mark.parametrize(
    "text",
    [
        "session_minutes = 0",
        "session_minutes = 5.5",
        "calls_per_second = -1",
        "workers = 0",
        "one_core = 1",
        "audit = 3",
    ],
)
def test_findings_of_the_settings(folder, text):
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text() + text + "\n")
    with pytest.raises(ConfigError) as failed:
        read_settings(folder)
    (finding,) = failed.value.findings
    assert finding.line == len(toml.read_text().splitlines())
    assert text.split()[0] in finding.sentence
    assert set(NUMBERS) == {"session_minutes", "calls_per_second", "workers"}


def test_requests_that_no_device_needs(folder):
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        was = was_of(client)
        bundle = (ecdsa("UDS"), b"x" * 40)
        rows = [
            ("EndorseCerts", endorse_request(was, [bundle] * 10_000), "INVALID_ARGUMENT"),
            ("EndorseCerts", endorse_request(was, [bundle] * (limits.BUNDLES + 1)), "INVALID_ARGUMENT"),
            ("EndorseCerts", endorse_request(was, [(ecdsa("UDS"), bytes(limits.TBS_BYTES + 1))]), "INVALID_ARGUMENT"),
            ("EndorseCerts", endorse_request(was, [(ecdsa("UDS"), bytes(2 << 20))]), "RESOURCE_EXHAUSTED"),
            ("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[low()] * 65), "INVALID_ARGUMENT"),
            ("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[low(b"station/")]), "INVALID_ARGUMENT"),
            ("GetCaCerts", pa_pb2.GetCaCertsRequest(sku="sival", cert_labels=["root"] * 65), "INVALID_ARGUMENT"),
            ("GetCaSubjectKeys", pa_pb2.GetCaSubjectKeysRequest(sku="sival", cert_labels=["U"] * 65), BAD),
        ]  # fmt: skip
        for name, request, code in rows:
            assert client.refused(name, request)[0] == code, name
        part = TestPart(dice_ca_of(folder))
        large = part.registration(part.cdi_0_cert, perso_tlv_data=bytes(70_000))
        assert client.refused("RegisterDevice", large)[0] == "INVALID_ARGUMENT"
        assert client.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[low()] * 64)).tokens
        assert appliance.quota.account() == []
        assert client.call("GetOwnerFwBootMessage", BOOT).boot_message
        client.close()


BAD = "INVALID_ARGUMENT"


def low(diversifier: bytes = b"x") -> pa_pb2.TokenParams:
    return pa_pb2.TokenParams(seed=1, type=1, size=1, diversifier=diversifier)
