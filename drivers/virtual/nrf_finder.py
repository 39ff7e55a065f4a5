"""Finds the virtual debug probes and their serial ports by USB serial number and interface, as a host finds real ones.

The bench is the one that ``STATION_VIRTUAL_BENCH`` names. A probe that is unplugged or unknown is a ``BenchError``.
"""

from __future__ import annotations

from typing import Any

from drivers.virtual.whereabouts import adapters, sleeping
from station.errors import BenchError, nearest


def probe_address(serial: str) -> str:
    """pyOCD's unique id of the probe with this serial number: ``remote:127.0.0.1:PORT``."""
    return f"remote:127.0.0.1:{_probe(serial)['probe_port']}"


def console_url(serial: str, interface: int) -> str:
    """URL of the probe's serial port on this USB interface (nRF5340: 2 application, 0 network core; others: 0)."""
    consoles = _probe(serial)["consoles"]
    if str(interface) not in consoles:
        known = ", ".join(consoles)
        raise BenchError(f"expected a serial port on interface {interface} of probe {serial}, found interfaces {known}")
    return f"rfc2217://127.0.0.1:{consoles[str(interface)]['port']}"


def diagnose(serial: str) -> str:
    """One sentence when the bench does not run; ``BenchError`` when the station file names none."""
    return sleeping()


def _probe(serial: str) -> dict[str, Any]:
    probes = {str(found["serial"]): found for found in adapters() if found["plugged"] and "probe_port" in found}
    if serial not in probes:
        known = ", ".join(probes) or "none"
        raise BenchError(
            f"expected a debug probe with serial number {serial}, found {known}{nearest(serial, probes)}; plug it in"
        )
    return probes[serial]
