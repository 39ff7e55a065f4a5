"""Listening to the consoles of a Nordic part: nothing is waited for that has been said, and no line is read twice."""

from __future__ import annotations

import pytest
from token_help import claims, dump, sign

from station.deadline import Deadline
from station.errors import AdapterLost, Stopped
from station.formats import tfm_console
from station.formats.console_lines import LineAssembler
from station.parts.nordic import production_boot
from station.parts.nordic.consoles import Consoles, Said, Turns

TOKEN = sign(claims())
BOOT = "\r\n".join(["*** Booting nRF Connect SDK v3.1.0 ***", *dump(TOKEN)]).encode().rstrip()


class Port:
    """Gives its chunks one at a time, an exception as one; a read after the last one waits to its deadline."""

    def __init__(self, *chunks):
        self.chunks, self.reads = list(chunks), 0

    def clear(self):
        """A port in memory has nothing old."""

    def read(self, deadline):
        self.reads += 1
        chunk = self.chunks.pop(0) if self.chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        while not chunk and not deadline.passed:
            pass
        return chunk


def ears(app, net=None, pause=lambda seconds: None):
    return Consoles(app, net, lambda *line: None, pause, Turns())


def texts(listening):
    return [line.text for line in listening.said.app.lines]


def test_what_has_been_said_before_is_not_waited_for():
    port = Port(b"one\n", b"two\n")
    listening = ears(port)
    listening.until(lambda said: len(said.app.lines) == 2, Deadline(600))
    looks = []
    listening.until(lambda said: looks.append(port.reads) or True, Deadline(0))
    assert looks == [looks[0]] and looks[0] <= port.reads, "asked once, before any more is read"


def test_what_came_in_the_last_read_is_still_judged():
    looks, port, deadline = [], Port(b"last\n"), Deadline(600)
    read = port.read

    def late(_):
        deadline._end = 0.0
        return read(deadline)

    port.read = late
    ears(port).until(lambda said: looks.append(len(said.app.lines)), deadline)
    assert looks == [0, 1]


def test_what_was_heard_is_there_whatever_the_next_read_brings():
    listening = ears(Port(b"Failed to lock debug in network core.\n", AdapterLost("gone")))
    with pytest.raises(AdapterLost):
        listening.until(lambda said: False, Deadline(600))
    assert texts(listening) == ["Failed to lock debug in network core."]


def test_what_was_heard_is_there_when_a_stop_ends_the_listening():
    def stopped(seconds):
        raise Stopped("by the operator")

    listening = ears(Port(b"one\n"), pause=stopped)
    with pytest.raises(Stopped):
        listening.until(lambda said: False, Deadline(600))
    assert texts(listening) == ["one"]


def test_what_follows_closely_is_read_with_it():
    pauses = []
    listening = ears(Port(b"one\n", b"two\n", b"three\n"), Port(b"", b"net\n"), pauses.append)
    looks = []
    listening.until(lambda said: looks.append(len(said.app.lines)) or len(said.app.lines) == 3, Deadline(600))
    assert looks == [0, 2, 3] and len(pauses) == 2
    assert [line.text for line in listening.said.net.lines] == ["net"]


def test_each_line_of_a_boot_is_read_once_and_one_without_an_end_counts(monkeypatch):
    read, refusal = [], tfm_console._refusal
    monkeypatch.setattr(tfm_console, "_refusal", lambda line: (read.append(line.text), refusal(line))[1])
    said, words, lines = Said(), production_boot._Words(), BOOT.splitlines(keepends=True)
    for line in lines[:-1]:
        said.app.feed(line)
        assert not words.are_all(said)
    said.app.feed(lines[-1])
    assert words.are_all(said) and words.boot(said).token == TOKEN
    assert read == [line.decode().strip("\r\n") for line in [*lines, lines[-1]]]


def test_only_lines_that_have_ended_are_whole():
    assembler = LineAssembler()
    assembler.feed(b"one\r\ntwo\r\nthr")
    assert [line.text for line in assembler.whole()] == ["one", "two"]
    assert [line.text for line in assembler.whole(1)] == ["two"] and assembler.whole(2) == []
    assert [line.text for line in assembler.lines] == ["one", "two", "thr"]
