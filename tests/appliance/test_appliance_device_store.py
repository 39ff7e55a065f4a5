"""The device store: durable, idempotent, and never silent about contradictions."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace

import pytest

from station.appliance.device_store import DeviceStore, Outcome, StoredDevice, StoreFailed
from station.appliance.registry import content_digest
from station.errors import ConfigError
from station.wire.registry_record_pb2 import DeviceData, Metadata

DEVICE = StoredDevice("0x01", "sival", b"record", "aa", False, "station-1", 5)


@pytest.fixture
def store(tmp_path):
    opened = DeviceStore(tmp_path / "registry.db")
    yield opened
    opened.close()


def test_new_same_and_conflict(store):
    assert store.register(DEVICE) is Outcome.NEW
    assert store.register(replace(DEVICE, received_ms=9)) is Outcome.SAME
    assert store.register(replace(DEVICE, digest="bb", record=b"other")) is Outcome.CONFLICT
    assert store.register(replace(DEVICE, digest="bb", record=b"other")) is Outcome.SAME
    kept = store.find("0x01")
    assert [(device.record, device.flagged, device.received_ms) for device in kept] == [
        (b"record", False, 5),
        (b"other", True, 5),
    ]
    assert (store.count(), store.count(flagged_only=True)) == (2, 1)
    assert store.find("0x02") == []


def test_every_commit_reaches_the_disk(store):
    assert store._connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_second_reader_sees_what_was_acknowledged(store, tmp_path):
    store.register(DEVICE)
    assert not store._connection.in_transaction
    other = DeviceStore(tmp_path / "registry.db")
    assert other.find("0x01")[0].record == b"record"
    other.close()


def test_many_threads_register_one_device_once(store):
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(store.register(DEVICE))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [Outcome.NEW] + [Outcome.SAME] * 7


def test_a_store_that_cannot_write_does_not_acknowledge(store, tmp_path):
    blocker = sqlite3.connect(tmp_path / "registry.db")
    store._connection.execute("PRAGMA busy_timeout=50")
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed, match="locked"):
        store.register(DEVICE)
    blocker.rollback()
    blocker.close()
    assert store.register(DEVICE) is Outcome.NEW


def test_a_newer_file_is_left_alone(tmp_path):
    path = tmp_path / "registry.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="newer version"):
        DeviceStore(path)


def test_when_it_was_sent_is_not_content():
    data = DeviceData(sku="sival", metadata=Metadata(create_time_ms=1, update_time_ms=2, ate_raw="AA"))
    later = DeviceData(sku="sival", metadata=Metadata(create_time_ms=3, update_time_ms=4, ate_raw="AA"))
    other = DeviceData(sku="sival", metadata=Metadata(create_time_ms=1, update_time_ms=2, ate_raw="AB"))
    assert content_digest(data) == content_digest(later) != content_digest(other)
    assert data.metadata.create_time_ms == 1
