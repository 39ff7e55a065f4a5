"""Plaintext that cannot be printed (``Secret``) and ciphertext that may be recorded (``Sealed``).

Python cannot wipe memory. We shorten lifetimes, make the process non-dumpable before the first
secret exists (``harden_process``) and claim no more.
"""

from __future__ import annotations

import ctypes
import hmac
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
"""Of sys/prctl.h."""


class Secret:
    """Plaintext key material: every rendering gives its label and bit length, nothing else."""

    __slots__ = ("_raw", "label")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, raw: bytes, label: str) -> None:
        self._raw = bytes(raw)
        self.label = label

    def __len__(self) -> int:
        """Length in bytes."""
        return len(self._raw)

    def __repr__(self) -> str:
        return f"<{self.label}: {8 * len(self._raw)} bits, secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._raw, other._raw)

    @contextmanager
    def reveal(self) -> Iterator[bytes]:
        """The one way out: ``with secret.reveal() as raw:``."""
        yield self._raw

    def passes(self, check: Callable[[bytes], bool]) -> bool:
        """Hand the bytes to a one-way check such as a password hash; only its answer comes out."""
        return bool(check(self._raw))

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(f"{self!r} cannot be copied, serialised or converted")

    __bytes__ = __getstate__ = __reduce__ = __reduce_ex__ = __copy__ = __deepcopy__ = _refuse
    __iter__ = __getitem__ = __index__ = __int__ = _refuse


class Sealed:
    """Ciphertext that may be stored: a function that takes ``Sealed`` cannot be handed a ``Secret``."""

    __slots__ = ("blob", "label")

    def __init__(self, blob: bytes, label: str) -> None:
        self.blob = bytes(blob)
        self.label = label

    def __repr__(self) -> str:
        return f"<{self.label}: {len(self.blob)} bytes, sealed>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self.blob == other.blob

    def __hash__(self) -> int:
        return hash(self.blob)


def harden_process() -> None:
    """Make this process non-dumpable and forbid core files (Linux: prctl PR_SET_DUMPABLE, RLIMIT_CORE)."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_hardened() -> bool:
    """True when nobody of this user can look into this process and it leaves no core file; only Linux tells."""
    if not sys.platform.startswith("linux"):
        return False
    import resource

    dumpable = ctypes.CDLL(None, use_errno=True).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    return dumpable == 0 and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
