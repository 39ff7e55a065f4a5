"""Takes the pictures of docs/screenshots from a real station under Xvfb: ``python tests/helpers/take_screenshots.py``.

A lot is worked first (some parts with faults of the virtual bench), then the window shows the rest of it. With ``2`` as
argument the window is drawn at 200 % and all pictures go to build/screenshots.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy  # noqa: E402
from PySide6.QtGui import QImage  # noqa: E402
from real_window import SCREENSHOTS, Picture, Screen, Window, screen_in, wait_until  # noqa: E402

from station.config import load_config  # noqa: E402
from station.model import Role  # noqa: E402
from station.operators import Operators  # noqa: E402
from station.protocol import Acknowledge, Handle, SelectRecipe, SignIn, Start  # noqa: E402
from station.secret import Secret  # noqa: E402
from station.virtual_station import VirtualStation  # noqa: E402
from station.watching import Watcher  # noqa: E402
from station.workbench import Workbench  # noqa: E402

SCALE = int(sys.argv[1]) if len(sys.argv) > 1 else 1
PUBLISHED = ("operator", "run", "history", "release", "nordic")
DOCS = ROOT / "docs" / "screenshots"
LOT, WAFER, TRAY = "L24-0117", "W07", "T12"
NAME, PIN = "op-117", b"480213"
SOCKETS, DIES, LEFT = 4, 40, 4
SECONDS = 60.0
DIFFERENT = 3  # states on one picture
FAULTS = {
    ("cp", 6): "test_error",
    ("cp", 23): "no_contact",
    ("ft", 9): "corrupt_blob:body",
    ("ft", 12): "power_cut:inside:3",
    ("ft", 30): "test_error",
}
LIMITS = "\n[limits]\nlot_size = 460\nyield_limit = 0.85\nyield_minimum_parts = 30\n"
MIDDLE = (580, 380, 1000, 560)
BANNER = (20, 100, 1580, 188)
ENGINEER_BUTTON = (1376, 53)
HISTORY_FIND, HISTORY_PART = (500, 145), (1435, 145)
INSERT_BUTTONS = ((240, 550), (705, 550), (240, 946), (705, 946))
RELEASE, DIALOG = (1130, 250), (800, 147)
MENU_UPS = {"bench": 6, "step_times": 8, "yield": 11, "history": 12, "run": 13, "run_of_a_failed_part": 16}


def work_a_lot(station: VirtualStation) -> None:
    """Chip Probe on all dies of a wafer, Final Test on all good ones but the last few."""
    bench = Workbench(load_config(station.station_file))
    watcher = Watcher(bench)
    try:
        bench.start()
        _do(bench, SignIn(NAME, Secret(PIN, "pin")))
        _do(bench, SelectRecipe("earlgrey-cp", LOT, WAFER))
        good = _stage(bench, watcher, "cp", DIES)
        _do(bench, SelectRecipe("earlgrey-ft", LOT, TRAY))
        _stage(bench, watcher, "ft", good - LEFT)
    finally:
        bench.close()


def _do(bench: Workbench, command: object) -> None:
    assert bench.handle(command), command  # type: ignore[arg-type]


def _stage(bench: Workbench, watcher: Watcher, stage: str, count: int) -> int:
    """One recipe for so many dies, four at a time; how many passed."""
    passed = 0
    for first in range(0, count, SOCKETS):
        numbers = dict(enumerate(range(first, min(count, first + SOCKETS)), 1))
        for socket, number in numbers.items():
            _do(bench, Handle(socket, "insert", ""))
            watcher.wait(socket, "the label", lambda state: state.may_start, SECONDS)
            if fault := FAULTS.get((stage, number)):
                _do(bench, Handle(socket, "fault", fault))
        for socket in numbers:
            _do(bench, Start(socket, watcher.states[socket].epoch))
        for socket in numbers:
            state = watcher.wait_verdict(socket, SECONDS)
            bench.worker(socket).wait_idle()
            passed += state.state == "pass"
            if state.needs_acknowledge:
                _do(bench, Acknowledge(socket, watcher.states[socket].epoch))
            for action, argument in (("power", "on"), ("lid", "open"), ("remove", "")):
                _do(bench, Handle(socket, action, argument))
        for socket in numbers:
            watcher.wait(socket, "an empty socket", lambda state: state.state == "insert_part", SECONDS)
    return passed


class Camera:
    """The window of the lot, driven by keys."""

    def __init__(self, screen: Screen, window: Window, bench_file: Path) -> None:
        self.screen, self.window, self.bench_file = screen, window, bench_file

    def take(self, name: str, calm: tuple[int, int, int, int] = (0, 0, 1600, 1000)) -> Picture:
        """Wait for a quiet screen and keep it."""
        picture = self.window.calm(_scaled(calm), 0.5)
        _keep(picture, name)
        return picture

    def sign_in(self) -> None:
        """Name and PIN."""
        wait_until("the engine", lambda: self.window.last("Hello") and self.window.state(1))
        self.window.open_dialog(_scaled(BANNER), _scaled(MIDDLE))
        self.screen.type(NAME)
        self.screen.keys("Tab")
        self.screen.type(PIN.decode())
        self.take("sign_in", BANNER)
        self.screen.keys("Return")
        wait_until("the sign-in", lambda: self.window.last("SignedIn", operator=NAME))

    def choose_recipe(self) -> None:
        """Final Test with its lot and tray."""
        self.window.open_dialog(_scaled(BANNER), _scaled(MIDDLE))
        self.screen.keys("Down", "Tab")
        self.screen.type(LOT)
        self.screen.keys("Tab")
        self.screen.type(TRAY)
        time.sleep(0.3)
        self.screen.keys("Return")
        wait_until("the recipe", lambda: self.window.last("Hello", recipe="earlgrey-ft"))

    def mixed_states(self) -> None:
        """Four parts, started one after another; the chips are stopped in time when the states differ."""
        window = self.window
        for socket, place in enumerate(INSERT_BUTTONS, 1):
            self.window.calm(_scaled(BANNER))
            self.screen.click(*_scaled(place))
            window.wait_state(socket, "scan", may_start=True)
        self.take("ready")
        hands(self.bench_file, 1, "corrupt_blob:body")
        for socket in range(1, SOCKETS + 1):
            if socket == SOCKETS:
                wait_until("a part that is done", lambda: window.state(2)["state"] == "pass")
            window.press(
                "space", _scaled(BANNER), lambda s=socket: not window.state(s).get("may_start"), f"start {socket}"
            )
        _keep(wait_until("mixed states", self._mixed, 20), "operator")

    def _mixed(self) -> Picture | None:
        """A picture of the screen while the states are what is wanted, before and after it."""

        def wanted() -> bool:
            states = [self.window.state(socket)["state"] for socket in range(1, SOCKETS + 1)]
            return "fail" in states and "burning" in states and len(set(states)) >= DIFFERENT

        if not wanted():
            return None
        time.sleep(0.08)
        picture = self.screen.picture()
        return picture if wanted() else None

    def engineer_pages(self) -> None:
        """History, one run, one part in quarantine with its release, yield, bench."""
        for name in ("run", "run_of_a_failed_part", "yield", "step_times", "bench"):
            self.menu(name)
            self.take(name, BANNER)
            self.screen.click(*_scaled(DIALOG))  # without a window manager a dialog gets the keys when it is clicked
            self.screen.keys("Escape")
            time.sleep(0.4)
        self.menu("history")
        self.take("history", BANNER)
        self.screen.click(*_scaled(HISTORY_FIND))
        self.screen.type("quarantine")
        time.sleep(0.4)
        self.screen.click(*_scaled(HISTORY_PART))
        time.sleep(1.0)
        self.take("part", BANNER)
        self.screen.click(*_scaled(RELEASE))
        time.sleep(0.8)
        self.screen.type("read back at the engineer's bench")
        self.take("release", BANNER)

    def menu(self, name: str) -> None:
        """Open an entry of the engineer menu, counted from its end."""
        self.screen.click(*_scaled(ENGINEER_BUTTON))
        time.sleep(0.5)
        self.screen.keys(*["Up"] * MENU_UPS[name], "Return")
        time.sleep(1.0)


def _scaled(place: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(SCALE * value for value in place)


def hands(bench_file: Path, socket: int, fault: str) -> None:
    """Arm a fault."""
    from drivers.virtual.handler import open_handler

    handler = open_handler({"bench": str(bench_file)})
    try:
        handler.fault(socket, fault)
    finally:
        handler.close()


def _keep(picture: Picture, name: str) -> None:
    file = (
        SCREENSHOTS if SCALE > 1 or name not in PUBLISHED else DOCS
    ) / f"{name}{f'@{SCALE}x' if SCALE > 1 else ''}.png"
    _indexed(picture).save(str(file), "PNG", 0)
    print(f"{file.name}: {file.stat().st_size // 1024} KiB")


def _indexed(picture: Picture) -> QImage:
    """The 256 most frequent colours exactly, all others as the nearest of them: no dither, half the size."""
    pixels = numpy.frombuffer(picture.data, numpy.uint32).reshape(picture.height, picture.stride // 4) & 0xFFFFFF
    colours, places, counts = numpy.unique(pixels, return_inverse=True, return_counts=True)
    table = colours[numpy.argsort(-counts)[:256]]
    parts = [(table >> shift & 255).astype(int) for shift in (16, 8, 0)]
    nearest = [
        numpy.argmin(sum(((int(c) >> s & 255) - part) ** 2 for s, part in zip((16, 8, 0), parts, strict=True)))
        for c in colours
    ]
    indexed = numpy.array(nearest, numpy.uint8)[places.reshape(pixels.shape)]
    data = numpy.ascontiguousarray(indexed[:, : picture.width])
    image = QImage(data.tobytes(), picture.width, picture.height, picture.width, QImage.Format.Format_Indexed8)
    image.setColorTable([int(c) | 0xFF000000 for c in table])
    return image.copy()


def main() -> None:
    """All pictures."""
    DOCS.mkdir(parents=True, exist_ok=True)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as name:
        folder = Path(name)
        with (
            VirtualStation(folder / "station", SOCKETS, "sival") as station,
            screen_in(folder, (SCALE * 1600, SCALE * 1000)) as screen,
        ):
            Operators(station.data).add(NAME, Role.SUPERVISOR, PIN)
            with station.station_file.open("a") as file:
                file.write(LIMITS)
            began = time.monotonic()
            work_a_lot(station)
            print(f"lot worked in {time.monotonic() - began:.0f} s")
            bench_file = station.folder / "bench" / "bench.json"
            arguments = ["--station", str(station.station_file), "--data", str(station.data)]
            with Window(screen, folder, arguments, QT_SCALE_FACTOR=str(SCALE)) as window:
                camera = Camera(screen, window, bench_file)
                camera.sign_in()
                camera.choose_recipe()
                camera.mixed_states()
                for socket in range(1, SOCKETS + 1):
                    window.wait_state(socket, "pass", "fail", seconds=SECONDS)
                camera.engineer_pages()


if __name__ == "__main__":
    main()
