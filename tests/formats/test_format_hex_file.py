import pytest
from formats_help import bounded, only_format_error
from hex_help import lines, record, text
from hypothesis import given
from hypothesis import strategies as st

from station.formats import hex_file
from station.formats.hex_file import HexError


def read(*parts):
    return hex_file.read("\n".join(parts).encode())


def finding(raw):
    with pytest.raises(HexError) as caught:
        hex_file.read(raw)
    [found] = caught.value.findings
    return found


def test_the_example_of_the_format_description():
    """Intel's and Wikipedia's example file: 48 bytes at 0x0100."""
    example = [
        ":10010000214601360121470136007EFE09D2190140",
        ":100110002146017E17C20001FF5F16002148011928",
        ":10012000194E79234623965778239EDA3F01B2CAA7",
        ":00000001FF",
    ]
    found = read(*example)
    assert [(block.address, len(block.data)) for block in found.blocks] == [(0x100, 48)]
    assert found.line_of(0x100) == 1 and found.line_of(0x11F) == 2 and found.line_of(0x12F) == 3


def test_blocks_are_joined_and_lines_remembered():
    found = hex_file.read(text((0x1000, bytes(40)), (0x0100_0000, b"net!"), (0x2000, b"x")))
    assert [(block.address, block.end) for block in found.blocks] == [
        (0x1000, 0x1028), (0x2000, 0x2001), (0x0100_0000, 0x0100_0004),
    ]  # fmt: skip
    assert found.line_of(0x1010) == 2 and found.line_of(0x0100_0003) == 5 and found.line_of(0x2000) == 7
    assert found.line_of(0x10) == 0


def test_segment_base_records_and_start_addresses():
    found = read(record(2, 0, b"\x10\x00"), record(0, 0x10, b"ab"), record(3, 0, bytes(4)), record(1, 0))
    assert found.blocks[0].address == 0x1_0010
    assert read(record(0, 0, b"a"), record(5, 0, bytes(4)), record(1, 0)).blocks[0].data == b"a"


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (lambda raw: [*raw[:1], raw[1][:-1] + "0", *raw[2:]], 2, "add up to 0"),
        (lambda raw: [*raw[:1], raw[1][:-2], *raw[2:]], 2, "as many bytes"),
        (lambda raw: [*raw[:1], raw[1][1:], *raw[2:]], 2, "Intel HEX record"),
        (lambda raw: [*raw[:1], ":GG", *raw[2:]], 2, "Intel HEX record"),
        (lambda raw: [*raw[:1], record(9, 0), *raw[2:]], 2, "Intel HEX record"),
        (lambda raw: [*raw[:2], raw[1], *raw[2:]], 3, "each address once"),
        (lambda raw: raw[:-1], 3, "without one"),
        (lambda raw: raw + raw, 5, "nothing behind the end record in line 4"),
        (lambda raw: [record(0, 0xFFF8, bytes(16)), record(1, 0)], 1, "across the border"),
        (lambda raw: [record(1, 0)], 0, "without any data"),
        (lambda raw: [], 0, "without"),
    ],
)
def test_a_bad_file_is_one_sentence_with_its_line(change, line, reason):
    good = lines((0x100, bytes(range(48))))
    assert len(good) == 4
    found = finding("\n".join(change(good)).encode())
    assert reason in found.sentence and found.line == line


def test_a_binary_image_is_named():
    found = finding(b":00\n\xff\x00")
    assert "binary" in found.sentence and found.line == 2


def test_too_much_is_refused_unread(monkeypatch):
    monkeypatch.setattr(hex_file, "MOST_BYTES", 10)
    assert "at most" in finding(text((0, b"x"))).sentence


CONTENT = st.dictionaries(st.integers(0, 0x40), st.binary(min_size=1, max_size=0x60), min_size=1, max_size=6)


@bounded
@given(CONTENT, st.integers(0, 3))
def test_what_was_written_is_read(content, high):
    blocks = sorted((high << 24 | page << 8, data) for page, data in content.items())
    found = hex_file.read(text(*blocks))
    assert [(block.address, block.data) for block in found.blocks] == blocks


@bounded
@given(CONTENT, st.data())
def test_a_changed_character_never_goes_unseen(content, data):
    """Every character but the case of a digit is covered by the sum, the length or the form of its record."""
    raw = text(*[(page << 8, body) for page, body in sorted(content.items())])
    place = data.draw(st.integers(0, len(raw) - 2).filter(lambda at: raw[at : at + 1] not in b"\n"))
    other = data.draw(st.sampled_from(b"0123456789ABCDEF:").filter(lambda byte: byte != raw[place]))
    with pytest.raises(HexError):
        hex_file.read(raw[:place] + bytes([other]) + raw[place + 1 :])


@bounded
@given(st.text(alphabet=":0123456789ABCDEF\n \r", max_size=200))
def test_any_text_is_a_file_or_a_sentence(raw):
    only_format_error(hex_file.read, raw.encode())
