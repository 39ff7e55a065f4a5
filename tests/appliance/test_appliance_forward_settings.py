"""Settings of the forwarding, and what pending command, doctor and metrics say of it."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from registry_bench import device, http_registry
from store_bench import configure

from station.appliance import forwarding
from station.appliance.database import DatabaseFailed
from station.appliance.device_store import DeviceStore, FailedCalls
from station.appliance.doctor import examine
from station.appliance.file_guard import exposed
from station.appliance.metrics_gauges import store_gauges
from station.appliance.registry_http import HttpRegistry
from station.appliance.settings import read_settings
from station.appliance.store_commands import pending_command
from station.errors import ConfigError


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"forward_url": "http://registry.example/x"}, "expected https for a registry on registry.example"),
        ({"forward_url": "ftp://registry.example/x"}, "expected https://HOST/PATH"),
        ({"forward_url": "https://user:pw@registry.example/x"}, "without a user"),
        ({"forward_url": "https:///x"}, "expected https://HOST/PATH"),
        ({"forward_url": "https://registry.example:70000/x"}, "expected https://HOST/PATH"),
        ({"forward_url": "https://registry.example/x", "registry": ""}, "only stored records are forwarded"),
        ({"forward_url": "http://localhost/x", "forward_ca": "ca.pem"}, "http needs no CA"),
        (
            {"forward_url": "http://registry.example/x", "forward_plain": True, "realm": "production"},
            "is for realm dev",
        ),
        ({"forward_batch": 0}, "from 1 to 1000"),
        ({"forward_seconds": True}, "from 1 to 600"),
        ({"forward_plain": 1}, "expected true or false"),
        ({"forward_ur": "x"}, "did you mean 'forward_url'?"),
    ],
)
def test_findings_of_the_settings(folder, lines, words):
    configure(folder, **lines)
    with pytest.raises(ConfigError) as failed:
        read_settings(folder)
    (finding,) = failed.value.findings
    assert words in finding.sentence and finding.line > 0
    assert ":pw" not in str(failed.value)


def test_what_may_be_plain(folder):
    for lines in ({"forward_url": "http://localhost:1/x"}, {"forward_url": "http://[::1]/x"},
                  {"forward_url": "http://registry.example/x", "forward_plain": True}):  # fmt: skip
        configure(folder, **lines)
        assert read_settings(folder).registry.forward.url == lines["forward_url"]
    configure(folder, forward_url="https://r.example/x", forward_headers="h", forward_ca="ca.pem", forward_batch=5)
    forward = read_settings(folder).registry.forward
    assert (forward.headers, forward.ca, forward.batch) == (folder / "h", folder / "ca.pem", 5)


def test_the_pending_ones_are_told(folder, capsys):
    assert pending_command(folder=folder) == 0
    assert "0 records wait here, and no forward_url says where" in capsys.readouterr().out
    assert not (folder / "registry.db").exists()
    configure(folder, forward_url="https://r.example/x")
    with closing(DeviceStore(folder / "registry.db")) as store:
        for number in (1, 2, 3):
            store.register(device(number))
        store.forwarded([1], 5)
        store.not_forwarded([forwarding.Failed(3, "no such device", 1_800_000_000_000)])
    assert pending_command(folder=folder) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [
        "2 records wait for https://r.example/x",
        "1 record was sent and not taken so far",
        "  0x0002 sival since 2023-11-14T22:13:20+00:00",
    ]
    assert said[3].endswith("tried 1 time, last: no such device; next try 2027-01-15T08:00:00+00:00")
    assert pending_command(folder=folder, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["forwarding"], told["waiting"], told["failed"], told["oldest_ms"]) == (True, 2, 1, 1_700_000_000_000)
    assert told["failed_calls"] is None
    assert told["records"][1] == {
        "device_id": "0x0003", "sku": "sival", "attempts": 1, "failure": "no such device",
        "next_try": "2027-01-15T08:00:00+00:00", "received": "2023-11-14T22:13:20+00:00",
    }  # fmt: skip


def test_failed_calls_are_told_until_one_is_answered(folder, capsys, monkeypatch):
    """They are held against no record, so nothing else would say why all of them wait."""
    monkeypatch.setattr(forwarding, "now_ms", lambda: 1_800_000_000_000)
    with http_registry() as registry, closing(DeviceStore(folder / "registry.db")) as store:
        configure(folder, forward_url=registry.url)
        for number in (1, 2, 3):
            store.register(device(number))
        registry.answer = registry.says(b"", 503)
        forwarder = forwarding.Forwarder(store, HttpRegistry(read_settings(folder).registry.forward), 10, lambda: 1.0)
        assert (forwarder.forward(), forwarder.forward()) == (False, False)
        assert pending_command(folder=folder) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0] == f"3 records wait for {registry.url}"
        assert said[1].startswith("2 calls in a row failed, last: ") and "503" in said[1]
        assert said[1].endswith("; next try 2027-01-15T08:00:02+00:00")
        assert len(said) == 5, "no record was refused"
        assert pending_command(folder=folder, as_json=True) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["failed"], told["failed_calls"]["failures"]) == (0, 2)
        assert told["failed_calls"]["next_try"] == "2027-01-15T08:00:02+00:00"
        registry.answer = registry.good
        again = forwarding.Forwarder(store, HttpRegistry(read_settings(folder).registry.forward), 10)
        assert again.forward()
        assert store.failed_calls() is None, "also what an earlier process has noted"
        forwarder.close()
        again.close()


def test_a_table_of_failed_calls_that_is_refused_holds_nothing_up(folder, capsys, monkeypatch):
    """A database role of before that table has no rights on it."""

    def refuse(*_):
        raise DatabaseFailed("the database failed (42501)")

    for name in ("failed_calls", "note_failed_calls"):
        monkeypatch.setattr(DeviceStore, name, refuse)
    with http_registry() as registry, closing(DeviceStore(folder / "registry.db")) as store:
        configure(folder, forward_url=registry.url)
        for number in (1, 2, 3):
            store.register(device(number))
        forwarder = forwarding.Forwarder(store, HttpRegistry(read_settings(folder).registry.forward), 1)
        assert [forwarder.forward() for _ in range(2)] == [True, True]
        assert forwarder._failures == 0
        assert pending_command(folder=folder) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[:2] == [
            f"1 record waits for {registry.url}",
            "how the last calls went is not known: the database failed (42501)",
        ]
        assert pending_command(folder=folder, as_json=True) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["failed_calls"], told["failed_calls_unknown"]) == (None, "the database failed (42501)")
        assert len(told["records"]) == 1
        forwarder.close()


def test_an_answered_call_takes_back_the_note_of_another_process(folder):
    with http_registry() as registry, closing(DeviceStore(folder / "registry.db")) as store:
        configure(folder, forward_url=registry.url)
        forwarder = forwarding.Forwarder(store, HttpRegistry(read_settings(folder).registry.forward), 1)
        for number in (1, 2):  # the second time it has answers of its own behind it
            store.register(device(number))
            store.note_failed_calls(FailedCalls(7, "away", 1_800_000_000_000))
            assert forwarder.forward()
            assert store.failed_calls() is None
        forwarder.close()


def test_the_doctor_looks_at_headers_and_ca(folder):
    configure(folder, forward_url="https://r.example/x", forward_headers="r.headers", forward_ca="tls/ca-cert.pem")
    (folder / "r.headers").write_text("Authorization: x\n")
    (folder / "r.headers").chmod(0o600)

    def said() -> str:
        (check,) = [check for check in examine(folder) if check.check == "forwarding"]
        return check.sentence

    assert said() == ""
    (folder / "r.headers").write_text("Authorization x\n")
    assert "r.headers:1: expected 'Name: value'" in said()
    (folder / "r.headers").write_text("")
    configure(folder, forward_ca="absent.pem")
    assert "the CA file" in said()
    (folder / "r.headers").unlink()
    assert any("r.headers" in sentence for sentence in exposed(read_settings(folder)))


def test_figures_of_what_waits(store):
    def figures(forwarding: bool) -> dict[str, float]:
        return {gauge.name: gauge.read() for gauge in store_gauges(store, forwarding)}

    assert figures(False) == {"devices_contradicting": 0, "journals_broken": 0}
    assert figures(True)["records_oldest_seconds"] == 0
    for number in (1, 2):
        store.register(device(number))
    store.register(device(1, "bb"))
    store.not_forwarded([forwarding.Failed(2, "no", 5)])
    found = figures(True)
    assert found["records_oldest_seconds"] > 1_000_000
    assert (found["devices_contradicting"], found["records_waiting"], found["records_refused"]) == (1, 3, 1)
