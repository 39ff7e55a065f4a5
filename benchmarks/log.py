"""100,000 log lines from an engine's writer, over its pipe, into the real window (offscreen), and what frames cost."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise

from benchmarks.children import Usage
from benchmarks.figures import Aim, Figure, NotMeasuredError, Options, Report, percentile
from benchmarks.flood import LINES_PER_STATE
from station.protocol import Dropped, Snapshot, SocketState

LINES = 100_000
PLAIN_LINES = 10_000
FRAME_MILLISECONDS = 16
FLOOD_SECONDS = 60
CLAIM_MILLISECONDS = 20


@dataclass(slots=True)
class Seen:
    """What arrived in the window."""

    states: int = 0
    dropped: int = 0
    last: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


def measure(options: Options) -> Report:
    """Lines per second, states lost, frame times."""
    if find_spec("PySide6") is None or find_spec("ui.window") is None:
        raise NotMeasuredError("the window (PySide6) is not installed here")
    floods = options.runs
    seen, rates, peak, (window_cpu, engine_cpu) = _floods(floods)
    plain = _plain_text_rate()
    expected = floods * LINES // LINES_PER_STATE
    gaps = [gap * 1000 for gap in seen.gaps]
    report = Report()
    report.figures += [
        Figure(
            "log lines, engine to window",
            statistics.median(rates),
            "lines/s",
            Aim(">=", 120_000),
            plain,
            "QPlainTextEdit, line by line, same process",
        ),
        Figure("CPU of the engine per line", 1e6 * engine_cpu / LINES, "µs"),
        Figure("CPU of the window per line", 1e6 * window_cpu / LINES, "µs"),
        Figure("states lost", expected - seen.states, "of " + f"{expected:,}", Aim("==", 0)),
        Figure("lines dropped", seen.dropped, "lines"),
        Figure("frame time, 99th percentile", percentile(gaps, 0.99), "ms", Aim("<=", 33), note=f"{len(gaps)} frames"),
        Figure("frame time, longest", max(gaps), "ms"),
        Figure("peak memory of the window", peak, "MiB", Aim("<=", 300)),
    ]
    return report


def _floods(floods: int) -> tuple[Seen, list[float], float, tuple[float, float]]:
    """Run the floods one after the other in one window; returns what arrived, rates, peak, CPU per flood."""
    from PySide6.QtCore import Qt, QTimer
    from PySide6.QtWidgets import QApplication

    from ui.__main__ import prepare
    from ui.engine_link import EngineLink
    from ui.sources import EngineProcess
    from ui.window import StationWindow

    application = QApplication.instance() or QApplication(sys.argv[:1])
    prepare(application)  # type: ignore[arg-type]
    started: list[EngineProcess] = []
    command = [sys.executable, "-m", "benchmarks.flood", str(LINES)]
    link = EngineLink(lambda: started.append(EngineProcess(command)) or started[-1])  # type: ignore[func-returns-value]
    window = StationWindow(link)
    window.resize(1600, 1000)
    window.show()
    seen = Seen()
    link.received.connect(lambda items: _count(items, seen))
    window.log_model.rowsInserted.connect(lambda *_: _look_for_last(window.log_model, seen))
    frames = QTimer()
    frames.setTimerType(Qt.TimerType.PreciseTimer)
    frames.setInterval(FRAME_MILLISECONDS)
    stamps: list[float] = []
    frames.timeout.connect(lambda: stamps.append(time.perf_counter()))
    link.start()
    rates = []
    try:
        _until(lambda: seen.states >= 4, "the engine's first states")
        seen.states = 0
        window_usage, engine_usage = Usage("self"), Usage(started[0].pid)
        before = window_usage.cpu(), engine_usage.cpu()
        for flood in range(1, floods + 1):
            stamps.clear()
            frames.start()
            link.send(Snapshot())
            _until(lambda flood=flood: len(seen.last) == flood, "the last line")
            frames.stop()
            first = window.log_model.rows[-LINES][0]
            rates.append(LINES / (seen.last[-1] - first))
            seen.gaps += [b - a for a, b in pairwise(stamps)]
        _until(lambda: seen.states >= floods * LINES // LINES_PER_STATE, "the last state", 2, False)
        cpu = (window_usage.cpu() - before[0]) / floods, (engine_usage.cpu() - before[1]) / floods
        return seen, rates, window_usage.peak_mebibytes(), cpu
    finally:
        link.close()
        _until(lambda: not link.alive, "the end of the engine")
        window.close()
        link.join(5)


def _count(items: list[object], seen: Seen) -> None:
    for item in items:
        if isinstance(item, SocketState):
            seen.states += 1
        elif isinstance(item, Dropped):
            seen.dropped += item.count


def _look_for_last(model: object, seen: Seen) -> None:
    if model.rows[-1][4].endswith(" last"):  # type: ignore[attr-defined]
        seen.last.append(time.time())


def _until(claim: Callable[[], bool], what: str, seconds: float = FLOOD_SECONDS, must: bool = True) -> None:
    """Let the window work in its event loop until the claim holds."""
    from PySide6.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    end_at = time.monotonic() + seconds
    timer = QTimer()
    timer.timeout.connect(lambda: loop.quit() if claim() or time.monotonic() > end_at else None)
    timer.start(CLAIM_MILLISECONDS)
    loop.exec()
    timer.stop()
    if must and not claim():
        raise TimeoutError(f"waited {seconds} s for {what}")


def _plain_text_rate() -> float:
    """The usual log widget as baseline: one append per line, in the same process, events handled every 100 lines."""
    from PySide6.QtWidgets import QApplication, QPlainTextEdit

    widget = QPlainTextEdit()
    widget.setMaximumBlockCount(LINES)
    widget.resize(1200, 300)
    widget.show()
    began = time.perf_counter()
    for number in range(PLAIN_LINES):
        widget.appendPlainText(f"12:00:00.000 1 jtag {number:06d} write 2,048 bytes at 0x10001000, system bus")
        if number % 100 == 0:
            QApplication.processEvents()
    rate = PLAIN_LINES / (time.perf_counter() - began)
    widget.close()
    return rate
