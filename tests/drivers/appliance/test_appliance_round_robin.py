"""Two instances on one PostgreSQL behind a round_robin client, one killed under load: no failed part."""

from __future__ import annotations

import json
import threading

import pytest
from appliance_bench import Served, TestPart, copy_folder, device_signature, dice_ca_of
from appliance_fakes import settings_of
from store_bench import PostgresPlace
from test_appliance_client import RMA, UNLOCK, WAS, raw

from drivers.appliance_grpc import open_appliance
from station.appliance.pki import init
from station.errors import ApplianceError
from station.formats import perso_blob
from station.formats.device_id import DeviceId, HardwareOrigin
from station.model import Registration


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet") / "made"
    init(folder, ["station-1"])
    order = '[[work_order]]\nname = "WO-1"\nquota = 100000\nunregistered = 64\n'
    station = '[[station]]\nname = "ft-1"\ncertificate = "station-1"\nskus = ["sival"]\nroles = ["CP", "FT"]\n'
    (folder / "stations.toml").write_text(order + station + 'work_order = "WO-1"\n')
    return folder


class Fleet:
    """Two instances, and stations that make parts with them."""

    def __init__(self, made, tmp_path, place: PostgresPlace) -> None:
        self.folders = [copy_folder(made, tmp_path / name) for name in ("a", "b")]
        for folder in self.folders:
            place.configure(folder)
        self.instances = [Served(folder) for folder in self.folders]
        self.ports = [int(instance.ready["port"]) for instance in self.instances]
        self.made = made
        self.parts: list[str] = []
        self.failed: list[str] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._station, args=(number,)) for number in range(4)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        """Until so many more parts are done."""
        with self._changed:
            wanted = len(self.parts) + more
            assert self._changed.wait_for(lambda: len(self.parts) >= wanted or self.failed, 60), "no progress"
        assert self.failed == []

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(60)
        for instance in self.instances:
            if instance.process.poll() is None:
                assert instance.stop() == 0

    def calls(self, index: int) -> int:
        path = self.folders[index] / "audit.jsonl"
        return len([line for line in path.read_text().splitlines() if json.loads(line)["result"] == "OK"])

    def _station(self, number: int) -> None:
        target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in self.ports)
        settings = settings_of(
            self.made, endpoint=None, target=target, target_name="localhost", load_balancing="round_robin",
            user_id=f"station-{number}",
        )  # fmt: skip
        appliance = open_appliance(settings)
        count = 0
        try:
            while not self._stop.is_set():
                count += 1
                self._part(appliance, number * 1_000_000 + count)
        except (ApplianceError, AssertionError) as error:
            with self._changed:
                self.failed.append(f"{type(error).__name__}: {error}")
                self._changed.notify_all()
        finally:
            appliance.close()

    def _part(self, appliance, number: int) -> None:
        """Everything that Chip Probe and Final Test ask for a part."""
        part = TestPart(dice_ca_of(self.made), number)
        appliance.open_session("sival")
        was, _ = appliance.derive("sival", [WAS, UNLOCK])
        _, wrapped = appliance.generate("sival", RMA)
        appliance.ca_subject_keys("sival", ["UDS", "EXT"])
        (uds,) = appliance.endorse("sival", [("UDS", part.uds_tbs)], b"was", device_signature(raw(was), part.uds_tbs))
        appliance.ca_certificates("sival", ["root", "dice"])
        appliance.owner_boot_message("sival")
        objects = part.objects(uds)
        device_id = DeviceId(HardwareOrigin(0x4001, 3, number))
        appliance.register(
            Registration(
                sku="sival", device_id=device_id.pack(), life_cycle="PROD", wrapped_rma_seed=wrapped.blob,
                perso_tlv=perso_blob.build(objects, 1), perso_tlv_objects=len(objects), perso_fw_sha256=bytes(32),
                certs_sha256=perso_blob.appliance_certs_hash(objects, (), ("UDS", "CDI_0", "CDI_1")),
            )
        )  # fmt: skip
        appliance.close_session()
        with self._changed:
            self.parts.append(device_id.registry_hex)
            self._changed.notify_all()


@pytest.fixture
def fleet(made, tmp_path, postgres):
    fleet = Fleet(made, tmp_path, postgres)
    yield fleet
    fleet.end()


def account_for(fleet, postgres) -> None:
    """Every part is registered once, counts once against its work order, and waits for nothing."""
    assert fleet.failed == []
    rows = postgres.rows("SELECT device_id, flagged FROM registrations")
    assert sorted(rows) == sorted((device_id, 0) for device_id in fleet.parts)
    assert postgres.rows("SELECT work_order, endorsed, unregistered FROM spent") == [("WO-1", len(rows), 0)]


def test_one_of_two_is_killed_under_load(fleet, postgres):
    fleet.start()
    fleet.wait_for(12)
    assert min(fleet.calls(0), fleet.calls(1)) > 10, "both are used"
    fleet.instances[0].kill()
    fleet.wait_for(12)
    fleet.instances[0] = Served(fleet.folders[0], fleet.ports[0])
    before = fleet.calls(0)
    while fleet.calls(0) == before:  # the one that came back is used again; its clients look for it twice a second
        fleet.wait_for(4)
    fleet.instances[1].kill()
    fleet.wait_for(8)
    fleet.end()
    account_for(fleet, postgres)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_one_of_two_is_killed_ten_times(fleet, postgres):
    fleet.start()
    for round_ in range(10):
        fleet.wait_for(10 + 7 * (round_ % 3))
        index = round_ % 2
        fleet.instances[index].kill()
        fleet.wait_for(5)
        fleet.instances[index] = Served(fleet.folders[index], fleet.ports[index])
    fleet.wait_for(10)
    fleet.end()
    account_for(fleet, postgres)


def test_one_of_two_ends_in_order_under_load(fleet, postgres):
    fleet.start()
    fleet.wait_for(8)
    assert fleet.instances[0].stop() == 0
    fleet.wait_for(12)
    fleet.end()
    account_for(fleet, postgres)
