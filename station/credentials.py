"""The station's own key and its credentials, sealed in files of mode 0600 in the data folder.

The key lies beside what it seals: this keeps secrets out of copies, backups and bug reports of single files, not from
somebody who reads the whole folder. A passphrase or the system's keyring goes further (docs/security.md).
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from station.data_folder import write_durably
from station.errors import ConfigError, nearest
from station.model import Realm
from station.secret import Sealed, Secret

NONCE = 12
SEALED_MAGIC = b"PSC1"
RAW_UNLOCK = "raw_unlock_token"

# Published with the open-source netlist (opentitan-device sheet 3.6): a u128 literal, little-endian on the wire.
PUBLIC_RAW_UNLOCK = (0xEA2B3F32CBE77554E43C8EA7EBF197C2).to_bytes(16, "little")

KNOWN_SHA256 = frozenset(
    hashlib.sha256(value).hexdigest()
    for value in (
        PUBLIC_RAW_UNLOCK,
        PUBLIC_RAW_UNLOCK[::-1],
        bytes(16),
        b"\xff" * 16,
        b"test_password",
        b"password",
    )
)
"""Digests of values that anybody can read somewhere; refused in realm production."""


class CredentialStore:
    """Credentials by name, and the station's key (AES-256-GCM) for what may be recorded."""

    def __init__(self, folder: Path, realm: Realm) -> None:
        self._folder = folder
        self._realm = realm
        self._key = self._station_key()

    def credential(self, name: str) -> Secret:
        """A credential; realm dev falls back to the published RAW unlock token."""
        path = self._path(name)
        if path.exists():
            raw = self._open(path, name)
            self._refuse_known(name, raw)
            return Secret(raw, name)
        if name == RAW_UNLOCK and self._realm is Realm.DEV:
            return Secret(PUBLIC_RAW_UNLOCK, "raw_unlock_token (published)")
        known = self.names()
        raise ConfigError(f"expected the credential '{name}'{nearest(name, known)}; store it with `station doctor "
                          f"--store {name}`")  # fmt: skip

    def names(self, prefix: str = "") -> list[str]:
        """Names of the stored credentials that begin with a prefix."""
        return sorted(path.stem for path in self._folder.glob(f"{prefix}*.sealed"))

    def store(self, name: str, raw: bytes) -> None:
        """Seal a credential into its file; publicly known values are refused in realm production."""
        self._refuse_known(name, raw)
        self._write(self._path(name), self.seal(raw, name).blob)

    def seal(self, raw: bytes, label: str) -> Sealed:
        """Encrypt to the station's key; the label is authenticated."""
        nonce = os.urandom(NONCE)
        return Sealed(SEALED_MAGIC + nonce + AESGCM(self._key).encrypt(nonce, raw, label.encode()), label)

    def unseal(self, sealed: Sealed) -> bytes:
        """Open what ``seal`` made with the same label."""
        blob = sealed.blob
        if blob[:4] != SEALED_MAGIC or len(blob) < 4 + NONCE + 16:
            raise ConfigError(f"expected {sealed.label} sealed by this station, found something else")
        try:
            return AESGCM(self._key).decrypt(blob[4 : 4 + NONCE], blob[4 + NONCE :], sealed.label.encode())
        except InvalidTag:
            raise ConfigError(
                f"{sealed.label} was sealed with another station key or was changed; restore the data folder as a whole"
            ) from None

    def _station_key(self) -> bytes:
        path = self._folder / "station.key"
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            key = AESGCM.generate_key(256)
            self._write(path, key)
        except OSError as error:
            raise ConfigError(f"expected to read {path}, but: {error.strerror}") from None
        if len(key) != 32:
            raise ConfigError(f"expected a key of 32 bytes in {path}, found {len(key)}; restore it from a copy")
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} can be read by others; run: chmod 600 {path}")
        return key

    def _refuse_known(self, name: str, raw: bytes) -> None:
        if self._realm is Realm.PRODUCTION and hashlib.sha256(raw).hexdigest() in KNOWN_SHA256:
            raise ConfigError(f"the credential '{name}' is publicly known; realm production needs a private one")

    def _open(self, path: Path, name: str) -> bytes:
        return self.unseal(Sealed(path.read_bytes(), name))

    def _path(self, name: str) -> Path:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
            raise ConfigError(f"expected a credential name of small letters, digits and underscores, found {name!r}")
        return self._folder / f"{name}.sealed"

    def _write(self, path: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(path, content)
