"""One real ``station engine`` on the crash bench: commands in, events out, ended in whatever way a test wants."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crash_bench import ROOT, CrashBench, Place

from station.model import Role
from station.operators import Operators

SECONDS = 60.0
NAME, PIN = "anna", b"4829164073951862"
ON_TERMINAL = (
    "import os, sys; os.open(sys.argv[1], os.O_RDWR); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)
"""A session leader that opens a terminal gets it as its controlling one; the engine then takes its place."""


class EngineProcess:
    """Use it as a context manager; at the end the engine is killed if it has not ended by itself."""

    def __init__(
        self, bench: CrashBench, place: Place, record: Path | None = None, environment: dict[str, str] | None = None
    ) -> None:
        Operators(place.data).add(NAME, Role.SUPERVISOR, PIN)
        bench.take_over(place)
        self.bench = bench
        self.place = place
        self.events: list[dict[str, Any]] = []
        self._record = record
        self._environment = environment or {}
        self._new: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.terminal: int | None = None

    def __enter__(self) -> EngineProcess:
        self.terminal, slave = os.openpty()
        command = ["-m", "station", "engine", "--station", str(self.bench.station), "--data", str(self.place.data)]
        command += ["--record", str(self._record)] if self._record else []
        self._log = (self.place.folder / "engine.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, os.ttyname(slave), *command], cwd=ROOT, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env={**os.environ, **self._environment},
        )  # fmt: skip
        os.close(slave)
        self._reader = threading.Thread(target=self._read, name="engine events")
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        self._reader.join()
        self.close_terminal()
        for stream in (self.process.stdin, self.process.stdout, self._log):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def close_terminal(self) -> None:
        """Close the window of the terminal the engine runs in."""
        if self.terminal is not None:
            os.close(self.terminal)
            self.terminal = None

    def close_stdin(self) -> None:
        """What the engine sees when the window is gone."""
        self.process.stdin.close()  # type: ignore[union-attr]

    def tell(self, type_: str, **fields: object) -> None:
        self.process.stdin.write(json.dumps({"type": type_, **fields}).encode() + b"\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def until(self, fits: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The next event that fits."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                event = self._new.get(timeout=1)
                assert event is not None, f"the engine ended while {what} was awaited: {self.events[-4:]}"
                if fits(event):
                    return event
        raise AssertionError(f"{what} did not come; last {self.events[-4:]}")

    def state(self, *names: str) -> dict[str, Any]:
        """The next state of socket 1 with one of these names."""
        return self.until(lambda e: e["type"] == "SocketState" and e["state"] in names, f"state {names}")

    def sign_in(self) -> None:
        self.tell("SignIn", operator=NAME, pin=PIN.decode())
        self.until(lambda e: e["type"] == "SignedIn" and e["operator"] == NAME, "the sign-in")

    def run_part(self, recipe: str, label: str) -> dict[str, Any]:
        """Scan and start the part in socket 1; returns the state with its verdict."""
        self.tell("SelectRecipe", recipe=recipe)
        self.tell("Snapshot")
        self.state("scan")
        self.tell("Scan", text=label, socket=1)
        ready = self.until(lambda e: e["type"] == "SocketState" and e["may_start"], "a part that may start")
        self.tell("Start", socket=1, epoch=ready["epoch"])
        return self.until(lambda e: e["type"] == "SocketState" and e.get("verdict"), "a verdict")

    def answer(self, choice: str) -> None:
        """Answer the open question of socket 1."""
        self.tell("Snapshot")
        asked = self.until(lambda e: e["type"] == "SocketState" and e.get("prompt"), "a question")
        self.tell("Answer", socket=1, prompt=asked["prompt"]["id"], choice=choice)

    def wait_ended(self) -> int:
        """The exit code of an engine that was told to end."""
        return self.process.wait(SECONDS)

    def _read(self) -> None:
        for line in self.process.stdout:  # type: ignore[union-attr]
            event = json.loads(line)
            self.events.append(event)
            self._new.put(event)
        self._new.put(None)
