"""``station simulate``: the process of the virtual bench.

It ends on SIGTERM or SIGINT, or when the process named by ``--parent-pid`` is gone and nobody is connected any more.
Chip state is in files and is never older than the last change, so the process may be killed at any moment.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import platformdirs

from drivers.virtual.bench_kind import CHIPS, EARLGREY, bench_kind
from drivers.virtual.bench_server import BenchServer
from drivers.virtual.bench_state import BENCH_FAULTS, BenchState, known_faults
from drivers.virtual.whereabouts import KIND_FILE, MEMORY
from station.errors import nearest

BENCH_FILE = "bench.json"
IMAGES = Path(__file__).resolve().parents[2] / "resources" / "skus"
"""Programs that the virtual chips know: the images of all built-in SKU packs."""

SIGNAL_POLL = 0.1
LINGER_SECONDS = 120.0
"""A killed window must not cut the power of parts that its engine still writes: so long the bench waits for it."""

EXIT_CONFIG = 2


class Bench:
    """A running bench inside this process; ``main`` and the tests start it."""

    def __init__(
        self, data: Path, sockets: int, open_chip: Any = None, remote_bitbang: bool = False, chip: str = EARLGREY
    ) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._held = _hold(data)
        self.file = data / BENCH_FILE
        try:
            _claim(data, chip)
            self.state = BenchState(data, sockets, bench_kind(chip, _images(data), open_chip))
        except ValueError:
            self._held.close()
            raise
        self._server = BenchServer(self.state)
        self._bitbang = _open_remote_bitbang(self.state) if remote_bitbang else {}

    def start(self) -> None:
        """Serve and say where: after this call ``file`` can be used."""
        for adapter in self.state.adapters:
            adapter.start()
        self._server.start()
        self._server.write_address(self.file, {name: server.port for name, server in self._bitbang.items()})

    def stop(self) -> None:
        """Close everything; the address file goes, the chips stay."""
        self.file.unlink(missing_ok=True)
        self._server.stop()
        for adapter in self.state.adapters:
            adapter.stop()
        for server in self._bitbang.values():
            server.close()
        self.state.close()
        self._held.close()

    @property
    def busy(self) -> bool:
        """True while an engine or a hand is connected."""
        return self._server.busy or any(adapter.busy for adapter in self.state.adapters)

    def address(self) -> Mapping[str, object]:
        """What ``--json`` prints: where to find the bench."""
        return {
            "bench": str(self.file),
            "port": self._server.port,
            "pid": os.getpid(),
            "sockets": len(self.state.sockets),
            "adapters": [adapter.serial for adapter in self.state.adapters],
            "remote_bitbang": {name: server.port for name, server in self._bitbang.items()},
        }


def _hold(data: Path) -> IO[str]:
    """Lock the data folder: two benches on the same chips would tear them; raises OSError when it is held."""
    lock = (data / "bench.lock").open("w")
    if os.name == "posix":
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise
    return lock


def _images(data: Path) -> Path:
    """The bench's own programs when it has some, else those of the built-in SKU packs."""
    own = data / "images"
    return own if own.is_dir() else IMAGES


def _claim(data: Path, chip: str) -> None:
    """A folder is of one chip kind for good; raises ValueError when it is another one's."""
    mark = data / KIND_FILE
    if mark.exists():
        found = mark.read_text("utf-8").strip()
    else:
        found = EARLGREY if (data / MEMORY).exists() else chip
        mark.write_text(f"{found}\n", "utf-8")
    if found != chip:
        raise ValueError(f"expected parts of chip {chip} in {data}, found those of chip {found}; give another --data")


def _open_remote_bitbang(state: BenchState) -> dict[str, Any]:
    from drivers.virtual.bitbang_ports import open_ports

    return open_ports(state)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the virtual bench; returns the exit code."""
    options = _parser().parse_args(argv)
    if options.list_faults:
        return _list_faults(options.chip, options.json)
    if options.check_fault is not None:
        return _check_fault(options.chip, options.check_fault)
    if options.check_traces is not None:
        return _check_traces(options.check_traces)
    if options.sockets < 1:
        print("station simulate: expected at least one socket", file=sys.stderr)
        return EXIT_CONFIG
    return _serve(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="station simulate", description="Run the virtual bench in this process.")
    parser.add_argument("--chip", choices=CHIPS, default=EARLGREY, help="which chips it has (default: %(default)s)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where chips and the bench's address are kept")
    parser.add_argument("--sockets", type=int, default=1, metavar="N", help="how many sockets, each with its adapter")
    parser.add_argument("--port-file", type=Path, metavar="F", help="write the address to this file, too")
    parser.add_argument("--parent-pid", type=int, metavar="PID", help="end when this process is gone")
    parser.add_argument("--remote-bitbang", action="store_true", help="open a remote_bitbang port per socket")
    parser.add_argument("--check-traces", type=Path, metavar="DIR", help="replay golden JTAG traces and end")
    parser.add_argument("--list-faults", action="store_true", help="show the faults that can be armed, and end")
    parser.add_argument("--check-fault", metavar="NAME", help="end with 0 when this fault can be armed, else 2")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    return parser


def _serve(options: argparse.Namespace) -> int:
    data = options.data or platformdirs.user_data_path("provisioning-station", appauthor=False) / "virtual-bench"
    asked: list[int] = []  # a handler that set an Event could meet its lock held by the wait it interrupts
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    watch = _parent_watch(options.parent_pid)
    try:
        bench = Bench(data, options.sockets, remote_bitbang=options.remote_bitbang, chip=options.chip)
    except ValueError as error:
        print(f"station simulate: {error}", file=sys.stderr)
        return EXIT_CONFIG
    except BlockingIOError:
        print(f"station simulate: another virtual bench is running on {data}; end it or give --data", file=sys.stderr)
        return EXIT_CONFIG
    bench.start()
    try:
        address = json.dumps(bench.address())
        if options.port_file is not None:
            options.port_file.write_text(address)
        ready = f"virtual bench ready: {len(bench.state.sockets)} socket(s), {bench.file}"
        print(address if options.json else ready, flush=True)
        alone = 0.0
        while not asked:
            time.sleep(SIGNAL_POLL)
            alone += SIGNAL_POLL if watch is not None and not watch() else 0.0
            if alone and (not bench.busy or alone > LINGER_SECONDS):
                break
    finally:
        bench.stop()
    return 0


def _parent_watch(pid: int | None) -> Callable[[], bool] | None:
    """A question whether that process still lives; a child asks for its own parent, whose number is never reused."""
    if not pid:
        return None
    if os.getppid() == pid or os.name != "posix":
        return lambda: os.getppid() == pid
    return lambda: _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives under another user
    return True


def _list_faults(chip: str, as_json: bool) -> int:
    faults = known_faults(chip)
    if as_json:
        print(json.dumps(faults))
    else:
        for name, text in faults.items():
            print(f"{name:22} {text}")
        example = "panic:identity" if "panic" in faults else "unplug:12"
        print(f"\nThe argument of a fault is written behind its name and a colon, as in {example}.")
    return 0


def _check_fault(chip: str, fault: str) -> int:
    """What arming it would say, without a chip."""
    known = known_faults(chip)
    head, _, argument = fault.partition(":")
    try:
        if not {fault, fault.rpartition(":")[0]} & known.keys():
            hint = nearest(fault, known) or nearest(fault.rpartition(":")[0], known)
            raise ValueError(f"no fault is called {fault!r}{hint}")
        if head not in BENCH_FAULTS:
            bench_kind(chip, IMAGES).check_fault(fault)
        elif argument and not (head == "unplug" and argument.isdecimal()):
            raise ValueError(f"the fault '{head}' takes no argument {argument!r}")
    except ValueError as error:
        which = "" if chip == EARLGREY else f" --chip {chip}"
        print(f"{error}; `station simulate{which} --list-faults` shows all", file=sys.stderr)
        return EXIT_CONFIG
    return 0


def _check_traces(folder: Path) -> int:
    from drivers.virtual.taps.trace_check import check_traces

    return check_traces(folder, print)


if __name__ == "__main__":
    raise SystemExit(main())
