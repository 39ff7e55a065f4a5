"""A field return: from the wrapped seed of a registered device to its unlock token, which is in a private file only."""

from __future__ import annotations

import base64
import errno
import json
import os
import sys
from pathlib import Path

import pytest
from ceremony_bench import Bench, material_of
from sku_bench import calls_of, open_spm, walk_sku

from station.appliance.ceremony.commands import rma_token_command
from station.appliance.ceremony.rma import DIVERSIFIER, Recovery, read_wrapped_seed, recover_token
from station.appliance.ceremony.task import People, Side
from station.appliance.ceremony.transfer import digest_of
from station.appliance.device_store import DeviceStore
from station.appliance.keystore import SoftwareKeystore
from station.appliance.pki import init
from station.appliance.spm import Spm
from station.errors import ConfigError, FormatError
from station.formats.lc_token import lc_hash
from station.model import Realm
from station.wire import registry_record_pb2

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from secret_net import search_files

PEOPLE = People("Ada", "Wim")


@pytest.fixture(scope="module")
def device(finished, tmp_path_factory):
    """A registered device of each wrapping: SKU to (wrapped seed, hash of its token)."""
    store = DeviceStore(tmp_path_factory.mktemp("registry") / "registry.db")
    spm = Spm(finished.spm / "skus", SoftwareKeystore(Realm.DEV, material_of(finished.spm)))
    found = {}
    for sku in ("sival", "sival_pqc"):
        spm.load(sku)
        rma = walk_sku(sku, calls_of(spm, store), 1).rma
        found[sku] = (rma.wrapped_seed, rma.token)
    store.close()
    return found


def recover(bench: Bench, recovery: Recovery, output: Path):
    with bench.at(Side.OFFLINE) as machine:
        return recover_token(machine, PEOPLE, recovery, output)


@pytest.mark.parametrize("sku", ["sival", "sival_pqc"])
def test_the_token_of_a_registered_device(ended, device, tmp_path, sku):
    """One layer, and two: what comes out has the hash that the device holds."""
    wrapped, hashed = device[sku]
    assert len(wrapped) == (384 if sku == "sival" else 1520)
    recover(ended, Recovery(wrapped, hashed=hashed), tmp_path / "token")
    assert lc_hash(bytes.fromhex((tmp_path / "token").read_text())) == hashed
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_it_is_written_down_and_the_token_is_not(ended, device, tmp_path):
    wrapped, _ = device["sival"]
    outcome = recover(ended, Recovery(wrapped), tmp_path / "token")
    assert (outcome.entry.operator, outcome.entry.witness) == ("Ada", "Wim")
    assert outcome.entry.files[0].sha256 == digest_of(wrapped)
    token = bytes.fromhex((tmp_path / "token").read_text())
    files = [path for path in ended.offline.rglob("*") if path.is_file()]
    assert search_files(files, {"token": token}) == []
    assert search_files([tmp_path / "token"], {"token": token})


def test_each_return_is_an_entry_of_its_own(ended, device, tmp_path):
    for number, sku in enumerate(("sival", "sival_pqc", "sival")):
        recover(ended, Recovery(device[sku][0]), tmp_path / f"token-{number}")
    with ended.at(Side.OFFLINE) as machine:
        entries = [entry for entry in machine.transcript.entries if entry.step == "rma-token"]
    assert [entry.event for entry in entries] == ["begun", "done"] * 3


def test_a_token_on_a_fat_medium(ended, device, tmp_path, monkeypatch):
    def no_links(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    wrapped, hashed = device["sival"]
    (tmp_path / "stick").mkdir()
    recover(ended, Recovery(wrapped, hashed=hashed), tmp_path / "stick/token")
    assert lc_hash(bytes.fromhex((tmp_path / "stick/token").read_text())) == hashed
    assert os.listdir(tmp_path / "stick") == ["token"]


def test_a_file_that_is_there_is_kept(ended, device, tmp_path):
    wrapped, _ = device["sival"]
    recover(ended, Recovery(wrapped), tmp_path / "token")
    before = (tmp_path / "token").read_bytes()
    recover(ended, Recovery(wrapped), tmp_path / "token")  # the same token
    with pytest.raises(ConfigError, match="never overwritten"):
        recover(ended, Recovery(device["sival_pqc"][0]), tmp_path / "token")
    assert (tmp_path / "token").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda wrapped, hashed: Recovery(wrapped[:-1] + b"x", hashed=hashed), "wrapped for these keys"),
        (lambda wrapped, hashed: Recovery(wrapped + b"x", hashed=hashed), "sealed for these keys"),
        (lambda wrapped, hashed: Recovery(wrapped, b"rma", hashed=hashed), "with the hash that the part has"),
        (lambda wrapped, hashed: Recovery(wrapped, hashed=bytes(16)), "with the hash that the part has"),
    ],
    ids=["another seed", "a longer one", "unpadded diversifier", "another part"],
)
def test_what_does_not_fit(ended, device, tmp_path, change, words):
    with pytest.raises(FormatError, match=words):
        recover(ended, change(*device["sival"]), tmp_path / "token")
    assert not (tmp_path / "token").exists()


def test_the_spm_machine_cannot(ended, device, tmp_path):
    with ended.at(Side.SPM) as machine, pytest.raises(Exception, match="do the step that makes it first"):
        recover_token(machine, PEOPLE, Recovery(device["sival"][0]), tmp_path / "token")


# ---- the file of a wrapped seed --------------------------------------------------------------------------------------


def record_of(wrapped: bytes) -> dict:
    data = registry_record_pb2.DeviceData(sku="sival", wrapped_rma_unlock_token=wrapped).SerializeToString()
    return {"device_id": "0x1", "data": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    "form",
    [
        lambda seed: seed,
        lambda seed: seed.hex().encode(),
        lambda seed: b"\n".join(seed.hex(" ", 32).encode().split()) + b"\n",
        lambda seed: base64.b64encode(seed) + b"\n",
        lambda seed: base64.encodebytes(seed),
        lambda seed: json.dumps(record_of(seed)).encode(),
        lambda seed: json.dumps({"record": record_of(seed)}).encode(),
    ],
    ids=["bytes", "hex", "hex lines", "base64", "base64 lines", "record", "request"],
)
def test_forms_of_a_wrapped_seed(device, tmp_path, form):
    wrapped, _ = device["sival"]
    (tmp_path / "seed").write_bytes(form(wrapped))
    assert read_wrapped_seed(tmp_path / "seed") == wrapped


def test_the_first_byte_of_a_seed_is_any_byte(tmp_path):
    """An opening brace makes no JSON of it, a digit no text."""
    for first in range(256):
        raw = bytes([first]) + bytes(range(128, 256)) * 3
        (tmp_path / "seed").write_bytes(raw[:384])
        assert read_wrapped_seed(tmp_path / "seed") == raw[:384]


def test_a_mark_before_the_text_is_no_part_of_it(device, tmp_path):
    wrapped, _ = device["sival"]
    for text in (wrapped.hex(), json.dumps(record_of(wrapped))):
        (tmp_path / "seed").write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert read_wrapped_seed(tmp_path / "seed") == wrapped


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "saw 0"), (b"00" * 32, "saw 32"), (b"not hex", "bytes or more"), (bytes(383), "saw 383"),
        (b"{}", "expected a registry record"), (b'{"data": "//"}', "expected a registry record"),
        (b'{"data": 3}', "expected a registry record"), (b'{"data": ""}', "saw 0"), (b"{", "a registry record"),
        (b'{"record": []}', "expected a registry record"),
    ],
)  # fmt: skip
def test_files_that_hold_none(tmp_path, raw, words):
    (tmp_path / "seed").write_bytes(raw)
    with pytest.raises(ConfigError, match=words):
        read_wrapped_seed(tmp_path / "seed")


# ---- a development appliance -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def development(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("development") / "appliance"
    init(folder, skus=["sival", "sival_pqc"])
    return folder


@pytest.mark.parametrize("sku", ["sival", "sival_pqc"])
def test_the_keys_of_a_development_appliance(development, tmp_path, sku, monkeypatch):
    from station.appliance.ceremony import commands

    monkeypatch.setattr(commands, "_begin_process", lambda folder, realm: None)
    spm, store = open_spm(development), DeviceStore(tmp_path / "registry.db")
    spm.load(sku)
    rma = walk_sku(sku, calls_of(spm, store), 1).rma
    store.close()
    (tmp_path / "seed").write_bytes(rma.wrapped_seed)
    said = []
    code = rma_token_command(
        folder=development, wrapped_seed=tmp_path / "seed", output=tmp_path / "token", operator="", witness="",
        diversifier=DIVERSIFIER.hex(), mechanism="RsaOaep", token_hash=rma.token.hex(), say=said.append,
    )  # fmt: skip
    assert code == 0
    token = (tmp_path / "token").read_text().strip()
    assert lc_hash(bytes.fromhex(token)) == rma.token
    assert said == [f"token written to {tmp_path / 'token'}"]


@pytest.mark.parametrize(("operator", "witness"), [("", ""), ("Ada", " ")])
def test_at_a_machine_of_a_ceremony_two_people_are_asked_for(tmp_path, operator, witness, monkeypatch):
    from station.appliance.ceremony import commands

    monkeypatch.setattr(commands, "_begin_process", lambda folder, realm: None)
    bench = Bench(tmp_path)
    bench.offline_common_init()
    before = (bench.offline / "transcript.jsonl").read_bytes()
    (tmp_path / "seed").write_bytes(bytes(384))
    with pytest.raises(ConfigError, match="name --operator and --witness"):
        rma_token_command(
            folder=bench.offline, wrapped_seed=tmp_path / "seed", output=tmp_path / "token", operator=operator,
            witness=witness, diversifier=None, mechanism="RsaOaep", token_hash=None,
        )  # fmt: skip
    assert (bench.offline / "transcript.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"diversifier": "xx"}, "expected the diversifier as hexadecimal"),
        ({"diversifier": ""}, "expected the diversifier as hexadecimal"),
        ({"token_hash": "00"}, "expected the token's hash as hexadecimal digits of 16 bytes"),
        ({"token_hash": "00" * 16}, "with the hash that the part has"),
    ],
)
def test_what_is_typed_wrong(development, device, tmp_path, changes, words, monkeypatch):
    from station.appliance.ceremony import commands

    monkeypatch.setattr(commands, "_begin_process", lambda folder, realm: None)
    spm, store = open_spm(development), DeviceStore(tmp_path / "registry.db")
    spm.load("sival")
    (tmp_path / "seed").write_bytes(walk_sku("sival", calls_of(spm, store), 1).rma.wrapped_seed)
    store.close()
    options = {"diversifier": None, "mechanism": "RsaOaep", "token_hash": None, **changes}
    with pytest.raises((ConfigError, FormatError), match=words):
        rma_token_command(
            folder=development, wrapped_seed=tmp_path / "seed", output=tmp_path / "token", operator="", witness="",
            **options,
        )  # fmt: skip
    assert not (tmp_path / "token").exists()
