"""Sessions: login, token, refusals in the order of the wire contract, close.

Source: opentitan-appliance sheet 1.5 (InitSession) and 2.1 to 2.4; docs/appliance.md, Sessions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from station.appliance.selftest.checks import Check, expect, expect_refusal
from station.appliance.selftest.throwaway import SECOND
from station.appliance.selftest.walk import Walk
from station.appliance.skus import METHODS
from station.wire import pa_pb2

LOST = ("INTERNAL", "user not found")
WRONG_TOKEN = ("NOT_FOUND", "incorrect access token")
CLOSE = pa_pb2.CloseSessionRequest()


def session_checks(walk: Walk) -> Iterator[Check]:
    """All of one SKU."""
    rows = {
        "login answers token, methods and realm": _login,
        "wrong password": _wrong_password,
        "a SKU of the family": _relative,
        "a SKU of the family without a file": _absent_relative,
        "realm of another kind": _realm,
        "a user without a session": _no_session,
        "no token": _no_token,
        "wrong token": _wrong_token,
        "token of another user": _foreign_user,
        "token of another certificate": _foreign_certificate,
        "another SKU that is loaded": _foreign_sku,
        "a SKU that nobody loaded": _unloaded_sku,
        "a second login ends the first session": _second_login,
        "a failed login leaves the session": _failed_login,
        "close, and close again": _close,
        "a closed token is sent again": _replay,
        "a client without user_id": _no_user,
        "stored tokens": _stored_tokens,
    }
    for title, run in rows.items():
        yield Check(f"{walk.sku} session: {title}", partial(run, walk))


def _login(walk: Walk) -> None:
    with walk.visitor() as client:
        answer = walk.log_in(client)
    expect(answer.message.sku_session_token.isalnum(), "a token of letters and digits", "other characters")
    expect(set(answer.message.auth_methods) == set(METHODS), "the methods of sku_auth.yml",
           list(answer.message.auth_methods))  # fmt: skip
    expect(answer.message.pa_endpoint == "", "no endpoint, as upstream", answer.message.pa_endpoint)
    realm = answer.initial.get("x-station-realm", "no realm")
    expect(realm == "dev", "realm dev in the answer", realm)


def _wrong_password(walk: Walk) -> None:
    with walk.visitor() as client:
        request = walk.login(password="not the password")
        expect_refusal(client, "InitSession", request, "UNAUTHENTICATED", "incorrect sku authentication")


def _relative(walk: Walk) -> None:
    with walk.visitor() as client:
        walk.log_in(client, walk.relative)
        request = pa_pb2.GetOwnerFwBootMessageRequest(sku=walk.relative)
        saw = client.call("GetOwnerFwBootMessage", request).boot_message
    expect(saw == walk.template.boot_text, f"the boot text {walk.template.boot_text!r}", repr(saw))


def _absent_relative(walk: Walk) -> None:
    with walk.visitor() as client:
        expect_refusal(client, "InitSession", walk.login(f"{walk.sku}_absent"), "INTERNAL", "failed to initialize sku")


def _realm(walk: Walk) -> None:
    with walk.visitor() as client:
        mark = [("x-station-realm", "production")]
        expect_refusal(client, "InitSession", walk.login(), "FAILED_PRECONDITION", metadata=mark)


def _no_session(walk: Walk) -> None:
    with walk.visitor("nobody") as client:
        for method, request in walk.requests().items():
            expect_refusal(client, method, request, *LOST)


def _no_token(walk: Walk) -> None:
    for method, request in walk.requests().items():
        expect_refusal(walk.client, method, request, "UNAUTHENTICATED", token=None)


def _wrong_token(walk: Walk) -> None:
    token = walk.client.token or ""
    for wrong in ("a" * 16, token[:-1] + ("0" if token[-1] != "0" else "1")):
        for method, request in walk.requests().items():
            expect_refusal(walk.client, method, request, *WRONG_TOKEN, token=wrong)


def _foreign_user(walk: Walk) -> None:
    with walk.visitor("nobody") as client:
        client.token = walk.client.token
        for method, request in walk.requests().items():
            expect_refusal(client, method, request, *LOST)


def _foreign_certificate(walk: Walk) -> None:
    with walk.visitor("main", SECOND) as client:
        client.token = walk.client.token
        for method, request in walk.requests().items():
            expect_refusal(client, method, request, *LOST)


def _foreign_sku(walk: Walk) -> None:
    with walk.visitor("relative") as client:
        walk.log_in(client, walk.relative)
        for method, request in walk.requests().items():
            expect_refusal(client, method, request, "PERMISSION_DENIED", walk.relative)


def _unloaded_sku(walk: Walk) -> None:
    for method, request in walk.requests(f"{walk.sku}_absent").items():
        expect_refusal(walk.client, method, request, "NOT_FOUND", "Try calling InitSession first")


def _second_login(walk: Walk) -> None:
    with walk.visitor("twice", logged_in=True) as client:
        before = client.token
        walk.log_in(client)
        expect(client.token != before, "another token at every login", "the same one")
        client.call("GetOwnerFwBootMessage", walk.requests()["GetOwnerFwBootMessage"])
        expect_refusal(client, "GetOwnerFwBootMessage", walk.requests()["GetOwnerFwBootMessage"], *WRONG_TOKEN,
                       token=before)  # fmt: skip


def _failed_login(walk: Walk) -> None:
    with walk.visitor("fails", logged_in=True) as client:
        request = walk.login(password="not the password")
        expect_refusal(client, "InitSession", request, "UNAUTHENTICATED", token=None)
        client.call("GetOwnerFwBootMessage", walk.requests()["GetOwnerFwBootMessage"])


def _close(walk: Walk) -> None:
    with walk.visitor("closes", logged_in=True) as client:
        for _ in range(2):
            client.call("CloseSession", CLOSE, token=None)
            for method, request in walk.requests().items():
                expect_refusal(client, method, request, *LOST)


def _replay(walk: Walk) -> None:
    with walk.visitor("replays", logged_in=True) as client:
        closed = client.token
        client.call("CloseSession", CLOSE)
        walk.log_in(client)
        for method, request in walk.requests().items():
            expect_refusal(client, method, request, *WRONG_TOKEN, token=closed)


def _no_user(walk: Walk) -> None:
    request = walk.requests()["GetOwnerFwBootMessage"]
    with walk.visitor("", logged_in=True) as one, walk.visitor("", logged_in=True) as other:
        for client in (one, other):
            client.call("GetOwnerFwBootMessage", request)
        one.call("CloseSession", CLOSE, token=None)
        expect_refusal(one, "GetOwnerFwBootMessage", request, *LOST)
        other.call("GetOwnerFwBootMessage", request)


def _stored_tokens(walk: Walk) -> None:
    request = pa_pb2.GetStoredTokensRequest(sku=walk.sku, tokens=["was"])
    expect_refusal(walk.client, "GetStoredTokens", request, "PERMISSION_DENIED")
