"""One step at a machine: what comes in is checked, the step is begun, done and written down; a repetition is seen.

A step that is done is not done again. One that was begun and killed is taken up: all that it makes is made once and
found the second time. A refusal is written down too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from station.appliance.ceremony.keys import NewKey
from station.appliance.ceremony.machine import Machine
from station.appliance.ceremony.task import People, Task
from station.appliance.ceremony.transcript import CertificateLine, Entry, FileLine, KeyLine
from station.appliance.ceremony.transfer import (
    Expected,
    Received,
    Transfer,
    digest_of,
    grouped,
    parse_digest,
    read_file,
    read_transfer,
)
from station.appliance.ceremony.vault import Vault
from station.appliance.files import place
from station.errors import ConfigError, StationError

NOTE_LENGTH = 600


@dataclass(frozen=True, slots=True)
class DigestCheck:
    """How the digest of a transfer is confirmed: one of ``digests``, or the answer to a question."""

    digests: Sequence[str] = ()
    ask: Callable[[str, str], bool] | None = None
    """Shows a file's name and its digest in groups, and answers whether the other machine showed the same."""

    def confirm(self, name: str, digest: str) -> None:
        """Refuse a file whose digest is not confirmed."""
        if self.digests:
            if digest not in [parse_digest(text) for text in self.digests]:
                raise ConfigError(
                    f"expected {name} with the SHA-256 that was given, saw {grouped(digest)}: it is another file than "
                    f"the one whose digest you have, do not use it"
                )
        elif self.ask is None:
            raise ConfigError("expected the digest that the other machine shows: give it with --digest")
        elif not self.ask(name, grouped(digest)):
            raise ConfigError(f"expected {name} with the digest of the other machine, you did not confirm it")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step that is done; ``already`` says that it was done before and nothing was changed."""

    entry: Entry
    already: bool
    sent: Path | None = None


class Work:
    """One step by two people; begin it with ``attended``."""

    def __init__(self, machine: Machine, people: People, task: Task) -> None:
        self.machine, self.people, self.task = machine, people, task
        self.resumed = False
        self._files: list[FileLine] = []
        self._sent: Path | None = None

    def about(self, skus: Sequence[str] = (), peer: str = "") -> None:
        """What the transfer says that the step is about."""
        self.task = replace(self.task, skus=tuple(skus), peer=peer)

    def already(self, received: Sequence[Received] = ()) -> Outcome | None:
        """The outcome when the task was done before, with these transfers."""
        entry = self.machine.transcript.done(self.task)
        if entry is None:
            return None
        known = [file.sha256 for file in entry.files if file.way == "received"]
        if any(transfer.digest not in known for transfer in received):
            raise ConfigError(
                f"expected the transfer with which {self.task} was done ({' and '.join(map(grouped, known))}), saw "
                f"another: a step is done once"
            )
        sent = [self.machine.folder / file.name for file in entry.files if file.way == "sent"]
        for path in sent:
            if self.machine.kept(path) is None:
                raise ConfigError(f"expected {path}, which {self.task} has made: restore it")
        return Outcome(entry, True, sent[0] if sent else None)

    def receive(self, source: Path, check: DigestCheck, expected: Expected | None = None) -> Received:
        """A transfer from a medium, after its digest was confirmed."""
        raw = read_file(source)
        check.confirm(source.name, digest_of(raw))
        transfer = read_transfer(raw)
        if expected is not None:
            expected.check(transfer)
        return Received(transfer, raw)

    def begin(self, vault: Vault | None = None, keys: Sequence[str] = ()) -> None:
        """From here on things are written; ``keys`` are labels that this step makes or brings.

        A key that is there must be of this ceremony: of a finished step, or of this one, killed half way.
        """
        transcript = self.machine.transcript
        self.resumed = transcript.begun(self.task)
        if self.resumed:
            transcript.check_clock(self.machine.now())
            return
        strange = sorted(set(keys) & (vault.labels() if vault else frozenset()) - transcript.key_labels())
        if strange:
            raise ConfigError(
                f"expected no key {', '.join(strange)} in the keystore before {self.task}: keys are never overwritten, "
                f"finish the step that was begun or use an empty keystore"
            )
        transcript.add(self.machine.now(), "begun", self.task, self.people)

    def require_place(self, received: Received) -> None:
        """Refuse when another transfer of this step was received before."""
        kept = self.machine.kept(self.machine.received_path(received.transfer))
        if kept is not None and kept.raw != received.raw:
            raise ConfigError(
                f"expected the transfer of {received.transfer.step} that this machine has received before "
                f"({grouped(kept.digest)}), saw another: copy it again from the machine that made it"
            )

    def keep(self, received: Received) -> None:
        """Keep a copy of a received transfer."""
        path = self.machine.received_path(received.transfer)
        place(path, received.raw)
        self._file(path, "received", received.digest)

    def send(self, path: Path, build: Callable[[], Transfer]) -> Transfer:
        """The transfer that this step makes; one that a killed call has made is found again."""
        kept = self.machine.kept(path)
        if kept is None:
            built = build()
            place(path, built.encode())
            kept = Received(built, built.encode())
        self._file(path, "sent", kept.digest)
        self._sent = path
        return kept.transfer

    def finish(
        self, keys: Sequence[KeyLine] = (), certificates: Sequence[CertificateLine] = (), note: str = ""
    ) -> Outcome:
        """Write down that the step is done."""
        entry = self.machine.transcript.add(
            self.machine.now(), "done", self.task, self.people, keys, self._files, certificates, note
        )
        return Outcome(entry, False, self._sent)

    def note_file(self, name: str, way: str, data: bytes) -> None:
        """A file for the transcript that is no transfer."""
        self._files.append(FileLine(name, way, digest_of(data)))

    def _file(self, path: Path, way: str, digest: str) -> None:
        self._files.append(FileLine(str(path.relative_to(self.machine.folder)), way, digest))


@contextmanager
def attended(machine: Machine, people: People, task: Task) -> Iterator[Work]:
    """A step; what stops it is written down."""
    work = Work(machine, people, task)
    try:
        people.check()
        yield work
    except StationError as error:
        sentence = "".join(letter if letter.isprintable() else " " for letter in str(error))[:NOTE_LENGTH]
        with suppress(ConfigError, OSError):  # the first error is the one to tell
            machine.transcript.add(machine.now(), "refused", work.task, people.printable(), note=sentence)
        raise


def require_keys(vault: Vault, labels: Sequence[str]) -> None:
    """Refuse a step whose keys an earlier step has not made."""
    for label in labels:
        if label not in vault.labels():
            raise ConfigError(vault.missing(label))


def line_of(keys: Sequence[NewKey], vault: Vault) -> list[KeyLine]:
    """Keys as the transcript shows them."""
    return [vault.line(key.label) for key in keys]
