"""``station pa``: an engineer's calls at any Provisioning Appliance. What they do is in ``pa_commands``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from station.cli_options import FILE, FOLDER, json_option, operator_options, station_options
from station.pa_options import PaOptions

REALMS = click.Choice(["dev", "production"])
_OPTIONS = (
    click.option("--target", default="", help="Appliance, host:port or another gRPC target; no station file is read."),
    click.option("--endpoint", type=FILE, help="The endpoint.json of an appliance of this computer, for --target."),
    click.option("--driver", default="grpc", show_default=True, help="Appliance driver, with --target."),
    click.option("--ca", type=FILE, help="PEM of the CA that the appliance must come from, with --target."),
    click.option("--certificate", type=FILE, help="PEM of the client certificate, with --target."),
    click.option("--key", type=FILE, help="PEM of its private key, with --target."),
    click.option("--no-tls", is_flag=True, help="Without TLS: everybody on the way can read what is sent."),
    click.option("--target-name", default="", help="Name in the appliance's certificate when it is not the host."),
    click.option("--realm", type=REALMS, default="dev", show_default=True, help="What the appliance must be."),
    click.option("--unmarked-realm", type=REALMS, help="What an appliance that says no realm counts as."),
    click.option("--deadline", type=click.FloatRange(min=0, min_open=True), help="Seconds per call."),
    click.option("--password-file", type=FILE, help="File of mode 600 with the SKU's password."),
    click.option("--password-stdin", is_flag=True, help="Read the SKU's password from the first line of stdin."),
)
sku_option = click.option("--sku", required=True, help="SKU whose session is opened.")


def pa_options(command: Callable[..., int]) -> Callable[..., int]:
    """Where the appliance is and who asks: becomes the one argument ``options``."""

    @wraps(command)
    def wrapper(**given: Any) -> int:
        taken = {field.name: given.pop(field.name) for field in fields(PaOptions)}
        return command(options=PaOptions(**taken), **given)

    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return station_options(wrapper)


@click.group()
def pa() -> None:
    """An engineer's calls at any Provisioning Appliance, a reference one or ours.

    The appliance is that of the station file, or with --target the one that the options name. No command prints a
    secret; passwords come from the station's credentials, a file, stdin or the prompt. 4: the appliance refused.
    """


@pa.command("session")
@click.argument("sku")
@pa_options
@json_option
def pa_session(**given: Any) -> int:
    """Try everything up to a session for SKU: files, address, TLS, realm, password; then measure a call."""
    from station.pa_commands import try_session

    return try_session(**given)


@pa.command("ca-keys")
@sku_option
@click.option("--label", "labels", multiple=True,
              help="Label of a TBS; repeat for more (default: UDS, EXT, UDS_MLDSA and EXT_MLDSA).")  # fmt: skip
@pa_options
@json_option
def pa_ca_keys(**given: Any) -> int:
    """Show the subject key ids of the SKU's CAs; 1 when there is none for a label that was given."""
    from station.pa_commands import show_ca_keys

    return show_ca_keys(**given)


@pa.command("ca-certs")
@sku_option
@click.option("--label", "labels", multiple=True, default=["root", "dice"], show_default=True,
              help="root, dice, ext, root_mldsa, dice_mldsa or ext_mldsa; repeat for more.")  # fmt: skip
@click.option("--out", type=FOLDER, help="Write LABEL.der files into this folder; none is overwritten.")
@pa_options
@json_option
def pa_ca_certs(**given: Any) -> int:
    """Fetch CA certificates of the SKU."""
    from station.pa_commands import fetch_ca_certs

    return fetch_ca_certs(**given)


@pa.command("boot-message")
@sku_option
@pa_options
@json_option
def pa_boot_message(**given: Any) -> int:
    """Show the text that a good part prints when it boots, a regular expression."""
    from station.pa_commands import show_boot_message

    return show_boot_message(**given)


@pa.command("endorse")
@click.argument("files", nargs=-1, required=True, metavar="TBS_FILE...", type=FILE)
@sku_option
@click.option("--label", "labels", multiple=True, default=["UDS"], show_default=True,
              help="Label of each file in its order, or one for all.")  # fmt: skip
@click.option("--diversifier", default="was", show_default=True, help="Of the wafer authentication secret.")
@click.option("--signature", default="", metavar="HEX", help="The part's HMAC over all TBS in their order.")
@click.option("--signature-file", type=FILE, help="The same from a file: 32 bytes, or hex digits.")
@click.option("--derive-was", is_flag=True, help="Derive the secret and compute the HMAC here; needs the high seed.")
@click.option("--out", type=FOLDER, default=Path(), help="Folder for FILE.cert.der (default: this one).")
@pa_options
@json_option
def pa_endorse(**given: Any) -> int:
    """Have the TBS certificates (DER) of one part signed, with the part's proof of origin."""
    from station.pa_commands import endorse_files

    return endorse_files(**given)


@pa.command("register")
@click.argument("file", required=False, type=FILE)
@click.option("--part", default="", help="Label or device id: send what the journal keeps for this part (engineer).")
@pa_options
@operator_options
@json_option
def pa_register(**given: Any) -> int:
    """Register the device of a JSON FILE, or a part whose registration waits in the station's journal.

    FILE has the fields of docs/appliance.md, bytes in hex; it carries the device's seeds.
    """
    from station.pa_commands import register

    return register(**given)


@pa.command("tokens")
@sku_option
@click.option("--seed", type=click.Choice(["low", "high", "fresh"]), default="low", show_default=True,
              help="What the tokens are derived from.")  # fmt: skip
@click.option("--bits", type=click.Choice(["128", "256"]), default="128", show_default=True, help="Their size.")
@click.option("--diversifier", "diversifiers", multiple=True, default=["test_unlock", "test_exit"], show_default=True,
              help="Text, padded with zeros to 48 bytes; repeat for more.")  # fmt: skip
@click.option("--out", type=FOLDER, help="Write the wrapped seeds of fresh tokens here; none is overwritten.")
@pa_options
@json_option
def pa_tokens(**given: Any) -> int:
    """Derive hashed tokens and show a check value of each, to compare two appliances without showing a token.

    Of a fresh seed the hash itself is shown, which is no secret.
    """
    from station.pa_commands import check_tokens

    return check_tokens(**given)
