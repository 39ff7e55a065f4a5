"""The appliance driver against a server that answers oddly, slowly or not at all."""

from __future__ import annotations

import threading
import time

import grpc
import pytest
from appliance_fakes import OddAppliance, plain_server, refuse, settings_of

from drivers.appliance_grpc import open_appliance
from station.errors import ApplianceError, ConfigError
from station.model import TokenRequest
from station.secret import Secret
from station.wire import crypto_cert_pb2, pa_pb2

PASSWORD = Secret(b"pass-word", "SKU password")
UNLOCK = TokenRequest("unlock", "low", 128, b"u")
RMA = TokenRequest("rma", "keygen", 128, b"rma", hashed=True)
PLAIN = {"tls": "off", "sku_password": PASSWORD, "user_id": "st-1", "unmarked_realm": "dev", "realm": "dev"}
GOOD_TOKEN = pa_pb2.DeriveTokensResponse(tokens=[pa_pb2.Token(token=b"t" * 16, wrapped_seed=b"w")])


@pytest.fixture
def odd():
    servicer = OddAppliance()
    with plain_server(servicer) as target:
        servicer.appliance = open_appliance({**PLAIN, "target": target, "deadline": 5})
        yield servicer
        servicer.appliance.close()


def code_of(ask) -> str:
    with pytest.raises(ApplianceError) as failed:
        ask()
    return failed.value.code


def test_without_tls_it_says_so(odd):
    odd.answers["GetOwnerFwBootMessage"] = pa_pb2.GetOwnerFwBootMessageResponse(boot_message="x")
    assert odd.appliance.tls is False
    assert odd.appliance.owner_boot_message("sival") == "x"


def test_metadata_on_every_call(odd):
    odd.answers["DeriveTokens"] = GOOD_TOKEN
    odd.answers["CloseSession"] = pa_pb2.CloseSessionResponse()
    odd.appliance.derive("sival", [UNLOCK])
    odd.appliance.close_session()
    assert odd.names() == ["InitSession", "DeriveTokens", "CloseSession"]
    assert all(meta["user_id"] == "st-1.sival" for _, _, meta in odd.seen)
    assert [meta.get("authorization") for _, _, meta in odd.seen] == [None, "T" * 16, None]
    request = odd.seen[1][1]
    assert request.params[0].diversifier == b"u" + bytes(47)
    assert not request.params[0].wrap_seed


def test_short_key_ids_are_padded_and_long_ones_refused(odd):
    odd.answers["GetCaSubjectKeys"] = pa_pb2.GetCaSubjectKeysResponse(key_ids=[b"k" * 20, bytes(10), b""])
    assert odd.appliance.ca_subject_keys("sival", ["UDS", "EXT", "X"]) == [b"k" * 20, bytes(20), bytes(20)]
    odd.answers["GetCaSubjectKeys"] = pa_pb2.GetCaSubjectKeysResponse(key_ids=[bytes(21)])
    assert code_of(lambda: odd.appliance.ca_subject_keys("sival", ["UDS"])) == "DATA_LOSS"


def test_wrong_answers_are_not_used(odd):
    tokens = pa_pb2.DeriveTokensResponse
    cert = pa_pb2.CertBundle(key_label="UDS", cert=crypto_cert_pb2.Certificate(blob=b"another"))
    wrong = [
        ("DeriveTokens", tokens(), lambda a: a.derive("sival", [UNLOCK])),
        ("DeriveTokens", tokens(tokens=[pa_pb2.Token(token=b"short")]), lambda a: a.derive("sival", [UNLOCK])),
        ("DeriveTokens", tokens(tokens=[pa_pb2.Token(token=b"t" * 16)]), lambda a: a.generate("sival", RMA)),
        ("GetCaCerts", pa_pb2.GetCaCertsResponse(), lambda a: a.ca_certificates("sival", ["root"])),
        ("EndorseCerts", pa_pb2.EndorseCertsResponse(), lambda a: a.endorse("sival", [("UDS", b"tbs")], b"w", b"s")),
        (
            "EndorseCerts",
            pa_pb2.EndorseCertsResponse(certs=[cert]),
            lambda a: a.endorse("sival", [("UDS", b"tbs")], b"w", b"s"),
        ),
    ]
    for call, answer, ask in wrong:
        odd.answers[call] = answer
        assert code_of(lambda ask=ask: ask(odd.appliance)) == "DATA_LOSS"
    odd.answers["InitSession"] = pa_pb2.InitSessionResponse()
    assert code_of(lambda: odd.appliance.open_session("sival")) == "DATA_LOSS"


LOST = [
    ("INTERNAL", "user not found"),
    ("NOT_FOUND", "incorrect access token"),
    ("NOT_FOUND", "unable to find sku. Try calling InitSession first"),
]


@pytest.mark.parametrize(("code", "text"), LOST)
def test_lost_session_means_one_login_and_one_more_try(odd, code, text):
    odd.answers["DeriveTokens"] = refuse(code, text)
    with pytest.raises(ApplianceError):
        odd.appliance.generate("sival", RMA)
    assert odd.names() == ["InitSession", "DeriveTokens", "InitSession", "DeriveTokens"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("INTERNAL", "something else"),
        ("NOT_FOUND", "no such certificate"),
        ("UNAVAILABLE", "user not found"),
        ("UNKNOWN", "incorrect access token"),
        ("UNAUTHENTICATED", "user not found"),
        ("PERMISSION_DENIED", "Try calling InitSession first"),
    ],
)
def test_other_failures_are_not_repeated(odd, code, text):
    odd.answers["DeriveTokens"] = refuse(code, text)
    assert code_of(lambda: odd.appliance.derive("sival", [UNLOCK])) == code
    assert odd.names() == ["InitSession", "DeriveTokens"]


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN"])
def test_a_fresh_token_is_not_asked_for_twice_after_an_ambiguous_failure(odd, code):
    odd.answers["DeriveTokens"] = refuse(code, "gone")
    with pytest.raises(ApplianceError, match="fresh token was not asked for again") as failed:
        odd.appliance.generate("sival", RMA)
    assert failed.value.code == code
    assert odd.names().count("DeriveTokens") == 1
    with pytest.raises(ApplianceError) as derived:
        odd.appliance.derive("sival", [UNLOCK])
    assert "fresh token" not in str(derived.value)


def test_deadline(odd):
    odd.answers["DeriveTokens"] = odd.wait
    quick = open_appliance({**PLAIN, "target": odd.appliance._settings.target, "deadline": 0.3})
    started = time.monotonic()
    assert code_of(lambda: quick.derive("sival", [UNLOCK])) == "DEADLINE_EXCEEDED"
    assert time.monotonic() - started < 4
    quick.close()


def test_cancel_from_another_thread(odd):
    odd.answers["DeriveTokens"] = odd.wait
    odd.appliance.open_session("sival")
    caught = []
    thread = threading.Thread(target=lambda: caught.append(code_of(lambda: odd.appliance.generate("sival", RMA))))
    thread.start()
    while "DeriveTokens" not in odd.names():
        time.sleep(0.005)
    odd.appliance.cancel()
    thread.join(5)
    assert caught == ["CANCELLED"]
    odd.answers["DeriveTokens"] = GOOD_TOKEN
    assert len(odd.appliance.derive("sival", [UNLOCK])) == 1  # a cancel is not remembered


def test_the_server_cannot_make_us_show_the_password(odd):
    odd.answers["InitSession"] = refuse("UNAUTHENTICATED", "you said pass-word, line\ntwo " + "x" * 1000)
    with pytest.raises(ApplianceError) as failed:
        odd.appliance.open_session("sival")
    assert "pass-word" not in str(failed.value)
    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 500
    odd.answers["InitSession"] = pa_pb2.InitSessionResponse(sku_session_token="T" * 16)
    odd.answers["DeriveTokens"] = refuse("INVALID_ARGUMENT", f"token {'T' * 16} and pass-word")
    with pytest.raises(ApplianceError) as failed:
        odd.appliance.derive("sival", [UNLOCK])
    assert "T" * 16 not in str(failed.value)
    assert "pass-word" not in str(failed.value)


@pytest.mark.parametrize(
    ("mark", "settings", "fits"),
    [
        ("dev", {"realm": "dev"}, True),
        ("production", {"realm": "dev"}, False),
        ("dev", {"realm": "production"}, False),
        (None, {"realm": "dev", "unmarked_realm": "dev"}, True),
        (None, {"realm": "dev", "unmarked_realm": "production"}, False),
        (None, {"realm": "production", "unmarked_realm": "production"}, True),
        ("nonsense", {"realm": "dev"}, False),
    ],
)
def test_realm_of_the_appliance(odd, mark, settings, fits):
    def log_in(request, context: grpc.ServicerContext):
        if mark:
            context.send_initial_metadata((("x-station-realm", mark),))
        return pa_pb2.InitSessionResponse(sku_session_token="T" * 16)

    odd.answers["InitSession"] = log_in
    appliance = open_appliance({**PLAIN, **settings, "target": odd.appliance._settings.target})
    if fits:
        appliance.open_session("sival")
    else:
        assert code_of(lambda: appliance.open_session("sival")) == "FAILED_PRECONDITION"
        assert [found.kind for found in appliance.diagnose("sival")] == ["realm"]
    appliance.close()


def test_doctor_without_tls(odd):
    odd.answers["CloseSession"] = pa_pb2.CloseSessionResponse()
    assert odd.appliance.diagnose("sival") == []
    assert odd.seen[0][2]["user_id"] == "st-1.sival.doctor"
    odd.answers["InitSession"] = refuse("UNAUTHENTICATED", "no")
    assert [found.kind for found in odd.appliance.diagnose("sival")] == ["password"]
    odd.answers["InitSession"] = refuse("INTERNAL", "failed to initialize sku")
    assert [found.kind for found in odd.appliance.diagnose("sival")] == ["sku_broken"]
    odd.answers["InitSession"] = refuse("UNKNOWN", "address")
    assert [found.kind for found in odd.appliance.diagnose("sival")] == ["client_address"]
    odd.answers["InitSession"] = refuse("RESOURCE_EXHAUSTED", "busy")
    assert [found.kind for found in odd.appliance.diagnose("sival")] == ["refused"]


# ---- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tragte": "x"}, "did you mean 'target'?"),
        ({"target": "h:1"}, "either 'target'"),
        ({"endpoint": None}, "either 'target'"),
        ({"endpoint": None, "target": "ipv4:localhost:5001,localhost:5002"}, "numeric addresses"),
        ({"tls": "on"}, "expected tls ="),
        ({"tls": ""}, ""),
        ({"ca": None}, "PEM files for ca"),
        ({"sku_password": "plain"}, "as a Secret"),
        ({"sku_password": None}, "as a Secret"),
        ({"sku_password": {"sival": "plain"}}, "as a Secret"),
        ({"user_id": "two words"}, "printable ASCII"),
        ({"realm": "prod"}, "dev or production"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": True}, "deadline"),
        ({"certificate": 3}, "expected a text"),
    ],
)
def test_settings_are_checked_before_anything_is_opened(folder, changes, words):
    if not words:
        assert open_appliance(settings_of(folder, **changes)).tls
        return
    with pytest.raises(ConfigError) as failed:
        open_appliance(settings_of(folder, **changes))
    assert words in str(failed.value)
    assert "plain" not in str(failed.value)


def test_tls_is_off_only_when_said(folder):
    settings = settings_of(folder, ca=None, certificate=None, key=None)
    with pytest.raises(ConfigError):
        open_appliance(settings)
    assert open_appliance({**settings, "tls": "off"}).tls is False
