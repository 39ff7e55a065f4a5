#!/usr/bin/env python3
"""Set up the provisioning station and run it: the one file a newcomer starts, standard library only.

python3 start.py [--chip NAME]        the station: virtual bench, appliance, engine and operator window
python3 start.py demo --headless      the main job without a window
python3 start.py test [--full]        what CI runs
python3 start.py benchmark [--json]   side-by-side measurements, in an environment of their own
python3 start.py ANYTHING             = station ANYTHING inside the environment
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
WINDOWS = os.name == "nt"
MINIMUM = (3, 11)
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
PROJECT = ROOT / "pyproject.toml"
ORDINARY, TEST, FULL, BENCHMARK = (ROOT / f"requirements{kind}.lock" for kind in ("", "-test", "-full", "-benchmark"))
SAFE_PATH = "-P"
"""Keeps modules of the folder that somebody happens to be in off Python's import path."""
INSTEAD = "python3 start.py demo --headless"

# Shared library -> Debian package. The window needs both groups; the command line needs neither.
DRAW = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libglib-2.0.so.0": "libglib2.0-0",
}
XCB = {
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
# Program -> Debian package, for the test suite and the benchmarks only.
TEST_PROGRAMS = {
    "openocd": "openocd",
    "openssl": "openssl",
    "Xvfb": "xvfb",
    "xauth": "xauth",
    "xdotool": "xdotool",
    "git": "git",
    "softhsm2-util": "softhsm2",
    "initdb": "postgresql",
}
OFF_PATH = {"initdb": "/usr/lib/postgresql/*/bin/initdb"}
"""Debian keeps every version of PostgreSQL in a folder of its own. Tests run a private server on a socket in a folder
of theirs; the cluster that the package may make and start is not touched."""
BENCHMARK_PROGRAMS = ("openocd", "openssl", "softhsm2-util")
FULL_PROGRAMS = {"objdump": "binutils"}
"""The frozen application is built with it."""
WORKERS = "4"
"""Of the test suite, on two cores: half of its time goes by waiting for processes, consoles and settling chips."""
COMPILED = ("station", "drivers", "ui")


def main(arguments: list[str]) -> int:
    """Prepare what the command needs, then run it."""
    if sys.version_info < MINIMUM:
        seen = ".".join(map(str, sys.version_info[:3]))
        return _fail(f"expected Python {MINIMUM[0]}.{MINIMUM[1]} or newer, this is {seen}; use a newer python3")
    _leave_the_working_folder()
    if arguments[:1] and (arguments[0] == "--chip" or arguments[0].startswith("--chip=")):
        arguments = ["gui", *arguments]
    command = arguments[0] if arguments else ""
    if command == "test":
        return _test(arguments[1:])
    if command == "benchmark":
        return _benchmark(arguments[1:])
    packages: list[str] = []
    if _needs_window(arguments):
        if not _has_display():
            return _fail(f"there is no display for the window; without one run: {INSTEAD}")
        packages = _missing_libraries({**DRAW, **XCB}) + _missing_font()
    python = _environment(ROOT / ".venv", ORDINARY, packages)
    return _run([str(python), SAFE_PATH, "-m", "station", *(arguments or ["gui"])])


def _leave_the_working_folder() -> None:
    """An empty or relative folder of PYTHONPATH (a colon too many) would be the one that somebody happens to be in."""
    known = os.environ.pop("PYTHONPATH", "").split(os.pathsep)
    kept = [folder for folder in known if os.path.isabs(folder)]
    if kept:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)


def _needs_window(arguments: list[str]) -> bool:
    if {"-h", "--help"} & set(arguments):
        return False
    return arguments[:1] in ([], ["gui"]) or (arguments[0] == "demo" and "--headless" not in arguments)


def _has_display() -> bool:
    """Qt draws without a screen only when it is told so; without both it aborts the process."""
    given = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in given)


def _test(options: list[str]) -> int:
    full = "--full" in options
    programs = _missing_programs({**TEST_PROGRAMS, **(FULL_PROGRAMS if full else {})})
    libraries = {**DRAW, **XCB, **(_libpython() if full else {})}
    packages = _missing_libraries(libraries) + _missing_font() + programs
    lock, holds = (FULL, (TEST, ORDINARY)) if full else (TEST, (ORDINARY,))
    python = _environment(ROOT / ".venv", lock, packages, holds)
    chosen = [option for option in options if option != "--full"]
    marks = [] if full or any(option.startswith("-m") for option in chosen) else ["-m", "not full"]
    workers = [] if any(option.startswith("-n") for option in chosen) else ["-n", WORKERS, "--dist", "worksteal"]
    # once, and not by each of the many processes that tests start where PYTHONDONTWRITEBYTECODE is set; it only saves
    # time, so that a checkout which cannot be written is no failure
    compiled = [str(python), SAFE_PATH, "-m", "compileall", "-q", *(str(ROOT / folder) for folder in COMPILED)]
    subprocess.run(compiled, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return _run([str(python), "-m", "pytest", *workers, *marks, *chosen], QT_QPA_PLATFORM="offscreen")


def _benchmark(options: list[str]) -> int:
    programs = _missing_programs({name: TEST_PROGRAMS[name] for name in BENCHMARK_PROGRAMS})
    packages = _missing_libraries(DRAW) + _missing_font() + programs
    python = _environment(ROOT / ".bench-venv", BENCHMARK, packages)
    return _run([str(python), "-m", "benchmarks", *options], QT_QPA_PLATFORM="offscreen")


# ---- the environment ------------------------------------------------------------------------------------------


def _environment(folder: Path, lock: Path, packages: list[str], holds: tuple[Path, ...] = ()) -> Path:
    """The environment's python, filled when the lock file or the project changed; ``holds``: locks that it includes.

    ``packages`` are missing system packages: all that is missing is asked for at once.
    """
    python = folder / ("Scripts/python.exe" if WINDOWS else "bin/python")
    stamp = folder / "installed"
    wanted = _digest(lock, PROJECT)
    filled = python.exists() and stamp.exists() and wanted in stamp.read_text().split()
    if not _system(packages if filled else packages + _missing_venv(python)):
        raise SystemExit(2)
    if filled:
        return python
    if not _succeeds(python, "import pip"):
        _make_environment(folder)
    print(f"installing what {lock.name} lists (once) …", file=sys.stderr, flush=True)
    pip = [str(python), SAFE_PATH, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    _check([*pip, "--require-hashes", "-r", str(lock)])
    _check([*pip, "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    stamp.write_text("\n".join([wanted, *(_digest(other, PROJECT) for other in holds)]) + "\n")
    return python


def _make_environment(folder: Path) -> None:
    """An environment; what an interrupted attempt left behind is cleared away."""
    _check([sys.executable, SAFE_PATH, "-m", "venv", "--clear", str(folder)])


def _succeeds(python: str | Path, program: str) -> bool:
    try:
        return subprocess.run([str(python), SAFE_PATH, "-c", program], capture_output=True).returncode == 0
    except OSError:
        return False


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


# ---- system packages ------------------------------------------------------------------------------------------


def _missing_libraries(libraries: dict[str, str]) -> list[str]:
    if not sys.platform.startswith("linux"):
        return []
    return [package for library, package in libraries.items() if not _loads(library)]


def _libpython() -> dict[str, str]:
    """Python's own shared library: Debian has it in a package of its own, others bring it along."""
    return {f"libpython{VERSION}.so.1.0": f"libpython{VERSION}"} if sys.base_prefix == "/usr" else {}


def _missing_venv(python: Path) -> list[str]:
    """Debian cuts ``ensurepip`` out of its python; an environment that exists needs it no more."""
    there = _succeeds(python, "import pip") or _succeeds(sys.executable, "import ensurepip, venv")
    return [] if there else [f"python{VERSION}-venv"]


def _missing_programs(programs: dict[str, str]) -> list[str]:
    return [package for program, package in programs.items() if not _has_program(program)]


def _has_program(program: str) -> bool:
    return bool(shutil.which(program) or glob.glob(OFF_PATH.get(program, "")))


def _missing_font() -> list[str]:
    return [] if not sys.platform.startswith("linux") or Path(FONT).exists() else ["fonts-dejavu-core"]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _system(packages: list[str]) -> bool:
    """Install Debian packages as root; otherwise print the one line that does, and say no."""
    if not packages:
        return True
    line = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    if not shutil.which("apt-get"):
        _fail(f"these libraries or programs are missing (Debian names): {' '.join(packages)}; install them first")
        return False
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        once = f"sudo apt-get update && sudo {line}"
        _fail(f"a few system packages are missing; run this once, then start again:\n\n    {once}\n")
        return False
    print(f"installing system packages: {' '.join(packages)}", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(["apt-get", "update", "-qq"], env=environment).returncode:
        _fail("apt-get update failed; check the network and start again")
        return False
    if subprocess.run([*line.split(), "-qq"], env=environment, stdout=subprocess.DEVNULL).returncode:
        _fail(f"{line} failed; its messages are above")
        return False
    return True


# ---- running ----------------------------------------------------------------------------------------------------


def _run(command: list[str], **extra: str) -> int:
    environment = {**os.environ, **{name: os.environ.get(name, value) for name, value in extra.items()}}
    os.chdir(ROOT if command[2] in ("pytest", "benchmarks") else Path.cwd())
    if WINDOWS:
        return subprocess.run(command, env=environment).returncode
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, environment)  # no process of ours stays between the caller's signals and the station


def _check(command: list[str]) -> None:
    """Run one step; what it says (pip warns of much that is nobody's business) is shown only when it failed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.stderr.write((done.stdout or b"").decode(errors="replace"))
        raise SystemExit(_fail(f"this step failed, its messages are above: {' '.join(command)}"))


def _fail(sentence: str) -> int:
    print(f"start.py: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
