"""Behavioural programs of the virtual Nordic parts, by the name that an image's descriptor has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drivers.virtual.nrf.firmware import keep_open, net, provisioning, tfm
from drivers.virtual.nrf.firmware.machine import Machine

PROGRAMS: Mapping[str, Callable[[Machine], None]] = {
    "provisioning_app": provisioning.run,
    "provisioning_net": net.run_provisioning,
    "tfm_app": tfm.run,
    "tfm_net": net.run_production,
    "keep_open_app": keep_open.run,
    "keep_open_net": keep_open.run,
}
