"""Forwarding over https: who the registry is, and a handshake that never ends."""

from __future__ import annotations

import ssl

import pytest
from access_bench import authority
from forward_bench import fill, settings_for, waiting
from registry_bench import http_registry

from station.appliance.certificates import new_ca, new_endpoint, realm_name
from station.appliance.forwarding import forwarder_of
from station.appliance.registry_http import HttpRegistry, PostFailed
from station.appliance.registry_settings import ForwardSettings
from station.model import Realm


@pytest.fixture
def secure(made, tmp_path):
    """A registry with a certificate of the appliance's TLS CA, for localhost."""
    issued = new_endpoint(realm_name("registry", Realm.DEV), ["localhost"], authority(made), server=True)
    (tmp_path / "registry.pem").write_bytes(issued.pem)
    (tmp_path / "registry.key").write_bytes(issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "registry.pem", tmp_path / "registry.key")
    with http_registry(context) as running:
        yield running


def test_https_with_its_own_ca(store, secure, made):
    fill(store, 1)
    assert secure.url.startswith("https://")
    forwarder_of(store, settings_for(secure, ca=made / "tls/ca-cert.pem")).forward()
    assert secure.accepted == ["0x0001"]


def test_a_registry_that_cannot_prove_who_it_is_gets_nothing(store, secure, made, tmp_path, caplog):
    fill(store, 1)
    foreign = tmp_path / "foreign.pem"
    foreign.write_bytes(new_ca(realm_name("TLS CA", Realm.DEV), Realm.DEV).pem)
    other_name = secure.url.replace("localhost", "127.0.0.1")
    for changes in ({"ca": foreign}, {"ca": None}, {"ca": made / "tls/ca-cert.pem", "url": other_name}):
        forwarder = forwarder_of(store, settings_for(secure, **changes))
        assert forwarder.forward() is False
        assert forwarder._untried.size == 10, "the request was never sent"
    assert caplog.text.count("its certificate is not accepted") == 3
    forwarder_of(store, settings_for(secure, ca=tmp_path / "absent")).forward()
    assert "the CA file" in caplog.text
    assert secure.bodies == [] and waiting(store) == ["0x0001"]


def test_a_handshake_that_never_ends(store, made):
    import socket

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        settings = ForwardSettings(
            f"https://localhost:{deaf.getsockname()[1]}/", None, made / "tls/ca-cert.pem", 1, 0.3
        )
        with pytest.raises(PostFailed, match=r"in time|within") as failed:
            HttpRegistry(settings).post(b"{}")
        assert not failed.value.reached
