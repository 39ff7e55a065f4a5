"""What the registry says to one batch: acknowledgements, errors, and everything that is no answer."""

from __future__ import annotations

import json

import pytest
from forward_bench import fill, settings_for, waiting
from registry_bench import device

from station.appliance.registry_http import HttpRegistry, PostFailed
from station.appliance.registry_json import AnswerUnreadable, batch_body, read_answers

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
