"""A private PostgreSQL of the test session: own data folder, own Unix socket, no port, ended by its own number.

PostgreSQL refuses to run as root; then it runs as the user that its package made.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

USER = "postgres"
WAIT = 30.0


def binaries() -> Path:
    """Where ``initdb`` and ``postgres`` are: Debian keeps every version in a folder of its own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    program = str(found[-1]) if found else shutil.which("initdb")
    assert program, "no PostgreSQL is installed: start.py test installs it"
    return Path(program).resolve().parent


class Cluster:
    """One server; ``url`` names a schema of it, ``password_file`` holds its superuser's password."""

    def __init__(self) -> None:
        self._bin = binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="station-pg-"))  # pytest's own folders are closed to other users
        self._owner = pwd.getpwnam(USER) if os.geteuid() == 0 else None
        self.password = "only-for-this-test-session"
        self.password_file = self.folder / "password"
        self.password_file.write_text(self.password)
        self.password_file.chmod(0o600)
        self.process: subprocess.Popen[bytes] | None = None
        self._number = 0
        try:
            self._create()
            self.start()
            with contextlib.closing(self.connect()) as connection:
                connection.execute("DROP SCHEMA public CASCADE")  # nobody may forget to name one
        except BaseException:
            self.close()
            raise

    def _create(self) -> None:
        given = self.folder / "given"
        given.write_text(self.password)
        for path in (self.folder, given):
            if self._owner is not None:
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        command = [str(self._bin / "initdb"), "-N", "-D", str(self.folder / "data"), "-A", "scram-sha-256",
                   "-U", "station", f"--pwfile={given}", "-E", "UTF8", "--locale=C"]  # fmt: skip
        done = subprocess.run(self._as_owner(command), cwd="/", capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def _as_owner(self, command: list[str]) -> list[str]:
        ends_with_us = ["setpriv", "--pdeathsig", "INT"]
        if self._owner is None:
            return [*ends_with_us, *command]
        user = [f"--reuid={self._owner.pw_uid}", f"--regid={self._owner.pw_gid}", "--clear-groups"]
        return [*ends_with_us, *user, *command]

    def start(self) -> None:
        assert self.process is None
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder),
                   "-c", "listen_addresses="]  # fmt: skip
        with (self.folder / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(self._as_owner(command), cwd="/", stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        end = time.monotonic() + WAIT
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < end, (self.folder / "postgres.log").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: connections end, all is written; SIGQUIT: as after a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(WAIT)
            self.process = None

    def close(self) -> None:
        self.stop(signal.SIGQUIT)  # nothing of it is needed any more
        shutil.rmtree(self.folder)

    def connect(self, schema: str = "public") -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host=str(self.folder), dbname="postgres", user="station", password=self.password,
                               options=f"-c search_path={schema}", autocommit=True, connect_timeout=10)  # fmt: skip

    def new_schema(self) -> str:
        """The name of an empty schema: much cheaper than a database, and as empty."""
        self._number += 1
        name = f"test_{self._number}"
        with contextlib.closing(self.connect()) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return name

    def url(self, schema: str) -> str:
        return f"postgresql://station@/postgres?host={self.folder}&options=-c%20search_path%3D{schema}"
