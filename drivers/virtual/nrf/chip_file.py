"""What a virtual Nordic part keeps without power; each change is in its folder at once.

Files: ``nrf.json`` (kind, seed, device id, what was burnt twice, erasures), and per core ``flash_CORE.bin`` and
``uicr_CORE.bin`` (the raw bytes); behind the application core's UICR the number of UICR writes as u64 little-endian.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drivers.virtual.nrf.silicon import NVM_SIZE, CoreSilicon, Silicon

DOCUMENT = "nrf.json"
_DEVICE_ID = struct.Struct("<2I")


class Stored:
    """Bytes of one non-volatile memory; a change is in its file when the call returns."""

    def __init__(self, path: Path, size: int) -> None:
        if not path.exists() or path.stat().st_size < size:
            path.write_bytes(b"\xff" * size)
        self._file = io.FileIO(path, "r+")  # unbuffered: a killed bench loses nothing
        self.content = bytearray(self._file.read(size))

    def put(self, offset: int, data: bytes) -> None:
        """Keep these bytes."""
        self.content[offset : offset + len(data)] = data
        self.put_file(offset, data)

    def put_file(self, offset: int, data: bytes) -> None:
        """Keep bytes in the file only (behind the memory)."""
        self._file.seek(offset)
        self._file.write(data)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


class ChipFile:
    """The persistent half of one part."""

    def __init__(self, folder: Path, silicon: Silicon) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / DOCUMENT
        document = self._load(folder, silicon)
        self.seed = bytes.fromhex(document["seed"])
        self.device_id: tuple[int, int] = tuple(document["device_id"])
        self.double_burns: list[dict[str, Any]] = document["double_burns"]
        self.second_runs: list[dict[str, Any]] = document["second_runs"]
        self.erase_alls: list[dict[str, Any]] = document["erase_alls"]
        self._kind = silicon.name
        self._flash = {
            core.name: self._open(folder, f"flash_{core.name}.bin", core.flash_size) for core in silicon.cores
        }
        self._uicr = {core.name: self._open(folder, f"uicr_{core.name}.bin", NVM_SIZE) for core in silicon.cores}
        self.uicr_writes = self._read_counter(folder / "uicr_app.bin")
        if not self._path.exists():
            self._save()

    def flash(self, core: CoreSilicon) -> Stored:
        """Flash of a core."""
        return self._flash[core.name]

    def uicr(self, core: CoreSilicon) -> Stored:
        """UICR of a core."""
        return self._uicr[core.name]

    def count_uicr_write(self) -> int:
        """Number the next UICR write (1 = the first of this part's life)."""
        self.uicr_writes += 1
        self._uicr["app"].put_file(NVM_SIZE, self.uicr_writes.to_bytes(8, "little"))
        return self.uicr_writes

    def add_double_burn(self, word: str, old: int, new: int, who: str) -> None:
        """Record that a word which was written already was to be written again."""
        self.double_burns.append({"word": word, "old": old, "new": new, "who": who, **self._when()})
        self._save()

    def add_second_run(self, lcs: tuple[int, int], cause: str) -> None:
        """Record that the provisioning image ran on a part that is not in ASSEMBLY; ``cause`` is that of the reset."""
        self.second_runs.append({"lcs": list(lcs), "cause": cause, **self._when()})
        self._save()

    def add_erase_all(self, core: str, by: str) -> None:
        """Record that everything of a core was erased."""
        self.erase_alls.append({"core": core, "by": by, **self._when()})
        self._save()

    def close(self) -> None:
        """Release the files."""
        for stored in (*self._flash.values(), *self._uicr.values()):
            stored.close()

    def _when(self) -> dict[str, Any]:
        return {"when": datetime.now(UTC).isoformat(timespec="milliseconds"), "uicr_write": self.uicr_writes}

    def _open(self, folder: Path, name: str, size: int) -> Stored:
        return Stored(folder / name, size)

    def _read_counter(self, path: Path) -> int:
        return int.from_bytes(path.read_bytes()[NVM_SIZE : NVM_SIZE + 8], "little")

    def _load(self, folder: Path, silicon: Silicon) -> dict[str, Any]:
        if not self._path.exists():
            return _new_document(folder, silicon)
        document: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
        if document["kind"] != silicon.name:
            raise ValueError(f"expected a part of kind {silicon.name} in {folder}, found {document['kind']}")
        return document

    def _save(self) -> None:
        document = {
            "kind": self._kind,
            "seed": self.seed.hex(),
            "device_id": list(self.device_id),
            "double_burns": self.double_burns,
            "second_runs": self.second_runs,
            "erase_alls": self.erase_alls,
        }
        temporary = self._path.with_name(DOCUMENT + ".new")
        temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
        os.replace(temporary, self._path)


def _new_document(folder: Path, silicon: Silicon) -> dict[str, Any]:
    chosen = folder / "identity.json"
    identity = json.loads(chosen.read_text("utf-8")) if chosen.exists() else {}
    seed = identity.get("seed") or os.urandom(32).hex()
    device_id = _DEVICE_ID.unpack(hashlib.sha256(b"DEVICEID" + bytes.fromhex(seed)).digest()[:8])
    lists: dict[str, Any] = {"double_burns": [], "second_runs": [], "erase_alls": []}
    return {"kind": silicon.name, "seed": seed, "device_id": list(device_id), **lists}
