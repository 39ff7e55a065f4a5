"""The transcript of one machine: who did what, when, with which keys and files; each entry holds the hash of the last.

The file has one JSON line per entry and grows only; the text that two people sign is made from it. It holds names,
labels, public fingerprints, check values and digests, never a secret.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from station.appliance.ceremony.task import People, Step, Task
from station.appliance.ceremony.transfer import grouped
from station.appliance.files import replace
from station.build import build_text
from station.errors import ConfigError

FILE = "transcript.jsonl"
PAPER = 96  # letters on a printed line
GENESIS = "0" * 64
Event = Literal["begun", "done", "refused"]


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key: ``fingerprint`` is the SHA-256 of its public half, or the check value of a secret key, or nothing."""

    label: str
    algorithm: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class FileLine:
    """A file that was handed over: ``way`` is ``sent``, ``received`` or ``kept`` (stays on this machine)."""

    name: str
    way: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """A certificate that was issued or installed."""

    label: str
    subject: str
    serial: str
    until: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; ``previous`` is the SHA-256 of the line before."""

    number: int
    time: str
    event: Event
    step: str
    peer: str
    skus: tuple[str, ...]
    operator: str
    witness: str
    version: str
    keys: tuple[KeyLine, ...] = ()
    files: tuple[FileLine, ...] = ()
    certificates: tuple[CertificateLine, ...] = ()
    note: str = ""
    previous: str = GENESIS

    @property
    def task(self) -> Task:
        """The step that it is about."""
        return Task(Step(self.step), self.peer, self.skus)

    def line(self) -> bytes:
        """As it stands in the file, without the line's end."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()


class Transcript:
    """The entries of one machine; opening it checks the chain."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = tuple(_read(path))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, oldest first."""
        return self._entries

    @property
    def head(self) -> str:
        """SHA-256 of the last line."""
        return hashlib.sha256(self._entries[-1].line()).hexdigest() if self._entries else GENESIS

    def done(self, task: Task) -> Entry | None:
        """The entry that says the task is done."""
        return next((entry for entry in self._entries if entry.event == "done" and entry.task == task), None)

    def begun(self, task: Task) -> bool:
        """True when the task was begun and has not been finished."""
        return self.done(task) is None and any(e.event == "begun" and e.task == task for e in self._entries)

    def files(self, way: str, step: Step | None = None) -> dict[str, str]:
        """Names and digests of all files that went this way in finished steps."""
        entries = (entry for entry in self._entries if entry.event == "done" and step in (None, entry.step))
        return {file.name: file.sha256 for entry in entries for file in entry.files if file.way == way}

    def key_labels(self) -> frozenset[str]:
        """Labels of the keys of all finished steps."""
        done = (entry for entry in self._entries if entry.event == "done")
        return frozenset(key.label for entry in done for key in entry.keys)

    def add(
        self, now: datetime, event: Event, task: Task, people: People, keys: Sequence[KeyLine] = (),
        files: Sequence[FileLine] = (), certificates: Sequence[CertificateLine] = (), note: str = "",
    ) -> Entry:  # fmt: skip
        """Add an entry; it is on the disk when this returns."""
        self.check_clock(now)
        entry = Entry(
            number=len(self._entries) + 1,
            time=now.isoformat(timespec="seconds"),
            event=event,
            step=task.step.value,
            peer=task.peer,
            skus=task.skus,
            operator=people.operator.strip(),
            witness=people.witness.strip(),
            version=build_text(),
            keys=tuple(keys),
            files=tuple(files),
            certificates=tuple(certificates),
            note=note,
            previous=self.head,
        )
        entries = (*self._entries, entry)
        replace(self._path, b"".join(e.line() + b"\n" for e in entries), 0o600)
        self._entries = entries
        return entry

    def check_clock(self, now: datetime) -> None:
        """Refuse a clock that is behind the last entry: certificates would get wrong dates."""
        if self._entries and now < datetime.fromisoformat(self._entries[-1].time):
            raise ConfigError(
                f"expected a clock that is not behind the last entry of the transcript ({self._entries[-1].time}), saw "
                f"{now.isoformat(timespec='seconds')}: set this machine's clock"
            )


def render(title: Sequence[str], transcript: Transcript) -> str:
    """The transcript as the text that people sign."""
    people = dict.fromkeys(
        name for entry in transcript.entries for name in (entry.operator, entry.witness) if name
    )  # a refusal may be for the lack of a name
    lines = [*title, f"Entries: {len(transcript.entries)}", ""]
    for entry in transcript.entries:
        lines += [*_entry_lines(entry), ""]
    lines += ["Digest of the last entry, which holds all before it:", f"  {grouped(transcript.head)}", ""]
    lines += ["We did and saw what is written above, and compared the digests of all transfers.", ""]
    for name in people:
        lines += ["", f"  {name}", "  Signature ______________________________   Date ______________", ""]
    return "\n".join(lines)


def key_text(key: KeyLine) -> str:
    """A key on one line, or two with the fingerprint of a public half."""
    if not key.fingerprint:
        return f"key {key.label}, {key.algorithm}"
    if len(key.fingerprint) < len(GENESIS):
        return f"key {key.label}, {key.algorithm}, check value {grouped(key.fingerprint)}"
    name = key.label.removesuffix(".priv").removesuffix(".pub")  # one name for both halves, on both machines
    return f"key {name}, {key.algorithm}, public key\n      SHA-256 {grouped(key.fingerprint)}"


def file_text(file: FileLine) -> str:
    """A file with its digest, on two lines."""
    return f"{file.way} {file.name}\n      SHA-256 {grouped(file.sha256)}"


def certificate_text(certificate: CertificateLine) -> str:
    """A certificate with its digest, on four lines."""
    return (
        f"certificate {certificate.label}, valid until {certificate.until}\n      {certificate.subject}\n"
        f"      serial number {certificate.serial}\n      SHA-256 {grouped(certificate.sha256)}"
    )


def _entry_lines(entry: Entry) -> Iterator[str]:
    yield f"{entry.number}. {entry.time}  {entry.task}: {entry.event}"
    if entry.peer:
        yield f"    for machine {entry.peer}"
    operator, witness = (name or "(no name)" for name in (entry.operator, entry.witness))
    yield f"    operator {operator}, witness {witness}, version {entry.version}"
    yield from textwrap.wrap(entry.note, PAPER, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    yield from (f"    {key_text(key)}" for key in entry.keys)
    yield from (f"    {certificate_text(certificate)}" for certificate in entry.certificates)
    yield from (f"    {file_text(file)}" for file in entry.files)


def _read(path: Path) -> Iterator[Entry]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"expected to read {path}: {error.strerror}; correct its rights") from None
    previous = GENESIS
    for number, line in enumerate(raw.splitlines(keepends=True), 1):
        try:
            entry = _entry(json.loads(line))
            if entry.line() + b"\n" != line or (entry.number, entry.previous) != (number, previous):
                raise ValueError(number)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{path}:{number}: expected an entry that follows the one before, saw a changed one: restore the file"
            ) from None
        previous = hashlib.sha256(entry.line()).hexdigest()
        yield entry


def _entry(stored: dict[str, Any]) -> Entry:
    if set(stored) != {field.name for field in fields(Entry)}:
        raise ValueError(sorted(stored))
    Step(stored["step"])
    datetime.fromisoformat(stored["time"])
    lines: dict[str, type[Any]] = {"keys": KeyLine, "files": FileLine, "certificates": CertificateLine}
    typed = {name: tuple(kind(**item) for item in stored[name]) for name, kind in lines.items()}
    return Entry(**{**stored, **typed, "skus": tuple(stored["skus"])})
