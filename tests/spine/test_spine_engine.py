"""``station engine`` and the command line as real processes, with a scripted flow and no hardware."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_station import PIN, World, add_operators, make_station

from station import journal_reader
from station.event_writer import EventWriter
from station.journal_rows import row_of
from station.protocol import MAX_LINE, Log, SocketState, decode_event

PROGRAM = Path(__file__).with_name("fake_station.py")
SECONDS = 30.0


class Engine:
    """A running engine, its lines, and what it is told."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.world = World(folder)
        command = [sys.executable, str(PROGRAM), "engine", "--station", str(folder / "station.toml"), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self.seen: list[dict[str, object]] = []
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._errors: list[bytes] = []
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _read_errors(self) -> None:
        self._errors.extend(self.process.stderr)

    @property
    def stderr(self) -> str:
        return b"".join(self._errors).decode()

    def tell(self, type_: str, **fields: object) -> None:
        self.process.stdin.write(json.dumps({"type": type_, **fields}).encode() + b"\n")
        self.process.stdin.flush()

    def until(self, type_: str, **fields: object) -> dict[str, object]:
        """The next event of a type whose fields are these."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                line = self._lines.get(timeout=1)
            except queue.Empty:
                continue
            assert line, f"the engine ended while a {type_} was awaited: {self.stderr[-1500:]}"
            event = json.loads(line)
            decode_event(line)
            self.seen.append(event)
            if event["type"] == type_ and all(event.get(name) == value for name, value in fields.items()):
                return event
        raise AssertionError(f"no {type_} {fields} came; last {self.seen[-3:]}")

    def load(self, label: str = "D1") -> dict[str, object]:
        """Sign in, choose, insert, scan: the state that may be started."""
        self.tell("SignIn", operator="eng", pin=PIN.decode())
        self.until("SignedIn", operator="eng")
        self.tell("SelectRecipe", recipe="fake-cp")
        self.world.insert(1)
        self.until("SocketState", socket=1, state="scan", label="")
        self.tell("Scan", text=label, socket=1)
        return self.until("SocketState", socket=1, may_start=True)

    def start(self, label: str = "D1") -> None:
        self.tell("Start", socket=1, epoch=self.load(label)["epoch"])

    def wait(self) -> int:
        code = self.process.wait(SECONDS)
        self.join()
        return code

    def rest(self) -> list[dict[str, object]]:
        """All events after the end of the process."""
        events = list(self.seen)
        while not self._lines.empty():
            line = self._lines.get()
            if line:
                events.append(json.loads(line))
        return events

    def join(self) -> None:
        for thread in self._threads:
            thread.join(SECONDS)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.join()


@pytest.fixture
def folder(tmp_path):
    make_station(tmp_path)
    add_operators(tmp_path / "data")
    return tmp_path


@pytest.fixture
def engine(folder):
    made = Engine(folder)
    yield made
    made.close()


def rows(folder, kind):
    with journal_reader.open_journal(folder / "data") as file:
        return [row_of(values) for values in file.read("WHERE kind = ? ORDER BY seq", (kind,))]


def test_a_whole_run_over_the_wire(engine, folder):
    hello = engine.until("Hello")
    assert (hello["station"], hello["sockets"], hello["recipes"], hello["schema"]) == ("FAKE-1", 2, ["fake-cp"], 1)
    engine.start()
    done = engine.until("SocketState", socket=1, state="pass")
    assert done["verdict"]["tray"] == "GOOD"
    engine.until("Lot", passed=1)
    engine.tell("Query", query="history", request=3, arguments={"kind": "pass"})
    assert engine.until("Rows", request=3)["rows"][0][5] == "D1"
    engine.tell("Shutdown")
    assert engine.wait() == 0
    assert engine.rest()[-1]["type"] == "Ended"
    assert "a library prints into stdout" in engine.stderr, "a print of a library went to stderr, not into the protocol"
    everything = json.dumps(engine.rest()) + engine.stderr
    assert PIN.decode() not in everything


def test_bad_lines_are_answered_and_survived(engine):
    engine.until("Hello")
    engine.process.stdin.write(b'{"type": "Nonsense", "pin": "271828"}\nnot json\n\xff\xfe\n')
    engine.process.stdin.flush()
    said = [engine.until("Log", level="error") for _ in range(3)]
    assert all("expected one of" in str(line["text"]) and "271828" not in str(line["text"]) for line in said)
    engine.tell("Snapshot")
    engine.until("Hello")
    engine.tell("Start", socket=1, epoch=1)
    assert engine.until("CommandRefused")["sentence"] == "sign in first"


def test_a_line_that_is_too_long_ends_the_engine(engine):
    engine.until("Hello")
    try:
        engine.process.stdin.write(b"x" * (MAX_LINE + 100))
        engine.process.stdin.flush()
    except BrokenPipeError:
        pass
    assert engine.wait() == 0


@pytest.mark.parametrize("way", ["stdin", "SIGINT", "SIGTERM", "SIGHUP", "Shutdown"])
def test_every_way_to_end_finishes_the_burn_and_records(engine, folder, way):
    engine.world.set(burn_seconds=0.7)
    engine.start()
    engine.until("SocketState", socket=1, state="burning")
    if way == "stdin":
        engine.process.stdin.close()
    elif way == "Shutdown":
        engine.tell("Shutdown")
    else:
        engine.process.send_signal(getattr(signal, way))
    assert engine.wait() == 0
    assert any(event["type"] == "Finishing" and event["sockets"] == [1] for event in engine.rest())
    assert World(folder).part("D1").burns() == ["first"]
    assert [row.detail["evidence"] for row in rows(folder, "outcome")] == ["done"]
    verdict = rows(folder, "verdict")[-1].detail
    assert (verdict["kind"], verdict["error"]) == ("hold", "Stopped")


def test_a_frozen_window_stops_no_run(folder):
    """Nobody reads the engine's output for a whole run; the run ends all the same and its record is there."""
    World(folder).set(name_seconds=0.1)
    command = [sys.executable, str(PROGRAM), "engine", "--station", str(folder / "station.toml")]
    reading, writing = os.pipe()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.DEVNULL)
    os.close(writing)
    stream = os.fdopen(reading, "rb")
    try:
        for body in ({"type": "SignIn", "operator": "eng", "pin": PIN.decode()},
                     {"type": "SelectRecipe", "recipe": "fake-cp"}):  # fmt: skip
            process.stdin.write(json.dumps(body).encode() + b"\n")
        process.stdin.flush()
        World(folder).insert(1)
        epoch = 0
        while epoch == 0:
            event = json.loads(stream.readline())
            if event["type"] == "SocketState" and event["socket"] == 1 and event["state"] == "scan":
                if event["may_start"]:
                    epoch = event["epoch"]
                elif not event["label"]:
                    process.stdin.write(b'{"type": "Scan", "text": "D1", "socket": 1}\n')
                    process.stdin.flush()
        process.stdin.write(json.dumps({"type": "Start", "socket": 1, "epoch": epoch}).encode() + b"\n")
        # the window freezes here: far more is said than a pipe holds, and nobody reads it
        process.stdin.write(b'{"type": "Snapshot"}\n' * 300)
        process.stdin.flush()
        deadline = time.monotonic() + SECONDS
        while not rows(folder, "verdict") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert rows(folder, "verdict")[-1].detail["kind"] == "pass"
        process.stdin.close()
        assert process.wait(SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        stream.close()


@pytest.mark.parametrize("moment", ["burning", "running"])
def test_sigkill_then_recovery_never_burns_twice(folder, moment):
    first = Engine(folder)
    try:
        first.world.set(**({"burn_seconds": 0.6} if moment == "burning" else {"name_seconds": 60.0}))
        first.start()
        if moment == "burning":
            first.until("SocketState", socket=1, state="burning")
        else:
            while first.until("SocketState", socket=1)["device_id"] == "":
                pass
        first.process.kill()
        first.process.wait()
    finally:
        first.close()
    World(folder).set(burn_seconds=0.0, name_seconds=0.0)
    second = Engine(folder)
    try:
        asked = second.until("SocketState", socket=1, state="interrupted")
        second.tell("SignIn", operator="op", pin=PIN.decode())
        second.tell("Answer", socket=1, prompt=asked["prompt"]["id"], choice="Check it")
        second.until("SocketState", socket=1, state="pass")
        assert World(folder).part("D1").burns() == ["first", "second"]
        second.tell("Shutdown")
        assert second.wait() == 0
    finally:
        second.close()


def test_a_second_engine_on_the_folder_says_whose_it_is(engine, folder):
    engine.until("Hello")
    other = Engine(folder)
    try:
        ended = other.until("Ended")
        assert f"another station (process {engine.process.pid})" in ended["sentence"]
        assert other.wait() == 2
    finally:
        other.close()


def test_configuration_errors_end_the_engine_with_all_findings(folder):
    (folder / "station.toml").write_text("schema = 1\nnam = 'x'\n")
    engine = Engine(folder)
    try:
        said = str(engine.until("Ended")["sentence"])
        assert "station.toml:2: unknown key 'nam' (did you mean 'name'?)" in said and len(said.splitlines()) > 3
        assert engine.wait() == 2
    finally:
        engine.close()


def test_recorded_events_are_what_was_sent(folder, tmp_path):
    record = tmp_path / "events.jsonl"
    engine = Engine(folder, "--record", str(record))
    engine.until("Hello")
    engine.tell("Shutdown")
    engine.wait()
    assert [json.loads(line) for line in record.read_text().splitlines()] == engine.rest()


def test_engine_is_not_dumpable_and_sees_few_variables(folder, monkeypatch):
    monkeypatch.setenv("SOME_SECRET", "x")
    engine = Engine(folder)
    try:
        engine.until("Hello")
        if sys.platform.startswith("linux"):
            # /proc of a process that is not dumpable belongs to root; its limits show that no core is written
            limits = Path(f"/proc/{engine.process.pid}/limits").read_text()
            assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
    finally:
        engine.close()


# ---- the writer ---------------------------------------------------------------------------------------------------


def fill(pipe: int) -> None:
    """Empty lines until the pipe takes no more."""
    os.set_blocking(pipe, False)
    for size in (1 << 12, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(pipe, b"\n" * size)
    os.set_blocking(pipe, True)


def test_the_writer_drops_log_lines_with_a_count_and_makes_up_for_states(monkeypatch):
    monkeypatch.setattr("station.event_writer.QUEUE", 100)
    monkeypatch.setattr("station.event_writer.SPARE", 5)
    reading, writing = os.pipe()
    fill(writing)  # nothing of what follows gets out before it is read
    writer = EventWriter(writing, lambda: None)
    state = SocketState(socket=1, epoch=9, state="pass")
    writer.snapshots_from(lambda: [state])
    for number in range(20_000):
        writer.emit(Log(1.0, 1, "station", "info", f"line {number} {'x' * 100}"))
    for number in range(50):
        writer.emit(SocketState(socket=1, epoch=number, state="running"))
    with os.fdopen(reading, "rb") as stream:
        closer = threading.Thread(target=lambda: (writer.close(SECONDS), os.close(writing)))
        closer.start()
        events = [json.loads(line) for line in stream if line.strip()]
        closer.join()
    dropped = sum(event["count"] for event in events if event["type"] == "Dropped")
    logs = sum(event["type"] == "Log" for event in events)
    assert dropped > 0 and dropped + logs == 20_000
    assert events[-1]["type"] == "SocketState" and events[-1]["epoch"] == 9


def test_a_window_that_is_gone_ends_the_writer():
    reading, writing = os.pipe()
    gone = threading.Event()
    writer = EventWriter(writing, gone.set)
    os.close(reading)
    writer.emit(Log(1.0, 1, "station", "info", "x"))
    assert gone.wait(SECONDS)
    writer.emit(Log(1.0, 1, "station", "info", "y"))
    writer.close(SECONDS)
    os.close(writing)


# ---- the command line --------------------------------------------------------------------------------------------


def run(station, label, code=0):
    arguments = ["run", "fake-cp", "--label", label, "--operator", "eng", "--pin-stdin", "--json", "--wait", "10"]
    return station(*arguments, given=PIN + b"\n", code=code)


def test_run_as_a_process_ends_with_the_code_of_its_verdict(folder):
    World(folder).insert(1)
    World(folder).set(reject="otp")
    command = [sys.executable, str(PROGRAM), "run", "fake-cp", "--label", "D1", "--operator", "eng", "--pin-stdin"]
    done = subprocess.run([*command, "--station", str(folder / "station.toml")], input=PIN, capture_output=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.returncode == 1, done.stderr[-1500:]
    assert b"FAIL bin 41 One-time memory -> tray RED" in done.stdout


def test_run_history_part_journal_release_from_the_command_line(folder, station):
    world = World(folder)
    world.insert(1)
    verdict = json.loads(next(line for line in run(station, "D1").splitlines() if line.startswith("{")))
    assert (verdict["kind"], verdict["tray"]) == ("pass", "GOOD")
    world.set(reject="otp")
    run(station, "D2", code=1)
    world.set(reject="", appliance="down")
    run(station, "D3", code=4)
    world.set(appliance="up")
    world.part("D4").burn("first")
    run(station, "D4", code=7)
    assert "passed Fake Probe" in run(station, "D1", code=2)
    found = json.loads(station("history", "--json", "--where", "kind=fail"))
    assert [row["label"] for row in found] == ["D2"]
    assert "D3" in station("history")
    assert "fake.first: done" in station("part", "show", "D1")
    assert "knows no part" in station("part", "show", "D99", code=2)
    assert json.loads(station("journal", "verify", "--json"))["ok"] is True
    exported = [json.loads(line) for line in station("journal", "export").splitlines()]
    assert exported[0]["kind"] == "signed_in" and exported[-1]["seq"] == len(exported)
    csv = folder / "out.csv"
    station("history", "--csv", str(csv))
    assert len(csv.read_text().splitlines()) == 5
    release = ["part", "release", "D4", "--reason", "known lab part", "--pin-stdin", "--operator"]
    assert "needs the role supervisor" in station(*release, "op", given=PIN, code=2)
    assert "released D4" in station(*release, "sup", given=PIN)
    assert "name or PIN" in station(*release, "sup", given=b"000000", code=2)


def test_operators_doctor_sockets_and_answer_from_the_command_line(folder, station):
    added = b"\n".join([PIN, b"314159", b""])
    assert "zoe is engineer" in station("operator", "add", "zoe", "--role", "engineer", "--supervisor", "sup",
                                        "--pin-stdin", given=added)  # fmt: skip
    assert "must add operators" in station("operator", "add", "eve", "--pin-stdin", given=PIN, code=2)
    assert {row["name"] for row in json.loads(station("operator", "list", "--json"))} == {
        "op", "eng", "sup", "zoe",
    }  # fmt: skip
    assert all(check["ok"] for check in json.loads(station("doctor", "--json")))
    World(folder).set(appliance="down", adapter="gone")
    assert "no appliance listens" in station("doctor", code=4)
    assert "the adapter is gone" in station("sockets", "check", code=3)
    World(folder).set(appliance="up", adapter="here")
    assert json.loads(station("sockets", "check", "--json"))[0]["ok"] is True
    assert "has no interrupted part" in station("answer", "--socket", "1", "--choice", "check", "--operator",
                                                "op", "--pin-stdin", given=PIN, code=2)  # fmt: skip
    assert "stored raw_unlock_token, 16 bytes" in station("doctor", "--store", "raw_unlock_token",
                                                          given=b"00112233445566778899aabbccddeeff")  # fmt: skip


def test_help_is_there_for_every_command():
    from station.cli import cli

    def commands(group, path=()):
        for name, command in group.commands.items():
            yield (*path, name), command
            if hasattr(command, "commands"):
                yield from commands(command, (*path, name))

    found = dict(commands(cli))
    wanted = {"gui", "run", "demo", "simulate", "engine", "appliance", "sockets", "history", "part", "operator",
              "answer", "journal", "doctor"}  # fmt: skip
    assert wanted <= {path[0] for path in found}
    for path, command in found.items():
        assert command.help and len(command.help) > 20, path
        for parameter in command.params:
            described = getattr(parameter, "help", "") or parameter.param_type_name == "argument" or parameter.hidden
            assert described or parameter.name == "role", (path, parameter.name)


def test_help_needs_no_heavy_import():
    program = "import sys; import station.cli; print(sorted(m for m in ('pydantic', 'sqlite_utils', 'grpc', 'usb', " \
              "'cryptography', 'argon2', 'asyncio') if m in sys.modules))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).resolve().parents[2])  # fmt: skip
    assert done.stdout.strip() == "[]"
