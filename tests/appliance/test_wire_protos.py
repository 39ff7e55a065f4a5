"""The generated modules are those of the proto files, and both carry the numbers of the wire contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from appliance_bench import padded

from station.wire import crypto_common_pb2, device_id_pb2, pa_pb2, registry_record_pb2

ROOT = Path(__file__).resolve().parents[2]


def test_generated_modules_match_the_proto_files(tmp_path):
    script = ROOT / "resources/proto/generate.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, cwd=tmp_path, timeout=60)
    made = {path.name: path.read_bytes() for path in (tmp_path / "station/wire").iterdir()}
    kept = {path.name: path.read_bytes() for path in (ROOT / "station/wire").iterdir() if path.is_file()}
    kept.pop("__init__.py")
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == []


def test_reference_request_bytes():
    request = pa_pb2.InitSessionRequest(sku="sival", sku_auth="test_password")
    assert request.SerializeToString().hex() == "0a05736976616c120d746573745f70617373776f7264"


def test_reference_derive_request_length():
    params = [
        pa_pb2.TokenParams(seed=seed, type=kind, size=size, diversifier=padded(text))
        for seed, kind, size, text in ((2, 1, 2, b"was"), (1, 2, 1, b"test_unlock"), (1, 2, 1, b"test_exit"))
    ]
    assert len(pa_pb2.DeriveTokensRequest(sku="sival", params=params).SerializeToString()) == 181


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (pa_pb2.InitSessionResponse, "sku_session_token pa_endpoint auth_methods"),
        (pa_pb2.EndorseCertBundle, "key_params tbs"),
        (pa_pb2.EndorseCertsRequest, "sku bundles diversifier signature"),
        (pa_pb2.CertBundle, "key_label cert"),
        (pa_pb2.TokenParams, "seed type size diversifier wrap_seed"),
        (pa_pb2.Token, "token wrapped_seed"),
        (pa_pb2.RegistrationRequest, "device_data hash_type certs_hash"),
        (device_id_pb2.HardwareOrigin, "silicon_creator_id product_id device_identification_number cp_reserved"),
        (device_id_pb2.DeviceId, "hardware_origin sku_specific"),
        (
            registry_record_pb2.DeviceData,
            "sku device_id device_life_cycle metadata wrapped_rma_unlock_token perso_tlv_data perso_fw_sha256_hash "
            "num_perso_tlv_objects",
        ),
        (
            registry_record_pb2.Metadata,
            "registration_state create_time_ms update_time_ms ate_id ate_raw year week lot_num wafer_id x y",
        ),
        (registry_record_pb2.RegistryRecord, "device_id sku version data auth_pubkey auth_signature"),
    ],
)
def test_field_numbers(message, fields):
    assert {field.name: field.number for field in message.DESCRIPTOR.fields} == {
        name: number for number, name in enumerate(fields.split(), 1)
    }


def test_full_names_and_gaps():
    service = pa_pb2.DESCRIPTOR.services_by_name["ProvisioningApplianceService"]
    assert service.full_name == "pa.ProvisioningApplianceService"
    assert len(service.methods) == 9
    assert pa_pb2.RegistrationRequest.DESCRIPTOR.fields_by_name["device_data"].message_type.full_name == "ot.DeviceData"
    assert sorted(crypto_common_pb2.HashType.values()) == [0, 2, 3, 4, 5]
    assert (
        device_id_pb2.HardwareOrigin(device_identification_number=1).SerializeToString().hex() == "19" + "01" + "00" * 7
    )
