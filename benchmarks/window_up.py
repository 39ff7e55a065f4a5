"""The operator's window as it is started, telling when its first frame was painted and its first states were shown."""

from __future__ import annotations

import json
import sys
import time

from PySide6.QtCore import QTimer

from benchmarks.children import Usage
from ui import __main__ as gui
from ui import window

POLL_MILLISECONDS = 2
GIVE_UP_SECONDS = 25.0


class Teller:
    """Looks at the window between events, says one line, closes it."""

    def __init__(self, shown: window.StationWindow) -> None:
        self._window = shown
        self._painted = 0.0
        self._end_at = time.monotonic() + GIVE_UP_SECONDS
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(POLL_MILLISECONDS)

    def _look(self) -> None:
        now = time.monotonic()
        handle = self._window.windowHandle()
        if not self._painted and handle is not None and handle.isExposed():
            self._window.repaint()  # the first frame is complete when this returns
            self._painted = time.monotonic()
        if (self._painted and self._window.view.sockets) or now > self._end_at:
            self._window.refresh()
            self._window.repaint()
            self._tell(time.monotonic())

    def _tell(self, live: float) -> None:
        self._timer.stop()
        peak = Usage("self").peak_mebibytes()
        print(json.dumps({"painted": self._painted, "live": live, "peak": peak}), flush=True)
        self._window.close()


class WatchedWindow(window.StationWindow):
    """The window with somebody who looks at it."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self._teller = Teller(self)


if __name__ == "__main__":
    window.StationWindow = WatchedWindow  # type: ignore[misc]
    raise SystemExit(gui.main(sys.argv[1:]))
