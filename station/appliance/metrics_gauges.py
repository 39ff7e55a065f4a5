"""What the appliance's metrics ask its parts for: keys, sessions, work orders, certificates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from station.appliance.client_expiry import ClientExpiries
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


def certificate_gauge(tls: ServerTls) -> Gauge:
    """Days until the files of the TLS server expire, less than 0 when they have."""

    def days() -> Mapping[str, float]:
        now = datetime.now(UTC)
        return {name: (end - now).total_seconds() / DAY_SECONDS for name, end in tls.ends().items()}

    return Gauge("certificate_days_left", "Days until a certificate file of the server expires.", days, "file")
