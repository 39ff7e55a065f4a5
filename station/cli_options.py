"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


def station_options(command: F) -> F:
    """``--station`` and ``--data``."""
    station = click.option("--station", "station_file", type=FILE, envvar="STATION_FILE",
                           help="Station file (default: that of --data, ./station.toml, this user's).")  # fmt: skip
    data = click.option(
        "--data", type=FOLDER, help="Data folder (journal, operators, credentials), or the folder of a demo."
    )
    return station(data(command))


def operator_options(command: F) -> F:
    """``--operator`` and where the PIN comes from."""
    name = click.option("--operator", default="", help="Who works; not needed on a virtual bench.")
    pin = click.option("--pin-stdin", is_flag=True, help="Read the PIN from the first line of stdin, do not ask.")
    return name(pin(command))


json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for machines.")
keystore_option = click.option(
    "--keystore", type=click.Choice(["software", "softhsm2"]), default="software", show_default=True,
    help="Where the keys are: a sealed file, or a SoftHSM of the appliance's own.",
)  # fmt: skip
answer_option = click.option(
    "--answer", "answers", multiple=True, metavar="CHOICE",
    help="Answer to the flow's next question, by words or number; repeat for more (default: ask at the terminal).",
)  # fmt: skip
