"""Files of the appliance folder: written once with their mode, synced, never overwritten; private ones checked."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from station.data_folder import try_lock
from station.errors import ConfigError
from station.file_errors import file_sentence

OTHERS = 0o077
STAGED = ".staged"
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What ``link`` fails with where there are none: the first on Linux's FAT, the last on that of Windows."""


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read (mode 0600)."""
    _write(path, data, 0o600)


def write_public(path: Path, data: bytes) -> None:
    """Write a new file that everybody may read (mode 0644)."""
    _write(path, data, 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise ConfigError(f"expected no file at {path}: it is never overwritten, move it away first") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # what is written through a descriptor does not say where
        error.filename = error.filename or str(path)
        raise


def open_private(path: Path, flags: int) -> int:
    """Descriptor of a file that is made for the serving user alone (mode 0600) when it is absent; raises ``OSError``.

    Root may look after a folder that another user serves: what it makes there belongs to the folder's owner.
    """
    try:
        handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT, 0o600)
    if sys.platform != "win32" and os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(handle, folder.st_uid, folder.st_gid)
    return handle


def give(path: Path, folder: Path) -> None:
    """Let what root has made belong to the owner of the folder, as ``open_private`` does."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def place(path: Path, data: bytes, mode: int = 0o600) -> bool:
    """Write a new file whole or not at all; True when it was written, False when this content was there already.

    A file of other content is refused: nothing is overwritten. On a medium without hard links (FAT, exFAT) a power cut
    may leave an empty file, and rights are those of the medium.
    """
    if holds(path, data):
        return False
    staged = _staged(path)
    try:
        _stage(path, data, mode)
        _name(staged, path)
    except FileExistsError:
        raise ConfigError(_taken(path)) from None
    except OSError as error:
        raise ConfigError(f"expected to write {path}: {error.strerror}; make room or name another place") from None
    finally:
        staged.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def _name(staged: Path, path: Path) -> None:
    """Give a whole file its name; unlike a rename alone it fails when somebody was quicker."""
    try:
        os.link(staged, path)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.replace(staged, path)


def holds(path: Path, data: bytes) -> bool:
    """True when the file has this content, False when there is none; another content is refused."""
    try:
        if path.read_bytes() == data:
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"expected to read {path}: {error.strerror}; correct its rights") from None
    raise ConfigError(_taken(path))


def replace(path: Path, data: bytes, mode: int = 0o644, check: Callable[[Path], object] | None = None) -> None:
    """Write a file atomically over an older one; a reader sees the old or the new content, never half of it.

    ``check`` may look at the new file before it takes its place, and raise.
    """
    staged = _staged(path)
    try:
        _stage(path, data, mode)
        if check is not None:
            check(staged)
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    _sync_folder(path.parent)


def sweep(folder: Path, others: Sequence[str] = ()) -> None:
    """Remove what ``place`` and ``replace`` left half done when their process was killed.

    Nobody else may write there, but for the files named ``others``.
    """
    for staged in folder.rglob(f".*{STAGED}"):
        if not staged.name.startswith(tuple(f".{name}." for name in others)):
            staged.unlink()


@contextmanager
def exclusive(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file, or raise ``ConfigError(refusal)``; the lock ends with the process, however it ends."""
    try:
        opened = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(file_sentence(error, path)) from None
    with opened as file:
        if not try_lock(file):
            raise ConfigError(refusal)
        yield


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{STAGED}")


def _stage(path: Path, data: bytes, mode: int) -> Path:
    staged = _staged(path)
    staged.unlink(missing_ok=True)
    _write(staged, data, mode)
    return staged


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk once its folder is; Windows has no such call."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _taken(path: Path) -> str:
    return f"expected no other file at {path}: it is never overwritten, move it away first"


def require_private(path: Path) -> None:
    """Refuse a key or passphrase file that others can read, or that is another user's, who could exchange it."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(
            f"expected a readable file at {path}: {error.strerror}; correct the path, or restore the file"
        ) from None
    if sys.platform == "win32":
        return
    if found.st_mode & OTHERS:
        raise ConfigError(f"expected {path} to be readable by its owner only: run chmod 600 {path}")
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"expected {path} to be owned by the user that serves ({os.geteuid()}), its owner is {found.st_uid}: "
            "serve as that user, or change the owner"
        )
