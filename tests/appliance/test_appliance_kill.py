"""kill -9 of the server at random moments under load: nothing acknowledged is missing, nothing is there twice."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from appliance_bench import Served, copy_folder
from kill_bench import KilledAppliance, Load
from registry_bench import http_registry
from store_bench import SqlitePlace, configure

BATCH = 7
COUNT = "SELECT count(*), count(DISTINCT device_id), coalesce(sum(flagged), 0) FROM registrations"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "appliance" / "registry.db")
    return request.getfixturevalue("postgres")


def kill_often(folder, place, kills: int, clients: int, seed: int) -> None:
    appliance = KilledAppliance(folder, seed)
    load = Load(folder, appliance.target, clients)
    load.start()
    try:
        for _ in range(kills):
            acknowledged = appliance.kill(load)
            stored = {device_id for (device_id,) in place.rows("SELECT device_id FROM registrations")}
            assert acknowledged <= stored, f"acknowledged and lost: {acknowledged - stored}"
            appliance.start()
        load.wait_for(len(load.snapshot()) + 10)
    except BaseException:
        load.abandon()
        appliance.served.kill()
        raise
    load.stop()
    assert appliance.served.stop() == 0
    rows, devices, flagged = place.rows(COUNT)[0]
    assert (rows, devices, int(flagged)) == (load.begun, load.begun, 0)
    stored = {device_id for (device_id,) in place.rows("SELECT device_id FROM registrations")}
    assert stored == load.acknowledged
    assert load.begun >= kills


def test_killed_under_load(tmp_path, made, place):
    folder = copy_folder(made, tmp_path / "appliance")
    place.configure(folder)
    kill_often(folder, place, kills=3, clients=4, seed=3)


def slow(answer):
    """A registry that is at work nearly all the time, so that whoever forwards dies in the middle of a post."""

    def slowly(handler, records):
        threading.Event().wait(0.05)
        answer(handler, records)

    return slowly


def test_three_workers_are_killed_one_after_the_other_under_load(tmp_path, made, place):
    """Three processes behind one port share database and registry: no record is lost, none is there twice.

    Whoever forwards is killed in the middle of a post, whose records are sent once more.
    """
    folder = copy_folder(made, tmp_path / "appliance")
    place.configure(folder)
    with http_registry() as registry:
        registry.answer = slow(registry.good)
        configure(folder, workers=3, forward_url=registry.url, forward_batch=BATCH)
        served = Served(folder)
        workers = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
        assert len(workers) == 3
        load = Load(folder, served.target, 4)
        load.start()
        try:
            for worker in workers:  # one of them forwards
                load.wait_for(len(load.snapshot()) + 60)
                os.kill(int(worker), signal.SIGKILL)
            load.wait_for(len(load.snapshot()) + 60)
        except BaseException:
            load.abandon()
            served.kill()
            raise
        load.stop()
        while place.rows("SELECT count(*) FROM registrations WHERE forwarded_ms IS NULL") != [(0,)]:
            threading.Event().wait(0.05)
        assert served.stop() == 0
    rows, devices, flagged = place.rows(COUNT)[0]
    assert (rows, devices, int(flagged)) == (load.begun, load.begun, 0)
    assert set(registry.accepted) == load.acknowledged
    assert len(registry.accepted) - rows <= len(workers) * BATCH, "only what a killed one was sending came twice"


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [11])
def test_killed_twenty_times_under_load(tmp_path, made, place, seed):
    folder = copy_folder(made, tmp_path / "appliance")
    place.configure(folder)
    kill_often(folder, place, kills=20, clients=8, seed=seed)
