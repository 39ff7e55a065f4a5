"""A whole station in one folder for demo, tests and the first look: embedded appliance, virtual bench, station file."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from station import plugins
from station.chips import CHIPS, DEFAULT_CHIP, Chip, chip_named
from station.credentials import CredentialStore
from station.data_folder import DataFolder
from station.errors import BenchError, ConfigError, nearest
from station.model import Realm
from station.processes import Child, child_environment
from station.program import station_command
from station.resources import resources_folder
from station.toml_file import TomlFile

READY_SECONDS = 60.0
STATION_NAME = "BENCH-V1"
CLIENT = "station-1"
DEMO_OPERATOR = "demo"
DEMO_PIN = b"271828"
"""The PIN of the virtual bench's supervisor: no secret, and good for development keys only."""

STATION_FILE = """\
# Made by `station demo`: a virtual bench with development keys. Nothing real may be connected to this station.
schema = 1
name = "{name}"
realm = "dev"
mode = "virtual"
data = "data"
virtual_bench = "bench/bench.json"
{recipes}
[handler]
driver = "virtual"
"""
APPLIANCE = """
[appliance]
driver = "grpc"
[appliance.settings]
endpoint = "appliance/endpoint.json"
ca = "appliance/tls/ca-cert.pem"
certificate = "appliance/clients/{client}/cert.pem"
key = "appliance/clients/{client}/key.pem"
"""
SOCKET = """
[[socket]]
driver = "{driver}"
{fixture}[socket.settings]
serial = "{serial}"
"""


class VirtualStation:
    """Starts bench and, where the chip needs one, appliance as processes of their own; ends them on every way out.

    Without ``sku`` and ``driver`` they are the chip's own.
    """

    def __init__(
        self, folder: Path, sockets: int, sku: str = "", driver: str = "", kept: bool = True, chip: str = DEFAULT_CHIP
    ) -> None:
        self.chip = chip_named(chip)
        self.folder = folder.resolve()
        self.kept = kept
        self.station_file = self.folder / "station.toml"
        self.data = self.folder / "data"
        self._sockets = sockets
        self._sku = sku or self.chip.sku
        self._driver = driver or self.chip.driver
        self._ways_out = contextlib.ExitStack()

    def __enter__(self) -> VirtualStation:
        _refuse_unknown(self._sku, self.chip)
        plugins.load("station.drivers", self._driver)
        try:
            self._take_folder()
            self._refuse_other_chip()
            self._refuse_when_taken()
            if self.chip.appliance:
                self._make_appliance()
                self._start_appliance()
            adapters = self._start_bench()
            self._write_station_file(adapters)
            if self.chip.appliance:
                self._store_password()
        except BaseException:  # no process stays behind
            self._ways_out.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ways_out.close()

    @property
    def logs(self) -> Path:
        """Folder of the processes' log files."""
        return self.folder / "logs"

    def _take_folder(self) -> None:
        """Before anything is touched: a second station here would take the first one's appliance and bench away."""
        folder = DataFolder(self.folder)
        folder.lock("in")
        self._ways_out.callback(folder.release)

    def _refuse_other_chip(self) -> None:
        """Parts, labels and records of two kinds do not mix."""
        found = chip_of_folder(self.folder)
        if self.station_file.exists() and found != self.chip.name:
            raise ConfigError(
                f"the station in {self.folder} is one of {found}, not of {self.chip.name}; use another --data"
            )

    def _refuse_when_taken(self) -> None:
        """An engine that still works here (its window was killed) must not lose its bench to a new one."""
        folder = DataFolder(self.data)
        folder.lock()
        folder.release()

    def _make_appliance(self) -> None:
        home = self.folder / "appliance"
        if (home / "appliance.toml").exists():
            return
        command = station_command("appliance", "init", str(home), "--station", CLIENT)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=child_environment(), check=False
        )
        if done.returncode:
            raise ConfigError(f"the development appliance could not be made: {done.stderr.strip()[-500:]}")

    def _start_appliance(self) -> None:
        (self.folder / "appliance" / "endpoint.json").unlink(missing_ok=True)
        arguments = ["appliance", "serve", str(self.folder / "appliance"), "--port", "0", "--json"]
        self._child("appliance", [*arguments, "--parent-pid", str(os.getpid())])

    def _start_bench(self) -> list[str]:
        bench = self.folder / "bench"
        arguments = ["simulate", "--data", str(bench), "--sockets", str(self._sockets), "--json"]
        if self.chip.name != DEFAULT_CHIP:
            arguments += ["--chip", self.chip.name]
        if self._driver != self.chip.driver:
            arguments.append("--remote-bitbang")
        line = self._child("virtual bench", [*arguments, "--parent-pid", str(os.getpid())])
        try:
            return [str(serial) for serial in json.loads(line)["adapters"]]
        except (ValueError, KeyError, TypeError):
            raise BenchError(f"the virtual bench said something unexpected: {line[:200]}") from None

    def _child(self, name: str, arguments: list[str]) -> str:
        self.logs.mkdir(exist_ok=True)
        log = self._ways_out.enter_context(open(self.logs / f"{name.replace(' ', '-')}.log", "ab"))  # noqa: SIM115
        child = Child(name, arguments, log.fileno())
        self._ways_out.callback(child.end)
        try:
            return child.first_line(READY_SECONDS)
        except BenchError as error:
            raise BenchError(f"{error} ({log.name if self.kept else last_line(Path(log.name))})") from None

    def _write_station_file(self, adapters: list[str]) -> None:
        recipes = f"recipes = {json.dumps(self.chip.recipes)}\n"
        text = STATION_FILE.format(name=STATION_NAME, recipes=recipes)
        text += APPLIANCE.format(client=CLIENT) if self.chip.appliance else ""
        text += "".join(self._socket(number, serial) for number, serial in enumerate(adapters, 1))
        self.station_file.write_text(text, encoding="utf-8")

    def _socket(self, number: int, serial: str) -> str:
        """Another driver than ours is told where the bench is; no fixture name hides its identity in the journal."""
        builtin = self._driver == self.chip.driver
        fixture = f'fixture = "virtual socket {number}"\n' if builtin else ""
        settings = dict(self.chip.settings)
        if not builtin:
            settings["bench"] = str(self.folder / "bench" / "bench.json")
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
        return SOCKET.format(driver=self._driver, serial=serial, fixture=fixture) + lines

    def _store_password(self) -> None:
        password = (self.folder / "appliance" / "clients" / "sku_password").read_bytes().strip()
        store = CredentialStore(self.data / "credentials", Realm.DEV)
        store.store(f"sku_password_{self._sku}", password)


def chip_of_folder(folder: Path) -> str:
    """The chip of the virtual station that was made in this folder, told by its recipes; the usual one in a new one."""
    file = folder / "station.toml"
    recipes = TomlFile(file).data.get("recipes", ()) if file.is_file() else ()
    return next((chip.name for chip in CHIPS.values() if set(recipes) & set(chip.recipes)), DEFAULT_CHIP)


@contextlib.contextmanager
def demo_folder(given: Path | None) -> Iterator[Path]:
    """The folder somebody asked for, or a temporary one that is removed again."""
    if given is not None:
        yield given
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="station-demo-") as name:
        yield Path(name)


def last_line(log: Path) -> str:
    """The last words of a log that will be gone."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it is empty")


def _refuse_unknown(sku: str, chip: Chip) -> None:
    """The bench's chips know the programs of the built-in SKU packs of their kind."""
    packs = [path for path in sorted((resources_folder() / "skus").glob("*/pack.toml")) if _chip_of(path) == chip.name]
    known = [path.parent.name for path in packs]
    if sku not in known:
        raise ConfigError(
            f"there is no SKU pack '{sku}' for {chip.name}{nearest(sku, known)}; there are {', '.join(known)}. "
            "The demo plays shipped packs only: for one of your own make a station on a virtual bench "
            "(docs/virtual-nordic.md)"
        )


def _chip_of(pack: Path) -> str:
    return str(TomlFile(pack).data.get("chip", ""))
