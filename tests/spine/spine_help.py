"""What the spine's tests share: a journal in a folder, runs on it, a part whose fuses live in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from station.bins import Bins, load_bins
from station.data_folder import DataFolder
from station.journal import Journal
from station.journal_rows import Context
from station.model import DONE, NOT_DONE, Answer, Realm
from station.plan import Burn, Plan
from station.resources import resources_folder
from station.run import Run, execute
from station.run_services import RunServices
from station.secret import Sealed, Secret

BINS: Bins = load_bins(resources_folder() / "bins.toml")
PLAN = Plan(look="Look", first=Burn("Burn the first", settle=0.0), second=Burn("Burn the second", settle=0.0),
            name="Read the id", send="Register")  # fmt: skip
CHIP_ID = "0123456789abcdef0123456789abcdef"


class FakePack:
    """A SKU pack without files."""

    sku = "fake"
    realm = Realm.DEV

    def __init__(self, limits: dict[str, tuple[float | None, float | None]] | None = None) -> None:
        self.limits = limits or {}

    def image(self, name: str) -> bytes:
        return name.encode()

    def limit(self, name: str) -> tuple[float | None, float | None]:
        return self.limits.get(name, (None, None))

    def hook(self, name: str, *args: object) -> object:
        return (name, *args) if name == "known" else None


class FakeCredentials:
    """Seals by exclusive or: good enough to see that what is stored is not what was given."""

    def credential(self, name: str) -> Secret:
        return Secret(b"0123456789abcdef", name)

    def seal(self, raw: bytes, label: str) -> Sealed:
        return Sealed(bytes(byte ^ 0x5A for byte in raw), label)

    def unseal(self, sealed: Sealed) -> bytes:
        return bytes(byte ^ 0x5A for byte in sealed.blob)


class FusePart:
    """A part whose fuses are lines of a file: a burn appends one, a second burn of the same fuse shows for ever."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def burns(self) -> list[str]:
        return self.path.read_text().split() if self.path.exists() else []

    def burn(self, name: str) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(name + "\n")
            file.flush()
            os.fsync(file.fileno())

    def has(self, name: str) -> Answer:
        return DONE if name in self.burns() else NOT_DONE

    def doubles(self) -> list[str]:
        return [name for name in set(self.burns()) if self.burns().count(name) > 1]


def open_journal(folder: Path, **options: object) -> Journal:
    """A journal with a small ballast."""
    return Journal(DataFolder(folder), "TEST-1", **{"ballast_bytes": 4096, **options})  # type: ignore[arg-type]


def context(label: str = "L1", **changes: object) -> Context:
    """A die in socket 1."""
    fields = {"socket": 1, "label_kind": "die", "label": label, "recipe": "fake-cp", "flow": "fake", "lot": "LOT1"}
    return Context(**{**fields, **changes})  # type: ignore[arg-type]


def new_run(journal: Journal, label: str = "L1", plan: Plan = PLAN, **options: object) -> Run:
    """A run after its scan."""
    where = context(label, **options.pop("context", {}))  # type: ignore[arg-type]
    journal.scan(where, {})
    services = RunServices(journal, BINS, options.pop("pack", FakePack()), FakeCredentials(), **options)  # type: ignore[arg-type]
    return Run(plan, where, services)


def carry_out(journal: Journal, flow: Callable[[Run], None], label: str = "L1", **options: object):
    """Run a flow; verdict and error."""
    run = new_run(journal, label, **options)
    return execute(run, lambda: flow(run))


def rows_of(journal: Journal, kind: str) -> list[dict[str, object]]:
    """Details of all rows of a kind."""
    return [dict(row.detail) for row in journal.rows("WHERE kind = ? ORDER BY seq", (kind,))]


def dump(value: object) -> str:
    """Any plain value as one text, for searching."""
    return json.dumps(value, default=str)
