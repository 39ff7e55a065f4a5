"""Intel HEX files: contiguous blocks of bytes, and the line that each address stands in.

Records, checksums and overlaps are the library's affair (``intelhex``); it stops at the first end record and says
nothing of what is missing or follows, so that this is looked at here. Source: Intel Hexadecimal Object File Format
Specification, revision A.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from intelhex import AddressOverlapError, HexReaderError, IntelHex, RecordChecksumError, RecordLengthError

from station.errors import FormatError

MOST_BYTES = 32 << 20
DATA, END, SEGMENT_BASE, LINEAR_BASE = 0, 1, 2, 4
RECORD_BANK = 0x1_0000


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes without a gap, and the address of the first."""

    address: int
    data: bytes = field(repr=False)

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + len(self.data)


@dataclass(frozen=True, slots=True)
class HexFinding:
    """One thing wrong with an image; line 0 means the whole file."""

    line: int
    sentence: str


class HexError(FormatError):
    """A HEX file that cannot be used; ``findings`` says why, line by line."""

    def __init__(self, *findings: HexFinding) -> None:
        self.findings = findings
        super().__init__("; ".join(f"line {o.line}: {o.sentence}" if o.line else o.sentence for o in findings))


@dataclass(frozen=True, slots=True)
class HexFile:
    """One file as memory content."""

    blocks: tuple[Block, ...]
    _starts: tuple[int, ...] = field(repr=False)
    _lines: tuple[int, ...] = field(repr=False)

    def line_of(self, address: int) -> int:
        """The line whose record holds this address."""
        index = bisect_right(self._starts, address) - 1
        return self._lines[index] if index >= 0 else 0


def read(data: bytes) -> HexFile:
    """Read a file; raises ``HexError``."""
    text = _text(data)
    lines = text.splitlines()
    image = _loaded(lines)
    places = sorted(_checked_places(lines))
    if not places:
        raise HexError(HexFinding(0, "expected an image with content, saw a HEX file without any data record"))
    blocks = tuple(Block(start, image.tobinstr(start=start, end=end - 1)) for start, end in image.segments())
    return HexFile(blocks, tuple(start for start, _ in places), tuple(line for _, line in places))


def _text(data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise HexError(HexFinding(0, f"expected a HEX file of at most {MOST_BYTES >> 20} MiB, saw {len(data)} bytes"))
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        seen = f"expected Intel HEX text, saw byte {data[error.start]:#04x}; is this a binary image?"
        raise HexError(HexFinding(line, seen)) from None


def _loaded(lines: list[str]) -> IntelHex:
    image = IntelHex()
    try:
        image.loadhex(_Lines(lines))
    except HexReaderError as error:
        raise HexError(HexFinding(int(error.line), _sentence(error))) from None
    return image


def _sentence(error: HexReaderError) -> str:
    if isinstance(error, AddressOverlapError):
        return f"expected each address once, saw {error.address:#x} in an earlier record too; build the file again"
    if isinstance(error, RecordChecksumError):
        return "expected a record whose bytes add up to 0, saw another sum; copy the file again"
    if isinstance(error, RecordLengthError):
        return "expected as many bytes as the record says, saw another number; copy the file again"
    return "expected an Intel HEX record ':' LENGTH ADDRESS TYPE DATA CHECKSUM, saw something else"


def _checked_places(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Start address and line of each data record of a file that the library has read; one end record must close it."""
    base, ended = 0, 0
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        if ended:
            sentence = f"expected nothing behind the end record in line {ended}; two files may have been put together"
            raise HexError(HexFinding(number, sentence))
        length, offset, kind = int(line[1:3], 16), int(line[3:7], 16), int(line[7:9], 16)
        if kind == DATA and length:
            if offset + length > RECORD_BANK:
                sentence = (
                    "expected a record within its 64 KiB, saw one across the border: tools disagree where it goes"
                )
                raise HexError(HexFinding(number, sentence))
            yield base + offset, number
        elif kind in (SEGMENT_BASE, LINEAR_BASE):
            base = int(line[9:13], 16) << (4 if kind == SEGMENT_BASE else 16)
        elif kind == END:
            ended = number
    if not ended:
        sentence = "expected an end record ':00000001FF', but the file ends without one; it was cut"
        raise HexError(HexFinding(len(lines), sentence))


class _Lines(list[str]):
    """Lines in the guise of an open file, which is what the library reads."""

    def read(self) -> str:
        """All of them."""
        return "\n".join(self)
