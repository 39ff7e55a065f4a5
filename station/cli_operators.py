"""Commands about operators."""

from __future__ import annotations

from pathlib import Path

import click

from station.cli_common import find_data, find_records, read_pin, show_table
from station.errors import EXIT_PASS, Refused
from station.model import Role
from station.operators import Operators, may
from station.secret import Secret


def add_operator(
    name: str, *, station_file: Path | None, data: Path | None, role: str, supervisor: str, pin_stdin: bool
) -> int:
    """``station operator add``: the first one must be a supervisor, who then adds the others."""
    operators = Operators(find_data(station_file, data))
    if operators.has_supervisor():
        _require_supervisor(operators, supervisor, pin_stdin)
    elif Role(role) is not Role.SUPERVISOR:
        raise Refused("the first operator of a station must be a supervisor: add --role supervisor")
    operators.add(name, Role(role), read_pin(f"New PIN of {name}", pin_stdin))
    click.echo(f"{name} is {role}")
    return EXIT_PASS


def list_operators(*, station_file: Path | None, data: Path | None, as_json: bool) -> int:
    """``station operator list``."""
    operators = Operators(find_records(station_file, data))
    show_table(("name", "role"), [(name, str(role)) for name, role in operators.names()], as_json)
    return EXIT_PASS


def _require_supervisor(operators: Operators, supervisor: str, pin_stdin: bool) -> None:
    if not supervisor:
        raise Refused("a supervisor must add operators: say who with --supervisor NAME")
    role = operators.sign_in(supervisor, Secret(read_pin(f"PIN of {supervisor}", pin_stdin), "pin"))
    if not may(role, Role.SUPERVISOR):
        raise Refused(f"this needs the role supervisor; {supervisor} is {role}")
