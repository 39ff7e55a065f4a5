"""``station-gui``: the operator's window on an engine or on a recording."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from station.program import importing_safely, station_command

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from ui.sources import Source

EXIT_NO_DISPLAY = 2
ORDERLY_SECONDS = 10.0  # for an idle engine to record and go; one that is writing goes on without the window


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="station-gui", description="The operator's window of the station.")
    parser.add_argument("--data", type=Path, help="data folder of the engine and of this window")
    parser.add_argument("--station", type=Path, help="station file, handed to the engine")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="play a recorded event file instead of an engine")
    parser.add_argument("--speed", type=float, default=1.0, help="pace of the replay; 0 is as fast as possible")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the engine's events to a file for --replay")
    parser.add_argument("--check", action="store_true", help="end with 0 when a window can be opened here, else with 2")
    parser.add_argument("--full-screen", action="store_true", help="cover the whole screen")
    parser.add_argument(
        "--engine", nargs=argparse.REMAINDER, metavar="CMD", help="engine command: the rest of the line"
    )
    return parser.parse_args(argv)


def engine_command(options: argparse.Namespace) -> list[str]:
    """The engine's command line: given, or the station of this installation."""
    if options.engine:
        return list(options.engine)
    data = ["--data", str(options.data)] if options.data else []
    station = ["--station", str(options.station)] if options.station else []
    return station_command("engine", *data, *station)


def has_display() -> bool:
    """True when a window can be opened; Qt itself would abort the process instead of saying so."""
    platform = os.environ.get("QT_QPA_PLATFORM", "")
    if platform.split(":")[0] in ("offscreen", "minimal", "vnc", "linuxfb", "eglfs"):
        return True
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def main(argv: Sequence[str] | None = None) -> int:
    """Open the window; 0 after it was closed, 2 when it cannot be opened."""
    options = parse(argv)
    if not has_display():
        print("There is no display for the window: run `station run` here, or open a desktop session.", file=sys.stderr)
        return EXIT_NO_DISPLAY
    if options.check:
        return 0
    if options.replay and not options.replay.is_file():
        print(f"{options.replay}: expected a recorded event file, but there is none.", file=sys.stderr)
        return EXIT_NO_DISPLAY
    return _open_window(options)


def _source(options: argparse.Namespace) -> Callable[[], Source]:
    from ui.sources import EngineProcess, Recording

    if options.replay:
        return lambda: Recording(options.replay, options.speed)
    command = engine_command(options)
    return lambda: EngineProcess(command, importing_safely(os.environ))


def _open_window(options: argparse.Namespace) -> int:
    from PySide6.QtWidgets import QApplication

    from ui import settings
    from ui.engine_link import EngineLink
    from ui.sources import Recorder
    from ui.window import StationWindow

    application = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(application, QApplication)
    file = settings.settings_file(options.data)
    chosen = settings.load(file)
    prepare(application, chosen.language)
    recorder = Recorder(options.record) if options.record else None
    link = EngineLink(_source(options), recorder)
    window = StationWindow(link, chosen, settings_file=file, replay=bool(options.replay))
    window.resize(1600, 1000)
    if options.full_screen:
        window.showFullScreen()
    else:
        window.show()
    restore = _end_with_signals(window.close)
    link.start()
    try:
        return application.exec()
    finally:
        restore()
        link.join(ORDERLY_SECONDS)
        if recorder is not None:
            recorder.close()


def prepare(application: QApplication, language: str = "") -> None:
    """Style, fonts and translation of the application."""
    from PySide6.QtCore import QLocale, QTranslator

    from ui.theme import load_fonts

    resources = resource_folder()
    application.setApplicationName("provisioning-station")
    application.setStyle("Fusion")
    load_fonts(resources / "fonts")
    locale = QLocale(language) if language else QLocale.system()
    translator = QTranslator(application)
    if translator.load(locale, "station", "_", str(resources / "translations")):
        application.installTranslator(translator)


def resource_folder() -> Path:
    """Where fonts and translations are: beside the packages, also in the frozen application."""
    return Path(getattr(sys, "_MEIPASS", Path(__file__).resolve().parent.parent)) / "resources"


def _end_with_signals(close: Callable[[], object]) -> Callable[[], None]:
    """Ctrl-C and SIGTERM close the window as its button does; Python sees signals only while a timer runs."""
    from PySide6.QtCore import QTimer

    previous = {number: signal.signal(number, lambda *_: close()) for number in (signal.SIGINT, signal.SIGTERM)}
    timer = QTimer()
    timer.timeout.connect(lambda: None)
    timer.start(250)

    def restore() -> None:
        timer.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)

    return restore


if __name__ == "__main__":
    sys.exit(main())
