"""A whole station of real processes as a hostile user meets it: appliance, virtual bench, engine, command line.

A ``Place`` is one station with its data folder and one chip on the shelf. Processes are started and ended by their own
id; what a test changes lies in the place's folder only, appliance and virtual bench are shared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from station_file import station_text

from drivers.virtual.handler import VirtualHandler
from station import protocol
from station.credentials import CredentialStore
from station.model import Realm, Role
from station.operators import Operators
from station.virtual_station import CLIENT, VirtualStation

ROOT = Path(__file__).resolve().parents[2]
CP_LABEL, FT_LABEL = "L24-0117/W12/X7/Y19", "P000041"
SUPERVISOR, PIN = "sup", b"358901"
RUN_SECONDS = 60.0
SETTLE_SECONDS = 10.0
FUSES = "fuses.bin"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def verdict(self) -> dict[str, Any]:
        """The verdict line of ``run --json``; empty when there was none."""
        lines = [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]
        return next((line for line in reversed(lines) if line.get("event") == "verdict"), {})

    @property
    def sentence(self) -> str:
        """What went to stderr, checked to be no traceback."""
        assert "Traceback" not in self.err, self.err
        return self.err.strip()


@dataclass
class Place:
    """One station: its file, its data folder, its chip."""

    folder: Path
    settings: dict[str, str]
    resources: str = ""

    @property
    def station(self) -> Path:
        return self.folder / "station.toml"

    @property
    def name(self) -> str:
        return self.settings["name"]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def chip(self) -> Path:
        return self.folder / "chip"

    def write(self, **changes: str) -> Place:
        """Write the station file, with some settings changed."""
        self.settings = {**self.settings, **changes}
        self.station.write_text(station_text(**self.settings))
        return self

    def cli(
        self, *arguments: str, seconds: float = RUN_SECONDS, file_size: int = resource.RLIM_INFINITY, under: str = ""
    ) -> Said:
        """One command of the station, with this station's file; no file may grow beyond ``file_size``.

        ``under`` is a command that starts it with fewer rights.
        """
        # not preexec_fn: it forks this process for real, and gRPC's threads of other tests abort the copy
        limited = [] if file_size == resource.RLIM_INFINITY else ["prlimit", f"--fsize={file_size}"]
        done = subprocess.run(
            [*limited, *under.split(), sys.executable, "-m", "station", *arguments, "--station", str(self.station)],
            cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds,
            check=False,
        )  # fmt: skip
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def run(self, recipe: str, label: str, *more: str, **limits: Any) -> Said:
        """``station run`` on the part in socket 1."""
        return self.cli("run", recipe, "--label", label, "--json", "--wait", "15", *more, **limits)

    # ---- what the journal says ------------------------------------------------------------------------------------

    def rows(self, after: int = 0) -> list[dict[str, Any]]:
        """Rows of the journal as plain dictionaries; an engine may be writing it."""
        path = self.data / "journal.sqlite"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM journal WHERE seq > ? ORDER BY seq", (after,))]

    def kinds(self, after: int = 0) -> list[str]:
        return [row["kind"] for row in self.rows(after)]

    def verdicts(self) -> list[dict[str, Any]]:
        return [json.loads(row["detail"]) for row in self.rows() if row["kind"] == "verdict"]

    def length(self) -> int:
        return len(self.rows())

    # ---- what the chip says ---------------------------------------------------------------------------------------

    def chip_digest(self) -> dict[str, str]:
        """SHA-256 of everything the chip keeps without power."""
        files = sorted(path for path in self.chip.iterdir() if path.is_file())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def double_burns(self) -> list[Any]:
        return list(json.loads((self.chip / "chip.json").read_text())["double_burns"])

    def release(self, label: str) -> Said:
        return self.cli("part", "release", label, "--reason", "looked at under the microscope")


@dataclass
class Before:
    """What must not change: chip, number of journal rows, registrations at the appliance."""

    chip: dict[str, str]
    rows: int
    devices: int


class EndBench:
    """Appliance and virtual bench as processes; one socket; places to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = VirtualStation(folder / "home", 1, "sival")
        self.home.__enter__()
        self.bench_file = folder / "home" / "bench" / "bench.json"
        self.hands = VirtualHandler(self.bench_file)
        self.appliance = folder / "home" / "appliance"
        self._template = folder / "template"
        self._make_template()
        self._number = 0
        self._made: dict[str, Place] = {}

    def close(self) -> None:
        self.hands.close()
        self.home.__exit__()

    def _make_template(self) -> None:
        self._template.mkdir(mode=0o700)
        password = (self.appliance / "clients" / "sku_password").read_bytes().strip()
        CredentialStore(self._template / "credentials", Realm.DEV).store("sku_password_sival", password)
        Operators(self._template).add(SUPERVISOR, Role.SUPERVISOR, PIN)

    # ---- places ---------------------------------------------------------------------------------------------------

    def place(self, name: str = "fresh", of: Place | None = None) -> Place:
        """A station that has never seen a part with a bare die, or a copy of another place.

        Each has its own name, else the appliance would take it for a station that was restored from an older copy.
        """
        self._number += 1
        folder = self.folder / f"{self._number:03}-{name}"
        folder.mkdir()
        shutil.copytree(of.data if of else self._template, folder / "data")
        if of:
            shutil.copytree(of.chip, folder / "chip")
        else:
            (folder / "chip").mkdir()
        client = self.appliance / "clients" / CLIENT
        settings = {
            "name": f"hostile-{self._number}", "realm": "dev", "bench": str(self.bench_file), "serial": "VB0001",
            "endpoint": str(self.appliance / "endpoint.json"), "ca": str(self.appliance / "tls" / "ca-cert.pem"),
            "certificate": str(client / "cert.pem"), "key": str(client / "key.pem"),
        }  # fmt: skip
        return Place(folder, settings).write()

    def probed(self) -> Place:
        """A copy of a die that passed Chip Probe, with the journal that knows it."""
        return self.place("probed", of=self._made_once("earlgrey-cp", CP_LABEL, None))

    def provisioned(self) -> Place:
        """A copy of a part that passed Chip Probe and Final Test."""
        return self.place("provisioned", of=self._made_once("earlgrey-ft", FT_LABEL, self.probed))

    def _made_once(self, recipe: str, label: str, start: Callable[[], Place] | None) -> Place:
        if recipe not in self._made:
            place = start() if start else self.place("make")
            with self.inserted(place):
                said = place.run(recipe, label)
            assert said.code == 0, said
            self._made[recipe] = place
        return self._made[recipe]

    # ---- hands ----------------------------------------------------------------------------------------------------

    def insert(self, place: Place) -> None:
        """The place's chip goes into the socket, the lid is closed."""
        self.tidy()
        self.hands.command("insert", 1, label=place.folder.name, folder=str(place.chip),
                           place=CP_LABEL)  # fmt: skip
        self.hands.lid(1, True)

    def tidy(self) -> None:
        """An empty, open socket whose cable and supply are in order."""
        self.hands.replug(1)
        self.hands.power(1, True)
        if self.hands.state(1)["label"]:
            self.hands.fault(1, "clear")
            self.hands.remove(1)
        self.hands.lid(1, False)

    @contextlib.contextmanager
    def inserted(self, place: Place) -> Iterator[None]:
        self.insert(place)
        try:
            yield
        finally:
            self.tidy()

    # ---- before and after -----------------------------------------------------------------------------------------

    def devices(self) -> int:
        """Registrations at the appliance."""
        path = self.appliance / "registry.db"
        if not path.exists():
            return 0
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as db:
            return int(db.execute("SELECT count(*) FROM registrations").fetchone()[0])

    def before(self, place: Place) -> Before:
        return Before(place.chip_digest(), place.length(), self.devices())

    def unchanged(self, place: Place, before: Before, journal: bool = True) -> None:
        """Chip and appliance are as they were; with ``journal`` no row was added, else none of a burn."""
        assert place.chip_digest() == before.chip, "the chip was changed"
        assert self.devices() == before.devices, "the appliance got a registration"
        if journal:
            assert place.length() == before.rows, place.kinds(before.rows)
        else:
            burnt = {"intent", "outcome", "keep", "registration"} & set(place.kinds(before.rows))
            assert not burnt, burnt


@dataclass
class Engine:
    """``station engine`` as a process; a thread of the test reads its events, and may be told not to."""

    place: Place
    more: tuple[str, ...] = ("--operator", SUPERVISOR)
    events: list[protocol.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._log = (self.place.folder / "engine.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "station", "engine", "--station", str(self.place.station), *self.more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment(), bufsize=0,
        )  # fmt: skip
        self._changed = threading.Condition()
        self._reads = threading.Event()
        self._reads.set()
        self._reader = threading.Thread(target=self._read, name="engine events")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        while True:
            self._reads.wait()
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            found = [protocol.decode_event(line) for line in lines]
            with self._changed:
                self.events += found
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    # ---- the window's side ----------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """The window reads no more (at most one chunk that is already on its way)."""
        self._reads.clear()

    def thaw(self) -> None:
        self._reads.set()

    def send(self, *commands: protocol.Command) -> None:
        self.raw(b"".join(map(protocol.encode, commands)))

    def raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self.process.stdin.fileno(), view) :]

    def wait(self, what: str, fits: Callable[[protocol.Event], bool], seconds: float = 30.0, after: int = 0) -> Any:
        """The first event after a position that fits."""
        end = time.monotonic() + seconds
        position = after
        with self._changed:
            while True:
                while position < len(self.events):
                    if fits(self.events[position]):
                        return self.events[position]
                    position += 1
                left = end - time.monotonic()
                assert left > 0 and (self._reader.is_alive() or position < len(self.events)), (
                    f"{what} did not come; last: {self.events[-4:]}"
                )
                self._changed.wait(min(left, 0.5))

    def state(self, fits: Callable[[protocol.SocketState], bool], what: str, seconds: float = 30.0) -> Any:
        """The present tile, once it fits."""
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                now = self.tile
                if now is not None and fits(now):
                    return now
                left = end - time.monotonic()
                assert left > 0 and self._reader.is_alive(), f"{what} did not come; the tile is {now}"
                self._changed.wait(min(left, 0.5))

    @property
    def tile(self) -> protocol.SocketState | None:
        return next((e for e in reversed(self.events) if isinstance(e, protocol.SocketState)), None)

    def begin(self, recipe: str, label: str) -> None:
        """Choose, scan, start: as an operator would who sees the tile."""
        self.send(protocol.SelectRecipe(recipe))
        self.state(lambda tile: tile.state == "scan", "a tile that waits for a scan")
        self.send(protocol.Scan(label, 1))
        ready = self.state(lambda tile: tile.may_start, "a part that may start")
        self.send(protocol.Start(1, ready.epoch))

    def first_burn(self) -> None:
        """Until a burn's intent is on the disk: a moment after the tile has begun to say DO NOT REMOVE."""
        self.state(lambda tile: tile.state == "burning", "a burn")
        end = time.monotonic() + 10
        while "intent" not in self.place.kinds():
            assert time.monotonic() < end, "no intent came"

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The engine stands still."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def verdict(self, seconds: float = 30.0) -> Any:
        return self.state(lambda tile: tile.verdict is not None, "a verdict", seconds).verdict

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def refusal(self, after: int = 0) -> str:
        found = self.wait("a refusal", lambda e: isinstance(e, protocol.CommandRefused), after=after)
        return str(found.sentence)

    # ---- the end --------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._gone()

    def end(self) -> int:
        """The window is closed; returns the exit code."""
        self.thaw()
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        return self._gone()

    def _gone(self) -> int:
        self.thaw()
        try:
            code = self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._reader.join(10)
            for stream in (self.process.stdin, self.process.stdout, self._log):
                if stream is not None:
                    stream.close()
        return code

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None or not self._log.closed:
            self.end()

    @property
    def log(self) -> str:
        return (self.place.folder / "engine.log").read_text()
