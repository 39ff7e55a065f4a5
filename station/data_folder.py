"""The data folder: who owns it (an OS lock), where things are in it, and the ballast that a full disk gives back."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO

from station.errors import ConfigError, JournalError

BALLAST_BYTES = 4 << 20


class DataFolder:
    """Paths below one folder; ``lock`` makes this process its only station until ``release``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @property
    def journal(self) -> Path:
        """The journal's SQLite file."""
        return self.path / "journal.sqlite"

    @property
    def anchor(self) -> Path:
        """Length and head hash that the appliance got with the last acknowledged registration."""
        return self.path / "anchor.json"

    @property
    def credentials(self) -> Path:
        """Folder of the sealed credentials."""
        return self.path / "credentials"

    def make(self) -> None:
        """Create the folder for this user only."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(f"expected to create the data folder {self.path}, but: {error.strerror}") from None

    def lock(self, where: str = "on the data folder") -> None:
        """Take the folder; a second station on it gets a sentence, not a damaged journal."""
        self.make()
        try:
            handle = open(self.path / "station.lock", "a+", encoding="utf-8")  # noqa: SIM115 - held until release
        except OSError as error:
            raise JournalError(f"expected to write to the data folder {self.path}, but: {error.strerror}") from None
        if not try_lock(handle):
            handle.seek(0)
            owner, _, doing = handle.read().strip().partition(" ")
            handle.close()
            raise ConfigError(_taken(f"{where} {self.path}", owner, doing))
        self._lock = handle
        self.say("")

    def say(self, doing: str) -> None:
        """What this process is doing, in words for the next one that wants the folder; left out on a full disk."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._lock.fileno(), 0)
                os.write(self._lock.fileno(), f"{os.getpid()} {doing}".encode())  # the file is open for appending

    def release(self) -> None:
        """Give the folder back; the operating system does the same when the process dies."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _taken(place: str, owner: str, doing: str) -> str:
    if doing:
        return f"the engine (process {owner}) is {doing}; wait until it has ended, then start again"
    return (
        f"another station (process {owner or 'unknown'}) works {place}; "
        "end it first or choose another folder with --data"
    )


def is_taken(path: Path) -> bool:
    """True while a station works in a data folder, also when that cannot be found out."""
    try:
        handle = open(path / "station.lock", "a+", encoding="utf-8")  # noqa: SIM115 - closed by the next line
    except OSError:
        return True
    with handle:
        return not try_lock(handle)


def try_lock(handle: IO[str]) -> bool:
    """Lock an open file for this process until it is closed; False when another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            # far behind the text, because Windows refuses readers of a locked region
            handle.seek(1 << 20)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Ballast:
    """A file that only takes room, so that one outcome can still be written when the disk is full."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def lay(self) -> None:
        """Take the room; raises ``JournalError`` when the disk has none left."""
        if self._path.exists() and self._path.stat().st_size >= self._size:
            return
        try:
            with open(self._path, "wb") as handle:
                block = bytes(1 << 16)
                for start in range(0, self._size, len(block)):
                    handle.write(block[: self._size - start])
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            self.free()
            raise JournalError(
                f"expected {self._size} bytes of room beside the journal, but: {error.strerror}; make room on the disk"
            ) from None

    def free(self) -> bool:
        """Give the room back; False when it was given back before."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def boot_id() -> str:
    """A text that changes with every start of this computer."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import time

        # no boot id: the moment of the start, coarse enough to survive small corrections of the clock
        return f"start-{round((time.time() - time.monotonic()) / 120)}"


def write_durably(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Replace a file whole: after a crash there is the old one or the new one, and the new one is on the disk."""
    temporary = path.with_name(path.name + ".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make a new file name durable (POSIX); nothing to do elsewhere."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
