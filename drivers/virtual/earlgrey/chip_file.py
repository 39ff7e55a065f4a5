"""What a virtual chip keeps without power: fuses, flash, identity; each change is in its folder at once.

Files: ``chip.json`` (identity, seed, burns over written words), ``fuses.bin`` (1024 words of 22 bits as u32
little-endian, then the number of fuse writes as u64), ``flash_data.bin`` (1 MiB), ``flash_info.bin`` (2 banks of 10
pages of 2 KiB).
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FUSE_WORDS = 1024
DATA_SIZE = 0x10_0000
INFO_PAGE = 2048
INFO_PAGES = 10
_COUNTER_AT = 4 * FUSE_WORDS


@dataclass(frozen=True, slots=True)
class Identity:
    """Where the die was on its wafer and what probing found; ``label`` is what an operator scans."""

    label: str
    lot: int
    wafer: int
    x: int
    y: int
    year: int
    week: int
    ast_version: int


class ChipFile:
    """The persistent half of one chip; every mutating method returns after the change has reached the files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.fresh = not (folder / "chip.json").exists()
        document = _new_document(folder) if self.fresh else json.loads((folder / "chip.json").read_text("utf-8"))
        self.identity = Identity(**document["identity"])
        self.seed = bytes.fromhex(document["seed"])
        self.flash_keyed: bool = document["flash_keyed"]
        self.double_burns: list[dict[str, Any]] = document["double_burns"]
        self._open_binaries()
        if self.fresh:
            self._save_document()

    def _open_binaries(self) -> None:
        self._fuse_file = _open(self._folder / "fuses.bin", bytes(_COUNTER_AT + 8))
        self._data_file = _open(self._folder / "flash_data.bin", b"\xff" * DATA_SIZE)
        self._info_file = _open(self._folder / "flash_info.bin", b"\xff" * (2 * INFO_PAGES * INFO_PAGE))
        raw = _read(self._fuse_file, _COUNTER_AT + 8)
        self.words = [int.from_bytes(raw[4 * n : 4 * n + 4], "little") for n in range(FUSE_WORDS)]
        self.fuse_writes = int.from_bytes(raw[_COUNTER_AT:], "little")
        self.data = bytearray(_read(self._data_file, DATA_SIZE))
        self.info = bytearray(_read(self._info_file, 2 * INFO_PAGES * INFO_PAGE))

    def count_fuse_write(self) -> int:
        """Number the next fuse write (1 = the first of this chip's life)."""
        self.fuse_writes += 1
        _write(self._fuse_file, _COUNTER_AT, self.fuse_writes.to_bytes(8, "little"))
        return self.fuse_writes

    def set_word(self, index: int, value: int) -> None:
        """Keep one 22-bit fuse word."""
        self.words[index] = value
        _write(self._fuse_file, 4 * index, value.to_bytes(4, "little"))

    def set_data(self, offset: int, content: bytes) -> None:
        """Keep bytes of the data flash."""
        self.data[offset : offset + len(content)] = content
        _write(self._data_file, offset, content)

    def set_info(self, offset: int, content: bytes) -> None:
        """Keep bytes of the info flash (page n of bank b starts at ``(b * 10 + n) * 2048``)."""
        self.info[offset : offset + len(content)] = content
        _write(self._info_file, offset, content)

    def set_flash_keyed(self, keyed: bool) -> None:
        """Remember whether the data flash was written with scrambling keys from OTP."""
        if keyed != self.flash_keyed:
            self.flash_keyed = keyed
            self._save_document()

    def add_double_burn(self, address: int, old: int, new: int, who: str) -> None:
        """Record that a fuse word that was not blank was programmed again."""
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = {"address": address, "old": old, "new": new, "who": who, "when": when, "fuse_write": self.fuse_writes}
        self.double_burns.append(entry)
        self._save_document()

    def close(self) -> None:
        """Release the files."""
        for file in (self._fuse_file, self._data_file, self._info_file):
            file.close()

    def _save_document(self) -> None:
        document = {
            "identity": {name: getattr(self.identity, name) for name in Identity.__slots__},
            "seed": self.seed.hex(),
            "flash_keyed": self.flash_keyed,
            "double_burns": self.double_burns,
        }
        temporary = self._folder / "chip.json.new"
        temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
        temporary.replace(self._folder / "chip.json")


def _open(path: Path, initial: bytes) -> io.FileIO:
    if not path.exists() or path.stat().st_size < len(initial):
        path.write_bytes(initial)
    return io.FileIO(path, "r+")  # unbuffered: a killed bench loses nothing


def _read(file: io.FileIO, size: int) -> bytes:
    file.seek(0)
    return file.read(size)


def _write(file: io.FileIO, offset: int, content: bytes) -> None:
    file.seek(offset)
    file.write(content)


def _new_document(folder: Path) -> dict[str, Any]:
    identity = _random_identity()
    chosen = folder / "identity.json"
    if chosen.exists():
        identity |= json.loads(chosen.read_text("utf-8"))
    identity.setdefault("label", "L{lot:03}-W{wafer:02}-X{x:03}-Y{y:03}".format(**identity))
    seed = identity.pop("seed", None) or os.urandom(32).hex()
    return {"identity": identity, "seed": seed, "flash_keyed": False, "double_burns": []}


def _random_identity() -> dict[str, Any]:
    value = int.from_bytes(os.urandom(8), "little")
    limits = {"lot": 1000, "wafer": 25, "x": 120, "y": 120, "year": 10, "week": 52}
    identity: dict[str, Any] = {"ast_version": 7}
    for name, limit in limits.items():
        value, identity[name] = divmod(value, limit)
    return identity
