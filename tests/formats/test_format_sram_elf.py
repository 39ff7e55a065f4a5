import struct
from zlib import crc32

import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import sram_elf
from station.formats.sram_elf import LOAD_ADDRESS


def elf(*segments, entry=LOAD_ADDRESS, kind=2, machine=243, ident=b"\x7fELF\x01\x01\x01"):
    """An ELF file written by hand; a segment is (address, data) plus overrides type, align, memsz."""
    header = struct.pack("<16sHHIIIIIHHHHHH", ident, kind, machine, 1, entry, 52, 0, 0, 52, 32, len(segments), 40, 0, 0)
    offset, table, blob = 52 + 32 * len(segments), b"", b""
    for address, data, *rest in segments:
        over = rest[0] if rest else {}
        table += struct.pack(
            "<8I", over.get("type", 1), offset + len(blob), address, address, len(data),
            over.get("memsz", len(data)), 7, over.get("align", 4),
        )  # fmt: skip
        blob += data
    return header + table + blob


def test_segments_are_joined_and_empty_ones_skipped():
    image = elf(
        (LOAD_ADDRESS, b"code"),
        (LOAD_ADDRESS + 4, b""),
        (0x20000000, b"note", {"type": 4}),
        (LOAD_ADDRESS + 4, b"rodata..", {"align": 256}),
        (LOAD_ADDRESS + 12, b"data", {"memsz": 400}),
    )
    program = sram_elf.parse(image)
    assert (program.address, program.entry) == (0x10001FE8, 0x10001FE8)
    assert program.data == b"coderodata..data"
    assert program.crc32 == crc32(b"coderodata..data")
    assert program.words[0] == int.from_bytes(b"code", "little")


@bounded
@given(st.binary(min_size=4, max_size=400).filter(lambda data: len(data) % 4 == 0), st.integers(0, 50))
def test_built_programs_come_back(data, step):
    entry = LOAD_ADDRESS + 2 * (step % (len(data) // 2))
    program = sram_elf.parse(sram_elf.build(LOAD_ADDRESS, data, entry))
    assert (program.address, program.data, program.entry) == (LOAD_ADDRESS, data, entry)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (elf((LOAD_ADDRESS, b"abcd"), ident=b"\x7fELF\x02\x01\x01"), "32-bit"),
        (elf((LOAD_ADDRESS, b"abcd"), ident=b"\x7fELF\x01\x02\x01"), "little-endian"),
        (elf((LOAD_ADDRESS, b"abcd"), machine=40), "RISC-V"),
        (elf((LOAD_ADDRESS, b"abcd"), kind=1), "executable"),
        (elf((LOAD_ADDRESS, b"abc")), "whole words"),
        (elf((LOAD_ADDRESS + 2, b"abcd"), entry=LOAD_ADDRESS + 2), "whole words"),
        (elf((LOAD_ADDRESS, b"abcd", {"align": 4096})), "nmagic"),
        (elf((LOAD_ADDRESS, b"abcd"), (LOAD_ADDRESS + 8, b"abcd")), "back to back"),
        (elf((LOAD_ADDRESS, b"abcd"), (LOAD_ADDRESS, b"abcd")), "back to back"),
        (elf((LOAD_ADDRESS, b"abcd"), entry=LOAD_ADDRESS + 4), "entry"),
        (elf((LOAD_ADDRESS, b"abcd"), entry=LOAD_ADDRESS + 1), "entry"),
        (elf((0x1001FFFC, b"abcdefgh"), entry=0x1001FFFC), "inside RAM"),
        (elf((0x20000000, b"abcd"), entry=0x20000000), "inside RAM"),
        (elf((LOAD_ADDRESS, b"abcd"))[:-1], "cut off"),
        (elf((LOAD_ADDRESS, b"abcd", {"memsz": 3})), "cut off"),
        (elf((LOAD_ADDRESS, b"abcd"))[:60], "cut off"),
        (elf((LOAD_ADDRESS, b"")), "loadable"),
        (elf(), "program headers"),
        (b"", "ELF"),
    ],
)
def test_images_the_loader_refuses(image, reason):
    with pytest.raises(FormatError, match=reason):
        sram_elf.parse(image)


@bounded
@given(st.binary(max_size=120), st.integers(0, 95), st.integers(0, 255))
def test_damaged_images_are_refused_or_read(data, position, value):
    only_format_error(sram_elf.parse, data)
    only_format_error(sram_elf.parse, b"\x7fELF\x01\x01\x01" + data)
    image = bytearray(elf((LOAD_ADDRESS, b"abcdefgh")))
    image[position % len(image)] = value
    only_format_error(sram_elf.parse, bytes(image))


def test_building_needs_whole_words():
    for data in (b"", b"abc"):
        with pytest.raises(FormatError):
            sram_elf.build(LOAD_ADDRESS, data)
