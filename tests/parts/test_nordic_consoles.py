"""Listening to the consoles of a Nordic part: nothing is waited for that has been said, and no line is read twice."""

from __future__ import annotations

from token_help import claims, dump, sign

from station.deadline import Deadline
from station.formats.console_lines import LineAssembler
from station.parts.nordic import production_boot
from station.parts.nordic.consoles import Consoles, Said

TOKEN = sign(claims())
BOOT = "\r\n".join(["*** Booting nRF Connect SDK v3.1.0 ***", *dump(TOKEN)]).encode().rstrip()


class Port:
    """Gives its chunks one at a time; a read after the last one is a wait for nothing."""

    def __init__(self, *chunks):
        self.chunks, self.waits = list(chunks), 0

    def clear(self):
        """A port in memory has nothing old."""

    def read(self, deadline):
        if self.chunks:
            return self.chunks.pop(0)
        self.waits += 1
        return b""


def ears(*ports):
    return Consoles(*ports, *[None] * (2 - len(ports)), lambda *line: None, lambda seconds: None)


def test_what_has_been_said_before_is_not_waited_for():
    port = Port(b"one\n", b"two\n")
    listening = ears(port)
    listening.until(lambda said: len(said.app.lines) == 2, Deadline(600))
    asked = []
    listening.until(lambda said: asked.append(port.waits) is None, Deadline(600))  # asked once, before any read
    assert len(asked) == 1


def test_what_comes_at_the_last_moment_is_still_judged():
    listening = ears(Port(b"one\n"))
    said = listening.until(lambda said: bool(said.app.lines), Deadline(600))
    assert [line.text for line in said.app.lines] == ["one"]


def test_each_line_of_a_boot_is_read_once_and_the_last_one_without_its_end():
    said, words, read = Said(), production_boot._Words(), []
    feed = words._reader.feed
    words._reader.feed = lambda lines: feed(read.extend(lines) or lines)
    for start in range(0, len(BOOT), 100):
        said.app.feed(BOOT[start : start + 100])
        assert not words.are_all(said)  # the last row has no end yet
    found = words.boot(said)
    assert found.token == TOKEN and found.finished and found.boots == 1
    assert read == list(said.app.lines)


def test_only_lines_that_have_ended_are_whole():
    assembler = LineAssembler()
    assembler.feed(b"one\r\ntwo\r\nthr")
    assert [line.text for line in assembler.whole()] == ["one", "two"]
    assert [line.text for line in assembler.whole(1)] == ["two"] and assembler.whole(2) == []
    assert [line.text for line in assembler.lines] == ["one", "two", "thr"]
