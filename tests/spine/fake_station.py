"""A whole station without hardware: driver, part, flow and appliance whose world is a folder of small files.

Used in-process by the workbench tests, and as a program (``fake_station.py engine …``) by the tests that need a real
process; both install the same fake plug-ins.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from spine_help import FusePart  # noqa: E402

from station import plugins  # noqa: E402
from station.errors import ApplianceError, BenchError  # noqa: E402
from station.model import Contact, Registration  # noqa: E402
from station.plan import Burn, Plan  # noqa: E402

PLAN = Plan(look="Contact", first=Burn("Burn the first", settle=0.0), name="Read the id",
            second=Burn("Burn the second", settle=0.0), send="Register")  # fmt: skip
PIN = b"271828"

STATION = """\
schema = 1
name = "FAKE-1"
realm = "dev"
data = "data"
resources = ["res"]
recipes = ["fake-cp"]
[appliance]
driver = "fake"
[appliance.settings]
folder = "{folder}"
[limits]
consecutive_fails = 2
"""
SOCKET = '[[socket]]\ndriver = "fake"\n[socket.settings]\nfolder = "{folder}"\n'
RECIPE = """\
schema = 1
name = "fake-cp"
title = "Fake Probe"
revision = "1"
realm = "dev"
flow = "fake"
part = "fake"
sku = "fake"
[label]
kind = "die"
prompt = "die label"
pattern = '(?:(?P<lot>LOT[0-9]+)/)?D[0-9]+'
example = "LOT1/D7"
"""
PACK = 'schema = 1\nsku = "fake"\ntitle = "Fake"\nrevision = "1"\nrealm = "dev"\nchip = "fake"\n'


class World:
    """The folder: what lies in each socket, and what the flow and the appliance are told to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def set(self, **values: Any) -> None:
        """Change keys of the script."""
        script = {**self.script(), **values}
        new = self.folder / f"script.{os.getpid()}"
        new.write_text(json.dumps(script))
        os.replace(new, self.folder / "script.json")

    def script(self) -> dict[str, Any]:
        path = self.folder / "script.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def insert(self, socket: int, lid: bool = True, power: bool = True) -> None:
        self.set(**{f"socket{socket}": [True, lid, power]})

    def remove(self, socket: int) -> None:
        self.set(**{f"socket{socket}": [False, False, True]})

    def part(self, label: str) -> FusePart:
        return FusePart(self.folder / f"fuses-{label.replace('/', '_')}")

    def registered(self) -> list[str]:
        path = self.folder / "registered"
        return path.read_text().split() if path.exists() else []


class FakeSocket:
    """Presence from the script."""

    identity = "fake adapter"

    def __init__(self, settings: Any, socket: int) -> None:
        self.world = World(Path(settings["folder"]))
        self.socket = socket
        self.ports = {"presence": self}
        if self.world.script().get("adapter") == "gone":
            raise BenchError("the adapter is gone")

    def contact(self) -> Contact:
        script = self.world.script()
        if script.get("adapter") == "gone":
            raise BenchError("the adapter is gone")
        if script.get("adapter") == "mistaken":
            raise ZeroDivisionError("what no driver should raise")
        return Contact(*script.get(f"socket{self.socket}", [False, False, True]))

    def close(self, freeze: bool = True) -> None:
        assert freeze


class FakePart:
    """Hands the world and the services on."""

    def __init__(self, ports: Any, services: Any) -> None:
        self.world = ports["presence"].world
        self.pause = services.pause


class FakeAppliance:
    """Down when the script says so."""

    def __init__(self, settings: Any) -> None:
        self.world = World(Path(settings["folder"]))
        assert settings["user_id"].startswith("FAKE-1-") and settings["realm"] == "dev"

    def _check(self) -> None:
        if self.world.script().get("appliance") == "down":
            raise ApplianceError("no appliance listens", "UNAVAILABLE")

    def open_session(self, sku: str) -> None:
        self._check()

    def register(self, registration: Registration) -> None:
        self._check()
        with open(self.world.folder / "registered", "a") as file:
            file.write(registration.device_id.hex() + "\n")

    def close_session(self) -> None:
        """Nothing."""


def fake(run: Any, part: FakePart, appliance: FakeAppliance) -> None:
    """Look, burn, identify, burn, register; the script says what goes wrong."""
    script = part.world.script()
    fuses = part.world.part(run.label)
    chip = script.get("chip") or run.label.encode().hex().ljust(32, "0")
    with run.step(PLAN.look):
        print("a library prints into stdout")
        appliance.open_session(run.sku)
        if script.get("question"):
            run.log(f"answered {run.ask('Which way?', ('left', 'right'))}")
        part.pause(script.get("look_seconds", 0.0))
        if script.get("crash"):
            raise RuntimeError(f"a secret {chr(105)}n a message")
        run.require(not script.get("reject"), bin=script.get("reject") or "otp", sentence="the part is bad")

    def burn(name: str) -> None:
        time.sleep(script.get("burn_seconds", 0.0))
        fuses.burn(name)

    run.burn(PLAN.first, done=lambda: fuses.has("first"), do=lambda: burn("first"))
    with run.step(PLAN.name):
        run.identify(chip)
        part.pause(script.get("name_seconds", 0.0))
    run.burn(PLAN.second, done=lambda: fuses.has("second"), do=lambda: burn("second"))
    if not run.part.registered:
        registration = Registration(run.sku, bytes.fromhex(chip), "PROD", b"w", b"p", 1, b"\1" * 32, b"\2" * 32)
        run.hold_registration(registration)
    with run.step(PLAN.send):
        run.send_registration(appliance)


FAKES: dict[str, Any] = {
    "station.drivers": FakeSocket,
    "station.parts": FakePart,
    "station.flows": SimpleNamespace(PLAN=PLAN, fake=fake),
    "station.appliances": FakeAppliance,
}


def fake_entries(group: str) -> dict[str, Any]:
    """In place of the installed entry points."""
    return {"fake": SimpleNamespace(load=lambda: FAKES[group], value="fake")} if group in FAKES else {}


def make_station(folder: Path, sockets: int = 2) -> Path:
    """Station file, recipe, pack and script; returns the station file."""
    (folder / "res" / "recipes").mkdir(parents=True)
    (folder / "res" / "skus" / "fake").mkdir(parents=True)
    (folder / "res" / "recipes" / "fake-cp.toml").write_text(RECIPE)
    (folder / "res" / "skus" / "fake" / "pack.toml").write_text(PACK)
    path = folder / "station.toml"
    path.write_text(STATION.format(folder=folder) + SOCKET.format(folder=folder) * sockets)
    World(folder).set()
    return path


def add_operators(data: Path) -> None:
    """One of each role, with cheap hashes so that tests do not wait."""
    from argon2 import PasswordHasher

    from station.model import Role
    from station.operators import Operators

    operators = Operators(data)
    operators._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    for name, role in (("op", Role.OPERATOR), ("eng", Role.ENGINEER), ("sup", Role.SUPERVISOR)):
        operators.add(name, role, PIN)


if __name__ == "__main__":
    plugins._entries = fake_entries
    from station.cli import command_line

    sys.exit(command_line())
