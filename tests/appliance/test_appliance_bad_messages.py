"""What bad messages get: broken, of another call, too large, too long (rows of bad_bench)."""

from __future__ import annotations

import pytest
from appliance_bench import (
    TestPart,
    dice_ca_of,
    ecdsa,
    endorse_request,
    password_of,
)
from bad_bench import Scene, refused

from station.appliance import limits
from station.wire import pa_pb2

METHODS = (
    "InitSession", "CloseSession", "DeriveTokens", "EndorseCerts", "RegisterDevice", "GetCaCerts", "GetCaSubjectKeys",
    "GetOwnerFwBootMessage", "GetStoredTokens",
)  # fmt: skip


@pytest.mark.parametrize("raw", [b"\xff" * 40, b"\x0a\xff", b"\x0a\x05siv"], ids=["noise", "length", "cut"])
@pytest.mark.parametrize("name", METHODS)
def test_a_wrong_message(scene, name, raw):
    refused(scene, lambda s: s.send_bytes(name, raw), "INTERNAL", 1)


@pytest.mark.parametrize("cut", [1, 7, 40, 300])
def test_a_truncated_message(scene, cut):
    whole = scene.endorsement(scene.part.uds_tbs).SerializeToString()
    refused(scene, lambda s: s.send_bytes("EndorseCerts", whole[:-cut]), "INTERNAL", 1)


def test_a_message_of_another_call(scene):
    login = pa_pb2.DeriveTokensRequest(sku="sival").SerializeToString()
    refused(scene, lambda s: s.send_bytes("RegisterDevice", login), "INTERNAL", 1)
    empty = pa_pb2.RegistrationRequest().SerializeToString()
    refused(scene, lambda s: s.send_bytes("DeriveTokens", empty), "NOT_FOUND", 1)
    refused(scene, lambda s: s.send_bytes("RegisterDevice", empty), "INVALID_ARGUMENT", 1)


def test_a_call_that_does_not_exist(scene):
    refused(scene, lambda s: s.send_bytes("DeriveAllKeys", b""), "UNIMPLEMENTED", 0)


@pytest.mark.parametrize(
    ("size", "code", "lines"),
    [
        (limits.TBS_BYTES + 1, "INVALID_ARGUMENT", 1),
        (limits.MESSAGE_BYTES + 1, "RESOURCE_EXHAUSTED", 1),
        (limits.TRANSPORT_BYTES + 1, "RESOURCE_EXHAUSTED", 0),  # the transport ends it before it is a call
    ],
)
def test_an_oversized_tbs(scene, size, code, lines):
    refused(scene, lambda s: s.send("EndorseCerts", s.endorsement(bytes(size))), code, lines)


def test_ten_thousand_bundles(scene):
    text = refused(scene, lambda s: s.send("EndorseCerts", s.endorsement(*[b"x" * 40] * 10_000)), "INVALID_ARGUMENT", 1)
    assert "saw 10000" in text


def test_the_proof_of_origin_over_reordered_tbs(scene):
    request = scene.endorsement(scene.part.uds_tbs, TestPart(dice_ca_of(scene.folder)).uds_tbs)
    first, second = request.bundles
    first.tbs, second.tbs = second.tbs, first.tbs
    text = refused(scene, lambda s: s.send("EndorseCerts", request), "INVALID_ARGUMENT", 1)
    assert "could not verify WAS signature" in text


def long_requests(text: str, scene: Scene) -> dict[str, tuple[str, object, str]]:
    password = password_of(scene.folder)
    label = endorse_request(scene.was, [(ecdsa(text), scene.part.uds_tbs)])
    return {
        "sku": ("InitSession", pa_pb2.InitSessionRequest(sku=text, sku_auth=password), "NOT_FOUND"),
        "family": ("InitSession", pa_pb2.InitSessionRequest(sku="sival" + text, sku_auth=password), "INTERNAL"),
        "foreign": ("InitSession", pa_pb2.InitSessionRequest(sku="sival" + text, sku_auth="x"), "UNAUTHENTICATED"),
        "call": ("GetOwnerFwBootMessage", pa_pb2.GetOwnerFwBootMessageRequest(sku=text), "NOT_FOUND"),
        "CA": ("GetCaCerts", pa_pb2.GetCaCertsRequest(sku="sival", cert_labels=[text]), "INVALID_ARGUMENT"),
        "key": (
            "GetCaSubjectKeys",
            pa_pb2.GetCaSubjectKeysRequest(sku="sival", cert_labels=[text]),
            "INVALID_ARGUMENT",
        ),
        "TBS": ("EndorseCerts", label, "INVALID_ARGUMENT"),
    }


@pytest.mark.parametrize("text", ["x" * 20_000, "\U0001f512" * 20_000, "\0\n" * 100_000], ids=["x", "wide", "control"])
def test_a_long_text_keeps_its_status_and_is_not_echoed(scene, text):
    for name, request, code in long_requests(text, scene).values():
        told = refused(scene, lambda s, name=name, request=request: s.send(name, request), code, 1)
        assert len(told) <= 1000
        assert told.isascii()
        assert told.isprintable()
    log = (scene.folder / "serve.log").read_text().splitlines()
    assert max(map(len, log)) < 3000  # an audit line with the digests of as many TBS as may be


def test_a_label_that_is_not_too_long_is_looked_up(scene):
    request = pa_pb2.GetCaCertsRequest(sku="sival", cert_labels=["y" * limits.NAME_CHARACTERS])
    assert "unknown certificate label 'yyy" in refused(scene, lambda s: s.send("GetCaCerts", request), "NOT_FOUND", 1)
