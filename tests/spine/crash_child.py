"""Runs one recipe on one file-backed part and kills itself at the N-th moment: ``crash_child.py FOLDER N``.

Moments are counted before and after every journal commit and before and after every fuse. With ``all`` instead of N it
forks a child per moment (much faster than an interpreter each), runs the part again, and prints one JSON line per case.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from spine_help import CHIP_ID, PLAN, FusePart, new_run, open_journal  # noqa: E402

from station.model import Registration  # noqa: E402
from station.run import execute  # noqa: E402

REGISTRATION = Registration("fake", b"\1" * 32, "PROD", b"w", b"p", 1, b"\2" * 32, b"\3" * 32)


class Counter:
    """Kills this process at one moment."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def moment(self, *_: object) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class FileAppliance:
    """Registers into a file, so that a killed station's registrations are seen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def register(self, registration: Registration) -> None:
        with open(self.path, "a") as file:
            file.write("registered\n")


def run_once(folder: Path, counter: Counter) -> str:
    """One run; the bin it ended in."""
    journal = open_journal(folder / "data", probe=counter.moment)
    part = FusePart(folder / "fuses")
    appliance = FileAppliance(folder / "registered")

    def burn(name: str) -> None:
        counter.moment()
        part.burn(name)
        counter.moment()

    def flow() -> None:
        with run.step(PLAN.look):
            pass
        run.burn(PLAN.first, done=lambda: part.has("first"), do=lambda: burn("first"))
        with run.step(PLAN.name):
            run.identify(CHIP_ID)
            if run.kept("hash") is None:
                run.keep("hash", os.urandom(16))
        run.burn(PLAN.second, done=lambda: part.has("second"), do=lambda: burn("second"))
        if not run.part.registered:
            run.hold_registration(REGISTRATION)
        with run.step(PLAN.send):
            run.send_registration(appliance)

    run = new_run(journal)
    verdict, _ = execute(run, flow)
    journal.close()
    return verdict.bin_id


def fork_and_die(folder: Path, at: int) -> bool:
    """True when the child was killed at that moment; False when the run had fewer moments."""
    child = os.fork()
    if child == 0:
        run_once(folder, Counter(at))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main(base: Path) -> None:
    """Every moment once."""
    at = 1
    while True:
        folder = base / str(at)
        folder.mkdir()
        if not fork_and_die(folder, at):
            break
        second = run_once(folder, Counter(0)) if not _passed(folder) else "pass"
        part = FusePart(folder / "fuses")
        journal = open_journal(folder / "data")
        known = [bool(journal.known("die", "L1").burns), bool(journal.known(device_id=CHIP_ID).burns)]
        journal.close()
        print(
            json.dumps({"at": at, "second": second, "doubles": part.doubles(), "burns": part.burns(), "known": known})
        )
        shutil.rmtree(folder)
        at += 1
    print(json.dumps({"moments": at - 1}))


def _passed(folder: Path) -> bool:
    journal = open_journal(folder / "data")
    passed = journal.known("die", "L1").passed("fake") is not None
    journal.close()
    return passed


if __name__ == "__main__":
    main(Path(sys.argv[1]))
