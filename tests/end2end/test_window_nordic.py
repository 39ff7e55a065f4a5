"""The real window on a bench of nRF5340 kits, by keys alone: a new part with its question, its recovery with two."""

from __future__ import annotations

import pytest
from real_window import SCREENSHOTS, Window, screen_in, wait_until

from drivers.virtual.handler import open_handler

pytestmark = [pytest.mark.xvfb, pytest.mark.timeout(150)]
BANNER = (20, 100, 1580, 188)
MIDDLE = (580, 380, 1000, 560)
TILE = (20, 210, 930, 980)
ENGINEER_BUTTON = (1376, 53)
VERDICTS = ("pass", "fail", "hold", "quarantine", "bench_fault")


@pytest.fixture
def screen(tmp_path):
    with screen_in(tmp_path) as opened:
        yield opened


def insert_and_start(window):
    window.press("space", BANNER, lambda: window.state(1).get("may_start"), "the part to be in and its label scanned")
    window.press("space", BANNER, lambda: window.state(1)["state"] not in ("scan", "insert_part"), "the start")


def question(window):
    """The open question of the socket, once it is on the screen."""
    asked = wait_until("a question", lambda: window.state(1).get("prompt"))
    window.calm(BANNER)
    return asked


def answer(window, key, asked):
    gone = lambda: (window.state(1).get("prompt") or {}).get("id") != asked["id"]  # noqa: E731
    window.press(key, BANNER, gone, f"{key} to answer")


def chip_of(folder):
    handler = open_handler({"bench": str(folder / "bench" / "bench.json")})
    try:
        return handler.state(1)["chip"]
    finally:
        handler.close()


def choose_recipe(window, key, name):
    """The recipe before or after the present one, by the engineer's menu."""
    window.screen.click(*ENGINEER_BUTTON)
    window.calm(TILE, 0.3)
    window.screen.keys("Up", "Up", "Up", "Up", "Return")  # themes, text sizes, stop, recipe
    window.calm(MIDDLE, 0.4)
    window.screen.keys(key, "Return")
    wait_until("the recipe", lambda: window.last("Hello", recipe=name))


def take_out(window):
    window.press("space", BANNER, lambda: window.state(1)["state"] == "insert_part", "the part to be out")


def test_a_new_kit_is_provisioned_and_the_one_that_failed_recovered_by_keys_alone(screen, tmp_path):
    place = tmp_path / "station"
    with Window(screen, tmp_path, ["--data", str(place), "--sockets", "1", "--chip", "nrf5340"]) as window:
        wait_until("the engine", lambda: window.last("SignedIn").get("operator") and window.state(1))
        names = ("nrf5340-dk", "nrf5340-dk-child")
        assert window.last("Hello")["recipes"] == [f"{name}{more}" for name in names for more in ("", "-recover")]
        window.open_dialog(BANNER, MIDDLE)
        screen.keys("Return")
        wait_until("the recipe", lambda: window.last("Hello", recipe="nrf5340-dk"))

        insert_and_start(window)
        asked = question(window)
        window.screen.picture().save(SCREENSHOTS / "xvfb_nordic_question.png")
        screen.keys("space", "Return")
        window.calm(BANNER)
        assert window.state(1)["prompt"] == asked, "neither Space nor Enter says yes to an erasure"
        answer(window, "F1", asked)
        assert window.wait_state(1, *VERDICTS)["state"] == "pass"
        window.calm(TILE, 0.3).save(SCREENSHOTS / "xvfb_nordic_pass.png")
        provisioned = chip_of(place)
        assert provisioned["lc_state"] == "SECURED" and provisioned["double_burns"] == []
        take_out(window)

        insert_and_start(window)
        answer(window, "F2", question(window))
        failed = window.wait_state(1, *VERDICTS)
        assert (failed["label"], failed["verdict"]["tray"]) == ("P000002", "RECOVER"), failed
        window.calm(TILE, 0.3).save(SCREENSHOTS / "xvfb_nordic_fail.png")
        window.press("space", BANNER, lambda: not window.state(1)["needs_acknowledge"], "the verdict to be read")
        take_out(window)

        choose_recipe(window, "Down", "nrf5340-dk-recover")
        insert_and_start(window)
        assert window.state(1)["label"] == "P000002", "the part that failed, not the one that passed"
        first = question(window)
        window.screen.picture().save(SCREENSHOTS / "xvfb_nordic_recover.png")
        answer(window, "F1", first)
        second = question(window)
        closed = chip_of(place)
        assert second["id"] != first["id"] and closed["erase_alls"] == []
        answer(window, "F1", second)
        verdict = window.wait_state(1, *VERDICTS)["verdict"]
        assert (verdict["kind"], verdict["bin_id"]) == ("pass", "recovered"), verdict
        erased = chip_of(place)
        assert erased["lc_state"] == "ASSEMBLY" and erased["erase_alls"] != []
        assert erased["device_id"] == closed["device_id"] != provisioned["device_id"]
        assert not window.last("ApplianceState"), "no light on a bench without appliance"

        take_out(window)
        choose_recipe(window, "Up", "nrf5340-dk")
        window.press("space", BANNER, lambda: window.state(1).get("may_start"), "the next part to be in")
        assert window.state(1)["label"] == "P000002", "a recovered part comes back before a new one"
