from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "appliance"))

from appliance_bench import Served, copy_folder, password_of

from drivers.appliance_grpc import open_appliance
from station.appliance.pki import client_files, init
from station.secret import Secret


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A development appliance; copy it when it is to be changed or served again."""
    made = tmp_path_factory.mktemp("client") / "appliance"
    init(made, ["station-1"])
    return made


@pytest.fixture(scope="session")
def served(folder) -> Served:
    appliance = Served(folder)
    yield appliance
    assert appliance.stop() == 0


@pytest.fixture
def fresh(folder, tmp_path):
    """Another appliance process with keys of its own copy, and how to start it again."""
    running = []
    copied = copy_folder(folder, tmp_path / "appliance")

    def start(port: int = 0) -> Served:
        running.append(Served(copied, port))
        return running[-1]

    yield start
    for appliance in running:
        if appliance.process.poll() is None:
            appliance.stop()


def settings_of(folder: Path, **changes) -> dict[str, object]:
    files = client_files(folder, "station-1")
    settings = {
        "endpoint": str(folder / "endpoint.json"),
        "ca": str(files.ca),
        "certificate": str(files.certificate),
        "key": str(files.key),
        "sku_password": Secret(password_of(folder).encode(), "SKU password"),
        "user_id": "bench-1",
        "realm": "dev",
        **changes,
    }
    return {key: value for key, value in settings.items() if value is not None}


@pytest.fixture
def connect():
    """Open appliances that are closed at the end."""
    opened = []

    def open_(folder: Path, **changes):
        opened.append(open_appliance(settings_of(folder, **changes)))
        return opened[-1]

    yield open_
    for appliance in opened:
        appliance.close()


@pytest.fixture
def appliance(served, folder, connect):
    return connect(folder)
