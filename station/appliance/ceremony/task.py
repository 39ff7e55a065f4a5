"""What is done in a ceremony: the steps in their order, the two people who do them, and one step of one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from station.errors import ConfigError

LONGEST_NAME = 64


class Side(StrEnum):
    """Which machine a folder belongs to."""

    SPM = "spm"
    OFFLINE = "offline"
    STATION = "station"


SIDES: Mapping[Side, str] = {
    Side.SPM: "SPM machine",
    Side.OFFLINE: "offline machine",
    Side.STATION: "TLS endpoint",
}


class Step(StrEnum):
    """The steps; their names are those of the reference project where it has them."""

    SPM_INIT = "spm-init"
    OFFLINE_COMMON_INIT = "offline-common-init"
    OFFLINE_COMMON_EXPORT = "offline-common-export"
    SPM_SKU_INIT = "spm-sku-init"
    SPM_SKU_CSR = "spm-sku-csr"
    OFFLINE_CA_ROOT_CERTGEN = "offline-ca-root-certgen"
    OFFLINE_SKU_CERTGEN = "offline-sku-certgen"
    SPM_SKU_CERTS = "spm-sku-certs"
    TLS_CSR = "tls-csr"
    OFFLINE_TLS_CERTGEN = "offline-tls-certgen"
    TLS_CERT = "tls-cert"
    RMA_TOKEN = "rma-token"


FILES: Mapping[Step, str] = {
    Step.SPM_INIT: "spm_hsm_init",
    Step.OFFLINE_COMMON_EXPORT: "hsm_offline_export",
    Step.SPM_SKU_CSR: "hsm_ca_intermediate_csr",
    Step.OFFLINE_CA_ROOT_CERTGEN: "hsm_ca_root_certs",
    Step.OFFLINE_SKU_CERTGEN: "hsm_ca_intermediate_certs",
    Step.TLS_CSR: "tls_csr",
    Step.OFFLINE_TLS_CERTGEN: "tls_cert",
}
"""How the transfer that a step makes is called; source: opentitan-appliance sheet 3.2."""


@dataclass(frozen=True, slots=True)
class Task:
    """One step; it is the same one again for the same SPM machine (empty: for none or all) and the same SKUs."""

    step: Step
    peer: str = ""
    skus: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.step, *self.skus))


@dataclass(frozen=True, slots=True)
class People:
    """Who does a step, and who watches, as they were typed; ``check`` refuses what cannot stand in a transcript."""

    operator: str
    witness: str

    def check(self) -> None:
        """Raise ``ConfigError`` unless these are the names of two people."""
        for role, name in (("operator", self.operator), ("witness", self.witness)):
            if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
                raise ConfigError(f"expected the name of the {role}, up to {LONGEST_NAME} letters, saw {name[:80]!r}")
        if self.operator.strip().casefold() == self.witness.strip().casefold():
            raise ConfigError(f"expected two people, saw {self.operator!r} twice: name another witness")

    def printable(self) -> People:
        """Cut and without control characters, for the entry of a refusal."""
        cut = ("".join(filter(str.isprintable, name))[:LONGEST_NAME] for name in (self.operator, self.witness))
        return People(*cut)
