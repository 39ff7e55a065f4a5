"""What programming asks of the wire, and what it makes of a flash that does not do as told: on a plain memory."""

from __future__ import annotations

import pytest

from drivers.pyocd_probe import flash as flashes
from drivers.pyocd_probe.flash import BLOCK, Flash
from station.errors import BenchError, ConfigError, PartError
from station.formats.nordic_family import ERASED, Nvmc, family
from station.model import Segment, Span

NRF53 = family("nrf5340")


class FlashLink:
    """The access port of one core before a flash that keeps the rules of the controller; remembers what was done."""

    def __init__(self, core):
        self.core, self.words, self.mode = core, {}, Nvmc.READ_ONLY
        self.done = []
        self.busy, self.stuck, self.lost_at = 0, {}, None

    def write(self, port, address, words):
        assert port == self.core.ahb_ap
        if self.lost_at is not None and address == self.lost_at:
            raise BenchError("the part does not answer")
        if address == self.core.nvmc + Nvmc.CONFIG:
            (self.mode,) = words
            self.done.append(("mode", self.mode))
        elif self.mode == Nvmc.ERASE:
            assert words == [ERASED] and address % self.core.flash.page == 0
            self.done.append(("erase", address))
            self.words = {at: word for at, word in self.words.items() if not 0 <= at - address < self.core.flash.page}
        elif self.mode == Nvmc.WRITE:
            self.done.append(("write", address, len(words)))
            for place, word in enumerate(words):
                at = address + 4 * place
                self.words[at] = self.words.get(at, ERASED) & word & ~self.stuck.get(at, 0)
        else:
            raise AssertionError("a write while the controller reads only")

    def read(self, port, address, count):
        if address == self.core.nvmc + Nvmc.READY:
            self.busy -= 1
            return [int(self.busy < 0)]
        self.done.append(("read", address, count))
        return [self.words.get(address + 4 * place, ERASED) for place in range(count)]

    def bytes_at(self, address, count):
        words = [self.words.get(at, ERASED) for at in range(address, address + count, 4)]
        return b"".join(word.to_bytes(4, "little") for word in words)

    def kinds(self, kind):
        return [entry[1] for entry in self.done if entry[0] == kind]


def made(core="app"):
    link = FlashLink(NRF53.core(core))
    return link, Flash(link, link.core)


def pattern(count, seed=1):
    return bytes((seed + 7 * n) & 0xFF for n in range(count))


def test_an_image_is_there_in_the_end_and_its_vector_table_came_last():
    link, flash = made()
    data = pattern(3 * BLOCK)
    flash.program([Segment(0, data)])
    assert link.bytes_at(0, len(data)) == data
    assert link.kinds("erase") == [0, BLOCK, 2 * BLOCK]
    assert link.kinds("write") == [2 * BLOCK, BLOCK, 0]
    assert link.kinds("read") == [0, BLOCK, 2 * BLOCK]
    assert link.mode == Nvmc.READ_ONLY


def test_touched_pages_end_blank_where_the_image_says_nothing_and_others_keep_their_bytes():
    link, flash = made()
    link.words = {0x1FFC: 0x1111_1111, 0x2800: 0x2222_2222, 0x3000: 0x3333_3333}
    flash.program([Segment(0x2004, b"\x01\x02\x03\x04\x05")])
    assert link.bytes_at(0x2000, 16) == b"\xff\xff\xff\xff\x01\x02\x03\x04\x05" + b"\xff" * 7
    assert link.words[0x1FFC] == 0x1111_1111 and link.words[0x3000] == 0x3333_3333
    assert 0x2800 not in link.words
    assert [entry for entry in link.done if entry[0] == "write"] == [("write", 0x2004, 2)], "blank ends are not written"
    assert [entry for entry in link.done if entry[0] == "read"] == [("read", 0x2000, 1024)], "every byte is read back"


def test_two_segments_may_share_a_page_and_a_segment_may_cross_pages():
    link, flash = made()
    flash.program([Segment(0x0FF0, pattern(0x20)), Segment(0x1800, pattern(4, 9))])
    assert link.bytes_at(0x0FF0, 0x20) == pattern(0x20) and link.bytes_at(0x1800, 4) == pattern(4, 9)
    assert link.kinds("erase") == [0, 0x1000]


def test_the_network_core_has_small_pages_which_are_joined_for_the_wire():
    link, flash = made("net")
    start = link.core.flash.start
    link.words = {start: 0x1111_1111, start + 0x1800: 0x2222_2222}
    flash.program([Segment(start + 0x800, pattern(0x1000))])
    assert link.kinds("erase") == [start + 0x800, start + 0x1000]
    assert [entry for entry in link.done if entry[0] == "write"] == [("write", start + 0x800, 1024)]
    assert link.words[start] == 0x1111_1111 and link.words[start + 0x1800] == 0x2222_2222


@pytest.mark.parametrize("span", [Span(0x00FF_8000, 4), Span(0xF_FFFE, 4), Span(0x0100_0000, 4), Span(0x2000_0000, 4)])
def test_nothing_outside_main_flash_is_touched(span):
    link, flash = made()
    with pytest.raises(ConfigError, match="expected addresses in the flash of the app core"):
        flash.program([Segment(span.start, bytes(span.length))])
    with pytest.raises(ConfigError, match="nothing was changed"):
        flash.pages_of([span])
    assert link.done == []


def test_overlapping_segments_are_refused():
    link, flash = made()
    with pytest.raises(ConfigError, match="want address 0x00000010"):
        flash.program([Segment(0x10, bytes(8)), Segment(0x0, bytes(0x14))])
    assert link.done == []


def test_a_bit_that_does_not_take_is_found_by_reading_back():
    link, flash = made()
    data = b"\xff" * 0x1000 + b"\x00\x00\xff\xff" + b"\xff" * 12
    link.stuck = {0x1000: 0x0400_0000}
    with pytest.raises(PartError, match=r"expected 0xffff0000 .* at 0x00001000 after programming, found 0xfbff0000"):
        flash.program([Segment(0, data)])
    assert link.mode == Nvmc.READ_ONLY


def test_ready_is_awaited_and_a_controller_that_stays_busy_is_named(monkeypatch):
    link, flash = made()
    link.busy = 3
    flash.erase([0])
    assert link.busy == -1
    monkeypatch.setattr(flashes, "READY_SECONDS", 0.01)
    link.busy = 1_000_000
    with pytest.raises(PartError, match="page 0x00000000 to be erased within"):
        flash.erase([0])
    assert link.mode == Nvmc.READ_ONLY, "the controller is not left erasing"


def test_what_went_wrong_first_is_the_news_when_the_part_is_gone():
    link, flash = made()
    link.lost_at = 0
    with pytest.raises(BenchError, match="does not answer"):
        flash.erase([0])


def test_words_of_uicr_are_written_once_and_read_back():
    link, flash = made()
    flash.write_once(0x00FF_8000, [0x50FA_50FA, 0x0000_0000])
    assert link.words == {0x00FF_8000: 0x50FA_50FA, 0x00FF_8004: 0}
    assert link.kinds("write") == [0x00FF_8000, 0x00FF_8004]
    assert link.kinds("erase") == []
    with pytest.raises(PartError, match="word 0x00ff8000 to read 0xffff50fa after it was written, it reads 0x50fa50fa"):
        flash.write_once(0x00FF_8000, [0xFFFF_50FA])
