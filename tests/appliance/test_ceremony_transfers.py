"""Every transfer that is not the one: refused with one sentence, nothing written but the line that says so."""

from __future__ import annotations

import dataclasses

import pytest
from ceremony_bench import Bench, digest_check
from cryptography.hazmat.primitives.asymmetric import rsa
from transfer_bench import OTHER_ID, RECEIVERS, changed, incoming, receive, refused

from station.appliance.ceremony.task import Side, Step
from station.appliance.ceremony.transfer import LIMIT, read_transfer
from station.appliance.ceremony.work import DigestCheck
from station.appliance.keystore import spki
from station.errors import ConfigError
from station.model import Realm


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Bench:
    """A finished ceremony of two other machines."""
    bench = Bench(tmp_path_factory.mktemp("other"))
    bench.run()
    return bench


def test_the_untouched_transfers_are_accepted(stage):
    bench = stage(Step.OFFLINE_COMMON_EXPORT)
    receive(bench, Step.OFFLINE_COMMON_EXPORT, incoming(bench, Step.OFFLINE_COMMON_EXPORT))


@pytest.mark.parametrize("step", RECEIVERS)
class TestEveryStep:
    def test_another_digest(self, stage, step):
        bench = stage(step)
        check = DigestCheck(["ab" * 32])
        refused(bench, step, incoming(bench, step), "with the SHA-256 that was given", check)

    def test_no_digest_and_nobody_to_ask(self, stage, step):
        bench = stage(step)
        refused(bench, step, incoming(bench, step), "give it with --digest", DigestCheck())

    def test_digest_not_confirmed(self, stage, step):
        bench = stage(step)
        asked = []
        check = DigestCheck(ask=lambda name, digest: bool(asked.append((name, digest))))
        refused(bench, step, incoming(bench, step), "did not confirm", check)
        assert len(asked) == 1
        assert asked[0][1].count(" ") == 16

    def test_truncated(self, stage, tmp_path, step):
        bench = stage(step)
        (tmp_path / "cut").write_bytes(incoming(bench, step).read_bytes()[:-1])
        refused(bench, step, tmp_path / "cut", "expected a transfer")
        (tmp_path / "cut").write_bytes(incoming(bench, step).read_bytes()[:400])
        refused(bench, step, tmp_path / "cut", "expected a transfer of format")

    def test_tampered(self, stage, tmp_path, step):
        """The file changed on the way, the digest is that of the untouched one."""
        bench = stage(step)
        raw = bytearray(incoming(bench, step).read_bytes())
        raw[raw.index(b"items") + 60] ^= 1
        (tmp_path / "tampered").write_bytes(raw)
        refused(bench, step, tmp_path / "tampered", "it is another file", digest_check(incoming(bench, step)))

    def test_another_realm(self, stage, tmp_path, step):
        bench = stage(step)
        refused(bench, step, changed(bench, step, tmp_path, realm=Realm.PRODUCTION), "realms never mix")

    def test_another_step(self, stage, tmp_path, step):
        bench = stage(step)
        refused(bench, step, changed(bench, step, tmp_path, step=Step.TLS_CSR), "take the right file|the two transfers")

    def test_another_sku(self, stage, tmp_path, step):
        bench = stage(step)
        words = {
            Step.OFFLINE_COMMON_EXPORT: "no SKU in particular",
            Step.SPM_SKU_INIT: "no SKU in particular",
            Step.OFFLINE_SKU_CERTGEN: r"cr01-ica-dice-key-p256-v0\.csr",
            Step.SPM_SKU_CERTS: "has not asked for these together",
        }
        refused(bench, step, changed(bench, step, tmp_path, skus=("cr01",)), words[step])

    def test_unknown_sku(self, stage, tmp_path, step):
        bench = stage(step)
        refused(bench, step, changed(bench, step, tmp_path, skus=("../../evil",)), "expected a sku of")

    def test_items_missing_and_too_many(self, stage, tmp_path, step):
        bench = stage(step)
        items = dict(read_transfer(incoming(bench, step).read_bytes()).items)
        refused(bench, step, changed(bench, step, tmp_path, items={**items, "more": b"x"}), "a difference in more")
        items.popitem()
        refused(bench, step, changed(bench, step, tmp_path, items=items), "saw a difference in")

    def test_absent_and_too_large(self, stage, tmp_path, step):
        bench = stage(step)
        check = DigestCheck(["ab" * 32])
        refused(bench, step, tmp_path / "absent", "name the file on the medium", check)
        (tmp_path / "large").write_bytes(bytes(LIMIT + 1))
        refused(bench, step, tmp_path / "large", "name the right file")


@pytest.mark.parametrize("step", [Step.SPM_SKU_INIT, Step.SPM_SKU_CERTS])
def test_for_another_spm_machine(stage, tmp_path, step):
    bench = stage(step)
    refused(bench, step, changed(bench, step, tmp_path, peer=OTHER_ID), "belongs to another ceremony")


@pytest.mark.parametrize("step", [Step.SPM_SKU_INIT, Step.OFFLINE_SKU_CERTGEN, Step.SPM_SKU_CERTS])
def test_an_answer_to_another_transfer(stage, tmp_path, step):
    bench = stage(step)
    refused(bench, step, changed(bench, step, tmp_path, answers="ab" * 32), "an earlier or another ceremony")


@pytest.mark.parametrize("step", RECEIVERS[1:])
def test_replayed_from_another_ceremony(stage, other, step):
    """A whole, well-formed transfer of the same step, made in another ceremony."""
    refused(stage(step), step, incoming(other, step), "another ceremony|that got its seeds here")


def test_from_another_offline_machine(stage, tmp_path):
    step = Step.SPM_SKU_CERTS
    bench = stage(step)
    refused(bench, step, changed(bench, step, tmp_path, sender=OTHER_ID), "belongs to another ceremony")


def test_roots_of_another_offline_machine(stage, tmp_path):
    bench = stage(Step.SPM_SKU_CERTS)
    roots = bench.path(Step.OFFLINE_CA_ROOT_CERTGEN, bench.skus, Side.OFFLINE)
    transfer = dataclasses.replace(read_transfer(roots.read_bytes()), sender=OTHER_ID)
    (tmp_path / "roots").write_bytes(transfer.encode())
    with pytest.raises(ConfigError, match="belongs to another ceremony"):
        bench.spm_sku_certs(tmp_path / "roots", incoming(bench, Step.SPM_SKU_CERTS))


def test_both_files_are_wanted_once(stage):
    bench = stage(Step.SPM_SKU_CERTS)
    roots = bench.path(Step.OFFLINE_CA_ROOT_CERTGEN, bench.skus, Side.OFFLINE)
    issued = incoming(bench, Step.SPM_SKU_CERTS)
    for sources in ((roots,), (issued,), (roots, roots), (roots, issued, issued)):
        with pytest.raises(ConfigError, match="expected the two transfers"):
            bench.spm_sku_certs(*sources)
    assert not (bench.spm / "skus").exists()
    assert not bench.spm_sku_certs(issued, roots).already  # in whatever order


def test_a_second_transfer_of_the_same_machine(stage, tmp_path):
    """Another key of the same SPM machine would get the seeds, too."""
    step = Step.OFFLINE_COMMON_EXPORT
    bench = stage(step)
    receive(bench, step, incoming(bench, step))
    transport = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    transfer = read_transfer(incoming(bench, step).read_bytes())
    items = {**transfer.items, "spm-rsa-wrap-v0.pub": spki(transport.public_key())}
    refused(bench, step, changed(bench, step, tmp_path, items=items), "has received before .* copy it again")
