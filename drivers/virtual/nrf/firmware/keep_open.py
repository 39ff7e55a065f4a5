"""The small firmware of a recover: it does nothing; its start-up code is what keeps the debug port open."""

from __future__ import annotations

from drivers.virtual.nrf.firmware.machine import Machine


def run(machine: Machine) -> None:
    """Idle."""
    machine.finish("done")
