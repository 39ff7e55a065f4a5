"""The appliance under load: CP and FT conversations per minute, EndorseCerts, memory, beside ``openssl speed``.

One run holds both keystores, all numbers of clients, warm and fresh connections, and the ceiling that the machine's
OpenSSL gives, so that ratios hold. A conversation is what a station asks for one device from bare die to shipped part:
7 calls for ``sival`` (8 for ``pi01``, which has three TBS endorsed and fetches CA certificates).
"""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.appliance_runs import Load, Result, Runner
from benchmarks.appliance_served import served, softhsm_module
from benchmarks.figures import Aim, Figure, NotMeasuredError, Options, Report, percentile

CLIENTS = (1, 8, 32)
MOST = max(CLIENTS)
STATIONS = tuple(f"station-{number}" for number in range(1, MOST + 1))
SECONDS = 5.0
DEVICES_PER_SECOND = {False: 500, True: 120}
"""Warm and fresh: more conversations than this would need more devices than are made before."""
WARM_UP = Load("sival", 8, False, 2.0, 400)
MEMORY_CALLS, MEMORY_PER_LOAD, MEMORY_SECONDS = 100_000, 1500, 60.0
PER_MINUTE = {False: Aim(">=", 6000), True: Aim(">=", 900)}
SIGNATURES, VERIFICATIONS = 2, 5
"""ECDSA that one ``sival`` device needs: its certificate and its registry record are signed and verified, and its
three certificates are verified again when it is registered. The CAs' own signatures never change."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What ``openssl speed`` reaches on one core, per second."""

    signs: float
    verifies: float

    @property
    def per_minute(self) -> float:
        """Conversations of a program that does nothing but their ECDSA."""
        return 60 / (SIGNATURES / self.signs + VERIFICATIONS / self.verifies)


def measure(options: Options) -> Report:
    """Software keystore with memory, then SoftHSM2; the ceiling before and after."""
    before = openssl_speed()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="appliance-") as folder:
        _software(report, Path(folder), options)
        _softhsm(report, Path(folder), options)
    after = openssl_speed()
    ceiling = Ceiling(statistics.mean((before.signs, after.signs)), statistics.mean((before.verifies, after.verifies)))
    ...
    return report
