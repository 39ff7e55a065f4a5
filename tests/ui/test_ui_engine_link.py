"""The link against a real child process: events in, commands out, death, flood, recording and replay."""

import json
import os
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
import ui_samples as s
from PySide6.QtCore import QObject, QThread, QTimer, Slot

from station.protocol import (
    MAX_LINE,
    Hello,
    Log,
    Query,
    Rows,
    Scan,
    Secret,
    Shutdown,
    SignedIn,
    SignIn,
    SignOut,
    encode,
)
from ui.engine_link import EngineLink, Mailbox
from ui.event_lines import BadLine, EventParser, LogLines
from ui.sources import PIPE_BYTES, EngineProcess, Recorder, Recording

if sys.platform.startswith("linux"):
    import fcntl

FAKE = Path(__file__).with_name("fake_engine.py")


class Sink(QObject):
    """Keeps what the link delivers, and in which thread."""

    def __init__(self, link):
        super().__init__()
        self.items, self.ends, self.threads = [], [], set()
        link.received.connect(self.take)
        link.ended.connect(self.end)

    @Slot(object)
    def take(self, items):
        self.threads.add(QThread.currentThread())
        self.items += items

    @Slot(str)
    def end(self, sentence):
        self.ends.append(sentence)

    def of(self, kind):
        return [item for item in self.items if isinstance(item, kind)]

    def log_texts(self):
        return [row[4] for item in self.of(LogLines) for row in item.rows]


@pytest.fixture
def events(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(encode(event) for event in s.bench()))
    return file


@pytest.fixture
def start(qapp, qtbot, events):
    links = []

    def begin(*options, recorder=None, source=None):
        command = [sys.executable, str(FAKE), str(events), *options]
        link = EngineLink(source or (lambda: EngineProcess(command)), recorder)
        sink = Sink(link)
        links.append((link, sink))
        link.start()
        return link, sink

    yield begin
    for link, _sink in links:
        link.close()
        assert link.join(10)
        qapp.processEvents()


def test_events_arrive_in_the_gui_thread(start, qtbot, qapp):
    _link, sink = start()
    qtbot.waitUntil(lambda: len(sink.log_texts()) >= len(s.LOGS), timeout=5000)
    assert sink.of(Hello) == [s.hello()] and sink.threads == {qapp.thread()}
    assert sink.of(type(s.BURNING)) == [s.BURNING, s.PASS, s.INSERT, s.FAIL]
    assert threading.current_thread() is threading.main_thread()


def test_commands_reach_the_engine(start, qtbot):
    link, sink = start()
    assert link.send(Query("history", 7, {"find": "x"})) and link.send(SignOut())
    qtbot.waitUntil(lambda: sink.of(Rows) != [], timeout=5000)
    assert sink.of(Rows)[0].request == 7


def test_pin_travels_by_its_own_encoder(start, qtbot):
    link, sink = start()
    link.send(SignIn("anna", Secret(b"4711", "PIN")))
    qtbot.waitUntil(lambda: len(sink.of(SignedIn)) == 2, timeout=5000)
    assert sink.of(SignedIn)[1] == SignedIn("anna")
    assert not any("4711" in text for text in sink.log_texts())


def test_engine_death_is_reported_with_its_last_words(start, qtbot):
    link, sink = start()
    link.send(Scan("DIE"))
    qtbot.waitUntil(lambda: sink.ends != [], timeout=5000)
    assert sink.ends == ["Exit code 70: the bench caught fire"]
    assert not link.alive and not link.send(SignOut())


def test_a_dead_engine_can_be_started_again(start, qtbot):
    link, sink = start("--die-after-events")
    qtbot.waitUntil(lambda: len(sink.ends) == 1, timeout=5000)
    assert "no bench" in sink.ends[0]
    link.start()
    qtbot.waitUntil(lambda: len(sink.ends) == 2, timeout=5000)
    assert len(sink.of(Hello)) == 2


def test_an_engine_that_cannot_be_started_is_reported(start, qtbot):
    _link, sink = start(source=lambda: EngineProcess(["/nonexistent/engine"]))
    qtbot.waitUntil(lambda: sink.ends != [], timeout=5000)
    assert "could not be started" in sink.ends[0]


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are a POSIX notion")
def test_engine_has_a_session_of_its_own_and_outlives_the_closed_link(start, qtbot):
    sources = []
    command = [sys.executable, str(FAKE), os.devnull, "--slow-end"]
    link, sink = start(source=lambda: sources.append(EngineProcess(command)) or sources[0])
    assert os.getsid(sources[0].pid) == sources[0].pid
    link.send(Shutdown())
    link.close()
    os.kill(sources[0].pid, 0)
    qtbot.waitUntil(lambda: sink.ends != [], timeout=5000)
    assert sink.ends == ["The engine ended with exit code 0."]


def test_a_flood_of_log_lines_arrives_whole_and_in_order_of_magnitude(start, qtbot):
    _link, sink = start("--flood", "100000")
    qtbot.waitUntil(lambda: sum(len(item.lines) for item in sink.of(LogLines)) >= 100_000, timeout=20000)


def test_reader_waits_while_the_window_takes_nothing():
    mailbox = Mailbox(limit=10)
    assert mailbox.put(b"0123456789")
    done = threading.Event()
    thread = threading.Thread(target=lambda: (mailbox.put(b"x"), done.set()))
    thread.start()
    assert not done.wait(0.05)
    assert mailbox.take() == b"0123456789"
    assert done.wait(5)
    thread.join()
    assert mailbox.take() == b"x" and mailbox.take() == b""


def test_recording_and_replay_show_the_same(start, qtbot, tmp_path, clock):
    file = tmp_path / "recorded.jsonl"
    recorder = Recorder(file, clock)
    _link, sink = start("--die-after-events", recorder=recorder)
    qtbot.waitUntil(lambda: sink.ends != [], timeout=5000)
    recorder.close()
    assert json.loads(file.read_text().splitlines()[0])["at"] == 0.0
    replay, again = start(source=lambda: Recording(file, speed=0))
    qtbot.waitUntil(lambda: again.ends != [], timeout=5000)
    assert again.items and again.of(Hello) == sink.of(Hello) and again.log_texts() == sink.log_texts()
    assert again.ends == ["End of recorded.jsonl."] and not replay.alive


def test_replay_keeps_the_pace_and_can_be_closed(tmp_path):
    file = tmp_path / "slow.jsonl"
    file.write_text('{"at":0,"type":"Dropped","count":1}\n{"at":60,"type":"Dropped","count":2}\n')
    recording = Recording(file)
    started = time.monotonic()
    closer = threading.Timer(0.05, recording.close)
    closer.start()
    first = recording.read()
    assert first in (b"", b'{"at":0,"type":"Dropped","count":1}\n')
    assert recording.read() == b"" or first == b""
    assert time.monotonic() - started < 1.9
    closer.join()
    recording.outcome()


class Scripted:
    """A source that has these chunks and ends."""

    def __init__(self, *chunks):
        self._chunks = list(chunks)

    def read(self):
        return self._chunks.pop(0) if self._chunks else b""

    def outcome(self):
        return "over"

    def close(self):
        pass


def test_a_turn_takes_a_bounded_time_and_the_end_comes_last(qapp, qtbot, monkeypatch):
    monkeypatch.setattr("ui.engine_link.TURN_SECONDS", 0.0)
    link = EngineLink(lambda: Scripted(*[encode(log) for log in s.LOGS[:4]]))
    told = []
    link.received.connect(lambda items: told.append(items[0].rows[0][4]))
    link.ended.connect(told.append)
    clock = QTimer(interval=0)
    clock.timeout.connect(lambda: told.append("tick"))
    link.start()
    link._thread.join(10)
    clock.start()
    qtbot.waitUntil(lambda: "over" in told, timeout=5000)
    clock.stop()
    wanted = [log.text for log in s.LOGS[:4]]
    assert [text for text in told if text != "tick"] == [*wanted, "over"]
    places = [told.index(text) for text in wanted]
    assert all("tick" in told[a:b] for a, b in pairwise(places)), told
    assert not link.alive


def test_what_comes_after_the_last_look_is_not_kept():
    mailbox = Mailbox(limit=10)
    mailbox.close()
    assert not mailbox.put(b"x" * 100) and not mailbox


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells and changes the size of a pipe")
def test_the_engine_has_room_to_write_while_the_window_paints():
    engine = EngineProcess([sys.executable, "-c", "input()"])
    try:
        size = fcntl.fcntl(engine._process.stdout, fcntl.F_GETPIPE_SZ)
        assert size >= PIPE_BYTES
    finally:
        engine.close()
        engine.outcome()


# ---- the parser -----------------------------------------------------------------------------------------------------


def test_lines_may_be_cut_anywhere():
    stream = b"".join(encode(event) for event in s.bench())
    for cut in (1, 7, 100, 5000):
        parser, items = EventParser(), []
        for i in range(0, len(stream), cut):
            items += parser.feed(stream[i : i + cut])
        rows = [row for item in items if isinstance(item, LogLines) for row in item.rows]
        assert len(rows) == len(s.LOGS) and s.LOT in items and not any(isinstance(i, BadLine) for i in items)


def test_damaged_and_unknown_lines_do_not_stop_the_stream():
    good = encode(s.LOGS[0])
    items = EventParser().feed(b"print()\n" + good + b'{"type":"Levitate"}\n' + b"\n" + good + b"[1]\n")
    assert [type(item) for item in items] == [BadLine, LogLines, BadLine, LogLines, BadLine]


def test_two_objects_on_one_line_are_no_two_events():
    items = EventParser().feed(b'{"type":"Dropped","count":1},{"type":"Dropped","count":2}\n')
    assert [type(item) for item in items] == [BadLine]


def test_an_endless_line_is_left_out():
    parser = EventParser()
    assert isinstance(parser.feed(b"x" * (MAX_LINE + 1))[-1], BadLine)
    items = parser.feed(b"rest of it\n" + encode(s.OPERATOR))
    assert items == [s.OPERATOR]


def test_log_lines_of_another_hand_are_read_too():
    wanted = (1.5, 2, "dut", "info", 'said "◆"')
    body = {"at": 0.1, "type": "Log", **dict(zip(("time", "socket", "source", "level", "text"), wanted, strict=True))}
    stream = json.dumps(body).encode() + b"\n" + encode(Log(*wanted)) + b'{"type": "Log", "time": 1}\n'
    first, second, third = EventParser().feed(stream)
    assert list(first.rows) == list(second.rows) == [wanted] and isinstance(third, BadLine)


def test_a_line_nested_without_end_is_a_bad_line():
    items = EventParser().feed(b'{"type": "Log", "x": ' + b"[" * 200_000 + b"\n" + encode(s.OPERATOR))
    assert isinstance(items[0], BadLine) and items[1:] == [s.OPERATOR]
