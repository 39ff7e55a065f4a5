"""The appliance as a process: open keys and store, serve, write ``endpoint.json`` when ready, drain on a signal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from station.appliance.audit import AuditFile
from station.appliance.closed_elsewhere import ClosedElsewhere
from station.appliance.device_store import DeviceStore
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
from station.appliance.service_crew import Crew
from station.appliance.service_intake import Intake
from station.appliance.service_server import AT_ONCE, ApplianceServer
from station.appliance.service_tls import ServerTls, TlsPaths
from station.appliance.serving_process import Announce, alone_in_folder, announced, endpoint_of, wait
from station.appliance.session_tokens import SessionTokens, fleet_key
from station.appliance.sessions import Sessions
from station.appliance.settings import ApplianceSettings, read_settings
from station.appliance.spm import Spm
from station.appliance.stations import Access
from station.appliance.stores import open_stores
from station.appliance.tls_version import tls13_is_required
from station.errors import ConfigError
from station.model import Realm
from station.secret import harden_process

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0


def serve(
    folder: Path,
    host: str | None = None,
    port: int | None = None,
    stop: threading.Event | None = None,
    ready: Announce | None = None,
) -> int:
    """Serve the folder until SIGTERM, SIGINT or ``stop``; returns 0 after a clean drain.

    ``host`` and ``port`` override the folder's settings (port 0: any free one). ``ready`` is called with the content
    of ``endpoint.json`` once calls are answered. Everything wrong with the folder raises ``ConfigError``.
    """
    harden_process()
    settings = read_settings(folder.resolve())
    with ExitStack() as stack:
        asked = stack.enter_context(alone_in_folder(settings))
        served = stack.enter_context(serving(settings, host or settings.host, settings.port if port is None else port))
        endpoint = endpoint_of(settings, host or settings.host, served.server.port)
        if served.metrics:
            endpoint["metrics"] = served.metrics
        stack.enter_context(announced(settings, endpoint, ready))
        wait(asked, stop or threading.Event(), served.server.warn_of_expiry)
        log.info("appliance drains")
    return 0


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers, and where its metrics are (empty: nowhere)."""

    server: ApplianceServer
    metrics: str


@contextmanager
def serving(settings: ApplianceSettings, host: str, port: int, worker: int | None = None) -> Iterator[Served]:
    """Answer calls inside the context, drain at its end.

    ``worker`` is the number, from 0, of one of several processes which answer on the same port and know of sessions
    that another one closed.
    """
    with ExitStack() as stack:
        stores = stack.enter_context(open_stores(settings))
        keystore = stack.enter_context(configured_keystore(settings.keys, settings.realm))
        metrics = Metrics()
        if settings.run.audit is not None:
            audit = AuditFile(settings.run.audit)
            stack.callback(audit.close)
            metrics.watch(Gauge("audit_lines_missed", "Lines that the audit file lacks.", audit.missed))
        shared = worker is not None
        service, interceptor = assemble(settings, keystore, stores.store, stores.quota, metrics=metrics, shared=shared)
        server = _start(settings, service, interceptor, host, port, shared)
        stack.callback(server.drain, DRAIN_SECONDS)
        metrics.watch(certificate_gauge(server.tls))
        _start_forwarding(settings, stores.store, metrics, stack)
        listening = ""
        if settings.run.metrics is not None:
            listening = _listen(settings.run.metrics.next(worker or 0), metrics, stack)
        yield Served(server, listening)


def assemble(
    settings: ApplianceSettings, keystore: Keystore, store: DeviceStore | None, quota: Quota,
    clock: Callable[[], float] = time.time, metrics: Metrics | None = None, shared: bool = False,
) -> tuple[ApplianceService, SessionInterceptor]:  # fmt: skip
    """The service and what stands in front of it; ``clock`` decides when sessions expire.

    ``shared``: other processes close sessions in the same account, too.
    """
    metrics = metrics or Metrics()
    spm = Spm(settings.skus, keystore)
    access = Access(settings.run.stations, settings.realm)
    tokens = SessionTokens(fleet_key(keystore), 60 * settings.run.session_minutes, clock)
    closed_elsewhere: Callable[[bytes], bool] | None = None
    if settings.has_shared_account:
        closed_elsewhere = ClosedElsewhere(quota.is_closed)
    elif shared:  # the account is a file of this folder: asking costs little
        closed_elsewhere = quota.is_closed
    sessions = Sessions(tokens, quota.closed_sessions(), quota.close_session, closed_elsewhere)
    service = ApplianceService(spm, store, sessions, access, quota, settings.realm)
    gate = Gate(spm, sessions, access, Rates(settings.run.calls_per_second), settings.endpoint_check)
    metrics.watch(*gauges(keystore, sessions, access, quota, gate.expiries))
    return service, SessionInterceptor(gate, Intake(Crew(AT_ONCE + settings.waiting)), metrics.call)


def _start(
    settings: ApplianceSettings, service: ApplianceService, interceptor: SessionInterceptor, host: str, port: int,
    shared: bool = False,
) -> ApplianceServer:  # fmt: skip
    _refuse_old_tls(settings.realm)
    tls = ServerTls(TlsPaths(settings.certificate, settings.key, settings.client_ca), settings.realm)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ApplianceServer(service, interceptor, tls, address, settings.run.reflection, shared)


def _listen(address: MetricsAddress, metrics: Metrics, stack: ExitStack) -> str:
    """Answer Prometheus until the stack is closed; returns where."""
    listener = MetricsListener(address, metrics.registry)
    stack.callback(listener.close)
    if not address.is_loopback:
        log.warning("metrics are told to everybody who reaches %s", address)
    return listener.url


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


def _refuse_old_tls(realm: Realm) -> None:
    """gRPC may have been loaded by somebody else before, who did not say that TLS 1.2 is not wanted."""
    if tls13_is_required():
        return
    if realm is Realm.PRODUCTION:
        raise ConfigError("expected TLS 1.3 to be required before gRPC is loaded: start with station appliance serve")
    log.warning("TLS 1.2 is accepted: this process was not started with station appliance serve")
