"""The ceremony as people do it: one process per step, digests typed or confirmed at a terminal, answers for both."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from ceremony_bench import Bench, contents, material_of
from token_bench import MODULE, make_token

from station.appliance.ceremony import commands
from station.appliance.ceremony import machine as machine_module
from station.appliance.ceremony.machine import FILE, machine_made
from station.appliance.ceremony.task import People, Side, Step
from station.appliance.ceremony.transfer import digest_of, grouped
from station.appliance.keystore import Wrapping, open_keystore
from station.appliance.passphrase import SecretSource, choose_secret
from station.appliance.pkcs11_provision import TOKEN
from station.appliance.settings import read_settings
from station.appliance.sku_templates import RMA_KEY
from station.errors import ConfigError
from station.model import Realm
from station.processes import child_environment
from station.secret import Secret

PEOPLE = ("--operator", "Ada", "--witness", "Wim")
WAIT = 60


def start(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "station", "appliance", *map(str, arguments)]
    environment = {**child_environment(), **options.pop("environment", {})}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT, **options)


def step(name: str, *arguments: object, **options) -> dict:
    """The answer of a step that works."""
    group = () if name == "rma-token" else ("ceremony",)
    done = start(*group, name, *arguments, *PEOPLE, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def carried(answer: dict, medium: Path) -> tuple[object, ...]:
    """The file on a medium, and the digest as it was read aloud."""
    medium.mkdir(exist_ok=True)
    copy = medium / Path(answer["file"]).name
    copy.write_bytes(Path(answer["file"]).read_bytes())
    assert grouped(digest_of(copy.read_bytes())) == answer["digest"]
    return "--input", copy, "--digest", answer["digest"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folders after a whole ceremony of processes; the offline passphrase comes through a descriptor."""
    root = tmp_path_factory.mktemp("cli")
    spm, offline, medium = root / "spm", root / "offline", root / "medium"
    (root / "phrase").write_text(secrets.token_hex(16))
    (root / "phrase").chmod(0o600)
    typed = secrets.token_hex(16)

    def at_offline(name: str, *arguments: object) -> dict:
        return step(name, offline, *arguments, input=typed)

    new = ("--realm", "production")
    init = step("spm-init", spm, *new, "--passphrase", "../phrase")
    at_offline("offline-common-init", *new, "--passphrase", "fd:0", "--sku", "sival", "--sku", "cr01")
    export = at_offline("offline-common-export", *carried(init, medium))
    skus = ("--sku", "cr01", "--sku", "sival")
    step("spm-sku-init", spm, *skus, *carried(export, medium))
    name = ("--subject", "opentitan-ca-root-v0=CN=Example Root CA,O=Example,C=DE")
    csr = step("spm-sku-csr", spm, *skus)
    roots = at_offline("offline-ca-root-certgen", *skus, *name)
    certs = at_offline("offline-sku-certgen", *carried(csr, medium))
    step("spm-sku-certs", spm, *carried(roots, medium), *carried(certs, medium))
    tls = step("tls-csr", spm, "--name", "pa-service", "--host", "pa.example")
    issued = at_offline("offline-tls-certgen", *carried(tls, medium))
    step("tls-cert", spm, *carried(issued, medium))
    return root, at_offline


def test_the_result_is_an_appliance_of_realm_production(done):
    root, _ = done
    settings = read_settings(root / "spm")
    assert settings.realm is Realm.PRODUCTION
    assert (root / "spm/tls/server-cert.pem").exists()
    passphrase = Secret((root / "phrase").read_bytes(), "passphrase")
    assert open_keystore(settings.keys.file, passphrase, Realm.PRODUCTION).labels()


def test_a_repetition_says_so_and_asks_for_no_passphrase(done):
    root, _ = done
    before = contents(root)
    said = start("ceremony", "offline-common-init", root / "offline", "--sku", "cr01", "--sku", "sival", *PEOPLE)
    assert said.returncode == 0, said.stderr
    assert "by Ada and Wim; nothing was changed" in said.stdout
    assert contents(root) == before


def test_a_step_tells_what_is_next(done):
    root, _ = done
    said = start("ceremony", "spm-init", root / "spm", *PEOPLE)
    assert f"file: {root / 'spm/ceremony/spm_hsm_init.json'}" in said.stdout
    assert "next: carry the file to the offline machine: offline-common-export" in said.stdout
    digest = grouped(digest_of((root / "spm/ceremony/spm_hsm_init.json").read_bytes()))
    assert f"SHA-256 {digest}" in said.stdout


def test_the_transcript_to_sign(done, tmp_path):
    root, _ = done
    said = start("ceremony", "transcript", root / "offline", "--output", tmp_path / "transcript.txt")
    assert said.returncode == 0, said.stderr
    assert said.stdout == (tmp_path / "transcript.txt").read_text() + "\n"
    assert "Realm: production" in said.stdout
    assert "CN=Example Root CA,O=Example,C=DE" in said.stdout
    assert said.stdout.count("Signature") == 2
    again = start("ceremony", "transcript", root / "offline", "--output", tmp_path / "transcript.txt")
    assert again.returncode == 0  # the same text
    machine = json.loads(start("ceremony", "transcript", root / "offline", "--json").stdout)
    assert (machine["machine"], machine["realm"]) == ("offline", "production")
    assert machine["entries"][-1]["step"] == "offline-tls-certgen"


def test_a_field_return(done, tmp_path):
    root, at_offline = done
    passphrase = Secret((root / "phrase").read_bytes(), "passphrase")
    keystore = open_keystore(root / "spm/keystore.sealed", passphrase, Realm.PRODUCTION)
    mac, wrapped = keystore.fresh_hmac_sha256(b"rma".ljust(48, b"\0"), Wrapping("RsaOaep", RMA_KEY))
    (tmp_path / "seed").write_bytes(wrapped)
    answer = at_offline("rma-token", "--wrapped-seed", tmp_path / "seed", "--output", tmp_path / "token")
    assert answer["step"] == "rma-token"
    with mac.reveal() as raw:
        assert (tmp_path / "token").read_text() == raw[:16].hex() + "\n"
        assert raw[:16].hex() not in json.dumps(answer)


# ---- at a terminal ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("typed", "code"), [("yes\n", 0), ("y\n", 2), ("no\n", 2), ("\n", 2)])
def test_the_digest_is_confirmed_at_a_terminal(tmp_path, typed, code):
    bench = Bench(tmp_path)
    bench.spm_init()
    bench.offline_common_init()
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "station", "appliance", "ceremony", "offline-common-export", str(bench.offline),
               "--input", str(bench.path(Step.SPM_INIT)), *PEOPLE]  # fmt: skip
    process = subprocess.Popen(command, env=child_environment(), stdin=theirs, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    os.write(ours, typed.encode())
    said, errors = process.communicate(timeout=WAIT)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, errors
    assert grouped(digest_of(bench.path(Step.SPM_INIT).read_bytes())) in errors
    assert ("done" in said) is (code == 0)
    assert ("you did not confirm it" in errors) is (code == 2)


def test_nobody_to_ask(tmp_path):
    bench = Bench(tmp_path)
    bench.spm_init()
    bench.offline_common_init()
    said = start("ceremony", "offline-common-export", bench.offline, "--input", bench.path(Step.SPM_INIT), *PEOPLE,
                 stdin=subprocess.DEVNULL)  # fmt: skip
    assert said.returncode == 2
    assert said.stderr == "station: expected the digest that the other machine shows: give it with --digest\n"


def test_a_new_passphrase_is_typed_twice(monkeypatch):
    answers = iter([b"one", b"one", b"one", b"two"])
    from station.appliance import passphrase

    monkeypatch.setitem(passphrase._READERS, "prompt", lambda value, label: next(answers))
    assert choose_secret(SecretSource("prompt"), "passphrase") == Secret(b"one", "passphrase")
    with pytest.raises(ConfigError, match="the same passphrase twice"):
        choose_secret(SecretSource("prompt"), "passphrase")


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path(MODULE).exists(), reason="SoftHSM2 is not installed")
def test_a_token_by_its_options(tmp_path):
    token = make_token(tmp_path / "hsm")
    options = ("--keystore", "pkcs11", "--module", MODULE, "--token", TOKEN, "--pin", token.pin)
    environment = {"SOFTHSM2_CONF": str(token.config)}
    answer = step("spm-init", tmp_path / "spm", "--realm", "dev", *options, environment=environment)
    assert [key["label"] for key in answer["keys"]] == [
        "spm-rsa-wrap-v0.priv", "spm-hsm-id-v0.priv", "station-session-v0",
    ]  # fmt: skip
    assert not (tmp_path / "spm/keystore.sealed").exists()
    assert step("spm-init", tmp_path / "spm", environment=environment)["already"]
    said = start("ceremony", "spm-init", tmp_path / "spm", "--keystore", "software", *PEOPLE)
    assert said.returncode == 2
    assert "keeps its realm and keystore" in said.stderr
    said = start("ceremony", "spm-init", tmp_path / "spm", "--realm", "production", *PEOPLE, environment=environment)
    assert "keeps its realm and keystore" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("spm-init", "--passphrase", "p"), "name it with --realm"),
        (("spm-init", "--realm", "dev", "--keystore", "pkcs11"), "expected module"),
        (("spm-init", "--realm", "dev", "--passphrase", "fd:x"), "expected a number after fd:"),
        (("offline-common-init", "--realm", "dev", "--sku", "sivall"), "did you mean 'sival'"),
        (("spm-sku-csr", "--sku", "sival"), "begin the ceremony there with spm-init"),
        (("spm-sku-csr", "--sku", "sival", "--subject", "x"), "expected LABEL=NAME"),
        (("tls-csr", "--name", "a/b", "--realm", "dev"), "a name of letters, digits and -"),
        (("tls-csr", "--name", "ft-1"), "name it with --realm"),
        (("transcript",), "begin the ceremony there"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_is_typed_wrong_makes_no_folder(tmp_path, arguments, words):
    name, *options = arguments
    people = () if name == "transcript" else PEOPLE
    said = start("ceremony", name, tmp_path / "new", *options, *people)
    assert said.returncode == 2
    assert words in said.stderr
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "new").exists()


def test_a_refused_first_step_leaves_nothing_behind(tmp_path):
    """Nobody is at the terminal; the same command with a file works, in the same place."""
    new, phrase = tmp_path / "deep" / "spm", tmp_path / "phrase"
    said = start("ceremony", "spm-init", new, "--realm", "production", *PEOPLE, stdin=subprocess.DEVNULL)
    assert said.returncode == 2
    assert "expected a terminal" in said.stderr
    assert not (tmp_path / "deep").exists()
    phrase.write_text("eleven char")
    phrase.chmod(0o600)
    said = start("ceremony", "spm-init", new, "--realm", "production", "--passphrase", phrase, *PEOPLE)
    assert (said.returncode, "at least 12 characters" in said.stderr) == (2, True)
    assert not (tmp_path / "deep").exists()
    phrase.write_text("twelve chars")
    assert not step("spm-init", new, "--realm", "production", "--passphrase", phrase)["already"]


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "note").write_text("mine")
    said = start("ceremony", "spm-init", tmp_path, "--realm", "dev", *PEOPLE, stdin=subprocess.DEVNULL)
    assert said.returncode == 2
    assert contents(tmp_path, ()) == {"note": b"mine"}


def test_the_machine_of_a_quicker_process_stays(tmp_path, monkeypatch):
    """Another process makes its machine between the look at the folder and the lock, or after this one is gone."""
    folder, real = tmp_path / "new", machine_module.place

    def slower(path, data):
        real(path, b"another machine")
        return real(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(machine_module, "place", slower)
        with pytest.raises(ConfigError, match="never overwritten"), machine_made(folder, Side.SPM, Realm.DEV, {}):
            raise AssertionError("not reached")
    assert (folder / FILE).read_bytes() == b"another machine"
    (folder / FILE).unlink()
    with pytest.raises(ConfigError, match="no more"), machine_made(folder, Side.SPM, Realm.DEV, {}):
        (folder / FILE).write_bytes(b"another machine")
        raise ConfigError("no more")
    assert (folder / FILE).read_bytes() == b"another machine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("spm-sku-csr", "--sku", "sivall", *PEOPLE), "did you mean 'sival'"),
        (("spm-sku-csr", "--sku", "sival", "--subject", "x", *PEOPLE), "expected LABEL=NAME"),
        (("spm-sku-csr", "--sku", "sival", "--operator", "Ada", "--witness", "ada"), "expected two people"),
        (("spm-sku-csr", "--sku", "sival", "--operator", "A" * 80, "--witness", "W\x1b"), "up to 64 letters"),
    ],
)
def test_what_is_typed_wrong_at_a_machine_is_in_its_transcript(tmp_path, arguments, words):
    bench = Bench(tmp_path)
    bench.spm_init()
    before = contents(bench.spm, ("ceremony.lock", "transcript.jsonl"))
    said = start("ceremony", arguments[0], bench.spm, *arguments[1:])
    assert (said.returncode, words in said.stderr) == (2, True)
    last = json.loads((bench.spm / "transcript.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["step"], words in last["note"]) == ("refused", "spm-sku-csr", True)
    assert last["operator"] in ("Ada", "A" * 64) and last["witness"].isprintable()
    assert contents(bench.spm, ("ceremony.lock", "transcript.jsonl")) == before


def test_one_person_is_not_enough(tmp_path):
    said = start("ceremony", "spm-init", tmp_path / "new", "--realm", "dev", "--operator", "Ada", "--witness", "ada")
    assert said.returncode == 2
    assert "expected two people" in said.stderr
    assert not (tmp_path / "new").exists()


def test_the_slot_of_a_token_stands_in_the_settings(tmp_path):
    from station.cli_ceremony import _with_keystore

    options = dict.fromkeys(("passphrase", "pin", "module", "token", "slot"))
    chosen = _with_keystore(tmp_path, {**options, "keystore": "pkcs11", "module": "/m.so", "slot": 2})
    assert chosen["keystore"] == {"keystore_kind": "pkcs11", "module": "/m.so", "slot": 2, "pin": "prompt"}
    chosen = _with_keystore(tmp_path, {**options, "keystore": None})
    assert chosen["keystore"] == {"keystore_kind": "software", "passphrase": "prompt"}


def test_every_step_has_a_command():
    from station.cli_ceremony import ceremony

    named = {step.value for step in commands.STEPS}
    assert set(ceremony.commands) == {*named, "transcript"}
    assert {step.value for step in commands.NEXT} == named
    assert all(set(sides) <= set(Side) for sides, _ in commands.STEPS.values())


def test_the_plain_output_names_keys_and_certificates(ended, monkeypatch):
    monkeypatch.setattr(commands, "_begin_process", lambda folder, realm: None)
    said = []
    options = commands.Options(skus=("sival",))
    people = People("Ada", "Wim")
    commands.step_command(Step.OFFLINE_CA_ROOT_CERTGEN, ended.offline, people, options, say=said.append)
    assert said[0] == "offline-ca-root-certgen sival: done"
    assert "no --subject was given for opentitan-ca-root-v0: the subject is the reference project's" in said[1]
    assert "CN=Nuvoton Technology OpenTitan Root CA" in said[1]
    assert "certificate opentitan-ca-root-v0, valid until " in said[2]
    assert material_of(ended.offline).secret


def test_what_comes_after_keys_of_later_skus(ended, tmp_path, monkeypatch):
    """Its seeds have left: nobody waits for a file of spm-init; a new offline machine does."""
    monkeypatch.setattr(commands, "_begin_process", lambda folder, realm: None)
    options, people = commands.Options(skus=("ti01",), realm="dev"), People("Ada", "Wim")
    said: list[str] = []
    commands.step_command(Step.OFFLINE_COMMON_INIT, ended.offline, people, options, say=said.append)
    assert said[-1].startswith("next: at an SPM machine that has its seeds: spm-sku-init for the same SKUs, without")
    (tmp_path / "passphrase").write_text("a passphrase of a test\n")
    (tmp_path / "passphrase").chmod(0o600)
    fresh = dataclasses.replace(options, keystore={"passphrase": "../passphrase"})
    commands.step_command(Step.OFFLINE_COMMON_INIT, tmp_path / "new", people, fresh, say=said.append)
    assert said[-1] == "next: wait for the file of spm-init: offline-common-export"
