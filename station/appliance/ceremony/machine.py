"""The folder of one machine of a ceremony: its settings ``ceremony.toml``, keystore, transfers and transcript."""

from __future__ import annotations

import os
import secrets
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from station.appliance import keystore_settings, settings
from station.appliance.ceremony.keys import AES_KEY, SEEDS
from station.appliance.ceremony.task import FILES, SIDES, Side, Step
from station.appliance.ceremony.transcript import FILE as TRANSCRIPT
from station.appliance.ceremony.transcript import Transcript
from station.appliance.ceremony.transfer import Received, Transfer, read_file, read_transfer
from station.appliance.ceremony.vault import Vault
from station.appliance.ceremony.vault_software import open_software_vault
from station.appliance.files import exclusive, place, sweep
from station.appliance.keystore_settings import PKCS11, REFUSED_PIN, SOFTWARE
from station.appliance.keystores import token_settings
from station.errors import ConfigError, Finding
from station.model import Realm

FILE = "ceremony.toml"
FOLDER = "ceremony"
LOCK = "ceremony.lock"
OTHERS = ("endpoint.json",)
"""Files that a serving appliance replaces by itself."""
_KEYS = frozenset({"machine", "id", "realm"})
KeystoreLines = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine; hold it through ``at_machine``. ``keystore`` are the lines for ``appliance.toml``."""

    folder: Path
    side: Side
    id: str
    realm: Realm
    keystore: KeystoreLines
    transcript: Transcript
    clock: Callable[[], datetime]

    def now(self) -> datetime:
        """The time, in seconds."""
        return self.clock().replace(microsecond=0)

    def title(self) -> tuple[str, ...]:
        """How the transcript begins."""
        return ("KEY CEREMONY", f"Machine: {SIDES[self.side]} {self.id}", f"Realm: {self.realm}")

    def transfer_path(self, step: Step, skus: Collection[str] = (), peer: str = "") -> Path:
        """Where this machine keeps a transfer; an offline machine has a folder for each SPM machine."""
        name = "-".join((FILES[step], *skus))
        return self.folder / FOLDER / peer / f"{name}.json"

    def received_path(self, transfer: Transfer) -> Path:
        """Where a received transfer is kept."""
        peer = transfer.sender if self.side is Side.OFFLINE else ""
        return self.transfer_path(transfer.step, transfer.skus, peer)

    def kept(self, path: Path) -> Received | None:
        """A transfer that this machine has sent or received, None when there is none; a changed file is refused."""
        if not path.exists():
            return None
        found = Received(read_transfer(read_file(path)), path.read_bytes())
        name = str(path.relative_to(self.folder))
        known = {**self.transcript.files("sent"), **self.transcript.files("received")}.get(name, found.digest)
        if known != found.digest:
            raise ConfigError(f"expected {path} as the transcript knows it, saw a changed file: restore it")
        return found

    @contextmanager
    def vault(self) -> Iterator[Vault]:
        """The keystore, open for new keys."""
        chosen = keystore_settings.keystore_settings(self.folder, self.keystore)
        if chosen.kind != PKCS11:
            new = not any(entry.event == "done" and entry.keys for entry in self.transcript.entries)
            yield open_software_vault(chosen.file, chosen.passphrase, self.realm, new)
            return
        leaving = (*SEEDS, AES_KEY) if self.side is Side.OFFLINE else ()
        with token_settings(chosen) as token:
            from station.appliance.ceremony.vault_token import open_token_vault

            with open_token_vault(token, self.realm, leaving) as vault:
                yield vault

    @property
    def in_token(self) -> bool:
        """True when the keys are in a PKCS#11 token."""
        return self.keystore.get("keystore_kind", SOFTWARE) == PKCS11


@contextmanager
def machine_made(folder: Path, side: Side, realm: Realm | None, keystore: KeystoreLines) -> Iterator[None]:
    """``make_machine`` for its first step; when that is stopped before it was begun, a new machine is gone again."""
    missing = _missing(folder)
    made = make_machine(folder, side, realm, keystore)
    try:
        yield
    except BaseException:  # also who gives up at the prompt may come back with other options
        if made:
            _unmake(folder, missing, made)
        raise


def _missing(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _unmake(folder: Path, missing: Sequence[Path], made: bytes) -> None:
    """Remove a machine of these settings of which nothing but refusals is known, and the folders made for it."""
    with suppress(ConfigError, OSError):  # somebody else works there, or has put something there
        with _alone(folder):
            if (folder / FILE).exists() and (folder / FILE).read_bytes() != made:  # another process was quicker
                return
            if any(entry.event != "refused" for entry in Transcript(folder / TRANSCRIPT).entries):
                return
            for name in (FILE, TRANSCRIPT):
                (folder / name).unlink(missing_ok=True)
        (folder / LOCK).unlink(missing_ok=True)
        if _is_empty(folder / REFUSED_PIN):  # one with a refused PIN stays, so that this PIN is not sent again
            (folder / REFUSED_PIN).unlink()
        for path in missing:
            path.rmdir()


def _is_empty(path: Path) -> bool:
    return path.exists() and not path.stat().st_size


def make_machine(folder: Path, side: Side, realm: Realm | None, keystore: KeystoreLines) -> bytes:
    """Write ``ceremony.toml`` of a new machine; of one that is there, the same settings are accepted and no others.

    What it has written, nothing when the machine was there.
    """
    if (folder / FILE).exists():
        _compare(folder, side, realm, keystore)
        return b""
    taken = [name for name in (settings.FILE, "keystore.sealed", TRANSCRIPT, FOLDER) if (folder / name).exists()]
    if taken:
        raise ConfigError(f"expected a new folder, {folder} has {taken[0]} already: choose another folder")
    if realm is None:
        raise ConfigError("expected the realm of a new machine: name it with --realm dev or --realm production")
    wrong = [Finding(folder / FILE, 0, sentence) for _, sentence in keystore_settings.findings(keystore)]
    if wrong:
        raise ConfigError(wrong)
    missing = _missing(folder)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    made = _text({"machine": side.value, "id": secrets.token_hex(8), "realm": realm.value, **keystore})
    try:
        with _alone(folder):
            place(folder / FILE, made)
    except ConfigError:  # somebody else works there, or there is no room
        _unmake(folder, missing, made)
        raise
    return made


def realm_of(folder: Path, given: str | None) -> Realm | None:
    """The realm of a machine that is there, else the given one."""
    if (folder / FILE).exists():
        return _read(folder)[2]
    return Realm(given) if given else None


@contextmanager
def at_machine(
    folder: Path, sides: Collection[Side], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[Machine]:
    """The machine of a folder, for this process alone; what a killed process left half done is removed first."""
    _require(folder, sides)
    with _alone(folder):
        sweep(folder, OTHERS)
        yield seen_machine(folder, sides, clock)


def seen_machine(
    folder: Path, sides: Collection[Side], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Machine:
    """The machine of a folder to look at: without its lock, so that a write-protected folder will do."""
    _require(folder, sides)
    side, identity, realm, keystore = _read(folder)
    if side not in sides:
        wanted = " or ".join(SIDES[allowed] for allowed in sides)
        raise ConfigError(f"expected the folder of the {wanted}, {folder} is of the {SIDES[side]}: name the other")
    return Machine(folder, side, identity, realm, keystore, Transcript(folder / TRANSCRIPT), clock)


def _require(folder: Path, sides: Collection[Side]) -> None:
    if not (folder / FILE).exists():
        first = "offline-common-init" if Side.OFFLINE in sides else "spm-init"
        raise ConfigError(f"expected {FILE} in {folder}: begin the ceremony there with {first}")


def settings_lines(values: Mapping[str, str | int]) -> str:
    """TOML lines of texts and numbers."""
    return "".join(
        f"{key} = {value}\n" if isinstance(value, int) else f'{key} = "{_escaped(value)}"\n'
        for key, value in values.items()
    )


def _alone(folder: Path) -> AbstractContextManager[None]:
    return exclusive(folder / LOCK, f"expected to work in {folder} alone: another step of the ceremony is running")


def _compare(folder: Path, side: Side, realm: Realm | None, keystore: KeystoreLines) -> None:
    known_side, _, known_realm, known = _read(folder)
    same = known_side is side and realm in (None, known_realm)
    if not same or any(known.get(key) != value for key, value in keystore.items()):
        raise ConfigError(
            f"expected the settings that {folder / FILE} has: a machine keeps its realm and keystore, leave the "
            f"options out or choose another folder"
        )


def _read(folder: Path) -> tuple[Side, str, Realm, dict[str, str | int]]:
    path = folder / FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        side, realm, identity = Side(values["machine"]), Realm(values["realm"]), str(values["id"])
    except (OSError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise ConfigError([Finding(path, 0, f"expected machine, id and realm of a ceremony: {error}")]) from None
    keystore = {key: value for key, value in values.items() if key not in _KEYS}
    unknown = [key for key in keystore if key not in (*keystore_settings.TEXTS, *keystore_settings.NUMBERS)]
    findings = [Finding(path, 0, f"unknown key {key!r}") for key in unknown]
    findings += [Finding(path, 0, sentence) for _, sentence in keystore_settings.findings(keystore)]
    if findings:
        raise ConfigError(findings)
    return side, identity, realm, keystore


def _text(values: Mapping[str, str | int]) -> bytes:
    head = "# A machine of a key ceremony; station appliance ceremony --help tells more.\n"
    return (head + settings_lines(values)).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
