"""``station pa register``: a registration as a file, and what the appliance makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from appliance_bench import TestPart, dice_ca_of

from station.appliance.device_store import DeviceStore
from station.appliance.selftest.oracle import registry_id
from station.errors import ConfigError
from station.model import Registration
from station.registrations import read_registration, registration_body


@pytest.fixture
def registration(served, was) -> Registration:
    from appliance_bench import Station, endorse_request

    from station.appliance.emulated_device import ecdsa_params
    from station.formats.device_id import DeviceId, HardwareOrigin

    part = TestPart(dice_ca_of(served.folder), 815)
    client = Station(served.folder, served.target, user="makes a registration")
    client.log_in()
    answer = client.call("EndorseCerts", endorse_request(was, [(ecdsa_params("UDS"), part.uds_tbs)]))
    client.close()
    request = part.registration(answer.certs[0].cert.blob)
    return Registration(
        sku="sival", device_id=DeviceId(HardwareOrigin(0x4001, 3, 815)).pack(), life_cycle="PROD",
        wrapped_rma_seed=b"wrapped", perso_tlv=request.device_data.perso_tlv_data, perso_tlv_objects=4,
        perso_fw_sha256=bytes(32), certs_sha256=request.certs_hash,
    )  # fmt: skip


def write(path: Path, registration: Registration, **changes) -> Path:
    body = {**registration_body(registration), **changes}
    path.write_text(json.dumps({name: value for name, value in body.items() if value is not None}))
    return path


def test_register_from_a_file(call, served, here, registration, tmp_path):
    file = write(tmp_path / "device.json", registration, ate_id=None, year=None)
    assert read_registration(file) == registration
    code, out, _ = call("register", file, *here, "--json")
    assert code == 0
    assert json.loads(out) == {
        "event": "pa_registered", "sku": "sival", "device_id": registration.device_id.hex(), "from": str(file)
    }  # fmt: skip
    store = DeviceStore(served.folder / "registry.db")
    assert len(store.find(registry_id(815))) == 1
    store.close()
    assert call("register", file, *here)[:2] == (0, f"registered {registration.device_id.hex()} of sival\n")


def test_a_registration_that_the_appliance_refuses(call, here, registration, tmp_path):
    file = write(tmp_path / "device.json", registration, certs_sha256="00" * 32)
    code, out, err = call("register", file, *here)
    assert (code, out) == (4, "")
    assert "certificate hash mismatch" in err
    assert registration.perso_tlv.hex()[:64] not in err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"devise_id": "00"}, "unknown field 'devise_id' (did you mean 'device_id'?)"),
        ({"perso_tlv": None}, "expected the field 'perso_tlv', saw none"),
        ({"perso_tlv": "xyz"}, "expected hex digits, two for each byte, for 'perso_tlv'"),
        ({"device_id": "00" * 31}, "expected 32 bytes for 'device_id', saw 31"),
        ({"perso_tlv_objects": "4"}, "expected a whole number from 0"),
        ({"perso_tlv_objects": True}, "expected a whole number from 0"),
        ({"week": -1}, "expected a whole number from 0"),
        ({"sku": 1}, "expected a text for 'sku', saw int"),
    ],
)
def test_a_file_that_is_no_registration(registration, tmp_path, changes, words):
    with pytest.raises(ConfigError) as failed:
        read_registration(write(tmp_path / "device.json", registration, **changes))
    assert words in str(failed.value)
    assert str(failed.value).startswith(str(tmp_path / "device.json"))
    assert registration.perso_tlv.hex()[:64] not in str(failed.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff"])
def test_a_file_that_is_no_json_object(call, here, tmp_path, text):
    (tmp_path / "device.json").write_text(text)
    code, _, err = call("register", "device.json", *here)
    assert (code, "expected a registration as JSON object" in err) == (2, True)


def test_a_file_that_is_none_is_said_in_words(call, here, tmp_path):
    code, _, err = call("register", "device.json", *here)
    assert (code, "at device.json: No such file or directory; correct the path" in err) == (2, True)
    (tmp_path / "device.json").write_bytes(bytes(range(128, 256)))
    code, _, err = call("register", "device.json", *here)
    assert (code, "saw no text at all" in err) == (2, True)
    assert "codec" not in err and "Errno" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a FILE or --part NAME"),
        (["x.json", "--part", "D1"], "expected a FILE or --part NAME"),
        (["--part", "D1", "--target", "x:1"], "expected the station's own appliance"),
        (["--part", "D1", "--password-stdin"], "expected the station's own appliance"),
    ],
)
def test_what_is_to_be_registered(call, arguments, words):
    code, _, err = call("register", *arguments)
    assert (code, words in err) == (2, True)
