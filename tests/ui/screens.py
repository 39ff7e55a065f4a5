"""Renders every state of the window to build/screenshots: ``python tests/ui/screens.py [--scale N] [NAME …]``."""

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "build" / "screenshots"


def scenes():
    """Name -> (settings, events, window size)."""
    import ui_samples as s

    from station.protocol import Latched, SignedIn

    eight = [
        replace(state, socket=i + 1)
        for i, state in enumerate((s.BURNING, s.PASS, s.INSERT, s.FAIL, s.RUNNING, s.QUARANTINE, s.HOLD, s.BENCH_FAULT))
    ]
    result = {
        "operate_4": (s.bench(), {}),
        "operate_4_dark": (s.bench(), {"theme": "dark"}),
        "operate_4_text_130": (s.bench(), {"text_size": 130}),
        "operate_8": (s.bench(8, states=eight), {}),
        "operate_2": (s.bench(2, states=(s.BURNING, s.PASS)), {}),
        "operate_1_wafer": ([s.hello(1), s.APPLIANCE, s.OPERATOR, s.WAFER, replace(s.RUNNING, socket=1), *s.LOGS], {}),
        "virtual": (s.bench(mode="virtual", states=[replace(s.INSERT, socket=i) for i in range(1, 5)]), {}),
        "signed_out": ([*s.bench(), SignedIn("")], {}),
        "latched": ([*s.bench(), Latched("The disk is full: free space on the data folder and restart.")], {}),
        "engine_stopped": (s.bench(), {"lost": "Exit code 70: unexpected error, see the crash report"}),
        "replay": (s.bench(), {"replay": True}),
    }
    for name, state in s.TILE_STATES.items():
        others = [replace(s.INSERT, socket=n, since=900.0 + n) for n in range(1, 5) if n != state.socket]
        result[f"state_{name}"] = (s.bench(states=[state, *others]), {"size": (1600, 1000)})
    return result


def render(name, events, options):
    """One window with these events, as an image."""
    from PySide6.QtWidgets import QApplication

    from ui.engine_link import EngineLink
    from ui.event_lines import LogLines
    from ui.settings import WindowSettings
    from ui.window import StationWindow

    settings = WindowSettings(theme=options.get("theme", "light"), text_size=options.get("text_size", 100))
    window = StationWindow(EngineLink(lambda: None), settings, replay=options.get("replay", False))
    window.resize(*options.get("size", (1600, 1000)))
    window.show()
    for event in events:
        row = (
            [(event.time, event.socket, event.source, event.level, event.text)]
            if type(event).__name__ == "Log"
            else None
        )
        window.take([LogLines(row) if row else event])
    if "lost" in options:
        window.view.engine_gone(options["lost"])
    window.operate.log.flush()
    window.refresh()
    for _ in range(3):
        QApplication.processEvents()
    picture = window.grab()
    window.close()
    window.deleteLater()
    QApplication.processEvents()
    return picture


def main(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(argv)
    if options.scale is None:
        for scale in (1, 2):
            subprocess.run([sys.executable, __file__, "--scale", str(scale), *options.names], check=True)
        return
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ["QT_SCALE_FACTOR"] = str(options.scale)
    sys.path[:0] = [str(ROOT), str(HERE)]
    from PySide6.QtWidgets import QApplication

    from ui.__main__ import prepare

    application = QApplication(sys.argv[:1])
    prepare(application, "en")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (events, extra) in scenes().items():
        if options.names and name not in options.names:
            continue
        render(name, events, extra).save(str(FOLDER / f"{name}@{options.scale}x.png"))


if __name__ == "__main__":
    main()
