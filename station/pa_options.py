"""The options that every ``pa`` command has, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PaOptions:
    """The options of every ``pa`` command; an empty text and None mean that it was not given.

    With ``target`` (or ``endpoint``, the ``endpoint.json`` of an embedded appliance) no station file is read.
    """

    station_file: Path | None = None
    data: Path | None = None
    driver: str = "grpc"
    target: str = ""
    endpoint: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    no_tls: bool = False
    target_name: str = ""
    realm: str = "dev"
    unmarked_realm: str | None = None
    deadline: float | None = None
    password_file: Path | None = None
    password_stdin: bool = False

    @property
    def direct(self) -> bool:
        """True when the options alone say where the appliance is."""
        return bool(self.target or self.endpoint)
