"""Virtual Nordic parts on the real pyOCD, taken through the flows on a real journal, in this process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
import tomllib

from drivers.pyocd_probe import open_socket
from drivers.virtual.bench import Bench
from drivers.virtual.handler import open_handler
from drivers.virtual.nrf import images
from station.bins import load_bins
from station.data_folder import DataFolder
from station.errors import BenchError
from station.flows import tfm_provisioning, tfm_recover
from station.journal import Journal
from station.model import Mode
from station.parts import PartServices, Shared
from station.recipe import load_recipe
from station.resources import resources_folder
from station.run import Run, execute
from station.run_services import RunServices, Silent

RECIPES = {"nrf5340": "nrf5340-dk", "nrf9160": "nrf9160-dk", "nrf91x1": "nrf9161-dk"}
BOARDS = {"nrf5340": "nrf5340dk", "nrf9160": "nrf9160dk", "nrf91x1": "nrf9161dk"}
QUICK = {"provisioning_seconds": 2.0, "boot_seconds": 2.0}
SETTLE = 0.15
"""The virtual part works within a tenth of a second on an idle machine; the plans' seconds are those of silicon."""
YES = 0


class NoCredentials:
    def credential(self, name):
        raise AssertionError(f"a Nordic flow asks for the credential {name}")

    seal = unseal = credential


class Witness(Silent):
    """Answers questions and keeps what was said."""

    def __init__(self, answers=()):
        self.answers = list(answers)
        self.questions, self.lines, self.burns = [], [], []

    def ask(self, text, choices):
        self.questions.append(text)
        wanted = self.answers.pop(0) if self.answers else YES
        return choices[wanted]

    def log(self, text, source, level):
        self.lines.append((source, text))

    def burning(self, title):
        if title is not None:
            self.burns.append(title.id)


class Result:
    """How one run ended."""

    def __init__(self, run, verdict, error, witness, part):
        self.run, self.verdict, self.error, self.witness, self.part = run, verdict, error, witness, part
        self.kind, self.bin, self.reason = str(verdict.kind), verdict.bin_id, verdict.reason
        self.part_state = verdict.part_state

    def __repr__(self):
        return f"{self.kind}/{self.bin}: {self.reason} [{self.part_state}] after {self.witness.lines[-5:]}"


class NordicBench:
    """A bench of one chip, a journal, and runs of recipes on the part in its socket."""

    def __init__(self, folder, chip="nrf5340", shared=None):
        """``shared``: what several benches of one process have in common, as the sockets of one station do."""
        self.shared = shared or Shared()
        self.chip_name = chip
        self.root = folder
        self.bench = Bench(folder / "bench", 1, chip=chip)
        self.bench.start()
        self.hands = open_handler({"bench": str(self.bench.file)})
        self.bins = load_bins(resources_folder() / "bins.toml")
        self.board = BOARDS[chip]
        self.journal = None
        self.socket = None
        self.count = 0

    def anew(self, **settings):
        """A part that nobody has seen, a station that has seen none, and the settings of this test."""
        os.environ["STATION_VIRTUAL_BENCH"] = str(self.bench.file)
        self.count += 1
        self.folder = self.root / f"{self.count:03}"
        self.close_journal()
        self.journal = Journal(DataFolder(self.folder / "data"), "TEST-1", ballast_bytes=4096)
        self.settings = {**QUICK, **settings}
        self.lot = "LOT1"
        self.resources = ()
        self.insert(f"part-{self.count:03}")
        return self

    def close_journal(self):
        if self.journal is not None:
            self.journal.close()

    # ---- hands ----------------------------------------------------------------------------------------------------

    def insert(self, name="part-0001"):
        """Put a part in; one that is there goes back to its tray."""
        if self.hands.state(1).get("label"):
            self.hands.remove(1)
        self.hands.insert(1, name)
        self.hands.lid(1, True)

    def fault(self, name):
        self.hands.fault(1, name)

    def power(self, on):
        self.bench.state.command({"do": "power", "socket": 1, "on": on})

    def release(self, label="P000041"):
        """What a supervisor does with a part in quarantine."""
        for row in self.journal.known("part", label).quarantine_rows:
            self.journal.write(row.context, "release", "", {"reason": "looked at"})

    def power_cycle(self):
        self.power(False)
        self.power(True)
        self.wait_idle()

    def wait_idle(self, seconds=3.0):
        """Until no program of the part works any more."""
        assert self.comes_to_rest(seconds), f"the part does not come to rest: {self.chip['cores']}"

    def comes_to_rest(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(core["state"] != "running" for core in self.chip["cores"].values()):
                return True
            time.sleep(0.01)
        return False

    @property
    def chip(self):
        """The part's own view, behind the station's back."""
        return self.hands.state(1)["chip"]

    # ---- runs -----------------------------------------------------------------------------------------------------

    def recipe(self, suffix="", **settings):
        """The kit's recipe with this bench's settings, and with images of this bench's own where it has some."""
        loaded = load_recipe(RECIPES[self.chip_name] + suffix, self.resources)
        return dataclasses.replace(loaded, settings={**loaded.settings, **self.settings, **settings})

    def build(self, **tables):
        """A pack of this bench's own: the kit's, with some images built otherwise (tables of images.toml)."""
        sku = load_recipe(RECIPES[self.chip_name]).pack.sku
        source = resources_folder() / "skus" / sku
        config = tomllib.loads((source / "images.toml").read_text())
        for name, table in tables.items():
            config[name] = {**config.get(name, {}), **table}
        folder = self.folder / "own" / "skus" / sku
        (folder / "images").mkdir(parents=True)
        text = (source / "pack.toml").read_text()
        for name, content in images.build(config).items():
            (folder / "images" / name).write_text(content)
            old = hashlib.sha256((source / "images" / name).read_bytes()).hexdigest()
            text = text.replace(old, hashlib.sha256(content.encode()).hexdigest())
        (folder / "pack.toml").write_text(text)
        self.resources = (folder.parents[1],)
        return folder

    def ports(self):
        """The socket stays open from run to run, as in a station, until a bench fault closes it."""
        if self.socket is None:
            settings = {"serial": "VP0001", "board": self.board, "finder": "drivers.virtual.nrf_finder"}
            self.socket = open_socket(settings, 1)
        return self.socket.ports

    def close_socket(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def settling(self, pause):
        """The part's ``pause``: where a plan's seconds are shortened, it ends no sooner than the part's programs do."""

        def settled(seconds):
            pause(seconds)
            if tfm_provisioning.PLAN.provision.settle == SETTLE:
                self.comes_to_rest(10.0)

        return settled

    def run(self, label="P000041", suffix="", answers=(), before=None, **settings):
        """One run; ``before`` is called with the part and its run when both are there."""
        recipe = self.recipe(suffix, **settings)
        witness = Witness(answers)
        context = recipe.context_of(label).but(socket=1, touchdown=1, lot=self.lot, mode=Mode.VIRTUAL, operator="test")
        self.journal.scan(context, {"scan": label})
        services = RunServices(self.journal, self.bins, recipe.pack, NoCredentials(), witness)
        record = self.journal.known(context.label_kind, label)
        run = Run(recipe.plan, context, services, record)
        held = {}

        def flow():
            settings = {**recipe.pack.settings, **recipe.settings}
            for_part = PartServices(run.log, self.settling(run.pause), None, settings, self.shared)
            part = held["part"] = recipe.part(self.ports(), for_part)
            if before is not None:
                before(part, run)
            recipe.flow(run, part, None)

        verdict, error = execute(run, flow)
        if isinstance(error, BenchError):
            self.close_socket()
        return Result(run, verdict, error, witness, held.get("part"))

    def kept(self, label="P000041"):
        return self.journal.known("part", label).kept

    def kept_json(self, name, label="P000041"):
        return json.loads(self.kept(label)[name])

    def rows(self, kind):
        return [dict(row.detail) for row in self.journal.rows("WHERE kind = ? ORDER BY seq", (kind,))]

    def close(self):
        self.close_socket()
        self.hands.close()
        self.bench.stop()
        self.close_journal()
        os.environ.pop("STATION_VIRTUAL_BENCH", None)


def settled_plans():
    """All burn titles of both flows, for a fixture that shortens what only silicon needs."""
    return [title for flow in (tfm_provisioning, tfm_recover) for title in flow.PLAN if title.burn]
