"""The engine's output under many hands: order, wake-ups, and lines as the protocol writes them."""

import json
import os
import select
import sys
import threading

import pytest

from station.event_writer import EventWriter, encode_fast
from station.protocol import Log, SocketState, encode

SECONDS = 10
THREADS, EACH = 4, 2_000


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    writer = EventWriter(writing, lambda: None)

    def end():
        closer = threading.Thread(target=lambda: (writer.close(SECONDS), os.close(writing)))
        closer.start()
        with os.fdopen(reading, "rb") as stream:
            lines = [json.loads(line) for line in stream]
        closer.join()
        return lines

    return writer, reading, end


@pytest.mark.parametrize("text", ["plain", '"quoted" \\ and\ttab', "◆ µ 日本", "\u2028", "\x00\x7f"])
def test_a_log_line_is_what_the_protocol_writes(text):
    for event in (Log(1.5, 1, "jtag", "info", text), Log(1e-7, 0, text, text, "x"), Log(1.7e9 + 0.1, 8, "", "", "")):
        assert encode_fast(event) == encode(event)


def test_lines_of_many_threads_arrive_once_each_in_the_order_of_their_thread(pipe):
    writer, _, end = pipe

    def say(number):
        for count in range(EACH):
            writer.emit(Log(float(count), number, "x", "info", "line"))

    threads = [threading.Thread(target=say, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = end()
    for number in range(THREADS):
        assert [line["time"] for line in lines if line["socket"] == number] == list(range(EACH))


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe cannot be waited for there")
def test_an_idle_writer_wakes_for_every_event(pipe):
    writer, reading, end = pipe
    for epoch in range(200):
        writer.emit(SocketState(1, epoch, "running"))
        assert select.select([reading], [], [], SECONDS)[0], f"nobody wrote event {epoch}"
        assert json.loads(os.read(reading, 65_536))["epoch"] == epoch
    assert end() == []


def test_a_log_line_that_cannot_be_encoded_is_named_in_its_place(pipe):
    writer, _, end = pipe
    for text in ("before", "\ud800", 5, "after"):
        writer.emit(Log(0.0, 1, "x", "info", text))
    texts = [line["text"] for line in end()]
    assert (texts[0], texts[-1], len(texts)) == ("before", "after", 4)
    assert "Log could not be shown (UnicodeEncodeError)" in texts[1] and "TypeError" in texts[2]
