"""kill -9 of the server at random moments under load: nothing acknowledged is missing, nothing is there twice."""

from __future__ import annotations

import pytest
from appliance_bench import copy_folder
from kill_bench import KilledAppliance, Load
from store_bench import SqlitePlace

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


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [11])
def test_killed_twenty_times_under_load(tmp_path, made, place, seed):
    folder = copy_folder(made, tmp_path / "appliance")
    place.configure(folder)
    kill_often(folder, place, kills=20, clients=8, seed=seed)
