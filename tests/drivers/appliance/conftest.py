from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "appliance"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "helpers"))

from appliance_bench import Served, copy_folder
from appliance_fakes import settings_of
from postgres import Cluster
from store_bench import PostgresPlace

from drivers.appliance_grpc import open_appliance
from station.appliance.pki import init


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


@pytest.fixture(scope="session")
def cluster():
    """A private PostgreSQL of this test session."""
    running = Cluster()
    yield running
    running.close()


@pytest.fixture
def postgres(cluster):
    """The server with a new empty schema."""
    return PostgresPlace(cluster, cluster.new_schema())
