"""The audit log: one line per call, no secret, whole lines, and a disk that it does not fill."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest
from access_bench import BOOT, Holder, audit_lines, inner, issue
from appliance_bench import (
    ROOT,
    Station,
    TestPart,
    copy_folder,
    dice_ca_of,
    endorsed,
    password_of,
    was_of,
)

from station.appliance import audit
from station.appliance.audit_repeats import EACH
from station.appliance.client_certificate import UNKNOWN
from station.errors import ConfigError
from station.wire import pa_pb2


def test_one_line_per_call_and_no_secret(folder):
    with inner(folder) as appliance:
        client = Station(folder, appliance.target, "auditor")
        client.log_in()
        part = TestPart(dice_ca_of(folder), 0x1234)
        was = was_of(client)
        uds = endorsed(client, part)
        client.call("RegisterDevice", part.registration(uds))
        client.refused("RegisterDevice", pa_pb2.RegistrationRequest())
        client.refused("InitSession", pa_pb2.InitSessionRequest(sku="sival", sku_auth="not-the-password"))
        client.refused("GetOwnerFwBootMessage", BOOT, token="B" * 16)
        client.call("CloseSession", pa_pb2.CloseSessionRequest())
        client.close()
    lines = audit_lines(folder)
    assert [(line["method"], line["result"]) for line in lines] == [
        ("InitSession", "OK"), ("DeriveTokens", "OK"), ("DeriveTokens", "OK"), ("EndorseCerts", "OK"),
        ("RegisterDevice", "OK"), ("RegisterDevice", "INVALID_ARGUMENT"), ("InitSession", "UNAUTHENTICATED"),
        ("GetOwnerFwBootMessage", "NOT_FOUND"), ("CloseSession", "OK"),
    ]  # fmt: skip
    assert {(line["station"], line["user"]) for line in lines} == {("station-1", "auditor")}
    assert [line["sku"] for line in lines] == ["sival"] * 5 + [""] + ["sival"] * 2 + [""]
    assert lines[4]["device"] == "0x" + "00" * 16 + "00000000" + f"{0x1234:016x}" + "0003" + "4001"
    assert lines[3]["tbs"] == [hashlib.sha256(part.uds_tbs).hexdigest()]
    assert all(line["ms"] >= 0 and set(line) <= ALLOWED for line in lines)
    text = (folder / "audit.jsonl").read_text()
    for secret in (password_of(folder), client.token, "B" * 16, "not-the-password", was.hex()):
        assert secret not in text
        assert secret[:12] not in text


ALLOWED = {
    "time", "event", "station", "certificate", "user", "peer", "method", "sku", "device", "tbs", "result", "ms",
    "reason",
}  # fmt: skip


def test_a_client_that_is_refused_for_ever_does_not_fill_the_disk(tmp_path, made):
    """Of no station and beyond its rate: what it does is told, not each time; its good calls and others' always."""
    folder = copy_folder(made, tmp_path / "appliance")
    station = '[[station]]\nname = "ft-1"\ncertificate = "station-1"\nskus = ["sival"]\nroles = ["FT"]\n'
    (folder / "stations.toml").write_text(station)
    settings = folder / "appliance.toml"
    settings.write_text(settings.read_text() + "calls_per_second = 10\n")
    with inner(folder) as appliance:
        stranger = Holder(folder, appliance.target, issue(folder, "of-no-station"))
        codes = [stranger.refused("GetOwnerFwBootMessage", BOOT)[0] for _ in range(600)]
        station = Station(folder, appliance.target, "beside it")
        station.log_in()
        for client in (stranger, station):
            client.close()
    lines = audit_lines(folder)
    assert [line["method"] for line in lines if line["station"] == "ft-1"] == ["InitSession"]
    told = [line for line in lines if line["result"] == "RESOURCE_EXHAUSTED"]
    number = codes.count("RESOURCE_EXHAUSTED")
    assert number >= 2 * EACH
    assert EACH < len(told) <= EACH + 3
    assert number / 2 < len(told) + sum(line.get("repeats", 0) for line in told) <= number
    assert set(codes) == {"PERMISSION_DENIED", "RESOURCE_EXHAUSTED"}


def test_texts_of_the_client_stay_on_their_line(tmp_path):
    file = audit.AuditFile(tmp_path / "audit.jsonl")
    request = pa_pb2.InitSessionRequest(sku='a"\n{"event": "call"}\u2028' + "x" * 5000, sku_auth="secret-word")
    audit.write(UNKNOWN, "u\r\n\x1b[2J", "ipv4:1", "InitSession", request, "OK", 1.0)
    file.close()
    text = (tmp_path / "audit.jsonl").read_text()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "secret-word" not in text
    assert len(json.loads(text)["sku"]) == audit.LONGEST


def test_the_file_may_be_moved_away(tmp_path):
    path = tmp_path / "audit.jsonl"
    file = audit.AuditFile(path)
    audit.write(UNKNOWN, "", "", "one", None, "OK", 1.0)
    path.rename(tmp_path / "old")
    audit.write(UNKNOWN, "", "", "two", None, "OK", 1.0)
    file.close()
    audit.write(UNKNOWN, "", "", "three", None, "OK", 1.0)
    assert [json.loads(p.read_text())["method"] for p in (tmp_path / "old", path)] == ["one", "two"]


def test_a_file_that_cannot_be_written_changes_no_answer(tmp_path, caplog):
    (tmp_path / "audit").mkdir()
    file = audit.AuditFile(tmp_path / "audit/audit.jsonl")
    audit.write(UNKNOWN, "", "", "one", None, "OK", 1.0)
    (tmp_path / "audit").rename(tmp_path / "away")
    audit.write(UNKNOWN, "", "", "two", None, "OK", 1.0)
    (tmp_path / "away").rename(tmp_path / "audit")
    audit.write(UNKNOWN, "", "", "three", None, "OK", 1.0)
    assert file.missed() == 1
    file.close()
    lines = (tmp_path / "audit/audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["method"] for line in lines] == ["one", "three"]
    assert "an audit line is in this log only" in caplog.text
    with pytest.raises(ConfigError, match="expected to write the audit log"):
        audit.AuditFile(tmp_path / "absent/audit.jsonl")


def test_lines_of_two_processes_are_never_torn(tmp_path):
    path = tmp_path / "audit.jsonl"
    program = (
        "import sys; from pathlib import Path; from station.appliance import audit;"
        "from station.appliance.client_certificate import UNKNOWN;"
        "file = audit.AuditFile(Path(sys.argv[1]));"
        "[audit.write(UNKNOWN, sys.argv[2] * 80, '', f'{n}', None, 'OK', 1.0) for n in range(300)]; file.close()"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(path), letter], cwd=ROOT) for letter in "ab"]
    assert [process.wait(30) for process in processes] == [0, 0]
    lines = audit_lines(tmp_path)
    for letter in "ab":
        assert [line["method"] for line in lines if line["user"] == letter * 80] == [str(n) for n in range(300)]


def test_a_line_that_the_disk_has_no_room_for_is_not_joined_to_the_next(tmp_path, monkeypatch, caplog):
    file = audit.AuditFile(tmp_path / "audit.jsonl")
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
    audit.write(UNKNOWN, "", "", "one", None, "OK", 1.0)
    monkeypatch.setattr(os, "write", write)
    audit.write(UNKNOWN, "", "", "two", None, "OK", 1.0)
    assert file.missed() == 1
    file.close()
    torn, whole = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert len(torn) == 20
    assert json.loads(whole)["method"] == "two"
    assert "No space left" in caplog.text
