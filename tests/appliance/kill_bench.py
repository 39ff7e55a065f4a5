"""Clients that register devices without a pause, and an appliance that is killed under them."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import grpc
from appliance_bench import Served, Station, TestPart, dice_ca_of, endorsed

from station.appliance.device_data import read_device_id
from station.appliance.pki import client_files
from station.wire import pa_pb2, pa_pb2_grpc


class Load:
    """So many clients; ``acknowledged`` are the device ids that an appliance has answered for."""

    def __init__(self, folder: Path, target: str, clients: int) -> None:
        self.acknowledged: set[str] = set()
        self.begun = 0
        self._folder, self._target = folder, target
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._stop, self._abandoned = threading.Event(), threading.Event()
        self.faults: list[BaseException] = []
        first = Station(folder, target, "load")
        first.log_in()
        part = TestPart(dice_ca_of(folder))
        self._request = part.registration(endorsed(first, part))
        first.close()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Every device that was begun is acknowledged when this returns."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self.faults, self.faults

    def abandon(self) -> None:
        """The test has failed: nobody waits for an appliance that may be gone."""
        self._stop.set()
        self._abandoned.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, number: int) -> None:
        """Until so many devices are acknowledged."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.acknowledged) >= number or self.faults, 60), "no progress"
        assert not self.faults, self.faults

    def snapshot(self) -> set[str]:
        with self._lock:
            return set(self.acknowledged)

    def _work(self, client: int) -> None:
        try:
            station = self._connect(f"client-{client}")
            self._log_in(station)
            number = 0
            while not self._stop.is_set():
                number += 1
                self._register(station, client * 1_000_000 + number)
            station.close()
        except BaseException as error:  # the test names it
            with self._more:
                self.faults.append(error)
                self._more.notify_all()

    def _register(self, station: Station, number: int) -> None:
        """As a station's outbox does: again and again, until it is acknowledged."""
        request = pa_pb2.RegistrationRequest()
        request.CopyFrom(self._request)
        request.device_data.device_id.hardware_origin.device_identification_number = number
        device_id = read_device_id(request.device_data.device_id).registry_hex
        with self._lock:
            self.begun += 1
        self._insist(lambda: station.call("RegisterDevice", request))
        with self._more:
            self.acknowledged.add(device_id)
            self._more.notify_all()

    def _connect(self, user: str) -> Station:
        """A client that does not wait for seconds before it looks for the appliance again."""
        station = Station(self._folder, self._target, user)
        station.close()
        files = client_files(self._folder, "station-1")
        credentials = grpc.ssl_channel_credentials(*(p.read_bytes() for p in (files.ca, files.key, files.certificate)))
        waits = [(f"grpc.{which}_reconnect_backoff_ms", 100) for which in ("initial", "min", "max")]
        station.channel = grpc.secure_channel(self._target, credentials, (("grpc.enable_retries", 0), *waits))
        station.stub = pa_pb2_grpc.ProvisioningApplianceServiceStub(station.channel)
        return station

    def _log_in(self, station: Station) -> None:
        self._insist(station.log_in)

    def _insist(self, action) -> None:
        while True:
            try:
                action()
                return
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or self._abandoned.is_set():
                    raise
                threading.Event().wait(0.02)


class KilledAppliance:
    """An appliance that is killed at random moments and started again at the same port."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self._random = random.Random(seed)
        self.served = Served(folder)
        self.port = int(self.served.ready["port"])

    @property
    def target(self) -> str:
        return self.served.target

    def kill(self, load: Load) -> set[str]:
        """Kill it a little after some more devices; what was acknowledged until then."""
        load.wait_for(len(load.snapshot()) + self._random.randrange(1, 40))
        threading.Event().wait(self._random.random() * 0.05)
        self.served.kill()
        return load.snapshot()

    def start(self) -> None:
        self.served = Served(self.folder, self.port)
        assert self.served.ready, (self.folder / "serve.log").read_text()[-2000:]
