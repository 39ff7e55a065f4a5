"""Every transfer that is not the one: refused with one sentence, nothing written but the line that says so."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path

import pytest
from ceremony_bench import Bench, contents, digest_check
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from station.appliance.ceremony import offline, spm
from station.appliance.ceremony.task import Side, Step
from station.appliance.ceremony.transcript import Transcript
from station.appliance.ceremony.transfer import (
    LIMIT,
    Transfer,
    digest_of,
    grouped,
    parse_digest,
    read_file,
    read_transfer,
)
from station.appliance.ceremony.work import DigestCheck
from station.appliance.certificates import DICE_CA_NAME, new_ca, new_key
from station.appliance.keystore import spki
from station.errors import ConfigError, StationError
from station.model import Realm

ID, OTHER_ID = "0123456789abcdef", "fedcba9876543210"
RECEIVERS = (Step.OFFLINE_COMMON_EXPORT, Step.SPM_SKU_INIT, Step.OFFLINE_SKU_CERTGEN, Step.SPM_SKU_CERTS)
SENT_BY = {
    Step.OFFLINE_COMMON_EXPORT: Step.SPM_INIT,
    Step.SPM_SKU_INIT: Step.OFFLINE_COMMON_EXPORT,
    Step.OFFLINE_SKU_CERTGEN: Step.SPM_SKU_CSR,
    Step.SPM_SKU_CERTS: Step.OFFLINE_SKU_CERTGEN,
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory) -> dict[Step, Bench]:
    """The ceremony of one SKU as it stands before each step that receives something."""
    bench = Bench(tmp_path_factory.mktemp("stages") / "now")
    found = {}
    for step, do in bench.steps().items():
        if step in RECEIVERS:
            found[step] = bench.copy(bench.root.with_name(step.value))
        do()
    return found


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Bench:
    """A finished ceremony of two other machines."""
    bench = Bench(tmp_path_factory.mktemp("other"))
    bench.run()
    return bench


@pytest.fixture
def stage(stages, tmp_path):
    """A copy of one of them."""
    return lambda step: stages[step].copy(tmp_path / "stage")


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
    refused(bench, step, changed(bench, step, tmp_path, items=items), "expected no other file")


# ---- what is inside --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "exponent"), [(2048, 65537), (3072, 3)], ids=["2048 bits", "exponent 3"])
def test_a_weak_transport_key(stage, tmp_path, bits, exponent):
    step = Step.OFFLINE_COMMON_EXPORT
    bench = stage(step)
    weak = rsa.generate_private_key(public_exponent=exponent, key_size=bits)
    items = dict(read_transfer(incoming(bench, step).read_bytes()).items)
    items["spm-rsa-wrap-v0.pub"] = spki(weak.public_key())
    refused(bench, step, changed(bench, step, tmp_path, items=items), "RSA key of 3072 bits with exponent 65537")


def test_no_way_to_wrap(stage, tmp_path):
    step = Step.OFFLINE_COMMON_EXPORT
    bench = stage(step)
    path = changed(bench, step, tmp_path, facts={"unwraps": "RsaPkcs"})
    with pytest.raises(ConfigError, match="expected a way to wrap the transport key that both keystores can do"):
        receive(bench, step, path)
    assert not incoming_of_spm(bench).exists()


def incoming_of_spm(bench: Bench) -> Path:
    return bench.path(Step.OFFLINE_COMMON_EXPORT, side=Side.OFFLINE)


@pytest.mark.parametrize("item", ["eg-aes-wrap-v0", "eg-kdf-hisec-v0", "eg-kdf-losec-v0"])
def test_wrapped_keys_that_do_not_unwrap(stage, tmp_path, item):
    step = Step.SPM_SKU_INIT
    bench = stage(step)
    items = dict(read_transfer(incoming(bench, step).read_bytes()).items)
    items[item] = bytes([items[item][0] ^ 1]) + items[item][1:]
    refused(bench, step, changed(bench, step, tmp_path, items=items), "wrapped for this machine's spm-rsa-wrap-v0")


def test_seeds_in_each_others_place(stage, tmp_path):
    """They unwrap, but the check values tell."""
    step = Step.SPM_SKU_INIT
    bench = stage(step)
    items = dict(read_transfer(incoming(bench, step).read_bytes()).items)
    items["eg-kdf-hisec-v0"], items["eg-kdf-losec-v0"] = items["eg-kdf-losec-v0"], items["eg-kdf-hisec-v0"]
    refused(bench, step, changed(bench, step, tmp_path, items=items), "with the check values of the export")


def request(name: x509.Name = DICE_CA_NAME, key=None, extension: bool = False) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if extension:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key or new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


OTHER_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Another CA")])


@pytest.mark.parametrize(
    ("csr", "words"),
    [
        (lambda: request(OTHER_NAME), "of the subject CN=Google Engineering ICA"),
        (lambda: request(key=ec.generate_private_key(ec.SECP384R1())), "with a key of P-256, saw P-384"),
        (lambda: request(key=rsa.generate_private_key(public_exponent=65537, key_size=2048)), "or ML-DSA key"),
        (lambda: request(extension=True), "with a name and a key only"),
        (lambda: request()[:-3], "saw other bytes"),
        (lambda: b"", "saw other bytes"),
    ],
    ids=["subject", "curve", "kind", "extension", "cut", "empty"],
)
def test_requests_against_the_policy(stage, tmp_path, csr, words):
    step = Step.OFFLINE_SKU_CERTGEN
    bench = stage(step)
    path = changed(bench, step, tmp_path, items={"sival-dice-key-p256-v0.csr": csr()})
    refused(bench, step, path, words)


def test_a_request_without_the_key(stage, tmp_path):
    step = Step.OFFLINE_SKU_CERTGEN
    bench = stage(step)
    csr = bytearray(request())
    csr[-1] ^= 1  # inside the signature
    path = changed(bench, step, tmp_path, items={"sival-dice-key-p256-v0.csr": bytes(csr)})
    refused(bench, step, path, "saw a wrong signature|saw other bytes")


def test_a_publicly_known_key_in_production(tmp_path):
    from station.appliance import known_keys
    from station.appliance.ceremony.authority import checked_request

    key = new_key()
    csr = request(key=key)
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_keys, "KEY_ID_SHA1", {digest})
        with pytest.raises(ConfigError, match="publicly known and is refused in production"):
            checked_request(csr, "sival-dice-key-p256-v0", {}, Realm.PRODUCTION)
        assert checked_request(csr, "sival-dice-key-p256-v0", {}, Realm.DEV)
    assert checked_request(csr, "sival-dice-key-p256-v0", {}, Realm.PRODUCTION)


def test_a_second_key_for_a_ca(stage, tmp_path):
    """A label of an SPM machine is certified once."""
    step = Step.OFFLINE_SKU_CERTGEN
    bench = stage(step)
    receive(bench, step, incoming(bench, step))
    (bench.path(Step.OFFLINE_SKU_CERTGEN, bench.skus, Side.OFFLINE)).unlink()
    kept = bench.path(Step.SPM_SKU_CSR, bench.skus, Side.OFFLINE)
    kept.unlink()
    (bench.offline / "transcript.jsonl").unlink()
    path = changed(bench, step, tmp_path, items={"sival-dice-key-p256-v0.csr": request()})
    with pytest.raises(ConfigError, match="a CA is certified once"):
        receive(bench, step, path)


@pytest.mark.parametrize("what", ["another root", "another key", "another realm", "more extensions"])
def test_certificates_that_do_not_fit(stage, tmp_path, what):
    step = Step.SPM_SKU_CERTS
    bench = stage(step)
    root = new_ca(DICE_CA_NAME, Realm.DEV)
    der = {
        "another root": lambda: new_ca(DICE_CA_NAME, Realm.DEV, root).der,
        "another key": lambda: issued_by_the_root(bench, Realm.DEV),
        "another realm": lambda: issued_by_the_root(bench, Realm.PRODUCTION),
        "more extensions": lambda: issued_by_the_root(bench, Realm.DEV, path_length=3),
    }[what]()
    words = {
        "another root": "valid below its root",
        "another key": "for its own key and subject",
        "another realm": r"2\.16\.840\.1\.113730\.1\.13",
        "more extensions": r"2\.5\.29\.19",
    }[what]
    refused(bench, step, changed(bench, step, tmp_path, items={"sival-dice-key-p256-v0.der": der}), words)


def issued_by_the_root(bench: Bench, realm: Realm, path_length: int | None = None) -> bytes:
    """What the right root signs for a key of its own choice."""
    from ceremony_bench import material_of
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    from station.appliance.certificates import CaProfile, Issued, issue_ca

    key = load_der_private_key(material_of(bench.offline).private["opentitan-ca-root-v0.priv"], None)
    root = x509.load_der_x509_certificate((bench.offline / "ca/opentitan-ca-root-v0.der").read_bytes())
    profile = CaProfile(path_length=path_length)
    made = issue_ca(DICE_CA_NAME, new_key().public_key(), Issued(root, key), realm, profile)
    return made.public_bytes(Encoding.DER)


def test_the_roots_of_other_skus(stage, tmp_path):
    bench = stage(Step.SPM_SKU_CERTS)
    roots = bench.path(Step.OFFLINE_CA_ROOT_CERTGEN, bench.skus, Side.OFFLINE)
    transfer = dataclasses.replace(read_transfer(roots.read_bytes()), skus=("cr01",))
    (tmp_path / "roots").write_bytes(transfer.encode())
    with pytest.raises(ConfigError, match="expected the roots of sival"):
        bench.spm_sku_certs(tmp_path / "roots", incoming(bench, Step.SPM_SKU_CERTS))


def test_a_file_in_the_way_is_not_overwritten(stage):
    bench = stage(Step.SPM_SKU_CERTS)
    (bench.spm / "skus").mkdir()
    (bench.spm / "skus/sku_sival.yml").write_text("mine\n")
    before = contents(bench.spm, ("ceremony.lock", "transcript.jsonl"))
    with pytest.raises(ConfigError, match=r"expected no other file at .*sku_sival\.yml: it is never overwritten"):
        bench.spm_sku_certs()
    assert contents(bench.spm, ("ceremony.lock", "transcript.jsonl")) == before


def test_a_kept_transfer_that_was_changed_later(stage):
    bench = stage(Step.SPM_SKU_CERTS)
    path = bench.path(Step.SPM_SKU_CSR, bench.skus)
    transfer = dataclasses.replace(read_transfer(path.read_bytes()), facts={"more": "x"})
    path.write_bytes(transfer.encode())
    with pytest.raises(ConfigError, match="as the transcript knows it"):
        bench.spm_sku_certs()


def test_steps_before_their_time(tmp_path):
    bench = Bench(tmp_path)
    bench.spm_init()
    bench.offline_common_init()
    for do, words in (
        (bench.spm_sku_csr, "do spm-sku-init with --input first"),
        (bench.offline_ca_root_certgen, None),
        (lambda: bench.spm_sku_certs(bench.path(Step.SPM_INIT)), "expected the two transfers"),
    ):
        if words is None:
            assert not do().already
            continue
        with pytest.raises(ConfigError, match=words):
            do()


def test_roots_before_requests(stage):
    bench = stage(Step.OFFLINE_SKU_CERTGEN)
    for path in (bench.offline / "ca").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="do offline-ca-root-certgen first"):
        bench.offline_sku_certgen()


# ---- the file itself -------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
TRANSFERS = st.builds(
    Transfer,
    step=st.sampled_from([Step.SPM_INIT, Step.OFFLINE_COMMON_EXPORT, Step.TLS_CSR]),
    realm=st.sampled_from(Realm),
    sender=st.just(ID),
    peer=st.sampled_from(["", OTHER_ID]),
    answers=st.sampled_from(["", "0f" * 32]),
    skus=st.sampled_from([(), ("sival",), ("sival", "sival_pqc")]),
    facts=st.dictionaries(TEXTS, TEXTS, max_size=3),
    items=st.dictionaries(TEXTS, st.binary(max_size=40), max_size=3),
)


@given(TRANSFERS)
@settings(max_examples=60)
def test_a_transfer_has_one_form(transfer):
    raw = transfer.encode()
    assert read_transfer(raw) == transfer
    assert read_transfer(raw).encode() == raw


@given(TRANSFERS, st.data())
@settings(max_examples=150)
def test_a_changed_byte_is_no_other_form_of_it(transfer, data):
    raw = bytearray(transfer.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        found = read_transfer(bytes(raw))
    except ConfigError:
        return
    assert found != transfer
    assert found.encode() == bytes(raw)


@given(st.binary(max_size=200))
def test_other_bytes(raw):
    with pytest.raises(ConfigError):
        read_transfer(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "../../etc"}, {"peer": "x"}, {"answers": "12"}, {"skus": ["sival_pqc", "sival"]},
        {"step": "tls-cert"}, {"format": "station-ceremony-2"}, {"items": {"a": "!"}}, {"items": []},
        {"facts": {"a": 1}}, {"more": 1},
        {"realm": "test"}, {"skus": "sival"},
    ],
    ids=str,
)  # fmt: skip
def test_forms_that_are_none(change):
    content = json.loads(Transfer(Step.SPM_INIT, Realm.DEV, ID, items={"a": b"1"}).encode())
    raw = (json.dumps({**content, **change}, indent=1, sort_keys=True) + "\n").encode()
    with pytest.raises(ConfigError):
        read_transfer(raw)


def test_items_are_base64():
    content = json.loads(Transfer(Step.SPM_INIT, Realm.DEV, ID, items={"a": b"\x00\xff"}).encode())
    assert base64.b64decode(content["items"]["a"]) == b"\x00\xff"


def test_digests_read_aloud():
    digest = digest_of(b"")
    said = grouped(digest)
    assert said == ("e3b0 c442 98fc 1c14 9afb f4c8 996f b924  27ae 41e4 649b 934c a495 991b 7852 b855")
    for text in (said, said.upper(), digest, said.replace(" ", "-"), said.replace(" ", ":"), f" {digest}\n"):
        assert parse_digest(text) == digest
    for text in ("", digest[:-1], digest + "0", "x" + digest[1:], "e3b0"):
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            parse_digest(text)


def test_an_unreadable_file(tmp_path):
    with pytest.raises(ConfigError, match="name the file on the medium"):
        read_file(tmp_path)
