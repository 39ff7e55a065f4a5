"""What several commands need: the station file, the data folder, who works, how tables are shown."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from station.chips import DEFAULT_CHIP
from station.errors import ConfigError, Refused

if TYPE_CHECKING:
    from station.config import StationConfig
    from station.workbench import Workbench

LOCAL = Path("station.toml")
MARKS = ("journal.sqlite", "operators.json", "credentials", "station.lock")
WIDEST = 60  # letters of a sentence in a table's column, on a terminal


def user_folder() -> Path:
    """This user's folder of the station."""
    import platformdirs

    return platformdirs.user_data_path("provisioning-station", appauthor=False)


def virtual_folder(chip: str = "") -> Path:
    """Where the window makes its own virtual station when there is no other; one per chip."""
    return user_folder() / ("virtual" if chip in ("", DEFAULT_CHIP) else f"virtual-{chip}")


def is_whole(folder: Path | None) -> bool:
    """True for a folder with a station file that has its data folder inside, such as demo and window make them."""
    return folder is not None and (folder / LOCAL).is_file() and not (folder / "journal.sqlite").exists()


def is_data(folder: Path) -> bool:
    """True for a data folder that a station has used."""
    return any((folder / name).exists() for name in MARKS)


def inner(data: Path | None) -> Path | None:
    """The data folder that ``--data`` means: of a whole station's folder the one inside."""
    return data / "data" if data is not None and is_whole(data) else data


def beside(data: Path) -> Path | None:
    """The station file that belongs to what ``--data`` names: in that folder or in the one above it."""
    return next((folder / LOCAL for folder in (data, data.absolute().parent) if (folder / LOCAL).is_file()), None)


def find_station(given: Path | None, data: Path | None = None) -> Path:
    """The station file: given, that of ``--data``, here, this user's; without ``--data`` also the window's own."""
    if given is not None:
        return given
    found = beside(data) if data is not None else None
    found = found or next((path for path in (LOCAL, user_folder() / LOCAL) if path.exists()), None)
    if found is None and data is not None:
        raise ConfigError(
            f"expected a station file at {data / LOCAL} or {data.absolute().parent / LOCAL}, but there is none; "
            "name it with --station FILE"
        )
    if found is None and (virtual_folder() / LOCAL).exists():
        found = virtual_folder() / LOCAL
        click.echo(f"station: no station file here; using the virtual station {found}", err=True)
    if found is None:
        raise ConfigError(
            f"expected a station file: give --station FILE, or put one at ./{LOCAL} or "
            f"{user_folder() / LOCAL}; `station demo` needs none"
        )
    return found


def find_config(station_file: Path | None, data: Path | None) -> StationConfig:
    """The checked station file."""
    from station.config import load_config

    return load_config(find_station(station_file, data), inner(data))


def find_data(station_file: Path | None, data: Path | None) -> Path:
    """The data folder alone, for commands that only read."""
    return inner(data) or find_config(station_file, None).data


def find_records(station_file: Path | None, data: Path | None) -> Path:
    """The same, when it must have been used before: a mistyped folder is no empty one."""
    folder = find_data(station_file, data)
    if data is not None and not is_data(folder):
        raise ConfigError(
            f"expected the data folder of a station, but {folder} is none; name the right one with --data"
        )
    return folder


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


def answer_line(config: StationConfig, socket: int) -> str:
    """The command that answers for an interrupted part, as it can be typed."""
    from station.model import Mode

    who = "" if config.mode is Mode.VIRTUAL else " --operator NAME"
    place = f"--station {shlex.quote(str(config.path))} --data {shlex.quote(str(config.data))}"
    moved = "or --choice quarantine when the part was moved"
    return f"station answer --socket {socket} --choice check{who} {place} ({moved})"


def read_pin(prompt: str, from_stdin: bool) -> bytes:
    """A PIN from the terminal without echo, or from a line of stdin."""
    if from_stdin:
        return sys.stdin.buffer.readline().strip()
    if not _has_terminal():
        raise Refused(f"expected a terminal to ask for the {prompt}, but there is none: give the PIN with --pin-stdin")
    return str(click.prompt(prompt, hide_input=True, err=True)).encode()


def _has_terminal() -> bool:
    """Whether somebody can type a PIN, also while stdin is something else."""
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


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


def visible(text: str) -> str:
    """Somebody else's words for a terminal: what moves its cursor or changes its colours is shown as an escape."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], as_json: bool) -> None:
    """A table for people, or JSON. A terminal gets long sentences shortened, everything else gets them whole."""
    if as_json:
        click.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], ensure_ascii=False))
        return
    whole = sys.stdout is None or not sys.stdout.isatty()
    if rows and not whole:  # a terminal is narrow: a column without a single value is left out
        used = [index for index in range(len(columns)) if any(row[index] not in (None, "") for row in rows)]
        columns, rows = [columns[index] for index in used], [[row[index] for index in used] for row in rows]
    last = len(columns) - 1  # sentences stand there, and nothing behind them
    texts = [[cell(value, whole or index == last) for index, value in enumerate(row)] for row in rows]
    widths = [max([len(name), *(len(row[index]) for row in texts)]) for index, name in enumerate(columns)]
    for line in [list(columns), *texts]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def cell(value: Any, whole: bool) -> str:
    """What stands in a table: digests, keys and ids (one word) always whole, long sentences with an ellipsis."""
    text = visible("" if value is None else str(value))
    if whole or len(text) <= WIDEST or " " not in text:
        return text
    return text[: WIDEST - 1].rstrip() + "…"
