"""The record cannot be kept, or cannot be trusted: exit code 5, no verdict, no burn."""

from __future__ import annotations

import os
import re
import resource
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from end2end_bench import CP_LABEL, FT_LABEL, SUPERVISOR, Engine

from station import protocol
from station.data_folder import DataFolder
from station.journal import Journal
from station.journal_rows import Context

HEED_MODES = "setpriv --bounding-set=-dac_override --inh-caps=-dac_override"
"""Without this capability root, too, writes only where the file's mode lets it."""
SMALL_DISK = 12 << 20


def spoil(place, *statements: str) -> None:
    """Change the journal as somebody with a database editor would."""
    with closing(sqlite3.connect(place.data / "journal.sqlite")) as db, db:
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            db.execute(statement)
    with closing(sqlite3.connect(place.data / "journal.sqlite")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def unusable(bench, place, *expected: str, engine_too: bool = False) -> None:
    """A run (and the engine) ends with 5 and the same sentence; nothing happens to the part."""
    bench.insert(place)
    before = bench.before(place)
    said = place.run("earlgrey-ft", FT_LABEL)
    assert said.code == 5, said
    assert said.verdict == {}
    for words in expected:
        assert words in said.sentence, said.sentence
    if engine_too:
        with Engine(place) as engine:
            ended = engine.wait("the end", lambda event: isinstance(event, protocol.Ended))
            assert engine.end() == 5
        assert all(words in ended.sentence for words in expected), ended
        assert not engine.of(protocol.SocketState), "no tile may be shown"
    bench.unchanged(place, before)


def test_a_broken_hash_chain(bench) -> None:
    place = bench.probed()
    spoil(place, "UPDATE journal SET label = 'L24-0117/W12/X7/Y20' WHERE seq = 9")
    unusable(bench, place, "row 9", "restore", engine_too=True)
    said = place.cli("journal", "verify")
    assert said.code == 5 and "row 9" in said.out, said


@pytest.mark.full
def test_a_row_that_was_removed(bench) -> None:
    place = bench.probed()
    spoil(place, "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal WHERE kind = 'outcome')")
    unusable(bench, place, "expected row", "restore")


def test_rows_cut_off_behind_the_last_anchor(bench) -> None:
    """Part and appliance know of a registration that the journal has forgotten."""
    place = bench.provisioned()
    spoil(place, "DELETE FROM journal WHERE kind IN ('registered', 'registration_due')",
          "DELETE FROM journal WHERE seq > (SELECT max(seq) - 30 FROM journal)")  # fmt: skip
    unusable(bench, place, "does not extend its last anchor")


def test_a_journal_of_a_newer_station(bench) -> None:
    place = bench.probed()
    spoil(place, "PRAGMA user_version = 2003")
    unusable(bench, place, "has format 2.3, this station knows 1.x", "use the newer station")


def test_a_file_that_is_no_journal(bench) -> None:
    place = bench.probed()
    (place.data / "journal.sqlite").write_bytes(b"this is not a database at all" * 100)
    for name in ("journal.sqlite-wal", "journal.sqlite-shm"):
        (place.data / name).unlink(missing_ok=True)
    bench.insert(place)
    chip = place.chip_digest()
    said = place.run("earlgrey-ft", FT_LABEL)
    assert said.code == 5 and "expected a usable journal at" in said.sentence, said
    assert "restore it from a copy" in said.sentence
    assert place.chip_digest() == chip


def test_two_stations_on_one_data_folder(bench) -> None:
    place = bench.place()
    bench.insert(place)
    with Engine(place) as engine:
        engine.state(lambda tile: tile.state in ("insert_part", "scan"), "a tile")
        before = bench.before(place)
        said = place.run("earlgrey-cp", CP_LABEL)
        assert said.code == 2, said
        assert f"another station (process {engine.process.pid})" in said.sentence and "--data" in said.sentence
        bench.unchanged(place, before)
        with Engine(place) as second:
            ended = second.wait("the end", lambda event: isinstance(event, protocol.Ended))
            assert second.end() == 2 and "another station" in ended.sentence
        engine.begin("earlgrey-cp", CP_LABEL)
        assert engine.verdict().kind == "pass", "the first one is not disturbed"
        assert engine.end() == 0


def test_a_clock_that_was_set_back(bench) -> None:
    """The journal's last record is an hour ahead: the station says so and its records never run back."""
    place = bench.place()
    journal = Journal(DataFolder(place.data), place.name, clock=lambda: time.time() + 3600)
    journal.write(Context(operator=SUPERVISOR), "signed_in", "", {"role": "supervisor"})
    journal.close()
    bench.insert(place)
    with Engine(place) as engine:
        warned = engine.wait("a warning", lambda e: isinstance(e, protocol.Log) and "behind the journal" in e.text)
        assert warned.level == "warning" and re.search(r"is 3[56]\d\d s behind", warned.text), warned
        assert "set the clock" in warned.text
        engine.begin("earlgrey-cp", CP_LABEL)
        assert engine.verdict().kind == "pass"
        assert engine.end() == 0
    times = [row["time_us"] for row in place.rows()]
    assert times == sorted(times) and times[-1] > (time.time() + 3000) * 1e6
    assert place.cli("journal", "verify").code == 0


# ---- no room, no permission ---------------------------------------------------------------------------------------


def test_the_file_may_grow_no_more(bench) -> None:
    """A limit strikes a living engine before the first burn: no verdict, no new start, the chip untouched."""
    place = bench.place()
    bench.insert(place)
    chip = place.chip_digest()
    with Engine(place) as engine:
        engine.send(protocol.SelectRecipe("earlgrey-cp"))
        tile = engine.state(lambda tile: tile.state == "scan", "a tile that waits for a scan")
        engine.send(protocol.Scan(CP_LABEL, 1))
        tile = engine.state(lambda tile: tile.may_start, "a part that may start")
        limit_files(engine.process.pid, 4096)
        engine.send(protocol.Start(1, tile.epoch))
        latched(engine)
        assert engine.end() == 5
    assert place.chip_digest() == chip
    bench.insert(place)
    said = place.run("earlgrey-cp", CP_LABEL)
    assert said.code in (0, 2), said


def latched(engine: Engine) -> None:
    """The window is told; no verdict; nothing can be started."""
    event = engine.wait("the latch", lambda e: isinstance(e, protocol.Latched))
    assert "cannot be written" in event.sentence and "room" in event.sentence, event
    position = len(engine.events)
    tile = engine.tile
    assert tile is not None and tile.verdict is None
    engine.send(protocol.Start(1, tile.epoch))
    engine.wait("a refusal", lambda e: isinstance(e, (protocol.CommandRefused, protocol.Latched)), after=position)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 12 MiB of its own where this user may mount one; else None: a limit on file sizes stands for it."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that is left."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def on_disk(place, disk: Path | None):
    """The place with its data folder on that disk."""
    if disk is not None:
        shutil.copytree(place.data, disk / "data", dirs_exist_ok=True)
        shutil.rmtree(place.data)
        place.data.symlink_to(disk / "data")
    return place


def limit_files(process: int, size: int) -> None:
    """No file may grow beyond this size in that process."""
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_no_room_at_the_start(bench, small_disk) -> None:
    place = on_disk(bench.place(), small_disk)
    bench.insert(place)
    chip = place.chip_digest()
    if small_disk is not None:
        fill(small_disk)
        said = place.run("earlgrey-cp", CP_LABEL)
    else:
        said = place.run("earlgrey-cp", CP_LABEL, file_size=1 << 20)
    assert said.code == 5, said
    assert "make room on the disk" in said.sentence
    assert place.chip_digest() == chip


def test_the_disk_fills_up_during_a_burn(bench, small_disk) -> None:
    """The ballast is given up for the outcome, then the station latches; with room the part goes on and passes."""
    place = on_disk(bench.place(), small_disk)
    bench.insert(place)
    with Engine(place) as engine:
        engine.begin("earlgrey-cp", CP_LABEL)
        engine.first_burn()
        if small_disk is not None:
            with engine.stopped():
                filler = fill(small_disk)
        else:
            limit_files(engine.process.pid, 4096)
        latched(engine)
        assert engine.tile.state == "burning" and engine.tile.burn_title == "the record cannot be written"
        assert engine.end() == 5
    assert "verdict" not in place.kinds()
    if small_disk is not None:
        assert not (small_disk / "data" / "ballast").exists()
        assert place.kinds().count("intent") == place.kinds().count("outcome")
        filler.unlink()
    answered = place.cli("answer", "--socket", "1", "--choice", "check", "--json")
    assert (answered.code, answered.verdict["kind"]) == (0, "pass"), answered
    assert place.double_burns() == []


def test_a_read_only_journal(bench, small_disk) -> None:
    place = on_disk(bench.probed(), small_disk)
    bench.insert(place)
    under = ""
    if small_disk is not None:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    else:
        (place.data / "journal.sqlite").chmod(0o444)
        under = "" if os.geteuid() else HEED_MODES
    chip, devices = place.chip_digest(), bench.devices()
    said = place.run("earlgrey-ft", FT_LABEL, under=under)
    assert said.code == 5, said
    assert "read-only" in said.sentence.lower() or "readonly" in said.sentence, said
    assert (place.chip_digest(), bench.devices()) == (chip, devices)
