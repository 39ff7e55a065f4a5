"""The appliance as a process: open keys and store, serve, write ``endpoint.json`` when ready, drain on a signal."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from station.appliance.audit import AuditFile
from station.appliance.device_store import DeviceStore
from station.appliance.files import exclusive, replace
from station.appliance.keystore import Keystore
from station.appliance.keystores import configured_keystore
from station.appliance.quota import Quota
from station.appliance.rates import Rates
from station.appliance.service import ApplianceService
from station.appliance.service_auth import Gate, SessionInterceptor
from station.appliance.service_server import ApplianceServer
from station.appliance.service_tls import ServerTls, TlsPaths
from station.appliance.session_tokens import SessionTokens, fleet_key
from station.appliance.sessions import Sessions
from station.appliance.settings import ApplianceSettings, read_settings
from station.appliance.spm import Spm
from station.appliance.stations import Access
from station.errors import ConfigError
from station.model import Realm
from station.secret import harden_process

log = logging.getLogger(__name__)

SIGNAL_POLL = 0.1
DRAIN_SECONDS = 5.0
EXPIRY_SECONDS = 86400.0
LOCK_FILE = "serve.lock"
SPYING_VARIABLES = ("GRPC_TRACE", "GRPC_VERBOSITY", "SSLKEYLOGFILE")


def serve(
    folder: Path,
    host: str | None = None,
    port: int | None = None,
    stop: threading.Event | None = None,
    ready: Callable[[dict[str, object]], None] | None = None,
) -> int:
    """Serve the folder until SIGTERM, SIGINT or ``stop``; returns 0 after a clean drain.

    ``host`` and ``port`` override the folder's settings (port 0: any free one). ``ready`` is called with the content
    of ``endpoint.json`` once calls are answered. Everything wrong with the folder raises ``ConfigError``.
    """
    harden_process()
    settings = read_settings(folder.resolve())
    stop = stop or threading.Event()
    with ExitStack() as stack:
        alone = f"expected to serve {settings.folder} alone: another appliance process serves it"
        stack.enter_context(exclusive(settings.folder / LOCK_FILE, alone))
        _refuse_spying(settings.realm)
        asked = stack.enter_context(_signals())  # until the drain is over
        store = _open_store(settings, stack)
        keystore = stack.enter_context(configured_keystore(settings.keys, settings.realm))
        quota = Quota(settings.run.counters)
        stack.callback(quota.close)
        if settings.run.audit is not None:
            stack.callback(AuditFile(settings.run.audit).close)
        service, interceptor = assemble(settings, keystore, store, quota)
        server = _start(settings, service, interceptor, host or settings.host, settings.port if port is None else port)
        stack.callback(server.drain, DRAIN_SECONDS)
        endpoint = _endpoint(settings, host or settings.host, server.port)
        stack.callback(settings.endpoint.unlink, missing_ok=True)
        replace(settings.endpoint, json.dumps(endpoint, indent=1).encode())
        log.info("appliance of realm %s is ready on %s", settings.realm, endpoint["target"])
        if ready is not None:
            ready(endpoint)
        _wait(asked, stop, server)
        log.info("appliance drains")
    return 0


def assemble(
    settings: ApplianceSettings, keystore: Keystore, store: DeviceStore | None, quota: Quota,
    clock: Callable[[], float] = time.time,
) -> tuple[ApplianceService, SessionInterceptor]:  # fmt: skip
    """The service and what stands in front of it; ``clock`` decides when sessions expire."""
    spm = Spm(settings.skus, keystore)
    access = Access(settings.run.stations, settings.realm)
    tokens = SessionTokens(fleet_key(keystore), 60 * settings.run.session_minutes, clock)
    sessions = Sessions(tokens, quota.closed_sessions(), quota.close_session)
    service = ApplianceService(spm, store, sessions, access, quota, settings.realm)
    gate = Gate(spm, sessions, access, Rates(settings.run.calls_per_second), settings.endpoint_check)
    return service, SessionInterceptor(gate)


def _start(
    settings: ApplianceSettings, service: ApplianceService, interceptor: SessionInterceptor, host: str, port: int
) -> ApplianceServer:
    tls = ServerTls(TlsPaths(settings.certificate, settings.key, settings.client_ca))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ApplianceServer(service, interceptor, tls, address)


def _wait(asked: list[int], stop: threading.Event, server: ApplianceServer) -> None:
    """Until the process is to end; once a day it says which certificates expire soon."""
    look = time.monotonic()
    while not asked and not stop.wait(SIGNAL_POLL):
        if time.monotonic() >= look:
            look += EXPIRY_SECONDS
            server.warn_of_expiry()


def _open_store(settings: ApplianceSettings, stack: ExitStack) -> DeviceStore | None:
    if settings.registry is None:
        return None
    store = DeviceStore(settings.registry)
    stack.callback(store.close)
    return store


def _endpoint(settings: ApplianceSettings, host: str, port: int) -> dict[str, object]:
    name = "localhost" if host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::") else host
    return {
        "target": f"[{name}]:{port}" if ":" in name else f"{name}:{port}",
        "host": host,
        "port": port,
        "pid": os.getpid(),
        "realm": settings.realm.value,
        "tls": True,
    }


def _refuse_spying(realm: Realm) -> None:
    """Tracing switches would put session tokens and keys into the log (``serve_command`` has dropped them before)."""
    found = [name for name in SPYING_VARIABLES if os.environ.get(name)]
    if found and realm is Realm.PRODUCTION:
        raise ConfigError(f"expected {', '.join(found)} to be unset in production: tracing shows secrets")
    if found:
        log.warning("%s is set: tracing may show session tokens", ", ".join(found))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The list that SIGTERM and SIGINT put their number into; only in the main thread, handlers restored afterwards.

    A handler may interrupt another one, or a wait, inside the lock of an ``Event``: setting one there can deadlock.
    """
    asked: list[int] = []
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
