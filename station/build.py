"""Which software this is, for the header and every row of the journal."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def build_text() -> str:
    """The version of the installed station."""
    try:
        return version("provisioning-station")
    except PackageNotFoundError:
        return "checkout"
