"""The steps on the SPM machine: its own keys, the seeds that come wrapped, requests, and the folder that is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from station.appliance.ceremony import authority
from station.appliance.ceremony.install import Certificates, install
from station.appliance.ceremony.keys import (
    AES_KEY,
    SEEDS,
    TRANSPORT_KEY,
    hsm_refusal,
    public_label,
    roots_of,
    spm_keys,
    spm_sku_keys,
)
from station.appliance.ceremony.machine import Machine
from station.appliance.ceremony.offline import (
    CHECK,
    RECIPIENT_FILES,
    UNWRAPS,
    WAY,
    certificate_name,
    issued_labels,
    names_of,
    request_name,
)
from station.appliance.ceremony.task import People, Step, Task
from station.appliance.ceremony.transfer import Expected, Received, Transfer
from station.appliance.ceremony.vault import Delivery, Vault
from station.appliance.ceremony.work import DigestCheck, Outcome, Work, attended, line_of, require_keys
from station.appliance.sku_templates import CAS, IDENTITY_KEY, RMA_KEY, SkuTemplate, ordered
from station.errors import ConfigError


def spm_init(machine: Machine, people: People) -> Outcome:
    """Make the transport key, the identity key and the key of sessions; give their public halves away."""
    with attended(machine, people, Task(Step.SPM_INIT)) as work:
        if done := work.already():
            return done
        with machine.vault() as vault:
            work.begin(vault, [key.label for key in spm_keys()])
            vault.make(spm_keys(), work.resumed)
            work.send(machine.transfer_path(Step.SPM_INIT), lambda: _public_keys(machine, vault))
            return work.finish(line_of(spm_keys(), vault))


def spm_sku_init(
    machine: Machine, people: People, skus: Sequence[str], source: Path | None, check: DigestCheck
) -> Outcome:
    """Bring in the seeds and the RMA key, and make the CA keys of these SKUs; later SKUs need no ``source``."""
    templates = ordered(skus)
    with attended(machine, people, Task(Step.SPM_SKU_INIT, skus=names_of(templates))) as work:
        received = _export(machine, work, source, check)
        work.require_place(received)
        if done := work.already([received]):
            return done
        delivery, values = _delivery(machine, received.transfer)
        keys = spm_sku_keys(templates)
        if machine.in_token and (refusal := hsm_refusal(keys)):
            raise ConfigError(refusal)
        with machine.vault() as vault:
            require_keys(vault, [TRANSPORT_KEY])
            if vault.check_values(delivery) != values:
                raise ConfigError("expected seeds with the check values of the export, saw others: export them again")
            work.begin(vault, [*SEEDS, RMA_KEY, *(key.label for key in keys)])
            work.keep(received)
            vault.take(delivery)
            vault.add_public(RMA_KEY, received.transfer.items[RMA_KEY])
            vault.make(keys, work.resumed)
            return work.finish([*(vault.line(label) for label in (*SEEDS, RMA_KEY)), *line_of(keys, vault)])


def spm_sku_csr(machine: Machine, people: People, skus: Sequence[str], subjects: authority.Subjects) -> Outcome:
    """Ask the offline machine to certify the CAs of these SKUs."""
    templates = ordered(skus)
    task = Task(Step.SPM_SKU_CSR, skus=names_of(templates))
    with attended(machine, people, task) as work:
        if done := work.already():
            _check_subjects(machine, task, subjects)
            return done
        export = _kept_export(machine)
        with machine.vault() as vault:
            keys = spm_sku_keys(templates)
            require_keys(vault, [key.label for key in keys])
            work.begin()

            def build() -> Transfer:
                return Transfer(
                    task.step,
                    machine.realm,
                    machine.id,
                    peer=export.transfer.sender,
                    answers=export.digest,
                    skus=task.skus,
                    items={
                        request_name(label): authority.make_request(vault, label, authority.subject_of(label, subjects))
                        for label in issued_labels(templates)
                    },
                )

            work.send(machine.transfer_path(task.step, task.skus), build)
            return work.finish(line_of(keys, vault))


def _check_subjects(machine: Machine, task: Task, subjects: authority.Subjects) -> None:
    """Refuse another subject than the one that was asked for already."""
    asked = machine.kept(machine.transfer_path(task.step, task.skus))
    for label, wanted in subjects.items():
        request = asked.transfer.items.get(request_name(label)) if asked is not None else None
        seen = x509.load_der_x509_csr(request).subject if request is not None else wanted
        if seen != wanted:
            raise ConfigError(
                f"expected the subject {wanted.rfc4514_string()} of {label}, its request is made and says "
                f"{seen.rfc4514_string()}: a request is made once"
            )


def spm_sku_certs(machine: Machine, people: People, sources: Sequence[Path], check: DigestCheck) -> Outcome:
    """Install roots and CA certificates, and make the folder one that ``appliance serve`` serves."""
    with attended(machine, people, Task(Step.SPM_SKU_CERTS)) as work:
        roots, issued = _both(machine, work, sources, check)
        templates = ordered(issued.transfer.skus)
        work.about(issued.transfer.skus)
        for received in (roots, issued):
            work.require_place(received)
        if done := work.already([roots, issued]):
            return done
        certificates = _certificates(machine, roots.transfer, issued.transfer, templates)
        with machine.vault() as vault:
            plan = install(machine, vault, templates, certificates)
            plan.check()
            work.begin()
            for received in (roots, issued):
                work.keep(received)
            plan.do()
            lines = [authority.certificate_line(label, der) for label, der in certificates.by_label.items()]
            return work.finish(certificates=lines)


def _public_keys(machine: Machine, vault: Vault) -> Transfer:
    ways = vault.unwraps()
    if not ways:
        raise ConfigError("expected a token that unwraps with RSA-OAEP: use another HSM")
    items = {public_label(label): vault.public_key(label) for label in (TRANSPORT_KEY, IDENTITY_KEY)}
    return Transfer(Step.SPM_INIT, machine.realm, machine.id, facts={UNWRAPS: " ".join(ways)}, items=items)


def _export(machine: Machine, work: Work, source: Path | None, check: DigestCheck) -> Received:
    """The seeds under way: from the medium, or as they were received for earlier SKUs."""
    if source is None:
        return _kept_export(machine)
    own = machine.kept(machine.transfer_path(Step.SPM_INIT))
    if own is None:
        raise ConfigError(f"expected {Step.SPM_INIT} to be done before: the seeds are wrapped for its key")
    expected = Expected(
        Step.OFFLINE_COMMON_EXPORT, machine.realm, peer=machine.id, answers=own.digest, skus=()
    )  # fmt: skip
    return work.receive(source, check, expected)


def _kept_export(machine: Machine) -> Received:
    kept = machine.kept(machine.transfer_path(Step.OFFLINE_COMMON_EXPORT))
    if kept is None:
        raise ConfigError(f"expected the seeds of the offline machine: do {Step.SPM_SKU_INIT} with --input first")
    return kept


def _delivery(machine: Machine, transfer: Transfer) -> tuple[Delivery, dict[str, str]]:
    transfer.require_items((AES_KEY, *SEEDS, RMA_KEY))
    authority.check_rsa(transfer.items[RMA_KEY], RMA_KEY, machine.realm)
    seeds = {label: transfer.items[label] for label in SEEDS}
    values = {label: transfer.facts.get(f"{CHECK}{label}", "") for label in SEEDS}
    return Delivery(transfer.facts.get(WAY, ""), transfer.items[AES_KEY], seeds), values


def _both(machine: Machine, work: Work, sources: Sequence[Path], check: DigestCheck) -> tuple[Received, Received]:
    """The roots' transfer and the CAs', in whatever order they were named."""
    received = {found.transfer.step: found for found in (work.receive(source, check) for source in sources)}
    wanted = (Step.OFFLINE_CA_ROOT_CERTGEN, Step.OFFLINE_SKU_CERTGEN)
    if len(sources) != len(wanted) or set(received) != set(wanted):
        raise ConfigError(
            f"expected the two transfers of {' and '.join(wanted)}, saw {', '.join(received) or 'none'}: name each "
            f"with --input"
        )
    roots, issued = (received[step] for step in wanted)
    offline = _kept_export(machine).transfer.sender
    Expected(wanted[0], machine.realm, sender=offline, peer="", answers="").check(roots.transfer)
    Expected(wanted[1], machine.realm, sender=offline, peer=machine.id).check(issued.transfer)
    return roots, issued


def _certificates(
    machine: Machine, roots: Transfer, issued: Transfer, templates: Sequence[SkuTemplate]
) -> Certificates:
    """Both transfers as certificates and key files, everything about them checked."""
    asked = machine.kept(machine.transfer_path(Step.SPM_SKU_CSR, issued.skus))
    if asked is None:
        raise ConfigError(
            f"expected certificates for a request of this machine, saw some for {', '.join(issued.skus)}: it has not "
            f"asked for these together"
        )
    Expected(Step.OFFLINE_SKU_CERTGEN, machine.realm, answers=asked.digest).check(issued)
    issued.require_items([certificate_name(label) for label in issued_labels(templates)])
    held = ordered(roots.skus) if roots.skus else ()
    recipient = RECIPIENT_FILES if any(template.second_layer for template in held) else ()
    roots.require_items([*(certificate_name(label) for label in roots_of(held)), *recipient])
    missing = [template.name for template in templates if template not in held]
    if missing:
        raise ConfigError(
            f"expected the roots of {', '.join(missing)} in the transfer of {roots.step}, saw those of "
            f"{', '.join(roots.skus)}: make one for these SKUs"
        )
    return _checked(machine, roots, issued, asked.transfer, templates)


def _checked(
    machine: Machine, roots: Transfer, issued: Transfer, asked: Transfer, templates: Sequence[SkuTemplate]
) -> Certificates:
    found = {}
    for label in roots_of(templates):
        der = found[label] = roots.items[certificate_name(label)]
        authority.check_ca(der, label, der, machine.realm)
    for label in issued_labels(templates):
        der = found[label] = issued.items[certificate_name(label)]
        certificate = authority.check_ca(der, label, found[CAS[label].root], machine.realm)
        request = x509.load_der_x509_csr(asked.items[request_name(label)])
        if (certificate.public_key(), certificate.subject) != (request.public_key(), request.subject):
            raise ConfigError(f"expected the certificate of {label} for its own key and subject, saw another")
    layered = any(template.second_layer for template in templates)
    files = {name: roots.items[name] for name in RECIPIENT_FILES} if layered else {}
    return Certificates(found, files)
