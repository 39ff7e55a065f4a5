"""Anchors of the stations' journals: what is kept, what contradicts, what the calls tell, and how one begins anew."""

from __future__ import annotations

import json
import os
import threading
from contextlib import closing

import pytest
from access_bench import Clock, audit_lines, inner
from appliance_bench import Station, TestPart, dice_ca_of, endorsed, password_of
from store_bench import SqlitePlace

from station.appliance.anchors import MOST_NAMES, OLDER, OTHER_HEAD, SHORTER, Anchors, Journal
from station.appliance.device_store import DeviceStore
from station.appliance.store_commands import anchors_command
from station.errors import ConfigError
from station.formats.journal_anchor import JournalAnchor, parse
from station.wire import pa_pb2

ONE = Journal("ft-1", "bench-1")


def anchor(length: int, time_us: int, fork: str = "") -> JournalAnchor:
    return JournalAnchor(length, (f"{fork}{length:x}" * 64)[:64], time_us)


@pytest.fixture(params=["sqlite", "postgresql"])
def anchors(request, tmp_path):
    place = SqlitePlace(tmp_path / "r.db") if request.param == "sqlite" else request.getfixturevalue("postgres")
    with closing(place.open()) as database:
        yield Anchors(database, Clock())


def test_the_last_anchor_and_the_history(anchors):
    assert anchors.last(ONE) is None
    assert anchors.note(ONE, anchor(10, 100), "0x1") == ""
    assert anchors.note(ONE, anchor(12, 110)) == "", "a login: nothing but the last one is kept of it"
    assert anchors.note(ONE, anchor(15, 120), "0x2") == ""
    assert anchors.note(ONE, anchor(15, 120), "0x2") == "", "the same registration again"
    assert anchors.last(ONE) == anchor(15, 120)
    assert [(kept.length, device) for kept, device, _ in anchors.history(ONE)] == [(10, "0x1"), (15, "0x2")]
    assert anchors.last(Journal("ft-1", "bench-2")) is None
    assert anchors.last(Journal("ft-2", "bench-1")) is None
    assert anchors.broken() == 0


def test_registrations_that_come_late_are_no_contradiction(anchors):
    """Two sockets; the first one's request waited in the outbox while the journal went on."""
    assert anchors.note(ONE, anchor(50, 500), "0x2") == ""
    assert anchors.note(ONE, anchor(40, 400), "0x1") == ""
    assert anchors.note(ONE, anchor(45, 500), "0x3") == "", "rows of one microsecond"
    assert anchors.last(ONE) == anchor(50, 500)
    assert anchors.broken() == 0


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (anchor(40, 501, "f"), SHORTER),
        (anchor(0, 501), SHORTER),
        (anchor(50, 500, "f"), OTHER_HEAD),
        (anchor(30, 300, "f"), OTHER_HEAD),
        (anchor(60, 499, "f"), OLDER),
    ],
)
def test_what_contradicts(anchors, told, why):
    anchors.note(ONE, anchor(30, 300), "0x1")
    anchors.note(ONE, anchor(50, 500), "0x2")
    assert anchors.note(ONE, told, "0x3") == why
    assert anchors.note(ONE, told, "0x3") == why
    assert anchors.last(ONE) == anchor(50, 500), "what contradicts never becomes the last anchor"
    (state,) = anchors.states()
    assert (state.broken, state.broken_ms > 0, anchors.broken()) == (why, True, 1)
    assert [broken for _, _, broken in anchors.history(ONE)] == ["", "", why]
    assert anchors.note(ONE, anchor(70, 700), "0x4") == ""
    assert anchors.broken() == 1, "it stays broken until somebody has looked at it"


def test_a_journal_that_begins_anew(anchors):
    anchors.note(ONE, anchor(30, 300), "0x1")
    anchors.note(ONE, anchor(5, 400, "f"))
    assert anchors.accept(ONE) is True
    assert (anchors.last(ONE), anchors.broken()) == (None, 0)
    assert anchors.note(ONE, anchor(30, 500, "f"), "0x2") == "", "another head than before, but another journal, too"
    assert anchors.last(ONE) == anchor(30, 500, "f")
    assert len(anchors.history(ONE)) == 3, "the history of before is kept"
    assert anchors.accept(Journal("ft-1", "nobody")) is False


def test_names_cannot_fill_the_table(anchors):
    for number in range(MOST_NAMES + 5):
        assert anchors.note(Journal("ft-1", f"j{number}"), anchor(1, 1)) == ""
    assert anchors.note(Journal("ft-2", "j"), anchor(1, 1)) == ""
    assert len(anchors.states()) == MOST_NAMES + 1


def test_many_sockets_of_one_station_at_once(anchors):
    """Also at the journal's first anchor, and each time the longest one is the last."""
    for round_ in range(20):
        journal, gate = Journal("ft-1", f"bench-{round_}"), threading.Barrier(6)
        failed = []

        def work(index, journal=journal, gate=gate, failed=failed):
            gate.wait(20)
            try:
                for number in range(3):
                    said = anchors.note(journal, anchor(1 + number * 6 + index, 100), f"0x{index}.{number}")
                    if said or anchors.last(journal).length < 1 + number * 6 + index:
                        failed.append((index, number, said))
            except Exception as error:  # told below
                failed.append(error)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert anchors.last(journal).length == 18
        assert len(anchors.history(journal)) == 18


# ---- over the wire ----------------------------------------------------------------------------------------------


@pytest.fixture
def client(folder):
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        yield client
        client.close()


def log_in(client, **marks: str) -> dict[str, str]:
    """Trailing metadata of a login with these marks."""
    request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=password_of(client.folder))
    metadata = [
        ("user_id", client.user),
        *((f"x-station-{key.replace('_', '-')}", text) for key, text in marks.items()),
    ]
    answer, call = client.stub.InitSession.with_call(request, metadata=metadata, timeout=20)
    client.token = answer.sku_session_token
    return dict(call.trailing_metadata())


def register(client, told: JournalAnchor | bytes, number: int) -> dict[str, str]:
    part = TestPart(dice_ca_of(client.folder), number)
    request = part.registration(endorsed(client, part))
    raw = told if isinstance(told, bytes) else told.pack()
    request.device_data.metadata.ate_id = "bench-1"
    request.device_data.metadata.ate_raw = raw.hex().upper()
    metadata = [("user_id", client.user), ("authorization", client.token)]
    _, call = client.stub.RegisterDevice.with_call(request, metadata=metadata, timeout=20)
    return dict(call.trailing_metadata())


def test_a_client_that_says_nothing_is_told_nothing(client):
    assert "x-station-anchor" not in log_in(client)
    assert "x-station-anchor" not in register(client, b"what an ATE has to say", 1)
    assert "x-station-anchor" not in register(client, bytes(52), 2)
    assert "x-station-anchor" not in log_in(client, journal="bench-1")


def test_a_station_is_told_the_last_anchor_at_its_login(client):
    assert log_in(client, journal="bench-1", journal_head=str(anchor(5, 50)))["x-station-anchor"] == str(anchor(5, 50))
    assert "x-station-anchor" not in register(client, anchor(9, 90), 1)
    assert log_in(client, journal="bench-1")["x-station-anchor"] == str(anchor(9, 90))
    assert "x-station-anchor" not in log_in(client, journal="bench-2")
    for nonsense in ({"journal": "x" * 65}, {"journal": "bench-1", "journal_head": "no anchor"}):
        log_in(client, **nonsense)
    assert parse(log_in(client, journal="bench-1")["x-station-anchor"]) == anchor(9, 90)


def test_a_journal_that_went_back_is_told_and_audited_and_the_device_is_registered(client, folder):
    log_in(client, journal="bench-1", journal_head=str(anchor(20, 200)))
    assert register(client, anchor(12, 300, "f"), 1)["x-station-anchor"] == str(anchor(20, 200))
    assert log_in(client, journal="bench-1", journal_head=str(anchor(13, 310, "f")))["x-station-anchor"] == str(
        anchor(20, 200)
    )
    lines = [line for line in audit_lines(folder) if line["event"] == "journal_broken"]
    assert [(line["journal"], line["why"]) for line in lines] == [("station-1/bench-1", SHORTER)] * 2
    assert (lines[0]["last"], lines[0]["saw"]) == (str(anchor(20, 200)), str(anchor(12, 300, "f")))
    with closing(DeviceStore(folder / "registry.db")) as store:
        assert (store.count(), store.anchors.broken()) == (1, 1)


def test_a_database_that_fails_takes_no_answer_back(folder, monkeypatch):
    from station.appliance.database import DatabaseFailed

    def fails(*_):
        raise DatabaseFailed("away")

    monkeypatch.setattr(Anchors, "note", fails)
    with inner(folder) as appliance:
        client = Station(folder, appliance.target)
        assert "x-station-anchor" not in log_in(client, journal="bench-1", journal_head=str(anchor(5, 50)))
        assert "x-station-anchor" not in register(client, anchor(9, 90), 1)
        client.close()


# ---- the command ------------------------------------------------------------------------------------------------


def test_the_command_tells_and_accepts(folder, capsys):
    assert anchors_command(folder=folder) == 0
    assert capsys.readouterr().out == "no station has told of its journal\n"
    assert not (folder / "registry.db").exists()
    with closing(DeviceStore(folder / "registry.db")) as store:
        store.anchors.note(ONE, anchor(30, 300), "0x1")
        store.anchors.note(ONE, anchor(5, 400, "f"))
    assert anchors_command(folder=folder) == 0
    said = capsys.readouterr().out
    assert "ft-1/bench-1: 30 rows" in said and "BROKEN since 2" in said and SHORTER in said
    with pytest.raises(ConfigError, match="say --reason"):
        anchors_command(folder=folder, accept="ft-1/bench-1")
    with pytest.raises(ConfigError, match="did you mean 'ft-1/bench-1'"):
        anchors_command(folder=folder, accept="ft-1/bench-l", reason="typing error")
    assert anchors_command(folder=folder, accept="ft-1/bench-1", reason="its disk died", as_json=True) == 0
    (told,) = json.loads(capsys.readouterr().out)["journals"]
    assert (told["station"], told["journal"], told["length"], told["broken"]) == ("ft-1", "bench-1", 0, "")
    (line,) = audit_lines(folder)
    assert (line["event"], line["journal"], line["reason"]) == ("journal_accepted", "ft-1/bench-1", "its disk died")
    assert line["last"] == str(anchor(30, 300))


def test_an_audit_file_that_the_command_makes_is_the_services_own(folder):
    """Whoever calls it, with whatever umask: the service must be able to go on with the file."""
    owner = (12345, 12346) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(folder, *owner)
    with closing(DeviceStore(folder / "registry.db")) as store:
        store.anchors.note(ONE, anchor(30, 300), "0x1")
    before = os.umask(0o022)
    try:
        anchors_command(folder=folder, accept="ft-1/bench-1", reason="its disk died")
    finally:
        os.umask(before)
    made = (folder / "audit.jsonl").stat()
    assert (made.st_mode & 0o777, made.st_uid, made.st_gid) == (0o600, *owner)
