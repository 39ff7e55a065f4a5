"""Helper processes of a benchmark: started with a pipe, ended by their number, never left behind."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import NotMeasuredError

READY_SECONDS = 30
END_SECONDS = 10


@contextmanager
def child(command: Sequence[str], **extra: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with pipes on stdin and stdout; ended politely, then for good."""
    environment = {**os.environ, **extra}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate and wait; kill what does not listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                pass  # the reader went first


def line_of(process: subprocess.Popen[bytes], seconds: float = READY_SECONDS) -> bytes:
    """One line of a process's output; fails when it ends or says nothing."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(seconds):
            raise TimeoutError(f"expected a line from process {process.pid} within {seconds} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"process {process.pid} ended with code {process.wait()} instead of saying where it is")
    return line


@contextmanager
def virtual_bench(folder: Path, sockets: int, *options: str) -> Iterator[dict[str, Any]]:
    """A virtual bench in a process of its own; yields its address and names it to the drivers."""
    command = [sys.executable, "-m", "drivers.virtual.bench", "--data", str(folder), "--sockets", str(sockets),
               "--json", "--parent-pid", str(os.getpid()), *options]  # fmt: skip
    with child(command) as process:
        address = json.loads(line_of(process))
        os.environ["STATION_VIRTUAL_BENCH"] = address["bench"]
        yield address


class Usage:
    """CPU seconds, threads and peak memory of another process, from the kernel's own books (Linux)."""

    def __init__(self, pid: int | str) -> None:
        if not sys.platform.startswith("linux"):
            raise NotMeasuredError("CPU and memory of another process are read from /proc, which only Linux has")
        self._folder = Path(f"/proc/{pid}")
        self._tick = os.sysconf("SC_CLK_TCK")

    def children(self) -> list[Usage]:
        """The processes that its main thread started."""
        return [Usage(pid) for pid in (self._folder / "task" / self._folder.name / "children").read_text().split()]

    def cpu(self) -> float:
        """User and system seconds so far."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / self._tick

    def peak_mebibytes(self) -> float:
        """Most resident memory so far (VmHWM)."""
        return self._status("VmHWM") / 1024

    def resident_mebibytes(self) -> float:
        """Resident memory now (VmRSS)."""
        return self._status("VmRSS") / 1024

    def _status(self, key: str) -> int:
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
        raise RuntimeError(f"/proc has no {key}")
