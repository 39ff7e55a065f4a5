"""Where a passphrase or PIN comes from: a private file, an inherited file descriptor, a service credential, a prompt.

In ``appliance.toml``: ``keystore.pin`` (a file of the appliance folder), ``fd:3``, ``credential:hsm-pin`` (a file of
systemd's ``$CREDENTIALS_DIRECTORY``) or ``prompt``. Never the command line or an own variable: others can see both.
"""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from station.appliance.files import require_private
from station.errors import ConfigError
from station.secret import Secret

LIMIT = 4096
DIRECTORY = "CREDENTIALS_DIRECTORY"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """One place; ``value`` is a path, a number, a credential's name or nothing."""

    kind: Literal["file", "fd", "credential", "prompt"]
    value: str = ""

    def __str__(self) -> str:
        names = {"file": self.value, "fd": f"file descriptor {self.value}", "prompt": "the prompt"}
        return names.get(self.kind, f"the service credential {self.value}")

    @property
    def lasts(self) -> bool:
        """True when it can be read a second time."""
        return self.kind in ("file", "credential")


def parse_source(text: str, folder: Path) -> SecretSource:
    """The source that a line of the settings names; a plain path is a file of ``folder``."""
    if text == "prompt":
        return SecretSource("prompt")
    kind, colon, value = text.partition(":")
    if kind == "fd" and colon:
        if not re.fullmatch(r"\d{1,6}", value):
            raise ConfigError(f"expected a number after fd:, saw {value!r}: write fd:3 for the descriptor 3")
        return SecretSource("fd", value)
    if kind == "credential" and colon:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", value):
            raise ConfigError(f"expected the name of a service credential, saw {value!r}: letters, digits, . _ and -")
        return SecretSource("credential", value)
    return SecretSource("file", str(folder / text))


def read_secret(source: SecretSource, label: str) -> Secret:
    """Read it now, without surrounding white space; ``label`` names it in prompts and sentences."""
    try:
        raw = _READERS[source.kind](source.value, label)
    except OSError as error:
        raise ConfigError(f"expected the {label} from {source}: {error.strerror or error}; provide it") from None
    raw = raw.strip()
    if not raw or len(raw) > LIMIT:
        raise ConfigError(f"expected the {label} from {source}: saw {'nothing' if not raw else 'too much'}; correct it")
    return Secret(raw, label)


def choose_secret(source: SecretSource, label: str) -> Secret:
    """Read a new one; at the prompt it is asked for twice, as nothing else tells a slip of the finger."""
    chosen = read_secret(source, label)
    if source.kind == "prompt" and chosen != read_secret(source, f"{label} again"):
        raise ConfigError(f"expected the same {label} twice, saw two: begin again")
    return chosen


def reader(source: SecretSource, label: str) -> Callable[[], Secret]:
    """A function that gives the secret as it is now; what can be read once only is read here and kept."""
    if source.lasts:
        return lambda: read_secret(source, label)
    kept = read_secret(source, label)
    return lambda: kept


def _from_file(value: str, label: str) -> bytes:
    Path(value).stat()  # a file that is not there is told by what it is for
    require_private(Path(value))
    return _beginning(Path(value))


def _from_descriptor(value: str, label: str) -> bytes:
    with os.fdopen(int(value), "rb") as file:
        return file.read(LIMIT + 1)


def _from_credential(value: str, label: str) -> bytes:
    """Its mode says nothing: systemd guards the folder and grants the service's user by an access list."""
    folder = os.environ.get(DIRECTORY)
    if not folder:
        raise ConfigError(
            f"expected {DIRECTORY} for the {label}: start as a service with LoadCredential={value}:FILE, or name a file"
        )
    return _beginning(Path(folder) / value)


def _from_prompt(value: str, label: str) -> bytes:
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(f"expected a terminal to ask for the {label}: name a file, descriptor or credential instead")
    try:
        return getpass.getpass(f"{label}: ").encode()
    except EOFError:
        return b""


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LIMIT + 1)


_READERS: dict[str, Callable[[str, str], bytes]] = {
    "file": _from_file,
    "fd": _from_descriptor,
    "credential": _from_credential,
    "prompt": _from_prompt,
}
