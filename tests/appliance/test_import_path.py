"""Modules of the folder that somebody happens to be in are never run by a process that the product starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from appliance_bench import ROOT, WAIT, Station, copy_folder

from station import processes
from station.__main__ import leave_the_working_folder
from station.model import Realm
from station.processes import child_environment
from station.program import importing_safely, station_command

OWN = ("station", "drivers", "ui", "grpc", "click", "typer", "pydantic", "cryptography", "resources")
BEFORE_MAIN = ("queue", "sqlite3", "argparse", "logging", "json", "decimal")
"""Modules that Python itself does not need to find ``station/__main__.py``."""


def hostile(folder: Path, names=(*sys.stdlib_module_names, *OWN)) -> Path:
    """A folder with a module of every name; each that is imported leaves its name in ``executed``."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'executed')!r}, 'a').write('{name} ')\n")
    return folder


def executed(folder: Path) -> str:
    file = folder / "executed"
    return file.read_text() if file.exists() else ""


@pytest.fixture
def place(tmp_path):
    return hostile(tmp_path / "place")


@pytest.fixture
def installed(tmp_path):
    """The command as pip makes it: a script in a folder that is not the working one."""
    script = tmp_path / "bin" / "station"
    script.parent.mkdir()
    script.write_text("from station.__main__ import main\nmain()\n")
    return [sys.executable, str(script)]


def environment() -> dict[str, str]:
    """More than the allowed variables, so that an appliance begins anew."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "A_VARIABLE_OF_A_TEST": "1"}


def started(command, place: Path) -> subprocess.Popen:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=place, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def ran(command, place: Path) -> None:
    done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr + done.stdout


def test_serve_with_workers(tmp_path, made, place, installed):
    folder = copy_folder(made, tmp_path / "appliance")
    command = [*installed, "appliance", "serve", str(folder), "--port", "0", "--json", "--workers", "2"]
    with started(command, place) as process:
        try:
            ready = json.loads(process.stdout.readline())
            station = Station(folder, ready["target"])
            station.log_in()
            station.close()
        finally:
            process.terminate()
            _, said = process.communicate(timeout=WAIT)
    assert process.returncode == 0, said
    assert executed(place) == ""


def test_selftest(place, installed):
    ran([*installed, "appliance", "selftest", "--sku", "ti01"], place)
    assert executed(place) == ""


def test_demo(place, installed):
    ran([*installed, "demo", "--headless", "--parts", "1", "--json"], place)
    assert executed(place) == ""


@pytest.mark.parametrize("command", [("engine", "--help"), ("simulate", "--help"), ("--version",)])
def test_a_command_as_the_product_starts_it(place, command):
    ran(station_command(*command), place)
    assert executed(place) == ""


def test_the_windows_engine(place, monkeypatch):
    from ui.sources import EngineProcess

    monkeypatch.chdir(place)
    engine = EngineProcess(station_command("engine", "--help"), importing_safely(os.environ))
    said = b""
    while chunk := engine.read():
        said += chunk
    assert "code 0" in engine.outcome()
    assert b"station" in said
    assert executed(place) == ""


@pytest.mark.parametrize("start", [["-m", "station"], [str(ROOT / "station" / "__main__.py")]])
def test_a_command_as_somebody_else_starts_it(tmp_path, start):
    """Python itself looks into the working folder before the first line of ours, and no more after it."""
    place = hostile(tmp_path / "place", BEFORE_MAIN)
    ran([sys.executable, *start, "appliance", "selftest", "--help"], place)
    assert executed(place) == ""


def test_the_own_folder_of_the_file_is_left(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "station"), "/lib"])
    leave_the_working_folder()
    assert sys.path == [str(ROOT), "/lib"]
    monkeypatch.setattr(sys, "path", ["/somewhere", "/lib", str(ROOT)])
    leave_the_working_folder()
    assert sys.path == ["/lib", str(ROOT)]


def test_a_start_anew_leaves_the_working_folder(monkeypatch):
    """An empty or relative folder of PYTHONPATH is the working folder too."""
    calls = []
    monkeypatch.setattr(processes, "started_with", frozenset)
    monkeypatch.setattr(os, "environ", {"PYTHONPATH": f":here:{os.sep}lib", "PATH": "/bin"})
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "station", "appliance"])
    monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
    processes.restart_in_clean_environment(Realm.PRODUCTION)
    ((_, command, variables),) = calls
    assert command[1:] == ["-P", "-m", "station", "appliance"]
    assert variables == {"PYTHONPATH": f"{ROOT}:/lib", "PYTHONSAFEPATH": "1", "PATH": "/bin"}


def test_a_frozen_application_keeps_its_own_import_path(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "path", ["/application/base_library.zip"])
    leave_the_working_folder()
    assert sys.path == ["/application/base_library.zip"]
    assert importing_safely({"PATH": "/bin"}) == {"PATH": "/bin"}
    monkeypatch.setattr(processes, "started_with", frozenset)
    monkeypatch.setattr(os, "environ", {"PYTHONPATH": f":here:{os.sep}lib", "PATH": "/bin"})
    monkeypatch.setattr(os, "execve", lambda *call: pytest.fail("it would begin anew for ever"))
    processes.restart_in_clean_environment(Realm.PRODUCTION)


def test_what_was_set_already_is_kept(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), "/lib", ""]))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert child_environment()["PYTHONPATH"] == os.pathsep.join([str(ROOT), "/lib"])
    assert processes.is_allowed("PYTHONSAFEPATH")
