"""The journal: durability, chain, versions, locks, full disks, time, bindings."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from spine_help import CHIP_ID, PLAN, carry_out, context, new_run, open_journal, rows_of

from station import journal_reader
from station.data_folder import DataFolder
from station.errors import ConfigError, JournalError
from station.journal import SOFT_ROWS, Journal
from station.journal_file import DiskFull, JournalFile
from station.journal_reader import ReadJournal
from station.journal_rows import CONTEXT_FIELDS, FIELDS, Context, canonical, encoded_row
from station.model import DONE, NOT_DONE
from station.secret import Secret

ROOT = Path(__file__).resolve().parents[2]


def simple_flow(run):
    answers = iter([NOT_DONE, DONE, NOT_DONE, DONE])
    with run.step(PLAN.look):
        run.measure("volts", 1.8, "V", low=1.6, high=2.0)
    run.burn(PLAN.first, done=lambda: next(answers), do=lambda: None)
    run.burn(PLAN.second, done=lambda: next(answers), do=lambda: None)
    with run.step(PLAN.name):
        run.identify(CHIP_ID)


def test_all_fields_of_the_record_are_there_from_the_first_day():
    wanted = {"station", "socket", "touchdown", "attempt", "lot", "sublot", "wafer", "x", "y", "tray", "label",
              "device_id", "recipe", "pack", "build", "fixture", "operator", "mode"}  # fmt: skip
    assert wanted <= set(CONTEXT_FIELDS)
    assert {"seq", "time_us", "monotonic_us", "boot", "kind", "title", "detail", "previous", "hash"} <= set(FIELDS)


def test_sync_count_two_per_burn_one_at_scan_one_at_verdict(journal):
    statements: list[str] = []
    journal._store.trace(statements.append)
    before = journal.syncs
    carry_out(journal, simple_flow)
    assert journal.syncs - before == 1 + 2 * 2 + 1
    # a soft commit (the start of the run) is one for which synchronous was lowered before and raised after
    soft = sum(text == "PRAGMA synchronous = NORMAL" for text in statements)
    assert statements.count("COMMIT") - soft == journal.syncs - before
    assert statements.count("PRAGMA synchronous = FULL") == soft
    assert journal._store.synchronous() == 2


def test_plain_steps_cost_no_sync(journal):
    run = new_run(journal)
    before = journal.syncs
    for _ in range(3 * SOFT_ROWS):
        with run.step(PLAN.look):
            pass
    assert journal.syncs == before
    assert len(rows_of(journal, "step")) == 3 * SOFT_ROWS


def test_durable_writes_have_left_the_process_when_they_return(tmp_path):
    """The kernel's own count of write calls: none for a buffered row, some for a durable one."""
    program = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
from spine_help import open_journal, context
journal = open_journal(Path({str(tmp_path / "data")!r}))
def written():
    return int(next(line for line in open("/proc/self/io") if line.startswith("syscw")).split()[1])
journal.append(context(), "note")
start = written(); journal.append(context(), "note"); assert written() == start, "a buffered row was written"
journal.write(context(), "note"); assert written() > start
print(journal.syncs, journal._store.synchronous())
journal.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "2"]


def test_rows_are_append_only(journal):
    journal.write(context(), "note")
    other = sqlite3.connect(journal.folder / "journal.sqlite")
    try:
        for statement in ("UPDATE journal SET kind = 'x'", "DELETE FROM journal"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                other.execute(statement)
    finally:
        other.close()


def tamper(path, statement):
    other = sqlite3.connect(path)
    other.executescript(f"DROP TRIGGER journal_no_update; DROP TRIGGER journal_no_delete; {statement}")
    other.close()


@pytest.mark.parametrize(
    "statement, words",
    [
        ("UPDATE journal SET label = 'L9' WHERE seq = 5", "row 5 of the journal was changed"),
        ("UPDATE journal SET detail = '{}' WHERE seq = 3", "row 3 of the journal was changed"),
        ("UPDATE journal SET time_us = time_us + 1 WHERE seq = 7", "row 7 of the journal was changed"),
        ("DELETE FROM journal WHERE seq = 4", "expected row 4 of the journal, found row 5"),
        ("UPDATE journal SET previous = hash WHERE seq = 6", "row 6 of the journal does not follow row 5"),
        (f"UPDATE journal SET hash = '{'0' * 64}' WHERE seq = 2", "row 2 of the journal was changed"),
    ],
)
def test_damage_is_found_at_the_right_row(tmp_path, statement, words):
    journal = open_journal(tmp_path)
    carry_out(journal, simple_flow)
    journal.close()
    rows, damage = journal_reader.verify(tmp_path)
    assert rows > 7 and not damage
    tamper(tmp_path / "journal.sqlite", statement)
    assert words in journal_reader.verify(tmp_path)[1]
    with pytest.raises(JournalError, match=r"restore .* from a copy"):
        open_journal(tmp_path)


def test_a_shortened_journal_does_not_extend_its_anchor(tmp_path):
    journal = open_journal(tmp_path)
    carry_out(journal, simple_flow)
    journal.anchored(str(journal.anchor()))
    journal.close()
    open_journal(tmp_path).close()
    tamper(tmp_path / "journal.sqlite", "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)")
    assert not journal_reader.verify(tmp_path)[1]  # the chain alone cannot see it
    with pytest.raises(JournalError, match="does not extend its last anchor"):
        open_journal(tmp_path)


def test_what_a_journal_holds(tmp_path):
    journal = open_journal(tmp_path)
    empty = journal.anchor()
    assert (empty.length, empty.head) == (0, "00" * 32) and empty.time_us > 0
    carry_out(journal, simple_flow)
    first = journal.anchor()
    carry_out(journal, simple_flow)
    last = journal.anchor()
    assert last.length > first.length > 0 and last.time_us >= first.time_us
    assert all(journal.holds(anchor) for anchor in (empty, first, last))
    reader = ReadJournal(tmp_path, "TEST-1")
    assert reader.anchor() is None and reader.holds(first) and reader.holds(last)
    for wrong in (replace(first, head=last.head), replace(last, length=last.length + 1)):
        assert not journal.holds(wrong) and not reader.holds(wrong)
    journal.close()
    assert ReadJournal(tmp_path / "absent", "TEST-1").holds(empty)
    assert not ReadJournal(tmp_path / "absent", "TEST-1").holds(first)


def test_an_anchor_kept_by_an_older_station_has_no_time(tmp_path):
    journal = open_journal(tmp_path)
    carry_out(journal, simple_flow)
    anchor = journal.anchor()
    journal.anchored(f"{anchor.length}:{anchor.head}")
    journal.close()
    open_journal(tmp_path).close()


def test_newer_major_version_is_refused_in_one_sentence(tmp_path):
    open_journal(tmp_path).close()
    other = sqlite3.connect(tmp_path / "journal.sqlite")
    other.execute("PRAGMA user_version = 2000")
    other.close()
    with pytest.raises(JournalError, match=r"has format 2\.0, this station knows 1\.x; use the newer station"):
        open_journal(tmp_path)


def test_another_database_is_refused(tmp_path):
    other = sqlite3.connect(tmp_path / "journal.sqlite")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(JournalError, match="another kind of database"):
        open_journal(tmp_path)


def test_garbage_is_refused(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(JournalError, match="expected a usable journal"):
        open_journal(tmp_path)


def test_two_stations_on_one_folder(tmp_path):
    journal = open_journal(tmp_path)
    with pytest.raises(ConfigError, match=rf"another station \(process {os.getpid()}\) works on the data folder"):
        DataFolder(tmp_path).lock()
    journal.close()
    open_journal(tmp_path).close()


def test_a_finishing_engine_says_so(tmp_path):
    folder = DataFolder(tmp_path)
    folder.lock()
    folder.say("finishing socket 2")
    with pytest.raises(ConfigError, match="is finishing socket 2; wait"):
        DataFolder(tmp_path).lock()
    folder.release()


def make_full(journal, monkeypatch, frees=True):
    """The file layer refuses every commit while the ballast lies there (and for ever unless ``frees``)."""
    real = JournalFile.commit
    ballast = journal.folder / "ballast"

    def commit(self, rows, durable):
        if ballast.exists() or not frees:
            raise DiskFull("the journal cannot be written: database or disk is full; make room on the disk")
        real(self, rows, durable)

    monkeypatch.setattr(JournalFile, "commit", commit)


def test_disk_full_at_an_intent_burns_nothing_and_latches(journal, monkeypatch):
    run = new_run(journal)
    make_full(journal, monkeypatch)
    did: list[int] = []
    with pytest.raises(JournalError, match="disk is full"):
        run.burn(PLAN.first, done=lambda: NOT_DONE, do=lambda: did.append(1))
    assert not did and journal.latched
    assert (journal.folder / "ballast").exists(), "the ballast is for outcomes"
    with pytest.raises(JournalError):
        journal.scan(context("L2"), {})


def test_disk_full_at_an_outcome_frees_the_ballast_writes_it_and_latches(tmp_path, monkeypatch):
    journal = open_journal(tmp_path)
    run = new_run(journal)

    def fill():
        did.append(1)
        make_full(journal, monkeypatch)

    did: list[int] = []
    with pytest.raises(JournalError, match="disk is full"):
        run.burn(PLAN.first, done=lambda: DONE if did else NOT_DONE, do=fill)
        run.finish(None)
    assert journal.latched and not (tmp_path / "ballast").exists()
    journal.close()
    monkeypatch.undo()
    journal = open_journal(tmp_path)
    assert [row["evidence"] for row in rows_of(journal, "outcome")] == ["done"]
    assert not rows_of(journal, "verdict")
    assert journal.interrupted()
    journal.close()


def test_disk_full_without_ballast_left_leaves_the_intent_open(tmp_path, monkeypatch):
    journal = open_journal(tmp_path)
    run = new_run(journal)
    did: list[int] = []

    def fill():
        did.append(1)
        make_full(journal, monkeypatch, frees=False)

    with pytest.raises(JournalError):
        run.burn(PLAN.first, done=lambda: DONE if did else NOT_DONE, do=fill)
    journal.close()
    monkeypatch.undo()
    journal = open_journal(tmp_path)
    assert journal.known("die", "L1").open_burns() == [("fake", "first")]
    journal.close()


def test_sqlite_itself_says_full_when_it_may_not_grow(tmp_path):
    """The real error code, from SQLite's own page limit."""
    journal = open_journal(tmp_path)
    pages = journal._store._db.execute("PRAGMA page_count").fetchone()[0]
    journal._store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="disk is full"):
        for _ in range(200):
            journal.write(context(), "note", "", {"text": "x" * 1000})
    assert journal.latched
    journal.close()
    assert not journal_reader.verify(tmp_path)[1]


def test_no_room_for_the_ballast_is_said_at_the_start(tmp_path, monkeypatch):
    def no_room(descriptor):
        raise OSError(28, "No space left on device")

    open_journal(tmp_path).close()
    (tmp_path / "ballast").unlink()
    monkeypatch.setattr("station.data_folder.os.fsync", no_room)
    with pytest.raises(JournalError, match="bytes of room beside the journal"):
        open_journal(tmp_path)


def test_read_only_journal_is_said_at_the_start(tmp_path, monkeypatch):
    open_journal(tmp_path).close()
    real = sqlite3.connect
    monkeypatch.setattr("station.journal_file.sqlite3.connect",
                        lambda address, **more: real(address.replace("mode=rwc", "mode=ro"), **more))  # fmt: skip
    with pytest.raises(JournalError, match="readonly"):
        open_journal(tmp_path)


def test_time_never_runs_back_and_the_station_says_so(tmp_path):
    now = [2_000_000_000.0]
    journal = open_journal(tmp_path, clock=lambda: now[0])
    first = journal.write(context(), "note")
    now[0] -= 3600
    second = journal.write(context(), "note")
    assert second.time_us == first.time_us
    assert "is 3600 s behind the journal" in journal.clock_sentence
    journal.close()
    journal = open_journal(tmp_path, clock=lambda: now[0])
    assert journal.write(context(), "note").time_us == first.time_us
    now[0] = 2_000_000_600.0
    assert journal.write(context(), "note").time == 2_000_000_600.0
    assert not journal.clock_sentence
    journal.close()


def test_secrets_cannot_be_recorded(journal):
    for value in (Secret(b"x" * 16, "token"), b"raw bytes", float("nan")):
        with pytest.raises((TypeError, ValueError)):
            journal.append(context(), "note", "", {"value": value})


def test_buffered_rows_survive_close_and_show_in_queries(tmp_path):
    journal = open_journal(tmp_path)
    journal.append(context(), "note", "", {"n": 1})
    assert rows_of(journal, "note") == [{"n": 1}]
    journal.append(context(), "note", "", {"n": 2})
    journal.close()
    assert [json.loads(row["detail"]) for row in journal_reader.export(tmp_path)] == [{"n": 1}, {"n": 2}]


def test_part_is_found_by_label_by_id_and_by_its_other_label(journal):
    carry_out(journal, simple_flow)
    run = new_run(journal, "P1", context={"label_kind": "part", "flow": "fake-ft"})
    run.identify(CHIP_ID + "ffff")  # final test knows more of the same id
    run.keep("hash", b"kept value")
    for record in (
        journal.known("die", "L1"), journal.known("part", "P1"), journal.known(device_id=CHIP_ID), journal.find("P1"),
        journal.find(CHIP_ID.upper()), journal.find("L1"), journal_reader.read_part(_flushed(journal), "L1"),
    ):  # fmt: skip
        assert record.labels == {("die", "L1"), ("part", "P1")}
        assert record.kept["hash"] == b"kept value"
        assert record.passed("fake") and not record.passed("fake-ft")
    assert not journal.find("nobody").labels


def _flushed(journal: Journal) -> Path:
    journal.flush()
    return journal.folder


def test_label_bound_to_another_id_and_id_bound_to_another_label_are_quarantine(journal):
    carry_out(journal, simple_flow)
    for label, chip in (("L1", "ff" * 16), ("L2", CHIP_ID)):
        verdict, _ = carry_out(journal, lambda run, chip=chip: run.identify(chip), label)
        assert verdict.kind == "quarantine" and "belongs to" in verdict.reason
    assert journal.known("die", "L1").quarantine and journal.known("die", "L2").quarantine
    assert journal.known(device_id="ff" * 16).quarantine


def test_a_killed_process_leaves_the_start_of_its_run(tmp_path):
    program = f"""
import os, signal, sys
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
from spine_help import open_journal, new_run
run = new_run(open_journal(Path({str(tmp_path)!r})))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    journal = open_journal(tmp_path)
    assert journal.interrupted()[1].context.label == "L1"
    journal.close()


def test_verdict_ends_the_interruption(journal):
    carry_out(journal, simple_flow)
    assert not journal.interrupted()
    new_run(journal, "L2")
    assert journal.interrupted()[1].context.label == "L2"


# ---- what keeps a long journal quick ------------------------------------------------------------------------------


def test_the_context_is_encoded_as_the_whole_row_is():
    context = Context(station='ü"\\\n', socket=3, label="L1/W1", x=-1, device_id="ab" * 32, operator="é")
    values = (7, 10**15, 5, "boot", *context.values, "step", "a\tb", '{"k":"v"}')
    assert encoded_row((7, 10**15, 5, "boot"), context, "step", "a\tb", '{"k":"v"}') == canonical(values)


def test_no_query_reads_the_whole_journal(journal):
    carry_out(journal, simple_flow)
    seen = []
    real = journal._store.read
    journal._store.read = lambda where="", parameters=(): (seen.append((where, parameters)), real(where, parameters))[1]
    journal.known("die", "L1/W01/X1Y1", "ab" * 32)
    journal.find("L1/W01/X1Y1")
    journal.find("ab" * 32)
    journal.interrupted()
    journal.seated()
    journal.pending_registrations()
    assert len(seen) >= 6
    for where, parameters in seen:
        plan = journal._store._db.execute(f"EXPLAIN QUERY PLAN SELECT seq FROM journal {where}", parameters).fetchall()
        scans = [line[3] for line in plan if line[3].startswith("SCAN") and "INDEX" not in line[3]
                 and line[3].split()[1] in ("journal", "v", "s", "r", "o")]  # fmt: skip
        assert not scans, f"{where}: {scans}"
