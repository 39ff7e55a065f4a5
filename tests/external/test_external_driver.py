"""A driver from a wheel outside the project: built, installed beside the station, and the demo runs with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "bitbang_jtag"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def station(site: Path | None, *arguments: object) -> subprocess.CompletedProcess[str]:
    """``station`` as a stranger's shell would start it, with nothing else in its environment."""
    command = [sys.executable, "-m", "station", *map(str, arguments)]
    environment = {} if site is None else {"PYTHONPATH": str(site)}
    return subprocess.run(
        command, env=environment, cwd=SOURCE.parents[2], capture_output=True, text=True, timeout=110, check=False
    )


@pytest.fixture
def site(tmp_path):
    """A folder with the wheel installed, built without any network."""
    source, wheels, site = tmp_path / "source", tmp_path / "wheels", tmp_path / "site"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    build = ["wheel", "--no-index", "--no-build-isolation", "--no-deps", "--wheel-dir", str(wheels), str(source)]
    subprocess.run([*PIP, *build], check=True, timeout=60)
    (wheel,) = wheels.iterdir()
    subprocess.run(
        [*PIP, "install", "--no-index", "--no-deps", "--target", str(site), str(wheel)], check=True, timeout=60
    )
    return site


def test_the_demo_passes_with_a_driver_from_outside(site, tmp_path):
    data = tmp_path / "demo"
    options = ("--headless", "--parts", 1, "--sockets", 1, "--driver", "bitbang_jtag", "--json", "--data", data)
    done = station(site, "demo", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["parts"], last["passed"]) == ("demo_ended", 1, 1)

    exported = station(site, "journal", "export", "--station", data / "station.toml")
    assert exported.returncode == 0, exported.stderr
    rows = [json.loads(line) for line in exported.stdout.splitlines()]
    fixtures = {row["fixture"] for row in rows if row["label"]}
    assert len(fixtures) == 1, fixtures
    assert fixtures.pop().endswith(" with bitbang_jtag")  # each row of a part names the adapter that touched it


def test_a_driver_that_is_not_installed_is_named(tmp_path):
    data = tmp_path / "demo"
    done = station(None, "demo", "--headless", "--sockets", 1, "--driver", "bitbang_jtag", "--data", data)
    assert done.returncode == 2
    assert "there is no driver 'bitbang_jtag'; installed are: ft4232h" in done.stderr
    assert "Traceback" not in done.stderr
