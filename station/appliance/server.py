"""The appliance as a process: open keys and store, serve, write ``endpoint.json`` when ready, drain on a signal."""

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
from pathlib import Path
from types import FrameType

from station.appliance.audit import AuditFile
from station.appliance.closed_elsewhere import ClosedElsewhere
from station.appliance.device_store import DeviceStore
from station.appliance.file_guard import changeable, exposed
from station.appliance.files import replace
from station.appliance.forwarding import forwarder_of
from station.appliance.keystore import Keystore
from station.appliance.keystores import configured_keystore
from station.appliance.metrics import Gauge, Metrics
from station.appliance.metrics_address import MetricsAddress
from station.appliance.metrics_gauges import certificate_gauge, gauges, store_gauges
from station.appliance.metrics_listener import MetricsListener
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
from station.appliance.stores import open_stores
from station.appliance.tls_version import tls13_is_required
from station.data_folder import try_lock
from station.errors import ConfigError
from station.model import Realm
from station.secret import harden_process

log = logging.getLogger(__name__)

SIGNAL_POLL = 0.1
DRAIN_SECONDS = 5.0
EXPIRY_SECONDS = 86400.0
PRIVATE = 0o077
"""Databases, audit log and address file are made for the serving user alone."""
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
        stack.enter_context(_exclusive(settings.lock))
        _refuse_spying(settings.realm)
        _refuse_open_files(settings)
        _warn_of_root()
        stack.callback(os.umask, os.umask(PRIVATE))
        asked = stack.enter_context(_signals())  # until the drain is over
        stores = stack.enter_context(open_stores(settings))
        keystore = stack.enter_context(configured_keystore(settings.keys, settings.realm))
        metrics = Metrics()
        if settings.run.audit is not None:
            audit = AuditFile(settings.run.audit)
            stack.callback(audit.close)
            metrics.watch(Gauge("audit_lines_missed", "Lines that the audit file lacks.", audit.missed))
        service, interceptor = assemble(settings, keystore, stores.store, stores.quota, metrics=metrics)
        server = _start(settings, service, interceptor, host or settings.host, settings.port if port is None else port)
        stack.callback(server.drain, DRAIN_SECONDS)
        metrics.watch(certificate_gauge(server.tls))
        _start_forwarding(settings, stores.store, metrics, stack)
        endpoint = _endpoint(settings, host or settings.host, server.port)
        if settings.run.metrics is not None:
            endpoint["metrics"] = _listen(settings.run.metrics, metrics, stack)
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
    clock: Callable[[], float] = time.time, metrics: Metrics | None = None,
) -> tuple[ApplianceService, SessionInterceptor]:  # fmt: skip
    """The service and what stands in front of it; ``clock`` decides when sessions expire."""
    metrics = metrics or Metrics()
    spm = Spm(settings.skus, keystore)
    access = Access(settings.run.stations, settings.realm)
    tokens = SessionTokens(fleet_key(keystore), 60 * settings.run.session_minutes, clock)
    closed_elsewhere = ClosedElsewhere(quota.is_closed) if settings.has_shared_account else None
    sessions = Sessions(tokens, quota.closed_sessions(), quota.close_session, closed_elsewhere)
    service = ApplianceService(spm, store, sessions, access, quota, settings.realm)
    gate = Gate(spm, sessions, access, Rates(settings.run.calls_per_second), settings.endpoint_check)
    metrics.watch(*gauges(keystore, sessions, access, quota, gate.expiries))
    return service, SessionInterceptor(gate, metrics.call)


def _start(
    settings: ApplianceSettings, service: ApplianceService, interceptor: SessionInterceptor, host: str, port: int
) -> ApplianceServer:
    _refuse_old_tls(settings.realm)
    tls = ServerTls(TlsPaths(settings.certificate, settings.key, settings.client_ca))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ApplianceServer(service, interceptor, tls, address, settings.run.reflection)


def _listen(address: MetricsAddress, metrics: Metrics, stack: ExitStack) -> str:
    """Answer Prometheus until the stack is closed; returns where."""
    listener = MetricsListener(address, metrics.registry)
    stack.callback(listener.close)
    if not address.is_loopback:
        log.warning("metrics are told to everybody who reaches %s", address)
    return listener.url


def _wait(asked: list[int], stop: threading.Event, server: ApplianceServer) -> None:
    """Until the process is to end; once a day it says which certificates expire soon."""
    look = time.monotonic()
    while not asked and not stop.wait(SIGNAL_POLL):
        if time.monotonic() >= look:
            look += EXPIRY_SECONDS
            server.warn_of_expiry()


def _start_forwarding(
    settings: ApplianceSettings, store: DeviceStore | None, metrics: Metrics, stack: ExitStack
) -> None:
    """Send stored records on, when the settings say where to, until the stack is closed."""
    forward = settings.registry.forward if settings.registry is not None else None
    if store is not None:
        metrics.watch(*store_gauges(store, forward is not None))
    if store is None or forward is None:
        return
    forwarder = forwarder_of(store, forward)
    stack.callback(forwarder.close)
    forwarder.start()


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


def _refuse_old_tls(realm: Realm) -> None:
    """gRPC may have been loaded by somebody else before, who did not say that TLS 1.2 is not wanted."""
    if tls13_is_required():
        return
    if realm is Realm.PRODUCTION:
        raise ConfigError("expected TLS 1.3 to be required before gRPC is loaded: start with station appliance serve")
    log.warning("TLS 1.2 is accepted: this process was not started with station appliance serve")


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


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """One serving process per folder; the lock ends with the process, however it ends."""
    with path.open("a+", encoding="utf-8") as file:
        if not try_lock(file):
            raise ConfigError(f"expected to serve {path.parent} alone: another appliance process serves it")
        yield
