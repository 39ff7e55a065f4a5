"""How soon things happen, and how much memory they take: stop, start of command line and window, peaks."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.children import child, line_of
from benchmarks.figures import Aim, Figure, Options, Report, seconds_of
from benchmarks.live_station import Engine, add_wait_recipe, engine, virtual_station
from station.program import station_command
from station.protocol import SelectRecipe, Stop
from station.virtual_station import VirtualStation

SOCKETS = 4
SETTLED_SECONDS = 1.0
LABELS = {"earlgrey-cp": "BENCH/W1/X{0}/Y0", "earlgrey-ft": "P{0:06d}"}


def measure(options: Options) -> Report:
    """All latencies, then the peaks after parts went through all sockets."""
    report = Report()
    report.figures.append(_help(5 if options.quick else 15))
    with tempfile.TemporaryDirectory(prefix="latency-") as folder, virtual_station(Path(folder), SOCKETS) as station:
        plugin = add_wait_recipe(station)
        with engine(station, "bench-wait", plugin) as running:
            report.figures += _stops(running, 3 if options.quick else 10)
            report.figures.append(_engine_peak(running))
        if find_spec("PySide6") is None:
            report.notes.append("the window is not installed here: not measured")
        else:
            report.figures += _window(station, 1 if options.quick else 5)
    return report


def _help(runs: int) -> Figure:
    own = statistics.median(seconds_of(lambda: _silent(station_command("--help"))) for _ in range(runs))
    bare = statistics.median(seconds_of(lambda: _silent([sys.executable, "-c", "pass"])) for _ in range(runs))
    return Figure("station --help", own, "s", Aim("<=", 0.25), bare, "python -c pass")


def _silent(command: Sequence[str]) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=30)


def _stops(running: Engine, runs: int) -> list[Figure]:
    """From the stop command on the engine's stdin to the verdict's event on its stdout, during a polling wait."""
    seconds = []
    for number in range(runs):
        running.seat(1, f"stop-{number}", f"W{number:06d}")
        running.start(1)
        running.wait_state(1, "running")
        running.wait("the second wait", lambda: any(step.id == "wait_1" for step in running.states[1].steps))
        time.sleep(0.03 * (number % 5))  # not always at the same place of the wait
        began = time.monotonic()
        running.send(Stop(1))
        ended = running.wait("the verdict after the stop", lambda: running.states[1].verdict is not None)
        seconds.append(ended - began)
        running.clear(1)
    return [
        Figure("stop outside a burn to verdict, worst", 1000 * max(seconds), "ms", Aim("<=", 100)),
        Figure("stop outside a burn to verdict, median", 1000 * statistics.median(seconds), "ms"),
    ]


def _engine_peak(running: Engine) -> Figure:
    """Peak memory of the engine after a part per socket went through CP and FT."""
    for recipe, label in LABELS.items():
        running.send(SelectRecipe(recipe))
        for socket in range(1, SOCKETS + 1):
            running.seat(socket, f"memory-{socket}", label.format(socket))
        for socket in range(1, SOCKETS + 1):
            running.start(socket)
        for socket in range(1, SOCKETS + 1):
            state = running.verdict(socket)
            if state.state != "pass":
                raise RuntimeError(f"expected a pass in socket {socket}, got {state.verdict}")
        for socket in range(1, SOCKETS + 1):
            running.clear(socket)
    note = f"{SOCKETS} parts at once through CP and FT"
    return Figure("peak memory of the engine", running.usage.peak_mebibytes(), "MiB", Aim("<=", 150), note=note)


def _window(station: VirtualStation, runs: int) -> list[Figure]:
    """Start the window with its engine: first frame, first states of the sockets, peak memory."""
    painted, live, peaks = [], [], []
    for _ in range(runs):
        arguments = ["--data", str(station.data), "--engine", *station_command("engine", "--station",
                     str(station.station_file))]  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.window_up", *arguments]
        began = time.monotonic()
        with child(command, QT_QPA_PLATFORM=os.environ.get("QT_QPA_PLATFORM", "offscreen")) as process:
            told = json.loads(line_of(process))
            painted.append(told["painted"] - began)
            live.append(told["live"] - began)
            peaks.append(told["peak"])
            process.wait(30)
    return [
        Figure("window up: first frame on the screen", statistics.median(painted), "s", Aim("<=", 1.5)),
        Figure("window live: sockets of the engine shown", statistics.median(live), "s"),
        Figure("peak memory of the window, just started", max(peaks), "MiB", Aim("<=", 300)),
    ]
