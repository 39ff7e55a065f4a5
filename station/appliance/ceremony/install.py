"""The appliance folder at the end of a ceremony: certificates, SKU files, passwords, settings; nothing overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from station.appliance.ceremony.machine import Machine, settings_lines
from station.appliance.ceremony.vault import Vault
from station.appliance.files import holds, place, replace
from station.appliance.hpke_layer import load_layer
from station.appliance.loaded_sku import load_sku
from station.appliance.settings import FILE
from station.appliance.sku_templates import (
    ML_KEM_FILE,
    SkuTemplate,
    auth_entry,
    auth_head,
    ca_file,
    new_password,
    sku_file,
)
from station.appliance.skus import read_auth
from station.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Certificates:
    """CA certificates (DER) by label, and public key files of the second layer by name."""

    by_label: Mapping[str, bytes]
    key_files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Installation:
    """What is written into the folder, in this order; ``do`` may be called again after it was killed."""

    machine: Machine
    vault: Vault
    templates: Sequence[SkuTemplate]
    files: Mapping[Path, bytes]

    def check(self) -> None:
        """Refuse before anything is written: another file is in the way."""
        for path, data in self.files.items():
            holds(path, data)

    def do(self) -> None:
        """Write, load every SKU as a serving appliance does; the settings come last, so that it cannot serve before."""
        for path, data in self.files.items():
            place(path, data, 0o644)
        self._passwords()
        for template in self.templates:
            load_sku(self.machine.folder / "skus", template.name, self.vault)
        path = self.machine.folder / FILE
        if not path.exists():  # it may have been edited since the first SKUs
            place(path, _settings(self.machine), 0o644)

    def _passwords(self) -> None:
        """A password for each SKU that has none, and its hash among those of the other SKUs."""
        path = self.machine.folder / "skus/sku_auth.yml"
        known = read_auth(path) if path.exists() else {}
        text = path.read_text(encoding="utf-8") if path.exists() else auth_head(self.machine.realm)
        missing = [template.name for template in self.templates if template.name not in known]
        for name in missing:
            text = f"{text.rstrip()}\n{auth_entry(name, self._password(name))}"
        if not path.exists():
            place(path, text.encode())
        elif missing:
            replace(path, text.encode(), 0o600, lambda staged: _require(staged, [*known, *missing]))

    def _password(self, name: str) -> bytes:
        path = self.machine.folder / f"clients/sku_password_{name}"
        if not path.exists():
            place(path, new_password() + b"\n")
        return path.read_bytes().strip()


def install(
    machine: Machine, vault: Vault, templates: Sequence[SkuTemplate], certificates: Certificates
) -> Installation:
    """The plan for these SKUs."""
    skus = machine.folder / "skus"
    files = {skus / ca_file(label): der for label, der in certificates.by_label.items()}
    files |= {(skus / ML_KEM_FILE).with_name(name): data for name, data in certificates.key_files.items()}
    files |= {skus / f"sku_{template.name}.yml": sku_file(template, machine.realm).encode() for template in templates}
    if certificates.key_files:
        load_layer(*certificates.key_files.values())
    return Installation(machine, vault, templates, files)


def _require(staged: Path, names: Sequence[str]) -> None:
    if set(read_auth(staged)) != set(names):
        raise ConfigError("expected sku_auth.yml to end with its SKUs: move what comes after them, and try again")


def _settings(machine: Machine) -> bytes:
    head = "# Made by a key ceremony. stations.toml says who may call; realm production needs it.\n"
    lines: dict[str, str | int] = {"realm": machine.realm.value, **machine.keystore}
    lines |= {"host": "127.0.0.1", "port": 5003, "registry": "registry.db"}
    return (head + settings_lines(lines)).encode()
