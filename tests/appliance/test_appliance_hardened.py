"""The served process as its computer sees it: environment, core files, and who may look into its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from appliance_bench import ROOT, Served, Station, copy_folder

from station import processes
from station.model import Realm
from station.processes import ALLOWED, ALLOWED_PREFIXES

PLAIN = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
"""A root that may do what any user may with his own processes and files: else root's capabilities would decide."""

LOOK = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
seen = {}
for pid in sys.argv[1:]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = len(file.read()) > 0
    except PermissionError:
        environment = False
    attached = libc.ptrace(16, int(pid), None, None) == 0       # PTRACE_ATTACH
    if attached:
        os.waitpid(int(pid), 0)
        assert libc.ptrace(17, int(pid), None, None) == 0       # PTRACE_DETACH
    seen[pid] = [environment, attached]
print(json.dumps(seen))
"""
"""What a process can learn of the processes named."""

RESTART = (
    "import os; from pathlib import Path; from station.model import Realm;"
    "from station.processes import restart_in_clean_environment as restart;"
    "before = os.getpid(); restart(Realm.DEV);"
    "print(os.getpid(), Path('/proc/self/environ').read_bytes().decode())"
)


@pytest.fixture(scope="module")
def appliance(tmp_path_factory, made):
    """Started from an environment with much that is not its own."""
    folder = copy_folder(made, tmp_path_factory.mktemp("hardened") / "appliance")
    served = Served(
        folder,
        environment={"AWS_SECRET_ACCESS_KEY": "x", "SSLKEYLOGFILE": str(folder / "keys"), "LC_X": ""},
        before=PLAIN,
    )
    yield served
    assert served.stop() == 0
    assert not (folder / "keys").exists()


PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def names_in(block: bytes) -> set[str]:
    return {entry.partition(b"=")[0].decode() for entry in block.split(b"\0") if entry}


def is_allowed(name: str) -> bool:
    return name in ALLOWED or name.startswith(ALLOWED_PREFIXES)


def anybody_may_trace() -> bool:
    """False where Yama lets a process trace its children only."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return not scope.exists() or scope.read_text().strip() == "0"


def test_the_environment_is_the_allowed_one(appliance):
    path = Path(f"/proc/{appliance.process.pid}/environ")
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):  # non-dumpable: not even its own user
            path.read_bytes()
        return
    names = names_in(path.read_bytes())
    assert {"PATH", "LC_X"} <= names
    assert [name for name in names if not is_allowed(name)] == []


def test_a_start_from_too_much_is_begun_anew_under_the_same_id():
    child = subprocess.Popen(
        [sys.executable, "-c", RESTART], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "LD_PRELOAD_OF_A_TEST": "1", "GRPC_TRACE": "all"},
    )  # fmt: skip
    pid, _, block = child.communicate(timeout=30)[0].strip().partition(" ")
    assert child.returncode == 0
    assert int(pid) == child.pid
    names = names_in(block.encode())
    assert "PATH" in names
    assert [name for name in names if not is_allowed(name)] == []


def test_nobody_of_its_own_user_looks_into_it(appliance):
    with subprocess.Popen([*PLAIN, sys.executable, "-c", "print(flush=True); input()"], **PIPES) as open_:
        open_.stdout.readline()
        pids = [str(appliance.process.pid), str(open_.pid)]
        look = [*PLAIN, sys.executable, "-c", LOOK, *pids]
        done = subprocess.run(look, capture_output=True, text=True, timeout=30)
        open_.communicate(b"\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {pids[0]: [False, False], pids[1]: [True, anybody_may_trace()]}
    client = Station(appliance.folder, appliance.target)
    client.log_in()
    client.close()


def test_it_leaves_no_core_file(appliance):
    lines = Path(f"/proc/{appliance.process.pid}/limits").read_text().splitlines()
    (core,) = [line for line in lines if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


def test_the_variables_of_the_frozen_applications_starter_make_nothing_start_for_ever(monkeypatch):
    """PyInstaller's starter begins the program a second time with variables of its own, at every start anew."""
    block = b"LD_LIBRARY_PATH=/x\0_PYI_ARCHIVE_FILE=/y\0LD_LIBRARY_PATH_ORIG=\0PATH=/bin\0"
    monkeypatch.setattr(Path, "read_bytes", lambda self: block)
    assert processes.started_with() == names_in(block)
    monkeypatch.setattr(processes, "is_frozen", lambda: True)
    assert processes.started_with() == {"LD_LIBRARY_PATH", "PATH"}
    monkeypatch.setattr(os, "environ", {"PATH": "/bin"})
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it starts anew"))
    processes.restart_in_clean_environment(Realm.DEV)
