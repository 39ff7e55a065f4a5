"""The real window under Xvfb: real processes, real key presses, real pixels.

One part through Chip Probe and Final Test, a failing one beside it; a killed engine and its question; a killed window
whose engine goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import eyes
import pytest
from real_window import SCREENSHOTS, Window, alive, children, screen_in, wait_until

from drivers.virtual.handler import open_handler
from station.model import Role
from station.operators import Operators
from station.virtual_station import VirtualStation
from ui.theme import LIGHT

pytestmark = [pytest.mark.xvfb, pytest.mark.timeout(150)]
BANNER = (20, 100, 1580, 188)
TILE = (20, 210, 930, 980)  # the one tile of a one-socket bench at 1600 × 1000
HEAD = (30, 245, 920, 330)
MIDDLE = (580, 380, 1000, 560)  # over which dialogs open
ENGINEER_BUTTON = (1376, 53)
LABEL, PACKAGE = "DEMO/W1/X0/Y0", "P000001"
ANSWERS = (30, 900, 470, 970)


@pytest.fixture
def screen(tmp_path):
    with screen_in(tmp_path) as opened:
        yield opened


def pictures(window, name):
    """Wait until the tile is at rest, keep what is on the screen, give it back."""
    picture = window.calm(HEAD, 0.2)
    picture.save(SCREENSHOTS / f"xvfb_{name}.png")
    return picture


def head_is(window, role):
    """True when the head of the tile is painted in a role."""
    counts = window.screen.picture().counts(HEAD)
    pair = LIGHT.role(role)
    return counts[pair.surface] > 1000 and counts[pair.ink] > 100


def shown(window, role, name):
    """Wait until the tile's head shows a role, and keep the picture."""
    wait_until(f"the tile to be painted as {role}", lambda: head_is(window, role))
    return pictures(window, name)


def choose_first_recipe(window):
    """Space opens the dialog, Enter takes the first recipe, Chip Probe."""
    wait_until("the engine", lambda: window.last("SignedIn").get("operator") and window.state(1))
    window.open_dialog(BANNER, MIDDLE)
    window.screen.keys("Return")
    wait_until("the recipe", lambda: window.last("Hello", recipe="earlgrey-cp"))


def insert_and_start(window):
    window.press("space", BANNER, lambda: window.state(1).get("may_start"), "the part to be in and its label scanned")
    shown(window, "wait", "ready")
    window.press("space", BANNER, lambda: window.state(1)["state"] not in ("scan", "insert_part"), "the start")


def remove(window):
    window.press("space", BANNER, lambda: window.state(1)["state"] == "insert_part", "the part to be out")


def history(folder):
    """What the command line says of the journal."""
    command = [sys.executable, "-m", "station", "history", "--data", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


def chip_of(folder):
    """The virtual chip's own view."""
    handler = open_handler({"bench": str(folder / "bench" / "bench.json")})
    try:
        return handler.state(1)["chip"]
    finally:
        handler.close()


def arm(folder, fault):
    handler = open_handler({"bench": str(folder / "bench" / "bench.json")})
    try:
        handler.fault(1, fault)
    finally:
        handler.close()


def test_a_part_by_keys_alone_from_raw_to_prod(screen, tmp_path):
    place = tmp_path / "station"
    began = time.monotonic()
    with Window(screen, tmp_path, ["--data", str(place), "--sockets", "1"]) as window:
        choose_first_recipe(window)
        insert_and_start(window)
        assert window.wait_state(1, "pass", "fail", "hold", "quarantine", "bench_fault")["state"] == "pass"
        passed = shown(window, "pass", "pass")
        remove(window)

        window.press("space", BANNER, lambda: window.state(1).get("may_start"), "the second part to be ready")
        arm(place, "test_error")
        window.press("space", BANNER, lambda: window.state(1)["state"] != "scan", "the start")
        verdict = window.wait_state(1, "pass", "fail", "hold", "quarantine", "bench_fault")["verdict"]
        assert verdict["kind"] == "fail", verdict
        failed = shown(window, "fail", "fail")
        window.press("space", BANNER, lambda: not window.state(1)["needs_acknowledge"], "the acknowledgement")
        remove(window)

        screen.click(*ENGINEER_BUTTON)
        window.calm(TILE, 0.3)
        screen.keys("Up", "Up", "Up", "Up", "Return")  # themes, text sizes, stop, recipe
        window.calm(MIDDLE, 0.4)
        screen.keys("Down", "Return")
        wait_until("the recipe", lambda: window.last("Hello", recipe="earlgrey-ft"))
        insert_and_start(window)
        window.wait_state(1, "burning")
        wait_until("DO NOT REMOVE on the screen", lambda: head_is(window, "burn"))
        screen.picture().save(SCREENSHOTS / "xvfb_burning.png")
        assert window.wait_state(1, "pass", "fail", "hold", "quarantine", "bench_fault")["state"] == "pass"
        shown(window, "pass", "final_test_pass")
        assert chip_of(place)["double_burns"] == [] and chip_of(place)["lc_state"] == "PROD"
        assert peak_mebibytes(window.process.pid) < 300
        family = children(window.process.pid)
    assert window.process.returncode == 0 and not any(map(alive, family))
    runs = [(run["recipe"], run["label"], run["kind"]) for run in reversed(history(place / "data"))]
    assert runs == [("earlgrey-cp", LABEL, "pass"), ("earlgrey-cp", "DEMO/W1/X1/Y0", "fail"),
                    ("earlgrey-ft", PACKAGE, "pass")]  # fmt: skip
    eyes_can_tell(passed, failed)
    assert time.monotonic() - began < 60


def peak_mebibytes(pid):
    """The largest resident size that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def eyes_can_tell(passed, failed):
    """Contrast, and pass against fail for colour-blind eyes, in the pixels of the real window."""
    heads = []
    for picture in (passed, failed):
        surface, ink = (colour for colour, _ in picture.counts(HEAD, 1).most_common(2))
        assert eyes.contrast(surface, ink) >= 4.5, (surface, ink)
        heads.append((surface, ink))
    for kind in ("", *eyes.DICHROMATS):
        surfaces, inks = (eyes.distance(a, b, kind) for a, b in zip(*heads, strict=True))
        assert surfaces >= eyes.SURFACES_APART and inks >= eyes.INKS_APART["light"], (kind, surfaces, inks)


def test_a_killed_engine_asks_and_the_part_passes(screen, tmp_path):
    place = tmp_path / "station"
    with Window(screen, tmp_path, ["--data", str(place), "--sockets", "1"]) as window:
        choose_first_recipe(window)
        insert_and_start(window)
        window.wait_state(1, "burning")
        os.kill(engine_of(place / "data"), signal.SIGKILL)
        wait_until("ENGINE STOPPED on the screen", lambda: neutral_head(window))
        pictures(window, "engine_stopped")
        hellos = sum(event["type"] == "Hello" for event in window.news())

        def asked():
            again = sum(event["type"] == "Hello" for event in window.news()) > hellos
            return again and window.state(1)["state"] == "interrupted"

        window.press("space", BANNER, asked, "the new engine's question")
        assert window.state(1)["prompt"]["choices"] == ["Check it", "No: quarantine"]
        shown(window, "wait", "interrupted")
        screen.click(*middle_of_answer(screen.picture()))
        assert window.wait_state(1, "pass", "fail", "hold", "quarantine", "bench_fault")["state"] == "pass"
        shown(window, "pass", "interrupted_then_pass")
        chip = chip_of(place)
        assert chip["double_burns"] == [] and chip["lc_state"] == "TEST_LOCKED0"
    runs = [(run["label"], run["kind"], run["attempt"]) for run in reversed(history(place / "data"))]
    assert runs == [(LABEL, "interrupted", 1), (LABEL, "pass", 2)]


def neutral_head(window):
    return window.screen.picture().counts(HEAD)[LIGHT.role("neutral").surface] > 1000


def middle_of_answer(picture):
    """Where the left of the two answer buttons is: they are filled with the ink of their state."""
    ink = LIGHT.role("wait").edge
    left, top, right, bottom = ANSWERS
    found = [(x, y) for y in range(top, bottom, 2) for x in range(left, right, 2) if picture.colour(x, y) == ink]
    assert len(found) > 1000, "no answer button where it should be"
    xs, ys = [x for x, _ in found], [y for _, y in found]
    return (min(xs) + max(xs)) // 2, (min(ys) + max(ys)) // 2


def engine_of(data):
    """The process that holds the data folder."""
    return int((data / "station.lock").read_text().split()[0])


@contextmanager
def frozen(pid):
    """Stop a process for a while: the chip behind the virtual bench takes long, as far as the engine can see."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_killed_window_leaves_an_engine_that_finishes(screen, tmp_path):
    """A second window waits for the data folder meanwhile: it is told who has it, and gets it in the end."""
    folder = tmp_path / "station"
    (tmp_path / "other").mkdir()
    with VirtualStation(folder, 1, "sival") as station, screen_in(tmp_path / "other") as other_screen:
        Operators(station.data).add("op-7", Role.SUPERVISOR, b"314159")
        arguments = ["--station", str(station.station_file), "--data", str(station.data)]
        bench = json.loads((folder / "bench" / "bench.json").read_text())["pid"]
        with Window(screen, tmp_path, arguments) as window:
            sign_in(window, "op-7", "314159")
            engine = engine_of(station.data)
            with Window(other_screen, tmp_path / "other", arguments) as second:
                choose_first_recipe(window)
                told = wait_until("the second window's answer", lambda: second.last("Ended"))
                assert f"another station (process {engine}) works on the data folder" in told["sentence"]
                second.calm(BANNER)
                insert_and_start(window)
                window.wait_state(1, "burning", burn_title="Write wafer secret and test tokens")
                with frozen(bench):
                    window.process.kill()
                    window.process.wait()
                    wait_until(
                        "the engine to say what it does", lambda: "finishing socket 1" in lock_text(station.data)
                    )
                    try_again(second, lambda: "finishing socket 1" in second.last("Ended")["sentence"])
                    assert f"the engine (process {engine}) is finishing socket 1" in second.last("Ended")["sentence"]
                    assert alive(engine)
                    wait_until("ENGINE STOPPED on the screen", lambda: neutral_head(second))
                    second.calm(BANNER, 0.3).save(SCREENSHOTS / "xvfb_engine_is_finishing.png")
                wait_until("the engine to end by itself", lambda: not alive(engine), 30)
                assert_nothing_half_done(station.data)
                try_again(second, lambda: second.last("Hello"))
                assert (
                    wait_until("the part", lambda: second.state(1).get("present")) and engine_of(station.data) != engine
                )
        (run,) = history(station.data)
        assert (run["label"], run["kind"], run["operator"]) == (LABEL, "hold", "op-7"), run
        assert chip_of(folder)["double_burns"] == []


def try_again(window, done):
    window.press("space", BANNER, done, "the engine's answer to another try")


def sign_in(window, name, pin):
    wait_until("the engine", lambda: window.last("Hello") and window.state(1))
    window.open_dialog(BANNER, MIDDLE)
    window.screen.type(name)
    window.screen.keys("Tab")
    window.screen.type(pin)
    window.calm(MIDDLE, 0.4)
    window.screen.picture().save(SCREENSHOTS / "xvfb_sign_in.png")
    window.screen.keys("Return")
    wait_until("the sign-in", lambda: window.last("SignedIn", operator=name))
    window.calm(BANNER)


def lock_text(data):
    return (Path(data) / "station.lock").read_text()


def assert_nothing_half_done(data):
    """Every intent of the journal has its outcome, and the run its verdict."""
    command = [sys.executable, "-m", "station", "journal", "export", "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [row["kind"] for row in rows if row["kind"] in ("intent", "outcome", "verdict")]
    assert kinds == ["intent", "outcome", "intent", "outcome", "verdict"]
    outcomes = [json.loads(row["detail"]) for row in rows if row["kind"] == "outcome"]
    assert [outcome["evidence"] for outcome in outcomes] == ["done", "done"]
