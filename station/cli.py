"""The command line. Imports happen inside the commands, so that ``station --help`` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from station.cli_access import add_station, sku_password
from station.cli_ceremony import ceremony, rma_token
from station.cli_options import (
    FILE,
    FOLDER,
    answer_option,
    json_option,
    keystore_option,
    operator_options,
    station_options,
)
from station.cli_pa import pa
from station.errors import EXIT_CRASH, ConfigError, StationError
from station.file_errors import file_sentence, is_file_error

ROLES = ["operator", "engineer", "supervisor"]
FILE_OR_STDIN = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


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
    except Exception as error:  # the last resort: nobody is shown a stack trace with data
        return _last_resort(error)


def _last_resort(error: Exception) -> int:
    """What the file system refuses in a sentence; else a crash report instead of a traceback with data."""
    if isinstance(error, OSError) and is_file_error(error):
        click.echo(f"station: {file_sentence(error)}", err=True)
        return ConfigError.exit_code
    from station.crash_report import crash_text

    click.echo(f"station: an error in the program\n{crash_text(error)}", err=True)
    return EXIT_CRASH


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="provisioning-station", message="%(version)s")
def cli() -> None:
    """Provisioning station: take secure chips through an irreversible provisioning flow.

    A part is put into a socket, scanned, started; the station says which bin and which tray it goes to, and keeps a
    record that survives crashes and power cuts.

    Exit codes: 0 pass, 1 fail, 2 configuration or refused, 3 bench, 4 appliance, 5 record cannot be written, 6 hold,
    7 quarantine, 8 an HSM refuses its PIN, 130 stopped, 70 error in the program.
    """


@cli.command()
@station_options
@click.option("--sockets", type=click.IntRange(1, 16), default=4, show_default=True, help="Of the virtual bench.")
@click.option("--chip", default="", help="Chip on the virtual bench: earlgrey, nrf5340, nrf9160 or nrf91x1.")
@click.argument("window_arguments", nargs=-1, type=click.UNPROCESSED)
def gui(
    station_file: Path | None, data: Path | None, sockets: int, chip: str, window_arguments: tuple[str, ...]
) -> int:
    """Open the operator's window with its engine.

    Without a station file a virtual bench is made in this user's data folder, so that the window can be tried without
    hardware. Arguments after -- go to the window.
    """
    from station.cli_window import open_gui

    return open_gui(station_file, data, sockets, chip, window_arguments)


@cli.command()
@click.argument("recipe")
@click.option("--label", required=True, help="Label of the part, as it would be scanned.")
@click.option("--socket", type=int, default=1, show_default=True, help="Number of the socket.")
@click.option("--lot", default="", help="Lot, when the label does not say.")
@click.option("--insert", is_flag=True,
              help="Virtual bench: put the part with this label in first; a new label is a fresh part.")  # fmt: skip
@click.option("--wait", type=float, default=60.0, show_default=True, help="Seconds to wait for a part in the socket.")
@answer_option
@station_options
@operator_options
@json_option
def run(recipe: str, **options: Any) -> int:
    """Run RECIPE on one part and end with the code of its verdict."""
    from station.cli_run import run_recipe

    return run_recipe(recipe, **options)


@cli.command()
@click.option("--chip", default="earlgrey", show_default=True, help="earlgrey, nrf5340, nrf9160 or nrf91x1.")
@click.option("--sku", default="", help="SKU pack (default: the chip's own).")
@click.option("--parts", type=click.IntRange(1, 10_000), default=4, show_default=True, help="How many virtual parts.")
@click.option("--sockets", type=click.IntRange(1, 16), default=4, show_default=True, help="How many sockets.")
@click.option("--fault", default="", help="Fault of the virtual bench for the first part (simulate --list-faults).")
@click.option("--driver", default="", help="Driver of the sockets, such as one of your own (default: the chip's).")
@click.option("--data", type=FOLDER, help="Keep journal, chips and keys here (default: a fresh temporary folder).")
@click.option("--headless", is_flag=True, help="Without a window: put the parts in and run them.")
@json_option
def demo(**options: Any) -> int:
    """The main job on a virtual bench: Earlgrey dies through Chip Probe and Final Test, Nordic parts through TF-M.

    Bench and, where the chip needs one, appliance run as processes of their own; nothing real is touched. What a flow
    asks is answered with yes. Ends with 0 only if all parts passed, with 130 after Ctrl-C. With --data the records
    stay: DIR/station.toml is the station file, DIR/data the data folder, and every other command takes --data DIR, too.
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
@click.argument("action", metavar="ACTION", default="state")
@click.argument("argument", default="")
@click.option("--socket", type=int, default=1, show_default=True, help="Number of the socket.")
@station_options
def hand(action: str, argument: str, **options: Any) -> int:
    """Be the hand at a running virtual bench: put parts in, pull cables, arm faults.

    ACTION is state (the default: part, sensors and armed faults as JSON), insert NAME, remove, lid open|closed,
    power on|off, fault NAME (fault clear disarms), unplug or replug. A station may work on the bench meanwhile.
    """
    from station.cli_run import use_hand

    return use_hand(action, argument, **options)


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
@keystore_option
@json_option
def appliance_init(folder: Path, **options: Any) -> int:
    """Make a development appliance in FOLDER: keys, certificates, SKU files."""
    from station.appliance.commands import init_command

    return init_command(folder=folder, **options)


@appliance.command("serve")
@click.argument("folder", type=FOLDER)
@click.option("--host", help="Address to listen on (default: appliance.toml).")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that serve together (default: appliance.toml).")
@click.option("--log-level", default="info", show_default=True, help="debug, info, warning or error.")
@click.option("--worker", is_flag=True, hidden=True)
@click.option("--parent-pid", type=int, hidden=True)
@json_option
def appliance_serve(folder: Path, parent_pid: int | None, worker: bool, **options: Any) -> int:
    """Serve the appliance of FOLDER until SIGTERM or Ctrl-C."""
    from station.appliance.commands import serve_command, worker_command
    from station.processes import end_with_parent

    if worker:
        return worker_command(folder=folder, log_level=options["log_level"])

    if parent_pid is not None:
        end_with_parent(parent_pid)
    return serve_command(folder=folder, **options)


@appliance.command("selftest")
@keystore_option
@click.option("--sku", "skus", multiple=True, default=["all"], help="SKU to try; repeat for more (default: all).")
@json_option
def appliance_selftest(**options: Any) -> int:
    """Try a throwaway appliance over its wire: every call of every SKU, with an emulated device; 4 when one is wrong.

    The appliance is made in a temporary folder and served on this computer; nothing of it is left.
    """
    from station.appliance.commands import selftest_command

    return selftest_command(**options)


@appliance.command("account")
@click.argument("folder", type=FOLDER)
@json_option
def appliance_account(folder: Path, as_json: bool) -> int:
    """How many devices each work order has had endorsed, and how many of them are not registered."""
    from station.appliance.store_commands import account_command

    return account_command(folder=folder, as_json=as_json)


@appliance.command("doctor")
@click.argument("folder", type=FOLDER)
@json_option
def appliance_doctor(folder: Path, as_json: bool) -> int:
    """Everything that is wrong with the appliance of FOLDER, at once and without serving it.

    Files and their owners, keys, SKUs, certificates, stations, databases, disk, clock, ports. An HSM is logged into
    once. Ends with 0 (warnings do not count), with 5 when only records cannot be written, else with 2.
    """
    from station.appliance.commands import doctor_command

    return doctor_command(folder=folder, as_json=as_json)


@appliance.command("pending")
@click.argument("folder", type=FOLDER)
@json_option
def appliance_pending(folder: Path, as_json: bool) -> int:
    """Which registered devices the HTTP registry has not acknowledged yet."""
    from station.appliance.store_commands import pending_command

    return pending_command(folder=folder, as_json=as_json)


@appliance.command("anchors")
@click.argument("folder", type=FOLDER)
@click.option("--accept", default="", metavar="STATION/JOURNAL", help="Let this journal begin anew; needs --reason.")
@click.option("--reason", default="", help="Why; goes to the audit log.")
@json_option
def appliance_anchors(folder: Path, **options: Any) -> int:
    """Which journals the stations have told of, and which do not extend their last anchor."""
    from station.appliance.store_commands import anchors_command

    return anchors_command(folder=folder, **options)


appliance.add_command(add_station)
appliance.add_command(sku_password)
appliance.add_command(ceremony)
appliance.add_command(rma_token)
cli.add_command(pa)


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


@part.command("export")
@click.argument("name")
@click.argument("folder", type=FOLDER)
@station_options
@json_option
def part_export(name: str, folder: Path, **options: Any) -> int:
    """Write every value that is kept of a part into the new FOLDER: NAME.txt, NAME.json or NAME.bin.

    NAME is its label or device id. What is sealed is listed and left out; nothing is overwritten. What was kept before
    an erasure of the whole part lies in a folder of its own, erased-NUMBER-run-RUN.
    """
    from station.cli_records import export_part

    return export_part(name, folder, **options)


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
@answer_option
@station_options
@operator_options
@json_option
def answer(**options: Any) -> int:
    """Answer the question about a part whose run was interrupted by a crash or power cut."""
    from station.cli_run import answer_interrupted

    return answer_interrupted(**options)


@cli.group()
def attest() -> None:
    """Attestation tokens of TF-M: looked into and verified, without any part.

    FILE holds the token itself, its hex digits, or the transcript of a console that printed it; - reads stdin.
    """


@attest.command("show")
@click.argument("file", type=FILE_OR_STDIN)
@json_option
def attest_show(file: Path, as_json: bool) -> int:
    """Show the claims of the token in FILE and the key that signed it."""
    from station.cli_attest import show_token

    return show_token(file, as_json=as_json)


@attest.command("verify")
@click.argument("file", type=FILE_OR_STDIN)
@click.option("--public-key", default="", metavar="HEX|FILE",
              help="The key that must have signed: 04 X Y, or X Y, as hex digits or in a file.")  # fmt: skip
@click.option("--instance-id", default="", metavar="HEX", help="33 bytes that begin with 01.")
@click.option("--implementation-id", default="", metavar="HEX", help="32 bytes.")
@click.option("--challenge", default="", metavar="HEX", help="What the token must answer: 32, 48 or 64 bytes.")
@click.option("--certificate-reference", default="", help="EAN-13, a dash, five digits.")
@click.option("--profile", default="", help="Name of the token's profile.")
@click.option("--life-cycle", default="secured", show_default=True,
              help="secured, PSA RoT provisioning, decommissioned …, or any.")  # fmt: skip
@json_option
def attest_verify(file: Path, life_cycle: str, **options: Any) -> int:
    """Verify the token in FILE; 1 when anything is not as expected.

    Always looked at: that the key behind the instance id has signed, that it is not the published dummy key, that a
    caller in the non-secure world asked, a random boot seed, and the form of every claim. The implementation id of the
    upstream sample is remarked. A token proves that one key made it; whose key that is, only who saw the part being
    provisioned can know.
    """
    from station.cli_attest import life_cycle_names, verify_token

    if life_cycle not in life_cycle_names():
        raise click.BadParameter(f"expected one of {', '.join(life_cycle_names())}", param_hint="--life-cycle")
    return verify_token(file, life_cycle=life_cycle, **options)


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
