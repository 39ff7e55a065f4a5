"""``appliance add-station`` and ``appliance sku-password``: what a station needs to reach an appliance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from station.cli_options import FOLDER, json_option


@click.command("add-station")
@click.argument("folder", type=FOLDER)
@click.argument("name")
@click.option("--host", "hosts", multiple=True, help="Host name or address of the station; repeat for more.")
@json_option
def add_station(folder: Path, **options: Any) -> int:
    """Issue the client certificate of one more station NAME of the development appliance in FOLDER."""
    from station.appliance.client_access import add_station_command

    return add_station_command(folder=folder, **options)


@click.command("sku-password")
@click.argument("folder", type=FOLDER)
@click.argument("sku")
@json_option
def sku_password(folder: Path, sku: str, as_json: bool) -> int:
    """Give SKU another password; it counts at once, also while the appliance of FOLDER serves."""
    from station.appliance.client_access import sku_password_command

    return sku_password_command(folder=folder, sku=sku, as_json=as_json)
