"""Files of the appliance folder: written once with their mode, synced, never overwritten; private ones checked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from station.errors import ConfigError

OTHERS = 0o077


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
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, data: bytes) -> None:
    """Write a file atomically over an older one; a reader sees the old or the new content, never half of it."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.unlink(missing_ok=True)
    _write(staged, data, 0o644)
    os.replace(staged, path)


def require_private(path: Path) -> None:
    """Refuse a key or passphrase file that others can read, or that is another user's, who could exchange it."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"expected a readable file at {path}: {error.strerror}; run appliance init first") from None
    if sys.platform == "win32":
        return
    if found.st_mode & OTHERS:
        raise ConfigError(f"expected {path} to be readable by its owner only: run chmod 600 {path}")
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"expected {path} to be owned by the user that serves ({os.geteuid()}), its owner is {found.st_uid}: "
            "serve as that user, or change the owner"
        )
