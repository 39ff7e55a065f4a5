"""An appliance that answers INTERNAL to a second registration cannot be asked: a supervisor looks and says so."""

from __future__ import annotations

import io
import json
import sys
import threading

import pytest
from fake_station import PIN, FakeAppliance
from spine_bench import Bench

from station.cli import command_line
from station.errors import ApplianceError
from station.journal_reader import read_part
from station.protocol import ApplianceState, ConfirmRegistration, Log, decode_command, encode


@pytest.fixture
def bench(folder, monkeypatch):
    """The upstream appliance lost its first answer, and refuses the device as a duplicate ever since."""

    def refuse(self, registration):
        raise ApplianceError("RegisterDevice failed: RegisterDevice returned error", "INTERNAL")

    monkeypatch.setattr(FakeAppliance, "register", refuse)
    made = Bench(folder)
    yield made
    made.close()


def leave_pending(bench):
    bench.ready()
    state = bench.go()
    assert (state.state, state.verdict.bin_id) == ("hold", "registration_pending"), state.verdict
    return state


def test_only_a_supervisor_confirms_a_registration_and_with_a_reason(bench):
    bench.ready()
    assert "knows no part" in confirm_as(bench, "sup", "D1", "seen in the registry")
    leave_pending(bench)
    assert "needs the role supervisor" in confirm_as(bench, "op", "D1", "seen in the registry")
    assert "needs the role supervisor" in confirm_as(bench, "eng", "D1", "seen in the registry")
    assert "needs a reason" in confirm_as(bench, "sup", "D1", "  ")
    assert bench.bench.journal.known("die", "D1").registered is False


def confirm_as(bench, name, part, reason):
    bench.sign_in(name)
    return bench.refused(ConfirmRegistration(part, reason))


def test_a_confirmed_registration_is_journaled_promotes_the_part_and_is_not_sent_again(bench):
    leave_pending(bench)
    bench.sign_in("sup")
    journal, anchored = bench.bench.journal, bench.bench.journal._anchored
    assert bench.bench.handle(ConfirmRegistration("D1", "seen in the registry by Ann")), bench.said()
    (row,) = journal.rows("WHERE kind = 'registered'")
    assert row.detail["by_hand"] is True and row.detail["reason"] == "seen in the registry by Ann"
    assert row.context.operator == "sup" and journal._anchored == anchored, "no appliance acknowledged the anchor"
    record = journal.known("die", "D1")
    assert record.registered and record.passed(row.context.flow) is not None
    assert "as sup found in the registry: seen in the registry by Ann" in record.passed(row.context.flow).reason
    assert bench.wait("pass").verdict.kind == "pass" and journal.pending_registrations() == []
    assert bench.bench.outbox.deliver_all() is False
    assert "no registration of part D1 waits" in bench.refused(ConfirmRegistration("D1", "once more"))


def test_what_a_hand_found_says_nothing_good_of_the_appliance(bench, monkeypatch):
    leave_pending(bench)
    bench.sign_in("sup")
    bench.bench.appliances.close()  # nobody checks the connection any more
    monkeypatch.setattr(bench.bench.appliances, "state", ApplianceState(False, "fake", "away", 0.0, 1))
    mine, events = threading.current_thread(), []  # outbox and appliance check say what they see meanwhile
    bench.bench.subscribe(lambda event: events.append(event) if threading.current_thread() is mine else None)
    assert bench.bench.handle(ConfirmRegistration("D1", "seen in the registry"))
    shown = [event for event in events if isinstance(event, ApplianceState)]
    assert [(event.ok, event.pending_registrations) for event in shown] == [(False, 0)]
    said = [event.text for event in events if isinstance(event, Log)]
    assert said == ["registration of D1 found in the registry by sup"]


def test_a_part_in_quarantine_is_not_passed_by_it(bench):
    leave_pending(bench)
    row = bench.bench.journal.pending_registrations()[0]
    bench.bench.journal.write(row.context, "quarantine", "", {"reason": "found it cracked"})
    bench.sign_in("sup")
    assert bench.bench.handle(ConfirmRegistration("D1", "seen in the registry"))
    assert bench.bench.journal.known("die", "D1").passed(row.context.flow) is None


def test_the_log_says_that_the_part_may_be_registered_already(bench):
    leave_pending(bench)
    assert bench.bench.outbox.deliver_all() is True
    assert any("may be registered already" in event.text for event in bench.events if isinstance(event, Log))


def test_the_command_travels():
    command = ConfirmRegistration("D1", "seen in the registry")
    assert decode_command(encode(command)) == command
    assert json.loads(encode(command))["type"] == "ConfirmRegistration"


def test_the_command_line_confirms_it(bench, monkeypatch, capsys):
    leave_pending(bench)
    bench.close()
    monkeypatch.setattr("station.secret.harden_process", lambda: None)
    monkeypatch.setattr("station.processes.clean_environment", lambda realm: None)
    monkeypatch.setenv("STATION_FILE", str(bench.world.folder / "station.toml"))

    def call(operator, code):
        arguments = ["part", "registered", "D1", "--reason", "seen in the registry", "--pin-stdin", "--operator"]
        monkeypatch.setattr(sys, "argv", ["station", *arguments, operator])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PIN)))
        assert command_line() == code
        said = capsys.readouterr()
        return said.out + said.err

    assert "needs the role supervisor" in call("eng", 2)
    assert "D1 counts as registered" in call("sup", 0)
    assert read_part(bench.world.folder / "data", "D1").registered
