"""Two machines of a key ceremony and the medium between them, for tests."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from token_bench import TestToken

from station.appliance.ceremony import offline, spm, tls
from station.appliance.ceremony.authority import Subjects
from station.appliance.ceremony.machine import KeystoreLines, Machine, at_machine, make_machine
from station.appliance.ceremony.task import People, Side, Step
from station.appliance.ceremony.transfer import digest_of
from station.appliance.ceremony.work import DigestCheck, Outcome
from station.appliance.files import write_private
from station.appliance.keystore import KeyMaterial, unseal
from station.model import Realm
from station.secret import Secret

PEOPLE = People("Ada Operator", "Wim Witness")
NOBODY = DigestCheck()
ALL_SKUS = ("sival", "cr01", "pi01", "ti01", "sival_pqc")


def now() -> datetime:
    return datetime.now(UTC)


def digest_check(*paths: Path) -> DigestCheck:
    """The digests that the other machine showed, as they are typed."""
    return DigestCheck([digest_of(path.read_bytes()) for path in paths])


def passphrase_lines(folder: Path) -> KeystoreLines:
    """A passphrase file beside the folder, as it would be on a medium of its own."""
    path = folder.with_name(f"{folder.name}.passphrase")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, secrets.token_hex(16).encode() + b"\n")
    return {"passphrase": f"../{path.name}"}


@dataclass
class Bench:
    """An SPM folder and an offline folder; every method is one step with the files of the steps before."""

    root: Path
    skus: tuple[str, ...] = ("sival",)
    realm: Realm = Realm.DEV
    people: People = PEOPLE
    clock: Callable[[], datetime] = now
    subjects: Subjects = field(default_factory=dict)
    spm_lines: KeystoreLines | None = None
    offline_lines: KeystoreLines | None = None
    tokens: dict[Side, TestToken] = field(default_factory=dict)

    @property
    def spm(self) -> Path:
        return self.root / "spm"

    @property
    def offline(self) -> Path:
        return self.root / "offline"

    @contextmanager
    def at(self, side: Side):
        """The machine; when its keys are in a token, SoftHSM is that of this machine."""
        folder = self.spm if side is Side.SPM else self.offline
        with ExitStack() as stack:
            if side in self.tokens:
                stack.enter_context(self.tokens[side].used())
            yield stack.enter_context(at_machine(folder, (side,), self.clock))

    def path(self, step: Step, skus: tuple[str, ...] = (), side: Side = Side.SPM) -> Path:
        """Where the machine that made it keeps a transfer."""
        with self.at(Side.SPM) as machine:
            spm = machine.id
        with self.at(side) as machine:
            peer = spm if side is Side.OFFLINE and step is not Step.OFFLINE_CA_ROOT_CERTGEN else ""
            return machine.transfer_path(step, skus, peer)

    def copy(self, root: Path) -> Bench:
        """The same ceremony in another place."""
        shutil.copytree(self.root, root)
        return replace(self, root=root)

    def make_spm(self) -> None:
        lines = passphrase_lines(self.spm) if self.spm_lines is None else self.spm_lines
        make_machine(self.spm, Side.SPM, self.realm, lines)

    def make_offline(self) -> None:
        lines = passphrase_lines(self.offline) if self.offline_lines is None else self.offline_lines
        make_machine(self.offline, Side.OFFLINE, self.realm, lines)

    # ---- the steps ---------------------------------------------------------------------------------------------

    def spm_init(self) -> Outcome:
        self.make_spm()
        with self.at(Side.SPM) as machine:
            return spm.spm_init(machine, self.people)

    def offline_common_init(self) -> Outcome:
        self.make_offline()
        with self.at(Side.OFFLINE) as machine:
            return offline.offline_common_init(machine, self.people, self.skus)

    def offline_common_export(self, source: Path | None = None) -> Outcome:
        source = source or self.path(Step.SPM_INIT)
        with self.at(Side.OFFLINE) as machine:
            return offline.offline_common_export(machine, self.people, source, digest_check(source))

    def spm_sku_init(self, source: Path | None = None) -> Outcome:
        source = source or self.path(Step.OFFLINE_COMMON_EXPORT, side=Side.OFFLINE)
        with self.at(Side.SPM) as machine:
            return spm.spm_sku_init(machine, self.people, self.skus, source, digest_check(source))

    def spm_sku_csr(self) -> Outcome:
        with self.at(Side.SPM) as machine:
            return spm.spm_sku_csr(machine, self.people, self.skus, self.subjects)

    def offline_ca_root_certgen(self) -> Outcome:
        with self.at(Side.OFFLINE) as machine:
            return offline.offline_ca_root_certgen(machine, self.people, self.skus, self.subjects)

    def offline_sku_certgen(self, source: Path | None = None) -> Outcome:
        source = source or self.path(Step.SPM_SKU_CSR, self.skus)
        with self.at(Side.OFFLINE) as machine:
            return offline.offline_sku_certgen(machine, self.people, source, digest_check(source), self.subjects)

    def spm_sku_certs(self, *sources: Path) -> Outcome:
        sources = sources or (
            self.path(Step.OFFLINE_CA_ROOT_CERTGEN, self.skus, Side.OFFLINE),
            self.path(Step.OFFLINE_SKU_CERTGEN, self.skus, Side.OFFLINE),
        )
        with self.at(Side.SPM) as machine:
            return spm.spm_sku_certs(machine, self.people, sources, digest_check(*sources))

    def tls_steps(self, folder: Path, name: str, server: bool = False) -> dict[Step, Callable[[], Outcome]]:
        """The three steps of a TLS certificate, of the SPM machine or of a station in ``folder``."""
        endpoint = (Side.SPM, Side.STATION)

        def ask() -> Outcome:
            if folder != self.spm:
                make_machine(folder, Side.STATION, self.realm, {})
            with at_machine(folder, endpoint, self.clock) as machine:
                return tls.tls_csr(machine, self.people, tls.endpoint_of(machine.side, name, (), server))

        def issue() -> Outcome:
            with at_machine(folder, endpoint, self.clock) as machine:
                source = machine.transfer_path(Step.TLS_CSR)
            with self.at(Side.OFFLINE) as machine:
                return tls.offline_tls_certgen(machine, self.people, source, digest_check(source))

        def install() -> Outcome:
            with at_machine(folder, endpoint, self.clock) as machine:
                peer = machine.id
            with self.at(Side.OFFLINE) as machine:
                source = machine.transfer_path(Step.OFFLINE_TLS_CERTGEN, peer=peer)
            with at_machine(folder, endpoint, self.clock) as machine:
                return tls.tls_cert(machine, self.people, source, digest_check(source))

        return {Step.TLS_CSR: ask, Step.OFFLINE_TLS_CERTGEN: issue, Step.TLS_CERT: install}

    def tls(self, folder: Path, name: str, server: bool = False) -> list[Outcome]:
        """All three."""
        return [do() for do in self.tls_steps(folder, name, server).values()]

    def steps(self) -> dict[Step, Callable[[], Outcome]]:
        """All steps, in their order."""
        return {
            Step.SPM_INIT: self.spm_init,
            Step.OFFLINE_COMMON_INIT: self.offline_common_init,
            Step.OFFLINE_COMMON_EXPORT: self.offline_common_export,
            Step.SPM_SKU_INIT: self.spm_sku_init,
            Step.SPM_SKU_CSR: self.spm_sku_csr,
            Step.OFFLINE_CA_ROOT_CERTGEN: self.offline_ca_root_certgen,
            Step.OFFLINE_SKU_CERTGEN: self.offline_sku_certgen,
            Step.SPM_SKU_CERTS: self.spm_sku_certs,
        }

    def run(self, until: Step | None = None) -> list[Outcome]:
        """The whole ceremony, or what comes before ``until``."""
        done = []
        for step, do in self.steps().items():
            if step is until:
                break
            done.append(do())
        return done


def passphrase_of(folder: Path) -> Secret:
    """The passphrase of a machine of ``passphrase_lines``."""
    return Secret(folder.with_name(f"{folder.name}.passphrase").read_bytes().strip(), "passphrase")


def material_of(folder: Path, realm: Realm = Realm.DEV) -> KeyMaterial:
    """What is inside the sealed file of a machine."""
    return unseal(folder / "keystore.sealed", passphrase_of(folder), realm)


def contents(folder: Path, besides: tuple[str, ...] = ("ceremony.lock",)) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in besides
    }


def machine_of(folder: Path, side: Side) -> Machine:
    """A look at a machine, without holding it."""
    with at_machine(folder, (side,)) as machine:
        return machine
