"""Store and forward: what the registry gets, what it must say, and what becomes of everything else that it says."""

from __future__ import annotations

import base64
import json
import logging
import ssl
import threading
from contextlib import ExitStack, closing

import pytest
from access_bench import authority
from appliance_bench import Served, Station, TestPart, copy_folder, dice_ca_of, endorsed
from registry_bench import device, http_registry
from store_bench import SqlitePlace, configure

from station.appliance import forwarding
from station.appliance.certificates import new_ca, new_endpoint, realm_name
from station.appliance.device_store import DeviceStore
from station.appliance.forwarding import Forwarder, forwarder_of
from station.appliance.registry_http import HttpRegistry, PostFailed
from station.appliance.registry_json import AnswerUnreadable, batch_body, read_answers
from station.appliance.registry_settings import ForwardSettings
from station.errors import ConfigError
from station.model import Realm


@pytest.fixture
def registry():
    with http_registry() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "registry.db")
    return request.getfixturevalue("postgres")


@pytest.fixture
def store(tmp_path):
    with closing(DeviceStore(tmp_path / "registry.db")) as opened:
        yield opened


def settings_for(registry, **changes) -> ForwardSettings:
    return ForwardSettings(**{"url": registry.url, "headers": None, "ca": None, "batch": 10, "seconds": 5.0, **changes})


@pytest.fixture
def forwarder(store, registry):
    """Not started: the test says when it forwards."""
    made = forwarder_of(store, settings_for(registry))
    yield made
    made.close()


def fill(store, *numbers: int) -> None:
    for number in numbers:
        store.register(device(number))


def waiting(store) -> list[str]:
    return [record.device_id for record in store.waiting(1000)]


def due_again(store) -> None:
    """Hours have passed."""
    store._database.execute("UPDATE registrations SET next_try_ms = next_try_ms - 10000000 WHERE next_try_ms > 0")


def until(claim) -> None:
    for _ in range(3000):
        if claim():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came true")


# ---- what the registry gets -----------------------------------------------------------------------------------------


def test_exactly_what_was_stored_in_the_upstream_shape(store, registry, forwarder):
    fill(store, 7)
    assert forwarder.forward() is True
    (stored,) = store.find("0x0007")
    assert registry.bodies == [
        {
            "requests": [
                {
                    "record": {
                        "device_id": "0x0007", "sku": "sival", "data": base64.b64encode(b"data \xff\x07aa").decode(),
                        "auth_pubkey": "a2V5", "auth_signature": "c2lnbmF0dXJl",
                    }
                }
            ]
        }
    ]  # fmt: skip
    assert stored.record == device(7).record
    assert registry.paths == ["/batch?x=1"]
    (headers,) = registry.headers
    assert (headers["content-type"], headers["host"]) == ("application/json", registry.url.split("/")[2])
    assert waiting(store) == []
    assert forwarder.forward() is False
    assert len(registry.bodies) == 1, "an empty batch is not posted"


def test_oldest_first_in_batches(store, registry, forwarder):
    fill(store, *range(25))
    while forwarder.forward():
        pass
    assert [len(batch) for batch in registry.batches()] == [10, 10, 5]
    assert registry.accepted == [f"0x{number:04}" for number in range(25)]


def test_both_contents_of_a_device_the_older_one_first(store, registry, forwarder):
    store.register(device(1))
    store.register(device(1, "bb"))
    fill(store, 2)
    while forwarder.forward():
        pass
    assert registry.batches() == [["0x0001", "0x0002"], ["0x0001"]]
    data = [base64.b64decode(body["requests"][0]["record"]["data"]) for body in registry.bodies]
    assert [raw[-2:] for raw in data] == [b"aa", b"bb"]


def test_zero_values_are_left_out_and_others_are_not():
    from station.wire.registry_record_pb2 import RegistryRecord

    assert json.loads(batch_body([RegistryRecord(device_id="0x1").SerializeToString()])) == {
        "requests": [{"record": {"device_id": "0x1"}}]
    }
    record = RegistryRecord(device_id="0x1", version=2, data=b"\0").SerializeToString()
    assert json.loads(batch_body([record]))["requests"][0]["record"] == {
        "device_id": "0x1", "version": 2, "data": "AA==",
    }  # fmt: skip


def test_headers_are_read_at_every_call_and_never_shown(store, registry, tmp_path, caplog):
    headers = tmp_path / "registry.headers"
    headers.write_text("# of the registry\n\nAuthorization: Bearer first-token\nX-Site:  a b \n")
    headers.chmod(0o600)
    forwarder = forwarder_of(store, settings_for(registry, headers=headers))
    with caplog.at_level(logging.DEBUG):
        fill(store, 1)
        forwarder.forward()
        headers.write_text("Authorization: Bearer second-token\nContent-Type: application/json; charset=utf-8\n")
        fill(store, 2)
        forwarder.forward()
        registry.answer = registry.says(b"", 401)
        fill(store, 3)
        forwarder.forward()
    first, second, _ = registry.headers
    assert (first["authorization"], first["x-site"]) == ("Bearer first-token", "a b")
    assert (second["authorization"], second["content-type"]) == (
        "Bearer second-token",
        "application/json; charset=utf-8",
    )
    assert "x-site" not in second
    assert "token" not in caplog.text


@pytest.mark.parametrize("line", ["no colon", "Bad Name: x", "X: \x07", "X: ä", "Host: other", "Content-Length: 1"])
def test_a_wrong_line_of_the_headers(store, registry, tmp_path, line):
    headers = tmp_path / "registry.headers"
    headers.write_text(f"Fine: x\n{line}\n", encoding="utf-8")
    headers.chmod(0o600)
    fill(store, 1)
    forwarder = forwarder_of(store, settings_for(registry, headers=headers))
    with pytest.raises(ConfigError, match=r"registry\.headers:2: expected 'Name: value'") as failed:
        forwarder.forward()
    assert line.partition(":")[2].strip() not in ("",) or "no colon" in line
    assert registry.bodies == [] and waiting(store) == ["0x0001"]
    assert "other" not in str(failed.value)
    headers.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        forwarder.forward()


# ---- what it says ---------------------------------------------------------------------------------------------------

BAD_ANSWERS = [
    (b"", 500, "HTTP status 500"),
    ({"responses": [{"deviceId": "0x0001"}, {"deviceId": "0x0002"}]}, 500, "HTTP status 500"),
    ({"responses": [{"deviceId": "0x0001"}, {"deviceId": "0x0002"}]}, 302, "HTTP status 302"),
    (b"<html>fine</html>", 200, "no JSON"),
    (b"", 200, "no JSON"),
    (b'{"responses": [', 200, "no JSON"),
    (b"[" * 100_000, 200, "no JSON"),
    (b"\xff\xfe", 200, "no JSON"),
    (b"[]", 200, "no JSON object"),
    ({}, 200, "no list of responses"),
    ({"responses": ["0x0001"]}, 200, "no list of responses"),
    ({"error": {"code": 0, "message": "down"}}, 200, "refused the whole batch: down"),
    ({"error": {"code": 14}, "responses": [{"deviceId": "0x0001"}]}, 200, "refused the whole batch: 14"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD_ANSWERS)
def test_an_answer_that_acknowledges_nothing(store, registry, forwarder, caplog, body, status, words):
    fill(store, 1, 2)
    registry.answer = registry.says(body, status)
    assert forwarder.forward() is False
    assert words in caplog.text
    assert waiting(store) == ["0x0001", "0x0002"]
    assert store.backlog().failed == 0, "nobody knows whose fault it was"
    registry.answer = registry.good
    while forwarder.forward():
        pass
    assert registry.accepted == ["0x0001", "0x0002"]
    assert waiting(store) == []


def test_error_objects_hold_up_nobody_else(store, registry, forwarder):
    fill(store, 1, 2, 3)
    registry.answer = registry.refusing("0x0002")
    assert forwarder.forward() is True
    (record,) = store.waiting(10)
    assert (record.device_id, record.attempts, record.failure) == ("0x0002", 1, "3 INVALID_ARGUMENT no such device")
    assert record.next_try_ms > 0
    fill(store, 4)
    assert forwarder.forward() is True
    assert waiting(store) == ["0x0002"]
    assert registry.batches() == [["0x0001", "0x0002", "0x0003"], ["0x0004"]], "the refused one waits its time"
    due_again(store)
    assert forwarder.forward() is True
    assert store.waiting(10)[0].attempts == 2
    due_again(store)
    registry.answer = registry.good
    forwarder.forward()
    assert waiting(store) == []


def test_many_refused_records_do_not_fill_every_batch(store, registry, forwarder):
    """The oldest ones are refused for ever; a batch of ten is never made of them alone."""
    fill(store, *range(12))
    refused = [f"0x{number:04}" for number in range(11)]
    registry.answer = registry.refusing(*refused)
    while forwarder.forward():
        pass
    assert waiting(store) == refused
    assert registry.batches()[1] == ["0x0010", "0x0011"]
    fill(store, 12)
    due_again(store)
    while forwarder.forward():
        pass
    assert waiting(store) == refused
    assert [len(batch) for batch in registry.batches()[2:]] == [1, 1, 2, 4, 4]
    assert registry.batches()[3] == ["0x0012"], "by turns"


def test_refused_records_that_are_always_due_hold_up_no_new_one(store, registry, forwarder):
    """A slow registry that refuses many: when the last one was sent again the first one is due again."""
    fill(store, *range(40))
    refused = [f"0x{number:04}" for number in range(40)]
    registry.answer = registry.refusing(*refused)
    while forwarder.forward():
        pass
    for number in range(40, 60):
        fill(store, number)
        due_again(store)
        forwarder.forward()
        forwarder.forward()
        assert waiting(store) == refused, "every new record gets through with the next batch but one"
    assert min(record.attempts for record in store.waiting(100)) > 1, "and refused ones are tried too"


def test_what_was_refused_by_mistake_goes_in_batches_again(store, registry, forwarder):
    fill(store, *range(40))
    refused = [f"0x{number:04}" for number in range(40)]
    registry.answer = registry.refusing(*refused)
    while forwarder.forward():
        pass
    registry.answer = registry.good
    due_again(store)
    while forwarder.forward():
        pass
    assert waiting(store) == []
    assert [len(batch) for batch in registry.batches()[4:]] == [1, 2, 4, 8, 10, 10, 5]


def test_a_record_that_fails_alone_makes_no_batch_smaller(store, registry, forwarder):
    registry.answer = registry.says(b"", 500)
    fill(store, 0)
    assert forwarder.forward() is False
    for number in range(1, 41, 10):
        registry.answer = registry.good
        fill(store, *range(number, number + 10))
        assert forwarder.forward() is True
        registry.answer = registry.says(b"", 500)
        due_again(store)
        assert forwarder.forward() is False
    assert waiting(store) == ["0x0000"]
    assert [len(batch) for batch in registry.batches()] == [1, 10, 1, 10, 1, 10, 1, 10, 1]


def test_of_records_that_all_failed_alone_each_gets_its_turn(store, registry, forwarder):
    """In an outage every one of them fails alone; the first one fails on when the registry is back."""
    fill(store, 0, 1, 2)
    registry.answer = registry.says(b"", 503)
    for _ in range(10):
        assert forwarder.forward() is False
    assert set(forwarder._alone) == {1, 2, 3}

    def chokes(handler, records):
        answer = registry.says(b"", 500) if records[0]["device_id"] == "0x0000" else registry.good
        answer(handler, records)

    registry.answer = chokes
    for _ in range(6):
        forwarder.forward()
    assert waiting(store) == ["0x0000"]
    assert store.backlog().failed == 1


@pytest.mark.parametrize(
    ("responses", "left"),
    [
        ([{"deviceId": "0x0002"}, {"deviceId": "0x0001"}], []),
        ([{}, {}], []),
        ([{"deviceId": "0x0001"}, {"deviceId": "0x0001"}, {"deviceId": "0x0002"}, {"deviceId": "0x0002"}], []),
        ([{"deviceId": "0x0001"}, {"deviceId": "0x0001", "error": {}}, {"deviceId": "0x0002"}], ["0x0001"]),
        ([{"deviceId": "0x0001", "error": {"code": 0}}, {"deviceId": "0x0002"}], ["0x0001"]),
        ([{"deviceId": "0x0001", "error": None}, {"deviceId": "0x0002", "error": "gone"}], ["0x0002"]),
        ([{"device_id": "0x0001"}], ["0x0002"]),
        ([{}], ["0x0001", "0x0002"]),
        ([], ["0x0001", "0x0002"]),
        ([{"deviceId": "0x0009"}, {"deviceId": "0x0008"}], ["0x0001", "0x0002"]),
        ([{"deviceId": ["0x0001"]}, {"deviceId": {"0x0002": 1}}], ["0x0001", "0x0002"]),
    ],
)
def test_answers_are_matched_to_devices(store, registry, forwarder, responses, left):
    fill(store, 1, 2)
    registry.answer = registry.says({"responses": responses})
    forwarder.forward()
    assert waiting(store) == left
    assert all(record.failure for record in store.waiting(10))


def test_words_of_the_registry_are_cut_and_stay_on_their_line():
    answer = {"responses": [{"deviceId": "a", "error": {"message": "x\r\n\x1b[2J" + "y" * 5000}}]}
    text = read_answers(json.dumps(answer).encode(), ["a"])["a"]
    assert text.isprintable() and len(text) == 200
    with pytest.raises(AnswerUnreadable):
        read_answers(b'{"error": {}}', ["a"])


def test_a_socket_that_closes(store, registry, forwarder, caplog):
    fill(store, 1)
    registry.answer = registry.closes
    assert forwarder.forward() is False
    assert "failed: " in caplog.text
    assert waiting(store) == ["0x0001"]


def test_a_record_that_the_registry_cannot_digest_is_found_and_set_aside(store, registry, forwarder):
    """It answers 500 (or hangs up) as long as that record is in a batch: all others get through."""
    fill(store, *range(16))

    def chokes(handler, records):
        if any(record["device_id"] == "0x0005" for record in records):
            (registry.closes if len(records) % 2 else registry.says(b"", 500))(handler, records)
        else:
            registry.good(handler, records)

    registry.answer = chokes
    for _ in range(40):
        forwarder.forward()
    assert waiting(store) == ["0x0005"]
    posts = len(registry.bodies)
    assert posts < 25
    (record,) = store.waiting(10)
    assert record.attempts >= 1 and record.failure
    assert sorted(registry.accepted) == [f"0x{number:04}" for number in range(16) if number != 5]
    due_again(store)
    registry.answer = registry.good
    forwarder.forward()
    assert waiting(store) == []


def test_an_outage_is_held_against_no_record(store, registry, forwarder):
    """Everything fails for a long time, also one by one; then nothing waits that could go."""
    fill(store, *range(6))
    registry.answer = registry.says(b"", 503)
    for _ in range(30):
        assert forwarder.forward() is False
    assert {len(batch) for batch in registry.batches()} == {6, 3, 1}
    assert store.backlog().failed == 0
    registry.answer = registry.good
    while forwarder.forward():
        pass
    assert waiting(store) == []
    assert forwarder._alone == {}


def test_a_registry_that_is_not_there_is_nobodys_fault(store, caplog):
    with http_registry() as gone:
        pass
    forwarder = forwarder_of(store, settings_for(gone))
    fill(store, 1, 2)
    for _ in range(3):
        assert forwarder.forward() is False
    assert store.backlog() == type(store.backlog())(waiting=2, failed=0, oldest_ms=1_700_000_000_000)
    assert forwarder._untried.size == 10
    assert "failure 3 in a row" in caplog.text and "Connection refused" in caplog.text


def test_a_registry_that_drips_or_is_silent(store, registry):
    fill(store, 1)
    for answer in (registry.drips, registry.is_silent):
        registry.answer = answer
        http = HttpRegistry(settings_for(registry, seconds=0.3))
        with pytest.raises(PostFailed, match=r"no complete answer within 0\.3 s|does not answer in time") as failed:
            http.post(batch_body([device(1).record]))
        assert failed.value.reached


def test_an_answer_that_never_ends_is_cut(store, registry, monkeypatch):
    from station.appliance import registry_http

    monkeypatch.setattr(registry_http, "LARGEST_ANSWER", 1000)
    registry.answer = registry.says(b"[" + b" " * 5000)
    with pytest.raises(PostFailed, match="more than 1000 bytes"):
        HttpRegistry(settings_for(registry)).post(b'{"requests": []}')


# ---- waiting --------------------------------------------------------------------------------------------------------


def test_the_wait_doubles_with_jitter_up_to_five_minutes(store):
    drawn = [0.0]
    forwarder = Forwarder(store, None, 10, lambda: drawn[0])
    least = [forwarder._jittered(1.0, 300.0, failures) for failures in range(1, 12)]
    assert least == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150, 150]
    drawn[0] = 1.0
    assert [forwarder._jittered(1.0, 300.0, failures) for failures in (1, 2, 9, 5000)] == [1, 2, 256, 300]


def test_the_thread_forwards_what_comes_and_goes_on_after_failures(store, registry, monkeypatch):
    monkeypatch.setattr(forwarding, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(forwarding, "LONGEST_SECONDS", 0.05)
    fill(store, *range(5))
    registry.answer = registry.says(b"", 503)
    forwarder = forwarder_of(store, settings_for(registry))
    forwarder.start()
    until(lambda: len(registry.bodies) >= 3)
    registry.answer = registry.good
    until(lambda: not waiting(store))
    fill(store, 5)  # wakes it: its own looks are five seconds apart
    until(lambda: not waiting(store))
    assert sorted(set(registry.accepted)) == [f"0x{number:04}" for number in range(6)]
    forwarder.close()
    assert not forwarder._thread.is_alive()


def test_a_fault_in_the_program_does_not_end_the_thread(store, registry, monkeypatch, caplog):
    monkeypatch.setattr(forwarding, "FIRST_SECONDS", 0.01)
    real, calls = store.untried, []

    def untried(*arguments, **named):
        calls.append(1)
        if len(calls) < 3:
            raise ZeroDivisionError
        return real(*arguments, **named)

    monkeypatch.setattr(store, "untried", untried)
    fill(store, 1)
    forwarder = forwarder_of(store, settings_for(registry))
    forwarder.start()
    until(lambda: not waiting(store))
    forwarder.close()
    assert "an error in the program (ZeroDivisionError)" in caplog.text


def test_closing_cuts_a_post_in_progress_and_loses_nothing(store, registry):
    registry.answer = registry.is_silent
    fill(store, 1)
    forwarder = forwarder_of(store, settings_for(registry, seconds=600.0))
    forwarder.start()
    until(lambda: registry.running == 1)
    forwarder.close()
    assert not forwarder._thread.is_alive()
    assert waiting(store) == ["0x0001"]
    assert store.backlog().failed == 0
    with pytest.raises(PostFailed, match="the appliance ends"):
        forwarder._registry.post(b"{}")


# ---- several processes ----------------------------------------------------------------------------------------------


def test_of_two_processes_one_forwards_at_a_time(place, registry):
    with ExitStack() as stack:
        stores = [DeviceStore(stack.enter_context(closing(place.open()))) for _ in range(2)]
        forwarders = [forwarder_of(store, settings_for(registry, batch=7)) for store in stores]
        stop = threading.Event()

        def work(forwarder):
            while not stop.is_set():
                forwarder.forward()

        threads = [threading.Thread(target=work, args=(forwarder,)) for forwarder in forwarders for _ in range(2)]
        for thread in threads:
            thread.start()
        fill(stores[0], *range(0, 200, 2))
        fill(stores[1], *range(1, 200, 2))
        until(lambda: not waiting(stores[0]))
        stop.set()
        for thread in threads:
            thread.join()
    assert registry.most_running == 1
    assert sorted(registry.accepted) == [f"0x{number:04}" for number in range(200)], "each of them once"


# ---- TLS ------------------------------------------------------------------------------------------------------------


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


# ---- the served process ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, made):
    return copy_folder(made, tmp_path / "appliance")


def test_a_killed_appliance_goes_on_when_it_is_started_again(folder, registry):
    """Registered while the registry is down, killed, started again: every record arrives, none is marked before."""
    configure(folder, forward_url=registry.url, forward_seconds=2)
    registry.answer = registry.says(b"", 503)
    appliance = Served(folder)
    client = Station(folder, appliance.target)
    client.log_in()
    parts = [TestPart(dice_ca_of(folder), number) for number in range(1, 4)]
    uds = endorsed(client, parts[0])
    for part in parts:
        client.call("RegisterDevice", parts[0].registration(uds, device_id=part.device_data(uds).device_id))
    client.close()
    until(lambda: len(registry.bodies) >= 2)
    appliance.kill()
    with closing(DeviceStore(folder / "registry.db")) as store:
        assert len(waiting(store)) == 3
        stored = {record.device_id: record.record for record in store.waiting(10)}
        due_again(store)
    registry.answer = registry.good
    again = Served(folder)
    until(lambda: len(set(registry.accepted)) == 3)
    with closing(DeviceStore(folder / "registry.db")) as store:
        until(lambda: not waiting(store))
    assert again.stop() == 0
    assert set(registry.accepted) == set(stored)
    sent = {
        request["record"]["device_id"]: request["record"] for body in registry.bodies for request in body["requests"]
    }
    for device_id, raw in stored.items():
        assert json.loads(batch_body([raw]))["requests"][0]["record"] == sent[device_id]
