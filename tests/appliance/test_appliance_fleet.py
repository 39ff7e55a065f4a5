"""Two instances with one keystore, and callers that are not who they should be, over mutual TLS."""

from __future__ import annotations

import json
import socket

import grpc
import pytest
from access_bench import BOOT, Holder, audit_lines, authority, inner, issue, second_sku
from appliance_bench import Served, Station, TestPart, copy_folder, dice_ca_of, endorsed, password_of

from drivers.appliance_grpc import open_appliance
from station.appliance.certificates import new_ca, realm_name
from station.appliance.pki import client_files
from station.model import Realm, TokenRequest
from station.secret import Secret
from station.wire import pa_pb2, pa_pb2_grpc

LOGIN_FREE = pa_pb2.CloseSessionRequest()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, made):
    """Two processes, each on its own copy of one folder."""
    folders = [copy_folder(made, tmp_path_factory.mktemp("fleet") / "appliance") for _ in range(2)]
    for folder in folders:
        second_sku(folder)
    instances = [Served(folder) for folder in folders]
    yield instances
    assert [instance.stop() for instance in instances] == [0, 0]


@pytest.fixture
def pair(fleet, request):
    """A client of each instance with the same user; the first one has logged in."""
    clients = [Station(instance.folder, instance.target, request.node.name[:60]) for instance in fleet]
    clients[0].log_in()
    clients[1].token = clients[0].token
    yield clients
    for client in clients:
        client.close()


def test_a_session_is_good_at_both(pair):
    one, two = pair
    for client in (two, one, two, one):
        assert client.call("GetOwnerFwBootMessage", BOOT).boot_message
    part = TestPart(dice_ca_of(one.folder), 77)
    uds = endorsed(two, part)
    one.call("RegisterDevice", part.registration(uds))


def test_without_user_id_too(fleet):
    clients = [Station(instance.folder, instance.target, user="") for instance in fleet]
    clients[0].log_in()
    assert clients[1].call("GetOwnerFwBootMessage", BOOT, token=clients[0].token).boot_message
    for client in clients:
        client.close()


def test_two_reference_clients_on_one_computer(fleet):
    """No ``user_id``, one certificate, a connection each: neither login nor close of one ends the other's session."""
    files = client_files(fleet[0].folder, "station-1")
    credentials = grpc.ssl_channel_credentials(*(p.read_bytes() for p in (files.ca, files.key, files.certificate)))
    clients = [Station(fleet[0].folder, fleet[0].target, user="") for _ in range(2)]
    for client in clients:
        client.close()
        client.channel = grpc.secure_channel(fleet[0].target, credentials, (("grpc.use_local_subchannel_pool", 1),))
        client.stub = pa_pb2_grpc.ProvisioningApplianceServiceStub(client.channel)
        client.log_in()
    one, two = clients
    assert one.call("GetOwnerFwBootMessage", BOOT).boot_message
    two.call("CloseSession", LOGIN_FREE, token=None)
    assert two.refused("GetOwnerFwBootMessage", BOOT)[0] == "INTERNAL"
    assert one.call("GetOwnerFwBootMessage", BOOT).boot_message
    for client in clients:
        client.close()


def test_round_robin(fleet):
    files = client_files(fleet[0].folder, "station-1")
    credentials = grpc.ssl_channel_credentials(*(p.read_bytes() for p in (files.ca, files.key, files.certificate)))
    target = "ipv4:" + ",".join(f"127.0.0.1:{instance.ready['port']}" for instance in fleet)
    policy = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
    options = (("grpc.service_config", policy), ("grpc.ssl_target_name_override", "localhost"))
    before = [len(audit_lines(instance.folder)) for instance in fleet]
    with grpc.secure_channel(target, credentials, options) as channel:
        stub = pa_pb2_grpc.ProvisioningApplianceServiceStub(channel)
        request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=password_of(fleet[0].folder))
        token = stub.InitSession(request, timeout=20, wait_for_ready=True).sku_session_token
        for _ in range(20):
            stub.GetOwnerFwBootMessage(BOOT, metadata=[("authorization", token)], timeout=20)
    calls = [len(audit_lines(instance.folder)) - count for instance, count in zip(fleet, before, strict=True)]
    assert sum(calls) == 21
    assert min(calls) > 3


def test_closed_here_at_once_and_elsewhere_when_it_expires(pair):
    one, two = pair
    two.call("GetOwnerFwBootMessage", BOOT)
    one.call("CloseSession", LOGIN_FREE, token=None)
    assert one.refused("GetOwnerFwBootMessage", BOOT)[0] == "INTERNAL"
    assert two.call("GetOwnerFwBootMessage", BOOT).boot_message
    two.call("CloseSession", LOGIN_FREE)
    assert two.refused("GetOwnerFwBootMessage", BOOT)[0] == "INTERNAL"


def test_replay_after_close_and_after_another_login(pair):
    one, _ = pair
    old = one.token
    one.call("CloseSession", LOGIN_FREE)
    assert one.refused("GetOwnerFwBootMessage", BOOT, token=old)[0] == "INTERNAL"
    one.log_in()
    assert one.refused("GetOwnerFwBootMessage", BOOT, token=old)[0] == "NOT_FOUND"
    assert one.refused("GetOwnerFwBootMessage", BOOT, token=old, user="")[0] in ("INTERNAL", "NOT_FOUND")


def test_a_closed_session_stays_closed_after_a_restart(tmp_path, made):
    folder = copy_folder(made, tmp_path / "appliance")
    first = Served(folder)
    client = Station(folder, first.target)
    client.log_in()
    open_one = Station(folder, first.target, "other")
    open_one.log_in()
    client.call("CloseSession", LOGIN_FREE)
    first.kill()
    again = Served(folder)
    tokens = client.token, open_one.token
    for gone in (client, open_one):
        gone.close()
    client, open_one = Station(folder, again.target), Station(folder, again.target, "other")
    assert client.refused("GetOwnerFwBootMessage", BOOT, token=tokens[0])[0] == "INTERNAL"
    assert open_one.call("GetOwnerFwBootMessage", BOOT, token=tokens[1]).boot_message
    for last in (client, open_one):
        last.close()
    assert again.stop() == 0


def test_another_keystore_accepts_no_session(fleet, tmp_path):
    from station.appliance.pki import init

    folder = tmp_path / "foreign"
    init(folder, ["station-1"])
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        client.log_in()
        token = client.token
        client.close()
    home = Station(fleet[0].folder, fleet[0].target)
    assert home.refused("GetOwnerFwBootMessage", BOOT, token=token)[0] == "INTERNAL"
    home.close()


# ---- another SKU's session --------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
def test_a_session_serves_its_own_sku(fleet, index):
    other = Station(fleet[index].folder, fleet[index].target, f"other-{index}")
    other.log_in("sival_b")
    requests = {
        "GetOwnerFwBootMessage": BOOT,
        "DeriveTokens": pa_pb2.DeriveTokensRequest(sku="sival"),
        "GetCaSubjectKeys": pa_pb2.GetCaSubjectKeysRequest(sku="sival"),
        "GetCaCerts": pa_pb2.GetCaCertsRequest(sku="sival"),
        "EndorseCerts": pa_pb2.EndorseCertsRequest(sku="sival"),
    }
    home = Station(fleet[index].folder, fleet[index].target, f"home-{index}")
    home.log_in()  # the SKU is loaded now
    home.close()
    for name, request in requests.items():
        code, text = other.refused(name, request)
        assert (code, "this session is for sku 'sival_b'" in text) == ("PERMISSION_DENIED", True), name
    registration = pa_pb2.RegistrationRequest()
    registration.device_data.sku = "sival"
    assert other.refused("RegisterDevice", registration)[0] == "PERMISSION_DENIED"
    own = pa_pb2.GetOwnerFwBootMessageRequest(sku="sival_b")
    assert other.call("GetOwnerFwBootMessage", own).boot_message
    other.close()


# ---- certificates -----------------------------------------------------------------------------------------------


def test_a_token_is_worthless_with_another_certificate(pair, fleet):
    thief = Holder(fleet[0].folder, fleet[0].target, issue(fleet[0].folder, "thief"), user=pair[0].user)
    assert thief.refused("GetOwnerFwBootMessage", BOOT, token=pair[0].token)[0] == "INTERNAL"
    thief.log_in()
    assert thief.refused("GetOwnerFwBootMessage", BOOT, token=pair[0].token)[0] == "NOT_FOUND"
    thief.call("CloseSession", LOGIN_FREE, token=pair[0].token)  # ends nothing of others
    thief.close()
    assert pair[0].call("GetOwnerFwBootMessage", BOOT).boot_message


def test_foreign_and_expired_certificates_get_no_connection(pair, fleet):
    folder, target = fleet[0].folder, fleet[0].target
    foreign_ca = new_ca(realm_name("TLS CA", Realm.DEV), Realm.DEV)
    for bad in (issue(folder, "station-1", foreign_ca), issue(folder, "station-1", days=-0.5)):
        client = Holder(folder, target, bad)
        code, _ = client.refused("InitSession", pa_pb2.InitSessionRequest(sku="sival", sku_auth="x"))
        client.close()
        assert code == "UNAVAILABLE"
    assert pair[0].call("GetOwnerFwBootMessage", BOOT).boot_message


def test_a_certificate_that_expires_on_an_open_connection(tmp_path, made, monkeypatch):
    from datetime import UTC, datetime, timedelta

    from station.appliance import service_auth

    folder = copy_folder(made, tmp_path / "appliance")
    with inner(folder) as appliance:
        client = Holder(folder, appliance.target, issue(folder, "station-1", authority(folder), days=1))
        client.log_in()
        later = datetime.now(UTC) + timedelta(days=2)
        monkeypatch.setattr(service_auth, "datetime", type("Later", (), {"now": lambda zone: later}))
        code, text = client.refused("GetOwnerFwBootMessage", BOOT)
        assert (code, "expired" in text) == ("UNAUTHENTICATED", True)
        client.close()


def test_half_a_handshake_does_not_hold_the_end_up(tmp_path, made):
    folder = copy_folder(made, tmp_path / "appliance")
    appliance = Served(folder)
    with socket.create_connection(("127.0.0.1", appliance.ready["port"]), 5) as half:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert appliance.stop() == 0


# ---- expiry -----------------------------------------------------------------------------------------------------


def test_sessions_expire_and_our_client_logs_in_again(tmp_path, made):
    folder = copy_folder(made, tmp_path / "appliance")
    toml = folder / "appliance.toml"
    toml.write_text(toml.read_text() + "session_minutes = 5\n")
    files = client_files(folder, "station-1")
    with inner(folder) as appliance:
        raw = Station(folder, appliance.target)
        raw.log_in()
        ours = open_appliance(
            {
                "target": appliance.target,
                "ca": str(files.ca),
                "certificate": str(files.certificate),
                "key": str(files.key),
                "sku_password": Secret(password_of(folder).encode(), "SKU password"),
                "user_id": "expiring",
            }
        )
        unlock = TokenRequest("test unlock", "low", 128, b"test_unlock")
        before = ours.derive("sival", [unlock])
        appliance.clock.now += 299
        assert raw.call("GetOwnerFwBootMessage", BOOT).boot_message
        appliance.clock.now += 1
        code, text = raw.refused("GetOwnerFwBootMessage", BOOT)
        assert (code, "expired" in text) == ("NOT_FOUND", True)
        assert ours.derive("sival", [unlock]) == before
        ours.close()
        raw.close()
    methods = [line["method"] for line in audit_lines(folder) if line["user"] == "expiring.sival"]
    assert methods == ["InitSession", "DeriveTokens", "DeriveTokens", "InitSession", "DeriveTokens", "CloseSession"]


# ---- every row of sheet 2.4, at the instance that served the login and at the other one -------------------------


@pytest.mark.parametrize("index", [0, 1])
def test_rows_of_the_interceptor_table(fleet, pair, index):
    here = pair[index]
    here.call("GetOwnerFwBootMessage", BOOT)  # seen once here: the user is known
    stored = pa_pb2.GetStoredTokensRequest(sku="sival")
    rows = [
        ({"user": "nobody", "token": None}, "INTERNAL", "user not found"),
        ({"user": "nobody", "token": "A" * 16}, "INTERNAL", "user not found"),
        ({"token": None}, "UNAUTHENTICATED", ""),
        ({"token": "A" * 16}, "NOT_FOUND", "incorrect access token"),
        ({"token": here.token[:-2] + ("00" if here.token[-2:] != "00" else "01")}, "NOT_FOUND", "incorrect"),
    ]
    for overrides, code, words in rows:
        found, text = here.refused("GetOwnerFwBootMessage", BOOT, **overrides)
        assert (found, words in text) == (code, True), overrides
    assert here.refused("GetStoredTokens", stored)[0] == "PERMISSION_DENIED"
    here.call("CloseSession", LOGIN_FREE, user="nobody", token=None)
    here.call("CloseSession", LOGIN_FREE, user="nobody", token="A" * 16)
    assert here.call("GetOwnerFwBootMessage", BOOT).boot_message
