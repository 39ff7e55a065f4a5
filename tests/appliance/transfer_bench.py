"""Transfers on their way to the step that receives them: as they were sent, changed, refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ceremony_bench import Bench, contents, digest_check

from station.appliance.ceremony import offline, spm
from station.appliance.ceremony.task import Side, Step
from station.appliance.ceremony.transcript import Transcript
from station.appliance.ceremony.transfer import digest_of, read_transfer
from station.appliance.ceremony.work import DigestCheck
from station.errors import StationError

OTHER_ID = "fedcba9876543210"
RECEIVERS = (Step.OFFLINE_COMMON_EXPORT, Step.SPM_SKU_INIT, Step.OFFLINE_SKU_CERTGEN, Step.SPM_SKU_CERTS)
SENT_BY = {
    Step.OFFLINE_COMMON_EXPORT: Step.SPM_INIT,
    Step.SPM_SKU_INIT: Step.OFFLINE_COMMON_EXPORT,
    Step.OFFLINE_SKU_CERTGEN: Step.SPM_SKU_CSR,
    Step.SPM_SKU_CERTS: Step.OFFLINE_SKU_CERTGEN,
}


def incoming(bench: Bench, step: Step) -> Path:
    """The file that a step is about to receive."""
    sent = SENT_BY[step]
    side = Side.SPM if sent in (Step.SPM_INIT, Step.SPM_SKU_CSR) else Side.OFFLINE
    skus = bench.skus if sent in (Step.SPM_SKU_CSR, Step.OFFLINE_SKU_CERTGEN) else ()
    return bench.path(sent, skus, side)


def receiving_folder(bench: Bench, step: Step) -> Path:
    return bench.offline if step in (Step.OFFLINE_COMMON_EXPORT, Step.OFFLINE_SKU_CERTGEN) else bench.spm


def receive(bench: Bench, step: Step, source: Path, check: DigestCheck | None = None) -> None:
    check = check or digest_check(source)
    people = bench.people
    if step is Step.OFFLINE_COMMON_EXPORT:
        with bench.at(Side.OFFLINE) as machine:
            offline.offline_common_export(machine, people, source, check)
    elif step is Step.SPM_SKU_INIT:
        with bench.at(Side.SPM) as machine:
            spm.spm_sku_init(machine, people, bench.skus, source, check)
    elif step is Step.OFFLINE_SKU_CERTGEN:
        with bench.at(Side.OFFLINE) as machine:
            offline.offline_sku_certgen(machine, people, source, check, {})
    else:
        roots = bench.path(Step.OFFLINE_CA_ROOT_CERTGEN, bench.skus, Side.OFFLINE)
        with_roots = dataclasses.replace(check, digests=[*check.digests, digest_of(roots.read_bytes())])
        with bench.at(Side.SPM) as machine:
            spm.spm_sku_certs(machine, people, [roots, source], with_roots if check.digests else check)


def refused(bench: Bench, step: Step, source: Path, words: str, check: DigestCheck | None = None) -> None:
    """One sentence, one line in the transcript, nothing else written."""
    folder = receiving_folder(bench, step)
    besides = ("ceremony.lock", "transcript.jsonl")
    before, entries = contents(bench.root, besides), len(Transcript(folder / "transcript.jsonl").entries)
    with pytest.raises(StationError, match=words) as error:
        receive(bench, step, source, check)
    assert "\n" not in str(error.value)
    assert contents(bench.root, besides) == before
    entry = Transcript(folder / "transcript.jsonl").entries[-1]
    assert (entry.number, entry.event, entry.step) == (entries + 1, "refused", step)
    assert entry.note[:60] in str(error.value).replace("\n", " ")


def changed(bench: Bench, at: Step, tmp_path: Path, **changes) -> Path:
    """The incoming transfer with other fields, well formed and with a digest of its own."""
    transfer = dataclasses.replace(read_transfer(incoming(bench, at).read_bytes()), **changes)
    path = tmp_path / "changed.json"
    path.write_bytes(transfer.encode())
    return path
