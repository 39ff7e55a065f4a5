"""The appliance driver against a server that answers oddly, slowly or not at all."""

from __future__ import annotations

import threading
import time

import grpc
import pytest
from appliance_fakes import OddAppliance, plain_server, refuse, settings_of

from drivers.appliance_grpc import client, open_appliance
from station.errors import ApplianceError, ConfigError
from station.formats.journal_anchor import JournalAnchor
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
    # the reference reads no token at CloseSession; ours ends with it the session at every instance
    assert [meta.get("authorization") for _, _, meta in odd.seen] == [None, "T" * 16, "T" * 16]
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


FLEET = {"target": "", "load_balancing": "round_robin"}


@pytest.fixture
def fleet(odd, monkeypatch):
    """A client that takes the server for one of several."""
    monkeypatch.setattr(client, "FLEET_PAUSES", (0.01, 0.01, 0.01))
    appliance = open_appliance({**PLAIN, **FLEET, "target": odd.appliance._settings.target, "deadline": 5})
    yield appliance
    appliance.close()


def answers(*told):
    """One after the other, the last one for ever."""
    left = list(told)

    def answer(request, context):
        now = left.pop(0) if len(left) > 1 else left[0]
        return now(request, context) if callable(now) else now

    return answer


def test_a_fleet_is_asked_again_when_an_instance_does_not_answer(odd, fleet, caplog):
    odd.answers["InitSession"] = answers(refuse("UNAVAILABLE", "gone"), odd.answers["InitSession"])
    odd.answers["DeriveTokens"] = answers(refuse("UNAVAILABLE", "gone"), refuse("UNAVAILABLE", "gone"), GOOD_TOKEN)
    token, wrapped = fleet.generate("sival", RMA)
    assert (token, wrapped.blob) == (b"t" * 16, b"w")
    assert odd.names() == ["InitSession"] * 2 + ["DeriveTokens"] * 3
    assert caplog.text.count("DeriveTokens was not answered by one instance") == 2, "it is not done silently"


def test_a_fleet_that_does_not_answer_at_all(odd, fleet):
    odd.answers["DeriveTokens"] = refuse("UNAVAILABLE", "gone")
    with pytest.raises(ApplianceError) as failed:
        fleet.generate("sival", RMA)
    assert failed.value.code == "UNAVAILABLE" and "not asked for again" not in str(failed.value)
    assert odd.names().count("DeriveTokens") == 4


def test_an_instance_that_ends_lets_go_of_a_call(odd, fleet):
    odd.answers["DeriveTokens"] = answers(refuse("CANCELLED", "the server ends"), GOOD_TOKEN)
    assert len(fleet.derive("sival", [UNLOCK])) == 1


@pytest.mark.parametrize("code", ["DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED"])
def test_what_a_fleet_has_answered_is_not_asked_again(odd, fleet, code):
    odd.answers["DeriveTokens"] = refuse(code, "no")
    assert code_of(lambda: fleet.derive("sival", [UNLOCK])) == code
    assert odd.names().count("DeriveTokens") == 1


def test_cancelling_ends_the_pause_of_a_fleet(odd, fleet, monkeypatch):
    monkeypatch.setattr(client, "FLEET_PAUSES", (60.0,))
    fleet.open_session("sival")
    odd.answers["DeriveTokens"] = refuse("UNAVAILABLE", "gone")
    caught = []
    thread = threading.Thread(target=lambda: caught.append(code_of(lambda: fleet.derive("sival", [UNLOCK]))))
    thread.start()
    while "DeriveTokens" not in odd.names():
        time.sleep(0.005)
    time.sleep(0.05)  # into the pause, or just before it: both must end
    fleet.cancel()
    thread.join(10)
    assert caught == ["CANCELLED"]


class OneJournal:
    """A station's journal of five rows."""

    station = "bench-1"

    def __init__(self, tells: bool = True) -> None:
        self._head = JournalAnchor(5, "ab" * 32, 50) if tells else None

    def anchor(self) -> JournalAnchor | None:
        return self._head

    def holds(self, anchor: JournalAnchor) -> bool:
        return anchor.length <= 5 and anchor.head == "ab" * 32


def telling(anchor: str | None):
    def log_in(request, context):
        if anchor is not None:
            context.set_trailing_metadata((("x-station-anchor", anchor),))
        return pa_pb2.InitSessionResponse(sku_session_token="T" * 16)

    return log_in


def test_the_journal_is_told_and_checked_at_every_login(odd):
    odd.answers["CloseSession"] = pa_pb2.CloseSessionResponse()
    settings = {**PLAIN, "target": odd.appliance._settings.target}
    for journal, sent in ((OneJournal(), f"5:{'ab' * 32}:50"), (OneJournal(tells=False), None), (None, None)):
        appliance = open_appliance({**settings, "journal": journal})
        for anchor in (None, f"5:{'ab' * 32}:50", f"3:{'ab' * 32}:1"):
            odd.answers["InitSession"] = telling(anchor)
            appliance.open_session("sival")
        metadata = odd.seen[-1][2]
        assert (metadata.get("x-station-journal"), metadata.get("x-station-journal-head")) == (
            journal.station if journal else None, sent,
        )  # fmt: skip
        appliance.close()


def test_a_journal_that_lacks_what_the_appliance_keeps(odd):
    odd.answers["InitSession"] = telling(f"9:{'ab' * 32}:90")
    odd.answers["CloseSession"] = pa_pb2.CloseSessionResponse()
    appliance = open_appliance({**PLAIN, "target": odd.appliance._settings.target, "journal": OneJournal()})
    with pytest.raises(ApplianceError, match="keeps row 9 of this station's journal") as failed:
        appliance.open_session("sival")
    assert failed.value.code == "FAILED_PRECONDITION"
    assert code_of(lambda: appliance.derive("sival", [UNLOCK])) == "FAILED_PRECONDITION"
    (found,) = appliance.diagnose("sival")
    assert found.kind == "journal" and "--accept" in str(found)
    odd.answers["InitSession"] = telling("nonsense")
    assert code_of(lambda: appliance.open_session("sival")) == "DATA_LOSS"
    assert "DeriveTokens" not in odd.names()
    appliance.close()


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


@pytest.mark.parametrize("moment", ["before its channel", "before it is in the list"])
def test_a_cancel_while_a_call_begins_ends_that_call(odd, moment, monkeypatch):
    odd.answers["DeriveTokens"] = odd.wait
    calls = odd.appliance._calls
    odd.appliance.open_session("sival")
    real = calls._current_stub

    class Stub:
        """Cancels as soon as the call has begun, and before anybody can know of it."""

        def DeriveTokens(self):
            raise AssertionError

        DeriveTokens.future = lambda *call, **terms: (real().DeriveTokens.future(*call, **terms), calls.cancel())[0]

    def stub():
        if moment == "before its channel":
            calls.cancel()
            return real()
        return Stub

    monkeypatch.setattr(calls, "_current_stub", stub)
    assert code_of(lambda: odd.appliance.derive("sival", [UNLOCK])) == "CANCELLED"


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
        ({"load_balancing": "random"}, "pick_first or round_robin"),
        ({"journal": "bench-1"}, "expected 'journal' from the station"),
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
