"""``station appliance selftest`` as a whole: last line, exit code, what it leaves out, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from access_bench import inner
from appliance_bench import ROOT
from token_bench import MODULE

from station.appliance import audit, registry, softhsm
from station.appliance.commands import selftest_command
from station.appliance.device_store import DeviceStore, Outcome, StoredDevice
from station.appliance.selftest import command, throwaway
from station.appliance.selftest.checks import Check, Report, expect
from station.appliance.selftest.record_checks import record_checks
from station.appliance.selftest.registration_checks import registration_checks
from station.appliance.selftest.walk import Walk
from station.appliance.sessions import Sessions
from station.appliance.sku_templates import chosen
from station.appliance.spm import Endorsement, Spm
from station.errors import ApplianceError, ConfigError

WAIT = 60.0


def arguments(*more: str) -> list[str]:
    return [sys.executable, "-m", "station", "appliance", "selftest", *more]


def environment(folder: Path) -> dict[str, str]:
    """Temporary folders of the self-test are made in ``folder``."""
    folder.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(folder)}


def run(folder: Path, *more: str) -> tuple[int, list[dict], str]:
    done = subprocess.run(
        arguments(*more, "--json"), cwd=ROOT, env=environment(folder), capture_output=True, text=True, timeout=WAIT
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def names(lines: list[dict]) -> list[str]:
    return [line["name"] for line in lines if line["event"] == "selftest_check"]


# ---- as a command -----------------------------------------------------------------------------------------------


def test_all_skus_with_the_software_keystore(tmp_path):
    code, lines, said = run(tmp_path / "temporary")
    assert code == 0, said
    assert lines[0] == {
        "event": "selftest_started", "keystore": "software", "skus": ["sival", "cr01", "pi01", "ti01", "sival_pqc"],
    }  # fmt: skip
    checks = names(lines)
    assert len(set(checks)) == len(checks) > 600
    assert all(line["ok"] for line in lines[1:-1])
    assert lines[-1] == {"event": "selftest_ended", "checks": len(checks), "failed": 0, "skipped": []}
    for call in ("session: login", "tokens: high seed", "CA key id", "CA certificate", "boot text", "certificate: UDS",
                 "registration: a device", "close, and", "stored tokens"):  # fmt: skip
        for sku in lines[0]["skus"]:
            assert any(name.startswith(sku) and call in name for name in checks), (sku, call)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_softhsm_leaves_out_what_it_cannot_serve(tmp_path):
    code, lines, said = run(tmp_path / "temporary", "--keystore", "softhsm2", "--sku", "ti01", "--sku", "sival_pqc")
    assert code == 0, said
    assert lines[0]["skus"] == ["ti01"]
    (reason,) = lines[-1]["skipped"]
    assert "sival_pqc" in reason
    assert "ML-DSA" in reason
    assert {"event": "selftest_skipped", "reason": reason} in lines
    assert lines[-1]["failed"] == 0
    assert lines[-1]["checks"] == len(names(lines)) > 100
    assert list((tmp_path / "temporary").iterdir()) == []


def test_for_people(tmp_path):
    done = subprocess.run(
        arguments("--sku", "ti01"), cwd=ROOT, env=environment(tmp_path / "temporary"), capture_output=True, text=True,
        timeout=WAIT,
    )  # fmt: skip
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "self-test of ti01 with the keystore software"
    assert all(line.startswith("✔ ") for line in lines[1:-1])
    assert lines[-1] == f"{len(lines) - 2} checks, 0 failed"


@pytest.mark.parametrize("more", [("--keystore", "softhsm2", "--sku", "sival_pqc"), ("--sku", "sivall")])
def test_nothing_to_try_is_a_configuration_error(tmp_path, more):
    code, lines, said = run(tmp_path / "temporary", *more)
    assert (code, lines) == (2, [])
    assert said.startswith("station: ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("keystore", ["software", "softhsm2"])
def test_a_stopped_self_test_leaves_nothing(tmp_path, number, keystore):
    temporary = tmp_path / "temporary"
    with subprocess.Popen(
        arguments("--json", "--keystore", keystore), cwd=ROOT, env=environment(temporary), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for _ in range(30):  # it is in the middle of the checks
            process.stdout.readline()
        assert processes_of(temporary), "the appliance is a process of its own"
        process.send_signal(number)
        rest, said = process.communicate(timeout=WAIT)
    last = json.loads(rest.splitlines()[-1])
    assert process.returncode == 130, said
    assert (last["event"], last["error"]) == ("selftest_ended", "the self-test was stopped")
    assert processes_of(temporary) == []
    assert list(temporary.iterdir()) == []
    assert "Traceback" not in said


# ---- what it needs ----------------------------------------------------------------------------------------------


def test_softhsm_that_is_not_installed_is_one_sentence(monkeypatch):
    monkeypatch.setattr(softhsm, "PLACES", ("/nowhere/libsofthsm2.so",))
    with pytest.raises(ConfigError, match="install the package softhsm2"):
        selftest_command(keystore="softhsm2", say=pytest.fail)


def test_python_pkcs11_that_is_not_installed_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(ConfigError, match=r"provisioning-station\[hsm\]"):
        selftest_command(keystore="softhsm2", say=pytest.fail)


# ---- what it does about failures --------------------------------------------------------------------------------


@pytest.fixture
def spoilt(monkeypatch):
    """The self-test with a throwaway that is spoilt before it is served."""

    def run(spoil) -> tuple[int, list[dict]]:
        made = throwaway.make

        def make(folder, templates, into=None):
            place = made(folder, templates, into)
            spoil(place)
            return place

        monkeypatch.setattr(throwaway, "make", make)
        lines: list[str] = []
        code = command.selftest("software", ["ti01"], lines.append, as_json=True)
        return code, list(map(json.loads, lines))

    return run


def test_one_failure_is_told_and_the_rest_goes_on(spoilt):
    def spoil(place):
        path = place.folder / "skus/sku_ti01.yml"
        path.write_text(path.read_text().replace("pie_rot_earlgrey_mfg", "something else"))

    code, lines = spoilt(spoil)
    failed = [line for line in lines[1:-1] if not line["ok"]]
    assert [line["name"] for line in failed] == ["ti01 boot text"]
    assert failed[0]["sentence"] == "expected 'pie_rot_earlgrey_mfg', saw 'something else'"
    assert (code, lines[-1]["failed"]) == (ApplianceError.exit_code, 1)
    assert lines[-1]["checks"] == len(names(lines)) > 100


def test_a_sku_that_cannot_be_loaded_fails_check_by_check(spoilt):
    def spoil(place):
        ca = place.folder / "skus/ca/ti01-ica-dice-key-p256-v0.der"
        ca.write_bytes(ca.read_bytes()[:-1])

    code, lines = spoilt(spoil)
    assert code == ApplianceError.exit_code
    assert lines[-1]["failed"] > 100
    assert lines[-1]["checks"] == len(names(lines))
    assert any("failed to initialize sku" in line.get("sentence", "") for line in lines)


def test_an_appliance_that_does_not_start_is_one_sentence_and_the_last_line_comes(spoilt, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = []

    def spoil(place):
        ended.append(place.folder)
        (place.folder / "appliance.toml").write_text('realm = "dev"\nport = "x"\n')

    with pytest.raises(ApplianceError, match=r"expected the throwaway appliance to serve, it said: .*port"):
        spoilt(spoil)
    assert not ended[0].exists()
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_dies_is_a_failed_check():
    lines: list[str] = []
    report = Report(lines.append, as_json=False)
    report.run([Check("dies", lambda: {}["absent"]), Check("fails", lambda: expect(False, "this", "that"))])
    assert lines == [
        "✖ dies: expected an answer that can be judged, saw one that raised KeyError in the self-test",
        "✖ fails: expected this, saw that",
    ]
    assert (report.count, report.failed) == (2, 2)


# ---- records and logs -------------------------------------------------------------------------------------------


@pytest.fixture
def registered(tmp_path):
    """Devices of a throwaway are registered; then what is wrong with its records."""

    def run(exit_code: int = 0) -> dict[str, str]:
        place = throwaway.make(tmp_path / "appliance", chosen(["ti01"]))
        lines: list[str] = []
        with inner(place.folder, time.time) as served:
            walk = Walk(place, chosen(["ti01"])[0], served.target)
            Report(lambda _: None, as_json=True).run(registration_checks(walk))
            walk.close()
        place.log.write_bytes(b"")
        Report(lines.append, as_json=True).run(record_checks(place, exit_code))
        return {line["name"]: line.get("sentence", "") for line in map(json.loads, lines)}

    return run


def wrong(found: dict[str, str]) -> dict[str, str]:
    return {name: sentence for name, sentence in found.items() if sentence}


def test_records_of_a_good_appliance(registered):
    assert wrong(registered()) == {}


def test_an_exit_code_is_looked_at(registered):
    (sentence,) = wrong(registered(exit_code=1)).values()
    assert sentence == "expected exit code 0 after SIGTERM, saw 1"


def test_records_that_were_never_stored(registered, monkeypatch):
    monkeypatch.setattr(DeviceStore, "register", lambda self, device: Outcome.NEW)
    assert set(wrong(registered())) == {
        "records: every acknowledged registration is there, and no other", "records: signed by the appliance's identity"
    }  # fmt: skip


def test_records_signed_by_nobody(registered, monkeypatch):
    def unsigned(self, sku, data):
        return Endorsement(self._keystore.public_key("spm-hsm-id-v0.priv"), b"")

    monkeypatch.setattr(Spm, "endorse_data", unsigned)
    (name,) = wrong(registered())
    assert name == "records: signed by the appliance's identity"


def test_a_refused_registration_that_was_stored(registered, monkeypatch):
    """The record is written before it is verified."""
    true = registry.register_device

    def first_stored(spm, store, request, client):
        if request.HasField("device_data"):
            digest = os.urandom(8).hex()
            store.register(StoredDevice(digest, "ti01", b"", digest, False, client, 1))
        return true(spm, store, request, client)

    monkeypatch.setattr("station.appliance.service.register_device", first_stored)
    (name,) = wrong(registered())
    assert name == "records: every acknowledged registration is there, and no other"


def test_a_session_token_in_the_audit_log(registered, monkeypatch):
    true = Sessions.open

    def talkative(self, seat, sku):
        token = true(self, seat, sku)
        with token.reveal() as raw:
            audit.lines.info("%s", raw.decode())
        return token

    monkeypatch.setattr(Sessions, "open", talkative)
    assert wrong(registered()) == {
        "logs: no password, session token or seed": "expected no session token in audit.jsonl, saw one"
    }


def test_module_of_the_tests_is_the_one_that_is_found():
    assert softhsm.find_module() == MODULE
