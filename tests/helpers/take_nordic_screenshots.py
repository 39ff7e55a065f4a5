"""Takes the pictures of a Nordic bench: ``python tests/helpers/take_nordic_screenshots.py``.

As ``take_screenshots.py``, on a virtual bench of nRF5340 kits: the question of a flow, runs in all their states, one
run, the history, a recovery with its two confirmations. With ``2`` as argument everything is drawn at 200 % into
build/screenshots.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from real_window import SCREENSHOTS, Window, screen_in, wait_until  # noqa: E402
from take_screenshots import (  # noqa: E402
    BANNER,
    DIALOG,
    DOCS,
    INSERT_BUTTONS,
    MIDDLE,
    NAME,
    PIN,
    SCALE,
    SECONDS,
    Camera,
    _keep,
    _scaled,
    hands,
)

from station.model import Role  # noqa: E402
from station.operators import Operators  # noqa: E402
from station.virtual_station import VirtualStation  # noqa: E402

CHIP, RECIPE = "nrf5340", "nrf5340-dk"
LOT, TRAY = "N26-031", "T04"
SOCKETS = 4
FAULT = "identity:no_mkek"
MENU = {"bench": 6, "history": 11, "run": 12}
"""Entries of the engineer menu counted from its end; there is no entry for registrations."""


class NordicCamera(Camera):
    """The window of a lot of kits, driven by keys."""

    def choose_recipe(self) -> None:
        """The recipe of the kit with its lot and tray."""
        self.window.open_dialog(_scaled(BANNER), _scaled(MIDDLE))
        self.screen.keys("Tab")
        self.screen.type(LOT)
        self.screen.keys("Tab")
        self.screen.type(TRAY)
        time.sleep(0.3)
        self.screen.keys("Return")
        wait_until("the recipe", lambda: self.window.last("Hello", recipe=RECIPE))

    def work(self) -> None:
        """Four parts; the first asks whether the lot is new, the fourth has a fault."""
        window = self.window
        for socket, place in enumerate(INSERT_BUTTONS, 1):
            window.calm(_scaled(BANNER))
            self.screen.click(*_scaled(place))
            window.wait_state(socket, "scan", may_start=True)
        hands(self.bench_file, SOCKETS, FAULT)
        self.start(1)
        self.answer(1, "nordic_question")
        window.wait_state(1, "pass", seconds=SECONDS)
        for socket in range(2, SOCKETS + 1):
            self.start(socket)
        wait_until("burning beside a pass", lambda: self._states() >= {"burning", "pass"}, SECONDS)
        time.sleep(0.1)
        _keep(self.screen.picture(), "nordic")
        for socket in range(1, SOCKETS + 1):
            window.wait_state(socket, "pass", "fail", seconds=SECONDS)
        self.take("nordic_done")

    def start(self, socket: int) -> None:
        """Space, until the socket has begun."""
        begun = lambda: not self.window.state(socket).get("may_start")  # noqa: E731
        self.window.press("space", _scaled(BANNER), begun, f"start {socket}")

    def answer(self, socket: int, name: str) -> None:
        """Wait for the flow's question, keep a picture of it, answer with F1."""
        asked = wait_until("the question", lambda: self.window.state(socket).get("prompt"), SECONDS)
        self.take(name, BANNER)
        gone = lambda: (self.window.state(socket).get("prompt") or {}).get("id") != asked["id"]  # noqa: E731
        self.window.press("F1", _scaled(BANNER), gone, "the answer")

    def _states(self) -> set[str]:
        return {self.window.state(socket)["state"] for socket in range(1, SOCKETS + 1)}

    def pages(self) -> None:
        """One run, the history, the bench."""
        for name, ups in MENU.items():
            self.screen.click(*_scaled((1376, 53)))
            time.sleep(0.5)
            if name == "bench":
                self.take("nordic_menu", BANNER)
            self.screen.keys(*["Up"] * ups, "Return")
            time.sleep(1.0)
            self.take(f"nordic_{name}", BANNER)
            self.screen.click(*_scaled(DIALOG))
            self.screen.keys("Escape")
            time.sleep(0.4)


def main() -> None:
    """All pictures."""
    DOCS.mkdir(parents=True, exist_ok=True)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as name:
        folder = Path(name)
        with (
            VirtualStation(folder / "station", SOCKETS, chip=CHIP) as station,
            screen_in(folder, (SCALE * 1600, SCALE * 1000)) as screen,
        ):
            Operators(station.data).add(NAME, Role.SUPERVISOR, PIN)
            bench_file = station.folder / "bench" / "bench.json"
            arguments = ["--station", str(station.station_file), "--data", str(station.data)]
            with Window(screen, folder, arguments, QT_SCALE_FACTOR=str(SCALE)) as window:
                camera = NordicCamera(screen, window, bench_file)
                camera.sign_in()
                camera.choose_recipe()
                camera.work()
                camera.pages()


if __name__ == "__main__":
    main()
