"""Sessions of one token: logged in once, lent to one thread at a time, made anew after the token was away.

A lost token is noticed by the call that fails; from then on calls are refused at once, and every ``RETRY_SECONDS`` one
of them tries to get the token back. A PIN that the token refused is never sent twice (``refused_pin``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pkcs11
from pkcs11 import ObjectClass

from station.appliance.pkcs11_module import Module, ModuleFailed, TokenChoice, TokenMissing, describe
from station.appliance.refusal import Refusal
from station.appliance.refused_pin import PinRefused, RefusedPin
from station.errors import ConfigError, PinError
from station.secret import Secret

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
WAIT_SECONDS = 10.0
_LOST = (
    ModuleFailed, TokenMissing, pkcs11.DeviceError, pkcs11.DeviceRemoved, pkcs11.FunctionFailed, pkcs11.GeneralError,
    pkcs11.KeyHandleInvalid, pkcs11.NoSuchKey, pkcs11.ObjectHandleInvalid, pkcs11.SessionClosed,
    pkcs11.SessionHandleInvalid, pkcs11.SlotIDInvalid, pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised,
    pkcs11.UserNotLoggedIn,
)  # fmt: skip
"""Errors after which only a new start of the module helps."""

Answer = TypeVar("Answer")


class KeystoreUnavailable(Refusal):
    """The token cannot do its work now; the caller gets INTERNAL and one sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__("INTERNAL", sentence)


class KeySession:
    """A session with the keys it has looked up; for one thread at a time."""

    def __init__(self, raw: pkcs11.Session) -> None:
        self.raw = raw
        self._keys: dict[tuple[ObjectClass, str], Any] = {}

    def key(self, kind: ObjectClass, label: str) -> Any:
        """The key object of this session; its operations depend on the token, hence no type."""
        found = self._keys.get((kind, label))
        if found is None:
            found = self._keys[kind, label] = self.raw.get_key(object_class=kind, label=label)
        return found


class SessionPool:
    """At most ``size`` sessions; ``prepare`` looks at the token after every login and may refuse it."""

    def __init__(
        self,
        module: Module,
        choice: TokenChoice,
        pin: Callable[[], Secret],
        refused_pin: RefusedPin,
        size: int,
        prepare: Callable[[pkcs11.Token, KeySession], None],
    ) -> None:
        self._module, self._choice, self._size, self._prepare = module, choice, size, prepare
        self._pin, self._refused_pin = pin, refused_pin
        self._changed = threading.Condition()
        self._free: list[KeySession] = []
        self._lent = 0
        self._starts = 0
        self._down: str | None = None
        self._retry_at = 0.0
        self._serial: bytes | None = None
        self._token: pkcs11.Token | None = None
        self._login: pkcs11.Session | None = None

    def start(self) -> None:
        """First login; raises ``ConfigError`` with one sentence, ``PinError`` when the PIN is why."""
        try:
            self._connect()
        except PinRefused as refused:
            raise PinError(f"{self._choice}: {refused}") from None
        except pkcs11.PKCS11Error as error:
            raise ConfigError(f"{self._choice}: {describe(error)}") from None

    def run(self, work: Callable[[KeySession], Answer]) -> Answer:
        """Do ``work`` with a session, once more after a lost token came back; ``work`` must bear to be repeated."""
        for last in (False, True):
            starts = self._starts
            try:
                with self._borrowed() as session:
                    return work(session)
            except pkcs11.PKCS11Error as error:
                lost = isinstance(error, _LOST) or type(error) is pkcs11.PKCS11Error
                sentence = f"the HSM does not do its work: {describe(error)}"
                if lost:
                    self._mark_down(sentence, starts)
                if last or not lost:
                    raise KeystoreUnavailable(sentence) from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the module's use; calls that still come are refused."""
        with self._changed:
            self._down, self._retry_at = "the keystore is closed", float("inf")
            idle = self._changed.wait_for(lambda: not self._lent, WAIT_SECONDS)
            self._forget()
        if idle:  # a module that is ended under a running call crashes the process
            self._module.close()

    def fault(self) -> str:
        """Why the token is not used now; empty while it is."""
        return self._down or ""

    @contextmanager
    def _borrowed(self) -> Iterator[KeySession]:
        session = self._take()
        try:
            yield session
        except BaseException:  # whatever it was, the session may be in the middle of something
            with suppress(pkcs11.PKCS11Error):
                session.raw.close()  # before it is given back: after a new start its number is another session's
            self._give_back(None)
            raise
        self._give_back(session)

    def _take(self) -> KeySession:
        with self._changed:
            while True:
                if not self._changed.wait_for(lambda: self._down or self._lent < self._size, WAIT_SECONDS):
                    raise KeystoreUnavailable(f"the HSM is busy: all {self._size} sessions are in use, try again")
                if self._down is None:
                    break
                self._come_back()
            assert self._token is not None
            session = self._free.pop() if self._free else KeySession(self._token.open())
            self._lent += 1
            return session

    def _give_back(self, session: KeySession | None) -> None:
        with self._changed:
            self._lent -= 1
            if session is not None and self._down is None:
                self._free.append(session)
            self._changed.notify_all()

    def _mark_down(self, sentence: str, starts: int) -> None:
        with self._changed:
            if self._down is None and self._starts == starts:
                log.error("%s", sentence)
                self._down = sentence
                self._changed.notify_all()

    def _come_back(self) -> None:
        """Called under the lock: start the module again when it is time, or refuse."""
        self._refuse_until_due()
        if not self._changed.wait_for(lambda: self._down is None or not self._lent, WAIT_SECONDS):
            raise KeystoreUnavailable(self._down or "")  # a call hangs inside the module
        if self._down is None:  # another thread was quicker
            return
        self._refuse_until_due()
        self._retry_at = time.monotonic() + RETRY_SECONDS
        self._forget()
        try:
            self._module.restart()
            self._connect()
        except (pkcs11.PKCS11Error, ConfigError) as error:
            self._forget()
            said = describe(error) if isinstance(error, pkcs11.PKCS11Error) else str(error)
            self._down = f"the HSM does not do its work: {said}"
            raise KeystoreUnavailable(self._down) from None
        self._down = None
        self._changed.notify_all()
        log.warning("the HSM is back: %s", self._choice)

    def _refuse_until_due(self) -> None:
        if self._down is not None and time.monotonic() < self._retry_at:
            raise KeystoreUnavailable(self._down)

    def _connect(self) -> None:
        token = self._module.find(self._choice, self._serial)
        self._login = self._logged_in(token)
        session = KeySession(token.open())
        self._prepare(token, session)
        self._token, self._serial = token, token.serial
        self._free = [session]
        self._starts += 1

    def _logged_in(self, token: pkcs11.Token) -> pkcs11.Session:
        pin = self._pin()
        with self._refused_pin.around_login(token.serial, pin), pin.reveal() as raw:
            return token.open(user_pin=raw.decode("utf-8", "replace"))

    def _forget(self) -> None:
        """The module is about to be ended, which closes sessions by itself."""
        self._free, self._login, self._token = [], None, None
