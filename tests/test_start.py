"""What ``start.py`` decides before anything is installed or started; nothing here touches network or system."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WINDOW = ["libegl1", "libgl1", "libdbus-1-3", "libfontconfig1", "libxkbcommon0", "libglib2.0-0", "libxcb-cursor0",
          "libxcb-icccm4", "libxcb-keysyms1", "libxcb-shape0", "libxkbcommon-x11-0"]  # fmt: skip
"""Debian packages of the libraries sheet: without them the window does not open on a bare Debian 12."""


class World:
    """A machine as ``start.py`` sees it: what is there, who starts it, and what was run."""

    def __init__(self, module, monkeypatch, folder: Path) -> None:
        self.module = module
        self.folder = folder
        self.libraries = {*module.DRAW, *module.XCB}
        self.programs = {"apt-get", *module.TEST_PROGRAMS, *module.FULL_PROGRAMS}
        self.modules = {"import ensurepip, venv"}
        self.codes: dict[str, int] = {}
        self.ran: list[list[str]] = []
        self.handed_over: list[tuple[list[str], dict[str, str]]] = []
        monkeypatch.setattr(module, "ROOT", folder)
        monkeypatch.setattr(module, "PROJECT", folder / "pyproject.toml")
        for name in ("ORDINARY", "TEST", "FULL", "BENCHMARK"):
            lock = folder / getattr(module, name).name
            lock.write_text(name)
            monkeypatch.setattr(module, name, lock)
        (folder / "pyproject.toml").write_text("[project]")
        monkeypatch.setattr(module, "FONT", __file__)
        monkeypatch.setattr(module.ctypes, "CDLL", self._load)
        monkeypatch.setattr(module.shutil, "which", lambda name: f"/usr/bin/{name}" if name in self.programs else None)
        monkeypatch.setattr(module.glob, "glob", lambda pattern: [pattern] if pattern in self.programs else [])
        monkeypatch.setattr(module.subprocess, "run", self._run)
        monkeypatch.setattr(module.os, "execve", self._execve)
        monkeypatch.setattr(module.os, "chdir", lambda folder: None)
        monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
        monkeypatch.setattr(module.sys, "platform", "linux")
        monkeypatch.setattr(module.sys, "base_prefix", "/opt/python")
        monkeypatch.setenv("DISPLAY", ":0")
        monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    @property
    def python(self) -> Path:
        return self.folder / ".venv/bin/python"

    def make_environment(self) -> None:
        self.python.parent.mkdir(parents=True, exist_ok=True)
        self.python.write_text("")

    def start(self, *arguments: str) -> int | None:
        """``start.py ARGUMENTS``; None when it handed over to the station."""
        try:
            return self.module.main(list(arguments))
        except SystemExit as ending:
            return ending.code

    def commands(self, word: str) -> list[list[str]]:
        return [command for command in self.ran if word in command]

    def _load(self, library: str) -> None:
        if library not in self.libraries:
            raise OSError(library)

    def _run(self, command, **_):
        command = list(map(str, command))
        self.ran.append(command)
        if command[1:3] == ["-P", "-c"]:
            good = command[3] in self.modules and (command[0] == sys.executable or self.python.exists())
            return subprocess.CompletedProcess(command, 0 if good else 1)
        code = next((code for word, code in self.codes.items() if word in command), 0)
        if "venv" in command and not code:
            self.make_environment()
        return subprocess.CompletedProcess(command, code, b"warning: pip has something to say\n")

    def _execve(self, program, command, environment) -> None:
        self.handed_over.append((command, environment))
        raise SystemExit(None)


@pytest.fixture
def world(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "")  # start.py takes away what is wrong in it; here it comes back
    specification = importlib.util.spec_from_file_location("start", ROOT / "start.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return World(module, monkeypatch, tmp_path)


# ---- before anything ------------------------------------------------------------------------------------------


def test_an_old_python_is_told_what_is_needed(world, monkeypatch, capsys):
    monkeypatch.setattr(world.module.sys, "version_info", (3, 9, 2, "final", 0))
    assert world.start() == 2
    assert "expected Python 3.11 or newer, this is 3.9.2" in capsys.readouterr().err
    assert not world.ran


def test_the_file_can_be_read_by_the_old_python_that_it_refuses():
    ast.parse((ROOT / "start.py").read_text(), feature_version=(3, 7))


@pytest.mark.parametrize("arguments", [(), ("gui",), ("demo",), ("demo", "--parts", "2"), ("--chip", "nrf5340")])
def test_without_a_display_it_says_what_to_run_instead(world, monkeypatch, capsys, arguments):
    monkeypatch.delenv("DISPLAY")
    assert world.start(*arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "there is no display" in said
    assert "python3 start.py demo --headless" in said
    assert not world.ran, "nothing was installed for a window that cannot open"


@pytest.mark.parametrize(
    "arguments", [("demo", "--headless"), ("demo", "--help"), ("gui", "-h"), ("--help",), ("doctor",)]
)
def test_what_opens_no_window_needs_no_display_and_no_library(world, monkeypatch, arguments):
    monkeypatch.delenv("DISPLAY")
    world.libraries = set()
    monkeypatch.setattr(world.module, "FONT", "/none")
    assert world.start(*arguments) is None
    ((command, _),) = world.handed_over
    assert command == [str(world.python), "-P", "-m", "station", *arguments]


@pytest.mark.parametrize(("given", "kept"), [(":/lib:", "/lib"), ("here", None), ("/a:/b", "/a:/b"), ("", None)])
def test_modules_of_the_working_folder_are_not_on_the_import_path(world, monkeypatch, given, kept):
    monkeypatch.setenv("PYTHONPATH", given.replace(":", os.pathsep))
    assert world.start("doctor") is None
    ((command, environment),) = world.handed_over
    assert command[1] == "-P"
    assert environment.get("PYTHONPATH") == (kept and kept.replace(":", os.pathsep))


def test_a_screenless_qt_platform_counts_as_a_display(world, monkeypatch):
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert world.start() is None
    assert world.handed_over[0][0][1:] == ["-P", "-m", "station", "gui"]


@pytest.mark.parametrize("arguments", [("--chip", "nrf5340"), ("--chip=nrf5340",)])
def test_a_chip_alone_means_the_window(world, monkeypatch, arguments):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    world.start(*arguments)
    assert world.handed_over[-1][0][1:] == ["-P", "-m", "station", "gui", *arguments]


# ---- system packages ------------------------------------------------------------------------------------------


def test_the_window_asks_for_the_packages_of_a_bare_debian(world, monkeypatch, capsys):
    world.libraries = set()
    monkeypatch.setattr(world.module, "FONT", "/none")
    world.modules = set()
    assert world.start() == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "sudo" in line]
    packages = " ".join([*WINDOW, "fonts-dejavu-core", f"python3.{sys.version_info[1]}-venv"])
    install = f"sudo apt-get install -y --no-install-recommends {packages}"
    assert lines == [f"    sudo apt-get update && {install}"], "one line with all that is missing"
    assert not world.commands("apt-get")
    assert not world.commands("venv")


def test_only_what_is_missing_is_asked_for(world, capsys):
    world.libraries.discard("libxcb-cursor.so.0")
    assert world.start() == 2
    assert "--no-install-recommends libxcb-cursor0\n" in capsys.readouterr().err


def test_root_gets_the_packages_installed(world, monkeypatch):
    monkeypatch.setattr(world.module.os, "geteuid", lambda: 0)
    world.libraries.discard("libEGL.so.1")
    assert world.start() is None
    update, install = world.commands("apt-get")
    assert update[:2] == ["apt-get", "update"]
    assert install[:2] == ["apt-get", "install"]
    assert "libegl1" in install


@pytest.mark.parametrize(("word", "said"), [("update", "apt-get update failed"), ("install", "libegl1 failed")])
def test_a_failed_installation_is_said_and_nothing_is_started(world, monkeypatch, capsys, word, said):
    monkeypatch.setattr(world.module.os, "geteuid", lambda: 0)
    world.libraries.discard("libEGL.so.1")
    world.codes = {word: 100}
    assert world.start() == 2
    assert said in capsys.readouterr().err
    assert not world.handed_over


def test_without_apt_the_names_are_said(world, capsys):
    world.programs.discard("apt-get")
    world.libraries.discard("libEGL.so.1")
    assert world.start() == 2
    assert "missing (Debian names): libegl1" in capsys.readouterr().err


def test_the_suite_asks_for_its_programs_too(world, capsys):
    world.programs = {"apt-get", "git", "openssl"}
    assert world.start("test") == 2
    said = capsys.readouterr().err
    assert "recommends openocd xvfb xauth xdotool softhsm2 postgresql\n" in said


def test_a_database_server_counts_where_debian_puts_it(world, capsys):
    world.programs.discard("initdb")
    assert world.start("test") == 2
    assert "recommends postgresql\n" in capsys.readouterr().err
    world.programs.add("/usr/lib/postgresql/*/bin/initdb")
    assert world.start("test") is None


def test_the_frozen_application_needs_more_and_only_with_full(world, monkeypatch, capsys):
    world.programs.discard("objdump")
    monkeypatch.setattr(world.module.sys, "base_prefix", "/usr")
    assert world.start("test") is None
    assert world.start("test", "--full") == 2
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"libpython{version} binutils\n" in capsys.readouterr().err


def test_other_systems_have_no_debian_libraries(world, monkeypatch):
    monkeypatch.setattr(world.module.sys, "platform", "darwin")
    monkeypatch.delenv("DISPLAY")
    world.libraries = set()
    assert world.start() is None


# ---- the environment ------------------------------------------------------------------------------------------


def test_the_environment_is_filled_once_from_hashes(world):
    world.modules.add("import pip")
    assert world.start("doctor") is None
    assert world.start("doctor") is None
    locked, project = world.commands("pip")
    assert locked[-3:] == ["--require-hashes", "-r", str(world.folder / "requirements.lock")]
    assert project[-4:] == ["--no-deps", "--no-build-isolation", "--editable", str(world.folder)]
    assert len(world.handed_over) == 2


def test_a_changed_lock_file_fills_it_again(world):
    world.modules.add("import pip")
    world.start("doctor")
    (world.folder / "requirements.lock").write_text("changed")
    world.start("doctor")
    assert len(world.commands("--require-hashes")) == 2


def test_the_environment_of_the_suite_serves_the_station_too(world):
    world.modules.add("import pip")
    world.start("test")
    world.start("doctor")
    (filled,) = world.commands("--require-hashes")
    assert filled[-1].endswith("requirements-test.lock")


def test_the_locks_of_the_suite_hold_every_pin_of_the_station():
    """Else the environment above would run other versions than were tested."""
    station, suite, full = (
        set(re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-test.lock", "requirements-full.lock")
    )
    assert station
    assert station <= suite <= full


def test_an_interrupted_environment_is_made_again(world):
    world.make_environment()  # a python without pip
    assert world.start("doctor") is None
    (made,) = world.commands("venv")
    assert made[1:] == ["-P", "-m", "venv", "--clear", str(world.folder / ".venv")]


def test_a_failed_step_is_named_and_not_remembered(world, capsys):
    world.codes = {"--require-hashes": 1}
    assert world.start("doctor") == 2
    said = capsys.readouterr().err
    assert said.index("pip has something to say") < said.index("this step failed, its messages are above:")
    assert not world.handed_over
    world.codes = {}
    assert world.start("doctor") is None


def test_what_pip_says_stays_with_it_while_all_is_well(world, capfd):
    world.modules.add("import pip")
    assert world.start("doctor") is None
    assert world.commands("--require-hashes")
    said = capfd.readouterr()
    assert said.out == "" and said.err == "installing what requirements.lock lists (once) …\n"


def test_a_step_keeps_both_outputs_until_it_fails(world, monkeypatch, capfd):
    monkeypatch.undo()
    step = [sys.executable, "-c", "import sys; print('one'); sys.stderr.write('two'); sys.exit(len(sys.argv) - 1)"]
    world.module._check(step)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(SystemExit):
        world.module._check([*step, "fail"])
    said = capfd.readouterr()
    assert said.out == "" and "one" in said.err and "two" in said.err


def test_options_of_the_suite(world):
    world.start("test", "-k", "lot")
    world.start("test", "--full", "-n", "0")
    (first, environment), (full, _) = world.handed_over
    assert first[1:] == ["-m", "pytest", "-n", "4", "--dist", "worksteal", "-m", "not full", "-k", "lot"]
    assert full[1:] == ["-m", "pytest", "-n", "0"]
    assert environment["QT_QPA_PLATFORM"] == "offscreen"


def test_the_suite_starts_with_everything_compiled(world):
    """Else each process that a test starts compiles the station where bytecode is not written."""
    world.start("test")
    (compiled,) = world.commands("compileall")
    assert compiled[:2] == [str(world.python), "-P"]
    assert [Path(folder).name for folder in compiled[-3:]] == ["station", "drivers", "ui"]


def test_a_checkout_that_cannot_be_written_is_tested_all_the_same(world, capfd):
    world.make_environment()
    world.start("test")
    capfd.readouterr()
    world.codes = {"compileall": 1}
    assert world.start("test") is None and len(world.handed_over) == 2
    assert capfd.readouterr() == ("", "")
