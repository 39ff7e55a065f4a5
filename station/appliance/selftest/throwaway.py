"""The appliance that is tried: made in a temporary folder, served as a process, gone afterwards however it ends."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from station.appliance.certificates import ENDPOINT_DAYS, Issued, new_ca, new_endpoint, realm_name
from station.appliance.commands import into_softhsm
from station.appliance.files import write_public
from station.appliance.keystore import KeyMaterial, unseal
from station.appliance.keystore_settings import PKCS11
from station.appliance.passphrase import read_secret
from station.appliance.pki import LOOPBACK, client_files, init, tls_authority
from station.appliance.selftest.oracle import Oracle
from station.appliance.service_client import Identity, identity_of
from station.appliance.settings import read_settings
from station.appliance.sku_templates import SkuTemplate
from station.errors import ApplianceError, BenchError
from station.model import Realm
from station.processes import Child
from station.secret import Secret

READY_SECONDS = 60.0
FAMILY = "_selftest"
"""What a SKU's name and the name of its family member differ in."""
MAIN, SECOND = "selftest", "selftest-2"
ROLES: Mapping[str, str] = {"cp": "CP", "ft": "FT", "rma": "RMA"}
QUOTA = "ft-quota"
STATIONS = (MAIN, SECOND, *ROLES, QUOTA)
ELSEWHERE = "elsewhere.example"
"""A station that is known, but not on this computer."""


@dataclass
class Registered:
    """A device whose registration was acknowledged: its number and SKU, and how many contents it was given."""

    sku: str
    number: int
    contents: int = 1


@dataclass
class Throwaway:
    """A development appliance, what is known of its keys, who may call it, and what became of the calls."""

    folder: Path
    oracle: Oracle
    identities: Mapping[str, Identity]
    passwords: Mapping[str, Secret]
    registered: list[Registered] = field(default_factory=list)
    session_tokens: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """What the process writes to stderr."""
        return self.folder.parent / "serve.log"


@contextmanager
def throwaway(templates: Sequence[SkuTemplate], kind: str) -> Iterator[Throwaway]:
    """An appliance with these SKUs and a keystore of this kind, in a folder that is removed again."""
    into = into_softhsm() if kind == PKCS11 else None
    with tempfile.TemporaryDirectory(prefix="station-selftest-") as name:
        yield make(Path(name) / "appliance", templates, into)


def make(folder: Path, templates: Sequence[SkuTemplate], into: Callable[[Path], object] | None = None) -> Throwaway:
    """Make it; ``into`` brings the keys into another keystore once they are known here."""
    known: list[KeyMaterial] = []

    def finish(staged: Path) -> None:
        keys = read_settings(staged).keys
        known.append(unseal(keys.file, read_secret(keys.passphrase, "keystore passphrase"), Realm.DEV))
        if into is not None:
            into(staged)

    names = [template.name for template in templates]
    init(folder, STATIONS, skus=names, finish=finish)
    for name in names:
        _add_family_member(folder, name)
    write_public(folder / "stations.toml", _stations().encode())
    passwords = {name: Secret(client_files(folder, MAIN, name).password.read_bytes().strip(), name) for name in names}
    return Throwaway(folder, Oracle(folder, known[0]), _identities(folder), passwords)


class Serving:
    """The appliance's process while it serves; ``exit_code`` once it has ended."""

    def __init__(self, place: Throwaway) -> None:
        self._place = place
        arguments = ["appliance", "serve", str(place.folder), "--port", "0", "--json", "--log-level", "debug"]
        with place.log.open("ab") as log:
            self._child = Child("appliance", [*arguments, "--parent-pid", str(os.getpid())], log.fileno())

    @property
    def target(self) -> str:
        """Where it answers; ``ApplianceError`` with its last words when it does not."""
        try:
            return str(json.loads(self._child.first_line(READY_SECONDS))["target"])
        except (BenchError, ValueError, KeyError):
            said = self._place.log.read_text(errors="replace").strip().splitlines()
            words = said[-1][:300] if said else "nothing"
            raise ApplianceError(f"expected the throwaway appliance to serve, it said: {words}") from None

    @property
    def exit_code(self) -> int | None:
        """What the process ended with."""
        return self._child.process.poll()

    def end(self) -> None:
        """Ask it to end, and wait."""
        self._child.end()


@contextmanager
def served(place: Throwaway) -> Iterator[Serving]:
    """The appliance as a process of its own."""
    serving = Serving(place)
    try:
        yield serving
    finally:
        serving.end()


def _add_family_member(folder: Path, sku: str) -> None:
    """A second SKU of the same family: it takes the password of the first one."""
    text = (folder / f"skus/sku_{sku}.yml").read_text().replace(f"sku: {sku}\n", f"sku: {sku}{FAMILY}\n")
    write_public(folder / f"skus/sku_{sku}{FAMILY}.yml", text.encode())


def _stations() -> str:
    """All roles for the first two, one role for each of the others."""
    roles = {**dict.fromkeys((MAIN, SECOND, ELSEWHERE), '"CP", "FT"'), QUOTA: '"FT"'}
    roles |= {name: f'"{role}"' for name, role in ROLES.items()}
    lines = ['[[work_order]]\nname = "one-device"\nquota = 1\n']
    for name, listed in roles.items():
        lines.append(f'[[station]]\nname = "{name}"\ncertificate = "{name}"\nskus = ["*"]\nroles = [{listed}]')
        lines.append('work_order = "one-device"\n' if name == QUOTA else "")
    return "\n".join(lines) + "\n"


def _identities(folder: Path) -> dict[str, Identity]:
    """Every station's, and those that must be refused: unknown, of elsewhere, foreign, expired, none at all."""
    authority = tls_authority(folder)
    foreign = new_ca(realm_name("Another CA", Realm.DEV), Realm.DEV)
    odd = {
        "unknown": _issued(authority, [*LOOPBACK, "unknown"]),
        "elsewhere": _issued(authority, ["192.0.2.1", ELSEWHERE]),
        "foreign": _issued(foreign, [*LOOPBACK, MAIN]),
        "expired": _issued(authority, [*LOOPBACK, MAIN], days=-0.5),
    }
    found = {name: identity_of(client_files(folder, name)) for name in STATIONS}
    ca = authority.pem
    found |= {name: Identity(ca, issued.pem, issued.key_pem) for name, issued in odd.items()}
    return {**found, "none": Identity(ca, None, None)}


def _issued(authority: Issued, hosts: Sequence[str], days: float = ENDPOINT_DAYS) -> Issued:
    return new_endpoint(realm_name(hosts[-1], Realm.DEV), hosts, authority, server=False, days=days)
