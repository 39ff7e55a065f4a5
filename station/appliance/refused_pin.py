"""The PIN that a token refused, kept in a file of the appliance folder: no process of the folder sends it again.

A few wrong PINs lock a token, and every start of a process, every worker and every return of the token is a login. The
file is locked around each of them, so that of several processes one finds out and the others read what it found. It
holds a salt and a slow digest of PIN and serial number, for a wrong PIN may be the right one but for a letter.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pkcs11

from station.appliance.files import open_private
from station.data_folder import try_lock
from station.deadline import Deadline, Pace
from station.secret import Secret

log = logging.getLogger(__name__)

WAIT_SECONDS = 10.0
SALT_BYTES = 16
COST = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20}
"""scrypt: 32 MiB and some 100 ms per guess."""


class PinRefused(pkcs11.PKCS11Error):
    """The PIN is wrong or locked, or was wrong before."""


class RefusedPin:
    """The mark of one folder; a file that cannot be written is told, and this process still knows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = ""

    @contextmanager
    def around_login(self, serial: bytes, pin: Secret) -> Iterator[None]:
        """One login at a time; raises ``PinRefused`` instead of a second one with a PIN that the token refused."""
        with self._locked() as file:
            mark = self._kept or (file.read() if file is not None else "")
            if _is_of(mark, serial, pin):
                raise PinRefused(
                    f"the token refused this PIN before, it is not tried again: correct the PIN, or remove "
                    f"{self._path.name} when it is the token's PIN by now"
                )
            try:
                yield
            except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid):
                self._write(file, _mark_of(serial, pin))
                raise PinRefused("the token refuses the PIN: correct it") from None
            except pkcs11.PinLocked:
                raise PinRefused("the PIN is locked: have the token's security officer set a new one") from None
            if mark:
                self._write(file, "")

    @contextmanager
    def _locked(self) -> Iterator[IO[str] | None]:
        """The file, for this process alone; None when there can be none."""
        try:
            file = os.fdopen(open_private(self._path, os.O_RDWR), "r+", encoding="ascii", errors="replace")
        except OSError as error:
            log.warning("a refused PIN cannot be noted in %s: %s", self._path, error.strerror)
            yield None
            return
        with file:
            deadline, pace = Deadline(WAIT_SECONDS), Pace(time.sleep)
            while not try_lock(file):
                if deadline.passed:
                    raise pkcs11.PKCS11Error("another process of this folder does not end its login: look at the HSM")
                pace.rest()
            file.seek(0)
            yield file

    def _write(self, file: IO[str] | None, mark: str) -> None:
        self._kept = mark
        if file is None:
            return
        try:
            file.seek(0)
            file.truncate()
            file.write(mark)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            log.warning("a refused PIN cannot be noted in %s: %s", self._path, error.strerror)
        else:
            self._kept = ""


def _mark_of(serial: bytes, pin: Secret, salt: bytes | None = None) -> str:
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    with pin.reveal() as raw:
        return f"{salt.hex()} {hashlib.scrypt(raw, salt=salt + serial, **COST).hex()}"


def _is_of(mark: str, serial: bytes, pin: Secret) -> bool:
    """False for no mark, and for one that was not written whole."""
    try:
        salt = bytes.fromhex(mark.partition(" ")[0])
    except ValueError:
        return False
    return bool(mark) and hmac.compare_digest(mark, _mark_of(serial, pin, salt))
