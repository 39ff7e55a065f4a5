"""Starting and ending the station's own processes: allow-listed environment, ended by their own id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from station.errors import BenchError, ConfigError
from station.model import Realm
from station.program import SAFE_PATH, import_folders, importing_safely, is_frozen, station_command

ALLOWED = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "TERM", "SYSTEMROOT",
    "SystemRoot", "WINDIR", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "COMSPEC", "PATHEXT", "VIRTUAL_ENV",
    "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONWARNINGS",
    "PYTHONDONTWRITEBYTECODE",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_SESSION_TYPE", "DBUS_SESSION_BUS_ADDRESS",
    "STATION_VIRTUAL_BENCH",
    "PGPASSFILE", "PGSERVICEFILE",  # where libpq looks for its files; no PGPASSWORD: others can see a variable
    "CREDENTIALS_DIRECTORY", "SOFTHSM2_CONF", "ChrystokiConfigurationPath", "CS_PKCS11_R3_CFG",  # HSMs read these
})  # fmt: skip
ALLOWED_PREFIXES = ("LC_", "QT_")
STARTER = ("_PYI_", "LD_LIBRARY_PATH_ORIG")
"""Variables of PyInstaller's starter, which begins the program a second time with them set."""
LEAKS = ("GRPC_TRACE", "GRPC_VERBOSITY", "PYUSB_DEBUG", "LIBUSB_DEBUG", "SSLKEYLOGFILE")
"""Switches of libraries that write what goes over their wires."""

END_SECONDS = 15.0


def allowed_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that a process of the station may see."""
    source = os.environ if environment is None else environment
    return {name: value for name, value in source.items() if is_allowed(name)}


def is_allowed(name: str) -> bool:
    """Whether a process of the station may see this variable."""
    return name in ALLOWED or name.startswith(ALLOWED_PREFIXES)


def clean_environment(realm: Realm) -> None:
    """Drop everything else from this process; realm production refuses switches that write secrets."""
    refuse_leaks(realm)
    kept = allowed_environment()
    for name in set(os.environ) - set(kept):
        del os.environ[name]


def refuse_leaks(realm: Realm) -> None:
    """Raise ``ConfigError`` when a switch that writes secrets is set in production."""
    present = [name for name in LEAKS if os.environ.get(name)]
    if present and realm is Realm.PRODUCTION:
        raise ConfigError(f"the variable {present[0]} makes a library write what it sends; unset it and start again")


def restart_in_clean_environment(realm: Realm) -> None:
    """Begin this program anew, under the same process id, when it was started with more than the allowed variables.

    Deleting a variable is not enough: ``/proc/PID/environ`` shows for ever what a process was started with, and a
    library of ``LD_PRELOAD`` is loaded by then. Where there is no /proc the variables are only deleted. So it does when
    a relative folder is on its import path.
    """
    refuse_leaks(realm)
    if all(map(is_allowed, started_with())) and not _imports_from_anywhere():
        clean_environment(realm)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = sys.argv[1:] if is_frozen() else [SAFE_PATH, *sys.orig_argv[1:]]
    os.execve(sys.executable, [sys.executable, *arguments], child_environment())


def _imports_from_anywhere() -> bool:
    """Whether PYTHONPATH names a folder that depends on where the program was started; frozen ones do not read it."""
    if is_frozen() or sys.platform == "win32":  # Windows has no exec: a second process would be started beside this one
        return False
    return not all(map(os.path.isabs, import_folders(os.environ)))


def started_with() -> frozenset[str]:
    """Names of the variables that this process was started with; none where the system does not tell.

    Those of the frozen application's own starter are not counted: it sets them anew at every start.
    """
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:  # no /proc, or this process is hardened already
        return frozenset()
    names = {os.fsdecode(entry.partition(b"=")[0]) for entry in block.split(b"\0") if entry}
    return frozenset(name for name in names if not (is_frozen() and name.startswith(STARTER)))


def child_environment() -> dict[str, str]:
    """The allow-listed environment, in which ``-m station`` is found even from a folder that was never installed."""
    return importing_safely(allowed_environment())


class Child:
    """One process of ours with its first line of output, ended by its own id on every way out.

    ``told`` is its first line of input, after which its stdin stays open for as long as this process lives;
    ``descriptors`` are handed on to it under their numbers.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], log: IO[bytes] | int = subprocess.DEVNULL, *,
        told: str | None = None, descriptors: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.name = name
        self.process = subprocess.Popen(
            station_command(*arguments), stdin=subprocess.DEVNULL if told is None else subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=log, env=child_environment(), start_new_session=True, pass_fds=descriptors,
        )  # fmt: skip
        self._tell(told)
        self._first: list[bytes] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"{name} output", daemon=True)
        self._reader.start()

    @property
    def said(self) -> str | None:
        """Its first line, once it has said one."""
        return self._first[0].decode(errors="replace").strip() if self._first else None

    def first_line(self, seconds: float) -> str:
        """The line that says the process is ready; ``BenchError`` when it ends or is silent instead."""
        self._ready.wait(seconds)
        if not self._first:
            code = self.process.poll()
            how = "did not become ready in time" if code is None else f"ended with exit code {code}"
            raise BenchError(f"the process '{self.name}' {how}; its log says why")
        return self._first[0].decode(errors="replace").strip()

    def end(self) -> None:
        """Ask the process to end, wait, and only then insist."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(timeout=END_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _tell(self, line: str | None) -> None:
        if line is None or self.process.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):  # it has ended already; its exit code says more
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not self._first:
                self._first.append(line)
                self._ready.set()
        self._ready.set()


@contextmanager
def interruptible() -> Iterator[Sequence[int]]:
    """SIGTERM and SIGHUP end the work like Ctrl-C, so that every process is ended; only the first one counts.

    Gives the signals that came: what is raised inside a callback of a library may never reach the work.
    """
    told: list[int] = []

    def stop(number: int, _: object) -> None:
        told.append(number)
        if len(told) == 1:
            raise KeyboardInterrupt  # not a StationError: no command that happens to be in progress may take it

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    previous: dict[int, Any] = {getattr(signal, n): signal.signal(getattr(signal, n), stop) for n in names}
    try:
        yield told
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_with_parent(parent: int) -> None:
    """End this process (as by SIGTERM) when the process that started it is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    if os.name == "posix":
        threading.Thread(target=watch, name="parent watch", daemon=True).start()
