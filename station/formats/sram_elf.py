"""Programs that run from the part's RAM: the ELF subset that the loader accepts.

Source: opentitan-device sheet 5.2. 32-bit little-endian RISC-V; loadable segments word aligned, alignment at most 256,
back to back and in order; empty ones are skipped; the CRC covers every loaded byte and goes into register a0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from zlib import crc32

from station.errors import FormatError

RAM_BASE = 0x10000000
RAM_SIZE = 0x20000
LOAD_ADDRESS = 0x10001FE8
"""Where upstream programs start: RAM base plus the 8168 bytes that the mask ROM keeps."""

STACK_TOP = RAM_BASE + RAM_SIZE
SP_DONE = 0xCAFEBABE
SP_DONE_NO_CRC = 0xBEEFCAFE
SP_CRC_ERROR = 0xBADDCAFE
A0_SKIP_CRC = 0xBEEFCAFE
MAX_ALIGNMENT = 256

_EHDR = struct.Struct("<16sHHIIIIIHHHHHH")
_PHDR = struct.Struct("<8I")
_PT_LOAD = 1
_ET_EXEC = 2
_EM_RISCV = 243
_IDENT = b"\x7fELF\x01\x01\x01"


@dataclass(frozen=True, slots=True)
class SramProgram:
    """A program ready to load: byte address, data (whole 32-bit words), entry address, CRC-32 of the data."""

    address: int
    data: bytes
    entry: int
    crc32: int

    @property
    def words(self) -> tuple[int, ...]:
        """The data as little-endian 32-bit words."""
        return struct.unpack(f"<{len(self.data) // 4}I", self.data)


@dataclass(frozen=True, slots=True)
class _Segment:
    address: int
    data: bytes


def parse(elf: bytes) -> SramProgram:
    """Read an ELF file; anything the loader cannot load safely raises FormatError."""
    entry, table_offset, entry_size, count = _header(elf)
    if count == 0 or entry_size != _PHDR.size:
        raise FormatError("expected program headers in the RAM program, saw none: link it as an executable")
    segments = [
        segment
        for index in range(count)
        if (segment := _segment(elf, table_offset + index * entry_size, index)) is not None
    ]
    if not segments:
        raise FormatError("expected a loadable segment in the RAM program, saw none: check the linker script")
    address, data = segments[0].address, _joined(segments)
    if not RAM_BASE <= address <= address + len(data) <= RAM_BASE + RAM_SIZE:
        raise FormatError(f"expected a program inside RAM, saw 0x{address:08x} to 0x{address + len(data):08x}")
    if not address <= entry < address + len(data) or entry % 2:
        raise FormatError(f"expected the entry point inside the program, saw 0x{entry:08x}: check the linker script")
    return SramProgram(address, data, entry, crc32(data))


def build(address: int, data: bytes, entry: int | None = None) -> bytes:
    """An ELF file with one segment of ``data`` (whole words) at ``address``; the entry is its start by default."""
    if len(data) % 4 or not data:
        raise FormatError(f"expected whole 32-bit words for a RAM program, saw {len(data)} bytes")
    ident = _IDENT.ljust(16, b"\0")
    start = address if entry is None else entry
    header = _EHDR.pack(ident, _ET_EXEC, _EM_RISCV, 1, start, _EHDR.size, 0, 0, _EHDR.size, _PHDR.size, 1, 40, 0, 0)
    offset = _EHDR.size + _PHDR.size
    segment = _PHDR.pack(_PT_LOAD, offset, address, address, len(data), len(data), 7, 4)
    return header + segment + data


def _header(elf: bytes) -> tuple[int, int, int, int]:
    if len(elf) < _EHDR.size or elf[: len(_IDENT)] != _IDENT:
        raise FormatError("expected a 32-bit little-endian ELF file: check which image the SKU pack names")
    fields = _EHDR.unpack_from(elf)
    kind, machine, entry, table_offset, entry_size, count = (fields[index] for index in (1, 2, 4, 5, 9, 10))
    if kind != _ET_EXEC or machine != _EM_RISCV:
        raise FormatError(f"expected an executable for RISC-V, saw type {kind} for machine {machine}: check the image")
    return entry, table_offset, entry_size, count


def _segment(elf: bytes, position: int, index: int) -> _Segment | None:
    if position + _PHDR.size > len(elf):
        raise FormatError(f"expected program header {index} inside the file, saw its end: the image is cut off")
    kind, offset, address, _, size, memory_size, _, alignment = _PHDR.unpack_from(elf, position)
    if kind != _PT_LOAD or size == 0:
        return None
    if alignment > MAX_ALIGNMENT:
        raise FormatError(f"expected segment alignment of at most {MAX_ALIGNMENT}, saw {alignment}: link with nmagic")
    if address % 4 or size % 4:
        raise FormatError(f"expected segment {index} in whole words, saw {size} bytes at 0x{address:08x}")
    if memory_size < size or offset + size > len(elf):
        raise FormatError(f"expected all of segment {index} inside the file, saw its end: the image is cut off")
    return _Segment(address, elf[offset : offset + size])


def _joined(segments: list[_Segment]) -> bytes:
    end = segments[0].address
    for segment in segments:
        if segment.address != end:
            raise FormatError(f"expected segments back to back, saw 0x{segment.address:08x} after 0x{end:08x}")
        end += len(segment.data)
    return b"".join(segment.data for segment in segments)
