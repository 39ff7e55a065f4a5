"""A virtual die in a socket, driven by the real driver and the part's verbs."""

import functools
import os
import time
from pathlib import Path

import pytest

from drivers.ftdi import open_socket
from drivers.virtual import usb_backend
from drivers.virtual.bench import Bench
from drivers.virtual.earlgrey.chip import open_chip
from drivers.virtual.handler import VirtualHandler
from station.formats.lc_token import lc_hash
from station.packs import load_pack
from station.parts import PartServices
from station.parts.earlgrey import CpSecrets, Earlgrey
from station.secret import Secret

ROOT = Path(__file__).resolve().parents[2]
UNLOCK, EXIT, RMA = b"\x11" * 16, b"\x22" * 16, b"\x33" * 16


@pytest.fixture(scope="session")
def pack():
    return load_pack(ROOT / "resources/skus/sival/pack.toml")


class Seat:
    """One socket of an in-process virtual bench with the part's verbs on top."""

    def __init__(self, folder: Path, pack) -> None:
        images = ROOT / "resources/skus"
        self.bench = Bench(folder, 1, open_chip=functools.partial(open_chip, images=images))
        self.bench.start()
        self.handler = VirtualHandler(self.bench.file)
        self.pack = pack
        self.lines = []
        self.socket = None

    def open(self) -> Earlgrey:
        os.environ["STATION_VIRTUAL_BENCH"] = str(self.bench.file)
        self.handler.insert(1, "DIE")
        self.handler.lid(1, True)
        settings = {"serial": "VB0001", "usb_backend": "drivers.virtual.usb_backend"}
        self.socket = open_socket(settings, 1)
        services = PartServices(self._log, time.sleep, self.pack.generation, self.pack.settings)
        return Earlgrey(self.socket.ports, services)

    def _log(self, text, source, level):
        self.lines.append((source, text))

    def fault(self, name):
        self.handler.fault(1, name)

    @property
    def chip(self):
        return self.handler.state(1)["chip"]

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.handler.close()
        usb_backend.forget_backends()  # as with libusb there is one per process, which outlives its devices
        self.bench.stop()
        os.environ.pop("STATION_VIRTUAL_BENCH", None)


@pytest.fixture
def seat(tmp_path, pack):
    seat = Seat(tmp_path, pack)
    yield seat
    seat.close()
    # a second burn of a fuse fails whatever test caused it


@pytest.fixture
def secrets():
    return CpSecrets(
        Secret(bytes(range(32)), "wafer authentication secret"),
        Secret(lc_hash(UNLOCK), "test unlock token hash"),
        Secret(lc_hash(EXIT), "test exit token hash"),
    )
