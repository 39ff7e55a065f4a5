"""Which appliance an engineer's command talks to: that of the station file, or one named by options alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from station import plugins
from station.appliance.passphrase import SecretSource, read_secret
from station.appliances import PASSWORD
from station.cli_common import find_config
from station.errors import ConfigError
from station.model import Realm
from station.pa_options import PaOptions
from station.processes import clean_environment
from station.secret import Secret, harden_process

USER = "engineer"
LONGEST_PASSWORD = 4096


@contextmanager
def opened(options: PaOptions, sku: str) -> Iterator[Any]:
    """The appliance's port (``station.ports.Appliance``) with the SKU's password; closed on every way out."""
    harden_process()
    driver, settings = _direct(options) if options.direct else _of_station(options)
    clean_environment(Realm(str(settings["realm"])))
    password = _password(options, sku, settings.get("sku_password"))
    port = plugins.load("station.appliances", driver)({**settings, "sku_password": password})
    for caution in cautions_of(port):
        click.echo(f"station: warning: {caution}", err=True)
    try:
        yield port
    finally:
        getattr(port, "close", port.close_session)()


def cautions_of(port: Any) -> list[str]:
    """What a driver says of this side's files that keeps nothing from working yet; a driver need not know any."""
    told = getattr(port, "cautions", None)
    return [str(caution) for caution in told()] if told is not None else []


def _direct(options: PaOptions) -> tuple[str, dict[str, object]]:
    if options.no_tls and (options.ca or options.certificate or options.key):
        raise ConfigError("expected either --no-tls or --ca, --certificate and --key: leave one of them out")
    _refuse_missing_files(options)
    given = {
        "target": options.target,
        "endpoint": options.endpoint,
        "ca": options.ca,
        "certificate": options.certificate,
        "key": options.key,
        "tls": "off" if options.no_tls else "",
        "target_name": options.target_name,
        "unmarked_realm": options.unmarked_realm,
        "deadline": options.deadline,
    }
    return options.driver, {"realm": options.realm, **{name: _plain(v) for name, v in given.items() if v}}


def _refuse_missing_files(options: PaOptions) -> None:
    """Our own driver's needs by the names of the options; another driver says itself what it lacks."""
    files = {"--ca": options.ca, "--certificate": options.certificate, "--key": options.key}
    missing = [name for name, value in files.items() if value is None]
    if missing and not options.no_tls and options.driver == PaOptions().driver:
        raise ConfigError(
            f"expected {', '.join(missing)} beside --target (or --endpoint): name the PEM files, or --no-tls"
        )


def _of_station(options: PaOptions) -> tuple[str, dict[str, object]]:
    """The station's own settings, with a user of its own: a login must not end the session of a socket."""
    _refuse_lone_options(options)
    config = find_config(options.station_file, options.data)
    if config.appliance is None:
        raise ConfigError(f"{config.path} names no appliance: add [appliance], or give --target and its files")
    from station.credentials import CredentialStore

    store = CredentialStore(config.data / "credentials", config.realm)
    passwords = {name.removeprefix(PASSWORD): store.credential(name) for name in store.names(PASSWORD)}
    settings: dict[str, object] = {"realm": config.realm.value, **config.appliance.settings}
    settings["user_id"] = f"{settings.get('user_id', config.name)}-{USER}"
    return config.appliance.driver, {**settings, "sku_password": passwords}


def _refuse_lone_options(options: PaOptions) -> None:
    lone = {
        "--ca": options.ca,
        "--certificate": options.certificate,
        "--key": options.key,
        "--no-tls": options.no_tls,
        "--target-name": options.target_name,
    }
    given = [name for name, value in lone.items() if value]
    if given:
        raise ConfigError(f"expected --target (or --endpoint) beside {', '.join(given)}: say which appliance")


def _password(options: PaOptions, sku: str, stored: object) -> object:
    """Given by file or stdin, else as it is stored, else asked for."""
    label = f"password of SKU {sku}"
    if options.password_file and options.password_stdin:
        raise ConfigError("expected either --password-file or --password-stdin: leave one of them out")
    if options.password_file:
        return read_secret(SecretSource("file", str(options.password_file)), label)
    if options.password_stdin:
        return _from_stdin(label)
    if isinstance(stored, Mapping) and sku in stored:
        return stored
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            f"expected the {label}: store it (station doctor --store {PASSWORD}{sku}), or give --password-file or "
            "--password-stdin"
        )
    return read_secret(SecretSource("prompt"), label)


def _from_stdin(label: str) -> Secret:
    raw = sys.stdin.buffer.readline(LONGEST_PASSWORD).strip()
    if not raw:
        raise ConfigError(f"expected the {label} on the first line of stdin, saw nothing: send it")
    return Secret(raw, label)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
