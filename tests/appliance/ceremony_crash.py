"""A step of the ceremony killed at its n-th write, then done again: a process that forks one child per try.

Run as ``ceremony_crash.py ROOT STEP``; one JSON line per kill, the last one says how many there were.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

from ceremony_bench import Bench, People, contents, material_of  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: E402

from station.appliance import keystore  # noqa: E402
from station.appliance.ceremony import vault_software  # noqa: E402
from station.appliance.ceremony.task import Step  # noqa: E402

GROWING = {"transcript.jsonl", "keystore.sealed", "skus/sku_auth.yml"}
TLS_STEPS = (Step.TLS_CSR, Step.OFFLINE_TLS_CERTGEN, Step.TLS_CERT)


class Kill:
    """Counts the calls that change the disk, and ends the process by SIGKILL before the wanted one."""

    def __init__(self, at: int) -> None:
        self._at, self._seen = at, 0

    def before(self, function: Callable) -> Callable:
        def counted(*args, **kwargs):
            self.count()
            return function(*args, **kwargs)

        return counted

    def opening(self, function: Callable) -> Callable:
        """Before a file is made, and after: it is empty then."""

        def counted(path, flags, *args, **kwargs):
            if not flags & os.O_CREAT:
                return function(path, flags, *args, **kwargs)
            self.count()
            handle = function(path, flags, *args, **kwargs)
            self.count()
            return handle

        return counted

    def count(self) -> None:
        self._seen += 1
        if self._seen == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        os.open = self.opening(os.open)
        for name in ("fsync", "link", "replace", "unlink", "mkdir"):
            setattr(os, name, self.before(getattr(os, name)))


def quick() -> None:
    """Slow on purpose, and not what is tested here: argon2id with little memory, one RSA key that is made once.

    Nor is that key looked at for primality whenever it is read.
    """
    real, key = keystore.Argon2id, rsa.generate_private_key(public_exponent=65537, key_size=3072)
    keystore.Argon2id = lambda **options: real(**{**options, "memory_cost": 8, "iterations": 1, "lanes": 1})
    vault_software._MAKERS = {**vault_software._MAKERS, "RSA-3072": lambda: key}
    load = vault_software.load_der_private_key
    vault_software.load_der_private_key = partial(load, unsafe_skip_rsa_key_validation=True)


def do(bench: Bench, step: Step):
    if step in TLS_STEPS:
        return bench.tls_steps(bench.spm, "pa-service")[step]()
    return bench.steps()[step]()


def in_child(work: Callable[[], object]) -> int:
    """The wait status of a forked child that does it."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def killed(bench: Bench, step: Step, at: int) -> bool:
    """True when the step was killed at that write; False when it has fewer."""

    def work() -> None:
        Kill(at).arm()
        do(bench, step)

    status = in_child(work)
    assert status in (0, signal.SIGKILL), f"exit status {status}"
    return status == signal.SIGKILL


def finish(bench: Bench, step: Step) -> None:
    """Take the step up with two other people; nothing that was there has changed, and now it is done."""
    after_kill = {folder: contents(folder) for folder in (bench.spm, bench.offline)}
    keys = {folder: material_of(folder) for folder in after_kill if (folder / "keystore.sealed").exists()}
    bench.people = People("Eve Later", "Otto Later")
    outcome = do(bench, step)
    for folder, files in after_kill.items():
        now = contents(folder)
        kept = {name: data for name, data in files.items() if name not in GROWING and not name.endswith(".staged")}
        assert {name: now.get(name) for name in kept} == kept, f"{folder.name}: a file has changed"
        assert not [name for name in now if name.endswith(".staged")], "something half done is left"
    for folder, old in keys.items():
        new = material_of(folder)
        for kind in ("secret", "private", "public"):
            assert {label: getattr(new, kind).get(label) for label in getattr(old, kind)} == getattr(old, kind)
    before = contents(bench.root)
    assert do(bench, step).already
    assert contents(bench.root) == before
    assert outcome.entry.event == "done"


def main(root: Path, step: Step) -> None:
    quick()
    for at in itertools.count(1):
        bench = Bench(root).copy(root.with_name(f"{step}-{at}"))
        was_killed = killed(bench, step, at)
        whole = contents(bench.root)
        status = in_child(lambda bench=bench: finish(bench, step))
        if was_killed or status:
            print(json.dumps({"at": at, "status": status, "files": len(whole)}), flush=True)
        shutil.rmtree(bench.root)
        if status:
            return
        if not was_killed:
            print(json.dumps({"kills": at - 1}), flush=True)
            return


def prepare(root: Path) -> None:
    """A whole ceremony, and under ``root/STEP`` a copy of how it stood before each step."""
    quick()
    bench = Bench(root / "now")
    bench.make_spm()
    bench.make_offline()
    tls = bench.tls_steps(bench.spm, "pa-service")
    for step, work in {**bench.steps(), **tls}.items():
        bench.copy(root / step)
        work()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        prepare(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), Step(sys.argv[2]))
