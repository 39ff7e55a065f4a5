"""Benches for the Nordic parts: a debug probe with serial ports per socket."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from drivers.virtual.bench_kind import BenchKind, Fitted, Fitting
from drivers.virtual.nrf import faults
from drivers.virtual.nrf.chip import NordicChip
from drivers.virtual.nrf.probe import VirtualProbe
from drivers.virtual.nrf.silicon import SILICON, Silicon
from drivers.virtual.nrf.socket import NordicSocket


def nordic(chip: str) -> BenchKind:
    """The kind with this chip."""
    silicon = SILICON[chip]
    known = faults.of(silicon)
    return BenchKind(chip, known, functools.partial(_check_fault, known), functools.partial(_fit, silicon))


def _check_fault(known: Mapping[str, str], fault: str) -> None:
    name, argument = faults.split(fault, "")
    faults.check(name, argument, known)


def _fit(silicon: Silicon, fitting: Fitting) -> Fitted:
    socket = NordicSocket(fitting.number, functools.partial(_open_chip, silicon))
    consoles = tuple(core.name for core in silicon.cores)
    serial = f"VP{fitting.number:04d}"
    return socket, VirtualProbe(socket, serial, fitting.address, consoles, fitting.on_transfer)


def _open_chip(silicon: Silicon, folder: Path) -> NordicChip:
    return NordicChip(silicon, folder)
