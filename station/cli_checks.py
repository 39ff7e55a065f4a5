"""``station doctor`` and ``station sockets check``."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from station import plugins
from station.cli_common import answer_line, find_config, show_table
from station.config import SocketEntry, StationConfig
from station.errors import EXIT_PASS, ApplianceError, BenchError, ConfigError, StationError
from station.model import Mode
from station.ports import Diagnose
from station.sockets import misplaced


class Check(NamedTuple):
    """What was checked and one sentence on what is wrong (empty: all is well); a warning keeps nobody from working."""

    name: str
    sentence: str
    warning: bool = False

    @property
    def ok(self) -> bool:
        """True unless it is wrong."""
        return self.warning or not self.sentence

    @property
    def line(self) -> str:
        """For people."""
        if not self.sentence:
            return f"✔ {self.name}"
        return f"{'⚠' if self.warning else '✖'} {self.name}: {self.sentence}"


def check_sockets(*, station_file: Path | None, data: Path | None, as_json: bool) -> int:
    """``station sockets check``."""
    config = find_config(station_file, data)
    config.use_environment()
    with _journal_held(config) as interrupted:
        rows, failed = _checked_sockets(config, interrupted, _chips(config))
    show_table(("socket", "driver", "adapter", "ok", "says"), rows, as_json)
    return BenchError.exit_code if failed else EXIT_PASS


@contextmanager
def _journal_held(config: StationConfig) -> Iterator[frozenset[int]]:
    """Keep every station away meanwhile; gives the sockets whose last run has no verdict."""
    from station.data_folder import DataFolder
    from station.journal import Journal

    if not (config.data / "journal.sqlite").exists():
        yield frozenset()
        return
    journal = Journal(DataFolder(config.data), config.name)
    try:
        yield frozenset(journal.interrupted())
    finally:
        journal.close()


def _checked_sockets(
    config: StationConfig, interrupted: frozenset[int], chips: set[str]
) -> tuple[list[tuple[int, str, str, bool, str]], bool]:
    """One row per socket; an interrupted one is left alone, since opening its adapter may reset a part that burns."""
    from station.sockets import PhysicalSocket

    rows, failed = [], False
    for number, entry in enumerate(config.sockets, 1):
        if number in interrupted:
            failed = True
            said = f"not touched: a run was interrupted here; answer first: {answer_line(config, number)}"
            rows.append((number, entry.driver, "", False, said))
            continue
        physical = PhysicalSocket(number, entry)
        try:
            _diagnosed(entry, chips)
            contact = physical.contact()
            said = (
                f"part {_yes(contact.present)}, lid closed {_yes(contact.lid_closed)}, power {_yes(contact.power_good)}"
            )
            rows.append((number, entry.driver, physical.identity, True, said))
        except StationError as error:
            failed = True
            rows.append((number, entry.driver, "", False, str(error)))
        finally:
            physical.close()
    return rows, failed


def run_doctor(*, station_file: Path | None, data: Path | None, store: str, as_json: bool) -> int:
    """``station doctor``."""
    config = find_config(station_file, data)
    if store:
        return _store(config, store)
    config.use_environment()
    found = list(_checks(config))
    wrong = {check.name.partition(" ")[0] for check in found if not check.ok}
    if as_json:
        bodies = [{"check": c.name, "ok": c.ok, "warning": c.warning, "sentence": c.sentence} for c in found]
        click.echo(json.dumps(bodies, ensure_ascii=False))
    else:
        for check in found:
            click.echo(check.line)
    if not wrong:
        return EXIT_PASS
    return ApplianceError.exit_code if wrong == {"appliance"} else ConfigError.exit_code


def _checks(config: StationConfig) -> Iterator[Check]:
    from station.bins import load_bins
    from station.recipe import hidden, load_recipe, recipe_names
    from station.resources import file_in

    yield Check("station file", "")
    yield Check("bins", _said(lambda: load_bins(file_in(config.resources, "bins.toml"))))
    needed: set[str] = set()
    skus: set[str] = set()
    chips: set[str] = set()
    warned: dict[str, str] = {}
    for name in config.recipes or recipe_names(config.resources):
        try:
            recipe = load_recipe(name, config.resources)
            chips.add(recipe.family)
            names = recipe.pack.credentials
            needed.update(f"{name}_{recipe.pack.sku}" if name == "sku_password" else name for name in names)
            if recipe.needs_appliance:
                skus.add(recipe.pack.sku)
            yield Check(f"recipe {name}", recipe.unfit(config.realm, config.appliance is not None))
            if recipe.doubts:
                warned[f"doubts about {recipe.pack.sku}"] = "\n".join(recipe.doubts)
            for what, sentence in hidden(name, recipe.pack.sku, config.resources):
                warned[f"two files of {what}"] = sentence
        except StationError as error:
            yield Check(f"recipe {name}", str(error))
    for what, sentence in warned.items():
        yield Check(what, sentence, warning=True)
    yield from _resources(config)
    yield from _credentials(config, sorted(needed))
    yield Check("operators", _operators(config))
    yield Check("journal", _journal(config))
    yield from _interrupted(config)
    yield from _sockets(config, chips)
    yield from _without_socket(config, chips)
    yield from _appliance(config, sorted(skus))
    yield Check("data folder", _folder(config.data))


def _resources(config: StationConfig) -> Iterator[Check]:
    """A folder that is not there or named one too deep, such as ``data/skus``, gives nothing."""
    from station.resources import missing

    absent = missing(config.resources)
    for folder in config.resources:
        if folder in absent:  # the data folder is made at the first start
            if folder != config.data:
                said = f"expected a folder {folder}, but there is none; make it, or correct `resources`"
                yield Check(f"resources {folder.name}", said, warning=True)
        elif not any((folder / name).exists() for name in ("recipes", "skus", "bins.toml")):
            said = f"expected recipes/, skus/ or bins.toml in {folder}, saw none: name the folder above them"
            yield Check(f"resources {folder.name}", said, warning=True)


def _operators(config: StationConfig) -> str:
    """A virtual bench needs none."""
    from station.operators import Operators

    if config.mode is Mode.VIRTUAL:
        return ""
    try:
        there = bool(Operators(config.data).names())
    except StationError as error:
        return str(error)
    return (
        "" if there else ("nobody may work here yet, every run is refused: station operator add NAME --role supervisor")
    )


def _interrupted(config: StationConfig) -> Iterator[Check]:
    """Only while no station works here, which would know what it does."""
    from station.data_folder import is_taken
    from station.journal_reader import interrupted

    if not (config.data / "journal.sqlite").exists() or is_taken(config.data):
        return
    try:
        found = interrupted(config.data)
    except StationError:
        return  # the journal's own check says it
    for socket, row in sorted(found.items()):
        said = f"the run of {row.context.label} was interrupted; answer first: {answer_line(config, socket)}"
        yield Check(f"interrupted {row.context.label}", said, warning=True)


def _sockets(config: StationConfig, chips: set[str]) -> Iterator[Check]:
    """What the drivers know without opening an adapter, and without touching a part."""
    for number, entry in enumerate(config.sockets, 1):
        try:
            said = _diagnosed(entry, chips)
            yield Check(f"socket {number}", said, warning=bool(said))
        except (StationError, ImportError) as error:
            yield Check(f"socket {number}", str(error))


def _without_socket(config: StationConfig, chips: set[str]) -> Iterator[Check]:
    """Recipes that the station file names, and that fit none of its sockets."""
    for chip in sorted(chips) if config.recipes else ():
        with contextlib.suppress(StationError, ImportError):
            if all(misplaced(entry, {chip}) for entry in config.sockets):
                said = f"no socket of this station is for {chip}, which its recipes want; look at the boards"
                yield Check(f"sockets for {chip}", said, warning=True)


def _diagnosed(entry: SocketEntry, chips: set[str]) -> str:
    """What may be missing for a socket; raises ``StationError`` when it cannot work, or for none of the recipes."""
    diagnose: Diagnose | None = plugins.beside("station.drivers", entry.driver, "diagnose")
    said = diagnose(entry.settings) if diagnose is not None else ""
    if wrong := misplaced(entry, chips):
        raise ConfigError(wrong)
    return said


def _chips(config: StationConfig) -> set[str]:
    """The chips of the recipes that can be read; what is wrong with the others, ``station doctor`` says."""
    from station.recipe import load_recipe, recipe_names

    found = set()
    for name in config.recipes or recipe_names(config.resources):
        with contextlib.suppress(StationError):
            found.add(load_recipe(name, config.resources).family)
    return found


def _credentials(config: StationConfig, names: list[str]) -> Iterator[Check]:
    from station.credentials import CredentialStore

    store = CredentialStore(config.data / "credentials", config.realm)
    for name in names:
        yield Check(f"credential {name}", _said(lambda name=name: store.credential(name)))  # type: ignore[misc]


def _appliance(config: StationConfig, skus: list[str]) -> Iterator[Check]:
    from station.appliances import Appliances
    from station.credentials import CredentialStore
    from station.journal_reader import ReadJournal

    if config.appliance is None:
        return
    store = CredentialStore(config.data / "credentials", config.realm)
    journal = ReadJournal(config.data, config.name)
    appliances = Appliances(config, store, lambda: 0, lambda state: None, journal)
    try:
        for sku in skus or [""]:
            yield Check(f"appliance {sku}".rstrip(), "; ".join(appliances.check(sku)))
    finally:
        appliances.close()


def _journal(config: StationConfig) -> str:
    from station.journal_reader import verify

    if not (config.data / "journal.sqlite").exists():
        return ""
    try:
        return verify(config.data)[1]
    except StationError as error:
        return str(error)


def _folder(folder: Path) -> str:
    if not folder.exists():
        return ""
    return "" if os.access(folder, os.W_OK) else f"{folder} cannot be written"


def _store(config: StationConfig, name: str) -> int:
    from station.credentials import CredentialStore

    text = sys.stdin.buffer.readline().strip()
    if name.startswith("sku_password_"):
        raw = text
    else:
        try:
            raw = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            raise ConfigError("expected the credential as hex digits, in the order of its bytes on the wire") from None
    CredentialStore(config.data / "credentials", config.realm).store(name, raw)
    click.echo(f"stored {name}, {len(raw)} bytes")
    return EXIT_PASS


def _said(action: Callable[[], object]) -> str:
    try:
        action()
    except StationError as error:
        return str(error)
    return ""


def _yes(claim: bool) -> str:
    return "yes" if claim else "no"
