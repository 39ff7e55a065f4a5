"""What several commands need: the station file, the data folder, who works, how tables are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from station.errors import ConfigError, Refused

if TYPE_CHECKING:
    from station.config import StationConfig
    from station.workbench import Workbench

LOCAL = Path("station.toml")


def user_folder() -> Path:
    """This user's folder of the station."""
    import platformdirs

    return platformdirs.user_data_path("provisioning-station", appauthor=False)


def find_station(given: Path | None) -> Path:
    """The station file: given, in this folder, or this user's."""
    if given is not None:
        return given
    found = next((path for path in (LOCAL, user_folder() / "station.toml") if path.exists()), None)
    if found is None:
        raise ConfigError(
            f"expected a station file: give --station FILE, or put one at ./{LOCAL} or "
            f"{user_folder() / 'station.toml'}; `station demo` needs none"
        )
    return found


def find_config(station_file: Path | None, data: Path | None) -> StationConfig:
    """The checked station file."""
    from station.config import load_config

    return load_config(find_station(station_file), data)


def find_data(station_file: Path | None, data: Path | None) -> Path:
    """The data folder alone, for commands that only read."""
    return data if data is not None else find_config(station_file, None).data


@contextmanager
def opened_bench(station_file: Path | None, data: Path | None) -> Iterator[Workbench]:
    """A workbench in this process; closed (burns finished, record written) on every way out."""
    from station.processes import clean_environment
    from station.secret import harden_process
    from station.workbench import Workbench

    config = find_config(station_file, data)
    harden_process()
    clean_environment(config.realm)
    bench = Workbench(config)
    try:
        yield bench
    finally:
        bench.close()


def read_pin(prompt: str, from_stdin: bool) -> bytes:
    """A PIN from the terminal without echo, or from a line of stdin."""
    if from_stdin:
        return sys.stdin.buffer.readline().strip()
    return str(click.prompt(prompt, hide_input=True, err=True)).encode()


def sign_in(bench: Workbench, operator: str, pin_stdin: bool) -> None:
    """Sign somebody in; ``Refused`` when name or PIN is wrong. A virtual bench needs neither."""
    from station.journal_rows import Context
    from station.model import Mode, Role
    from station.secret import Secret

    if not operator and bench.config.mode is Mode.VIRTUAL:
        bench.operator, bench.role = "virtual", Role.SUPERVISOR
        return
    if not operator:
        raise Refused("say who works with --operator NAME")
    pin = Secret(read_pin(f"PIN of {operator}", pin_stdin), "pin")
    role = bench.operators.sign_in(operator, pin)
    bench.operator, bench.role = operator, role
    bench.journal.append(Context(operator=operator, mode=bench.config.mode), "signed_in", "", {"role": role})


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], as_json: bool) -> None:
    """A table for people, or JSON."""
    if as_json:
        click.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], ensure_ascii=False))
        return
    texts = [[("" if value is None else str(value))[:60] for value in row] for row in rows]
    widths = [max([len(name), *(len(row[index]) for row in texts)]) for index, name in enumerate(columns)]
    for line in [list(columns), *texts]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
