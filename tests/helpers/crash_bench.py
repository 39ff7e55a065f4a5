"""The bench of the crash matrix: virtual chips in this process, station runs as children, one appliance process.

A ``Place`` is a copy of a chip's folder and a station's data folder at one moment; every case starts from such a copy.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from station_file import station_text

from drivers.virtual.bench import Bench
from drivers.virtual.earlgrey.chip import EarlgreyChip
from drivers.virtual.earlgrey.chip_file import FUSE_WORDS
from drivers.virtual.earlgrey.partitions import ITEMS
from station.appliance.pki import client_files, init
from station.credentials import CredentialStore
from station.formats.lc_token import lc_hash
from station.model import Realm
from station.wire import registry_record_pb2

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "resources" / "skus"
LABELS = {"earlgrey-cp": "L24-0117/W12/X7/Y19", "earlgrey-ft": "P000041"}
FLOWS = {"earlgrey-cp": "chip_probe", "earlgrey-ft": "final_test"}
BURNS = {
    "chip_probe": ("unlock", "secrets", "lock"),
    "final_test": ("test_unlock", "individualize", "test_exit", "first_boot", "personalize", "install"),
}
IDENTITY = {"lot": 117, "wafer": 12, "x": 7, "y": 19, "year": 4, "week": 31, "seed": "5a" * 32}
SERVE = (
    "import ctypes, sys; ctypes.CDLL(None).prctl(1, 15);"  # PR_SET_PDEATHSIG: it ends with the test process
    "from pathlib import Path; from station.appliance.commands import serve_command;"
    "sys.exit(serve_command(folder=Path(sys.argv[1]), port=0, as_json=True, log_level=sys.argv[2]))"
)
LIFE_CYCLE_COUNT = range(0x7A8 // 2, 0x7D8 // 2)
SECRET2 = range(0x750 // 2, 0x7A8 // 2)
DEAD = 30.0


class Watch:
    """Sees every persistent change of a chip; something may strike just before or just after one of them."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self._strike: tuple[str, int, Callable[[], None]] | None = None

    def attach(self, chip: EarlgreyChip) -> None:
        """Follow this chip from now on."""
        self.changes = []
        file = chip._file
        for name, kind in (("set_word", "fuse"), ("set_info", "info"), ("set_data", "data")):
            setattr(file, name, self._watched(kind, getattr(file, name)))

    def strike(self, moment: str, number: int, action: Callable[[], None]) -> None:
        """Do something before or after the ``number``-th change from now (1 is the next); the chip stands still."""
        self._strike = (moment, len(self.changes) + number, action)

    def relax(self) -> None:
        """Nothing strikes any more."""
        self._strike = None

    def _watched(self, kind: str, real: Callable[..., None]) -> Callable[..., None]:
        def change(*arguments: Any) -> None:
            self.changes.append(f"{kind} {arguments[0]}")
            self._meet("before")
            real(*arguments)
            self._meet("after")

        return change

    def _meet(self, moment: str) -> None:
        if self._strike is not None and self._strike[:2] == (moment, len(self.changes)):
            action, self._strike = self._strike[2], None
            action()


def kill(pid: int) -> None:
    """End a process for good and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        select.select([handle], [], [], 5)
        os.close(handle)


class Zygote:
    """The process that forks station runs."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/helpers/one_run.py")], cwd=ROOT, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        )  # fmt: skip
        self.pid = int(self._answer("ready"))

    def begin(self, request: dict[str, Any]) -> int:
        """Fork a child that waits for ``go``; returns its process number."""
        self._say(json.dumps(request))
        return int(self._answer("pid"))

    def go(self) -> int:
        """Let the child work; returns its wait status."""
        self._say("go")
        return int(self._answer("status"))

    def close(self) -> None:
        with contextlib.closing(self._process.stdout):  # type: ignore[type-var]
            self._process.stdin.close()  # type: ignore[union-attr]
            assert self._process.wait(30) == 0

    def _say(self, line: str) -> None:
        self._process.stdin.write(line + "\n")  # type: ignore[union-attr]

    def _answer(self, key: str) -> Any:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        assert line, "the process of the station runs is gone"
        return json.loads(line)[key]


@dataclass
class Place:
    """Chip and data folder at one moment."""

    folder: Path
    recipe: str

    @property
    def chip(self) -> Path:
        return self.folder / "chip"

    @property
    def data(self) -> Path:
        return self.folder / "data"


@dataclass
class Ending:
    """How one station process ended: ``killed`` by a signal, or with a result."""

    killed: bool
    result: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def kind(self) -> str:
        return "killed" if self.killed else str(self.result.get("kind", ""))


class CrashBench:
    """Everything a case needs; close it at the end."""

    def __init__(self, folder: Path, log_level: str = "warning", environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.watch = Watch()
        self.appliance = folder / "appliance"
        init(self.appliance, ["matrix-1"])
        self._serve_log = (folder / "appliance.log").open("wb")
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self.appliance), log_level], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=self._serve_log, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        assert self.server.stdout is not None and self.server.stdout.readline()
        self.bench = Bench(folder / "bench", 1, open_chip=self._open_chip)
        self.bench.start()
        self.station = self._station_file()
        try:
            self.zygote = Zygote(environment)
        except BaseException:
            self._end()
            raise
        self._number = 0
        self._at_work: Path | None = None

    def _station_file(self) -> Path:
        files = client_files(self.appliance.resolve(), "matrix-1")
        path = self.folder / "station.toml"
        path.write_text(
            station_text(name="matrix-1", bench=self.bench.file, endpoint=self.appliance / "endpoint.json", ca=files.ca,
                         certificate=files.certificate, key=files.key)
        )  # fmt: skip
        return path

    def _open_chip(self, folder: Path) -> EarlgreyChip:
        chip = EarlgreyChip(folder, IMAGES)
        self.watch.attach(chip)
        return chip

    def close(self) -> None:
        self.zygote.close()
        self._end()

    def _end(self) -> None:
        self.bench.stop()
        self.server.terminate()
        with contextlib.closing(self.server.stdout):  # type: ignore[type-var]
            self.server.wait(30)
        self._serve_log.close()

    # ---- places ---------------------------------------------------------------------------------------------------

    def new_folder(self, name: str) -> Path:
        self._number += 1
        folder = self.folder / f"{self._number:04}-{name}"
        folder.mkdir()
        return folder

    def fresh(self) -> Place:
        """A bare die and a station that has never seen a part."""
        place = Place(self.new_folder("fresh"), "earlgrey-cp")
        place.chip.mkdir()
        (place.chip / "identity.json").write_text(json.dumps(IDENTITY))
        place.data.mkdir(mode=0o700)
        password = client_files(self.appliance, "matrix-1").password.read_bytes().strip()
        CredentialStore(place.data / "credentials", Realm.DEV).store("sku_password_sival", password)
        return place

    def copy(self, place: Place, name: str = "case") -> Place:
        """A copy to work on; the ballast is shared, since nobody writes into it."""
        target = Place(self.new_folder(name), place.recipe)
        shutil.copytree(place.chip, target.chip)
        shutil.copytree(place.data, target.data, ignore=shutil.ignore_patterns("ballast", "station.lock"))
        if (place.data / "ballast").exists():
            os.link(place.data / "ballast", target.data / "ballast")
        return target

    def drop(self, place: Place) -> None:
        """The copy is not needed any more."""
        shutil.rmtree(place.folder)

    # ---- the part in the socket -----------------------------------------------------------------------------------

    def insert(self, place: Place) -> None:
        """Put this place's chip into the socket and close the lid."""
        self.remove()
        state = self.bench.state
        state.command({"do": "insert", "socket": 1, "label": place.folder.name, "folder": str(place.chip)})
        state.command({"do": "lid", "socket": 1, "closed": True})
        state.command({"do": "power", "socket": 1, "on": True})

    def remove(self) -> None:
        if self.bench.state.sockets[0].label:
            self.bench.state.command({"do": "remove", "socket": 1})

    def fault(self, name: str, argument: str = "") -> None:
        self.bench.state.command({"do": "fault", "socket": 1, "name": name, "argument": argument})

    def restore_power(self) -> None:
        """Switch the supply on again; the fixture keeps the part in reset until the station pulses it."""
        self.fault("clear")
        self.bench.state.command({"do": "power", "socket": 1, "on": True})

    @property
    def chip(self) -> EarlgreyChip:
        chip = self.bench.state.sockets[0].chip
        assert isinstance(chip, EarlgreyChip)
        return chip

    # ---- station runs ---------------------------------------------------------------------------------------------

    def run(self, place: Place, during: Callable[[int], None] | None = None, **request: Any) -> Ending:
        """One station process on this place; ``during`` gets its number just before it begins."""
        self.take_over(place)
        result = place.folder / "result.json"
        result.unlink(missing_ok=True)
        body = {
            "station": str(self.station), "data": str(place.data), "recipe": place.recipe,
            "label": LABELS[place.recipe], "result": str(result), "log": str(place.folder / "station.log"), **request,
        }  # fmt: skip
        began = time.monotonic()
        pid = self.zygote.begin(body)
        if during is not None:
            during(pid)
        status = self.zygote.go()
        self.watch.relax()
        seconds = time.monotonic() - began
        if result.exists():
            return Ending(False, json.loads(result.read_text()), seconds)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"status {status}, {place.folder}"
        return Ending(True, {}, seconds)

    # ---- what the appliance has -----------------------------------------------------------------------------------

    def forget_registrations(self) -> None:
        """Cases share a device: each begins with an empty registry."""
        with contextlib.closing(sqlite3.connect(self.appliance / "registry.db", timeout=30)) as database:
            database.execute("DELETE FROM registrations")
            database.commit()

    def take_over(self, place: Place) -> None:
        """Another copy of the station's data goes on from here, which the appliance would take for a restored one."""
        if self._at_work == place.data:
            return
        self._at_work = place.data
        with contextlib.closing(sqlite3.connect(self.appliance / "registry.db", timeout=30)) as database:
            for table in ("journals", "anchors"):
                database.execute(f"DELETE FROM {table}")
            database.commit()

    def registrations(self) -> list[registry_record_pb2.DeviceData]:
        """What was registered since, oldest first."""
        with contextlib.closing(sqlite3.connect(self.appliance / "registry.db", timeout=30)) as database:
            rows = database.execute("SELECT record FROM registrations ORDER BY id").fetchall()
        found = []
        for (raw,) in rows:
            record = registry_record_pb2.RegistryRecord.FromString(raw)
            found.append(registry_record_pb2.DeviceData.FromString(record.data))
        return found

    def token_of(self, wrapped_seed: bytes) -> bytes:
        """The RMA token (16 bytes) that this wrapped seed stands for."""
        key = serialization.load_pem_private_key((self.appliance / "offline/rma-key.pem").read_bytes(), None)
        sha256 = hashes.SHA256()
        oaep = padding.OAEP(mgf=padding.MGF1(sha256), algorithm=sha256, label=None)
        seed = key.decrypt(wrapped_seed, oaep)  # type: ignore[union-attr,call-arg]
        return hmac.digest(seed, b"rma".ljust(48, b"\0"), "sha256")[:16]

    def rma_hash_of(self, wrapped_seed: bytes) -> bytes:
        return lc_hash(self.token_of(wrapped_seed))

    def rma_hash_in_chip(self) -> bytes | None:
        """What SECRET2 holds, read behind the chip's back after it has sensed its fuses again."""
        chip = self.chip
        with chip.lock:
            chip.otp.reset()
            return chip.otp.token("SECRET2", ITEMS["RMA_TOKEN"])

    def fuses(self, place: Place) -> list[int]:
        """All fuse words of a place's chip."""
        file = place.chip / "fuses.bin"
        raw = file.read_bytes() if file.exists() else bytes(4 * FUSE_WORDS)
        return [int.from_bytes(raw[4 * n : 4 * n + 4], "little") for n in range(FUSE_WORDS)]
