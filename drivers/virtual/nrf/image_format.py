"""How the synthetic firmware of the virtual Nordic parts says what it is: vector table, header, descriptor, filler.

The header lies at a fixed offset in the flash of its core and carries a digest over the whole image: bytes of which one
differs are not that image, and a core that starts with them locks up as one that runs garbage.

Header (little-endian): 8 bytes magic, u32 length of the whole image, u32 length of the descriptor, 32 bytes SHA-256
over the image with these 32 bytes as zeros; the descriptor (JSON, ASCII) follows.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

HEADER_AT = 0x200
MAGIC = b"NRFVBIMG"
_HEADER = struct.Struct("<8sII32s")
_DIGEST = slice(HEADER_AT + 16, HEADER_AT + 48)
STACK_SIZE = 0x2000
VECTORS = 64


@dataclass(frozen=True, slots=True)
class Image:
    """What a core found in its flash: the descriptor of an image whose digest is right."""

    descriptor: Mapping[str, Any]
    length: int

    @property
    def program(self) -> str:
        """Name of the behavioural model."""
        return str(self.descriptor["program"])

    def option(self, name: str) -> Any:
        """One option; the builder writes all of them."""
        return self.descriptor[name]


def pack(descriptor: Mapping[str, Any], flash: int, ram: int, size: int) -> bytes:
    """An image of ``size`` bytes for a core whose flash and RAM start there; ``ValueError`` when it does not fit."""
    text = json.dumps(descriptor, separators=(",", ":"), sort_keys=True).encode("ascii")
    used = HEADER_AT + _HEADER.size + len(text)
    if used > size or size % 4:
        raise ValueError(f"the image needs at least {used} bytes and a multiple of 4, not {size}")
    content = bytearray(_vectors(flash, ram).ljust(HEADER_AT, b"\x00"))
    content += _HEADER.pack(MAGIC, size, len(text), bytes(32)) + text
    content += _filler(text, size - used)
    content[_DIGEST] = hashlib.sha256(content).digest()
    return bytes(content)


def recognise(read: Callable[[int, int], bytes]) -> Image | None:
    """The image at the start of a core's flash, read by offset and length; None when its bytes are not right."""
    magic, length, described, digest = _HEADER.unpack(read(HEADER_AT, _HEADER.size))
    if magic != MAGIC or not HEADER_AT + _HEADER.size + described <= length <= 0x10_0000:
        return None
    content = bytearray(read(0, length))
    content[_DIGEST] = bytes(32)
    if len(content) != length or hashlib.sha256(content).digest() != digest:
        return None
    start = HEADER_AT + _HEADER.size
    return Image(json.loads(content[start : start + described]), length)


def _vectors(flash: int, ram: int) -> bytes:
    handlers = [flash + HEADER_AT - 0x80 + 2 * n + 1 for n in range(VECTORS - 1)]  # Thumb addresses
    return struct.pack(f"<{VECTORS}I", ram + STACK_SIZE, *handlers)


def _filler(seed: bytes, size: int) -> bytes:
    # Each line of 256 bytes repeats one digest: no page is blank, and the files stay small in a repository.
    start = hashlib.sha256(seed).digest()
    lines = (hashlib.sha256(start + n.to_bytes(4, "little")).digest() * 8 for n in range(-(-size // 256)))
    return b"".join(lines)[:size]
