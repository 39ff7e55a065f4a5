"""Frames of the SPI console that CP and FT firmware speak.

Source: opentitan-device sheet 2.3. A frame from the DUT is a 12-byte little-endian header (magic, frame number,
data length), the data, and 0xFF up to a multiple of four bytes. The host answers with page-program transactions of
at most 256 bytes: address 0x000 for every chunk but the last, 0x100 for the last one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from station.errors import FormatError

HEADER = 12
MAGIC = 0xA5A5BEEF
BOOT_MAGIC = 0xCAFEB002
"""Fills the header in polling mode until the host writes it back to address 0."""

BUFFER = 2048
MAX_PAYLOAD = 2020
"""Largest data length a DUT sends (2048 - 12 - 12 - 4)."""

HOST_MAX_PAYLOAD = 2036
"""Largest data length the host accepts (2048 - 12)."""

CHUNK = 256
ADDRESS_MORE = 0x000
ADDRESS_FINAL = 0x100


@dataclass(frozen=True, slots=True)
class Header:
    """Header of one frame: its number (32 bits, from 0 after each reset) and the length of its data in bytes."""

    number: int
    length: int

    @property
    def body_length(self) -> int:
        """Bytes to read after the header: the data length rounded up to a multiple of four."""
        return padded_length(self.length)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame from the DUT."""

    number: int
    payload: bytes


def padded_length(length: int) -> int:
    """``length`` rounded up to a multiple of four."""
    return (length + 3) & ~3


def pack_header(number: int, length: int) -> bytes:
    """The 12 header bytes of a frame (DUT side)."""
    if not 0 <= number < 1 << 32 or not 0 <= length <= HOST_MAX_PAYLOAD:
        raise FormatError(
            f"expected a frame number of 32 bits and at most {HOST_MAX_PAYLOAD} bytes, saw {length} bytes"
        )
    return struct.pack("<III", MAGIC, number, length)


def pack_frame(number: int, payload: bytes) -> bytes:
    """A whole frame with padding (DUT side); the payload is 1 to 2020 bytes."""
    if not 0 < len(payload) <= MAX_PAYLOAD:
        raise FormatError(f"expected 1 to {MAX_PAYLOAD} bytes in a console frame, saw {len(payload)}: split the text")
    return pack_header(number, len(payload)) + payload.ljust(padded_length(len(payload)), b"\xff")


def split_frames(text: bytes, first_number: int = 0) -> list[bytes]:
    """The frames in which a DUT sends a long text: 2020 bytes each, numbered from ``first_number``."""
    pieces = [text[start : start + MAX_PAYLOAD] for start in range(0, len(text), MAX_PAYLOAD)]
    return [pack_frame((first_number + index) & 0xFFFFFFFF, piece) for index, piece in enumerate(pieces)]


def parse_header(header: bytes) -> Header:
    """Read the 12 header bytes; raises FormatError for junk (wrong magic or too long), which means "no data"."""
    if len(header) != HEADER:
        raise FormatError(f"expected {HEADER} header bytes, saw {len(header)}: read the frame again")
    magic, number, length = struct.unpack("<III", header)
    if magic != MAGIC:
        raise FormatError(f"expected console frame magic 0x{MAGIC:08x}, saw 0x{magic:08x}: check SPI wiring and reset")
    if length > HOST_MAX_PAYLOAD:
        raise FormatError(f"expected at most {HOST_MAX_PAYLOAD} bytes in a frame, saw {length}: read the frame again")
    return Header(number, length)


def parse_frame(data: bytes, expected_number: int | None = None) -> Frame:
    """Read one frame of header, data and padding; with ``expected_number`` another number raises FormatError."""
    header = parse_header(data[:HEADER])
    if expected_number is not None and header.number != expected_number:
        raise FormatError(
            f"expected console frame {expected_number}, saw {header.number}: reset part and counter together"
        )
    body = data[HEADER:]
    if len(body) != header.body_length:
        raise FormatError(
            f"expected {header.body_length} bytes after the header, saw {len(body)}: read the frame again"
        )
    if body[header.length :].strip(b"\xff"):
        raise FormatError("expected 0xff padding after the frame's data: check SPI signal quality")
    return Frame(header.number, body[: header.length])


def next_address(address: int, length: int) -> int:
    """Polling mode: where in the 2048-byte ring the frame after one of ``length`` data bytes starts."""
    return (address + HEADER + padded_length(length)) % BUFFER


def host_chunks(payload: bytes) -> list[tuple[int, bytes]]:
    """Page programs (address, 1 to 256 bytes) that carry one message to the DUT; only the last has address 0x100."""
    if not payload:
        raise FormatError("expected a message for the part's console, saw none")
    pieces = [payload[start : start + CHUNK] for start in range(0, len(payload), CHUNK)]
    return [(ADDRESS_MORE, piece) for piece in pieces[:-1]] + [(ADDRESS_FINAL, pieces[-1])]
