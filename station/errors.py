"""The one tree of errors; each branch has one exit code (architecture page, section 6).

Every message is one sentence that says what was expected, what was seen and what to try.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_HOLD = 6
EXIT_QUARANTINE = 7
EXIT_STOPPED = 130
EXIT_CRASH = 70


class StationError(Exception):
    """Root of everything the station raises on purpose."""

    exit_code = EXIT_CRASH


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong in one file: shown as ``FILE:LINE: sentence``; line 0 means the whole file."""

    file: Path
    line: int
    sentence: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        return f"{place}: {self.sentence}"


class ConfigError(StationError):
    """Configuration that cannot be used; carries all findings at once, nothing was started."""

    exit_code = 2

    def __init__(self, findings: Sequence[Finding] | str) -> None:
        self.findings: tuple[Finding, ...] = () if isinstance(findings, str) else tuple(findings)
        super().__init__(findings if isinstance(findings, str) else "\n".join(map(str, findings)))


class PinError(ConfigError):
    """An HSM refuses its PIN, or it is locked: a start that is repeated could lock it, so its exit code says not to."""

    exit_code = 8


class BenchError(StationError):
    """The bench (adapter, cable, socket, power), not the part, is at fault."""

    exit_code = 3


class AdapterLost(BenchError):
    """An adapter answered no more or came back under another address."""


class PowerLost(BenchError):
    """The socket lost its power, or its lid was opened, while the part was in use."""


class WaitTimeout(BenchError):
    """A named wait ended without what was waited for."""

    def __init__(self, waited_for: str, seconds: float) -> None:
        self.waited_for = waited_for
        self.seconds = seconds
        super().__init__(f"expected {waited_for} within {seconds:g} s, but it did not come")


class PartError(StationError):
    """The part answered, and the answer was wrong: ends in the soft bin named by ``bin``."""

    exit_code = EXIT_FAIL

    def __init__(self, sentence: str, bin: str = "communication") -> None:
        self.bin = bin
        super().__init__(sentence)


class FirmwareFailed(PartError):
    """The firmware itself reported a failure: what it was doing may be half done, and its guards count no more."""

    def __init__(self, sentence: str, bin: str = "test_error") -> None:
        super().__init__(sentence, bin)


class Reject(PartError):
    """A flow sends the part to a fail bin."""


class ApplianceError(StationError):
    """The appliance refused, answered wrongly or could not be reached; ``code`` is the gRPC status name."""

    exit_code = 4

    def __init__(self, sentence: str, code: str = "UNKNOWN") -> None:
        self.code = code
        super().__init__(sentence)


class JournalError(StationError):
    """The record could not be written or read: no verdict, no new runs, do not remove the part."""

    exit_code = 5


class Quarantined(StationError):
    """Nobody can know the part's state; the journal holds the reason, only a supervisor releases the part."""

    exit_code = EXIT_QUARANTINE


class Refused(StationError):
    """The workbench refuses a command (role, stale epoch, quarantined part, label already passed)."""

    exit_code = 2


class Stopped(StationError):
    """The operator asked for a stop; raised only where nothing is being burnt."""

    exit_code = EXIT_STOPPED


class FormatError(StationError, ValueError):
    """Bytes that do not follow their format; raised by ``station.formats`` only."""

    exit_code = EXIT_FAIL


def refuse_unknown(settings: Iterable[str], known: Iterable[str], driver: str, place: str) -> None:
    """``ConfigError`` for the first setting that the driver has not; ``place`` says where it stands."""
    for name in settings:
        if name not in known:
            raise ConfigError(f"{place}the driver '{driver}' has no setting {name!r}{nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as `` (did you mean 'sival'?)``, or an empty text when nothing is close."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""
