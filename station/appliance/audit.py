"""The audit log: a JSON line per call, one a day per client certificate that ends soon, and about journals.

It holds names, identifiers and results, never a token, password or key. Only fields listed here are written; none of
them is taken from a message's secret fields. Texts that a client chooses are cut, and JSON keeps them on their line.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from station.appliance.client_certificate import ClientCertificate
from station.appliance.device_data import read_device_id
from station.appliance.files import open_private
from station.appliance.limits import BUNDLES
from station.errors import ConfigError, FormatError

log = logging.getLogger("station.appliance.audit")
lines = logging.getLogger("station.appliance.audit.file")
"""Goes to the file only, at whatever level the process logs."""
lines.setLevel(logging.INFO)
lines.propagate = False

LONGEST, LONGEST_REASON = 80, 300


class _Appender(logging.Handler):
    """A line is one write to the end of the file: several processes may share it, and no line is torn.

    A line that cannot be written must not change the answer that it is about; the log has it still.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.missed = 0
        self._file = -1
        self._begin = b""
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Append one line; called under the handler's lock."""
        try:
            if self._was_moved():
                self._shut()
                self._open()
            line = self._begin + record.getMessage().encode() + b"\n"
            written = os.write(self._file, line)
            self._begin = b"" if written == len(line) else b"\n"  # the rest of a torn line is not joined to the next
            if self._begin:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """One sentence instead of a stack trace."""
        self.missed += 1
        why = getattr(sys.exception(), "strerror", "") or "the file was closed"
        log.error("an audit line is in this log only, %s cannot be written: %s", self.path, why)

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._shut()

    def _open(self) -> None:
        self._file = open_private(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
        self._identity = _identity(os.fstat(self._file))

    def _shut(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _was_moved(self) -> bool:
        try:
            return self._file < 0 or _identity(os.stat(self.path)) != self._identity
        except FileNotFoundError:
            return True


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


class AuditFile:
    """Appends the audit lines to a file as well, until it is closed; the file may be moved away while it is open."""

    def __init__(self, path: Path) -> None:
        try:
            self._handler = _Appender(path)
        except OSError as error:
            raise ConfigError(f"expected to write the audit log {path}, but: {error.strerror}") from None
        lines.addHandler(self._handler)

    def missed(self) -> int:
        """How many lines could not be written to the file."""
        return self._handler.missed

    def close(self) -> None:
        """Stop writing."""
        lines.removeHandler(self._handler)
        try:
            self._handler.close()
        except OSError as error:
            log.error("%s could not be closed: %s", self._handler.path, error.strerror)


def write(
    certificate: ClientCertificate, user: str, peer: str, method: str, request: Any, code: str, milliseconds: float,
    station: str = "", repeats: int = 0, reason: str = "",
) -> None:  # fmt: skip
    """One line about one call; ``repeats`` calls before it with the same certificate and result have none.

    ``station`` is a known one, else the certificate's own name is told as its ``title``. ``reason`` is the sentence of
    a refusal: it says what was expected, and echoes names only.
    """
    line: dict[str, object] = {
        "time": _now(),
        "event": "call",
        "station": station,
        **({} if station else {"title": certificate.title[:LONGEST]}),
        "certificate": certificate.fingerprint[:16],
        "user": user[:LONGEST],
        "peer": peer[:LONGEST],
        "method": method,
        "sku": sku_of(request)[:LONGEST],
        **_device(request),
        "result": code,
        **({"reason": reason[:LONGEST_REASON]} if reason else {}),
        "ms": round(milliseconds, 1),
        **({"repeats": repeats} if repeats else {}),
    }
    _put(line, logging.INFO)


def write_expiry(certificate: ClientCertificate, station: str, end: datetime, days: int) -> None:
    """One line about a client certificate that ends in ``days`` days."""
    line = {
        "time": _now(),
        "event": "client_certificate_expires",
        "station": station,
        "certificate": certificate.fingerprint[:16],
        "title": certificate.title[:LONGEST],
        "end": end.isoformat(timespec="seconds"),
        "days": days,
    }
    _put(line, logging.WARNING)


def journal_broken(journal: str, last: str, saw: str, why: str) -> None:
    """One line about a station whose journal does not extend its last anchor."""
    line = {"time": _now(), "event": "journal_broken", "journal": journal, "last": last, "saw": saw, "why": why}
    _put(line, logging.WARNING)


def journal_accepted(journal: str, last: str, reason: str) -> None:
    """One line about a journal that somebody let begin anew."""
    line = {"time": _now(), "event": "journal_accepted", "journal": journal, "last": last, "reason": reason[:500]}
    _put(line, logging.INFO)


def _put(line: Mapping[str, object], level: int) -> None:
    """One record for both, made without looking for the line of source that logs it, which costs as much again."""
    record = logging.LogRecord(log.name, level, __file__, 0, json.dumps(line, ensure_ascii=True), None, None)
    if log.isEnabledFor(level):
        log.handle(record)
    lines.handle(record)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def sku_of(request: Any) -> str:
    """The SKU that a request names; empty when it names none."""
    data = getattr(request, "device_data", None)
    return str(getattr(request, "sku", "") or (data.sku if data is not None else ""))


def _device(request: Any) -> dict[str, str | list[str]]:
    """The device that a request is about: its id, or the digests of all that is signed for it (as ``quota`` counts)."""
    if hasattr(request, "device_data"):
        try:
            return {"device": read_device_id(request.device_data.device_id).registry_hex}
        except FormatError:
            return {"device": ""}
    if getattr(request, "bundles", None):
        return {"tbs": [hashlib.sha256(bundle.tbs).hexdigest() for bundle in request.bundles[:BUNDLES]]}
    return {}
