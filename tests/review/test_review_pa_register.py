"""``station pa register --part``: an engineer sends a registration that waits in the journal, now and by name."""

from __future__ import annotations

import io
import json
import sys

import pytest
from fake_station import PIN, FakeAppliance
from spine_bench import Bench

from station.cli import command_line
from station.errors import ApplianceError
from station.journal_reader import read_part


@pytest.fixture
def away(monkeypatch):
    """The appliance refuses registrations until the test lets it."""
    sent, register = [], FakeAppliance.register

    def refuse(self, registration):
        sent.append(registration)
        raise ApplianceError("RegisterDevice failed: it cannot be reached", "UNAVAILABLE")

    monkeypatch.setattr(FakeAppliance, "register", refuse)
    return sent, lambda: monkeypatch.setattr(FakeAppliance, "register", register)


@pytest.fixture
def pending(folder, away):
    """A part on hold for its registration alone; nobody works at the station any more."""
    bench = Bench(folder)
    bench.ready()
    state = bench.go()
    assert (state.state, state.verdict.bin_id) == ("hold", "registration_pending"), state.verdict
    bench.close()
    return bench.world.folder


@pytest.fixture
def call(pending, monkeypatch, capsys):
    monkeypatch.setattr("station.secret.harden_process", lambda: None)
    monkeypatch.setattr("station.processes.clean_environment", lambda realm: None)
    monkeypatch.setenv("STATION_FILE", str(pending / "station.toml"))

    def run(part: str, operator: str, *more: str) -> tuple[int, str]:
        arguments = ["pa", "register", "--part", part, "--pin-stdin", "--operator", operator, *more]
        monkeypatch.setattr(sys, "argv", ["station", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PIN)))
        code = command_line()
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_an_engineer_sends_it_and_the_part_passes(call, away, pending):
    away[1]()
    code, said = call("D1", "eng", "--json")
    body = json.loads(said)
    record = read_part(pending / "data", "D1")
    assert code == 0, said
    assert (body["event"], body["from"], body["device_id"]) == ("pa_registered", "journal", record.device_id)
    assert record.registered
    assert [facts.kind for facts in record.verdicts.values()] == ["pass"]
    code, said = call("D1", "eng")
    assert (code, "no registration of part D1 waits" in said) == (2, True)


def test_what_keeps_the_appliance_from_taking_it_is_said_and_nothing_is_recorded(call, away, pending):
    before = len(away[0])
    code, said = call("D1", "eng")
    assert (code, "it cannot be reached" in said) == (4, True)
    assert len(away[0]) > before
    assert not read_part(pending / "data", "D1").registered


def test_who_may_and_which_part(call, away, pending):
    away[1]()
    code, said = call("D1", "op")
    assert (code, "needs the role engineer" in said) == (2, True)
    code, said = call("D9", "eng")
    assert (code, "no registration of part D9 waits" in said) == (2, True)
    assert not read_part(pending / "data", "D1").registered
