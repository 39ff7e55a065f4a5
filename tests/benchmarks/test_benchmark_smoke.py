"""The cheapest benchmark runs and reports; its baseline needs openhtf, which is not in the test environment."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import appliance
from benchmarks.__main__ import CATALOGUE
from benchmarks.appliance_runs import Load, Runner
from benchmarks.appliance_served import Served
from benchmarks.figures import Aim, Figure, percentile, text_of
from benchmarks.openocd import Relay

ROOT = Path(__file__).resolve().parents[2]
ORDINARY = ("part", "probe")
SYNCS = {"syncs at scan": 1, "syncs per plain step": 0, "syncs per burn": 2, "syncs at verdict": 1}


def test_steps_quick_reports_figures_syncs_and_its_missing_baseline() -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "steps", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    report = answer["benchmarks"]["steps"]
    assert (report["broken"], report["not_measured"]) == ("", "")
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert {name: figures[name]["value"] for name in SYNCS} == SYNCS
    assert all(figures[name]["met"] for name in SYNCS)
    rate = figures["plain steps, 1,000 in one run"]
    assert rate["value"] > 0
    said = any(note.startswith("baseline skipped: openhtf is not importable") for note in report["notes"])
    assert said == (find_spec("openhtf") is None)
    assert (rate["ratio"] is None) == said


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name", [name if name in ORDINARY else pytest.param(name, marks=pytest.mark.full) for name in CATALOGUE]
)
def test_every_benchmark_still_measures(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", name, "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=280, check=False)
    report = json.loads(done.stdout)["benchmarks"][name]
    assert (report["broken"], report["not_measured"]) == ("", ""), done.stderr.decode()
    assert all(figure["value"] >= 0 for figure in report["figures"])
    assert report["figures"]


def test_an_unknown_benchmark_is_refused_with_the_names() -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "stepps"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert all(name in done.stderr.decode() for name in CATALOGUE)


@pytest.mark.parametrize(
    ("sign", "limit", "of_ratio", "met"),
    [(">=", 2, True, True), (">=", 2.1, True, False), ("<=", 30, False, True), ("==", 31, False, False)],
)
def test_an_aim_is_for_the_value_or_for_the_ratio(sign: str, limit: float, of_ratio: bool, met: bool) -> None:
    figure = Figure("x", 30, "s", Aim(sign, limit, of_ratio), baseline=15)
    assert figure.met is met
    assert ("MISSED" in text_of(figure.plain())) is not met


def test_a_ratio_without_baseline_is_not_called_met() -> None:
    figure = Figure("x", 30, "s", Aim(">=", 2, of_ratio=True))
    assert figure.met is None
    assert "no baseline" in text_of(figure.plain())


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentile_is_the_least_value_that_covers_the_share(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_the_relay_counts_rising_edges_only() -> None:
    relay = Relay(1)
    try:
        for piece in (b"0404", b"4R", b"4R0", b"264", b"B", b"0R1"):
            relay._count(piece)
        assert relay.tck == 3
    finally:
        relay.close()


def test_the_ecdsa_of_a_conversation_is_what_openssl_would_need_for_it() -> None:
    ceiling = appliance.Ceiling(signs=40_000, verifies=10_000)
    assert ceiling.per_minute == pytest.approx(60 / (2 / 40_000 + 5 / 10_000))
    seen = appliance.openssl_speed()
    assert seen.signs > seen.verifies > 100


@pytest.mark.parametrize("clients", [1, 3, 8, 32])
def test_every_client_has_a_station_and_devices_of_its_own(clients: int) -> None:
    runner = Runner(Served(Path("folder"), "localhost:1", ()), appliance.STATIONS)
    taken: set[int] = set()
    for _ in range(2):
        orders = list(runner._orders(Load("sival", clients, False, 1.0, 100)))
        assert sorted(name for order in orders for name in order.stations) == sorted(appliance.STATIONS[:clients])
        for order in orders:
            assert order.devices * clients >= 100
            numbers = set(range(order.first_number, order.first_number + order.devices * len(order.stations)))
            assert not numbers & taken
            taken |= numbers
