"""Bins: soft number (reason), hard number (where the part goes), tray, retest rule; data in ``resources/bins.toml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field

from station.errors import ConfigError, Finding, nearest
from station.model import Bin, BinKind, Retest
from station.toml_file import Strict, TomlFile, load

RECOVER_TRAY = "RECOVER"
"""The tray of parts that only the erasure of the whole part helps."""
REQUIRED = ("pass", "bench", "communication", "burn_failed", "limits", "hold", "registration_pending", "quarantine")


class BinEntry(Strict):
    """One ``[bin.ID]`` table."""

    soft: int = Field(ge=0, le=32767)
    hard: int = Field(ge=0, le=32767)
    name: str = Field(min_length=1)
    kind: BinKind = Field(strict=False)
    tray: str = Field(min_length=1)
    retest: Retest = Field(default=Retest.NEVER, strict=False)
    attempts: int = Field(default=1, ge=1)


class BinsFile(Strict):
    """The whole of ``bins.toml``."""

    schema_: int = Field(alias="schema", ge=1, le=1)
    bin: dict[str, BinEntry]


class Bins:
    """All bins of a station by their id."""

    def __init__(self, bins: Mapping[str, Bin]) -> None:
        self._bins = dict(bins)

    def __getitem__(self, id: str) -> Bin:
        try:
            return self._bins[id]
        except KeyError:
            raise ConfigError(f"there is no bin '{id}'{nearest(id, self._bins)}; add it to bins.toml") from None

    def __contains__(self, id: object) -> bool:
        return id in self._bins

    def __iter__(self) -> Iterator[Bin]:
        return iter(self._bins.values())

    def overridden(self, entries: Mapping[str, BinEntry]) -> Bins:
        """These bins with some of them replaced or added (the pack's ``[bin.ID]`` tables)."""
        return Bins({**self._bins, **{id: _bin(id, entry) for id, entry in entries.items()}})


def load_bins(path: Path) -> Bins:
    """Read a bins file; raises ``ConfigError`` with every finding."""
    parsed, file = load(path, BinsFile)
    findings = check_entries(parsed.bin, file)
    findings += [
        file.finding((), f"expected a bin '{id}', but it is missing") for id in REQUIRED if id not in parsed.bin
    ]
    if findings:
        raise ConfigError(findings)
    return Bins({id: _bin(id, entry) for id, entry in parsed.bin.items()})


def check_entries(entries: Mapping[str, BinEntry], file: TomlFile) -> list[Finding]:
    """Findings that one entry alone does not show: soft numbers used twice, kinds that do not fit their number."""
    findings, seen = [], dict[int, str]()
    for id, entry in entries.items():
        if entry.soft in seen:
            sentence = f"bin '{id}' has soft number {entry.soft}, which bin '{seen[entry.soft]}' has already"
            findings.append(file.finding(("bin", id, "soft"), sentence))
        seen[entry.soft] = id
        if (entry.kind is BinKind.PASS) != (1 <= entry.soft <= 9) or (entry.kind is BinKind.BENCH) != (entry.soft == 0):
            sentence = f"bin '{id}': soft number 0 is for the bench, 1 to 9 for pass, 10 and above for the rest"
            findings.append(file.finding(("bin", id, "soft"), sentence))
    return findings


def _bin(id: str, entry: BinEntry) -> Bin:
    return Bin(id, entry.soft, entry.hard, entry.name, entry.kind, entry.tray, entry.retest, entry.attempts)
