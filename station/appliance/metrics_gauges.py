"""What the appliance's metrics ask its parts for: keys, sessions, work orders, certificates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from station.appliance.client_expiry import ClientExpiries
from station.appliance.device_store import DeviceStore
from station.appliance.keystore import Keystore
from station.appliance.metrics import Gauge
from station.appliance.quota import Quota
from station.appliance.service_tls import ServerTls
from station.appliance.sessions import Sessions
from station.appliance.stations import Access

DAY_SECONDS = 86400.0
WITHOUT_ORDER = "(none)"
"""No work order can be called so."""


def gauges(
    keystore: Keystore, sessions: Sessions, access: Access, quota: Quota, expiries: ClientExpiries
) -> tuple[Gauge, ...]:
    """The gauges of what decides about calls."""

    def spent(column: str) -> Mapping[str, float]:
        orders = {order.name: quota.spent(order) for order in access.work_orders()}
        return {name: getattr(line, column) for name, line in {**orders, WITHOUT_ORDER: quota.spent(None)}.items()}

    def quotas() -> Mapping[str, float]:
        return {order.name: order.quota for order in access.work_orders()}

    return (
        Gauge("keystore_up", "1 while the keys can be used.", lambda: float(not keystore.fault())),
        Gauge("sessions_open", "Sessions that have not ended here.", sessions.open_count),
        Gauge("client_certificates_expiring", "Seen, end within 30 days.", expiries.count),
        Gauge("endorsed_devices", "Devices that count against the quota now.", lambda: spent("endorsed"), "work_order"),
        Gauge("endorsed_devices_quota", "Devices that may be endorsed.", quotas, "work_order"),
        Gauge("unregistered_devices", "Endorsed, not registered.", lambda: spent("unregistered"), "work_order"),
    )


def store_gauges(store: DeviceStore, forwarding: bool) -> tuple[Gauge, ...]:
    """The gauges of the device store: what people have to look at, and what waits for the HTTP registry."""
    found = (
        Gauge("devices_contradicting", "Registrations that differ from an earlier one.", lambda: store.count(True)),
        Gauge("journals_broken", "Stations whose journal does not extend its last anchor.", store.anchors.broken),
    )
    if not forwarding:
        return found

    def oldest() -> float:
        since = store.backlog().oldest_ms
        return max(0.0, time.time() - since / 1000) if since else 0.0

    return (
        *found,
        Gauge("records_waiting", "Records that the registry has not acknowledged.", lambda: store.backlog().waiting),
        Gauge("records_refused", "Those of them that it did not take so far.", lambda: store.backlog().failed),
        Gauge("records_oldest_seconds", "How long the oldest of them waits.", oldest),
    )


def certificate_gauge(tls: ServerTls) -> Gauge:
    """Days until the files of the TLS server expire, less than 0 when they have."""

    def days() -> Mapping[str, float]:
        now = datetime.now(UTC)
        return {name: (end - now).total_seconds() / DAY_SECONDS for name, end in tls.ends().items()}

    return Gauge("certificate_days_left", "Days until a certificate file of the server expires.", days, "file")
