"""32 KiB into the SRAM of the virtual chip: the station's driver against OpenOCD 0.12 on the same virtual TAP."""

from __future__ import annotations

import random
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import virtual_bench
from benchmarks.figures import Aim, Figure, NotMeasuredError, Options, Report, seconds_of
from benchmarks.openocd import Relay, openocd
from station.model import Tap

WORDS = 32 * 1024 // 4
ADDRESS = 0x1000_0000
FLOOR_TCK = 45  # 41 shifts and 4 moves
USB_BACKEND = "drivers.virtual.usb_backend"
NOISE = random.Random(32)
PROGRAM = [NOISE.getrandbits(32) for _ in range(WORDS)]


@dataclass(frozen=True, slots=True)
class Load:
    """One load: seconds, TCK cycles; with USB also transfers and bytes."""

    seconds: float
    tck: int
    out_transfers: int = 0
    in_transfers: int = 0
    out_bytes: int = 0


def measure(options: Options) -> Report:
    """Figures of the own driver, then both wall times and TCK counts against OpenOCD."""
    with (
        tempfile.TemporaryDirectory(prefix="sram-") as folder,
        virtual_bench(Path(folder), 1, "--remote-bitbang") as address,
    ):
        own, own_read = _own(address, options.runs)
        report = Report()
        theirs = _baseline(address["remote_bitbang"]["1:riscv"], Path(folder), 1 if options.quick else 3, report)
    first = own[0]
    report.figures += [
        Figure("TCK per word", first.tck / WORDS, "TCK", Aim("<=", 1.02, of_ratio=True), FLOOR_TCK, "floor"),
        Figure("USB bytes out per word", first.out_bytes / WORDS, "bytes", Aim("<=", 11.1)),
        Figure("USB OUT transfers", first.out_transfers, "transfers", Aim("<=", 4)),
        Figure("USB IN transfers", first.in_transfers, "transfers"),
    ]
    load, back = _median(own), _median(own_read)
    tck, tck_back = first.tck / WORDS, own_read[0].tck / WORDS
    only, both = Aim("<=", 0.95, of_ratio=True), Aim("<=", 0.5, of_ratio=True)
    report.figures += [
        Figure("TCK per word, load only", tck, "TCK", only, theirs.tck, "OpenOCD"),
        Figure("TCK per word, load against load and read-back", tck, "TCK", both, theirs.tck_both, "OpenOCD"),
        Figure("TCK per word, both with read-back", tck + tck_back, "TCK", None, theirs.tck_both, "OpenOCD"),
        Figure("wall time, load only", load, "s", only, theirs.load, "OpenOCD"),
        Figure("wall time, load against load and read-back", load, "s", both, theirs.both, "OpenOCD"),
        Figure("wall time, both with read-back", load + back, "s", None, theirs.both, "OpenOCD"),
    ]
    report.notes.append(
        "OpenOCD speaks remote_bitbang, two characters per TCK, to the same bench process; the wall time ratios hold "
        "that transport's cost, the TCK ratios do not"
    )
    return report


def _median(loads: list[Load]) -> float:
    return statistics.median(load.seconds for load in loads)


@dataclass(frozen=True, slots=True)
class Baseline:
    """OpenOCD's median seconds and TCK per word; None when it could not be driven."""

    load: float | None = None
    both: float | None = None
    tck: float | None = None
    tck_both: float | None = None


def _baseline(port: int, folder: Path, runs: int, report: Report) -> Baseline:
    try:
        loads, reads = _openocd(port, folder, runs)
        counted, counted_read = _counted(port, folder)
    except (NotMeasuredError, RuntimeError) as error:
        report.notes.append(f"OpenOCD was not measured: {error}")
        return Baseline()
    load, tck = _median(loads), counted.tck / WORDS
    return Baseline(load, load + _median(reads), tck, tck + counted_read.tck / WORDS)


# ---- the station's driver ------------------------------------------------------------------------------------------


def _own(address: dict[str, Any], runs: int) -> tuple[list[Load], list[Load]]:
    """Loads and read-backs through pyftdi and the virtual USB; the pins stay as they are for OpenOCD afterwards."""
    from drivers.ftdi import open_socket
    from drivers.virtual.handler import open_handler

    handler = open_handler({"bench": address["bench"]})
    _seat(handler)
    socket = open_socket({"serial": "VB0001", "usb_backend": USB_BACKEND, "console": ""}, 1)
    try:
        jtag: Any = socket.ports["jtag"]
        _attach(socket.ports)
        loads, reads = [], []
        for _ in range(runs):
            jtag.write_words(ADDRESS, [0] * WORDS)
            loads.append(_watched(handler, lambda: jtag.write_words(ADDRESS, PROGRAM)))
            reads.append(_watched(handler, lambda: _same(jtag.read_words(ADDRESS, WORDS))))
        return loads, reads
    finally:
        socket.close(True)
        handler.close()


def _seat(handler: Any) -> None:
    """A die whose debug module is open."""
    handler.insert(1, "SRAM-BENCH")
    handler.lid(1, True)
    handler.power(1, True)
    handler.fault(1, "wrong_state", "TEST_UNLOCKED1")


def _attach(ports: Any) -> None:
    from station.parts.earlgrey.pads import Pads
    from station.parts.earlgrey.sram import SramLoader

    Pads(ports["pins"], time.sleep).reset(Tap.RISCV, bootstrap=False)
    SramLoader(ports["jtag"], time.sleep, 5).attach()


def _watched(handler: Any, work: Callable[[], object]) -> Load:
    before = handler.state(1)
    seconds = seconds_of(work)
    after = handler.state(1)
    usb = {key: after["channels"]["A"][key] - before["channels"]["A"][key] for key in ("out", "in", "out_bytes")}
    return Load(seconds, after["tck"]["A"] - before["tck"]["A"], usb["out"], usb["in"], usb["out_bytes"])


def _same(words: list[int]) -> None:
    if words != PROGRAM:
        raise RuntimeError("the SRAM does not hold what was loaded")


# ---- OpenOCD ------------------------------------------------------------------------------------------------------


def _openocd(port: int, folder: Path, runs: int) -> tuple[list[Load], list[Load]]:
    image = _image(folder)
    loads, reads = [], []
    with openocd(port, folder / "openocd.log") as tcl:
        for _ in range(runs):
            loads.append(Load(seconds_of(lambda: tcl(f"load_image {image} {ADDRESS:#x} bin")), 0))
            reads.append(Load(seconds_of(lambda: _read_back(tcl, folder)), 0))
    return loads, reads


def _counted(port: int, folder: Path) -> tuple[Load, Load]:
    """The same through a relay that counts TCK; its times are not used."""
    image = _image(folder)
    with _relay(port) as relay, openocd(relay.port, folder / "openocd.log") as tcl:
        start = relay.tck
        tcl(f"load_image {image} {ADDRESS:#x} bin")
        loaded = relay.tck
        _read_back(tcl, folder)
        return Load(0, loaded - start), Load(0, relay.tck - loaded)


@contextmanager
def _relay(port: int) -> Iterator[Relay]:
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.close()


def _image(folder: Path) -> Path:
    image = folder / "program.bin"
    image.write_bytes(struct.pack(f"<{WORDS}I", *PROGRAM))
    return image


def _read_back(tcl: Callable[[str], str], folder: Path) -> None:
    """OpenOCD's dump of what it loaded; ``verify_image`` would first try to run a checksum program on the hart."""
    dump = folder / "dump.bin"
    tcl(f"dump_image {dump} {ADDRESS:#x} {4 * WORDS}")
    _same(list(struct.unpack(f"<{WORDS}I", dump.read_bytes())))
