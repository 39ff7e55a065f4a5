"""Operators: names, roles, PINs as argon2id hashes, and a lockout that grows with every wrong PIN.

A PIN here is no security against somebody who owns this computer; the operating system and the appliance are.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from station.data_folder import write_durably
from station.errors import ConfigError, Refused
from station.model import Role
from station.secret import Secret

PIN_DIGITS = 6
FREE_TRIES = 3
FIRST_DELAY = 5.0
LONGEST_DELAY = 900.0
RANK = {Role.OPERATOR: 0, Role.ENGINEER: 1, Role.SUPERVISOR: 2}


@dataclass(slots=True)
class Operator:
    """One operator as stored; ``failed`` counts wrong PINs in a row, ``locked_until`` is wall time."""

    name: str
    role: Role
    pin_hash: str
    failed: int = 0
    locked_until: float = 0.0


class Operators:
    """The operators of one data folder; every change is written before it counts."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / "operators.json"
        self._clock = clock
        self._hasher = PasswordHasher()
        self._guard = threading.Lock()
        self._all = self._read()

    def names(self) -> list[tuple[str, Role]]:
        """Name and role of everybody."""
        return [(operator.name, operator.role) for operator in self._all.values()]

    def has_supervisor(self) -> bool:
        """True when somebody may add operators and release parts."""
        return any(operator.role is Role.SUPERVISOR for operator in self._all.values())

    def add(self, name: str, role: Role, pin: bytes) -> None:
        """Add an operator or give one a new role and PIN; refuses short and trivial PINs."""
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", name):
            raise ConfigError("expected an operator name of 1 to 32 letters, digits, dots or hyphens")
        _check_pin(pin)
        with self._guard:
            self._all = self._read()
            self._all[name] = Operator(name, role, self._hasher.hash(pin))
            self._write()

    def sign_in(self, name: str, pin: Secret) -> Role:
        """The operator's role; raises ``Refused`` with the same sentence for an unknown name and a wrong PIN."""
        with self._guard:
            self._all = self._read()  # somebody may have been added meanwhile
            operator = self._all.get(name)
            if operator is None:
                self._hasher.hash(b"as slow as for a known name")
                raise Refused("name or PIN is wrong")
            self._refuse_locked(operator)
            if not self._right(operator, pin):
                self._punish(operator)
                raise Refused("name or PIN is wrong")
            if operator.failed:
                operator.failed, operator.locked_until = 0, 0.0
                self._write()
            return operator.role

    def _refuse_locked(self, operator: Operator) -> None:
        left = min(operator.locked_until - self._clock(), LONGEST_DELAY)  # a clock set back locks nobody out for good
        if left > 0:
            raise Refused(f"too many wrong PINs; try again in {left:.0f} s")

    def _right(self, operator: Operator, pin: Secret) -> bool:
        try:
            return pin.passes(lambda raw: self._hasher.verify(operator.pin_hash, raw))
        except (VerificationError, InvalidHashError):
            return False

    def _punish(self, operator: Operator) -> None:
        operator.failed += 1
        if operator.failed >= FREE_TRIES:
            delay = min(FIRST_DELAY * 2 ** (operator.failed - FREE_TRIES), LONGEST_DELAY)
            operator.locked_until = self._clock() + delay
        self._write()

    def _read(self) -> dict[str, Operator]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
            return {entry["name"]: Operator(**{**entry, "role": Role(entry["role"])}) for entry in entries}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError):
            raise ConfigError(f"expected the list of operators in {self._path}, but it cannot be read") from None

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(self._path, json.dumps([asdict(operator) for operator in self._all.values()], indent=1))


def may(role: Role | None, least: Role) -> bool:
    """True when a role is at least another."""
    return role is not None and RANK[role] >= RANK[least]


def _check_pin(pin: bytes) -> None:
    if not re.fullmatch(rb"[0-9]{%d,64}" % PIN_DIGITS, pin):
        raise ConfigError(f"expected a PIN of at least {PIN_DIGITS} digits")
    steps = {(following - digit) % 10 for digit, following in pairwise(pin)}
    if len(steps) == 1 and steps <= {0, 1, 9}:
        raise ConfigError("this PIN is one digit repeated or a plain sequence; choose another")
