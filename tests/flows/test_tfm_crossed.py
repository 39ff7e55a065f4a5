"""Two sockets at the same time whose console cables are crossed: neither part gets the other's name."""

from __future__ import annotations

import threading

import pytest
from nordic_bench import NordicBench
from test_tfm_flow import passed

from drivers.pyocd_probe.probe import PyocdProbe
from station.flows.nordic_identity import INSTANCE_ID
from station.parts import Shared
from station.parts.nordic.consoles import Turns


@pytest.fixture
def pair(tmp_path, nordic):
    """Two benches with a socket each; ``nordic`` has made their settle times short."""
    shared = Shared()
    made = [NordicBench(tmp_path / name, "nrf91x1", shared) for name in ("one", "two")]
    for bench in made:
        bench.anew(provisioning_seconds=6.0, boot_seconds=6.0)
        bench.ports()
    yield made
    for bench in made:
        bench.close()


def at_once(pair):
    """Both runs, each in a thread as sockets are."""
    results = {}
    runs = [
        threading.Thread(target=lambda n=n, bench=bench: results.update({n: bench.run(f"P00000{n}")}))
        for n, bench in enumerate(pair, 1)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    return results


def meet_at_resets(monkeypatch):
    """Both reset their part at the same moment, if anything lets them."""
    meeting, real = threading.Barrier(2), PyocdProbe.reset

    def reset(self, kind):
        try:
            meeting.wait(0.5)
        except threading.BrokenBarrierError:
            meeting.reset()
        real(self, kind)

    monkeypatch.setattr(PyocdProbe, "reset", reset)


def test_crossed_consoles_are_silent_ones(pair, monkeypatch):
    one, two = (bench.socket.ports for bench in pair)
    pair[0].socket.ports = {**one, "console": two["console"]}
    pair[1].socket.ports = {**two, "console": one["console"]}
    meet_at_resets(monkeypatch)
    results = at_once(pair)
    assert {result.bin for result in results.values()} == {"console"}, results
    assert all("stayed silent" in result.reason for result in results.values())
    assert not any(INSTANCE_ID in bench.kept(f"P00000{n}") for n, bench in enumerate(pair, 1))


def test_consoles_that_are_right_are_not_held_up(pair, monkeypatch):
    meet_at_resets(monkeypatch)
    for result in at_once(pair).values():
        passed(result)
    assert len({bench.kept(f"P00000{n}")[INSTANCE_ID] for n, bench in enumerate(pair, 1)}) == 2
    assert all(bench.shared.of(Turns).has_proved(bench.socket.ports["console"]) for bench in pair)
    (_first, last), (begin, _) = sorted(map(provisioned_within, pair))
    assert last <= begin, "whoever waits for its turn has written no intent: the settle time runs from there"


def provisioned_within(bench):
    """When the intent was written and when its outcome, on the clock of all."""
    where = "WHERE title = 'provision' AND kind IN ('intent', 'outcome') ORDER BY seq"
    intent, outcome = bench.journal.rows(where)
    return intent.monotonic_us, outcome.monotonic_us
