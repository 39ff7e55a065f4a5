"""No secret leaves the station but to the chip and the appliance, however talkative everything is told to be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from crash_bench import LABELS, ROOT, CrashBench
from engine_process import NAME, PIN, EngineProcess
from secret_net import forms, pieces, search, search_files

from station.appliance.keystore import open_keystore
from station.appliance.pki import SEED_HIGH, SEED_LOW, client_files
from station.credentials import PUBLIC_RAW_UNLOCK
from station.formats.lc_token import lc_hash
from station.model import Realm
from station.secret import Secret

TALKATIVE = {
    "GRPC_TRACE": "api,call_error,channel,client_channel,http,http1,transport_security,tcp,secure_endpoint",
    "GRPC_VERBOSITY": "debug",
    "PYUSB_DEBUG": "debug",
    "LIBUSB_DEBUG": "4",
    "PYTHONUNBUFFERED": "1",
}
SEALED_FOR = {  # files that hold ciphertext or are the registry, which is meant to have the device seeds
    "registry.db": {"device seed"},
    "registry.db-wal": {"device seed"},
}
APPLIANCE_OWN = ("keystore.passphrase", "clients", "offline", "skus", "tls", "keystore.sealed")


def secrets_of(bench: CrashBench) -> dict[str, bytes]:
    """Everything that must not be seen, known from the appliance's own keys and from behind the chip's back."""
    folder = bench.appliance
    passphrase = Secret((folder / "keystore.passphrase").read_bytes().strip(), "passphrase")
    keystore = open_keystore(folder / "keystore.sealed", passphrase, Realm.DEV)

    def derived(label: str, diversifier: bytes, size: int) -> bytes:
        with keystore.hmac_sha256(label, diversifier.ljust(48, b"\0")).reveal() as raw:
            return raw[:size]

    unlock, leave = derived(SEED_LOW, b"test_unlock", 16), derived(SEED_LOW, b"test_exit", 16)
    return {
        "RAW unlock token": PUBLIC_RAW_UNLOCK,
        "wafer authentication secret": derived(SEED_HIGH, b"was", 32),
        "test unlock token": unlock,
        "test exit token": leave,
        "test unlock token hash": lc_hash(unlock),
        "test exit token hash": lc_hash(leave),
        "operator PIN": PIN,
        "SKU password": client_files(folder, "matrix-1").password.read_bytes().strip(),
        **{f"appliance seed {label}": keystore._secret[label]._raw for label in (SEED_HIGH, SEED_LOW)},
    }


def secrets_of_part(bench: CrashBench) -> dict[str, bytes]:
    """What is known once a part was registered."""
    wrapped = bench.registrations()[-1].wrapped_rma_unlock_token
    chip = bench.chip
    with chip.lock:
        return {"RMA token": bench.token_of(wrapped), "device seed": chip.noise("device seed", 128)}


class ProcessWatch:
    """Reads argv and environment of processes, again and again, into files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended = threading.Event()
        self._pids: set[int] = set()
        self._thread = threading.Thread(target=self._look, name="process watch")
        self._thread.start()

    def follow(self, pid: int) -> None:
        self._pids.add(pid)

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            followed = list(self._pids)
            for pid in {*followed, *(child for parent in followed for child in children_of(parent))}:
                for name in ("cmdline", "environ"):
                    try:
                        content = Path(f"/proc/{pid}/{name}").read_bytes()
                    except OSError:
                        continue  # it is gone, or not dumpable
                    (self._folder / f"{pid}-{name}").write_bytes(content)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()


def children_of(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


@pytest.fixture
def talkative(tmp_path):
    """A bench whose processes may say whatever they can, and put temporary files where the test sees them."""
    for name in ("bench", "tmp", "processes", "outputs"):
        (tmp_path / name).mkdir()
    environment = {**TALKATIVE, "TMPDIR": str(tmp_path / "tmp"), "SSLKEYLOGFILE": str(tmp_path / "tmp" / "keys.log")}
    bench = CrashBench(tmp_path / "bench", log_level="debug", environment=environment)
    watch = ProcessWatch(tmp_path / "processes")
    watch.follow(bench.server.pid)
    watch.follow(bench.zygote.pid)
    yield bench, watch, environment
    watch.close()
    bench.close()


def outputs(folder: Path) -> list[Path]:
    """Every file of the test but what is the appliance's own and the chips' insides."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        inside_chip = "chip" in parts
        own = "appliance" in parts and any(name in parts for name in APPLIANCE_OWN)
        if path.is_file() and not inside_chip and not own:
            found.append(path)
    return found


def leaks(folder: Path, secrets: dict[str, bytes]) -> list[str]:
    found = []
    for path in outputs(folder):
        allowed = SEALED_FOR.get(path.name, set())
        wanted = {label: raw for label, raw in secrets.items() if label not in allowed}
        found += search_files([path], wanted)
    return sorted({str(leak) for leak in found})


def exports(bench: CrashBench, data: Path, target: Path) -> None:
    """Everything the command line gives out about the records."""
    station = ["--station", str(bench.station), "--data", str(data)]
    commands = [["journal", "export", *station], ["journal", "verify", *station], ["doctor", "--json", *station]]
    commands += [["history", "--query", query, "--json", *station] for query in ("history", "run", "yield", "outbox")]
    commands += [["part", "show", label, "--json", *station] for label in LABELS.values()]
    for number, command in enumerate(commands):
        done = subprocess.run([sys.executable, "-m", "station", *command], cwd=ROOT, capture_output=True)
        (target / f"export-{number}.out").write_bytes(done.stdout)
        (target / f"export-{number}.err").write_bytes(done.stderr)
    assert (target / "export-0.out").stat().st_size > 1000, (target / "export-0.err").read_text()


@pytest.mark.timeout(300)
def test_the_engine_and_its_outputs_hold_no_secret(talkative, tmp_path):
    bench, watch, environment = talkative
    place = bench.fresh()
    bench.insert(place)
    record = tmp_path / "outputs" / "events.jsonl"
    with EngineProcess(bench, place, record, environment) as engine:
        watch.follow(engine.process.pid)
        engine.sign_in()
        first = engine.run_part("earlgrey-cp", LABELS["earlgrey-cp"])
        assert first["verdict"]["kind"] == "pass", first
        bench.remove()
        engine.state("insert_part")
        bench.insert(place)
        second = engine.run_part("earlgrey-ft", LABELS["earlgrey-ft"])
        assert second["verdict"]["kind"] == "pass", second
        engine.tell("Snapshot")
        engine.close_stdin()
        assert engine.wait_ended() == 0
        (tmp_path / "outputs" / "stdout.jsonl").write_text("\n".join(map(json.dumps, engine.events)))
    exports(bench, place.data, tmp_path / "outputs")
    secrets = {**secrets_of(bench), **secrets_of_part(bench)}
    assert record.stat().st_size > 1000
    assert leaks(tmp_path, secrets) == []
    assert NAME in record.read_text(), "the net looks into the wrong file"


@pytest.mark.timeout(300)
def test_third_party_loggers_at_debug_hold_no_secret(talkative, tmp_path):
    bench, _, _ = talkative
    place = bench.fresh()
    for recipe in LABELS:
        place.recipe = recipe
        bench.insert(place)
        ending = bench.run(place, talkative=True)
        assert ending.kind == "pass", ending.result
        (tmp_path / "outputs" / f"{recipe}.json").write_text(json.dumps(ending.result))
    log = (place.folder / "station.log").read_text(errors="replace")
    assert "DEBUG pyftdi" in log and "SocketState" in log, "nothing talks, so nothing is shown"
    secrets = {**secrets_of(bench), **secrets_of_part(bench)}
    assert leaks(tmp_path, secrets) == []


# ---- the net itself --------------------------------------------------------------------------------------------------


def test_the_net_finds_every_form_of_every_secret(tmp_path):
    raw = os.urandom(32)
    for piece in pieces(raw):
        for form, texts in forms(piece).items():
            for text in texts:
                (tmp_path / "output").write_bytes(b"before " + text + b" after")
                found = search_files([tmp_path / "output"], {"planted": raw})
                assert form in {leak.form for leak in found}, form


def test_the_net_finds_base64_at_every_alignment():
    import base64

    raw = os.urandom(16)
    for skip in range(4):
        for more in range(4):
            text = base64.b64encode(os.urandom(skip) + raw + os.urandom(more))
            assert search(text, "text", {"planted": raw}), (skip, more)


def test_the_net_is_quick_enough_and_finds_nothing_in_noise():
    began = time.monotonic()
    assert search(os.urandom(1 << 20), "noise", {"planted": os.urandom(32)}) == []
    assert time.monotonic() - began < 60
