"""Where events come from: a live engine process, or a recording of one."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from PySide6.QtCore import QCoreApplication

try:
    import fcntl
except ImportError:  # not on Windows, whose pipes are made as large as is asked for
    fcntl = None  # type: ignore[assignment]

translate = QCoreApplication.translate
CHUNK = 1 << 16
PIPE_BYTES = 1 << 18
LONGEST_PAUSE = 2.0  # seconds between two lines of a replay, however long the bench was idle


class Source(Protocol):
    """A byte stream of events with a way back for commands; ``read`` is called by one thread only."""

    def read(self) -> bytes:
        """Block for more bytes; nothing means the end."""

    def send(self, line: bytes) -> None:
        """Send one command line without waiting."""

    def outcome(self) -> str:
        """After the end: one sentence that says how it ended."""

    def close(self) -> None:
        """Send nothing more; never ends a process."""


class EngineProcess:
    """The engine in a session of its own: neither a closed window nor Ctrl-C reaches it; never killed from here."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """``environment``: the engine's variables; None: those of this process."""
        self._environment = environment
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the engine
        try:
            self._process = self._open(command)
        except OSError:
            self._errors.close()
            raise
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="engine-commands", daemon=True)
        self._writer.start()

    def _open(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        process: subprocess.Popen[bytes] = subprocess.Popen(
            list(command),
            stdin=pipe,
            stdout=pipe,
            stderr=self._errors,
            bufsize=0,
            env=self._environment,
            **_own_session(),
        )
        assert process.stdout is not None
        _widen(process.stdout.fileno())
        return process

    @property
    def pid(self) -> int:
        """The engine's process id, for the bench page."""
        return self._process.pid

    def read(self) -> bytes:
        """Bytes of the engine's output; nothing once it is gone."""
        assert self._process.stdout is not None
        try:
            return self._process.stdout.read(CHUNK) or b""
        except (OSError, ValueError):
            return b""

    def send(self, line: bytes) -> None:
        """Queue one command line; an engine that does not read never stalls the window."""
        self._outgoing.put(line)

    def close(self) -> None:
        """End the engine's input: it finishes the burn in progress, stops at the next wait, records and exits."""
        self._outgoing.put(None)

    def outcome(self) -> str:
        """How the engine ended, with the last line it wrote to its error output."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return translate("sources", "The engine closed its output but still runs; it keeps the data folder.")
        self.close()
        self._writer.join(timeout=5)
        last = self._last_error_line()
        self._close_files()
        if last and code:
            return translate("sources", "Exit code {code}: {line}").format(code=code, line=last)
        return translate("sources", "The engine ended with exit code {code}.").format(code=code)

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        while (line := self._outgoing.get()) is not None:
            try:
                pipe.write(line)
            except OSError:
                break
        try:
            pipe.close()
        except OSError:
            pass

    def _last_error_line(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 4096))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip()[:300] if lines else ""

    def _close_files(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


def _own_session() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_BREAKAWAY_FROM_JOB}
    return {"start_new_session": True}


def _widen(descriptor: int) -> None:
    """Room in the engine's pipe for what it writes while the window paints; where it cannot be had, less must do."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # the limit of this user is reached


class Recording:
    """A recorded event file, played at the pace of its ``at`` keys (or of its log lines); commands go nowhere."""

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        self._file: BinaryIO = path.open("rb")
        self._name = path.name
        self._speed = speed
        self._closed = threading.Event()
        self._last: float | None = None
        self._ahead = b""

    def read(self) -> bytes:
        """The next lines that are due; waits for the pace of the recording."""
        lines = [self._ahead] if self._ahead else []
        self._ahead = b""
        while len(lines) < 500:
            line = self._file.readline()
            if not line:
                break
            pause = self._pause_before(line)
            if pause > 0 and lines:
                self._ahead = line
                self._closed.wait(pause)
                break
            self._closed.wait(pause)
            lines.append(line if line.endswith(b"\n") else line + b"\n")
        if self._closed.is_set():
            lines = []
        return b"".join(lines)

    def send(self, line: bytes) -> None:
        """Commands have nobody to go to."""

    def close(self) -> None:
        """End the replay."""
        self._closed.set()

    def outcome(self) -> str:
        """Says that the recording has ended."""
        self._file.close()
        return translate("sources", "End of {file}.").format(file=self._name)

    def _pause_before(self, line: bytes) -> float:
        if self._speed <= 0:
            return 0.0
        try:
            body = json.loads(line)
            at = float(body["at"] if "at" in body else body["time"])
        except (ValueError, KeyError, TypeError):
            return 0.0
        last, self._last = self._last, at
        return 0.0 if last is None else min(max(0.0, at - last) / self._speed, LONGEST_PAUSE)


class Recorder:
    """Writes what the engine says to a file that ``Recording`` can play; credentials never travel this way."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = path.open("wb", buffering=0)  # whole even when the window is killed
        self._clock = clock
        self._start = clock()
        self._rest = b""
        self._guard = threading.Lock()

    def write(self, chunk: bytes) -> None:
        """Take bytes of the stream; every whole line gets the key ``at``, seconds since the start."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        stamp = f'{{"at":{self._clock() - self._start:.3f},'.encode()
        with self._guard:
            if not self._file.closed:  # the engine may outlive the window
                self._file.write(b"".join(stamp + line[1:] + b"\n" for line in lines if line.startswith(b"{")))

    def close(self) -> None:
        """Close the file; what comes later is left out."""
        with self._guard:
            self._file.close()
