"""The appliance driver against the embedded appliance, over mutual TLS."""

from __future__ import annotations

import hmac
import logging
import threading
from dataclasses import replace

import pytest
from appliance_bench import TestPart, device_signature, dice_ca_of, padded, root_ca_of
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from station.errors import ApplianceError
from station.formats import perso_blob
from station.formats.device_id import DeviceId, HardwareOrigin
from station.formats.dice import verify_chain
from station.formats.lc_token import lc_hash
from station.model import Registration, TokenRequest
from station.ports import Appliance
from station.secret import Secret

WAS = TokenRequest("WAS", "high", 256, b"was")
UNLOCK = TokenRequest("test unlock", "low", 128, b"test_unlock")
RMA = TokenRequest("RMA", "keygen", 128, b"rma", hashed=True)


def raw(secret: Secret) -> bytes:
    with secret.reveal() as value:
        return value


def registration(folder, appliance, number=1, **changes) -> Registration:
    part = TestPart(dice_ca_of(folder), number)
    (was,) = appliance.derive("sival", [WAS])
    (uds,) = appliance.endorse("sival", [("UDS", part.uds_tbs)], b"was", device_signature(raw(was), part.uds_tbs))
    objects = part.objects(uds)
    fields = {
        "sku": "sival",
        "device_id": DeviceId(HardwareOrigin(0x4001, 3, number)).pack(),
        "life_cycle": "PROD",
        "wrapped_rma_seed": b"sealed",
        "perso_tlv": perso_blob.build(objects, 1),
        "perso_tlv_objects": len(objects) + 1,
        "perso_fw_sha256": bytes(32),
        "certs_sha256": perso_blob.appliance_certs_hash(objects, (), ("UDS", "CDI_0", "CDI_1")),
        "ate_raw": b"\xab\xcd",
    }
    return Registration(**{**fields, **changes})


def test_it_is_the_port(appliance):
    assert isinstance(appliance, Appliance)
    assert appliance.tls is True


def test_tokens(appliance):
    appliance.open_session("sival")
    was, unlock, hashed = appliance.derive(
        "sival", [WAS, UNLOCK, TokenRequest("h", "low", 128, b"test_unlock", hashed=True)]
    )
    assert (len(was), len(unlock), was.label) == (32, 16, "WAS")
    assert raw(hashed) == lc_hash(raw(unlock))
    (padded_by_hand,) = appliance.derive("sival", [TokenRequest("p", "high", 256, padded(b"was"))])
    assert padded_by_hand == was


def test_fresh_token_is_the_hash_of_what_the_wrapped_seed_gives(appliance, folder):
    token, wrapped = appliance.generate("sival", replace(RMA, hashed=False))  # the port never asks for the plain one
    again, other = appliance.generate("sival", RMA)
    key = load_pem_private_key((folder / "offline/rma-key.pem").read_bytes(), None)
    seed = key.decrypt(wrapped.blob, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    assert token == lc_hash(hmac.digest(seed, padded(b"rma"), "sha256")[:16])
    assert token != again
    assert wrapped != other


def test_ca_keys_certificates_boot_message(appliance, folder):
    dice, ext = appliance.ca_subject_keys("sival", ["UDS", "EXT"])
    assert (len(dice), ext) == (20, bytes(20))
    assert appliance.ca_certificates("sival", ["root", "dice"]) == [root_ca_of(folder), dice_ca_of(folder)]
    assert appliance.owner_boot_message("sival") == "ownership: OWND"


def test_endorse_and_register(appliance, folder):
    request = registration(folder, appliance)
    appliance.register(request)
    appliance.register(request)
    blob = perso_blob.parse(request.perso_tlv)
    certs = [cert.body for cert in blob.certs(perso_blob.TYPES.X509_CERT)]
    verify_chain([root_ca_of(folder), dice_ca_of(folder), *certs])


def test_what_is_registered(served, appliance, folder):
    from station.appliance.device_store import DeviceStore
    from station.wire.registry_record_pb2 import DeviceData, RegistryRecord

    origin = HardwareOrigin(0x4001, 3, 0x77, 5)
    device_id = DeviceId(origin, bytes(range(16)))
    request = registration(
        folder,
        appliance,
        device_id=device_id.pack(),
        year=6,
        week=9,
        lot=77,
        wafer=3,
        x=11,
        y=12,
        life_cycle="PROD_END",
    )
    appliance.register(request)
    store = DeviceStore(folder / "registry.db")
    (kept,) = store.find(device_id.registry_hex)
    store.close()
    data = DeviceData.FromString(RegistryRecord.FromString(kept.record).data)
    assert data.device_life_cycle == 6
    assert data.device_id.sku_specific == bytes(range(16))
    assert data.device_id.hardware_origin.cp_reserved == 0
    meta = data.metadata
    assert (meta.year, meta.week, meta.lot_num, meta.wafer_id, meta.x, meta.y) == (6, 9, 77, 3, 11, 12)
    assert (meta.ate_raw, meta.ate_id, meta.registration_state) == ("ABCD", "station-1", 1)
    assert meta.create_time_ms == meta.update_time_ms > 1_600_000_000_000
    assert data.num_perso_tlv_objects == 5


def test_refusals_are_sentences(appliance, folder):
    with pytest.raises(ApplianceError) as failed:
        appliance.ca_certificates("sival", ["ext"])
    assert failed.value.code == "NOT_FOUND"
    assert failed.value.exit_code == 4
    request = registration(folder, appliance, certs_sha256=bytes(32))
    with pytest.raises(ApplianceError, match="certificate hash mismatch") as failed:
        appliance.register(request)
    assert failed.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "ask",
    [
        lambda a: a.derive("sival", [RMA]),
        lambda a: a.derive("sival", [TokenRequest("x", "low", 128, b"")]),
        lambda a: a.derive("sival", [TokenRequest("x", "low", 128, b"x" * 49)]),
        lambda a: a.derive("sival", [TokenRequest("x", "middle", 128, b"x")]),
        lambda a: a.derive("sival", [TokenRequest("x", "low", 64, b"x")]),
    ],
)
def test_requests_that_are_never_sent(appliance, ask):
    with pytest.raises(ApplianceError) as failed:
        ask(appliance)
    assert failed.value.code == "INVALID_ARGUMENT"
    assert appliance.milliseconds() is None


def test_life_cycle_and_device_id_of_a_registration(appliance, folder):
    for changes in ({"life_cycle": "RMA"}, {"device_id": b"short"}):
        with pytest.raises(ApplianceError, match="expected"):
            appliance.register(registration(folder, appliance, **changes))


def test_round_trip_time(appliance):
    assert appliance.milliseconds() is None
    appliance.owner_boot_message("sival")
    assert 0 < appliance.milliseconds() < 10_000


def test_wrong_password_and_unknown_sku(served, folder, connect):
    wrong = Secret(b"wrong-password", "SKU password")
    with pytest.raises(ApplianceError, match="password was not accepted") as failed:
        connect(folder, sku_password=wrong).open_session("sival")
    assert (failed.value.code, "wrong-password" in str(failed.value)) == ("UNAUTHENTICATED", False)
    with pytest.raises(ApplianceError, match="does not know the SKU") as failed:
        connect(folder).open_session("saval")
    assert failed.value.code == "NOT_FOUND"
    by_sku = connect(folder, sku_password={"sival": wrong})
    with pytest.raises(ApplianceError, match="none is stored"):
        by_sku.open_session("other")


def test_a_session_lost_at_the_appliance_is_opened_again(fresh, connect):
    first = fresh()
    appliance = connect(first.folder)
    (before,) = appliance.derive("sival", [UNLOCK])
    first.stop()
    fresh()  # another port: the address is read again
    (after,) = appliance.derive("sival", [UNLOCK])
    assert before == after


def test_a_session_taken_over_is_opened_again(served, folder, connect, caplog):
    one, two = connect(folder), connect(folder)
    one.open_session("sival")
    two.open_session("sival")  # same user: the token of the first is gone
    with caplog.at_level(logging.INFO):
        token, _ = one.generate("sival", RMA)
    assert len(token) == 16
    assert "logging in again" in caplog.text
    two.close_session()
    assert one.owner_boot_message("sival")


def test_many_threads_share_one_appliance(appliance):
    answers, errors = [], []

    def work():
        try:
            for _ in range(5):
                appliance.open_session("sival")
                answers.append(raw(appliance.derive("sival", [UNLOCK])[0]))
                appliance.close_session()
        except ApplianceError as error:  # counted below
            errors.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(answers)) == 1
    assert errors == []


def test_close_session_never_raises(fresh, connect):
    first = fresh()
    appliance = connect(first.folder, deadline=3)
    appliance.open_session("sival")
    first.kill()
    appliance.close_session()
    appliance.close_session()


def test_several_addresses_with_a_name(served, folder, connect):
    port = served.ready["port"]
    target = f"ipv4:127.0.0.1:{port},127.0.0.1:{port}"
    appliance = connect(folder, endpoint=None, target=target, target_name="localhost")
    assert appliance.owner_boot_message("sival")
    assert appliance.diagnose("sival") == []


def test_no_secret_in_log_or_repr(served, folder, connect, caplog):
    from appliance_bench import password_of

    appliance = connect(folder)
    with caplog.at_level(logging.DEBUG):
        appliance.open_session("sival")
        (was,) = appliance.derive("sival", [WAS])
        appliance.generate("sival", RMA)
        appliance.diagnose("sival")
    session = raw(appliance._sessions["sival"]).decode()
    shown = caplog.text + repr(appliance) + repr(vars(appliance)) + repr(appliance._settings)
    assert "DeriveTokens OK" in caplog.text
    for text in (password_of(folder), session, raw(was).hex()):
        assert text not in shown
