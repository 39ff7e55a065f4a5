"""``appliance init`` and ``appliance serve`` as plain functions; the command line wires them."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from station.appliance.keystore_settings import PKCS11, SOFTWARE
from station.appliance.one_core import keep_to_one_core
from station.appliance.pki import SKU, client_files, init
from station.appliance.settings import read_settings
from station.appliance.sku_templates import chosen, unservable
from station.appliance.softhsm import find_module
from station.appliance.tls_version import require_tls13
from station.errors import ConfigError
from station.model import Realm
from station.processes import clean_environment, restart_in_clean_environment
from station.secret import harden_process

SOFTHSM = "softhsm2"
KINDS = {SOFTWARE: SOFTWARE, SOFTHSM: PKCS11}
"""What ``--keystore`` may say, and the kind of keystore that it means in ``appliance.toml``."""

Say = Callable[[str], None]


def init_command(
    *, folder: Path, stations: Sequence[str] = ("station-1",), hosts: Sequence[str] = (), skus: Sequence[str] = (SKU,),
    keystore: str = SOFTWARE, as_json: bool = False, say: Say | None = None,
) -> int:  # fmt: skip
    """Make a development appliance in a new folder and say where a station's files are."""
    say = say or _stdout
    names, left_out = _servable(skus, keystore)
    init(folder, stations, hosts, names, into_softhsm() if keystore == SOFTHSM else None)
    passwords = {sku: str(client_files(folder.resolve(), "", sku).password) for sku in names}
    files = {name: client_files(folder.resolve(), name) for name in stations}
    if as_json:
        clients = {
            name: {"ca": str(f.ca), "certificate": str(f.certificate), "key": str(f.key), "password": str(f.password)}
            for name, f in files.items()
        }
        made = {"event": "appliance_made", "folder": str(folder.resolve()), "realm": "dev", "keystore": keystore}
        say(json.dumps({**made, "clients": clients, "passwords": passwords, "left_out": left_out}))
        return 0
    say(f"development appliance made in {folder}; start it with: station appliance serve {folder}")
    for name, found in files.items():
        say(f"  {name}: certificate {found.certificate}, key {found.key}, CA {found.ca}, SKU password {found.password}")
    for sku, password in passwords.items():
        say(f"  sku {sku}: password {password}")
    for reason in left_out:
        say(f"  left out: {reason}")
    return 0


def into_softhsm() -> Callable[[Path], object]:
    """What brings the keys of a folder into a private SoftHSM; ``ConfigError`` at once when it is not installed."""
    module = find_module()
    from station.appliance.pkcs11_provision import provision_folder

    return lambda folder: provision_folder(folder, module)


def _servable(skus: Sequence[str], keystore: str) -> tuple[list[str], list[str]]:
    """Names of the SKUs, and of ``all`` what the keystore cannot serve; such a SKU given by name is refused."""
    reasons = {template.name: unservable(template, KINDS[keystore]) for template in chosen(skus)}
    for name in skus:
        if reasons.get(name):
            raise ConfigError(reasons[name])
    return [name for name, reason in reasons.items() if not reason], [reason for reason in reasons.values() if reason]


def serve_command(
    *, folder: Path, host: str | None = None, port: int | None = None, workers: int | None = None,
    as_json: bool = False, log_level: str = "info", say: Say | None = None,
) -> int:  # fmt: skip
    """Serve until SIGTERM or SIGINT; one line says when calls are answered. The log goes to stderr."""
    settings = read_settings(folder.resolve())
    restart_in_clean_environment(settings.realm)
    require_tls13()  # before gRPC is loaded, which reads its switches then
    say = say or _stdout
    _log_to_stderr(log_level)

    def announce(endpoint: dict[str, object]) -> None:
        line = f"appliance of realm {endpoint['realm']} is ready on {endpoint['target']}"
        say(json.dumps({"event": "appliance_ready", **endpoint}) if as_json else line)

    if (workers or settings.run.workers) > 1:
        from station.appliance.workers import supervise

        return supervise(folder, workers or settings.run.workers, host, port, ready=announce, log_level=log_level)
    from station.appliance.server import serve  # gRPC and SQLite, which init and --help do without

    if settings.run.one_core:
        keep_to_one_core(os.getpid())
    return serve(folder, host, port, ready=announce)


def worker_command(*, folder: Path, log_level: str = "info", say: Say | None = None) -> int:
    """Serve as one of several processes, as the supervisor says on stdin."""
    restart_in_clean_environment(read_settings(folder.resolve()).realm)
    require_tls13()
    _log_to_stderr(log_level, "[%(process)d] ")
    from station.appliance.worker import work

    return work(folder, say or _stdout)


def selftest_command(
    *, keystore: str = SOFTWARE, skus: Sequence[str] = ("all",), as_json: bool = False, say: Say | None = None
) -> int:
    """Try a throwaway appliance over its wire, every call of every SKU; one line per check."""
    if keystore == SOFTHSM:
        find_module()  # said before anything is made
    clean_environment(Realm.DEV)
    require_tls13()  # before gRPC is loaded, which reads its switches then
    harden_process()
    from station.appliance.selftest.command import selftest

    return selftest(keystore, skus, say or _stdout, as_json)


def doctor_command(*, folder: Path, as_json: bool = False, say: Say | None = None) -> int:
    """Say everything that is wrong with a folder; nothing is served, and only a refused PIN is noted."""
    harden_process()
    from station.appliance import doctor  # gRPC and SQLite

    say = say or _stdout
    checks = doctor.examine(folder.resolve())
    for line in [doctor.as_json(checks)] if as_json else map(str, checks):
        say(line)
    return doctor.exit_code(checks)


def _log_to_stderr(level: str, who: str = "") -> None:
    form = f"%(asctime)s %(levelname)s {who}%(name)s %(message)s"
    logging.basicConfig(level=level.upper(), stream=sys.stderr, format=form)


def _stdout(line: str) -> None:
    print(line, flush=True)
