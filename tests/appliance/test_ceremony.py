"""The whole ceremony with software keystores: what it leaves is served, what is repeated changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from itertools import cycle
from pathlib import Path

import pytest
from appliance_bench import Served, Station, pem_of
from ceremony_bench import ALL_SKUS, Bench, contents, machine_of, material_of, passphrase_of
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sku_bench import calls_of, walk_sku

from station.appliance.ceremony.keys import (
    AES_KEY,
    ML_KEM_KEY,
    RMA_PRIVATE_KEY,
    SEEDS,
    TLS_CA_KEY,
    TRANSPORT_KEY,
    X25519_KEY,
)
from station.appliance.ceremony.task import FILES, Side, Step
from station.appliance.ceremony.transcript import key_text
from station.appliance.ceremony.transfer import read_transfer
from station.appliance.device_store import DeviceStore
from station.appliance.doctor import examine
from station.appliance.keystore import SoftwareKeystore, open_keystore
from station.appliance.session_tokens import SESSION_KEY, fleet_key
from station.appliance.settings import read_settings
from station.appliance.sku_templates import CAS, RMA_KEY
from station.appliance.skus import read_auth
from station.appliance.spm import Spm
from station.errors import ConfigError
from station.model import Realm

ROOTS = [label for label, plan in CAS.items() if not plan.root]
ISSUED = [label for label, plan in CAS.items() if plan.root]


def certificate(bench: Bench, label: str) -> bytes:
    return (bench.spm / f"skus/ca/{label}.der").read_bytes()


def openssl(*arguments: str, cwd) -> str:
    done = subprocess.run(["openssl", *arguments], cwd=cwd, capture_output=True, text=True, timeout=20)
    return f"{done.returncode} {done.stdout}{done.stderr}"


# ---- keys are where they belong --------------------------------------------------------------------------------------


def test_every_key_is_on_its_machine(finished):
    spm, offline = material_of(finished.spm), material_of(finished.offline)
    identities = {"spm-hsm-id-v0.priv", "spm-hsm-id-mldsa-v0.priv"}
    assert set(spm.secret) == {*SEEDS, SESSION_KEY}
    assert set(spm.private) == {TRANSPORT_KEY, *identities, *(f"{label}.priv" for label in ISSUED)}
    assert set(spm.public) == {RMA_KEY}
    assert set(offline.secret) == {*SEEDS, AES_KEY}
    own = {RMA_PRIVATE_KEY, TLS_CA_KEY, ML_KEM_KEY, X25519_KEY}
    assert set(offline.private) == {*own, *(f"{label}.priv" for label in ROOTS)}
    assert offline.public == {}


def test_the_seeds_arrived_and_are_two(finished):
    spm, offline = material_of(finished.spm), material_of(finished.offline)
    assert [spm.secret[label] for label in SEEDS] == [offline.secret[label] for label in SEEDS]
    assert len({*spm.secret.values(), offline.secret[AES_KEY]}) == 4
    assert all(len(seed) == 32 for seed in spm.secret.values())


def test_private_files_are_private(finished):
    for folder in (finished.spm, finished.offline):
        modes = {str(p.relative_to(folder)): p.stat().st_mode & 0o777 for p in folder.rglob("*") if p.is_file()}
        public = {name for name, mode in modes.items() if mode & 0o077}
        assert all(name.endswith((".der", ".lock", ".yml", ".toml")) or "hpke" in name for name in public), public
        assert "skus/sku_auth.yml" not in public
        assert folder.stat().st_mode & 0o777 == 0o700


# ---- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [label for label in ISSUED if "mldsa" not in label])
def test_openssl_verifies_every_chain(finished, tmp_path, label):
    (tmp_path / "root.pem").write_bytes(pem_of(certificate(finished, CAS[label].root)))
    (tmp_path / "ca.pem").write_bytes(pem_of(certificate(finished, label)))
    said = openssl("verify", "-x509_strict", "-CAfile", "root.pem", "ca.pem", cwd=tmp_path)
    assert said.startswith("0 ca.pem: OK"), said


def test_the_mldsa_chain(finished):
    root, ca = (
        x509.load_der_x509_certificate(certificate(finished, label))
        for label in ("opentitan-mldsa-ca-root-v0", "sival_pqc-dice-key-mldsa-v0")
    )
    root.verify_directly_issued_by(root)
    ca.verify_directly_issued_by(root)
    assert root.signature_algorithm_oid.dotted_string == "2.16.840.1.101.3.4.3.19"


def test_requests_are_signed_by_their_keys(finished, tmp_path):
    transfer = read_transfer(finished.path(Step.SPM_SKU_CSR, ALL_SKUS).read_bytes())
    keystore = SoftwareKeystore(Realm.DEV, material_of(finished.spm))
    assert len(transfer.items) == len(ISSUED)
    for label in ISSUED:
        request = x509.load_der_x509_csr(transfer.items[f"{label}.csr"])
        assert request.is_signature_valid
        (tmp_path / "key.der").write_bytes(keystore.public_key(f"{label}.priv"))
        (tmp_path / "csr.pem").write_bytes(request.public_bytes(Encoding.PEM))
        if "mldsa" not in label:
            said = openssl("req", "-verify", "-noout", "-in", "csr.pem", cwd=tmp_path)
            assert said.startswith("0 "), said
            assert "verify OK" in said


@pytest.mark.parametrize("sku", ALL_SKUS)
def test_a_whole_conversation_of_every_sku(ended, tmp_path, sku):
    settings = read_settings(ended.spm)
    keystore = open_keystore(settings.keys.file, passphrase_of(ended.spm), settings.realm)
    store = DeviceStore(tmp_path / "registry.db")
    spm = Spm(settings.skus, keystore)
    spm.load(sku)
    walk = walk_sku(sku, calls_of(spm, store), 1)
    store.close()
    assert walk.endorsed
    assert walk.cas["root"] == certificate(ended, "pi01-ca-root-v0" if sku == "pi01" else "opentitan-ca-root-v0")


def test_it_is_served_over_tls_of_the_offline_machine(ended):
    """Password, TLS, session, tokens, endorsement and registration, in a process of its own."""
    ended.tls(ended.spm, "pa-service")
    ended.tls(ended.spm / "clients/station-1", "station-1")
    (ended.spm / "clients/sku_password").write_bytes((ended.spm / "clients/sku_password_sival").read_bytes())
    appliance = Served(ended.spm)
    station = Station(ended.spm, appliance.target)
    try:
        station.log_in()
        walk = walk_sku("sival", station.call, 7)
    finally:
        station.close()
        assert appliance.stop() == 0
    assert appliance.ready["realm"] == "dev"
    assert walk.endorsed
    assert "Traceback" not in appliance.log.read_text()


def test_sessions_have_their_own_key(finished):
    keystore = SoftwareKeystore(Realm.DEV, material_of(finished.spm))
    without = material_of(finished.spm)
    without = type(without)({k: v for k, v in without.secret.items() if k != SESSION_KEY}, {}, {})
    assert fleet_key(keystore) != fleet_key(SoftwareKeystore(Realm.DEV, without))


def test_the_transport_key_is_not_served(finished):
    keystore = SoftwareKeystore(Realm.DEV, material_of(finished.spm))
    assert TRANSPORT_KEY not in keystore.labels()


def test_sku_passwords_are_of_their_files(finished):
    import bcrypt

    stored = read_auth(finished.spm / "skus/sku_auth.yml")
    assert set(stored) == set(ALL_SKUS)
    for name, auth in stored.items():
        password = (finished.spm / f"clients/sku_password_{name}").read_bytes().strip()
        assert len(password) == 24
        assert bcrypt.checkpw(password, auth.password_hash.encode())
    assert len({auth.password_hash for auth in stored.values()}) == len(ALL_SKUS)


def test_the_offline_folder_is_no_appliance(finished):
    with pytest.raises(ConfigError, match=r"expected an appliance folder with appliance\.toml"):
        read_settings(finished.offline)


def test_a_folder_is_served_after_the_last_step_only(tmp_path):
    bench = Bench(tmp_path)
    bench.run(until=Step.SPM_SKU_CERTS)
    with pytest.raises(ConfigError, match=r"appliance\.toml"):
        read_settings(bench.spm)


# ---- again -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", list(Bench.steps(Bench(None))))
def test_a_repeated_step_does_nothing_and_says_so(ended, step):
    before = contents(ended.root)
    outcome = ended.steps()[step]()
    assert outcome.already
    assert outcome.entry.operator == "Ada Operator"
    assert contents(ended.root) == before
    assert (outcome.sent is not None) == (step in FILES)


def test_skus_in_another_order_are_the_same_step(ended):
    ended.skus = tuple(reversed(ALL_SKUS))
    before = contents(ended.root)
    for step in (Step.OFFLINE_COMMON_INIT, Step.SPM_SKU_INIT, Step.SPM_SKU_CSR, Step.OFFLINE_CA_ROOT_CERTGEN):
        assert ended.steps()[step]().already
    assert contents(ended.root) == before


def test_later_skus_keep_everything(tmp_path):
    """sival first, then pi01 and sival_pqc: old keys, certificates and passwords stay as they are."""
    bench = Bench(tmp_path, ("sival",))
    bench.run()
    before = {folder: contents(folder) for folder in (bench.spm, bench.offline)}
    keys = {folder: material_of(folder) for folder in (bench.spm, bench.offline)}
    bench.skus = ("pi01", "sival_pqc")
    done = [outcome for outcome in bench.run() if not outcome.already]
    assert [outcome.entry.step for outcome in done] == [
        step for step in bench.steps() if step not in (Step.SPM_INIT, Step.OFFLINE_COMMON_EXPORT)
    ]
    growing = {"keystore.sealed", "transcript.jsonl", "skus/sku_auth.yml"}
    for folder, files in before.items():
        now = contents(folder)
        assert {name: now[name] for name in files if name not in growing} == {
            name: data for name, data in files.items() if name not in growing
        }
        after = material_of(folder)
        for kind in ("secret", "private", "public"):
            old, new = getattr(keys[folder], kind), getattr(after, kind)
            assert {label: new[label] for label in old} == old
    auth = (bench.spm / "skus/sku_auth.yml").read_text()
    assert auth.startswith(before[bench.spm]["skus/sku_auth.yml"].decode().rstrip())
    spm = Spm(bench.spm / "skus", SoftwareKeystore(Realm.DEV, material_of(bench.spm)))
    for sku in ("sival", "pi01", "sival_pqc"):
        spm.load(sku)


def test_two_spm_machines_of_one_offline_machine(tmp_path):
    """Seeds and roots are shared, CA keys and sessions are not: these two are no fleet."""
    first, second = Bench(tmp_path / "one"), Bench(tmp_path / "two")
    first.run()
    second.spm_init()
    second.root.joinpath("offline").symlink_to(first.offline)
    second.offline_lines = {}
    outcomes = second.run()
    assert [outcome.entry.step for outcome in outcomes if outcome.already] == [
        Step.SPM_INIT, Step.OFFLINE_COMMON_INIT, Step.OFFLINE_CA_ROOT_CERTGEN,
    ]  # fmt: skip
    one, two = material_of(first.spm), material_of(second.spm)
    assert [one.secret[label] for label in SEEDS] == [two.secret[label] for label in SEEDS]
    assert one.secret[SESSION_KEY] != two.secret[SESSION_KEY]
    assert set(one.private) == set(two.private)
    assert not set(one.private.values()) & set(two.private.values())
    assert certificate(first, "opentitan-ca-root-v0") == certificate(second, "opentitan-ca-root-v0")


def test_a_clone_is_the_same_appliance(ended, postgres):
    """docs/ceremony.md, A fleet: what is copied, its own TLS files, and a conversation that goes to both by turns."""
    certificate_of = '[[station]]\nname = "one"\ncertificate = "station-1"\nskus = ["*"]\nroles = ["CP", "FT"]\n'
    (ended.spm / "stations.toml").write_text(certificate_of)
    postgres.configure(ended.spm)
    ended.tls(ended.spm, "pa-service")
    ended.tls(ended.spm / "clients/station-1", "station-1")
    clone = clone_of(ended, ended.root / "clone")
    assert session_key_check(ended.spm) == session_key_check(clone)
    with pytest.raises(ConfigError, match=r"expected ceremony\.toml"):
        machine_of(clone, Side.SPM)
    instances = [Served(folder) for folder in (ended.spm, clone)]
    stations = [Station(ended.spm, instance.target) for instance in instances]
    try:
        for number, sku in enumerate(("sival", "pi01")):
            stations[number].log_in(sku, (ended.spm / f"clients/sku_password_{sku}").read_text().strip())
            walk_sku(sku, by_turns(stations, stations[number].token), number)
    finally:
        for station in stations:
            station.close()
        assert [instance.stop() for instance in instances] == [0, 0]
    assert postgres.rows("SELECT sku, flagged FROM registrations ORDER BY sku") == [("pi01", 0), ("sival", 0)]


def test_doctor_shows_the_check_value_of_the_session_key_as_the_transcript_has_it(ended):
    with ended.at(Side.SPM) as machine:
        (line,) = {
            key_text(key) for entry in machine.transcript.entries for key in entry.keys if key.label == SESSION_KEY
        }
    assert f"check value {line.partition(', check value ')[2]}, the same" in session_key_check(ended.spm)


def by_turns(stations, token):
    """Calls in one session, each to the next instance."""
    turns = cycle(stations)
    return lambda name, request: next(turns).call(name, request, token=token)


def clone_of(bench: Bench, folder: Path) -> Path:
    """As on another computer."""
    folder.mkdir(mode=0o700)
    for name in ("appliance.toml", "stations.toml", "keystore.sealed"):
        shutil.copy2(bench.spm / name, folder / name)
    shutil.copytree(bench.spm / "skus", folder / "skus")
    shutil.copy2(bench.root / "spm.passphrase", bench.root / "clone.passphrase")
    toml = (folder / "appliance.toml").read_text()
    (folder / "appliance.toml").write_text(toml.replace("../spm.passphrase", "../clone.passphrase"))
    bench.tls(bench.root / "clone-tls", "pa-service", server=True)
    (folder / "tls").mkdir()
    for old, new in (("key", "server-key"), ("cert", "server-cert"), ("ca-cert", "ca-cert")):
        (bench.root / f"clone-tls/{old}.pem").rename(folder / f"tls/{new}.pem")
    return folder


def session_key_check(folder: Path) -> str:
    (found,) = [check for check in examine(folder) if check.check == "session key"]
    assert (found.level, found.sentence[:12]) == ("ok", "check value ")
    return found.sentence


# ---- realms ----------------------------------------------------------------------------------------------------------


def test_realm_production_is_carried_everywhere(tmp_path):
    bench = Bench(tmp_path, ("sival",), Realm.PRODUCTION)
    bench.run()
    settings = read_settings(bench.spm)
    assert settings.realm is Realm.PRODUCTION
    keystore = open_keystore(settings.keys.file, passphrase_of(bench.spm), Realm.PRODUCTION)
    Spm(settings.skus, keystore).load("sival")
    assert b"# realm production" in (bench.spm / "skus/sku_sival.yml").read_bytes()
    for path in bench.root.rglob("*.json"):
        assert read_transfer(path.read_bytes()).realm is Realm.PRODUCTION
    for path in bench.root.rglob("*.der"):
        assert b"realm dev" not in path.read_bytes()


def test_an_appliance_of_realm_production_is_served(tmp_path):
    """stations.toml is all that is added by hand."""
    bench = Bench(tmp_path, ("sival",), Realm.PRODUCTION)
    bench.run()
    bench.tls(bench.spm, "pa-service")
    bench.tls(bench.spm / "clients/station-1", "station-1")
    (bench.spm / "stations.toml").write_text(
        '[[station]]\nname = "one"\ncertificate = "station-1"\nskus = ["sival"]\nroles = ["CP", "FT"]\n'
    )
    appliance = Served(bench.spm)
    station = Station(bench.spm, appliance.target)
    try:
        station.log_in(password=(bench.spm / "clients/sku_password_sival").read_text().strip())
        walk = walk_sku("sival", station.call, 9)
    finally:
        station.close()
        assert appliance.stop() == 0
    assert appliance.ready["realm"] == "production"
    assert walk.endorsed


def test_certificates_of_realm_dev_say_so(finished):
    ders = list(finished.spm.rglob("skus/ca/*.der"))
    certificates = [path for path in ders if "hpke" not in path.name]
    assert len(certificates) == len(CAS)
    assert all(b"realm dev" in path.read_bytes() for path in certificates)


def test_a_public_passphrase_is_refused_in_production(tmp_path):
    (tmp_path / "weak").write_text("cryptoki\n")
    (tmp_path / "weak").chmod(0o600)
    bench = Bench(tmp_path, realm=Realm.PRODUCTION, spm_lines={"passphrase": str(tmp_path / "weak")})
    with pytest.raises(ConfigError, match="publicly known"):
        bench.spm_init()
    assert not (bench.spm / "keystore.sealed").exists()


def test_a_machine_keeps_its_realm_and_keystore(ended):
    ended.realm = Realm.PRODUCTION
    for make in (ended.make_spm, ended.make_offline):
        with pytest.raises(ConfigError, match="keeps its realm and keystore"):
            make()


def test_an_appliance_is_not_made_a_machine(made, tmp_path):
    from appliance_bench import copy_folder

    bench = Bench(tmp_path)
    copy_folder(made, bench.spm)
    before = contents(bench.spm)
    with pytest.raises(ConfigError, match=r"has appliance\.toml already"):
        bench.spm_init()
    assert contents(bench.spm) == before


def test_steps_of_the_other_machine_are_refused(ended):
    from station.appliance.ceremony.machine import at_machine

    with pytest.raises(ConfigError, match="is of the SPM machine"), at_machine(ended.spm, (Side.OFFLINE,)):
        pass
    with pytest.raises(ConfigError, match="begin the ceremony there"), at_machine(ended.root, (Side.SPM,)):
        pass


def test_one_step_at_a_time(ended):
    with ended.at(Side.SPM), pytest.raises(ConfigError, match="another step of the ceremony is running"):
        ended.spm_sku_csr()


def test_a_lost_keystore_is_not_made_anew(ended):
    (ended.spm / "keystore.sealed").unlink()
    ended.skus = ("sival",)
    with pytest.raises(ConfigError, match="of the steps that are done, saw none: restore it"):
        ended.spm_sku_csr()
    assert not (ended.spm / "keystore.sealed").exists()
