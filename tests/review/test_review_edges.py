"""Values that cannot be stored or shown, adapters that are named twice, sockets that must be left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from fake_station import ROOT, SOCKET, World, make_station
from spine_help import carry_out, context, open_journal, rows_of

from station import journal_reader
from station.config import load_config
from station.errors import ConfigError, Refused
from station.event_writer import EventWriter
from station.labels import understand
from station.parts.earlgrey.personalization import Exported
from station.protocol import Log, ProtocolError, ScanTaken, decode_command

HALF = "\ud800"  # half of a character: legal in JSON, impossible in UTF-8


def test_a_row_that_cannot_be_encoded_is_refused_and_the_journal_goes_on(journal):
    with pytest.raises(ValueError, match="surrogates"):
        journal.append(context(HALF), "note")
    with pytest.raises(ValueError, match="surrogates"):
        journal.write(context(), "note", "", {"text": HALF})
    assert carry_out(journal, lambda run: None)[0].kind == "pass"
    assert journal_reader.verify(journal.folder)[1] == ""
    assert rows_of(journal, "verdict")


def test_an_event_that_cannot_be_encoded_does_not_silence_the_engine():
    reading, writing = os.pipe()
    writer = EventWriter(writing, lambda: None)
    writer.emit(ScanTaken(HALF, "refused", 1, "no"))
    writer.emit(Log(0.0, 1, "station", "info", "after it"))
    writer.close(5)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        lines = [json.loads(line) for line in stream]
    assert "ScanTaken could not be shown" in lines[0]["text"]
    assert lines[1]["text"] == "after it"


@pytest.mark.parametrize("line", [b"[" * 200_000, b"7", b'{"type": []}', b'{"type": "Scan", "text": {"a": []}}'])
def test_a_line_of_any_shape_is_at_most_a_protocol_error(line):
    try:
        decode_command(line)
    except ProtocolError:
        pass


def test_half_characters_are_no_scan():
    with pytest.raises(Refused, match="one printable scan"):
        understand(f"D1{HALF}")


def test_two_sockets_on_one_adapter_are_a_finding(folder):
    path = folder / "station.toml"
    twice = SOCKET.format(folder=folder) + 'serial = "FT1"\n'
    path.write_text(path.read_text() + twice * 2)
    with pytest.raises(ConfigError, match="socket 4 names the adapter FT1, which socket 3 has already") as found:
        load_config(path)
    assert found.value.findings[0].line > 0


def check_sockets(folder):
    return subprocess.run(
        [sys.executable, str(ROOT / "tests/spine/fake_station.py"), "sockets", "check", "--json", "--station",
         str(folder / "station.toml")], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_sockets_check_leaves_a_socket_alone_in_which_a_burn_may_go_on(folder):
    World(folder).insert(1)
    journal = open_journal(folder / "data")
    start = journal.start(context("D1"), {})
    journal.intend(start.context, "first", {"settle": 3.0})
    journal.close()
    done = check_sockets(folder)
    first, second = json.loads(done.stdout)
    assert done.returncode == 3
    assert first["ok"] is False and "not touched" in first["says"]
    assert second["ok"] is True


def test_sockets_check_does_not_touch_the_sockets_of_a_live_engine(folder):
    journal = open_journal(folder / "data")
    try:
        done = check_sockets(folder)
        assert done.returncode == 2 and "another station" in done.stderr
    finally:
        journal.close()


def test_sockets_check_makes_no_journal(tmp_path):
    make_station(tmp_path)
    assert check_sockets(tmp_path).returncode == 0
    assert not (tmp_path / "data").exists()


def test_a_blob_of_another_part_is_seen():
    mine, other = bytes(range(32)), bytes(32)
    for named, answer in ((b"", True), (mine, True), (mine[::-1], True), (other, False)):
        assert Exported(None, (), b"", b"", named).is_of(mine) is answer
