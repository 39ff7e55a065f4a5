"""The frozen application: built once from ``station.spec``, used with an empty environment, far from the source."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
TOOLS = {"PyInstaller", "_pytest", "grpc_tools", "hypothesis", "mypy", "pip", "pytest", "ruff", "setuptools", "tests"}
COPYLEFT_LIBRARIES = re.compile(
    r"lib(readline|history|gdbm|db-|Qt6(Charts|DataVisualization|Graphs|NetworkAuth|VirtualKeyboard|Quick3D))"
)
"""Shared libraries under the GPL (or stronger) with no other choice."""


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    """The folder with both programs."""
    place = tmp_path_factory.mktemp("frozen")
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--distpath", str(place)]
    command += ["--workpath", str(place / "work"), str(ROOT / "station.spec")]
    environment = {**os.environ, "PYINSTALLER_CONFIG_DIR": str(place / "cache")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return place / "station"


def run(program: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_it_answers_with_nothing_in_its_environment(application, tmp_path):
    done = run(application / "station", tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert "take secure chips through an irreversible provisioning" in done.stdout
    window = run(application / "station-gui", tmp_path, "--help")
    assert window.returncode == 0, window.stderr
    assert "usage: station-gui" in window.stdout


@pytest.mark.full
@pytest.mark.timeout(600)
def test_its_demo_passes(application, tmp_path):
    done = run(application / "station", tmp_path, "demo", "--headless", "--parts", 1, "--sockets", 1, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["parts"], last["passed"]) == ("demo_ended", 1, 1)
    assert not of_application(application), "no process stays behind"


@pytest.mark.full
@pytest.mark.timeout(600)
def test_its_debug_probe_driver_provisions_a_virtual_kit(application, tmp_path):
    """pyOCD and its plug-ins are inside where the environment that built it has them."""
    command = ("demo", "--headless", "--chip", "nrf9160", "--parts", 1, "--sockets", 1, "--json")
    done = run(application / "station", tmp_path, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["chip"], last["passed"]) == ("demo_ended", "nrf9160", 1)
    assert not of_application(application), "no process stays behind"


@pytest.mark.full
@pytest.mark.timeout(600)
def test_its_window_starts_the_console_program_as_its_engine(application, tmp_path):
    data, events = tmp_path / "demo", tmp_path / "events.jsonl"
    made = run(application / "station", tmp_path, "demo", "--headless", "--parts", 1, "--sockets", 1, "--data", data)
    assert made.returncode == 0, made.stderr
    command = [application / "station-gui", "--station", data / "station.toml", "--data", data / "data"]
    window = subprocess.Popen(
        [*map(str, command), "--record", str(events)], cwd=tmp_path, env={"QT_QPA_PLATFORM": "offscreen"}
    )
    try:
        wait_for(lambda: events.exists() and b'"Hello"' in events.read_bytes(), "the engine's first event")
        engines = [command for command in of_application(application) if command[1:2] == ["engine"]]
        assert [Path(command[0]).name for command in engines] == ["station"]
        window.send_signal(signal.SIGTERM)
        assert window.wait(SECONDS) == 0
        wait_for(lambda: not of_application(application), "the engine to end after its window")
    finally:
        if window.poll() is None:
            window.kill()
            window.wait()


@pytest.mark.full
@pytest.mark.timeout(600)
def test_nothing_under_the_gpl_alone_and_no_tool_is_bundled(application):
    modules = modules_in(application / "station") | modules_in(application / "station-gui")
    modules |= {path.name.partition(".")[0] for path in (application / "_internal").iterdir()}
    assert {"station", "drivers", "ui", "pyftdi", "PySide6"} <= modules, "the list is read from the programs"
    assert not modules & TOOLS
    owners = importlib.metadata.packages_distributions()
    bundled = {name for module in modules for name in owners.get(module, ())}
    assert {"PySide6_Essentials", "grpcio", "pyqtgraph"} <= bundled
    assert not {name for name in bundled if is_gpl_alone(licence_of(name))}
    libraries = [path.name for path in application.rglob("*") if ".so" in path.name]
    assert not [name for name in libraries if COPYLEFT_LIBRARIES.match(name)]


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("GPL-2.0-or-later", True),
        ("GPL-2.0-only OR GPL-3.0-only", True),
        ("LGPL-3.0-only OR GPL-2.0-only OR GPL-3.0-only", False),
        ("GNU Affero General Public License v3", True),
        ("GNU Library or Lesser General Public License (LGPL)", False),
        ("GNU General Public License v2 (GPLv2)", True),
        ("Apache-2.0 OR BSD-3-Clause", False),
    ],
)
def test_what_counts_as_gpl_alone(text, alone):
    assert is_gpl_alone(text) is alone


def is_gpl_alone(text: str) -> bool:
    """Every alternative of a licence text is the GPL or stronger."""
    strict = re.compile(r"(?<!L)GPL|(?<!Lesser )General Public License")
    return all(strict.search(choice) and "LGPL" not in choice for choice in re.split(r"\bOR\b", text))


def licence_of(name: str) -> str:
    """The licence expression of a distribution, else its classifiers, else its free text."""
    metadata = importlib.metadata.metadata(name)
    classifiers = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if "License ::" in line]
    return metadata.get("License-Expression") or " OR ".join(classifiers) or metadata.get("License", "").split("\n")[0]


def modules_in(program: Path) -> set[str]:
    """Top-level names of the Python modules inside a frozen program."""
    from PyInstaller.archive.readers import CArchiveReader

    archive = CArchiveReader(str(program))
    (inner,) = [name for name in archive.toc if name.lower().startswith("pyz")]
    return {name.partition(".")[0] for name in archive.open_embedded_archive(inner).toc}


def of_application(application: Path) -> list[list[str]]:
    """Command lines of the processes that run from that folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and Path(os.readlink(process / "exe")).is_relative_to(application):
                found.append((process / "cmdline").read_bytes().decode().split("\0"))
        except OSError:  # it ended while it was looked at, or is somebody else's
            continue
    return found


def wait_for(claim, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)
