"""The transcript: everything that people must see, in a chain, with room for their names and without a secret."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ceremony_bench import Bench, contents, machine_of, material_of, passphrase_of
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from station.appliance.ceremony.keys import AES_KEY, SEEDS
from station.appliance.ceremony.offline import issued_labels
from station.appliance.ceremony.task import People, Side, Step, Task
from station.appliance.ceremony.transcript import FILE, FileLine, KeyLine, Transcript, key_text, render
from station.appliance.ceremony.transfer import digest_of, grouped, read_transfer
from station.appliance.ceremony.vault import check_value
from station.appliance.keystore import SoftwareKeystore
from station.appliance.sku_templates import ordered
from station.errors import ConfigError
from station.model import Realm

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from secret_net import search, search_files

ADA_WIM, EVE_OTTO = People("Ada", "Wim"), People("Eve", "Otto")
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
TASK = Task(Step.SPM_INIT)


@pytest.fixture
def transcript(tmp_path) -> Transcript:
    return Transcript(tmp_path / "transcript.jsonl")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "transcript.jsonl").read_bytes().splitlines()]


# ---- what stands in it -----------------------------------------------------------------------------------------------


def test_both_machines_name_the_same_digests(finished):
    """Every transfer that one machine sent, the other has received under the same digest."""
    sent, received = set(), set()
    for folder, side in ((finished.spm, Side.SPM), (finished.offline, Side.OFFLINE)):
        transcript = machine_of(folder, side).transcript
        for way, found in (("sent", sent), ("received", received)):
            for name, sha256 in transcript.files(way).items():
                assert digest_of((folder / name).read_bytes()) == sha256
                found.add((Path(name).name, sha256))
    assert len(sent) == 5
    assert sent == received


def test_public_keys_and_check_values_are_the_same_on_both_machines(finished):
    def keys(folder: Path) -> set[tuple[str, str]]:
        found = {(key["label"].removesuffix(".priv").removesuffix(".pub"), key["fingerprint"])
                 for entry in lines(folder) for key in entry["keys"]}  # fmt: skip
        return {key for key in found if key[1]}

    shared = {label for label, _ in keys(finished.spm) & keys(finished.offline)}
    cas = issued_labels(ordered(finished.skus))
    assert shared == {*SEEDS, "spm-rsa-wrap-v0", "spm-hsm-id-v0", "sku-eg-rsa-rma-v0", *cas}


def test_a_refusal_without_a_name_has_no_signature(transcript):
    transcript.add(NOON, "refused", TASK, People("", "Wim"), note="expected the name of the operator")
    text = render(("KEY CEREMONY",), transcript)
    assert "operator (no name), witness Wim" in text
    assert text.count("Signature") == 1


def test_what_two_people_compare_is_written_alike_at_both_machines(finished):
    """The keys of a step and of the one that answers it: names, algorithms and fingerprints, as they are shown."""

    def shown(folder: Path, step: Step) -> set[str]:
        (entry,) = [entry for entry in Transcript(folder / FILE).entries if (entry.event, entry.step) == ("done", step)]
        return {key_text(key) for key in entry.keys}

    made, seen = shown(finished.spm, Step.SPM_SKU_CSR), shown(finished.offline, Step.OFFLINE_SKU_CERTGEN)
    assert {text.split(",")[0] for text in made - seen} == {"key spm-hsm-id-mldsa-v0"}, "no CA"
    assert seen - made == set()
    assert any(text.startswith("key sival-dice-key-p256-v0, P-256, public key\n      SHA-256 ") for text in seen)
    sent, exported = shown(finished.spm, Step.SPM_INIT), shown(finished.offline, Step.OFFLINE_COMMON_EXPORT)
    assert {text.split(",")[0] for text in sent & exported} == {"key spm-rsa-wrap-v0", "key spm-hsm-id-v0"}


def test_fingerprints_are_those_of_the_keys(finished):
    keystore = SoftwareKeystore(Realm.DEV, material_of(finished.spm))
    secret = material_of(finished.spm).secret
    fingerprints = {key["label"]: key["fingerprint"] for entry in lines(finished.spm) for key in entry["keys"]}
    for label in ("spm-hsm-id-v0.priv", "sival-dice-key-p256-v0.priv", "sku-eg-rsa-rma-v0.pub"):
        assert fingerprints[label] == hashlib.sha256(keystore.public_key(label)).hexdigest()
    for label in SEEDS:
        assert fingerprints[label] == check_value(secret[label])
        assert len(fingerprints[label]) == 16


def test_every_step_was_begun_and_done_by_two_people_of_a_version(finished):
    for folder in (finished.spm, finished.offline):
        entries = lines(folder)
        assert [entry["event"] for entry in entries] == ["begun", "done"] * (len(entries) // 2)
        for entry in entries:
            assert (entry["operator"], entry["witness"]) == ("Ada Operator", "Wim Witness")
            assert entry["version"]
            assert datetime.fromisoformat(entry["time"]).tzinfo is not None


def test_the_text_that_people_sign(finished):
    machine = machine_of(finished.offline, Side.OFFLINE)
    text = render(machine.title(), machine.transcript)
    assert text.startswith(f"KEY CEREMONY\nMachine: offline machine {machine.id}\nRealm: dev\n")
    export = finished.path(Step.OFFLINE_COMMON_EXPORT, side=Side.OFFLINE)
    assert grouped(digest_of(export.read_bytes())) in text
    assert grouped(machine.transcript.head) in text
    for name in ("Ada Operator", "Wim Witness"):
        assert f"  {name}\n  Signature ____" in text
    assert text.count("Signature") == 2
    assert "CN=Google Engineering ICA,OU=Engineering,O=Google,ST=CA,C=US" in text
    assert max(map(len, text.splitlines())) <= 100  # it is printed
    assert text.isascii()


def test_all_who_took_part_sign(transcript):
    transcript.add(NOON, "begun", TASK, ADA_WIM)
    transcript.add(NOON, "done", TASK, EVE_OTTO)
    text = render(["T"], transcript)
    assert [line.strip() for line in text.splitlines() if line.strip() in ("Ada", "Wim", "Eve", "Otto")] == [
        "Ada", "Wim", "Eve", "Otto",
    ]  # fmt: skip


# ---- no secret, ever -------------------------------------------------------------------------------------------------


def secrets_of(bench: Bench) -> dict[str, bytes]:
    found = {}
    for folder in (bench.spm, bench.offline):
        material = material_of(folder)
        found |= {f"{folder.name} {label}": raw for label, raw in material.secret.items()}
        found |= {f"{folder.name} {label}": private_part(der) for label, der in material.private.items()}
        with passphrase_of(folder).reveal() as raw:
            found[f"{folder.name} passphrase"] = raw
    for path in (bench.spm / "clients").glob("sku_password_*"):
        found[path.name] = path.read_bytes().strip()
    for path in bench.root.rglob("*key.pem"):
        found[path.name] = scalar(load_pem_private_key(path.read_bytes(), None))
    return found


def private_part(der: bytes) -> bytes:
    key = load_der_private_key(der, None)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.private_numbers().p.to_bytes(192, "big")[:32]
    return scalar(key) if isinstance(key, ec.EllipticCurvePrivateKey) else key.private_bytes_raw()[:32]


def scalar(key) -> bytes:
    return key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")


def test_no_secret_is_in_any_file_but_the_sealed_ones(ended):
    ended.tls(ended.spm, "pa-service")
    secrets = secrets_of(ended)
    assert len(secrets) > 25
    own = ("keystore.sealed", "server-key.pem")
    files = [
        path
        for path in ended.root.rglob("*")
        if path.is_file() and path.name not in own and "passphrase" not in path.name and "sku_password" not in path.name
    ]
    assert {path.name for path in files} >= {"transcript.jsonl", "ceremony.toml", "hsm_offline_export.json"}
    assert [str(leak) for leak in search_files(files, secrets)] == []


def test_no_secret_is_inside_a_transfer(finished):
    """Also not below the base64 of its items."""
    secrets = secrets_of(finished)
    for path in finished.root.rglob("ceremony/**/*.json"):
        for name, item in read_transfer(path.read_bytes()).items.items():
            assert search(item, f"{path.name} {name}", secrets) == []


def test_the_net_finds_a_secret(finished, tmp_path):
    seed = material_of(finished.offline).secret[AES_KEY]
    (tmp_path / "leak").write_text(f"note: {seed.hex()}")
    assert search_files([tmp_path / "leak"], {"seed": seed})


# ---- the chain -------------------------------------------------------------------------------------------------------


def test_each_entry_holds_the_hash_of_the_last(finished):
    raw = (finished.spm / "transcript.jsonl").read_bytes().splitlines()
    previous = "0" * 64
    for number, line in enumerate(raw, 1):
        entry = json.loads(line)
        assert (entry["number"], entry["previous"]) == (number, previous)
        previous = hashlib.sha256(line).hexdigest()
    assert machine_of(finished.spm, Side.SPM).transcript.head == previous


def damage(raw: list[bytes], how: str) -> list[bytes]:
    return {
        "changed": lambda: [raw[0], raw[1].replace(b"Ada", b"Eve"), *raw[2:]],
        "missing": lambda: [raw[0], *raw[2:]],
        "first missing": lambda: raw[1:],
        "swapped": lambda: [raw[1], raw[0], *raw[2:]],
        "torn": lambda: [*raw[:-1], raw[-1][:-20]],
        "no line": lambda: [*raw, b"{}\n"],
        "no JSON": lambda: [*raw, b"\xff\n"],
        "spaces": lambda: [raw[0].replace(b":", b": ", 1), *raw[1:]],
    }[how]()


@pytest.mark.parametrize(
    "how", ["changed", "missing", "first missing", "swapped", "torn", "no line", "no JSON", "spaces"]
)
def test_a_changed_transcript_stops_every_step(ended, how):
    path = ended.spm / "transcript.jsonl"
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True), how)))
    before = contents(ended.root)
    with pytest.raises(ConfigError, match=r"transcript\.jsonl:\d+: expected an entry that follows the one before"):
        ended.spm_sku_csr()
    assert contents(ended.root) == before


def test_it_grows_only(ended):
    before = (ended.spm / "transcript.jsonl").read_bytes()
    ended.skus = ("sival",)
    ended.spm_sku_csr()
    assert (ended.spm / "transcript.jsonl").read_bytes().startswith(before)


def test_a_clock_that_is_behind_is_refused(tmp_path):
    """A dead battery of an offline machine would date certificates to another century."""
    bench = Bench(tmp_path)
    bench.run(until=Step.OFFLINE_CA_ROOT_CERTGEN)
    bench.clock = lambda: datetime.now(UTC) - timedelta(days=9000)
    with pytest.raises(ConfigError, match="set this machine's clock"):
        bench.offline_ca_root_certgen()
    assert not (bench.offline / "ca").exists()
    bench.clock = lambda: datetime.now(UTC) + timedelta(hours=1)
    assert not bench.offline_ca_root_certgen().already


def test_a_step_that_was_begun_is_taken_up_by_others(transcript, tmp_path):
    transcript.add(NOON, "begun", TASK, ADA_WIM)
    assert transcript.begun(TASK)
    assert transcript.done(TASK) is None
    transcript.add(NOON, "refused", TASK, ADA_WIM, note="x")
    assert transcript.begun(TASK)
    transcript.add(NOON, "done", TASK, EVE_OTTO, [KeyLine("a", "P-256", "0" * 64)], [FileLine("f", "sent", "1" * 64)])
    again = Transcript(tmp_path / "transcript.jsonl")
    assert not again.begun(TASK)
    assert again.done(TASK).operator == "Eve"
    assert again.entries == transcript.entries
    assert again.key_labels() == {"a"}
    assert again.files("sent") == {"f": "1" * 64}
    assert again.files("sent", Step.SPM_SKU_CSR) == {}


# ---- people ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "witness", "words"),
    [
        ("", "Wim", "name of the operator"),
        ("Ada", "  ", "name of the witness"),
        ("Ada", "Wim\nEve", "name of the witness"),
        ("A" * 65, "Wim", "up to 64 letters"),
        ("Ada", " ada ", "expected two people"),
    ],
)
def test_two_people_are_needed(operator, witness, words):
    with pytest.raises(ConfigError, match=words):
        People(operator, witness).check()


def test_names_beyond_ascii(transcript):
    entry = transcript.add(NOON, "done", TASK, People("Zoë Müller", "李雷"))
    assert entry.operator == "Zoë Müller"
    assert "李雷" in render(["T"], transcript)


def test_a_refusal_cannot_draw_on_the_screen(ended, tmp_path):
    """What an attacker writes into a transfer does not become lines or escapes of the transcript."""
    import dataclasses

    path = ended.path(Step.SPM_INIT)
    evil = {"\x1b[2Jspm-rsa-wrap-v0.pub\n1. done": b"x"}
    transfer = dataclasses.replace(read_transfer(path.read_bytes()), sender="ab" * 8, items=evil)
    (tmp_path / "evil").write_bytes(transfer.encode())
    with pytest.raises(ConfigError):
        ended.offline_common_export(tmp_path / "evil")
    note = lines(ended.offline)[-1]["note"]
    assert note.isprintable()
    assert "spm-rsa-wrap" in note
