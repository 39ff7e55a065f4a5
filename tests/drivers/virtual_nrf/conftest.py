"""Virtual Nordic parts in this process: alone (their models), and on a bench behind the real pyOCD."""

from __future__ import annotations

import threading

import pytest
from nordic_rig import CHIPS, BenchUnderTest, Rig

from drivers.virtual.link import ENVIRONMENT
from drivers.virtual.nrf.firmware import machine, net, provisioning, tfm


@pytest.fixture(autouse=True)
def no_virtual_thread_left_behind():
    """Threads of parts, probes and ports end with them; they are daemons, so the general rule does not see them."""
    before = set(threading.enumerate())  # a bench of other tests may live as long as the session
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("virtual")]
    assert not left, left


@pytest.fixture
def quick(monkeypatch):
    """Programs take no time for their text and their words."""
    monkeypatch.setattr(machine, "BYTE_SECONDS", 0.0)
    monkeypatch.setattr(machine, "UICR_SECONDS", 0.0)
    for module in (net, provisioning, tfm):
        for name in [name for name in vars(module) if name.endswith("_SECONDS") and not name.startswith("PCD")]:
            monkeypatch.setattr(module, name, 0.0)


@pytest.fixture
def rig(tmp_path, quick):
    """Makes parts of a chip kind."""
    made = []

    def make(chip: str = "nrf5340") -> Rig:
        made.append(Rig(tmp_path / f"part{len(made)}", chip))
        return made[-1]

    yield make
    for one in made:
        if one.folder.exists():  # a test with many parts throws them away itself
            one.close()


@pytest.fixture(params=CHIPS)
def any_rig(request, rig):
    """A part of each chip kind."""
    return rig(request.param)


@pytest.fixture
def make_bench(tmp_path, monkeypatch):
    """Makes benches of a chip kind; the last one made is the one that the finder finds."""
    made = []

    def make(chip: str = "nrf5340", sockets: int = 1) -> BenchUnderTest:
        data = tmp_path / f"bench{len(made)}"
        made.append(BenchUnderTest(data, chip, sockets))
        monkeypatch.setenv(ENVIRONMENT, str(made[-1].bench.file))
        return made[-1]

    yield make
    for one in made:
        one.close()
