"""``station engine``: the workbench behind JSON lines on stdin and stdout (architecture, section 3).

End of stdin, SIGINT, SIGTERM and SIGHUP all mean: finish the burn in progress, stop at the next wait, record, exit.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from station.errors import EXIT_PASS, JournalError, StationError
from station.event_writer import EventWriter
from station.model import Mode
from station.processes import clean_environment
from station.protocol import MAX_LINE, Command, Ended, Log, ProtocolError, Shutdown, SignedIn, decode_command
from station.secret import harden_process

FLUSH_SECONDS = 3.0
ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def run_engine(station_file: Path, data: Path | None = None, record: Path | None = None, operator: str = "") -> int:
    """Serve one window; ``operator`` signs in without a PIN on a virtual bench. Returns the exit code."""
    harden_process()
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
    output = _private_stdout()
    with _recording(record) as recording, _ending_signals(commands):
        writer = EventWriter(output, lambda: commands.put(Shutdown()), recording)
        threading.Thread(target=_read_commands, args=(commands, writer), name="command reader", daemon=True).start()
        try:
            code, sentence = _serve(station_file, data, operator, writer, commands)
        except StationError as error:
            code, sentence = error.exit_code, str(error)
            print(f"station engine: {sentence}", file=sys.stderr)
        writer.emit(Ended(sentence))
        writer.close(FLUSH_SECONDS)
    return code


def _serve(
    station_file: Path, data: Path | None, operator: str, writer: EventWriter, commands: queue.SimpleQueue[Command]
) -> tuple[int, str]:
    from station.config import load_config
    from station.workbench import Workbench

    config = load_config(station_file, data)
    clean_environment(config.realm)
    bench = Workbench(config)
    bench.subscribe(writer.emit)
    writer.snapshots_from(bench.snapshot)
    try:
        bench.start(seated=True)
        bench.resume_recipe()
        if operator:
            sign_in_virtual(bench, operator)
        for event in bench.snapshot():
            writer.emit(event)
        while not isinstance(command := commands.get(), Shutdown):
            bench.handle(command)
    finally:
        latched = bench.journal.latched
        bench.close()
    return (JournalError.exit_code, latched) if latched else (EXIT_PASS, "")


def sign_in_virtual(bench: object, name: str) -> None:
    """Sign an operator in without a PIN; ``Refused`` unless the bench is virtual."""
    from station.errors import Refused
    from station.workbench import Workbench

    assert isinstance(bench, Workbench)
    if bench.config.mode is not Mode.VIRTUAL:
        raise Refused("only a virtual bench lets somebody work without a PIN")
    role = dict(bench.operators.names()).get(name)
    if role is None:
        raise Refused(f"there is no operator {name!r}")
    bench.operator, bench.role = name, role
    bench.emit(SignedIn(name, role))


def _private_stdout() -> int:
    """A descriptor of the real stdout that nobody else has; a library's ``print`` goes to stderr from now on."""
    sys.stdout.flush()
    private = os.dup(1)
    os.set_inheritable(private, False)
    os.dup2(2, 1)
    return private


@contextlib.contextmanager
def _recording(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    with open(path, "wb") as handle:
        yield handle


@contextlib.contextmanager
def _ending_signals(commands: queue.SimpleQueue[Command]) -> Iterator[None]:
    """``SimpleQueue.put`` may be called from a signal handler."""
    previous = {}
    for name in ENDING_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            previous[number] = signal.signal(number, lambda *_: commands.put(Shutdown()))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _read_commands(commands: queue.SimpleQueue[Command], writer: EventWriter) -> None:
    """Read lines until stdin ends; a bad line is answered and left, one that is too long ends the engine."""
    try:
        for line in _lines(sys.stdin.fileno()):
            try:
                commands.put(decode_command(line))
            except ProtocolError as error:
                writer.emit(Log(time.time(), 0, "station", "error", str(error)))
    finally:  # whatever ended it: an engine that nobody can talk to must not live on
        commands.put(Shutdown())


def _lines(descriptor: int) -> Iterator[bytes]:
    """Lines of a descriptor, none longer than ``MAX_LINE``: after a longer one the stream is taken for ended.

    Not ``sys.stdin``: its lock, held by a daemon thread that still reads, aborts the interpreter when it ends.
    """
    rest = b""
    while chunk := _read(descriptor):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line.strip())
        if len(rest) > MAX_LINE:
            return


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""
