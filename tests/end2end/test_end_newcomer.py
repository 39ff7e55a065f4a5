"""What somebody meets who tries the product for the first time: demo, folders, questions to the records."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from end2end_bench import environment

from station.data_folder import DataFolder
from station.errors import ConfigError
from station.virtual_station import VirtualStation

SECONDS = 90


def station(*arguments, folder, stdin=b"", **more):
    variables = {**environment(), "XDG_DATA_HOME": str(folder / "user"), **more}
    return subprocess.run(
        [sys.executable, "-m", "station", *map(str, arguments)], cwd=folder, env=variables, input=stdin,
        capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip


def told(done):
    sentence = done.stderr.decode().strip()
    assert "Traceback" not in sentence and "\n" not in sentence, sentence
    return sentence


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """The folder of a demo with one die on a bench that runs no more."""
    folder = tmp_path_factory.mktemp("newcomer")
    done = station("demo", "--headless", "--parts", "1", "--sockets", "1", "--json", "--data", "whole", folder=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["data"] == str(folder / "whole")
    return folder


def test_a_second_station_in_the_folder_leaves_the_first_one_alone(tmp_path):
    with VirtualStation(tmp_path / "whole", 1, "sival"):
        endpoint = tmp_path / "whole" / "appliance" / "endpoint.json"
        before = endpoint.read_text()
        done = station("demo", "--headless", "--parts", "1", "--data", "whole", folder=tmp_path)
        assert done.returncode == 2
        assert f"another station (process {os.getpid()}) works in {tmp_path / 'whole'}" in told(done)
        with pytest.raises(ConfigError, match="works in"):
            VirtualStation(tmp_path / "whole", 1, "sival").__enter__()
        assert endpoint.read_text() == before
    with VirtualStation(tmp_path / "whole", 1, "sival"):
        assert endpoint.exists(), "the folder was given back"


def test_data_takes_the_whole_folder_of_a_demo(used):
    inside = used / "whole" / "data"
    for arguments in (("history", "--json"), ("operator", "list", "--json"), ("part", "show", "P000001", "--json"),
                      ("journal", "verify", "--json")):  # fmt: skip
        whole = station(*arguments, "--data", "whole", folder=used)
        inner = station(*arguments, "--data", inside, folder=used)
        assert (whole.returncode, whole.stdout) == (0, inner.stdout), whole.stderr
    assert not (used / "whole" / "journal.sqlite").exists()
    assert station("history", "--data", "whole", folder=used).stdout


def test_a_data_folder_finds_the_station_file_above_it(used, tmp_path):
    inside = used / "whole" / "data"
    checked = station("sockets", "check", "--data", inside, folder=tmp_path)
    assert checked.returncode == 3 and b"the virtual bench is not running" in checked.stdout, checked.stderr
    assert station("engine", "--data", inside, folder=tmp_path).returncode == 0
    (tmp_path / "elsewhere").mkdir()
    lost = station("sockets", "check", "--data", "elsewhere", folder=tmp_path)
    assert lost.returncode == 2
    assert f"expected a station file at elsewhere/station.toml or {tmp_path}/station.toml, but there is none" in told(
        lost
    )


def test_the_window_says_that_there_is_no_display_before_anything_is_made(tmp_path):
    blind = {"QT_QPA_PLATFORM": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    for arguments in (("gui",), ("gui", "--data", "new"), ("demo", "--data", "new")):
        done = station(*arguments, folder=tmp_path, **blind)
        assert done.returncode == 2 and "There is no display for the window" in told(done)
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_of_a_whole_station_opens_that_station(used, tmp_path, monkeypatch):
    from station import cli_window

    opened = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(cli_window, "_window", lambda arguments: 0)
    monkeypatch.setattr(
        cli_window, "_virtual", lambda folder, sockets, window, chip: opened.append((folder, chip)) or 0
    )
    for data in (used / "whole", used / "whole" / "data", tmp_path / "new", None):
        assert cli_window.open_gui(None, data, 4, "", ()) == 0
    assert cli_window.open_gui(None, None, 4, "nrf9160", ()) == 0
    whole, own = used / "whole", tmp_path / "user" / "provisioning-station"
    assert [folder for folder, _ in opened] == [
        whole,
        whole,
        tmp_path / "new",
        own / "virtual",
        own / "virtual-nrf9160",
    ]
    assert [chip for _, chip in opened] == [*["earlgrey"] * 4, "nrf9160"]
    with pytest.raises(ConfigError, match="--chip is for a virtual bench"):
        cli_window.open_gui(used / "whole" / "station.toml", None, 4, "nrf9160", ())
    with pytest.raises(ConfigError, match="did you mean 'nrf9160'"):
        cli_window.open_gui(None, None, 4, "nrf916", ())


def test_without_options_the_windows_own_station_is_found_and_named(used, tmp_path):
    (tmp_path / "user" / "provisioning-station").mkdir(parents=True)
    (tmp_path / "user" / "provisioning-station" / "virtual").symlink_to(used / "whole")
    done = station("history", "--json", folder=tmp_path)
    assert len(json.loads(done.stdout)) == 2
    assert "using the virtual station" in told(done) and "virtual/station.toml" in told(done)
    assert station("history", folder=used).returncode == 2


def test_the_documented_pin_adds_operators_to_a_demos_station(used):
    command = ("operator", "add", "ann", "--supervisor", "demo", "--pin-stdin", "--data", "whole")
    assert station(*command, folder=used, stdin=b"271828\n314159\n").returncode == 0
    assert b"ann" in station("operator", "list", "--data", "whole", folder=used).stdout
    wrong = station("operator", "list", "--data", used, folder=used)
    assert wrong.returncode == 2 and "expected the data folder of a station" in told(wrong)


def test_questions_that_make_no_sense_are_answered_with_those_that_do(used):
    def asked(*more):
        done = station("history", "--data", "whole", *more, folder=used)
        assert done.returncode == 2, done.stdout
        return told(done)

    assert "no filter 'lto' (did you mean 'lot'?); it knows label, device_id, lot" in asked("--where", "lto=1")
    assert "there are history, run, yield" in asked("--query", "everything")
    assert "wants the number of a run" in asked("--query", "run")
    assert "it takes none" in asked("--query", "outbox", "--where", "lot=1")
    empty = station("history", "--data", "whole", "--query", "yield", folder=used)
    assert empty.returncode == 0 and "ask with --where mode=virtual" in told(empty)
    full = station("history", "--data", "whole", "--query", "yield", "--where", "mode=virtual", folder=used)
    assert b"earlgrey-cp" in full.stdout and not full.stderr


def test_times_are_local_iso_8601_for_people_and_seconds_for_machines(used):
    zone = {"TZ": "Etc/GMT-3"}
    (first, *_) = json.loads(station("history", "--data", "whole", "--json", folder=used, **zone).stdout)
    assert isinstance(first["time"], float)
    station("history", "--data", "whole", "--csv", "runs.csv", folder=used, **zone)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(first["time"] + 3 * 3600))
    written = (used / "runs.csv").read_text()
    assert f"{text}." in written
    assert "+03:00" in written
    run = ("history", "--data", "whole", "--query", "run", "--where", f"run={first['run']}")
    assert text in station(*run, folder=used, **zone).stdout.decode()


def test_a_bench_that_is_stopped_is_called_so_and_doctor_ends_with_the_appliances_code(used):
    checked = station("sockets", "check", "--data", "whole", folder=used)
    said = checked.stdout.decode()
    assert checked.returncode == 3 and "the virtual bench is not running" in said and "libusb" not in said
    doctor = station("doctor", "--data", "whole", folder=used)
    assert doctor.returncode == 4, doctor.stdout


@pytest.mark.parametrize(
    ("fault", "words"),
    [("power_cut:insid", "did you mean 'power_cut:inside'?"), ("torn_word:x", "expected a number"),
     ("wrong_state:PRD", "no life cycle state is called 'PRD'"), ("unplug:soon", "takes no argument"),
     ("banana", "`station simulate --list-faults` shows all")],
)  # fmt: skip
def test_a_fault_that_does_not_exist_is_refused_before_anything_is_made(tmp_path, fault, words):
    done = station("demo", "--headless", "--fault", fault, "--data", "new", folder=tmp_path)
    assert done.returncode == 2 and words in told(done)
    assert not (tmp_path / "new").exists()


def test_every_fault_of_the_list_may_be_given(tmp_path):
    from drivers.virtual.bench import main
    from drivers.virtual.bench_state import BENCH_FAULTS
    from drivers.virtual.earlgrey.faults import FAULTS

    for name in (*FAULTS, *BENCH_FAULTS, "power_cut:inside:3", "unplug:12", "wrong_state:DEV", "corrupt_blob:header"):
        assert main(["--check-fault", name]) == 0, name


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can make one")
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    done = station("demo", "--headless", "--data", "/proc/foo", folder=tmp_path)
    assert done.returncode == 2 and "/proc/foo" in told(done)


def test_a_failed_demo_in_a_passing_folder_says_how_to_keep_the_records(tmp_path):
    done = station("demo", "--headless", "--parts", "1", "--sockets", "1", "--fault", "wrong_state:DEV", "--json",
                   folder=tmp_path, TMPDIR=str(tmp_path))  # fmt: skip
    assert done.returncode == 1
    first, *_, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert last["hint"] == "use --data DIR to keep the records" and "data" not in first
    assert "station-demo-" not in done.stdout.decode()
    assert not list(tmp_path.glob("station-demo-*"))


@pytest.mark.parametrize("why", ["folder", "sku", "chip", "taken"])
def test_a_demo_that_cannot_begin_ends_its_lines_too(tmp_path, why):
    arguments = {"folder": ("--data", "/proc/foo"), "sku": ("--sku", "sivall"), "chip": ("--chip", "earlgray"),
                 "taken": ("--data", "taken")}[why]  # fmt: skip
    words = {"folder": "/proc/foo", "sku": "did you mean 'sival'", "chip": "did you mean 'earlgrey'", "taken": "works"}
    folder = DataFolder(tmp_path / "taken")
    folder.lock("in")
    try:
        done = station("demo", "--headless", "--parts", "3", "--json", *arguments, folder=tmp_path)
    finally:
        folder.release()
    (ended,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2 and (ended["event"], ended["parts"], ended["passed"]) == ("demo_ended", 3, 0)
    assert words[why] in ended["error"] and ended["error"] in told(done)
    assert not list(tmp_path.glob("*/appliance")), "nothing was made"


def test_ctrl_c_before_the_demo_has_begun(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "station", "demo", "--headless", "--json", "--data", "whole"], cwd=tmp_path,
        env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        ends = time.monotonic() + SECONDS
        while not (tmp_path / "whole" / "station.lock").exists():
            assert process.poll() is None and time.monotonic() < ends
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err.decode()
    ended = json.loads(out.splitlines()[-1])
    assert (ended["event"], ended["error"]) == ("demo_ended", "the demo was stopped")


def first_row(folder, kind):
    """True once the journal of a demo has a row of this kind."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{folder}/data/journal.sqlite?mode=ro", uri=True)) as opened:
            return opened.execute("SELECT 1 FROM journal WHERE kind = ?", (kind,)).fetchone() is not None
    except sqlite3.OperationalError:  # not made yet
        return False


def test_the_part_of_a_killed_demo_is_told_and_counted(tmp_path):
    arguments = ("demo", "--headless", "--chip", "nrf9160", "--parts", "1", "--sockets", "1", "--data", "whole")
    process = subprocess.Popen(
        [sys.executable, "-m", "station", *arguments], cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        ends = time.monotonic() + SECONDS
        while not first_row(tmp_path / "whole", "intent"):
            assert process.poll() is None and time.monotonic() < ends
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    done = station(*arguments, "--json", folder=tmp_path)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (told,) = [event for event in events if event["event"] == "left_over"]
    assert (told["label"], told["kind"], told["socket"]) == ("P000001", "quarantine", 1)
    assert events[0]["event"] == "demo_started" and events.index(told) == 1
    last = events[-1]
    assert (last["passed"], last["quarantined"], last["left_over"]) == (1, 0, 1) and done.returncode == 0
    shown = station("part", "show", "P000001", "--data", "whole", folder=tmp_path).stdout.decode()
    assert "QUARANTINE" in shown.upper()


def test_ctrl_c_ends_the_demo_with_130_and_the_record_names_it(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "station", "demo", "--headless", "--parts", "1", "--sockets", "1", "--json", "--data",
         "whole"], cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        while b"cp" not in (line := process.stdout.readline()):  # then Final Test runs
            assert line, process.stderr.read().decode()
        time.sleep(0.8)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err.decode()
    assert json.loads(out.splitlines()[-1])["error"] == "the demo was stopped"
    runs = json.loads(station("history", "--data", "whole", "--json", folder=tmp_path).stdout)
    assert "the demo was stopped" in runs[0]["reason"] and "operator" not in runs[0]["reason"], runs[0]
