"""Eight sockets whose parts mostly wait, each with real polling over USB, journal and events, in one real engine."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Aim, Figure, Options, Report
from benchmarks.live_station import Engine, add_wait_recipe, engine, virtual_station
from benchmarks.wait_flow import STEP_SECONDS, STEPS

SOCKETS = 8
PLANNED = STEPS * STEP_SECONDS


def measure(options: Options) -> Report:
    """One socket alone, then eight together; the ratio of their run times is the efficiency."""
    rounds = 1 if options.quick else 3
    with tempfile.TemporaryDirectory(prefix="waiting-") as folder, virtual_station(Path(folder), SOCKETS) as station:
        plugin = add_wait_recipe(station)
        with engine(station, "bench-wait", plugin) as running:
            label = 0
            _together(running, [1], label)  # the first run also loads what is loaded late
            alone, all_eight, cpu = [], [], []
            for _ in range(rounds):
                label += SOCKETS
                alone += _together(running, [1], label)[0]
                label += SOCKETS
                seconds, share = _together(running, list(range(1, SOCKETS + 1)), label)
                all_eight.append(statistics.fmean(seconds))
                cpu.append(share)
            events, lines, memory = running.events, running.log_lines, running.usage.peak_mebibytes()
    single, eight = statistics.median(alone), statistics.median(all_eight)
    site = 1 - (eight - single) / ((SOCKETS - 1) * single)
    report = Report()
    report.figures += [
        Figure("efficiency: run time of one socket over that of eight", single / eight, "", Aim(">=", 0.97)),
        Figure("multi-site efficiency of test equipment", site, "", note="1 - (t8 - t1) / (7 t1)"),
        Figure("planned waiting over run time of eight", PLANNED / eight, ""),
        Figure("run time, mean of eight together", eight, "s", None, single, "one socket alone"),
        Figure("CPU of the engine while eight wait", 100 * statistics.median(cpu), "% of a core", Aim("<=", 60)),
        Figure("peak memory of the engine", memory, "MiB", Aim("<=", 150)),
    ]
    report.notes.append(f"{events:,} events, {lines:,} of them log lines, came over the engine's pipe")
    return report


def _together(running: Engine, sockets: list[int], label: int) -> tuple[list[float], float]:
    """Start these sockets at once; returns the run time of each and the engine's share of a core meanwhile."""
    for socket in sockets:
        running.seat(socket, f"wait-{label + socket}", f"W{label + socket:06d}")
    cpu, began = running.usage.cpu(), time.monotonic()
    for socket in sockets:
        running.start(socket)
    states = [running.verdict(socket) for socket in sockets]
    share = (running.usage.cpu() - cpu) / (time.monotonic() - began)
    for state in states:
        if state.state != "pass":
            raise RuntimeError(f"expected a pass in socket {state.socket}, got {state.verdict}")
    for socket in sockets:
        running.clear(socket)
    return [state.elapsed for state in states], share
