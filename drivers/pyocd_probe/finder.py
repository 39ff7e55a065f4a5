"""Where a debug probe and its serial ports are: by USB serial and interface number, never by order of appearance.

Facts: the USB serial number of an on-board J-Link is padded with zeros, SEGGER's own numbering is not, so that both are
compared without them; pyOCD lists J-Links only when SEGGER's library is installed; a serial port's interface number is
the end of its place on the bus (``1-4:1.2`` is interface 2).
"""

from __future__ import annotations

import logging
import re

from pyocd.core import exceptions
from pyocd.probe.aggregator import PROBE_CLASSES
from serial.tools import list_ports

from station.errors import BenchError

log = logging.getLogger(__name__)
REMOTE = "remote:"
JLINK = "jlink"
NOT_SEARCHED = "remote"
"""pyOCD's client of a probe server finds nothing by itself; its address is given."""


def probe_address(serial: str) -> str:
    """PyOCD's unique id (``TYPE:SERIAL``) of the plugged-in probe; an address ``remote:HOST:PORT`` is one already."""
    if serial.startswith(REMOTE):
        return serial
    plugged = _plugged()
    for kind, number in plugged:
        if _bare(number) == _bare(serial):
            return f"{kind}:{number}"
    seen = ", ".join(f"{number} ({kind})" for kind, number in plugged) or "none"
    hint = "" if JLINK in PROBE_CLASSES else "; a J-Link needs SEGGER's library, which is not installed"
    raise BenchError(
        f"no debug probe with serial number {serial} is plugged in (seen: {seen}{hint}); "
        "check its USB cable and the station file"
    )


def diagnose(serial: str) -> str:
    """One sentence on what will not be found on this computer; no probe is touched."""
    if serial.startswith(REMOTE) or JLINK in PROBE_CLASSES:
        return ""
    return (
        "SEGGER's library is not installed: a J-Link, such as the one on every Nordic kit, will not be found, a "
        "CMSIS-DAP probe will; install SEGGER's J-Link software"
    )


def console_url(serial: str, interface: int) -> str:
    """The serial port of that probe's USB interface."""
    ports = [port for port in list_ports.comports() if _bare(port.serial_number or "") == _bare(serial)]
    for port in ports:
        if _interface(port.location or "") == interface:
            return str(port.device)
    seen = ", ".join(f"{port.device} at {_interface(port.location or '')}" for port in ports) or "none"
    raise BenchError(
        f"the debug probe {serial} has no serial port at USB interface {interface} (seen: {seen}); "
        "check its USB cable and the board file"
    )


def _plugged() -> list[tuple[str, str]]:
    found = []
    for kind, probes in PROBE_CLASSES.items():
        if kind == NOT_SEARCHED:
            continue
        try:
            found += [(kind, str(probe.unique_id)) for probe in probes.get_all_connected_probes()]
        except (exceptions.Error, OSError) as error:
            log.debug("listing debug probes of kind %s: %s: %s", kind, type(error).__name__, error)
            raise BenchError(
                f"expected to list the debug probes of kind {kind}, but that failed; check that this user may use USB "
                "devices, and plug the probe in again"
            ) from None
    return found


def _bare(serial: str) -> str:
    return serial.strip().upper().lstrip("0")


def _interface(location: str) -> int:
    """The interface number at the end of a place on the bus; a device of one interface has none, that is 0."""
    match = re.search(r":[\w]+\.(\d+)$", location)
    return int(match[1]) if match else 0
