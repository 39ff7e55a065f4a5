"""The steps on the offline machine: seeds leave it wrapped, roots as certificates, the RMA key never."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.serialization import load_der_public_key

from station.appliance.ceremony import authority
from station.appliance.ceremony.keys import (
    AES_KEY,
    ML_KEM_KEY,
    RMA_PRIVATE_KEY,
    SEEDS,
    TRANSPORT_KEY,
    X25519_KEY,
    hsm_refusal,
    offline_keys,
    offline_sku_keys,
    public_label,
    roots_of,
)
from station.appliance.ceremony.machine import FOLDER, Machine
from station.appliance.ceremony.task import People, Step, Task
from station.appliance.ceremony.transcript import CertificateLine, KeyLine
from station.appliance.ceremony.transfer import Expected, Received, Transfer, digest_of
from station.appliance.ceremony.vault import Vault
from station.appliance.ceremony.work import DigestCheck, Outcome, attended, line_of, require_keys
from station.appliance.files import place
from station.appliance.hpke_layer import recipient_files
from station.appliance.keystore import algorithm_of, spki
from station.appliance.sku_templates import (
    CAS,
    IDENTITY_KEY,
    ML_KEM_FILE,
    RMA_KEY,
    X25519_FILE,
    SkuTemplate,
    ca_file,
    cas_of,
    ordered,
    private_label,
)
from station.errors import ConfigError

RECIPIENT_FILES = (Path(ML_KEM_FILE).name, Path(X25519_FILE).name)
CHECK = "check value of "
UNWRAPS, WAY = "unwraps", "transport"


def offline_common_init(machine: Machine, people: People, skus: Sequence[str]) -> Outcome:
    """Make the seeds, the transport key, the RMA key, the TLS CA key, and the roots of these SKUs."""
    templates = ordered(skus)
    with attended(machine, people, Task(Step.OFFLINE_COMMON_INIT, skus=names_of(templates))) as work:
        if done := work.already():
            return done
        keys = (*offline_keys(), *offline_sku_keys(templates))
        _refuse(machine, hsm_refusal(keys))
        with machine.vault() as vault:
            work.begin(vault, [key.label for key in keys])
            vault.make(keys, work.resumed)
            return work.finish(line_of(keys, vault))


def offline_common_export(machine: Machine, people: People, source: Path, check: DigestCheck) -> Outcome:
    """Wrap the seeds for one SPM machine, and give it the public RMA key."""
    with attended(machine, people, Task(Step.OFFLINE_COMMON_EXPORT)) as work:
        received = work.receive(source, check, Expected(Step.SPM_INIT, machine.realm, peer="", answers="", skus=()))
        spm = received.transfer.sender
        work.about(peer=spm)
        work.require_place(received)
        if done := work.already([received]):
            return done
        _check_spm_keys(machine, received.transfer)
        with machine.vault() as vault:
            require_keys(vault, [key.label for key in offline_keys()])
            work.begin()
            work.keep(received)
            path = machine.transfer_path(Step.OFFLINE_COMMON_EXPORT, peer=spm)
            work.send(path, lambda: _export(machine, vault, received))
            theirs = [
                KeyLine(label, algorithm_of(spki), digest_of(spki)) for label, spki in received.transfer.items.items()
            ]
            return work.finish([*theirs, *line_of(offline_keys(), vault)])


def offline_ca_root_certgen(
    machine: Machine, people: People, skus: Sequence[str], subjects: authority.Subjects
) -> Outcome:
    """Certify the roots of these SKUs, and give certificates and HPKE public keys to any SPM machine."""
    templates = ordered(skus)
    task = Task(Step.OFFLINE_CA_ROOT_CERTGEN, skus=names_of(templates))
    with attended(machine, people, task) as work:
        for label in roots_of(templates):
            _check_subject(machine, label, subjects)
        if done := work.already():
            return done
        with machine.vault() as vault:
            require_keys(vault, [key.label for key in offline_sku_keys(templates)])
            work.begin()
            roots = {label: _root(machine, vault, label, subjects) for label in roots_of(templates)}
            items = {**_named(roots), **_recipient(vault, templates)}
            build = partial(Transfer, task.step, machine.realm, machine.id, skus=task.skus, items=items)
            work.send(machine.transfer_path(task.step, task.skus), build)
            return work.finish(certificates=_lines(roots), note=_borrowed(roots))


def offline_sku_certgen(
    machine: Machine, people: People, source: Path, check: DigestCheck, subjects: authority.Subjects
) -> Outcome:
    """Certify the intermediate CAs that an SPM machine asks for, when the policy allows it."""
    with attended(machine, people, Task(Step.OFFLINE_SKU_CERTGEN)) as work:
        received = work.receive(source, check, Expected(Step.SPM_SKU_CSR, machine.realm, peer=machine.id))
        transfer = received.transfer
        templates = ordered(transfer.skus)
        work.about(transfer.skus, transfer.sender)
        _check_answer(machine, transfer)
        work.require_place(received)
        done = work.already([received])
        requests = _requests(machine, transfer, templates, subjects)
        if done:
            return done
        roots = {label: _stored_root(machine, CAS[label].root) for label in requests}
        for label, request in requests.items():
            _known_certificate(machine, transfer.sender, label, request)
        with machine.vault() as vault:
            work.begin()
            work.keep(received)
            issued = {
                label: _issued(machine, vault, transfer.sender, label, request, roots[label])
                for label, request in requests.items()
            }
            path = machine.transfer_path(Step.OFFLINE_SKU_CERTGEN, transfer.skus, transfer.sender)
            work.send(path, partial(
                Transfer, Step.OFFLINE_SKU_CERTGEN, machine.realm, machine.id, peer=transfer.sender,
                answers=received.digest, skus=transfer.skus, items=_named(issued),
            ))  # fmt: skip
            return work.finish([_key_line(label, request) for label, request in requests.items()], _lines(issued))


def request_name(label: str) -> str:
    """Name of a CA's request in a transfer."""
    return f"{label}.csr"


def certificate_name(label: str) -> str:
    """Name of a CA's certificate in a transfer."""
    return f"{label}.der"


def issued_labels(templates: Sequence[SkuTemplate]) -> list[str]:
    """Labels of the intermediate CAs of these SKUs."""
    return [label for label, plan in cas_of(templates).items() if plan.root]


def _check_spm_keys(machine: Machine, transfer: Transfer) -> None:
    transport, identity = public_label(TRANSPORT_KEY), public_label(IDENTITY_KEY)
    transfer.require_items((transport, identity))
    authority.check_rsa(transfer.items[transport], transport, machine.realm)
    if algorithm_of(transfer.items[identity]) != "P-256":
        raise ConfigError(f"expected a P-256 key as {identity}, saw another: make the transfer again")


def _export(machine: Machine, vault: Vault, received: Received) -> Transfer:
    transfer = received.transfer
    recipient = transfer.items[public_label(TRANSPORT_KEY)]
    delivery = vault.wrap(recipient, transfer.facts.get(UNWRAPS, "").split())
    values = {f"{CHECK}{label}": vault.line(label).fingerprint for label in SEEDS}
    return Transfer(
        Step.OFFLINE_COMMON_EXPORT,
        machine.realm,
        machine.id,
        peer=transfer.sender,
        answers=received.digest,
        facts={WAY: delivery.mechanism, **values},
        items={AES_KEY: delivery.aes_key, **delivery.seeds, RMA_KEY: vault.public_key(RMA_PRIVATE_KEY)},
    )


def _root_path(machine: Machine, label: str) -> Path:
    return machine.folder / ca_file(label)


def _check_subject(machine: Machine, label: str, subjects: authority.Subjects) -> None:
    if not _root_path(machine, label).exists() or label not in subjects:
        return
    seen = x509.load_der_x509_certificate(_stored_root(machine, label)).subject
    if seen != subjects[label]:
        raise ConfigError(
            f"expected the subject {subjects[label].rfc4514_string()} of {label}, its certificate is made and says "
            f"{seen.rfc4514_string()}: a root is certified once"
        )


def _root(machine: Machine, vault: Vault, label: str, subjects: authority.Subjects) -> bytes:
    """The certificate of a root, made once."""
    path = _root_path(machine, label)
    if not path.exists():
        subject = authority.subject_of(label, subjects)
        place(path, authority.make_root(vault, label, subject, machine.realm), 0o644)
    return _stored_root(machine, label)


def _borrowed(roots: Mapping[str, bytes]) -> str:
    """One sentence on the roots that carry the reference project's name, since nobody has given them another."""
    names = {label: x509.load_der_x509_certificate(der).subject for label, der in roots.items()}
    borrowed = [label for label, name in names.items() if name == authority.ROOT_NAME]
    if not borrowed:
        return ""
    return (
        f"no --subject was given for {', '.join(borrowed)}: the subject is the reference project's, "
        f"{authority.ROOT_NAME.rfc4514_string()}"
    )


def _stored_root(machine: Machine, label: str) -> bytes:
    path = _root_path(machine, label)
    if not path.exists():
        raise ConfigError(f"expected the certificate of the root {label}: do {Step.OFFLINE_CA_ROOT_CERTGEN} first")
    der = path.read_bytes()
    authority.check_ca(der, label, der, machine.realm)
    return der


def _recipient(vault: Vault, templates: Sequence[SkuTemplate]) -> dict[str, bytes]:
    """The HPKE public keys, when one of the SKUs has a second layer."""
    if not any(template.second_layer for template in templates):
        return {}
    pq, classical = (load_der_public_key(vault.public_key(label)) for label in (ML_KEM_KEY, X25519_KEY))
    assert isinstance(pq, mlkem.MLKEM768PublicKey)
    assert isinstance(classical, x25519.X25519PublicKey)
    return dict(zip(RECIPIENT_FILES, recipient_files(pq, classical), strict=True))


def _check_answer(machine: Machine, transfer: Transfer) -> None:
    """The requests answer the export for the machine that sends them."""
    kept = machine.kept(machine.transfer_path(Step.OFFLINE_COMMON_EXPORT, peer=transfer.sender))
    if kept is None:
        raise ConfigError(
            f"expected requests of an SPM machine that got its seeds here, saw those of {transfer.sender}: do "
            f"{Step.OFFLINE_COMMON_EXPORT} for it first"
        )
    Expected(transfer.step, machine.realm, answers=kept.digest).check(transfer)


def _requests(
    machine: Machine, transfer: Transfer, templates: Sequence[SkuTemplate], subjects: authority.Subjects
) -> dict[str, x509.CertificateSigningRequest]:
    labels = issued_labels(templates)
    transfer.require_items([request_name(label) for label in labels])
    requests = {
        label: authority.checked_request(transfer.items[request_name(label)], label, subjects, machine.realm)
        for label in labels
    }
    if len({spki(request.public_key()) for request in requests.values()}) < len(requests):  # type: ignore[arg-type]
        raise ConfigError("expected a key of its own in each request, saw one twice: make the keys again")
    return requests


def _key_line(label: str, request: x509.CertificateSigningRequest) -> KeyLine:
    """The key of a CA as its own machine shows it."""
    key = spki(request.public_key())  # type: ignore[arg-type]
    return KeyLine(private_label(label), algorithm_of(key), digest_of(key))


def _certificate_path(machine: Machine, spm: str, label: str) -> Path:
    return machine.folder / FOLDER / spm / ca_file(label)


def _known_certificate(machine: Machine, spm: str, label: str, request: x509.CertificateSigningRequest) -> bytes | None:
    """The certificate that this key of this SPM machine has already; for another key it is refused."""
    path = _certificate_path(machine, spm, label)
    if not path.exists():
        return None
    known = x509.load_der_x509_certificate(path.read_bytes())
    if known.public_key() != request.public_key() or known.subject != request.subject:
        raise ConfigError(
            f"expected the key and subject for which {label} of machine {spm} has a certificate, saw others: a CA is "
            f"certified once"
        )
    return path.read_bytes()


def _issued(
    machine: Machine, vault: Vault, spm: str, label: str, request: x509.CertificateSigningRequest, root: bytes
) -> bytes:
    """The certificate of an intermediate CA, made once."""
    der = _known_certificate(machine, spm, label, request)
    if der is None:
        der = authority.issue(vault, label, root, request, machine.realm)
        place(_certificate_path(machine, spm, label), der, 0o644)
    authority.check_ca(der, label, root, machine.realm)
    return der


def _named(certificates: Mapping[str, bytes]) -> dict[str, bytes]:
    return {certificate_name(label): der for label, der in certificates.items()}


def _lines(certificates: Mapping[str, bytes]) -> list[CertificateLine]:
    return [authority.certificate_line(label, der) for label, der in certificates.items()]


def names_of(templates: Sequence[SkuTemplate]) -> tuple[str, ...]:
    """Names of SKUs."""
    return tuple(template.name for template in templates)


def _refuse(machine: Machine, refusal: str) -> None:
    if machine.in_token and refusal:
        raise ConfigError(refusal)
