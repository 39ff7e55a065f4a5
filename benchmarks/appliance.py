"""The appliance under load: CP and FT conversations per minute, EndorseCerts, memory, beside ``openssl speed``.

One run holds both keystores, all numbers of clients, warm and fresh connections, one and two processes, and what the
machine's OpenSSL reaches, so that ratios hold. A conversation is what a station asks for one device from bare die to
shipped part: 7 calls for ``sival``, 8 for ``pi01``, which has three TBS endorsed and fetches CA certificates.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.appliance_runs import Load, Result, Runner
from benchmarks.appliance_served import Served, served
from benchmarks.figures import Aim, Figure, NotMeasuredError, Options, Report, percentile
from station.errors import ConfigError

STATIONS = tuple(f"station-{number}" for number in range(1, 33))
MIDDLE = 8
WARM_UP = Load("sival", MIDDLE, False, 1.0, 400)
DEVICES_PER_SECOND = {False: 300, True: 100}
"""Warm and fresh: more conversations than this would need more devices than are made before."""
PER_MINUTE = {False: Aim(">=", 6000), True: Aim(">=", 900)}
P99_MILLISECONDS = Aim("<=", 20)
GROWTH_MEBIBYTES = Aim("<=", 5)
MEMORY_CALLS, MEMORY_DEVICES, MEMORY_SECONDS = 100_000, 2400, 110.0
SIGNATURES, VERIFICATIONS = 2, 5
"""ECDSA that one ``sival`` device needs: its certificate and its registry record are signed and verified, and its
three certificates are verified when it is registered. The CAs' own signatures are verified once."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What ``openssl speed`` reaches on one core, per second of processor time."""

    signs: float
    verifies: float

    @property
    def per_minute(self) -> float:
        """Conversations of a program that does nothing but their ECDSA."""
        return 60 / (SIGNATURES / self.signs + VERIFICATIONS / self.verifies)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: numbers of clients, seconds of each load, calls until the memory is looked at again."""

    clients: tuple[int, ...]
    seconds: float
    calls: int

    @classmethod
    def of(cls, options: Options) -> Plan:
        """Short, or as long as the figures need."""
        return cls((MIDDLE,), 1.0, 2000) if options.quick else cls((32, MIDDLE, 1), 3.0, MEMORY_CALLS)

    def loads(self, sku: str = "sival") -> Iterator[Load]:
        """Warm with every number of clients, then fresh."""
        for fresh in (False, True):
            for clients in self.clients:
                yield self.load(clients, fresh, sku)

    def load(self, clients: int, fresh: bool = False, sku: str = "sival") -> Load:
        """One load of the plan's length."""
        return Load(sku, clients, fresh, self.seconds, int(DEVICES_PER_SECOND[fresh] * self.seconds))


def measure(options: Options) -> Report:
    """Software keystore with memory, two workers, SoftHSM2; the ceiling before and after."""
    plan, report = Plan.of(options), Report()
    ceilings = [openssl_speed()]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="appliance-") as name:
        folder = Path(name)
        with served(folder / "software", STATIONS) as appliance:
            results, growth = _software(plan, appliance)
        with served(folder / "workers", STATIONS, workers=2) as appliance:
            paired = _run(appliance, [plan.load(clients) for clients in plan.clients if clients > 1])
        hardware = _softhsm(plan, folder / "softhsm", report)
    ceilings.append(openssl_speed())
    ceiling = Ceiling(statistics.mean(one.signs for one in ceilings), statistics.mean(one.verifies for one in ceilings))
    figures += _openssl(ceiling)
    figures += _rates("software", results, ceiling) + _rates("software, 2 workers", paired, ceiling, results)
    figures += _rates("SoftHSM2", hardware, ceiling)
    report.figures += [*figures, *_costs(results, paired, hardware, ceiling), growth]
    return report


Results = dict[Load, Result]


def _software(plan: Plan, appliance: Served) -> tuple[Results, Figure]:
    """All loads, then more until the calls are enough; the memory from after the first load on."""
    runner = Runner(appliance, STATIONS)
    runner.run(WARM_UP)
    first, *others = [*plan.loads(), plan.load(MIDDLE, sku="pi01")]
    results = {first: runner.run(first)}
    before, calls = appliance.resident_mebibytes(), runner.calls
    results |= {load: runner.run(load) for load in others}
    spent = 0.0
    while runner.calls - calls < plan.calls and spent < MEMORY_SECONDS:
        spent += runner.run(Load("sival", MIDDLE, False, MEMORY_SECONDS - spent, MEMORY_DEVICES)).seconds
    after, counted = appliance.resident_mebibytes(), runner.calls - calls
    note = f"over {counted:,} calls, from {before:.1f} to {after:.1f} MiB resident"
    return results, Figure("memory of the server grown", max(after - before, 0.0), "MiB", GROWTH_MEBIBYTES, note=note)


def _run(appliance: Served, loads: list[Load]) -> Results:
    runner = Runner(appliance, STATIONS)
    runner.run(WARM_UP)
    return {load: runner.run(load) for load in loads}


def _softhsm(plan: Plan, folder: Path, report: Report) -> Results:
    try:
        with served(folder, STATIONS, in_softhsm=True) as appliance:
            return _run(appliance, [*plan.loads()])
    except ConfigError as missing:
        report.notes.append(f"SoftHSM2 is not measured: {missing}")
        return {}


def _openssl(ceiling: Ceiling) -> list[Figure]:
    return [
        Figure("openssl speed ecdsap256, sign", ceiling.signs, "per s"),
        Figure("openssl speed ecdsap256, verify", ceiling.verifies, "per s"),
    ]


def _rates(keystore: str, results: Results, ceiling: Ceiling, single: Results | None = None) -> list[Figure]:
    """Conversations per minute beside what the ECDSA alone allows, or beside one process under the same load."""
    figures = []
    for load, result in sorted(
        results.items(), key=lambda item: (item[0].sku != "sival", item[0].fresh, item[0].clients)
    ):
        baseline, name = ceiling.per_minute, "ECDSA alone, 1 core"
        if single is not None:
            baseline, name = single[load].per_minute, "1 worker"
        kind = "fresh" if load.fresh else "warm"
        title = f"{load.sku}, {keystore}, {load.clients} client{'s' * (load.clients > 1)}, {kind}"
        aim = PER_MINUTE[load.fresh] if load.sku == "sival" else None
        figures.append(Figure(title, result.per_minute, "conversations/min", aim, baseline, name))
    return figures


def _costs(results: Results, paired: Results, hardware: Results, ceiling: Ceiling) -> list[Figure]:
    """What one conversation costs and how long EndorseCerts takes, with eight clients in open sessions."""
    figures = []
    for keystore, loads in (("software", results), ("software, 2 workers", paired), ("SoftHSM2", hardware)):
        for load, result in loads.items():
            if load.clients != MIDDLE or load.fresh:
                continue
            tbs = "3 TBS" if load.sku == "pi01" else "1 TBS"
            title = f"EndorseCerts of {tbs}, {keystore}, {MIDDLE} clients, p99"
            seconds = percentile(result.endorse_seconds, 0.99)
            figures.append(Figure(title, 1000 * seconds, "ms", P99_MILLISECONDS))
            if load.sku == "sival":
                figures += _cpu(keystore, result, ceiling)
    return figures


def _cpu(keystore: str, result: Result, ceiling: Ceiling) -> list[Figure]:
    alone = 60_000 / ceiling.per_minute
    title = f"CPU of the server per conversation, {keystore}"
    return [
        Figure(title, result.server_milliseconds, "ms", None, alone, "ECDSA alone"),
        Figure(f"CPU of the clients per conversation, {keystore}", result.client_milliseconds, "ms"),
    ]


def openssl_speed() -> Ceiling:
    """One second of each, by the machine's own OpenSSL; its rates are those of processor time."""
    try:
        done = subprocess.run(
            ["openssl", "speed", "-seconds", "1", "ecdsap256"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        raise NotMeasuredError("the openssl program is not there, or cannot measure its speed") from None
    found = re.search(r"ecdsa \(nistp256\)\s+\S+\s+\S+\s+([\d.]+)\s+([\d.]+)", done.stdout)
    if found is None:
        raise NotMeasuredError("expected sign/s and verify/s of nistp256 from openssl speed, saw another output")
    return Ceiling(float(found[1]), float(found[2]))
