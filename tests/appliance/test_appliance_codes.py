"""What the calls answer over mutual TLS, beside the status-code tables (test_appliance_code_table.py)."""

from __future__ import annotations

import pytest
from appliance_bench import (
    Served,
    Station,
    TestPart,
    copy_folder,
    dice_ca_of,
    ecdsa,
    endorse_request,
    endorsed,
    padded,
    root_ca_of,
    was_of,
)

from station.formats import perso_blob
from station.formats.der import parse_certificate
from station.formats.dice import verify_chain
from station.formats.perso_blob import TYPES, CertObject, PersoObject
from station.wire import crypto_cert_pb2, crypto_mldsa_pb2, device_id_pb2, pa_pb2


@pytest.fixture(scope="module")
def odd(tmp_path_factory, made):
    """An appliance whose SKU file was changed by the test; started on demand, stopped at the end."""
    running = []

    def start(change, settings=lambda text: text) -> Station:
        folder = copy_folder(made, tmp_path_factory.mktemp("odd") / "appliance")
        sku = folder / "skus/sku_sival.yml"
        sku.write_text(change(sku.read_text()))
        toml = folder / "appliance.toml"
        toml.write_text(settings(toml.read_text()))
        appliance = Served(folder)
        client = Station(folder, appliance.target)
        running.append((appliance, client))
        return client

    yield start
    for appliance, client in running:
        client.close()
        assert appliance.stop() == 0


# ---- InitSession and the SKU ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sku", ["", "other", "siva", "SIVAL"])
def test_unknown_sku(stranger, sku):
    code, text = stranger.refused("InitSession", pa_pb2.InitSessionRequest(sku=sku, sku_auth="x"))
    assert (code, "unknown sku" in text) == ("NOT_FOUND", True)


@pytest.mark.parametrize("password", ["", "wrong", "x" * 100, "\0"])
def test_wrong_password(stranger, password):
    code, text = stranger.refused("InitSession", pa_pb2.InitSessionRequest(sku="sival", sku_auth=password))
    assert (code, "incorrect sku authentication" in text) == ("UNAUTHENTICATED", True)


@pytest.mark.parametrize("sku", ["sival_absent", "sival/../sival"])
def test_family_sku_without_a_file(stranger, sku):
    from appliance_bench import password_of

    request = pa_pb2.InitSessionRequest(sku=sku, sku_auth=password_of(stranger.folder))
    code, text = stranger.refused("InitSession", request)
    assert (code, "failed to initialize sku" in text) == ("INTERNAL", True)


def test_login_answers_token_and_methods(station):
    answer = station.log_in()
    assert len(answer.sku_session_token) >= 16
    assert answer.sku_session_token.isalnum()
    assert answer.pa_endpoint == ""
    assert set(answer.auth_methods) >= {"DeriveTokens", "RegisterDevice"}


# ---- tokens, CA keys, CA certificates, boot message -------------------------------------------------------------


def test_derive_tokens_order_and_count(station):
    params = [
        pa_pb2.TokenParams(seed=seed, type=kind, size=size, diversifier=padded(text), wrap_seed=seed == 3)
        for seed, kind, size, text in ((2, 1, 2, b"was"), (1, 2, 1, b"test_unlock"), (3, 2, 1, b"rma"))
    ]
    tokens = station.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival", params=params)).tokens
    assert [(len(token.token), len(token.wrapped_seed)) for token in tokens] == [(32, 0), (16, 0), (16, 384)]
    assert not station.call("DeriveTokens", pa_pb2.DeriveTokensRequest(sku="sival")).tokens


def test_ca_subject_keys(station, served):
    labels = ["UDS", "EXT", "UDS_MLDSA", "anything"]
    answer = station.call("GetCaSubjectKeys", pa_pb2.GetCaSubjectKeysRequest(sku="sival", cert_labels=labels))
    assert answer.key_ids[0] == parse_certificate(dice_ca_of(served.folder)).tbs.ski
    assert answer.key_ids[1:] == [bytes(20)] * 3


def test_ca_certificates(station, served):
    answer = station.call("GetCaCerts", pa_pb2.GetCaCertsRequest(sku="sival", cert_labels=["root", "dice"]))
    assert [cert.blob for cert in answer.certs] == [root_ca_of(served.folder), dice_ca_of(served.folder)]


@pytest.mark.parametrize("label", ["ext", "ext_mldsa", "dice_mldsa", "root_mldsa", "UDS", ""])
def test_ca_certificate_that_is_not_there(station, label):
    request = pa_pb2.GetCaCertsRequest(sku="sival", cert_labels=["root", label])
    assert station.refused("GetCaCerts", request)[0] == "NOT_FOUND"


def test_boot_message(station):
    answer = station.call("GetOwnerFwBootMessage", pa_pb2.GetOwnerFwBootMessageRequest(sku="sival"))
    assert answer.boot_message == "ownership: OWND"


# ---- EndorseCerts -----------------------------------------------------------------------------------------------


def test_endorsed_certificate_completes_the_chain(station, served, part):
    uds = endorsed(station, part)
    chain = verify_chain([root_ca_of(served.folder), dice_ca_of(served.folder), uds, part.cdi_0_cert, part.cdi_1_cert])
    assert chain[2].tbs.raw == part.uds_tbs


def test_was_signature_must_fit(station, part):
    was = was_of(station)
    good = endorse_request(was, [(ecdsa("UDS"), part.uds_tbs)])
    wrong = [pa_pb2.EndorseCertsRequest() for _ in range(5)]
    for request in wrong:
        request.CopyFrom(good)
    wrong[0].signature = bytes(32)
    wrong[1].signature = good.signature[:31]
    wrong[2].diversifier = b"was"
    wrong[3].diversifier = b""
    wrong[4].bundles[0].tbs = part.cdi_0_cert
    unswapped = __import__("hmac").digest(was, part.uds_tbs, "sha256")
    wrong.append(
        pa_pb2.EndorseCertsRequest(sku="sival", bundles=good.bundles, diversifier=padded(b"was"), signature=unswapped)
    )
    for request in wrong:
        code, text = station.refused("EndorseCerts", request)
        assert (code, "could not verify WAS signature" in text) == ("INVALID_ARGUMENT", True)
    assert station.call("EndorseCerts", good).certs


def test_was_covers_the_order_of_the_bundles(station, part, served):
    other = TestPart(dice_ca_of(served.folder), 2)
    was = was_of(station)
    request = endorse_request(was, [(ecdsa("UDS"), part.uds_tbs), (ecdsa("UDS"), other.uds_tbs)])
    assert len(station.call("EndorseCerts", request).certs) == 2
    reordered = pa_pb2.EndorseCertsRequest(
        sku="sival", bundles=list(request.bundles)[::-1], diversifier=request.diversifier, signature=request.signature
    )
    assert station.refused("EndorseCerts", reordered)[0] == "INVALID_ARGUMENT"


def test_bundle_refusals(station, part):
    was = was_of(station)
    mldsa = crypto_cert_pb2.SigningKeyParams(key_label="UDS", mldsa_params=crypto_mldsa_pb2.MldsaParams(param_sets=1))
    rows = [
        ([(None, part.uds_tbs)], "INVALID_ARGUMENT"),
        ([(ecdsa("UDS"), part.uds_tbs), (ecdsa("UDS"), b"")], "INVALID_ARGUMENT"),
        ([(ecdsa("TPM EK"), part.uds_tbs)], "INVALID_ARGUMENT"),
        ([(ecdsa("EXT_MLDSA"), part.uds_tbs)], "INVALID_ARGUMENT"),
        ([(ecdsa("UDS_MLDSA"), part.uds_tbs)], "INVALID_ARGUMENT"),
        ([(mldsa, part.uds_tbs)], "INVALID_ARGUMENT"),
        ([(crypto_cert_pb2.SigningKeyParams(key_label="UDS"), part.uds_tbs)], "UNIMPLEMENTED"),
        ([(ecdsa("UDS", 0), part.uds_tbs)], "INTERNAL"),
        ([(ecdsa("UDS", 5), part.uds_tbs)], "INTERNAL"),
        ([(ecdsa("UDS", 2), part.uds_tbs)], "INTERNAL"),  # the TBS names SHA-256
        ([(ecdsa("UDS"), b"no TBS at all")], "INTERNAL"),
        ([(ecdsa("UDS"), part.uds_tbs[:-5])], "INTERNAL"),
    ]
    seen = [(station.refused("EndorseCerts", endorse_request(was, bundles))[0]) for bundles, _ in rows]
    assert seen == [code for _, code in rows]


def test_tbs_of_another_ca_is_not_endorsed(station, made):
    stranger = TestPart(dice_ca_of(made))  # same issuer name, other key
    code, text = station.refused("EndorseCerts", endorse_request(was_of(station), [(ecdsa("UDS"), stranger.uds_tbs)]))
    assert (code, "could not endorse 'UDS' cert" in text) == ("INTERNAL", True)


# ---- RegisterDevice ---------------------------------------------------------------------------------------------


def test_register_again_and_register_otherwise(station, part):
    uds = endorsed(station, part)
    request = part.registration(uds)
    station.call("RegisterDevice", request)
    station.call("RegisterDevice", request)
    request.device_data.metadata.create_time_ms = 77
    station.call("RegisterDevice", request)
    request.device_data.wrapped_rma_unlock_token = b"other"
    _, call = station.stub.RegisterDevice.with_call(
        request, metadata=(("user_id", station.user), ("authorization", station.token)), timeout=30
    )
    assert ("x-station-registration", "conflict") in [tuple(item) for item in call.trailing_metadata()]


def change_blob(objects, version=0):
    return perso_blob.build(objects, version)


def test_register_device_refusals(station, served, part):
    uds = endorsed(station, part)
    other = TestPart(dice_ca_of(served.folder), 9)
    objects = part.objects(uds)
    renamed = [CertObject(TYPES.X509_CERT, "XXX", part.cdi_1_cert) if o is objects[2] else o for o in objects]
    broken = [CertObject(TYPES.X509_CERT, "UDS", b"\x30\x82\x00\x01\x00"), *objects[1:]]
    foreign = [CertObject(TYPES.X509_CERT, "UDS", endorsed(station, other)), *objects[1:]]
    twice = [objects[0], objects[0], objects[1]]
    cwt = [*objects, CertObject(TYPES.CWT_CERT, "UDS", b"cbor")]
    origin = device_id_pb2.HardwareOrigin(silicon_creator_id=2, product_id=3, device_identification_number=1)
    product = device_id_pb2.HardwareOrigin(silicon_creator_id=0x4001, product_id=4, device_identification_number=1)
    good_origin = part.device_data(uds).device_id.hardware_origin
    rows = [
        {"perso_tlv_data": b""},
        {"perso_tlv_data": b"\x00\x0a"},
        {"perso_tlv_data": bytes(65537)},
        {"perso_tlv_data": change_blob(objects)[:-1]},
        {"device_id": None},
        {"device_id": device_id_pb2.DeviceId(sku_specific=bytes(16))},
        {"device_id": device_id_pb2.DeviceId(hardware_origin=origin)},
        {"device_id": device_id_pb2.DeviceId(hardware_origin=product)},
        {"device_id": device_id_pb2.DeviceId(hardware_origin=good_origin, sku_specific=b"123")},
        {"perso_tlv_data": change_blob([objects[0]])},
        {"perso_tlv_data": change_blob(cwt)},
        {"perso_tlv_data": change_blob(renamed)},
        {"perso_tlv_data": change_blob(broken)},
        {"perso_tlv_data": change_blob(foreign)},
        {"perso_tlv_data": change_blob(twice)},
    ]
    for row in rows:
        assert station.refused("RegisterDevice", part.registration(uds, **row))[0] == "INVALID_ARGUMENT", row.keys()
    assert station.refused("RegisterDevice", pa_pb2.RegistrationRequest())[0] == "INVALID_ARGUMENT"


def test_register_device_hash(station, part):
    uds = endorsed(station, part)
    good = part.registration(uds)
    for hash_type, digest in ((0, good.certs_hash), (2, good.certs_hash), (3, bytes(32)), (3, good.certs_hash[::-1])):
        request = pa_pb2.RegistrationRequest(device_data=good.device_data, hash_type=hash_type, certs_hash=digest)
        assert station.refused("RegisterDevice", request)[0] == "INVALID_ARGUMENT"
    seed_changed = [*part.objects(uds)[:3], PersoObject(TYPES.DEV_SEED, bytes(64))]
    changed = part.registration(uds, perso_tlv_data=change_blob(seed_changed))
    code, text = station.refused("RegisterDevice", changed)
    assert (code, "certificate hash mismatch" in text) == ("INVALID_ARGUMENT", True)
    absent_sku_part = part.registration(
        uds, device_id=device_id_pb2.DeviceId(hardware_origin=good.device_data.device_id.hardware_origin)
    )
    station.call("RegisterDevice", absent_sku_part)  # zero SKU-specific bytes are allowed


# ---- SKU files that lack something ------------------------------------------------------------------------------


def test_broken_sku_file(odd):
    client = odd(lambda text: text + "\nunknown: 1\n")
    from appliance_bench import password_of

    request = pa_pb2.InitSessionRequest(sku="sival", sku_auth=password_of(client.folder))
    code, text = client.refused("InitSession", request)
    assert (code, "failed to initialize sku" in text, "unknown key" in text) == ("INTERNAL", True, False)
    log = (client.folder / "serve.log").read_text()
    assert "unknown key 'unknown'" in log
