"""The real window on a virtual screen: Xvfb, `station gui` with its processes, key presses, pixels."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
SIZE = (1600, 1000)
READY_SECONDS = 20.0
CALM_SECONDS = 0.6  # longer than the keys are dead after a change of what they would do
Box = tuple[int, int, int, int]


def wait_until(what: str, answer: Callable[[], Any], seconds: float = READY_SECONDS) -> Any:
    """Wait for a true answer and give it back."""
    end = time.monotonic() + seconds
    while not (found := answer()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.03)
    return found


def alive(pid: int) -> bool:
    """True while a process with this number runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """Process numbers of the children of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return found


class Picture:
    """The pixels of one moment, as read from the frame buffer."""

    def __init__(self, data: bytes, width: int, height: int, stride: int) -> None:
        self.data, self.width, self.height, self.stride = data, width, height, stride

    def colour(self, x: int, y: int) -> str:
        """``#RRGGBB`` of one pixel."""
        at = y * self.stride + 4 * x
        blue, green, red = self.data[at : at + 3]
        return f"#{red:02X}{green:02X}{blue:02X}"

    def counts(self, box: Box, step: int = 2) -> Counter[str]:
        """How often each colour occurs in a box (left, top, right, bottom)."""
        left, top, right, bottom = box
        return Counter(self.colour(x, y) for y in range(top, bottom, step) for x in range(left, right, step))

    def crop(self, box: Box) -> bytes:
        """The bytes of a box, to compare two moments."""
        left, top, right, bottom = box
        return b"".join(self.data[y * self.stride + 4 * left : y * self.stride + 4 * right] for y in range(top, bottom))

    def save(self, path: Path, smallest: bool = False) -> None:
        """Write a PNG file; the smallest takes longer to write."""
        from PySide6.QtGui import QImage

        path.parent.mkdir(parents=True, exist_ok=True)
        image = QImage(self.data, self.width, self.height, self.stride, QImage.Format.Format_RGB32)
        assert image.convertToFormat(QImage.Format.Format_RGB888).save(str(path), "PNG", 0 if smallest else -1)


class Screen:
    """An X server of our own, without a window manager."""

    def __init__(self, folder: Path, size: tuple[int, int] = SIZE) -> None:
        assert shutil.which("Xvfb") and shutil.which("xdotool"), "start.py test installs xvfb and xdotool"
        folder.mkdir(parents=True, exist_ok=True)
        reading, writing = os.pipe()
        command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{size[0]}x{size[1]}x24", "-fbdir", str(folder),
                   "-nolisten", "tcp", "-dpi", "96"]  # fmt: skip
        self._process = subprocess.Popen(
            command, pass_fds=[writing], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            number = pipe.readline().decode().strip()
        assert number, "Xvfb did not start"
        self.display = f":{number}"
        self._file = (folder / "Xvfb_screen0").open("rb")
        self._memory = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def picture(self) -> Picture:
        """What is on the screen now; the frame buffer is an XWD file (X11/XWDFile.h): 25 big-endian words, colours."""
        header = struct.unpack(">25I", self._memory[:100])
        start = header[0] + 12 * header[19]
        width, height, stride = header[4], header[5], header[12]
        return Picture(self._memory[start : start + stride * height], width, height, stride)

    def keys(self, *names: str) -> None:
        """Press keys, one after another, as a hand does."""
        self._xdotool("key", "--delay", "60", *names)

    def type(self, text: str) -> None:
        """Type text slowly enough to be no scanner."""
        self._xdotool("type", "--delay", "60", text)

    def click(self, x: int, y: int) -> None:
        """Click a place with the left button."""
        self._xdotool("mousemove", str(x), str(y), "click", "1")

    def close(self) -> None:
        """End the server by its id."""
        self._memory.close()
        self._file.close()
        self._process.terminate()
        self._process.wait(10)

    def _xdotool(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], env={**os.environ, "DISPLAY": self.display}, check=True, timeout=20)


class Window:
    """One `station gui` process on a screen; its recorded events say what the engine told it."""

    def __init__(
        self, screen: Screen, folder: Path, arguments: Sequence[str], name: str = "window", **env: str
    ) -> None:
        self.screen = screen
        self.record = folder / f"{name}.jsonl"
        self._log = (folder / f"{name}.log").open("wb")
        environment = {**os.environ, "DISPLAY": screen.display, "QT_QPA_PLATFORM": "xcb", "LC_ALL": "C.UTF-8",
                       "XDG_DATA_HOME": str(folder / "xdg"), "XDG_CONFIG_HOME": str(folder / "xdg"),
                       "PYTHONPATH": str(ROOT), **env}  # fmt: skip
        command = [sys.executable, "-m", "station", "gui", *arguments, "--", "--record", str(self.record)]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        self._read = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        """Close as SIGTERM does (like its button); insist only after a while; nothing of it is left."""
        family = children(self.process.pid) if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()
        for pid in family:
            end = time.monotonic() + 15
            while alive(pid) and time.monotonic() < end:
                time.sleep(0.05)
            if alive(pid):
                os.kill(pid, signal.SIGKILL)

    # ---- what the engine said -----------------------------------------------------------------------------------

    def news(self) -> list[dict[str, Any]]:
        """All events so far."""
        if self.record.exists():
            with self.record.open("rb") as file:
                file.seek(self._read)
                chunk = file.read()
            self._read += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self.events += [json.loads(line) for line in lines if line]
        return self.events

    def last(self, kind: str, **values: Any) -> dict[str, Any]:
        """The last event of a kind with these values, or an empty one."""
        for event in reversed(self.news()):
            if event["type"] == kind and all(event.get(name) == value for name, value in values.items()):
                return event
        return {}

    def state(self, socket: int = 1) -> dict[str, Any]:
        """The last state of a socket."""
        return self.last("SocketState", socket=socket)

    def wait_state(self, socket: int, *names: str, seconds: float = READY_SECONDS, **values: Any) -> dict[str, Any]:
        """Wait for a socket's state (and values of its fields)."""

        def fits() -> dict[str, Any]:
            assert self.process.poll() is None, f"the window ended: {Path(self._log.name).read_text()[-2000:]}"
            state = self.state(socket)
            good = state.get("state") in names and all(state.get(key) == value for key, value in values.items())
            return state if good else {}

        return wait_until(f"socket {socket} to be {' or '.join(names)} {values}", fits, seconds)

    # ---- what is on the screen, and what a hand does -----------------------------------------------------------------

    def calm(self, box: Box, seconds: float = CALM_SECONDS) -> Picture:
        """Wait until a part of the screen has not changed for a while."""
        before, since = self.screen.picture(), time.monotonic()
        end = since + READY_SECONDS
        while time.monotonic() - since < seconds:
            assert time.monotonic() < end, "the screen does not come to rest"
            time.sleep(0.04)
            now = self.screen.picture()
            if now.crop(box) != before.crop(box):
                before, since = now, time.monotonic()
        return before

    def press(self, key: str, banner: Box, done: Callable[[], Any], what: str) -> Any:
        """Press once the banner is at rest; a press that fell into the dead time is repeated, as a hand would."""
        for _ in range(3):
            self.calm(banner)
            self.screen.keys(key)
            try:
                return wait_until(what, done, 5)
            except AssertionError:
                continue
        raise AssertionError(f"three presses of {key} had no effect: {what}")

    def open_dialog(self, banner: Box, place: Box) -> None:
        """Press Space until something has opened over a place in the middle of the screen, and wait for it."""
        before = self.calm(banner).crop(place)
        self.press("space", banner, lambda: self.screen.picture().crop(place) != before, "a dialog")
        self.calm(place, 0.4)


@contextmanager
def screen_in(folder: Path, size: tuple[int, int] = SIZE) -> Iterator[Screen]:
    """A screen that is ended on every way out."""
    screen = Screen(folder / "framebuffer", size)
    try:
        yield screen
    finally:
        screen.close()
