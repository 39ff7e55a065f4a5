import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import spi_console
from station.formats.spi_console import Frame, Header


def test_a_frame_by_hand():
    frame = spi_console.pack_frame(7, b"Hello")
    assert frame.hex() == "efbea5a5" + "07000000" + "05000000" + b"Hello".hex() + "ffffff"
    assert spi_console.parse_header(frame[:12]) == Header(7, 5)
    assert Header(7, 5).body_length == 8
    assert spi_console.parse_frame(frame, expected_number=7) == Frame(7, b"Hello")


def test_the_largest_payload_leaves_room_for_the_boot_words():
    assert spi_console.MAX_PAYLOAD == 2048 - 12 - 12 - 4
    spi_console.pack_frame(0, bytes(2020))
    with pytest.raises(FormatError):
        spi_console.pack_frame(0, bytes(2021))


@bounded
@given(st.binary(min_size=1, max_size=2020), st.integers(0, 2**32 - 1))
def test_frames_come_back(payload, number):
    assert spi_console.parse_frame(spi_console.pack_frame(number, payload), number) == Frame(number, payload)


@bounded
@given(st.binary(max_size=9000), st.integers(0, 2**32 - 1))
def test_long_texts_are_split_and_numbered(text, first):
    frames = [spi_console.parse_frame(frame) for frame in spi_console.split_frames(text, first)]
    assert b"".join(frame.payload for frame in frames) == text
    assert [frame.number for frame in frames] == [(first + n) % 2**32 for n in range(len(frames))]
    assert all(len(frame.payload) == 2020 for frame in frames[:-1])


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff" * 12,
        bytes.fromhex("02b0feca") * 3,
        bytes.fromhex("efbea5a50000000001000000") + b"x\xff\xff",
        bytes.fromhex("efbea5a50000000001000000") + b"x\xff\xff\x00",
        bytes.fromhex("efbea5a500000000f5070000") + bytes(2040),
    ],
    ids=["no data", "boot words", "cut off", "bad padding", "too long"],
)
def test_junk_is_refused(frame):
    with pytest.raises(FormatError):
        spi_console.parse_frame(frame)


def test_an_unexpected_number_is_refused_only_when_asked():
    frame = spi_console.pack_frame(3, b"x")
    assert spi_console.parse_frame(frame).number == 3
    with pytest.raises(FormatError, match="expected console frame 4, saw 3"):
        spi_console.parse_frame(frame, 4)


@bounded
@given(st.binary(max_size=80))
def test_any_bytes_are_a_frame_or_a_format_error(data):
    only_format_error(spi_console.parse_frame, data)
    only_format_error(spi_console.parse_frame, bytes.fromhex("efbea5a5") + data)


def test_host_chunks_mark_only_the_last():
    chunks = spi_console.host_chunks(bytes(600))
    assert [(address, len(data)) for address, data in chunks] == [(0, 256), (0, 256), (0x100, 88)]
    assert spi_console.host_chunks(b"x") == [(0x100, b"x")]
    assert [address for address, _ in spi_console.host_chunks(bytes(256))] == [0x100]
    with pytest.raises(FormatError):
        spi_console.host_chunks(b"")


@bounded
@given(st.binary(min_size=1, max_size=3000))
def test_host_chunks_lose_nothing(payload):
    assert b"".join(data for _, data in spi_console.host_chunks(payload)) == payload


def test_the_polling_ring_wraps():
    assert spi_console.next_address(0, 5) == 20
    assert spi_console.next_address(2040, 5) == 12
