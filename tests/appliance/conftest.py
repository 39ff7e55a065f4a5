from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from appliance_bench import Served, Station, TestPart, dice_ca_of

from station.appliance.pki import init


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A development appliance that is never served itself: copy it."""
    folder = tmp_path_factory.mktemp("appliance") / "made"
    init(folder, ["station-1", "station-2"])
    return folder


@pytest.fixture(scope="session")
def served(tmp_path_factory) -> Served:
    """One appliance process for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("served") / "appliance"
    init(folder, ["station-1", "station-2"])
    appliance = Served(folder)
    yield appliance
    assert appliance.stop() == 0


@pytest.fixture
def station(served, request):
    """A raw client with a session of its own."""
    client = Station(served.folder, served.target, user=request.node.name[:60])
    client.log_in()
    yield client
    client.close()


@pytest.fixture
def stranger(served, request):
    """A raw client without a session."""
    client = Station(served.folder, served.target, user=f"stranger-{request.node.name[:60]}")
    yield client
    client.close()


@pytest.fixture
def part(served) -> TestPart:
    return TestPart(dice_ca_of(served.folder))
