"""Session tokens and seats without a server: what a token is bound to, when it ends, what is remembered."""

from __future__ import annotations

import pytest
from access_bench import Clock
from hypothesis import given
from hypothesis import strategies as st

from station.appliance import session_tokens, sessions
from station.appliance.keystore import KeyMaterial, SoftwareKeystore
from station.appliance.refusal import Refusal
from station.appliance.session_tokens import Holder, SessionTokens, fleet_key
from station.appliance.sessions import Seat, Sessions
from station.model import Realm
from station.secret import Secret

ME = Holder("f" * 64, "user")
KEY = Secret(b"k" * 32, "key")


@pytest.fixture
def clock():
    return Clock()


def text_of(token: Secret) -> str:
    with token.reveal() as raw:
        return raw.decode()


def issued(clock, holder=ME, sku="sival", key=KEY) -> str:
    return text_of(SessionTokens(key, 60, clock).issue(sku, holder)[0])


def test_a_token_is_good_at_every_instance_with_the_key(clock):
    claims = SessionTokens(KEY, 5, clock).read(issued(clock), ME)
    assert (claims.sku, claims.expires) == ("sival", int(clock.now) + 60)
    assert SessionTokens(Secret(b"x" * 32, "key"), 5, clock).read(issued(clock), ME) is None


@pytest.mark.parametrize("other", [Holder("e" * 64, "user"), Holder("f" * 64, ""), Holder("f" * 63, "fuser")])
def test_a_token_is_worthless_to_another_holder(clock, other):
    assert SessionTokens(KEY, 60, clock).read(issued(clock), other) is None


def test_a_token_expires(clock):
    tokens, token = SessionTokens(KEY, 60, clock), issued(clock)
    clock.now += 59.9
    assert tokens.read(token, ME)
    clock.now += 0.1
    assert tokens.read(token, ME) is None


def test_a_changed_token_is_no_token(clock):
    tokens, token = SessionTokens(KEY, 60, clock), issued(clock)
    for at in range(0, len(token), 2):
        changed = token[:at] + f"{int(token[at : at + 2], 16) ^ 1:02x}" + token[at + 2 :]
        assert tokens.read(changed, ME) is None
        assert tokens.read(token[:at], ME) is None


@given(st.text(max_size=600))
def test_no_text_is_a_token(text):
    assert SessionTokens(KEY, 60).read(text, ME) is None


def test_tokens_use_letters_and_digits_and_differ(clock):
    tokens = {issued(clock) for _ in range(50)}
    assert len(tokens) == 50
    assert all(token.isalnum() and token.isascii() for token in tokens)


def test_fleet_key_comes_from_the_keystore():
    def keystore(**secret):
        return SoftwareKeystore(Realm.DEV, KeyMaterial({k.replace("_", "-"): v for k, v in secret.items()}, {}, {}))

    seeds = {"eg_kdf_hisec_v0": b"h" * 32, "eg_kdf_losec_v0": b"l" * 32}
    assert fleet_key(keystore(**seeds)) == fleet_key(keystore(**seeds))
    own = fleet_key(keystore(**seeds, station_session_v0=b"s" * 32))
    assert own != fleet_key(keystore(**seeds))
    assert own == fleet_key(keystore(station_session_v0=b"s" * 32))
    assert fleet_key(keystore()) != fleet_key(keystore())  # of this process only


# ---- seats ------------------------------------------------------------------------------------------------------


def code_of(find, *arguments) -> str:
    with pytest.raises(Refusal) as refused:
        find(*arguments)
    return refused.value.code


def test_two_connections_of_one_certificate_do_not_end_one_another(clock):
    nobody = Holder("f" * 64, "")
    one, two = Seat(nobody, "ipv4:192.0.2.1:1"), Seat(nobody, "ipv4:192.0.2.1:2")
    kept = Sessions(SessionTokens(KEY, 60, clock))
    tokens = [text_of(kept.open(seat, "sival")) for seat in (one, two)]
    assert [kept.find(seat, token).sku for seat, token in zip((one, two), tokens, strict=True)] == ["sival"] * 2
    kept.close(one, None)
    assert code_of(kept.find, one, tokens[0]) == "INTERNAL"
    assert code_of(kept.find, two, tokens[0]) == "NOT_FOUND"  # closed, not only forgotten
    assert kept.find(two, tokens[1]).sku == "sival"


def test_a_connection_that_broke_keeps_its_session(clock):
    nobody = Holder("f" * 64, "")
    kept = Sessions(SessionTokens(KEY, 60, clock))
    token = text_of(kept.open(Seat(nobody, "ipv4:192.0.2.1:1"), "sival"))
    again = Seat(nobody, "ipv4:192.0.2.1:7")
    assert kept.find(again, token).sku == "sival"
    kept.close(again, None)
    assert code_of(kept.find, again, token) == "INTERNAL"


def test_closing_by_token_from_another_connection(clock):
    nobody = Holder("f" * 64, "")
    seat = Seat(nobody, "ipv4:192.0.2.1:1")
    kept = Sessions(SessionTokens(KEY, 60, clock))
    token = text_of(kept.open(seat, "sival"))
    kept.close(Seat(nobody, "ipv4:192.0.2.1:2"), token)
    assert code_of(kept.find, seat, token) == "NOT_FOUND"
    assert code_of(kept.find, seat, None) == "UNAUTHENTICATED"


def test_closed_sessions_are_kept_and_come_back(clock):
    ended = []
    seat = Seat(ME, "")
    kept = Sessions(SessionTokens(KEY, 60, clock), (), lambda session, expires: ended.append((session, expires)))
    first = text_of(kept.open(seat, "sival"))
    second = text_of(kept.open(seat, "sival"))
    kept.close(seat, second)
    assert len(ended) == 2
    restarted = Sessions(SessionTokens(KEY, 60, clock), ended)
    assert [code_of(restarted.find, seat, token) for token in (first, second)] == ["INTERNAL"] * 2


def test_memory_is_bounded_and_what_expired_is_forgotten(clock, monkeypatch):
    kept = Sessions(SessionTokens(KEY, 60, clock))
    for number in range(50):
        kept.open(Seat(Holder("f", str(number)), ""), "sival")
    for number in range(25):
        kept.close(Seat(Holder("f", str(number)), ""), None)
    assert (len(kept._seats), len(kept._closed)) == (25, 25)
    clock.now += 61
    kept.open(Seat(ME, ""), "sival")
    assert (len(kept._seats), len(kept._closed)) == (1, 0)
    monkeypatch.setattr(sessions, "MOST", 10)
    for number in range(50):
        kept.open(Seat(Holder("f", str(number)), ""), "sival")
    assert len(kept._seats) == 10


def test_the_label_is_out_of_reach_of_clients():
    from station.appliance.limits import require_size
    from station.wire import pa_pb2

    params = [pa_pb2.TokenParams(seed=2, type=1, size=2, diversifier=session_tokens.LABEL)]
    assert code_of(require_size, pa_pb2.DeriveTokensRequest(sku="sival", params=params)) == "INVALID_ARGUMENT"


def test_a_session_that_another_process_closed(clock):
    closed: set[bytes] = set()
    asked = []

    def elsewhere(session: bytes) -> bool:
        asked.append(session)
        return session in closed

    tokens = SessionTokens(KEY, 60, clock)
    here = Sessions(tokens, closed_elsewhere=elsewhere)
    seat = Seat(ME, "")
    token = text_of(here.open(seat, "sival"))
    claims = here.find(seat, token)
    assert asked == [claims.id]
    closed.add(claims.id)
    with pytest.raises(Refusal) as refused:
        here.find(seat, token)
    assert refused.value.code == "NOT_FOUND"
    stranger = Sessions(tokens, closed_elsewhere=elsewhere)  # never saw the session itself
    with pytest.raises(Refusal) as refused:
        stranger.find(seat, token)
    assert refused.value.code == "INTERNAL"


def test_nobody_is_asked_about_a_token_that_is_none(clock):
    def elsewhere(session: bytes) -> bool:
        raise AssertionError("asked")

    sessions = Sessions(SessionTokens(KEY, 60, clock), closed_elsewhere=elsewhere)
    for token in (None, "A" * 16, issued(clock, key=Secret(b"x" * 32, "key"))):
        with pytest.raises(Refusal):
            sessions.find(Seat(ME, ""), token)
