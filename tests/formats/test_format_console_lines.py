import pytest
from formats_help import bounded
from hypothesis import given
from hypothesis import strategies as st

from station.formats import console_lines
from station.formats.console_lines import Heard, LineAssembler


def test_colours_and_prefix_are_taken_off():
    raw = "\x1b[0m[00:00:00.251,312] \x1b[0m<inf> provisioning_image: Success!\x1b[0m"
    found = console_lines.line(raw)
    assert found.text == "[00:00:00.251,312] <inf> provisioning_image: Success!"
    assert (found.level, found.module, found.message) == ("inf", "provisioning_image", "Success!")


def test_a_line_without_prefix_is_its_own_message():
    found = console_lines.line("*** Booting nRF Connect SDK v3.2.0 ***")
    assert found.level == "" and found.message == found.text


@pytest.mark.parametrize("code", ["\x1b[1;31m", "\x1b[0m", "\x1b[8D\x1b[J", "\x1b]0;title\x07", "\x1bM"])
def test_terminal_codes_vanish(code):
    assert console_lines.line(f"a{code}b{code}").text == "ab"


@bounded
@given(st.lists(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E)), max_size=6), st.data())
def test_lines_do_not_depend_on_the_chunks(texts, data):
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    raw = "".join(text + end for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    assembler, found = LineAssembler(), []
    for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += assembler.feed(raw[start:stop])
    assert [line.text for line in found] == texts == [line.text for line in assembler.lines]
    assert assembler.transcript == "\n".join(texts)


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        (b"", 0),
        (b"\x00", 0),
        (b"\x00\n", 0),
        (b"\r\n", 0),
        (b"*** Boot", 0),
        (b"*** \xfe ***\n", 0),
        (b"*** Boot\n", 1),
    ],
)
def test_only_a_whole_line_without_a_strange_byte_shows_that_somebody_speaks(raw, spoken):
    assembler = LineAssembler()
    for byte in raw:
        assembler.feed(bytes([byte]))
    assert assembler.has_spoken == bool(spoken)


def test_a_colour_code_may_be_cut_in_two():
    assembler = LineAssembler()
    assert assembler.feed(b"Suc\x1b[") == [] and assembler.feed(b"1mcess!\r\n")[0].text == "Success!"


def test_an_unfinished_line_is_in_the_transcript_only():
    assembler = LineAssembler()
    assert [line.text for line in assembler.feed(b"one\ntw")] == ["one"]
    assert assembler.transcript == "one\ntw" and assembler.feed(b"o\n")[0].text == "two"


def test_what_never_ends_is_cut():
    assembler = LineAssembler()
    found = assembler.feed(b"x" * (2 * console_lines.LONGEST_LINE + 5))
    assert [len(line.text) for line in found] == [console_lines.LONGEST_LINE] * 2


@pytest.mark.parametrize(
    ("raw", "heard"),
    [
        (b"", Heard.NOTHING),
        (b"*** Booting nRF Connect SDK ***\r\n", Heard.TEXT),
        (b"\x00", Heard.NOTHING),  # one stray byte of a line that is switched on says nothing
        (b"\x00Boot", Heard.TEXT),
        (b"\xf8\x00\xfe\x80\x1e" * 20, Heard.GARBAGE),
        (b"*** Booting \xff Zephyr OS \x00 ***\r\n", Heard.TEXT),
    ],
)
def test_what_was_heard(raw, heard):
    assembler = LineAssembler()
    assembler.feed(raw)
    assert assembler.heard is heard


@pytest.mark.parametrize("ratio", [2.0, 0.5, 12.0, 0.08])
def test_a_wrong_baud_rate_is_garbage(ratio):
    """The same line levels, sampled at another rate."""
    text = b"[00:00:00.251,312] <inf> provisioning_image: Successfully verified PSA lifecycle state ASSEMBLY!\r\n" * 8
    levels = [1]
    for byte in text:
        levels += [0, *((byte >> bit) & 1 for bit in range(8)), 1]
    seen, position = bytearray(), 0.0
    while position < len(levels) - 12 * ratio:
        if levels[int(position)]:
            position += 0.25 * ratio
            continue
        bits = [levels[int(position + (1.5 + bit) * ratio)] for bit in range(8)]
        seen.append(sum(value << bit for bit, value in enumerate(bits)))
        position += 9.75 * ratio
    assembler = LineAssembler()
    assembler.feed(bytes(seen))
    assert assembler.heard is Heard.GARBAGE, bytes(seen[:60])


@bounded
@given(st.binary(max_size=300))
def test_any_bytes_are_lines(raw):
    assembler = LineAssembler()
    assembler.feed(raw)
    assert all("\x1b[0" not in line.text for line in assembler.lines) and assembler.heard in Heard
