"""``appliance init`` and ``appliance serve`` as plain functions; the command line wires them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from station.appliance.pki import SKU, client_files, init
from station.appliance.settings import read_settings
from station.appliance.sku_templates import chosen
from station.appliance.tls_version import require_tls13
from station.processes import restart_in_clean_environment
from station.secret import harden_process

Say = Callable[[str], None]


def init_command(
    *, folder: Path, stations: Sequence[str] = ("station-1",), hosts: Sequence[str] = (), skus: Sequence[str] = (SKU,),
    as_json: bool = False, say: Say | None = None,
) -> int:  # fmt: skip
    """Make a development appliance in a new folder and say where a station's files are."""
    say = say or _stdout
    init(folder, stations, hosts, skus)
    names = [template.name for template in chosen(skus)]
    passwords = {sku: str(client_files(folder.resolve(), "", sku).password) for sku in names}
    files = {name: client_files(folder.resolve(), name) for name in stations}
    if as_json:
        clients = {
            name: {"ca": str(f.ca), "certificate": str(f.certificate), "key": str(f.key), "password": str(f.password)}
            for name, f in files.items()
        }
        made = {"event": "appliance_made", "folder": str(folder.resolve()), "realm": "dev"}
        say(json.dumps({**made, "clients": clients, "passwords": passwords}))
        return 0
    say(f"development appliance made in {folder}; start it with: station appliance serve {folder}")
    for name, found in files.items():
        say(f"  {name}: certificate {found.certificate}, key {found.key}, CA {found.ca}, SKU password {found.password}")
    for sku, password in passwords.items():
        say(f"  sku {sku}: password {password}")
    return 0


def serve_command(
    *, folder: Path, host: str | None = None, port: int | None = None, as_json: bool = False, log_level: str = "info",
    say: Say | None = None,
) -> int:  # fmt: skip
    """Serve until SIGTERM or SIGINT; one line says when calls are answered. The log goes to stderr."""
    restart_in_clean_environment(read_settings(folder.resolve()).realm)
    require_tls13()  # before gRPC is loaded, which reads its switches then
    from station.appliance.server import serve  # gRPC and SQLite, which init and --help do without

    say = say or _stdout
    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )

    def announce(endpoint: dict[str, object]) -> None:
        line = f"appliance of realm {endpoint['realm']} is ready on {endpoint['target']}"
        say(json.dumps({"event": "appliance_ready", **endpoint}) if as_json else line)

    return serve(folder, host, port, ready=announce)


def account_command(*, folder: Path, as_json: bool = False, say: Say | None = None) -> int:
    """Say how many devices each work order has had endorsed here, and how many of them wait for registration."""
    from station.appliance.quota import Quota, Spent  # SQLite

    say = say or _stdout
    path = read_settings(folder.resolve()).run.counters
    lines: list[Spent] = []
    if path.exists():
        quota = Quota(path)
        lines = quota.account()
        quota.close()
    if as_json:
        say(json.dumps({"event": "account", "work_orders": [asdict(line) for line in lines]}))
        return 0
    for line in lines or [Spent("", "", 0, 0)]:
        name = f"{line.work_order or '(no work order)'} {line.day}".strip()
        say(f"{name}: {line.endorsed} devices endorsed, {line.unregistered} of them not registered")
    return 0


def doctor_command(*, folder: Path, as_json: bool = False, say: Say | None = None) -> int:
    """Say everything that is wrong with a folder; nothing is served and nothing written."""
    harden_process()
    from station.appliance import doctor  # gRPC and SQLite

    say = say or _stdout
    checks = doctor.examine(folder.resolve())
    for line in [doctor.as_json(checks)] if as_json else map(str, checks):
        say(line)
    return doctor.exit_code(checks)


def _stdout(line: str) -> None:
    print(line, flush=True)
