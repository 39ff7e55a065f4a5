"""A session that was closed at one instance ends at the others of its fleet."""

from __future__ import annotations

from access_bench import BOOT, Clock, inner
from appliance_bench import Station, copy_folder

from station.appliance import closed_elsewhere
from station.appliance.closed_elsewhere import ClosedElsewhere
from station.appliance.refusal import Refusal
from station.wire import pa_pb2


def test_the_account_is_asked_now_and_then():
    clock, asked, closed = Clock(), [], set()

    def is_closed(session: bytes) -> bool:
        asked.append(session)
        return session in closed

    elsewhere = ClosedElsewhere(is_closed, clock)
    assert [elsewhere(b"a"), elsewhere(b"a"), elsewhere(b"b"), elsewhere(b"b")] == [False] * 4
    assert asked == [b"a", b"b"]
    closed.add(b"a")
    assert elsewhere(b"a") is False
    clock.now += closed_elsewhere.SECONDS
    assert elsewhere(b"a") is True and elsewhere(b"a") is True
    assert asked == [b"a", b"b", b"a", b"a"]


def test_an_account_that_does_not_answer_closes_nothing(caplog):
    def fails(session: bytes) -> bool:
        raise Refusal("INTERNAL", "away")

    assert ClosedElsewhere(fails, Clock())(b"a") is False
    assert "nobody knows which sessions" in caplog.text


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(closed_elsewhere, "MOST", 3)
    elsewhere = ClosedElsewhere(lambda session: False, Clock())
    for number in range(10):
        elsewhere(bytes((number,)))
    assert len(elsewhere._asked) == 3


def test_two_instances_on_one_database(tmp_path, made, postgres, monkeypatch):
    monkeypatch.setattr(closed_elsewhere, "SECONDS", 0.0)
    folders = [copy_folder(made, tmp_path / name) for name in ("a", "b")]
    for folder in folders:
        postgres.configure(folder)
    with inner(folders[0]) as one, inner(folders[1]) as two:
        clients = [Station(instance.folder, instance.target, "same") for instance in (one, two)]
        clients[0].log_in()
        clients[1].token = clients[0].token
        for client in clients:
            assert client.call("GetOwnerFwBootMessage", BOOT).boot_message
        clients[0].call("CloseSession", pa_pb2.CloseSessionRequest())
        assert clients[1].refused("GetOwnerFwBootMessage", BOOT)[0] == "NOT_FOUND"
        for client in clients:
            client.close()
