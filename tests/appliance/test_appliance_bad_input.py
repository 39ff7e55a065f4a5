"""What bad input gets: one row per thing that a client, its network or the computer may do to a served appliance.

After every row: the status code of the tables, as many audit lines as calls reached the service, no stack trace to the
client or in the log, databases as before, and the appliance still answers.
"""

from __future__ import annotations

import hashlib
import resource
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest
from access_bench import BOOT, Holder, audit_lines, inner, issue, second_sku
from appliance_bench import (
    WAIT,
    Served,
    Station,
    TestPart,
    copy_folder,
    dice_ca_of,
    ecdsa,
    endorse_request,
    endorsed,
    password_of,
    was_of,
)
from grpc_health.v1 import health_pb2
from hello_bench import hello_with
from token_bench import MODULE

from station.appliance import limits, server
from station.appliance.certificates import new_ca, realm_name
from station.appliance.pkcs11_provision import provision_folder
from station.appliance.service_intake import UNFINISHED_CALLS, Intake
from station.model import Realm
from station.wire import pa_pb2

HEALTH = "/grpc.health.v1.Health/"
SERVICE = "/pa.ProvisioningApplianceService/"
TABLES = ("devices", "spent", "registrations")
"""What a refused call must not change; closed sessions may be remembered."""


@dataclass
class Scene:
    """A served appliance with a logged-in station, a part of it, and what the part holds."""

    served: Served
    station: Station
    part: TestPart
    was: bytes

    @property
    def folder(self) -> Path:
        return self.served.folder

    def send(self, name: str, request) -> tuple[str, str]:
        return self.station.refused(name, request)

    def send_bytes(self, name: str, raw: bytes) -> tuple[str, str]:
        """The call with these bytes as its message."""
        metadata = (("user_id", self.station.user), ("authorization", self.station.token))
        with pytest.raises(grpc.RpcError) as failed:
            self.station.channel.unary_unary(SERVICE + name)(raw, metadata=metadata, timeout=WAIT)
        return failed.value.code().name, failed.value.details() or ""

    def endorsement(self, *tbs: bytes) -> pa_pb2.EndorseCertsRequest:
        return endorse_request(self.was, [(ecdsa("UDS"), one) for one in tbs])

    def calls(self) -> int:
        return sum(line["event"] == "call" for line in audit_lines(self.folder))

    def state(self) -> str:
        """A digest of all rows that count."""
        digest, seen = hashlib.sha256(), set()
        for path in sorted(self.folder.glob("*.db")):
            connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            seen.update(names)
            for name in sorted(set(names) & set(TABLES)):
                digest.update(repr(list(connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2"))).encode())
            connection.close()
        assert seen >= set(TABLES)
        return digest.hexdigest()

    def close(self) -> None:
        self.station.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory, made):
    folder = copy_folder(made, tmp_path_factory.mktemp("bad") / "appliance")
    second_sku(folder)
    served = Served(folder)
    scene = scene_of(served)
    scene.station.call("RegisterDevice", scene.part.registration(endorsed(scene.station, scene.part)))
    yield scene
    scene.close()
    assert served.stop() == 0
    assert "Traceback" not in served.log.read_text()


def scene_of(served: Served) -> Scene:
    station = Station(served.folder, served.target, "table")
    station.log_in()
    return Scene(served, station, TestPart(dice_ca_of(served.folder), 0x77), was_of(station))


def refused(scene: Scene, row: Callable[[Scene], tuple[str, str]], code: str, lines: int) -> str:
    """Do what the row does; check all that must hold afterwards. Returns what the client was told."""
    calls, state = scene.calls(), scene.state()
    got, text = row(scene)
    assert got == code, text
    assert scene.calls() - calls == lines
    for trace in ("Traceback", 'File "', ".py"):
        assert trace not in text
    assert scene.state() == state
    assert scene.station.call("GetOwnerFwBootMessage", BOOT).boot_message
    assert scene.served.process.poll() is None
    return text


# ---- messages ---------------------------------------------------------------------------------------------------

METHODS = (
    "InitSession", "CloseSession", "DeriveTokens", "EndorseCerts", "RegisterDevice", "GetCaCerts", "GetCaSubjectKeys",
    "GetOwnerFwBootMessage", "GetStoredTokens",
)  # fmt: skip


@pytest.mark.parametrize("raw", [b"\xff" * 40, b"\x0a\xff", b"\x0a\x05siv"], ids=["noise", "length", "cut"])
@pytest.mark.parametrize("name", METHODS)
def test_a_wrong_message(scene, name, raw):
    refused(scene, lambda s: s.send_bytes(name, raw), "INTERNAL", 1)


@pytest.mark.parametrize("cut", [1, 7, 40, 300])
def test_a_truncated_message(scene, cut):
    whole = scene.endorsement(scene.part.uds_tbs).SerializeToString()
    refused(scene, lambda s: s.send_bytes("EndorseCerts", whole[:-cut]), "INTERNAL", 1)


def test_a_message_of_another_call(scene):
    login = pa_pb2.DeriveTokensRequest(sku="sival").SerializeToString()
    refused(scene, lambda s: s.send_bytes("RegisterDevice", login), "INTERNAL", 1)
    empty = pa_pb2.RegistrationRequest().SerializeToString()
    refused(scene, lambda s: s.send_bytes("DeriveTokens", empty), "NOT_FOUND", 1)
    refused(scene, lambda s: s.send_bytes("RegisterDevice", empty), "INVALID_ARGUMENT", 1)


def test_a_call_that_does_not_exist(scene):
    refused(scene, lambda s: s.send_bytes("DeriveAllKeys", b""), "UNIMPLEMENTED", 0)


@pytest.mark.parametrize(
    ("size", "code", "lines"),
    [
        (limits.TBS_BYTES + 1, "INVALID_ARGUMENT", 1),
        (limits.MESSAGE_BYTES + 1, "RESOURCE_EXHAUSTED", 1),
        (limits.TRANSPORT_BYTES + 1, "RESOURCE_EXHAUSTED", 0),  # the transport ends it before it is a call
    ],
)
def test_an_oversized_tbs(scene, size, code, lines):
    refused(scene, lambda s: s.send("EndorseCerts", s.endorsement(bytes(size))), code, lines)


def test_ten_thousand_bundles(scene):
    text = refused(scene, lambda s: s.send("EndorseCerts", s.endorsement(*[b"x" * 40] * 10_000)), "INVALID_ARGUMENT", 1)
    assert "saw 10000" in text


def test_the_proof_of_origin_over_reordered_tbs(scene):
    request = scene.endorsement(scene.part.uds_tbs, TestPart(dice_ca_of(scene.folder)).uds_tbs)
    first, second = request.bundles
    first.tbs, second.tbs = second.tbs, first.tbs
    text = refused(scene, lambda s: s.send("EndorseCerts", request), "INVALID_ARGUMENT", 1)
    assert "could not verify WAS signature" in text


def long_requests(text: str, scene: Scene) -> dict[str, tuple[str, object, str]]:
    password = password_of(scene.folder)
    label = endorse_request(scene.was, [(ecdsa(text), scene.part.uds_tbs)])
    return {
        "sku": ("InitSession", pa_pb2.InitSessionRequest(sku=text, sku_auth=password), "NOT_FOUND"),
        "family": ("InitSession", pa_pb2.InitSessionRequest(sku="sival" + text, sku_auth=password), "INTERNAL"),
        "foreign": ("InitSession", pa_pb2.InitSessionRequest(sku="sival" + text, sku_auth="x"), "UNAUTHENTICATED"),
        "call": ("GetOwnerFwBootMessage", pa_pb2.GetOwnerFwBootMessageRequest(sku=text), "NOT_FOUND"),
        "CA": ("GetCaCerts", pa_pb2.GetCaCertsRequest(sku="sival", cert_labels=[text]), "INVALID_ARGUMENT"),
        "key": (
            "GetCaSubjectKeys",
            pa_pb2.GetCaSubjectKeysRequest(sku="sival", cert_labels=[text]),
            "INVALID_ARGUMENT",
        ),
        "TBS": ("EndorseCerts", label, "INVALID_ARGUMENT"),
    }


@pytest.mark.parametrize("text", ["x" * 20_000, "\U0001f512" * 20_000, "\0\n" * 100_000], ids=["x", "wide", "control"])
def test_a_long_text_keeps_its_status_and_is_not_echoed(scene, text):
    for name, request, code in long_requests(text, scene).values():
        told = refused(scene, lambda s, name=name, request=request: s.send(name, request), code, 1)
        assert len(told) <= 1000
        assert told.isascii()
        assert told.isprintable()
    log = (scene.folder / "serve.log").read_text().splitlines()
    assert max(map(len, log)) < 3000  # an audit line with the digests of as many TBS as may be


def test_a_label_that_is_not_too_long_is_looked_up(scene):
    request = pa_pb2.GetCaCertsRequest(sku="sival", cert_labels=["y" * limits.NAME_CHARACTERS])
    assert "unknown certificate label 'yyy" in refused(scene, lambda s: s.send("GetCaCerts", request), "NOT_FOUND", 1)


# ---- sessions and certificates ----------------------------------------------------------------------------------


def test_a_replayed_session(scene):
    other = Station(scene.folder, scene.served.target, "replayed")
    other.log_in()
    closed = other.token
    other.call("CloseSession", pa_pb2.CloseSessionRequest())
    refused(scene, lambda s: other.refused("GetOwnerFwBootMessage", BOOT, token=closed), "INTERNAL", 1)
    other.log_in()
    refused(scene, lambda s: other.refused("GetOwnerFwBootMessage", BOOT, token=closed), "NOT_FOUND", 1)
    refused(scene, lambda s: other.refused("GetOwnerFwBootMessage", BOOT, token=s.station.token), "NOT_FOUND", 1)
    other.close()


def test_another_skus_session(scene):
    foreign = pa_pb2.GetOwnerFwBootMessageRequest(sku="sival_b")
    refused(scene, lambda s: s.send("GetOwnerFwBootMessage", foreign), "NOT_FOUND", 1)  # nobody has loaded it
    other = Station(scene.folder, scene.served.target, "sku b")
    other.log_in("sival_b")
    refused(scene, lambda s: s.send("GetOwnerFwBootMessage", foreign), "PERMISSION_DENIED", 1)
    request = scene.endorsement(scene.part.uds_tbs)
    request.sku = "sival_b"
    refused(scene, lambda s: s.send("EndorseCerts", request), "PERMISSION_DENIED", 1)
    refused(scene, lambda s: other.refused("EndorseCerts", s.endorsement(b"x")), "PERMISSION_DENIED", 1)
    other.close()


def test_an_expired_or_foreign_client_certificate(scene):
    foreign_ca = new_ca(realm_name("TLS CA", Realm.DEV), Realm.DEV)
    login = pa_pb2.InitSessionRequest(sku="sival", sku_auth="x")
    for bad in (issue(scene.folder, "station-1", foreign_ca), issue(scene.folder, "station-1", days=-0.5)):
        client = Holder(scene.folder, scene.served.target, bad)
        refused(scene, lambda s, client=client: client.refused("InitSession", login), "UNAVAILABLE", 0)
        client.close()


def test_a_client_certificate_that_expires_on_an_open_connection(scene):
    client = Holder(scene.folder, scene.served.target, issue(scene.folder, "brief", days=4 / 86400))
    client.log_in()
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            client.call("GetOwnerFwBootMessage", BOOT)
        except grpc.RpcError:
            break
        time.sleep(0.2)
    refused(scene, lambda s: client.refused("GetOwnerFwBootMessage", BOOT), "UNAUTHENTICATED", 1)
    client.close()


# ---- the network ------------------------------------------------------------------------------------------------


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


DENIED = "PERMISSION_DENIED"


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


# ---- the computer -----------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path, made):
    """A scene for one test, which may break it."""
    served = Served(copy_folder(made, tmp_path / "appliance"))
    scene = scene_of(served)
    yield scene
    scene.close()
    assert served.stop() == 0
    assert "Traceback" not in served.log.read_text()


def registrations(folder: Path) -> int:
    connection = sqlite3.connect(f"{(folder / 'registry.db').as_uri()}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM registrations").fetchone()[0])
    finally:
        connection.close()


def test_the_disk_is_full_and_has_room_again(own):
    """A limit on file sizes stands for the full disk: writes beyond it fail, as they do there."""
    uds = endorsed(own.station, own.part)
    largest = max(path.stat().st_size for path in own.folder.glob("registry.db*"))
    limited = (largest + 30_000, resource.RLIM_INFINITY)
    resource.prlimit(own.served.ready["pid"], resource.RLIMIT_FSIZE, limited)
    acknowledged = 0
    for number in range(1, 200):
        data = own.part.registration(uds)
        data.device_data.device_id.hardware_origin.device_identification_number = number
        try:
            own.station.call("RegisterDevice", data)
            acknowledged += 1
        except grpc.RpcError as error:
            assert error.code().name == "INTERNAL"
            break
    assert 0 < acknowledged < 199
    text = refused(own, lambda s: s.send("RegisterDevice", data), "INTERNAL", 1)
    assert "could not be stored" in text
    assert registrations(own.folder) == acknowledged
    assert was_of(own.station) == own.was  # what needs no disk goes on
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(own.served.ready["pid"], resource.RLIMIT_FSIZE, unlimited)
    own.station.call("RegisterDevice", data)
    assert registrations(own.folder) == acknowledged + 1


def test_no_endorsement_that_cannot_be_counted(own):
    """With a work order the count must be on the disk before the certificates leave."""
    (own.folder / "stations.toml").write_text(
        '[[work_order]]\nname = "WO"\nquota = 1000\n'
        '[[station]]\nname = "ft"\ncertificate = "station-1"\nskus = ["*"]\nroles = ["CP", "FT"]\nwork_order = "WO"\n'
    )
    endorsed(own.station, own.part)
    largest = max(path.stat().st_size for path in own.folder.glob("counters.db*"))
    resource.prlimit(own.served.ready["pid"], resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    text = refused(
        own, lambda s: s.send("EndorseCerts", s.endorsement(TestPart(dice_ca_of(s.folder)).uds_tbs)), "INTERNAL", 1
    )
    assert "cannot count" in text
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(own.served.ready["pid"], resource.RLIMIT_FSIZE, unlimited)
    assert endorsed(own.station, TestPart(dice_ca_of(own.folder), 2))


@pytest.fixture
def with_token(tmp_path, made):
    """A scene whose keys are in a SoftHSM."""
    folder = copy_folder(made, tmp_path / "appliance")
    provision_folder(folder, MODULE)
    served = Served(folder, environment={"SOFTHSM2_CONF": str(folder / "softhsm/softhsm2.conf")})
    scene = scene_of(served)
    yield scene
    scene.close()
    assert served.stop() == 0
    assert "Traceback" not in served.log.read_text()


def test_the_hsm_is_removed(with_token):
    tokens = with_token.folder / "softhsm/tokens"
    tokens.rename(tokens.with_name("hidden"))
    request = with_token.endorsement(with_token.part.uds_tbs)
    for _ in range(2):
        text = refused(with_token, lambda s: s.send("EndorseCerts", request), "INTERNAL", 1)
        assert "the HSM does not do its work" in text
    tokens.with_name("hidden").rename(tokens)
    when_it_answers(with_token, request)


def test_the_pin_is_refused(with_token):
    """As a locked one: SoftHSM locks none. The PIN is sent once; a good one at its source is taken up."""
    tokens, pin = with_token.folder / "softhsm/tokens", next(with_token.folder.rglob("*.pin"))
    good = pin.read_bytes()
    pin.write_bytes(b"no such PIN\n")
    tokens.rename(tokens.with_name("hidden"))
    request = with_token.endorsement(with_token.part.uds_tbs)
    refused(with_token, lambda s: s.send("EndorseCerts", request), "INTERNAL", 1)
    tokens.with_name("hidden").rename(tokens)
    end = time.monotonic() + WAIT
    text = ""
    while "the token refuses the PIN" not in text and time.monotonic() < end:
        text = refused(with_token, lambda s: s.send("EndorseCerts", request), "INTERNAL", 1)
        time.sleep(0.2)
    assert "PIN" in text
    assert "no such PIN" not in text + with_token.served.log.read_text()
    pin.write_bytes(good)
    when_it_answers(with_token, request)


def when_it_answers(scene: Scene, request) -> None:
    """A lost token is looked for once a second."""
    end = time.monotonic() + WAIT
    while True:
        try:
            assert scene.station.call("EndorseCerts", request).certs
            return
        except grpc.RpcError:
            assert time.monotonic() < end, "the token is back and is not used"
            time.sleep(0.2)
