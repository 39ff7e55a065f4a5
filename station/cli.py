"""The command line. Imports happen inside the commands, so that ``station --help`` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from station.cli_ceremony import ceremony, rma_token
from station.errors import EXIT_CRASH, StationError

F = TypeVar("F", bound=Callable[..., Any])
FOLDER = click.Path(file_okay=False, path_type=Path)
ROLES = ["operator", "engineer", "supervisor"]
FILE = click.Path(dir_okay=False, path_type=Path)


def command_line() -> int:
    """Run one command; returns its exit code."""
    try:
        code = cli(standalone_mode=False)
        return int(code or 0)
    except click.exceptions.Abort:
        click.echo("station: stopped", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StationError as error:
        click.echo(f"station: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:  # the last resort: a crash report instead of a traceback with data
        from station.crash_report import crash_text

        click.echo(f"station: an error in the program\n{crash_text(error)}", err=True)
        return EXIT_CRASH


def station_options(command: F) -> F:
    """``--station`` and ``--data``."""
    station = click.option("--station", "station_file", type=FILE, envvar="STATION_FILE",
                           help="Station file (default: that of --data, ./station.toml, this user's).")  # fmt: skip
    data = click.option(
        "--data", type=FOLDER, help="Data folder (journal, operators, credentials), or the folder of a demo."
    )
    return station(data(command))


json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for machines.")


def operator_options(command: F) -> F:
    """``--operator`` and where the PIN comes from."""
    name = click.option("--operator", default="", help="Who works; not needed on a virtual bench.")
    pin = click.option("--pin-stdin", is_flag=True, help="Read the PIN from the first line of stdin, do not ask.")
    return name(pin(command))


def returns_code(function: Callable[..., int]) -> Callable[..., int]:
    """A command whose return value is the exit code."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> int:
        return function(*args, **kwargs)

    return wrapper


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="provisioning-station", message="%(version)s")
def cli() -> None:
    """Provisioning station: take secure chips through an irreversible provisioning flow.

    A part is put into a socket, scanned, started; the station says which bin and which tray it goes to, and keeps a
    record that survives crashes and power cuts.

    Exit codes: 0 pass, 1 fail, 2 configuration or refused, 3 bench, 4 appliance, 5 record cannot be written, 6 hold,
    7 quarantine, 130 stopped, 70 error in the program.
    """


@cli.command()
@station_options
@click.option("--sockets", type=click.IntRange(1, 16), default=4, show_default=True, help="Of the virtual bench.")
@click.argument("window_arguments", nargs=-1, type=click.UNPROCESSED)
def gui(station_file: Path | None, data: Path | None, sockets: int, window_arguments: tuple[str, ...]) -> int:
    """Open the operator's window with its engine.

    Without a station file a virtual bench is made in this user's data folder, so that the window can be tried without
    hardware. Arguments after -- go to the window.
    """
    from station.cli_window import open_gui

    return open_gui(station_file, data, sockets, window_arguments)


@cli.command()
@click.argument("recipe")
@click.option("--label", required=True, help="Label of the part, as it would be scanned.")
@click.option("--socket", type=int, default=1, show_default=True, help="Number of the socket.")
@click.option("--lot", default="", help="Lot, when the label does not say.")
@click.option("--wait", type=float, default=60.0, show_default=True, help="Seconds to wait for a part in the socket.")
@station_options
@operator_options
@json_option
def run(recipe: str, **options: Any) -> int:
    """Run RECIPE on one part and end with the code of its verdict."""
    from station.cli_run import run_recipe

    return run_recipe(recipe, **options)


@cli.command()
@click.option("--chip", default="earlgrey", show_default=True, help="Chip family.")
@click.option("--sku", default="sival", show_default=True, help="SKU pack.")
@click.option("--parts", type=click.IntRange(1, 10_000), default=4, show_default=True, help="How many virtual dies.")
@click.option("--sockets", type=click.IntRange(1, 16), default=4, show_default=True, help="How many sockets.")
@click.option("--fault", default="", help="Fault of the virtual bench for the first part (simulate --list-faults).")
@click.option("--driver", default="ft4232h", show_default=True, help="Driver of the sockets, such as one of your own.")
@click.option("--data", type=FOLDER, help="Keep journal, chips and keys here (default: a fresh temporary folder).")
@click.option("--headless", is_flag=True, help="Without a window: put the parts in and run them.")
@json_option
def demo(**options: Any) -> int:
    """The main job on a virtual bench: dies through Chip Probe, then Final Test.

    Appliance and bench run as processes of their own; nothing real is touched. Ends with 0 only if all parts passed,
    with 130 after Ctrl-C. With --data the records stay: DIR/station.toml is the station file, DIR/data the data folder,
    and every other command takes --data DIR, too.
    """
    from station.demo import run_demo

    return run_demo(**options)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulate(arguments: tuple[str, ...]) -> int:
    """Run a virtual bench: adapters with virtual chips behind them (simulate --help tells more)."""
    from station import plugins

    return int(plugins.load("station.simulators", "virtual")(list(arguments)) or 0)


@cli.command()
@station_options
@click.option("--record", type=FILE, help="Write all events to a file, for replay in the window.")
@click.option("--operator", default="", help="Sign in without a PIN; virtual bench only.")
def engine(station_file: Path | None, data: Path | None, record: Path | None, operator: str) -> int:
    """Serve a window (or another program) with JSON lines on stdin and stdout.

    End of stdin, SIGINT, SIGTERM and SIGHUP finish the burn in progress, then the engine records and ends.
    """
    from station.cli_common import find_station, inner
    from station.engine import run_engine

    return run_engine(find_station(station_file, data), inner(data), record, operator)


@cli.group()
def appliance() -> None:
    """The embedded Provisioning Appliance."""


@appliance.command("init")
@click.argument("folder", type=FOLDER)
@click.option("--station", "stations", multiple=True, default=["station-1"], help="Station that gets a certificate.")
@click.option("--host", "hosts", multiple=True, help="Further host name or address of the appliance.")
@click.option("--sku", "skus", multiple=True, default=["sival"], help="SKU that it serves, or all; repeat for more.")
@json_option
def appliance_init(folder: Path, **options: Any) -> int:
    """Make a development appliance in FOLDER: keys, certificates, SKU files."""
    from station.appliance.commands import init_command

    return init_command(folder=folder, **options)


@appliance.command("serve")
@click.argument("folder", type=FOLDER)
@click.option("--host", help="Address to listen on (default: appliance.toml).")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one.")
@click.option("--log-level", default="info", show_default=True, help="debug, info, warning or error.")
@click.option("--parent-pid", type=int, hidden=True)
@json_option
def appliance_serve(folder: Path, parent_pid: int | None, **options: Any) -> int:
    """Serve the appliance of FOLDER until SIGTERM or Ctrl-C."""
    from station.appliance.commands import serve_command
    from station.processes import end_with_parent

    if parent_pid is not None:
        end_with_parent(parent_pid)
    return serve_command(folder=folder, **options)


@appliance.command("account")
@click.argument("folder", type=FOLDER)
@json_option
def appliance_account(folder: Path, as_json: bool) -> int:
    """How many devices each work order has had endorsed, and how many of them are not registered."""
    from station.appliance.commands import account_command

    return account_command(folder=folder, as_json=as_json)


appliance.add_command(ceremony)
appliance.add_command(rma_token)


@cli.group()
def sockets() -> None:
    """The sockets of this bench."""


@sockets.command("check")
@station_options
@json_option
def sockets_check(**options: Any) -> int:
    """Open every socket's adapter and read its sensors; 3 when one does not work."""
    from station.cli_checks import check_sockets

    return check_sockets(**options)


@cli.command()
@station_options
@click.option("--query", default="history", show_default=True,
              help="history, run, yield, pareto, sockets, step_times or outbox.")  # fmt: skip
@click.option(
    "--where",
    multiple=True,
    metavar="NAME=VALUE",
    help="Filter, such as lot=L24-0117, kind=fail or mode=virtual; query run wants run=NUMBER.",
)
@click.option("--csv", "csv_file", type=FILE, help="Write a CSV file.")
@json_option
def history(**options: Any) -> int:
    """Ask the records: runs, yield, bins, outbox."""
    from station.cli_records import show_history

    return show_history(**options)


@cli.group()
def part() -> None:
    """What is known of one part."""


@part.command("show")
@click.argument("name")
@station_options
@json_option
def part_show(name: str, **options: Any) -> int:
    """Show the part with this label or device id."""
    from station.cli_records import show_part

    return show_part(name, **options)


@part.command("release")
@click.argument("name")
@click.option("--reason", required=True, help="Why, in words; it is recorded.")
@station_options
@operator_options
def part_release(name: str, reason: str, **options: Any) -> int:
    """Release a part from quarantine (supervisor)."""
    from station.cli_records import release_part

    return release_part(name, reason, **options)


@part.command("registered")
@click.argument("name")
@click.option("--reason", required=True, help="Who found it where, in words; it is recorded.")
@station_options
@operator_options
def part_registered(name: str, reason: str, **options: Any) -> int:
    """Take a pending registration for acknowledged: the part was found in the registry (supervisor)."""
    from station.cli_records import confirm_part

    return confirm_part(name, reason, **options)


@cli.group()
def operator() -> None:
    """Who may work at this bench."""


@operator.command("add")
@click.argument("name")
@click.option(
    "--role", type=click.Choice(["operator", "engineer", "supervisor"]), default="operator", show_default=True
)
@click.option("--supervisor", default="", help="Who adds; not needed for the first supervisor.")
@click.option("--pin-stdin", is_flag=True, help="Read the PIN (and before it the supervisor's) from stdin lines.")
@station_options
def operator_add(name: str, **options: Any) -> int:
    """Add an operator, or give one a new role and PIN."""
    from station.cli_operators import add_operator

    return add_operator(name, **options)


@operator.command("list")
@station_options
@json_option
def operator_list(**options: Any) -> int:
    """List names and roles."""
    from station.cli_operators import list_operators

    return list_operators(**options)


@cli.command()
@click.option("--socket", type=int, required=True, help="Number of the socket.")
@click.option("--choice", type=click.Choice(["check", "quarantine"]), required=True,
              help="check: the part is still there, go on; quarantine: it was moved.")  # fmt: skip
@station_options
@operator_options
@json_option
def answer(**options: Any) -> int:
    """Answer the question about a part whose run was interrupted by a crash or power cut."""
    from station.cli_run import answer_interrupted

    return answer_interrupted(**options)


@cli.group()
def journal() -> None:
    """The append-only journal."""


@journal.command("verify")
@station_options
@json_option
def journal_verify(**options: Any) -> int:
    """Check the hash chain from the first row to the last; 5 and the first bad row when it is broken."""
    from station.cli_records import verify_journal

    return verify_journal(**options)


@journal.command("export")
@station_options
@click.option("--after", type=int, default=0, help="Only rows after this sequence number.")
@click.option("--output", type=FILE, help="Write to a file instead of stdout.")
def journal_export(**options: Any) -> int:
    """Write every row as one JSON line, hash chain included."""
    from station.cli_records import export_journal

    return export_journal(**options)


@cli.command()
@station_options
@click.option("--store", default="", metavar="NAME", help="Store a credential, read from stdin, instead of checking.")
@json_option
def doctor(**options: Any) -> int:
    """Check everything this station needs: files, recipes, credentials, journal, appliance."""
    from station.cli_checks import run_doctor

    return run_doctor(**options)
