"""Both firmware generations and both blob versions, from RAW to a registered part, with the flows in this process."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import subprocess
import sys

import pytest
from crash_bench import IMAGES, LABELS, ROOT, SERVE

from drivers.appliance_grpc import open_appliance
from drivers.ftdi import open_socket
from drivers.virtual import usb_backend
from drivers.virtual.bench import Bench
from drivers.virtual.earlgrey.chip import open_chip
from drivers.virtual.handler import VirtualHandler
from station.appliance.pki import client_files, init
from station.bins import load_bins
from station.credentials import CredentialStore
from station.data_folder import DataFolder
from station.journal import Journal
from station.model import BinKind, Realm
from station.parts import PartServices
from station.recipe import load_recipe
from station.run import Run, execute
from station.run_services import RunServices
from station.secret import Secret


def pack_of(folder, generation, blob_version):
    """A copy of the built-in pack for another firmware generation."""
    target = folder / "skus" / "sival"
    shutil.copytree(IMAGES / "sival", target)
    shutil.copytree(ROOT / "resources/recipes", folder / "recipes")
    text = (target / "pack.toml").read_text()
    text = text.replace("images/rc4/", f"images/{generation}/").replace('"rc4"', f'"{generation}"')
    text = text.replace("[part]\n", f"[part]\nblob_version = {blob_version}\n")

    def named(match):
        digest = hashlib.sha256((target / match[1]).read_bytes()).hexdigest()
        return f'file = "{match[1]}"\nsha256 = "{digest}"'

    (target / "pack.toml").write_text(re.sub(r'file = "([^"]+)"\nsha256 = "[0-9a-f]+"', named, text))


@pytest.fixture(scope="module")
def appliance(tmp_path_factory):
    home = tmp_path_factory.mktemp("generations") / "appliance"
    init(home, ["bench-1"], [])
    command = [sys.executable, "-c", SERVE, str(home), "error"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        target = json.loads(process.stdout.readline())["target"]
        files = client_files(home, "bench-1")
        opened = open_appliance(
            {
                "target": target, "ca": str(files.ca), "certificate": str(files.certificate), "key": str(files.key),
                "sku_password": Secret(files.password.read_bytes().strip(), "sku password"), "realm": "dev",
            }
        )  # fmt: skip
        yield opened
        opened.close()
        process.terminate()


@pytest.mark.parametrize(("generation", "blob_version"), [("rc4", 0), ("e1", 0), ("e1", 1)])
def test_a_die_becomes_a_registered_part(tmp_path, appliance, monkeypatch, generation, blob_version):
    pack_of(tmp_path / "own", generation, blob_version)
    bench = Bench(tmp_path / "bench", 1, functools.partial(open_chip, images=IMAGES))
    bench.start()
    monkeypatch.setenv("STATION_VIRTUAL_BENCH", str(bench.file))
    hands = VirtualHandler(bench.file)
    hands.insert(1, f"die@{LABELS['earlgrey-cp']}")
    hands.lid(1, True)
    socket = open_socket({"serial": "VB0001", "usb_backend": "drivers.virtual.usb_backend"}, 1)
    journal = Journal(DataFolder(tmp_path / "data"), "bench-1")
    credentials = CredentialStore(tmp_path / "data/credentials", Realm.DEV)
    try:
        for name, label in LABELS.items():
            recipe = load_recipe(name, (tmp_path / "own",))
            assert recipe.pack.generation.name == generation
            services = RunServices(journal, load_bins(ROOT / "resources/bins.toml"), recipe.pack, credentials)
            run = Run(recipe.plan, recipe.context_of(label).but(socket=1), services)
            lent = PartServices(run.log, run.pause, recipe.pack.generation, recipe.pack.settings)
            part = recipe.part(socket.ports, lent)
            verdict, error = execute(run, functools.partial(recipe.flow, run, part, appliance))
            assert (verdict.kind, error) == (BinKind.PASS, None), verdict.reason
        chip = hands.state(1)["chip"]
        assert (chip["lc_state"], chip["double_burns"]) == ("PROD", [])
    finally:
        socket.close()
        journal.close()
        hands.close()
        usb_backend.forget_backends()
        bench.stop()
