"""How the synthetic firmware images carry what the behavioural models need: descriptor, manifest, ELF.

A descriptor says which program the bytes are and holds its tables; it lies inside the measured bytes, so a changed
table is a changed image. A manifest opens each flash slot; its digest stands in for the ROM's signature check.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

SLOT_B = 0x8_0000
OWNER = 0x9_0000
STUB_SIZE = 0x100
DESCRIPTOR_IN_SLOT = 0x400
_DESCRIPTOR = b"OTVBPROG"
_MANIFEST = struct.Struct("<32s32x4s6I")
_SIGNED_FROM = 64
ROM_EXT_ID, OWNER_ID = b"OTRE", b"OTB0"


@dataclass(frozen=True)
class SramImage:
    """A program for SRAM: where its bytes go, where it starts, and its descriptor."""

    address: int
    data: bytes
    entry: int

    @cached_property
    def descriptor(self) -> Mapping[str, Any]:
        """Which program this is, with its tables."""
        return unpack_descriptor(self.data, STUB_SIZE)

    @cached_property
    def crc(self) -> int:
        """CRC-32 over all loaded bytes."""
        return crc32(self.data)


@dataclass(frozen=True, slots=True)
class FlashImage:
    """A verified image of a flash slot."""

    identifier: bytes
    major: int
    minor: int
    security_version: int
    manuf_state: int | None  # usage constraint: only valid with this MANUF_STATE word
    measurement: bytes
    descriptor: Mapping[str, Any]


def pack_descriptor(content: Mapping[str, Any]) -> bytes:
    """Magic, length, JSON."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    return _DESCRIPTOR + struct.pack("<I", len(text)) + text


def unpack_descriptor(data: bytes, offset: int) -> Mapping[str, Any]:
    """The descriptor at an offset; raises ``ValueError`` when there is none."""
    if data[offset : offset + 8] != _DESCRIPTOR:
        raise ValueError("the image carries no program descriptor")
    (length,) = struct.unpack_from("<I", data, offset + 8)
    content = json.loads(data[offset + 12 : offset + 12 + length])
    if not isinstance(content, dict):
        raise ValueError("the program descriptor is not an object")
    return content


def pack_slot(identifier: bytes, version: tuple[int, int, int], body: bytes, manuf_state: int | None) -> bytes:
    """Manifest, descriptor and filler as one image; ``version`` is major, minor, security version."""
    constraint = (0, 0) if manuf_state is None else (1, manuf_state)
    head = _MANIFEST.pack(bytes(32), identifier, DESCRIPTOR_IN_SLOT + len(body), *version, *constraint)
    signed = (head.ljust(DESCRIPTOR_IN_SLOT, b"\0") + body)[_SIGNED_FROM:]
    return hashlib.sha256(signed).digest() + bytes(32) + signed


def check_slot(content: bytes) -> FlashImage | None:
    """The image at the start of ``content`` when its manifest is plausible and its digest right; else None."""
    digest, identifier, length, major, minor, security, constrained, manuf_state = _MANIFEST.unpack_from(content)
    if identifier not in (ROM_EXT_ID, OWNER_ID) or not DESCRIPTOR_IN_SLOT < length <= len(content):
        return None
    measurement = hashlib.sha256(content[_SIGNED_FROM:length]).digest()
    if measurement != digest:
        return None
    descriptor = unpack_descriptor(content, DESCRIPTOR_IN_SLOT)
    state = manuf_state if constrained else None
    return FlashImage(identifier, major, minor, security, state, measurement, descriptor)


def pack_elf(image: SramImage) -> bytes:
    """A 32-bit RISC-V executable with a text segment, a data segment right behind it, and an empty one."""
    split = len(image.data) // 2 & ~0xFF
    pieces = [image.data[:split], image.data[split:], b""]
    header = struct.pack(
        "<16sHHIIIIIHHHHHH",
        b"\x7fELF\x01\x01\x01".ljust(16, b"\0"), 2, 243, 1, image.entry, 52, 0, 0x1, 52, 32, len(pieces), 0, 0, 0,
    )  # fmt: skip
    offset, address = 0x1000, image.address
    table = b""
    for number, piece in enumerate(pieces):
        flags = 5 if number == 0 else 6
        table += struct.pack("<8I", 1, offset, address, address, len(piece), len(piece), flags, 4)
        offset += len(piece)
        address += len(piece)
    return (header + table).ljust(0x1000, b"\0") + image.data


def read_elf(content: bytes) -> SramImage:
    """Loadable segments of an ELF file, joined in address order; raises ``ValueError`` when it is none."""
    if content[:5] != b"\x7fELF\x01":
        raise ValueError("not a 32-bit ELF file")
    entry, table = struct.unpack_from("<II", content, 24)
    size, count = struct.unpack_from("<HH", content, 42)
    rows = (struct.unpack_from("<8I", content, table + n * size) for n in range(count))
    parts = sorted((row[3], content[row[1] : row[1] + row[4]]) for row in rows if row[0] == 1 and row[4])
    return SramImage(parts[0][0], b"".join(data for _, data in parts), entry)


class Library:
    """The SRAM programs that the bench knows, found by the digest of their bytes in memory."""

    def __init__(self, folder: Path) -> None:
        self._by_entry: dict[int, list[SramImage]] = {}
        for path in sorted(folder.rglob("*.elf")):
            image = read_elf(path.read_bytes())
            self._by_entry.setdefault(image.entry, []).append(image)

    def at(self, entry: int) -> list[SramImage]:
        """Programs that start at this address."""
        return self._by_entry.get(entry, [])
