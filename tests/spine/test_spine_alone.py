"""A station without appliance: what it leaves out, and what it says when a recipe needs one after all."""

from __future__ import annotations

from types import SimpleNamespace

import fake_station
import pytest
from fake_station import PLAN
from spine_bench import Bench

from station.appliances import NoAppliance
from station.cli_checks import _checks
from station.config import load_config
from station.errors import ConfigError
from station.protocol import ApplianceState, Scan, SelectRecipe


def alone(run, part, appliance):
    """A flow that asks no appliance, unless the script says so."""
    script = part.world.script()
    with run.step(PLAN.look):
        if script.get("asks_appliance"):
            appliance.open_session(run.sku)
    with run.step(PLAN.name):
        run.identify(run.label.encode().hex().ljust(32, "0"))


@pytest.fixture
def lonely(folder):
    """The fake station, its appliance taken out of the file."""
    file = folder / "station.toml"
    head, _, rest = file.read_text().partition("[appliance]")
    file.write_text(head + rest[rest.index("[limits]") :])
    return folder


@pytest.fixture
def needs_none(monkeypatch):
    flow = SimpleNamespace(PLAN=PLAN, fake=alone, NEEDS_APPLIANCE=False)
    monkeypatch.setitem(fake_station.FAKES, "station.flows", flow)


@pytest.fixture
def bench(lonely):
    made = Bench(lonely)
    yield made
    made.close()


def test_a_flow_that_needs_no_appliance_passes_without_one(needs_none, bench):
    bench.ready()
    state = bench.go("D1")
    assert (state.state, state.verdict.reason) == ("pass", "")
    bench.take_out()
    assert not [event for event in bench.bench.snapshot() if isinstance(event, ApplianceState)]
    assert not [event for event in bench.events if isinstance(event, ApplianceState)]


def test_a_part_that_passed_is_refused_without_a_word_of_an_appliance(needs_none, bench):
    bench.ready()
    bench.go("D1")
    bench.take_out()
    bench.world.insert(1)
    bench.wait("scan")
    said = bench.refused(Scan("D1", 1))
    assert "passed Fake Probe" in said and said.endswith("(as far as this station knows)")


def test_a_recipe_that_needs_an_appliance_says_so_when_it_is_chosen(bench):
    bench.sign_in("eng")
    said = bench.refused(SelectRecipe("fake-cp"))
    assert said == (
        "recipe fake-cp: its flow 'fake' needs an appliance, and this station has none; name one under [appliance] in "
        "the station file"
    )
    with pytest.raises(ConfigError, match="this station has no appliance"):
        bench.bench.appliance(0)


def test_a_flow_that_asks_although_it_said_it_would_not_ends_as_a_bench_fault(needs_none, bench):
    bench.ready()
    bench.world.set(asks_appliance=True)
    state = bench.go("D1")
    assert state.state == "bench_fault"
    assert "says that it needs no appliance, but asked one for open_session" in state.verdict.reason


def test_a_station_with_an_appliance_gives_none_to_a_flow_that_needs_none(folder, needs_none):
    bench = Bench(folder)
    try:
        bench.ready()
        bench.world.set(asks_appliance=True)
        assert "needs no appliance" in bench.go("D1").verdict.reason
        assert bench.last(ApplianceState).name == "fake", "the light is there all the same"
    finally:
        bench.close()


def test_the_doctor_looks_for_no_appliance(lonely, needs_none):
    found = {check.name: check.sentence for check in _checks(load_config(lonely / "station.toml"))}
    assert not any(found.values()), found
    assert not [name for name in found if name.startswith("appliance")]


def test_the_doctor_names_a_recipe_that_cannot_run_here(lonely):
    found = {check.name: check.sentence for check in _checks(load_config(lonely / "station.toml"))}
    assert "needs an appliance" in found["recipe fake-cp"]


def test_no_appliance_has_no_calls():
    with pytest.raises(ConfigError, match="asked one for derive"):
        NoAppliance().derive("sku", [])
