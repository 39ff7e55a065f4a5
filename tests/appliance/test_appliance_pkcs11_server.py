"""The appliance with its keys in a SoftHSM: whole conversations, the token taken away under a running server."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest
from appliance_bench import Served, Station, copy_folder, padded
from sku_bench import calls_of, walk_sku
from token_bench import MODULE

from station.appliance.device_store import DeviceStore
from station.appliance.keystores import configured_keystore
from station.appliance.passphrase import read_secret
from station.appliance.pkcs11_provision import provision_folder
from station.appliance.pki import init
from station.appliance.refusal import Refusal
from station.appliance.settings import read_settings
from station.appliance.softhsm import softhsm
from station.appliance.spm import Spm
from station.errors import ConfigError
from station.wire import pa_pb2

WAIT = 30.0

pytestmark = pytest.mark.skipif(not Path(MODULE).exists(), reason="SoftHSM2 is not installed")


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory) -> Path:
    """A development appliance of all SKUs whose keys are in a token; never served itself: its config names its path."""
    folder = tmp_path_factory.mktemp("hsm-appliance") / "appliance"
    init(folder, ["station-1"], skus=("all",))
    _, left_out = provision_folder(folder, MODULE)
    assert left_out and all("mldsa" in label for label in left_out)
    (folder / "keystore.sealed").unlink()  # nothing is taken from it any more
    return folder


@pytest.fixture
def spm(provisioned):
    settings = read_settings(provisioned)
    config = provisioned / "softhsm/softhsm2.conf"
    with softhsm(config), configured_keystore(settings.keys, settings.realm) as keystore:
        yield Spm(settings.skus, keystore)


@pytest.fixture
def calls(spm, tmp_path):
    store = DeviceStore(tmp_path / "registry.db")
    yield calls_of(spm, store)
    store.close()


@pytest.mark.parametrize("sku", ["sival", "cr01", "pi01", "ti01"])
def test_a_whole_conversation_of_every_ecdsa_sku(spm, calls, sku):
    spm.load(sku)
    walk = walk_sku(sku, calls, 1)
    assert walk.endorsed
    assert len(walk.rma.wrapped_seed) == 384


def test_the_mldsa_sku_is_refused_when_it_is_loaded(spm, caplog):
    with pytest.raises(Refusal) as refused, caplog.at_level(logging.ERROR):
        spm.load("sival_pqc")
    assert refused.value.code == "INTERNAL"
    (said,) = [text for text in caplog.messages if "sival_pqc" in text]
    assert "sival_pqc-dice-key-mldsa-v0.priv" in said
    assert "ML-DSA" in said
    assert "no mechanism" in said


def test_production_takes_no_keys_from_outside(provisioned, tmp_path):
    folder = tmp_path / "production"
    folder.mkdir()
    (folder / "appliance.toml").write_text('realm = "production"\n')
    with pytest.raises(ConfigError, match="expected an appliance of realm dev"):
        provision_folder(folder, MODULE)


def was(station: Station):
    params = pa_pb2.TokenParams(seed=2, type=1, size=2, diversifier=padded(b"was"))
    return lambda: station.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[params]))


def test_the_server_outlives_the_token_and_finds_it_again(provisioned):
    """One sentence with INTERNAL while it is away, the same answers when it is back; no restart."""
    tokens, hidden = provisioned / "softhsm/tokens", provisioned / "softhsm/hidden"
    appliance = Served(provisioned, environment={"SOFTHSM2_CONF": str(provisioned / "softhsm/softhsm2.conf")})
    station = Station(provisioned, appliance.target)
    try:
        station.log_in()
        ask = was(station)
        expected = ask().tokens[0].token
        tokens.rename(hidden)
        for _ in range(2):
            params = pa_pb2.TokenParams(seed=2, type=1, size=2, diversifier=padded(b"was"))
            code, text = station.refused("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=[params]))
            assert code == "INTERNAL"
            assert "the HSM does not do its work" in text
            assert "Traceback" not in text
        hidden.rename(tokens)
        assert _when_it_answers(station, ask).tokens[0].token == expected
    finally:
        station.close()
        assert appliance.stop() == 0
    assert "the HSM is back" in appliance.log.read_text()
    assert "Traceback" not in appliance.log.read_text()


def _when_it_answers(station: Station, ask):
    import grpc

    end = time.monotonic() + WAIT
    while True:
        try:
            return ask()
        except grpc.RpcError:
            assert time.monotonic() < end, "the token is back and is not used"
            time.sleep(0.2)


# ---- settings -----------------------------------------------------------------------------------------------------


def with_settings(folder: Path, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "appliance.toml").write_text("\n".join(['realm = "dev"', *lines, ""]))
    return folder


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['keystore_kind = "tpm"'], "2: expected software or pkcs11, saw 'tpm'"),
        (['keystore_kind = "pkcs11"'], "2: expected module"),
        (["slot = 0", 'token = "a"'], "2: expected either token or slot"),
        (["slot = -1"], "2: expected a number from 0"),
        (["hsm_sessions = true"], "2: expected a number from 1"),
        (['pin = "fd:x"'], "2: expected a number after fd:"),
        (['passphrase = "credential:../x"'], "2: expected the name of a service credential"),
    ],
)
def test_wrong_settings_are_named_with_their_line(tmp_path, lines, said):
    with pytest.raises(ConfigError) as failed:
        read_settings(with_settings(tmp_path / "a", *lines))
    assert any(f"appliance.toml:{said}" in str(finding) for finding in failed.value.findings)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pkcs11", None)
    folder = with_settings(tmp_path / "a", 'keystore_kind = "pkcs11"', 'module = "/nowhere.so"')
    settings = read_settings(folder)
    said = r"python-pkcs11.*provisioning-station\[hsm\]"
    with pytest.raises(ConfigError, match=said), configured_keystore(settings.keys, settings.realm):
        pass


def test_the_software_keystore_takes_its_passphrase_from_a_credential(made, tmp_path, monkeypatch):
    folder = copy_folder(made, tmp_path / "appliance")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (folder / "keystore.passphrase").rename(credentials / "passphrase")
    with (folder / "appliance.toml").open("a") as file:
        file.write('passphrase = "credential:passphrase"\n')
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    appliance = Served(folder)
    assert appliance.ready, appliance.log.read_text()
    assert appliance.stop() == 0
    assert os.listdir(credentials) == ["passphrase"]
    assert read_secret(read_settings(folder).keys.passphrase, "passphrase")
