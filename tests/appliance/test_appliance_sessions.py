"""Sessions, tokens, allow-lists and the endpoint check (appliance sheet 2.2 to 2.5)."""

from __future__ import annotations

import grpc
import pytest
from appliance_bench import Served, Station, copy_folder, password_of

from station.appliance.pki import add_client, client_files
from station.wire import pa_pb2, pa_pb2_grpc

BOOT = pa_pb2.GetOwnerFwBootMessageRequest(sku="sival")
CALLS = {
    "DeriveTokens": pa_pb2.DeriveTokensRequest(sku="sival"),
    "GetStoredTokens": pa_pb2.GetStoredTokensRequest(sku="sival"),
    "GetCaSubjectKeys": pa_pb2.GetCaSubjectKeysRequest(sku="sival"),
    "GetCaCerts": pa_pb2.GetCaCertsRequest(sku="sival"),
    "EndorseCerts": pa_pb2.EndorseCertsRequest(sku="sival"),
    "GetOwnerFwBootMessage": BOOT,
    "RegisterDevice": pa_pb2.RegistrationRequest(),
}


@pytest.mark.parametrize("name", CALLS)
def test_unknown_user(stranger, name):
    for token in (None, "abcdefgh12345678"):
        code, text = stranger.refused(name, CALLS[name], token=token)
        assert (code, "user not found" in text) == ("INTERNAL", True)


@pytest.mark.parametrize("name", CALLS)
def test_missing_token(station, name):
    assert station.refused(name, CALLS[name], token=None)[0] == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", CALLS)
def test_wrong_token(station, name):
    code, text = station.refused(name, CALLS[name], token="A" * 16)
    assert (code, "incorrect access token" in text) == ("NOT_FOUND", True)


def test_token_of_another_user(station, stranger):
    stranger.log_in()
    assert station.refused("GetOwnerFwBootMessage", BOOT, token=stranger.token)[0] == "NOT_FOUND"
    assert stranger.refused("GetOwnerFwBootMessage", BOOT, user=station.user)[0] == "NOT_FOUND"
    assert station.call("GetOwnerFwBootMessage", BOOT).boot_message


def test_new_login_replaces_the_token(station):
    old = station.token
    station.log_in()
    assert station.token != old
    assert station.refused("GetOwnerFwBootMessage", BOOT, token=old)[0] == "NOT_FOUND"
    assert station.call("GetOwnerFwBootMessage", BOOT).boot_message


def test_failed_login_leaves_the_session(station):
    station.refused("InitSession", pa_pb2.InitSessionRequest(sku="sival", sku_auth="wrong"))
    assert station.call("GetOwnerFwBootMessage", BOOT).boot_message


def test_close_needs_no_token_and_no_session(station, stranger):
    station.call("CloseSession", pa_pb2.CloseSessionRequest(), token=None)
    assert station.refused("GetOwnerFwBootMessage", BOOT)[0] == "INTERNAL"
    stranger.call("CloseSession", pa_pb2.CloseSessionRequest())


def test_without_user_id_the_certificate_is_the_user(station):
    password = password_of(station.folder)
    answer = station.call("InitSession", pa_pb2.InitSessionRequest(sku="sival", sku_auth=password), user="", token=None)
    token = answer.sku_session_token
    assert station.call("GetOwnerFwBootMessage", BOOT, user="", token=token).boot_message
    assert station.refused("GetOwnerFwBootMessage", BOOT, user="127.0.0.1", token=token)[0] == "INTERNAL"
    station.call("CloseSession", pa_pb2.CloseSessionRequest(), user="", token=None)
    assert station.refused("GetOwnerFwBootMessage", BOOT, user="", token=token)[0] == "INTERNAL"


def test_another_realm_is_refused_before_the_password(stranger):
    with pytest.raises(grpc.RpcError) as failed:
        stranger.stub.InitSession(
            pa_pb2.InitSessionRequest(sku="sival", sku_auth="wrong"),
            metadata=(("x-station-realm", "production"),),
            timeout=10,
        )
    assert failed.value.code().name == "FAILED_PRECONDITION"


def test_client_certificate_must_name_its_address(tmp_path, made):
    folder = copy_folder(made, tmp_path / "appliance")
    from cryptography import x509

    from station.appliance.certificates import Issued, new_endpoint, realm_name
    from station.appliance.pki import _ec_key
    from station.model import Realm

    ca = Issued(
        x509.load_pem_x509_certificate((folder / "tls/ca-cert.pem").read_bytes()),
        _ec_key((folder / "offline/tls-ca-key.pem").read_bytes()),
    )
    away = new_endpoint(realm_name("away", Realm.DEV), ["elsewhere.example", "192.0.2.7"], ca, server=False)
    credentials = grpc.ssl_channel_credentials(ca.pem, away.key_pem, away.pem)
    appliance = Served(folder)
    request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=password_of(folder))
    with grpc.secure_channel(appliance.target, credentials) as channel, pytest.raises(grpc.RpcError) as failed:
        pa_pb2_grpc.ProvisioningApplianceServiceStub(channel).InitSession(request, timeout=10)
    assert appliance.stop() == 0
    assert failed.value.code().name == "UNKNOWN"
    assert "client certificate" in failed.value.details()


def test_one_more_station(tmp_path, made):
    folder = copy_folder(made, tmp_path / "appliance")
    files = add_client(folder, "station-9")
    assert files == client_files(folder, "station-9")
    appliance = Served(folder)
    from appliance_bench import open_channel

    with open_channel(folder, appliance.target, "station-9") as channel:
        stub = pa_pb2_grpc.ProvisioningApplianceServiceStub(channel)
        stub.InitSession(pa_pb2.InitSessionRequest(sku="sival", sku_auth=password_of(folder)), timeout=10)
    assert appliance.stop() == 0


def test_two_stations_have_sessions_of_their_own(served):
    clients = [Station(served.folder, served.target, user) for user in ("one", "two")]
    for client in clients:
        client.log_in()
    clients[0].call("CloseSession", pa_pb2.CloseSessionRequest())
    assert clients[1].call("GetOwnerFwBootMessage", BOOT).boot_message
    for client in clients:
        client.close()
