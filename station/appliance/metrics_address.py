"""The line ``metrics`` of ``appliance.toml``: where the listener for Prometheus is."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from station.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Host name or IP address, and port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def next(self, number: int) -> MetricsAddress:
        """The address ``number`` ports on, for one of several processes; any free port stays any."""
        return MetricsAddress(self.host, self.port + number if self.port else 0)

    @property
    def is_loopback(self) -> bool:
        """True when only this computer reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_address(text: str) -> MetricsAddress:
    """``HOST:PORT``, with brackets around an IPv6 address; raises ``ConfigError``."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in bare and bare == host) or not port.isdecimal() or int(port) > 0xFFFF:
        raise ConfigError(f"expected HOST:PORT for the metrics, such as 127.0.0.1:9464 or [::1]:9464, saw {text!r}")
    return MetricsAddress(bare, int(port))
