"""The device store in SQLite and PostgreSQL: durable, idempotent, and never silent about contradictions."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest
from store_bench import DEVICE

from station.appliance import database_sqlite
from station.appliance.database import DatabaseFailed
from station.appliance.database_schema import REGISTRY
from station.appliance.database_sqlite import SqliteDatabase
from station.appliance.device_store import Backlog, DeviceStore, Failed, Outcome, StoreFailed
from station.appliance.registry import content_digest
from station.errors import ConfigError
from station.wire.registry_record_pb2 import DeviceData, Metadata


@pytest.fixture
def database(place):
    with closing(place.open()) as opened:
        yield opened


@pytest.fixture
def store(database):
    return DeviceStore(database)


def test_new_same_and_conflict(store):
    other = replace(DEVICE, digest="bb", record=b"other")
    assert store.register(DEVICE) is Outcome.NEW
    assert store.register(replace(DEVICE, received_ms=9)) is Outcome.SAME
    assert store.register(other) is Outcome.CONFLICT
    assert store.register(other) is Outcome.SAME
    assert store.register(DEVICE) is Outcome.SAME
    assert store.find("0x01") == [DEVICE, replace(other, flagged=True)]
    assert (store.count(), store.count(flagged_only=True)) == (2, 1)
    assert store.find("0x02") == []


def test_another_process_sees_what_was_acknowledged(store, place):
    store.register(DEVICE)
    with closing(place.open()) as other:
        assert DeviceStore(other).find("0x01") == [DEVICE]
    assert place.rows("SELECT device_id, flagged FROM registrations") == [("0x01", 0)]


def at_once(number, work):
    """Run the work in so many threads that begin together; their answers."""
    answers, gate = [], threading.Barrier(number)

    def carry_out(index):
        gate.wait()
        answers.append(work(index))

    threads = [threading.Thread(target=carry_out, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == number
    return answers


def test_one_device_at_several_processes_at_once(place):
    """Eight connections of two processes' stores; one content is new, the others know it, whoever comes first."""
    with closing(place.open()) as one, closing(place.open()) as two:
        stores = [DeviceStore(one), DeviceStore(two)]
        for number in range(10):
            device = replace(DEVICE, device_id=f"0x{number}")
            outcomes = at_once(8, lambda index, device=device: stores[index % 2].register(device))
            assert Counter(outcomes) == {Outcome.NEW: 1, Outcome.SAME: 7}
        assert stores[0].count() == 10


def test_contradicting_contents_at_several_processes_at_once(place):
    """Exactly one of them is the device's first registration, all others are flagged: none slips through."""
    with closing(place.open()) as one, closing(place.open()) as two:
        stores = [DeviceStore(one), DeviceStore(two)]
        for number in range(10):
            outcomes = at_once(
                6,
                lambda index, number=number: stores[index % 2].register(
                    replace(DEVICE, device_id=f"0x{number}", digest=f"content {index % 3}")
                ),
            )
            assert Counter(outcomes) == {Outcome.NEW: 1, Outcome.CONFLICT: 2, Outcome.SAME: 3}
        assert (stores[0].count(), stores[0].count(flagged_only=True)) == (30, 20)


def test_work_that_fails_changes_nothing_and_holds_up_nobody(database, place):
    entered, release = threading.Event(), threading.Event()

    def slow(transaction):
        entered.set()
        assert release.wait(20)
        transaction.execute("INSERT INTO anchors VALUES (1, 's', 'j', 1, 1, 'h', 1, 1, '', '')")

    def wrong(transaction):
        transaction.execute("INSERT INTO anchors VALUES (2, 's', 'j', 1, 1, 'h', 1, 1, '', '')")
        raise ZeroDivisionError

    def worse(transaction):
        transaction.execute("INSERT INTO anchors VALUES (3, 's', 'j', 1, 1, 'h', 1, 1, '', '')")
        transaction.execute("INSERT INTO no_such_table VALUES (1)")

    failed = []

    def expect(kind, work):
        with pytest.raises(kind):
            database.run(work)
        failed.append(kind)

    threads = [threading.Thread(target=database.run, args=(slow,))]
    threads += [
        threading.Thread(target=expect, args=pair) for pair in ((ZeroDivisionError, wrong), (DatabaseFailed, worse))
    ]
    threads += [
        threading.Thread(
            target=database.execute, args=("INSERT INTO anchors VALUES (4, 's', 'j', 1, 1, 'h', 1, 1, '', '')",)
        )
    ]
    threads[0].start()
    assert entered.wait(20)
    for thread in threads[1:]:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    assert {ZeroDivisionError, DatabaseFailed} == set(failed)
    assert sorted(place.rows("SELECT id FROM anchors")) == [(1,), (4,)]
    assert database.read("SELECT count(*) FROM anchors") == [(2,)]


def test_only_one_leads(place):
    with closing(place.open()) as one, closing(place.open()) as two:
        with one.lead("forward") as first, two.lead("forward") as second, two.lead("else") as third:
            assert (first, second, third) == (True, False, True)
        with two.lead("forward") as again:
            assert again is True


def test_records_on_their_way(store):
    for number in range(3):
        store.register(replace(DEVICE, device_id=f"0x{number}", received_ms=10 + number))
    one, two, three = store.untried(10)
    assert [record.device_id for record in (one, two, three)] == ["0x0", "0x1", "0x2"]
    assert (one.record, one.sku, one.attempts, one.failure) == (b"record", "sival", 0, "")
    assert store.backlog() == Backlog(waiting=3, failed=0, oldest_ms=10)
    store.forwarded([one.id], now=101)
    store.not_forwarded([Failed(two.id, "no", next_try_ms=200)])
    assert [record.id for record in store.untried(10)] == [three.id]
    assert store.retriable(10, now=199) == []
    assert [record.id for record in store.retriable(10, now=200)] == [two.id]
    store.not_forwarded([Failed(three.id, "no", next_try_ms=150), Failed(two.id, "no", next_try_ms=180)])
    assert store.untried(10) == []
    assert [record.id for record in store.retriable(10, now=200)] == [three.id, two.id], "the longest overdue first"
    assert [record.id for record in store.retriable(1, now=200)] == [three.id]
    assert [(record.attempts, record.failure) for record in store.waiting(10)] == [(2, "no"), (1, "no")]
    assert store.backlog() == Backlog(waiting=2, failed=2, oldest_ms=11)
    store.forwarded([two.id, three.id], now=201)
    assert store.backlog() == Backlog(0, 0, 0)
    assert store.register(replace(DEVICE, device_id="0x0")) is Outcome.SAME
    assert store.backlog().waiting == 0, "what the registry has is not sent again"


def test_stored_says_that_there_is_something_new(store):
    store.register(DEVICE)
    assert store.stored.is_set()
    store.stored.clear()
    store.register(DEVICE)
    assert not store.stored.is_set()


# ---- SQLite -----------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "registry.db"
    with closing(SqliteDatabase(path, REGISTRY)) as opened:
        yield opened


def test_every_durable_commit_reaches_the_disk(file):
    full, normal = [(2,)], [(1,)]
    assert file.read("PRAGMA journal_mode") == [("wal",)]
    assert file._writer.execute("PRAGMA synchronous").fetchall() == full
    said = []
    file._writer.set_trace_callback(said.append)
    for durable, level in ((True, full), (False, normal), (False, normal), (True, full)):
        file.run(lambda transaction: transaction.execute("DELETE FROM anchors"), durable=durable)
        assert file._writer.execute("PRAGMA synchronous").fetchall() == level
    file.execute("DELETE FROM anchors")
    assert [line for line in said if line.startswith(("PRAGMA synchronous=", "COMMIT"))] == [
        "COMMIT", "PRAGMA synchronous=NORMAL", "COMMIT", "COMMIT", "PRAGMA synchronous=FULL", "COMMIT", "COMMIT",
    ]  # fmt: skip


def test_registrations_that_wait_share_a_commit(file):
    store = DeviceStore(file)
    entered, release = threading.Event(), threading.Event()

    def slow(transaction):
        entered.set()
        assert release.wait(20)

    first = threading.Thread(target=file.run, args=(slow,))
    first.start()
    assert entered.wait(20)
    others = [threading.Thread(target=store.register, args=(replace(DEVICE, device_id=f"0x{n}"),)) for n in range(20)]
    for thread in others:
        thread.start()
    while len(file._jobs) < len(others):
        threading.Event().wait(0.005)
    said = []
    file._writer.set_trace_callback(lambda line: said.append(line) if line == "COMMIT" else None)
    release.set()
    for thread in (first, *others):
        thread.join()
    assert store.count() == 20
    assert len(said) == 2, "the slow one, and all that waited for it"


def test_a_database_that_is_locked_does_not_acknowledge(file, tmp_path):
    store = DeviceStore(file)
    file._writer.execute("PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(tmp_path / "registry.db")) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="locked"):
            store.register(DEVICE)
        blocker.rollback()
    assert store.register(DEVICE) is Outcome.NEW


def test_a_full_disk_does_not_acknowledge_and_nothing_is_half_written(file):
    store = DeviceStore(file)
    pages = file.read("PRAGMA page_count")[0][0]
    file._writer.execute(f"PRAGMA max_page_count={pages + 20}")
    stored, number = 0, 0
    with pytest.raises(StoreFailed, match="full"):
        while True:
            store.register(replace(DEVICE, device_id=f"0x{number}", record=bytes(9000)))
            stored, number = stored + 1, number + 1
    assert stored > 3
    assert store.count() == stored
    assert file.read("PRAGMA integrity_check") == [("ok",)]
    file._writer.execute("PRAGMA max_page_count=100000")
    assert store.register(replace(DEVICE, device_id=f"0x{number}", record=bytes(9000))) is Outcome.NEW


def test_a_full_disk_fails_everybody_in_the_commit(file):
    pages = file.read("PRAGMA page_count")[0][0]
    file._writer.execute(f"PRAGMA max_page_count={pages}")
    entered, release = threading.Event(), threading.Event()

    def slow(transaction):
        entered.set()
        assert release.wait(20)

    first = threading.Thread(target=file.run, args=(slow,))
    first.start()
    assert entered.wait(20)
    failed = []

    def register(number):
        try:
            DeviceStore(file).register(replace(DEVICE, device_id=f"0x{number}", record=bytes(100_000)))
        except StoreFailed:
            failed.append(number)

    others = [threading.Thread(target=register, args=(number,)) for number in range(4)]
    for thread in others:
        thread.start()
    release.set()
    for thread in (first, *others):
        thread.join()
    assert sorted(failed) == [0, 1, 2, 3]
    assert file.read("SELECT count(*) FROM registrations") == [(0,)]


def test_a_newer_file_is_left_alone(tmp_path):
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="newer version"):
        DeviceStore(path)


def test_a_file_that_somebody_else_writes_at_the_start_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(database_sqlite, "BUSY_SECONDS", 0.0)
    path = tmp_path / "registry.db"
    DeviceStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigError, match=f"expected to bring {path} up to date: database is locked"):
            DeviceStore(path)
    DeviceStore(path).close()


def test_what_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "registry.db").write_bytes(b"this is no database, but long enough to be taken for one" * 20)
    with pytest.raises(ConfigError, match="expected a usable database at"):
        DeviceStore(tmp_path / "registry.db")
    with pytest.raises(ConfigError, match="expected a database at"):
        DeviceStore(tmp_path / "absent" / "registry.db")


def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path):
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as old, old:
        for statement in REGISTRY.versions[0]:
            old.execute(statement.format(serial="INTEGER PRIMARY KEY", bytes="BLOB", integer="INTEGER"))
        row = "INSERT INTO registrations (device_id, sku, record, digest, flagged, client, received_ms) VALUES "
        old.execute(row + "('0x01', 'sival', x'01', 'aa', 0, 'c', 5), ('0x01', 'sival', x'02', 'bb', 1, 'c', 6)")
        old.execute("PRAGMA user_version = 1")
    with closing(DeviceStore(path)) as store:
        assert [device.flagged for device in store.find("0x01")] == [False, True]
        assert store.backlog().waiting == 2
        assert store.register(replace(DEVICE, digest="bb")) is Outcome.SAME
        assert store.register(replace(DEVICE, digest="cc")) is Outcome.CONFLICT


def test_when_it_was_sent_is_not_content():
    data = DeviceData(sku="sival", metadata=Metadata(create_time_ms=1, update_time_ms=2, ate_raw="AA"))
    later = DeviceData(sku="sival", metadata=Metadata(create_time_ms=3, update_time_ms=4, ate_raw="AA"))
    other = DeviceData(sku="sival", metadata=Metadata(create_time_ms=1, update_time_ms=2, ate_raw="AB"))
    assert content_digest(data) == content_digest(later) != content_digest(other)
    assert data.metadata.create_time_ms == 1
