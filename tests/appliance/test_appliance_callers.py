"""Who calls, as gRPC tells it, and the wrapping of the handlers, without a server."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
import pytest

from station.appliance import service_peer
from station.appliance.client_certificate import UNKNOWN
from station.appliance.pki import client_files
from station.appliance.rates import Rates
from station.appliance.refusal import Refusal
from station.appliance.service_auth import Gate, SessionInterceptor
from station.appliance.service_crew import Crew
from station.appliance.service_intake import Intake
from station.appliance.service_peer import NAME_SECONDS, check_endpoint, client_of


class Called:
    """What gRPC tells of a call."""

    def __init__(self, pem: bytes, names: tuple[bytes, ...], peer: str) -> None:
        self._auth = {"x509_pem_cert": [pem], "x509_subject_alternative_name": list(names)}
        self._peer = peer

    def auth_context(self):
        return self._auth

    def peer(self):
        return self._peer

    def invocation_metadata(self):
        return (("user_id", "someone"),)


@dataclass
class Details:
    method: str


def test_the_caller_is_told_apart_by_certificate_and_connection(made):
    pem = client_files(made, "station-1").certificate.read_bytes()
    one = client_of(Called(pem, (b"station-1", b"127.0.0.1"), "ipv4:127.0.0.1:1"))
    assert client_of(Called(pem, (b"station-1", b"127.0.0.1"), "ipv4:127.0.0.1:1")) is one
    check_endpoint(one)
    other = client_of(Called(pem, (b"station-1",), "ipv4:127.0.0.1:1"))  # same address, other certificate content
    assert other.names == {"station-1"}
    assert client_of(Called(b"no certificate", (), "ipv4:127.0.0.1:1")).certificate is UNKNOWN


def test_the_name_of_an_address_is_asked_for_once_a_minute(monkeypatch):
    asked = []
    now = [1000.0 * NAME_SECONDS]
    monkeypatch.setattr(service_peer.socket, "gethostbyaddr", lambda address: asked.append(address) or ("FT-9.lab",))
    monkeypatch.setattr(service_peer.time, "monotonic", lambda: now[0])
    client = client_of(Called(b"pem", (b"ft-9",), "ipv4:192.0.2.9:5"))
    for _ in range(3):
        check_endpoint(client)
    assert asked == ["192.0.2.9"]
    now[0] += NAME_SECONDS
    check_endpoint(client)
    assert len(asked) == 2
    with pytest.raises(Refusal, match=r"does not name the client's address 192\.0\.2\.9"):
        check_endpoint(client_of(Called(b"pem", (b"ft-8",), "ipv4:192.0.2.9:5")))


def test_a_method_is_wrapped_once_and_another_handler_anew():
    interceptor = SessionInterceptor(Gate(None, None, None, Rates(0), False), Intake(Crew(1)))
    handlers = [grpc.unary_unary_rpc_method_handler(lambda request, context: request) for _ in range(2)]
    details = Details("/pa.ProvisioningApplianceService/DeriveTokens")
    order = (handlers[0], handlers[0], *handlers)
    wrapped = [interceptor.intercept_service(lambda _, one=one: one, details) for one in order]
    assert wrapped[0] is wrapped[1] is wrapped[2]
    assert wrapped[3] is not wrapped[0]
    assert interceptor.intercept_service(lambda _: None, details) is None
