"""The optional extra of Nordic benches is not installed: every command says so at once, in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from end2end_bench import environment

SENTENCE = (
    "the driver 'pyocd' needs the Python package that provides 'pyocd', which is not installed; it comes with the "
    "extra 'nordic': pip install 'provisioning-station[nordic]'"
)
STATION = """\
schema = 1
name = "BENCH-1"
realm = "dev"
mode = "virtual"
virtual_bench = "bench.json"
recipes = ["nrf5340-dk"]
"""
SOCKET = """\
[[socket]]
driver = "pyocd"
[socket.settings]
serial = "VP000{number}"
board = "nrf5340dk"
"""
ANOTHER = """\
[[socket]]
driver = "ft4232h"
[socket.settings]
serial = "VB0003"
"""


@pytest.fixture
def station(tmp_path):
    """Runs commands in a process that cannot import pyOCD, in the folder of a station file that needs it."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text('import sys\n\nsys.modules["pyocd"] = None\n')
    home = tmp_path / "home"
    home.mkdir()
    (home / "station.toml").write_text(STATION + "".join(SOCKET.format(number=number) for number in (1, 2)))
    given = environment()
    given["PYTHONPATH"] = os.pathsep.join((str(blocked), given["PYTHONPATH"]))

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "station", *arguments], cwd=home, env=given, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert not (home / "bench.json").exists(), "no bench was started"
        return done

    run.home = home

    return run


def test_a_demo_is_refused_before_its_bench_is_started(station, tmp_path):
    place = tmp_path / "demo"
    done = station("demo", "--headless", "--chip", "nrf5340", "--json", "--data", str(place))
    assert (done.returncode, done.stderr) == (2, f"station: {SENTENCE}\n"), done
    (ended,) = map(json.loads, done.stdout.splitlines())
    assert (ended["event"], ended["passed"], ended["error"]) == ("demo_ended", 0, SENTENCE)
    assert not place.exists()


def nothing_was_started(station):
    return not list(station.home.rglob("journal.sqlite*"))


def test_a_station_that_needs_it_is_refused_before_a_socket_is_opened(station):
    done = station("run", "nrf5340-dk", "--label", "P000041")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"station: {SENTENCE}\n"), done
    assert nothing_was_started(station)


def test_each_socket_says_it_when_the_sockets_are_checked(station):
    done = station("sockets", "check", "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == 3 and [row["says"] for row in rows] == [SENTENCE] * 2, done


def test_one_socket_without_its_driver_keeps_no_other_from_work(station):
    """What was interrupted on the others is answered, and parts are released, whatever is missing for this one."""
    (station.home / "station.toml").write_text(STATION + SOCKET.format(number=1) + ANOTHER)
    events = [json.loads(line) for line in station("engine", "--station", "station.toml").stdout.splitlines()]
    assert [event["sockets"] for event in events if event["type"] == "Hello"] == [2]
    faults = [event for event in events if event["type"] == "SocketState" and event["state"] == "bench_fault"]
    assert {event["socket"] for event in faults if event["expects"] == SENTENCE} == {1}
    assert not nothing_was_started(station), "its journal is open for what people have to say"
    done = station("sockets", "check", "--json")
    said = {row["socket"]: row["says"] for row in json.loads(done.stdout)}
    assert said[1] == SENTENCE and SENTENCE not in said[2], done


def test_an_engine_tells_its_window_and_ends(station):
    done = station("engine", "--station", "station.toml")
    assert (done.returncode, done.stderr) == (2, f"station engine: {SENTENCE}\n"), done
    (ended,) = map(json.loads, done.stdout.splitlines())
    assert SENTENCE in ended.values(), ended
    assert nothing_was_started(station)


def test_the_doctor_says_it_of_each_socket(station):
    done = station("doctor", "--json")
    checks = {check["check"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 2
    assert {name for name, check in checks.items() if not check["ok"]} == {"socket 1", "socket 2"}, checks
    assert checks["socket 1"]["sentence"] == checks["socket 2"]["sentence"] == SENTENCE


def test_what_opens_no_socket_works_without_it(station):
    """People may be entered, and an office may read what a bench has written."""
    done = station("operator", "list", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done
