"""``station doctor`` and ``station sockets check``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from station.cli_common import find_config, show_table
from station.config import StationConfig
from station.errors import EXIT_PASS, ApplianceError, BenchError, ConfigError, StationError

Check = tuple[str, str]
"""What was checked and one sentence on what is wrong (empty: all is well)."""


def check_sockets(*, station_file: Path | None, data: Path | None, as_json: bool) -> int:
    """``station sockets check``."""
    config = find_config(station_file, data)
    config.use_environment()
    with _journal_held(config) as interrupted:
        rows, failed = _checked_sockets(config, interrupted)
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
    config: StationConfig, interrupted: frozenset[int]
) -> tuple[list[tuple[int, str, str, bool, str]], bool]:
    """One row per socket; an interrupted one is left alone, since opening its adapter may reset a part that burns."""
    from station.sockets import PhysicalSocket

    rows, failed = [], False
    for number, entry in enumerate(config.sockets, 1):
        if number in interrupted:
            failed = True
            said = f"not touched: a run was interrupted here; answer first: station answer --socket {number}"
            rows.append((number, entry.driver, "", False, said))
            continue
        physical = PhysicalSocket(number, entry)
        try:
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
    found = list(_checks(config))
    wrong = {name.partition(" ")[0] for name, sentence in found if sentence}
    if as_json:
        click.echo(json.dumps([{"check": name, "ok": not said, "sentence": said} for name, said in found]))
    else:
        for name, said in found:
            click.echo(f"{'✖' if said else '✔'} {name}{f': {said}' if said else ''}")
    if not wrong:
        return EXIT_PASS
    return ApplianceError.exit_code if wrong == {"appliance"} else ConfigError.exit_code


def _checks(config: StationConfig) -> Iterator[Check]:
    from station.bins import load_bins
    from station.recipe import load_recipe, recipe_names
    from station.resources import file_in

    yield "station file", ""
    yield "bins", _said(lambda: load_bins(file_in(config.resources, "bins.toml")))
    needed: set[str] = set()
    skus: set[str] = set()
    for name in config.recipes or recipe_names(config.resources):
        try:
            recipe = load_recipe(name, config.resources)
            names = recipe.pack.credentials
            needed.update(f"{name}_{recipe.pack.sku}" if name == "sku_password" else name for name in names)
            if recipe.needs_appliance:
                skus.add(recipe.pack.sku)
            yield f"recipe {name}", recipe.unfit(config.realm, config.appliance is not None)
        except StationError as error:
            yield f"recipe {name}", str(error)
    yield from _credentials(config, sorted(needed))
    yield "journal", _journal(config)
    yield from _appliance(config, sorted(skus))
    yield "data folder", _folder(config.data)


def _credentials(config: StationConfig, names: list[str]) -> Iterator[Check]:
    from station.credentials import CredentialStore

    store = CredentialStore(config.data / "credentials", config.realm)
    for name in names:
        yield f"credential {name}", _said(lambda name=name: store.credential(name))  # type: ignore[misc]


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
            yield f"appliance {sku}".rstrip(), "; ".join(appliances.check(sku))
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
