"""What a serving process is: alone in its folder, not spied on, with private files, ended by a signal.

It knows no gRPC: the process that looks after several workers serves nothing itself.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from station.appliance.file_guard import changeable, exposed
from station.appliance.files import exclusive, replace
from station.appliance.settings import ApplianceSettings
from station.errors import ConfigError
from station.model import Realm

log = logging.getLogger(__name__)

SIGNAL_POLL = 0.1
DAY_SECONDS = 86400.0
PRIVATE = 0o077
"""Databases, audit log and address file are made for the serving user alone."""
SPYING_VARIABLES = ("GRPC_TRACE", "GRPC_VERBOSITY", "SSLKEYLOGFILE")
HERE = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::")

Asked = list[int]
"""Numbers of the signals that asked the process to end."""
Announce = Callable[[dict[str, object]], None]
"""Is told the content of ``endpoint.json`` once calls are answered."""


@contextmanager
def alone_in_folder(settings: ApplianceSettings) -> Iterator[Asked]:
    """The one serving process of the folder, checked before it touches anything; the lock ends with the process."""
    with ExitStack() as stack:
        alone = f"expected to serve {settings.folder} alone: another appliance process serves it"
        stack.enter_context(exclusive(settings.lock, alone))
        _refuse_spying(settings.realm)
        _refuse_open_files(settings)
        _warn_of_root()
        yield stack.enter_context(private_and_asked())


@contextmanager
def private_and_asked() -> Iterator[Asked]:
    """Files of its own are private, and signals only ask it to end, until the drain is over."""
    with ExitStack() as stack:
        stack.callback(os.umask, os.umask(PRIVATE))
        yield stack.enter_context(_signals())


def endpoint_of(settings: ApplianceSettings, host: str, port: int) -> dict[str, object]:
    """The content of ``endpoint.json``: where this process, or its workers, answer."""
    name = "localhost" if host in HERE else host
    return {
        "target": f"[{name}]:{port}" if ":" in name else f"{name}:{port}",
        "host": host,
        "port": port,
        "pid": os.getpid(),
        "realm": settings.realm.value,
        "tls": True,
    }


@contextmanager
def announced(settings: ApplianceSettings, endpoint: dict[str, object], ready: Announce | None) -> Iterator[None]:
    """``endpoint.json`` is there, and everybody has been told."""
    try:
        replace(settings.endpoint, json.dumps(endpoint, indent=1).encode())
        log.info("appliance of realm %s is ready on %s", settings.realm, endpoint["target"])
        if ready is not None:
            ready(endpoint)
        yield
    finally:
        settings.endpoint.unlink(missing_ok=True)


def wait(asked: Asked, stop: threading.Event, daily: Callable[[], None]) -> None:
    """Until the process is to end; ``daily`` is called at once and then every day."""
    look = time.monotonic()
    while not asked and not stop.wait(SIGNAL_POLL):
        if time.monotonic() >= look:
            look += DAY_SECONDS
            daily()


def _refuse_spying(realm: Realm) -> None:
    """Tracing switches would put session tokens and keys into the log (``serve_command`` has dropped them before)."""
    found = [name for name in SPYING_VARIABLES if os.environ.get(name)]
    if found and realm is Realm.PRODUCTION:
        raise ConfigError(f"expected {', '.join(found)} to be unset in production: tracing shows secrets")
    if found:
        log.warning("%s is set: tracing may show session tokens", ", ".join(found))


def _refuse_open_files(settings: ApplianceSettings) -> None:
    """Keys that others can read are refused always, settings that others can change in production."""
    refused, changed = exposed(settings), changeable(settings)
    if settings.realm is Realm.PRODUCTION:
        refused += changed
    if refused:
        raise ConfigError("\n".join(refused))
    for sentence in changed:
        log.warning("%s", sentence)


def _warn_of_root() -> None:
    """Not refused: inside a container or user namespace root may be nobody outside of it, which cannot be seen here."""
    if sys.platform != "win32" and os.geteuid() == 0:
        log.warning("the appliance runs as root: give it a user of its own, so that a fault in it reaches less")


@contextmanager
def _signals() -> Iterator[Asked]:
    """The list that SIGTERM and SIGINT put their number into; only in the main thread, handlers restored afterwards.

    A handler may interrupt another one, or a wait, inside the lock of an ``Event``: setting one there can deadlock.
    """
    asked: Asked = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
