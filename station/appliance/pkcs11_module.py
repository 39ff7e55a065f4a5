"""A PKCS#11 module: loaded, initialised for threads, its tokens found; made anew after a token was lost.

python-pkcs11 0.10 calls ``C_Initialize(NULL)``, which promises a single thread: SoftHSM 2.6 then switches its locks off
and two threads corrupt its memory (seen: abort and segmentation fault). So the module is initialised here with
``CKF_OS_LOCKING_OK``. One ``Module`` per process and file: a token's login belongs to the whole process.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pkcs11
from pkcs11 import _pkcs11

from station.errors import ConfigError

OS_LOCKING_OK = 2  # CKF_OS_LOCKING_OK
CANT_LOCK, ALREADY_INITIALIZED = 0x0A, 0x191  # CKR_CANT_LOCK, CKR_CRYPTOKI_ALREADY_INITIALIZED
C_INITIALIZE, C_FINALIZE, C_INIT_TOKEN = 0, 1, 9  # places in CK_FUNCTION_LIST
LABEL_BYTES = 32
SOFTWARE_TOKENS = ("softhsm", "kryoptic")
_PACK = 1 if sys.platform == "win32" else 0  # PKCS#11 2.40, section 2.1: structures are packed on Windows only


class ModuleFailed(pkcs11.PKCS11Error):
    """The module as a whole answered with an error."""


class TokenMissing(pkcs11.PKCS11Error):
    """No slot holds the wanted token; the text says which one."""


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """A token by its label or, without one, by its place among the slots that hold a token (sheet 3.1)."""

    label: str = ""
    slot: int = 0

    def __str__(self) -> str:
        return f"token {self.label!r}" if self.label else f"a token in slot {self.slot}"


class _InitializeArguments(ctypes.Structure):
    if _PACK:
        _pack_ = _PACK
    _fields_ = (("mutex", ctypes.c_void_p * 4), ("flags", ctypes.c_ulong), ("reserved", ctypes.c_void_p))


class _FunctionList(ctypes.Structure):
    if _PACK:
        _pack_ = _PACK
    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * 10))


class _Library(_pkcs11.lib):
    """python-pkcs11's library object; the base class calls ``initialize`` when it is made."""

    def __init__(self, path: str) -> None:
        self._functions = _function_list(path)
        super().__init__(path)

    def initialize(self) -> None:
        """``C_Initialize`` with the system's locks."""
        arguments = _InitializeArguments(flags=OS_LOCKING_OK)
        code = self.call(C_INITIALIZE, ctypes.byref(arguments))
        if code == CANT_LOCK:
            raise ConfigError(f"expected {self.so} to serve several threads: it cannot, use the vendor's newer module")
        if code == ALREADY_INITIALIZED:
            raise ConfigError(f"expected {self.so} to be opened once per process: close its other keystore first")
        if code:
            raise ModuleFailed(f"C_Initialize answered 0x{code:x}")

    def finalize(self) -> None:
        """``C_Finalize``; what it answers makes no difference."""
        self.call(C_FINALIZE, None)

    def call(self, place: int, *arguments: Any) -> int:
        """Call a function by its place in the list; its return code."""
        return int(ctypes.CFUNCTYPE(ctypes.c_ulong)(self._functions[place])(*arguments))


class Module:
    """An initialised module; ``close`` it."""

    def __init__(self, path: str) -> None:
        try:
            _function_list(path)
        except (OSError, AttributeError):
            raise ConfigError(
                f"expected a PKCS#11 module at {path}: install the HSM's software or correct the path"
            ) from None
        try:
            self._library = _Library(path)
        except pkcs11.PKCS11Error as error:
            raise ConfigError(f"expected {path} to start: {describe(error)}; check the HSM's own settings") from None

    def restart(self) -> None:
        """Forget sessions, logins and handles and look for tokens again; nobody may be inside a call."""
        self._library.finalize()
        self._library.initialize()

    def close(self) -> None:
        """End the use of the module in this process."""
        self._library.finalize()

    def labels(self) -> list[str]:
        """Labels of the tokens that are there, in the order of their slots."""
        return [token.label for token in self._tokens()]

    def find(self, choice: TokenChoice, serial: bytes | None = None) -> pkcs11.Token:
        """The one token; ``serial`` is that of the token that was used before, another one is refused."""
        tokens = self._tokens()
        if choice.label:
            tokens = [token for token in tokens if token.label == choice.label]
            if len(tokens) > 1:
                raise TokenMissing(f"expected one {choice}, saw {len(tokens)}: name its slot instead")
            fits = tokens[0] if tokens else None
        else:
            fits = tokens[choice.slot] if choice.slot < len(tokens) else None
        if fits is None:
            raise TokenMissing(f"expected {choice}: insert it or correct the settings")
        if serial not in (None, fits.serial):
            raise TokenMissing(f"expected {choice} with the serial number it had at the start: insert that one")
        return fits

    def is_software(self, token: pkcs11.Token) -> bool:
        """True when module, slot or token say that they are a program that keeps keys on the disk."""
        slot, library = token.slot, self._library
        said = (library.manufacturer_id, library.library_description, token.manufacturer_id, token.model)
        everything = " ".join((*said, slot.manufacturer_id, slot.slot_description)).lower()
        return any(name in everything for name in SOFTWARE_TOKENS)

    def init_token(self, label: str, so_pin: bytes) -> None:
        """Make an empty token in the first slot whose token is not initialised."""
        free = next((t for t in self._tokens() if not t.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED), None)
        if free is None:
            raise TokenMissing("expected a slot with a token that is not initialised yet: free one")
        name = ctypes.create_string_buffer(label.encode().ljust(LABEL_BYTES), LABEL_BYTES)
        pin = ctypes.create_string_buffer(so_pin, len(so_pin))
        slot = ctypes.c_ulong(free.slot.slot_id)
        code = self._library.call(C_INIT_TOKEN, slot, pin, ctypes.c_ulong(len(so_pin)), name)
        if code:
            raise ModuleFailed(f"C_InitToken answered 0x{code:x}")
        self.restart()  # SoftHSM moves the new token to another slot

    def _tokens(self) -> list[pkcs11.Token]:
        found = []
        for slot in self._library.get_slots(token_present=True):
            try:
                found.append(slot.get_token())
            except pkcs11.PKCS11Error:  # taken away meanwhile
                continue
        return found


def describe(error: pkcs11.PKCS11Error) -> str:
    """The error in a few words: its own text, or the name of its return code."""
    return str(error) or f"PKCS#11 error {type(error).__name__}"


def _function_list(path: str) -> list[int]:
    found = ctypes.POINTER(_FunctionList)()
    get: Callable[..., int] = ctypes.CDLL(path).C_GetFunctionList
    if get(ctypes.byref(found)):
        raise OSError(path)
    return list(found.contents.functions)
