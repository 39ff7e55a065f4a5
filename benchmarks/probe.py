"""A debug probe: requests for programming flash against bare block writes, and processor time of one Nordic part.

Both sides of the first comparison are the real pyOCD on the same virtual part in the same bench process, taking turns.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import virtual_bench
from benchmarks.figures import Aim, Figure, NotMeasuredError, Options, Report, seconds_of
from benchmarks.part import part_bench
from benchmarks.rest import rest_figure
from station.chips import chip_named
from station.formats.nordic_family import Nvmc, family
from station.model import EraseWaiver, Segment, Span

CHIP, BOARD, SERIAL = "nrf9160", "nrf9160dk", "VP0001"
KIB = 64
BLOCK = 4096
IMAGE = random.Random(91).randbytes(KIB * 1024)
LOCKS = ("lock", "unlock")
PART_CHIPS = ("nrf5340", "nrf9160")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one programming of the image cost: requests in all, those that are not about the probe's lock, seconds."""

    requests: int
    transfers: int
    seconds: float


def measure(options: Options) -> Report:
    """Requests per KiB, then processor time of whole parts."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        own, bare = _programmings(Path(folder), options.runs)
        report.figures += _request_figures(own, bare)
    for chip in PART_CHIPS[: 1 if options.quick else None]:
        with tempfile.TemporaryDirectory(prefix="part-") as folder:
            report.figures += _part_figures(Path(folder), chip, 2 if options.quick else 6)
    report.figures.append(rest_figure())
    report.notes += [
        f"both sides write {KIB} KiB in blocks of {BLOCK} bytes and read back every byte; the station also halts the "
        "core, erases each page and awaits READY after each page and block",
        "bare pyOCD locks the probe around each call, the station once around all",
    ]
    return report


def _request_figures(own: list[Cost], bare: list[Cost]) -> list[Figure]:
    def middle(costs: list[Cost], name: str) -> float:
        return float(statistics.median(getattr(cost, name) for cost in costs))

    words = "bare write_block32 and read-back"
    return [
        Figure("requests per KiB", middle(own, "requests") / KIB, "requests", Aim("<=", 1.1, of_ratio=True),
               middle(bare, "requests") / KIB, words),
        Figure("requests per KiB without those for the probe's lock", middle(own, "transfers") / KIB, "requests", None,
               middle(bare, "transfers") / KIB, words),
        Figure("wall time per KiB", 1000 * middle(own, "seconds") / KIB, "ms", None,
               1000 * middle(bare, "seconds") / KIB, words, "the station's with erasure"),
    ]  # fmt: skip


def _part_figures(folder: Path, chip: str, parts: int) -> list[Figure]:
    """One recipe over several parts in one socket; medians, the first part left out."""
    (stage,) = chip_named(chip).stages
    costs, requests = [], []
    with part_bench(folder, chip) as bench:
        bench.choose(stage.recipe)
        for number in range(1, parts + 1):
            before = bench.requests()
            costs.append(bench.one(f"part-{number:04d}", f"P{number:06d}"))
            requests.append(bench.requests() - before)

    def middle(name: str) -> float:
        return 1000 * float(statistics.median(getattr(cost, name) for cost in costs[1:]))

    return [
        Figure(f"{chip}: probe requests", statistics.median(requests[1:]), "requests", note="polling of presence, too"),
        Figure(f"{chip}: CPU outside port calls", middle("own_cpu"), "ms", Aim("<=", 60)),
        Figure(f"{chip}: CPU inside port calls", middle("port_cpu"), "ms"),
        Figure(f"{chip}: wall time", middle("seconds") / 1000, "s"),
    ]


# ---- programming ---------------------------------------------------------------------------------------------------


def _programmings(folder: Path, runs: int) -> tuple[list[Cost], list[Cost]]:
    """The station's driver and bare pyOCD in turns on one part."""
    try:
        import pyocd  # noqa: F401
    except ImportError as error:
        raise NotMeasuredError(f"pyOCD is not importable ({error}); it is the extra 'nordic'") from None
    from drivers.virtual.handler import open_handler

    with virtual_bench(folder, 1, "--chip", CHIP) as address:
        handler = open_handler({"bench": address["bench"]})
        try:
            handler.insert(1, "part-0001")
            handler.lid(1, True)
            own, bare = [], []
            for _ in range(runs):
                own.append(_own(handler))
                bare.append(_bare(handler))
            return own, bare
        finally:
            handler.close()


@contextmanager
def _probe() -> Iterator[Any]:
    """The station's probe, attached to a part that is blank."""
    from drivers.pyocd_probe import open_socket

    settings = {"serial": SERIAL, "board": BOARD, "finder": "drivers.virtual.nrf_finder", "console": ""}
    socket = open_socket(settings, 1)
    try:
        probe: Any = socket.ports["probe"]
        probe.attach()
        yield probe
    finally:
        socket.close()


def _own(handler: Any) -> Cost:
    with _probe() as probe:
        probe.erase_all("app", EraseWaiver("benchmark", 1))
        probe.read_words("app", 0, 1)  # opens the access port, as the other side has its own open
        return _counted(handler, lambda: probe.program("app", [Segment(0, IMAGE)]))


def _bare(handler: Any) -> Cost:
    """Plain pyOCD: the flash controller set to write once, then a block write and a read-back per block."""
    with _probe() as probe:
        probe.erase("app", [Span(0, len(IMAGE))])
    session, bus = _plain_pyocd()
    try:
        config = family(CHIP).app.nvmc + Nvmc.CONFIG
        bus.write_memory(config, Nvmc.WRITE)
        cost = _counted(handler, lambda: _blocks(bus))
        bus.write_memory(config, Nvmc.READ_ONLY)
        return cost
    finally:
        session.close()


def _blocks(bus: Any) -> None:
    for start in range(0, len(IMAGE), BLOCK):
        block = [int.from_bytes(IMAGE[at : at + 4], "little") for at in range(start, start + BLOCK, 4)]
        bus.write_memory_block32(start, block)
        if list(bus.read_memory_block32(start, len(block))) != block:
            raise RuntimeError(f"the block at {start:#x} was not written")


def _plain_pyocd() -> tuple[Any, Any]:
    """A session as pyOCD's own examples make it, and the memory of the application core."""
    from pyocd.core.session import Session
    from pyocd.coresight.ap import AccessPort, APv1Address
    from pyocd.probe.aggregator import DebugProbeAggregator

    from drivers.virtual.nrf_finder import probe_address

    probe = DebugProbeAggregator.get_probe_with_id(probe_address(SERIAL))
    session = Session(probe, target_override="cortex_m", no_config=True, project_dir=os.getcwd())
    session.open(init_board=False)
    port: Any = session.target.dp
    port.connect()
    return session, AccessPort.create(port, APv1Address(family(CHIP).app.ahb_ap))


def _counted(handler: Any, work: Callable[[], object]) -> Cost:
    before = handler.state(1)["requests"]
    seconds = seconds_of(work)
    after = handler.state(1)["requests"]
    made = {name: count - before.get(name, 0) for name, count in after.items()}
    return Cost(sum(made.values()), sum(count for name, count in made.items() if name not in LOCKS), seconds)
