"""The ceremony's steps for the command line: which machine, which people, and what is said afterwards."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from station.appliance.ceremony import authority, offline, rma, spm, tls
from station.appliance.ceremony.machine import (
    FILE,
    KeystoreLines,
    Machine,
    at_machine,
    machine_made,
    realm_of,
    seen_machine,
)
from station.appliance.ceremony.task import People, Side, Step, Task
from station.appliance.ceremony.transcript import certificate_text, file_text, key_text, render
from station.appliance.ceremony.transfer import grouped
from station.appliance.ceremony.work import DigestCheck, Outcome, attended
from station.appliance.files import place
from station.appliance.sku_templates import ordered
from station.errors import ConfigError
from station.model import Realm
from station.processes import restart_in_clean_environment
from station.secret import harden_process

Say = Callable[[str], None]
NEXT = {
    Step.SPM_INIT: "carry the file to the offline machine: offline-common-export",
    Step.OFFLINE_COMMON_INIT: "wait for the file of spm-init: offline-common-export",
    Step.OFFLINE_COMMON_EXPORT: "carry the file to the SPM machine: spm-sku-init",
    Step.SPM_SKU_INIT: "spm-sku-csr, for the same SKUs",
    Step.SPM_SKU_CSR: "carry the file to the offline machine: offline-ca-root-certgen (with --subject LABEL=NAME for "
    f"roots of your own name, else a new root is {authority.ROOT_NAME.rfc4514_string()} for good), then "
    "offline-sku-certgen",
    Step.OFFLINE_CA_ROOT_CERTGEN: "offline-sku-certgen; then carry both files to the SPM machine",
    Step.OFFLINE_SKU_CERTGEN: "carry this file and that of offline-ca-root-certgen to the SPM machine: spm-sku-certs",
    Step.SPM_SKU_CERTS: "tls-csr for the server and each station, stations.toml, passwords of clients/ to the stations",
    Step.TLS_CSR: "carry the file to the offline machine: offline-tls-certgen",
    Step.OFFLINE_TLS_CERTGEN: "carry the file back to its machine: tls-cert",
    Step.TLS_CERT: "sign the transcripts: transcript",
}
LATER = "at an SPM machine that has its seeds: spm-sku-init for the same SKUs, without --input; at a new one: spm-init"


@dataclass(frozen=True, slots=True)
class Options:
    """What a step is told beside its machine and its people; each step takes some of it."""

    skus: Sequence[str] = ()
    sources: Sequence[Path] = ()
    digests: Sequence[str] = ()
    subjects: Sequence[str] = ()
    name: str = ""
    hosts: Sequence[str] = ()
    server: bool = False
    realm: str | None = None
    keystore: KeystoreLines = field(default_factory=dict)

    @property
    def check(self) -> DigestCheck:
        """The digests that were given, else a question at the terminal."""
        return DigestCheck(tuple(self.digests), _ask if sys.stdin is not None and sys.stdin.isatty() else None)

    @property
    def names(self) -> authority.Subjects:
        """Subjects by label."""
        return authority.parse_subjects(self.subjects)


Do = Callable[[Machine, People, Options], Outcome]
SPM, OFFLINE, ENDPOINT = (Side.SPM,), (Side.OFFLINE,), (Side.SPM, Side.STATION)
STEPS: Mapping[Step, tuple[Sequence[Side], Do]] = {
    Step.SPM_INIT: (SPM, lambda m, p, o: spm.spm_init(m, p)),
    Step.OFFLINE_COMMON_INIT: (OFFLINE, lambda m, p, o: offline.offline_common_init(m, p, o.skus)),
    Step.OFFLINE_COMMON_EXPORT: (OFFLINE, lambda m, p, o: offline.offline_common_export(m, p, o.sources[0], o.check)),
    Step.SPM_SKU_INIT: (SPM, lambda m, p, o: spm.spm_sku_init(m, p, o.skus, next(iter(o.sources), None), o.check)),
    Step.SPM_SKU_CSR: (SPM, lambda m, p, o: spm.spm_sku_csr(m, p, o.skus, o.names)),
    Step.OFFLINE_CA_ROOT_CERTGEN: (
        OFFLINE,
        lambda m, p, o: offline.offline_ca_root_certgen(m, p, o.skus, o.names),
    ),
    Step.OFFLINE_SKU_CERTGEN: (
        OFFLINE,
        lambda m, p, o: offline.offline_sku_certgen(m, p, o.sources[0], o.check, o.names),
    ),
    Step.SPM_SKU_CERTS: (SPM, lambda m, p, o: spm.spm_sku_certs(m, p, o.sources, o.check)),
    Step.TLS_CSR: (ENDPOINT, lambda m, p, o: tls.tls_csr(m, p, tls.endpoint_of(m.side, o.name, o.hosts, o.server))),
    Step.OFFLINE_TLS_CERTGEN: (OFFLINE, lambda m, p, o: tls.offline_tls_certgen(m, p, o.sources[0], o.check)),
    Step.TLS_CERT: (ENDPOINT, lambda m, p, o: tls.tls_cert(m, p, o.sources[0], o.check)),
}
FIRST: Mapping[Step, Side] = {
    Step.SPM_INIT: Side.SPM,
    Step.OFFLINE_COMMON_INIT: Side.OFFLINE,
    Step.TLS_CSR: Side.STATION,
}
"""Steps that make a machine, when the folder is new."""


def step_command(
    step: Step, folder: Path, people: People, options: Options, as_json: bool = False, say: Say | None = None
) -> int:
    """Do one step at the machine of ``folder`` and say what was done."""
    folder, say = folder.resolve(), say or _stdout
    sides, do = STEPS[step]
    if not (folder / FILE).exists():  # what was typed wrong is told before a folder is made
        people.check()
        _check(options)
    _begin_process(folder, options.realm)
    with _made(step, folder, options), at_machine(folder, sides) as machine:
        with attended(machine, people, Task(step)):
            _check(options)
        outcome = do(machine, people, options)
        advice = _next(machine, Step(outcome.entry.step))
    for line in [_json(outcome)] if as_json else _lines(outcome, advice):
        say(line)
    return 0


def _next(machine: Machine, step: Step) -> str:
    """What comes after a step; an offline machine that has given its seeds away already makes keys of later SKUs."""
    if step is Step.OFFLINE_COMMON_INIT and machine.transcript.files("sent", Step.OFFLINE_COMMON_EXPORT):
        return LATER
    return NEXT.get(step, "")


def _begin_process(folder: Path, realm: str | None = None) -> None:
    """Before the first secret: an allow-listed environment, no core files, nobody who looks into the memory."""
    known = realm_of(folder, realm)
    if known is not None:
        restart_in_clean_environment(known)
    harden_process()


def _made(step: Step, folder: Path, options: Options) -> AbstractContextManager[None]:
    """The machine of a first step; every other step wants one that is there."""
    if step not in FIRST or (step is Step.TLS_CSR and (folder / FILE).exists()):
        return nullcontext()
    return machine_made(folder, FIRST[step], Realm(options.realm) if options.realm else None, options.keystore)


def _check(options: Options) -> None:
    """Refuse what was typed wrong."""
    ordered(options.skus or ("all",))
    authority.parse_subjects(options.subjects)
    if options.name:
        tls.endpoint_of(Side.STATION, options.name, options.hosts, options.server)


def transcript_command(folder: Path, output: Path | None = None, as_json: bool = False, say: Say | None = None) -> int:
    """Show the transcript as people sign it, or its entries; ``output`` also writes the text into a new file."""
    say = say or _stdout
    machine = seen_machine(folder.resolve(), tuple(Side))
    text = render(machine.title(), machine.transcript)
    if output is not None:
        place(output, text.encode(), 0o644)
    entries = [asdict(entry) for entry in machine.transcript.entries]
    head = {"machine": machine.side.value, "id": machine.id, "realm": machine.realm.value}
    head["head"] = machine.transcript.head
    say(json.dumps({"event": "ceremony_transcript", **head, "entries": entries}) if as_json else text)
    return 0


def rma_token_command(
    *, folder: Path, wrapped_seed: Path, output: Path, operator: str, witness: str, diversifier: str | None,
    mechanism: str, token_hash: str | None, as_json: bool = False, say: Say | None = None,
) -> int:  # fmt: skip
    """Recover the unlock token of a part with the keys of an offline machine, or of a development appliance."""
    _begin_process(folder, Realm.DEV)
    hashed = None if token_hash is None else _hex(token_hash, 16, "the token's hash")
    given = rma.DIVERSIFIER if diversifier is None else _hex(diversifier, None, "the diversifier")
    recovery = rma.Recovery(rma.read_wrapped_seed(wrapped_seed), given, mechanism, hashed)
    output = output.absolute()
    if (folder / FILE).exists():
        people = People(operator, witness)
        if not (operator.strip() and witness.strip()):
            raise ConfigError(
                f"expected two people at {folder}, a machine of a ceremony: name --operator and --witness"
            )
        return _recover(folder.resolve(), people, recovery, output, as_json, say or _stdout)
    rma.recover_in_development(folder.resolve(), recovery, output)
    say = say or _stdout
    say(json.dumps({"event": "rma_token", "file": str(output)}) if as_json else f"token written to {output}")
    return 0


def _recover(folder: Path, people: People, recovery: rma.Recovery, output: Path, as_json: bool, say: Say) -> int:
    with at_machine(folder, OFFLINE) as machine:
        outcome = rma.recover_token(machine, people, recovery, output)
    for line in [_json(outcome)] if as_json else _lines(outcome, ""):
        say(line)
    return 0


def _ask(name: str, digest: str) -> bool:
    print(f"{name}\n  SHA-256 {digest}", file=sys.stderr, flush=True)
    print("Did the other machine show exactly this digest? Type yes: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _lines(outcome: Outcome, advice: str) -> list[str]:
    entry = outcome.entry
    said = f"was done on {entry.time} by {entry.operator} and {entry.witness}; nothing was changed"
    lines = [f"{entry.task}: {said if outcome.already else 'done'}"]
    lines += [f"  {entry.note}"] if entry.note else []
    lines += [f"  {key_text(key)}" for key in entry.keys]
    lines += [f"  {certificate_text(certificate)}" for certificate in entry.certificates]
    lines += [f"  {file_text(file)}" for file in entry.files]
    lines += [f"file: {outcome.sent}"] if outcome.sent is not None else []
    return lines + ([f"next: {advice}"] if advice else [])


def _json(outcome: Outcome) -> str:
    content: dict[str, Any] = {"event": "ceremony_step", "already": outcome.already, **asdict(outcome.entry)}
    if outcome.sent is not None:
        sent = next(file.sha256 for file in outcome.entry.files if file.way == "sent")
        content |= {"file": str(outcome.sent), "sha256": sent, "digest": grouped(sent)}
    del content["previous"]
    return json.dumps(content)


def _hex(text: str, length: int | None, what: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if not found or (length is not None and len(found) != length):
        wanted = f"{length} bytes" if length is not None else "bytes"
        raise ConfigError(f"expected {what} as hexadecimal digits of {wanted}, saw {text[:80]!r}: correct it")
    return found


def _stdout(line: str) -> None:
    print(line, flush=True)
