"""Commands that read (and, for a release, extend) the records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from station.cli_common import find_data, opened_bench, show_table, sign_in
from station.errors import EXIT_PASS, JournalError, Refused

if TYPE_CHECKING:
    from station.journal_parts import PartRecord
    from station.workbench import Workbench


def show_history(
    *, station_file: Path | None, data: Path | None, query: str, where: tuple[str, ...], csv_file: Path | None,
    as_json: bool,
) -> int:  # fmt: skip
    """``station history``."""
    from station.data_folder import is_taken
    from station.records import export, views
    from station.records.history import History, journal_exists

    folder = find_data(station_file, data)
    journal_exists(folder)
    records = History(folder, lambda: None if is_taken(folder) else ())
    try:
        filters = _filters(where)
        columns, rows = views.ask(records, query, filters)
        why = "" if rows else views.why_empty(records, query, filters)
    finally:
        records.close()
    if why:
        click.echo(f"station: {why}", err=True)
    if not as_json:
        rows = views.with_clock(columns, rows)
    if csv_file is not None:
        export.write_whole(csv_file, export.to_csv(columns, rows))
        return EXIT_PASS
    show_table(columns, rows, as_json)
    return EXIT_PASS


def show_part(name: str, *, station_file: Path | None, data: Path | None, as_json: bool) -> int:
    """``station part show``."""
    from station.journal_reader import read_lives
    from station.queries import part_table

    record = _known(name, station_file, data)
    show_table(*part_table(record, read_lives(find_data(station_file, data), name)), as_json)
    return EXIT_PASS


def export_part(name: str, folder: Path, *, station_file: Path | None, data: Path | None, as_json: bool) -> int:
    """``station part export``."""
    from station.journal_reader import read_lives
    from station.records.part_files import SEALED, files_of, write_files

    files = files_of(_known(name, station_file, data), read_lives(find_data(station_file, data), name))
    if not files:
        raise Refused(f"nothing is kept of the part {name!r}; station part show tells what is known of it")
    write_files(files, folder)
    rows = [(one.name, one.size, str(folder / one.file) if one.file else ("" if as_json else SEALED)) for one in files]
    show_table(("name", "bytes", "file"), rows, as_json)
    return EXIT_PASS


def _known(name: str, station_file: Path | None, data: Path | None) -> PartRecord:
    from station.journal_reader import read_part

    record = read_part(find_data(station_file, data), name)
    if not record.labels and not record.device_id:
        raise Refused(f"this station knows no part {name!r}")
    return record


def release_part(
    name: str, reason: str, *, station_file: Path | None, data: Path | None, operator: str, pin_stdin: bool
) -> int:
    """``station part release``."""
    from station.commands import release

    with _supervised(station_file, data, operator, pin_stdin) as bench:
        release(bench, name, reason)
    click.echo(f"released {name}")
    return EXIT_PASS


def confirm_part(
    name: str, reason: str, *, station_file: Path | None, data: Path | None, operator: str, pin_stdin: bool
) -> int:
    """``station part registered``."""
    from station.commands import confirm_registration

    with _supervised(station_file, data, operator, pin_stdin) as bench:
        confirm_registration(bench, name, reason)
    click.echo(f"{name} counts as registered")
    return EXIT_PASS


@contextmanager
def _supervised(station_file: Path | None, data: Path | None, operator: str, pin_stdin: bool) -> Iterator[Workbench]:
    """The workbench with a supervisor signed in."""
    from station.model import Role

    with opened_bench(station_file, data) as bench:
        sign_in(bench, operator, pin_stdin)
        bench.require(Role.SUPERVISOR)
        yield bench


def verify_journal(*, station_file: Path | None, data: Path | None, as_json: bool) -> int:
    """``station journal verify``."""
    from station.journal_reader import verify

    rows, damage = verify(find_data(station_file, data))
    if as_json:
        click.echo(json.dumps({"rows": rows, "ok": not damage, "sentence": damage}))
    else:
        click.echo(damage or f"all {rows} rows of the journal follow one another")
    return JournalError.exit_code if damage else EXIT_PASS


def export_journal(*, station_file: Path | None, data: Path | None, after: int, output: Path | None) -> int:
    """``station journal export``."""
    from station.journal_reader import export
    from station.records.export import write_whole

    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in
             export(find_data(station_file, data), after))  # fmt: skip
    if output is not None:
        write_whole(output, "".join(f"{line}\n" for line in lines))
        return EXIT_PASS
    for line in lines:
        click.echo(line)
    return EXIT_PASS


def _filters(where: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in where:
        name, sign, value = text.partition("=")
        if not sign:
            raise Refused(f"expected NAME=VALUE after --where, got {text!r}")
        found[name] = value
    return found
