"""What a file system or a database file refuses: the system's reason, and what to try."""

from __future__ import annotations

import errno
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM)
_FILE_ERRORS = (*_FULL, *_CLOSED, errno.EROFS, errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
_SQLITE_FULL, _SQLITE_IOERR, _SQLITE_CORRUPT, _SQLITE_NOTADB = 13, 10, 11, 26
"""Primary result codes; source: sqlite.org/rescode.html."""


def is_file_error(error: OSError) -> bool:
    """True for what the file system says of its room, its rights or itself: no error in the program."""
    return error.errno in _FILE_ERRORS


def file_sentence(error: OSError, path: Path | None = None) -> str:
    """One sentence with the system's reason; ``path`` when the error does not name its file."""
    where = error.filename if isinstance(error.filename, str) else path or "a file"
    return f"expected to use {where}, but: {reason_of(error)}; {file_advice(error)}"


def reason_of(error: OSError) -> str:
    """What the system says."""
    return error.strerror or type(error).__name__


def file_advice(error: OSError) -> str:
    """What to try."""
    if error.errno in _FULL:
        return "make room on the disk"
    if error.errno in _CLOSED:
        return "correct its owner and rights, or who runs this"
    if error.errno == errno.EROFS:
        return "make the file system writable, or name another place"
    return "correct the path, or look at the disk"


def database_advice(error: Exception) -> str:
    """What to try with a SQLite file that cannot be opened; only a damaged one is to be restored."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (_SQLITE_FULL, _SQLITE_IOERR):
        return "make room on the disk"
    if code in (_SQLITE_NOTADB, _SQLITE_CORRUPT):
        return "restore it from a copy"
    return "let this user write to it and to its folder"
