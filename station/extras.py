"""How a package is installed that only some benches and appliances need."""

from __future__ import annotations

LOCKED = ".venv/bin/python -m pip install --require-hashes -r requirements-appliance.lock"


def install_appliance_extra(extra: str) -> str:
    """What to do about a missing extra of the appliance (``hsm``, ``postgresql``), installed or in a checkout."""
    return f"install provisioning-station[{extra}], or in a checkout: {LOCKED}"
