"""DeriveTokens: every seed, form and size against the formulas; wrapped seeds opened with the offline keys; refusals.

Source: opentitan-appliance sheet 1.5, 3.3 and 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

from station.appliance.selftest.checks import Check, expect, expect_bytes, expect_refusal
from station.appliance.selftest.oracle import HPKE_BYTES, RSA_BYTES
from station.appliance.selftest.walk import Walk
from station.wire import pa_pb2

SEEDS = {
    "high": pa_pb2.TOKEN_SEED_HIGH_SECURITY,
    "low": pa_pb2.TOKEN_SEED_LOW_SECURITY,
    "fresh": pa_pb2.TOKEN_SEED_KEYGEN,
}
FORMS = {False: pa_pb2.TOKEN_TYPE_RAW, True: pa_pb2.TOKEN_TYPE_HASHED_OT_LC_TOKEN}
SIZES = {128: pa_pb2.TOKEN_SIZE_128_BITS, 256: pa_pb2.TOKEN_SIZE_256_BITS}
BARE = b"test_unlock"
PADDED = BARE.ljust(48, b"\0")
GOOD: Mapping[str, Any] = {"seed": SEEDS["low"], "type": FORMS[False], "size": SIZES[128], "diversifier": PADDED}
REFUSALS: tuple[tuple[str, Mapping[str, Any], str, str], ...] = (
    ("seed unspecified", {"seed": 0}, "INVALID_ARGUMENT", ""),
    ("seed unknown", {"seed": 9}, "INVALID_ARGUMENT", ""),
    ("size unspecified", {"size": 0}, "INVALID_ARGUMENT", ""),
    ("size unknown", {"size": 9}, "INVALID_ARGUMENT", ""),
    ("type unspecified", {"type": 0}, "INVALID_ARGUMENT", ""),
    ("type unknown", {"type": 9}, "INVALID_ARGUMENT", ""),
    ("empty diversifier", {"diversifier": b""}, "INTERNAL", "could not generate symmetric key"),
    ("high seed wrapped", {"seed": SEEDS["high"], "wrap_seed": True}, "INTERNAL", "could not generate symmetric key"),
    ("low seed wrapped", {"wrap_seed": True}, "INTERNAL", "could not generate symmetric key"),
    ("the appliance's own diversifier", {"diversifier": b"station/session-tokens/1"}, "INVALID_ARGUMENT", ""),
)
"""Title, what is changed in a good request, status, words."""


def token_checks(walk: Walk) -> Iterator[Check]:
    """All of one SKU."""
    for seed, hashed, bits in product(("high", "low"), FORMS, SIZES):
        title = f"{seed} seed, {_form(hashed)}, {bits} bits"
        yield Check(f"{walk.sku} tokens: {title}", partial(_derived, walk, seed, hashed, bits))
    for hashed, bits in product(FORMS, SIZES):
        title = f"fresh seed, {_form(hashed)}, {bits} bits, recovered from the wrapped seed"
        yield Check(f"{walk.sku} tokens: {title}", partial(_recovered, walk, hashed, bits))
    rows = {
        "fresh seeds differ, and go unwrapped when not asked for": _fresh,
        "a padded diversifier is another one": _padded,
        "many in their order": _in_order,
        "none asked for, none answered": _none,
    }
    for title, run in rows.items():
        yield Check(f"{walk.sku} tokens: {title}", partial(run, walk))
    for title, change, code, words in REFUSALS:
        yield Check(f"{walk.sku} tokens refused: {title}", partial(_refused, walk, change, code, words))


def _derived(walk: Walk, seed: str, hashed: bool, bits: int) -> None:
    for diversifier in (PADDED, BARE):
        (token,) = _derive(walk, _params(seed, hashed, bits, diversifier))
        expect_bytes("a token", walk.place.oracle.token(seed, diversifier, bits, hashed), token.token)
        expect_bytes("a wrapped seed", b"", token.wrapped_seed)


def _recovered(walk: Walk, hashed: bool, bits: int) -> None:
    layered = walk.template.second_layer
    (token,) = _derive(walk, _params("fresh", hashed, bits, PADDED, wrap_seed=True))
    wanted = HPKE_BYTES if layered else RSA_BYTES
    expect(len(token.wrapped_seed) == wanted, f"a wrapped seed of {wanted} bytes", f"{len(token.wrapped_seed)} bytes")
    recovered = walk.place.oracle.recovered_token(token.wrapped_seed, layered, PADDED, bits, hashed)
    expect_bytes("the token of the wrapped seed", recovered, token.token)


def _fresh(walk: Walk) -> None:
    params = _params("fresh", False, 256, PADDED)
    tokens = [*_derive(walk, params, params), *_derive(walk, params)]
    expect(len({token.token for token in tokens}) == 3, "three different tokens of fresh seeds", "one twice")
    for token in tokens:
        expect_bytes("a wrapped seed that was not asked for", b"", token.wrapped_seed)


def _padded(walk: Walk) -> None:
    bare, padded = _derive(walk, _params("low", False, 128, BARE), _params("low", False, 128, PADDED))
    expect(bare.token != padded.token, "two tokens for two diversifiers", "one token")


def _in_order(walk: Walk) -> None:
    cases = [
        (seed, hashed, bits, word.ljust(48, b"\0"))
        for word in (b"was", b"test_unlock", b"test_exit", b"rma")
        for seed, hashed, bits in product(("high", "low"), FORMS, SIZES)
    ]
    tokens = _derive(walk, *(_params(*case) for case in cases))
    for (seed, hashed, bits, diversifier), token in zip(cases, tokens, strict=True):
        expect_bytes("each token", walk.place.oracle.token(seed, diversifier, bits, hashed), token.token)


def _none(walk: Walk) -> None:
    expect(_derive(walk) == [], "no token", "some")


def _refused(walk: Walk, change: Mapping[str, Any], code: str, words: str) -> None:
    params = [pa_pb2.TokenParams(**GOOD), pa_pb2.TokenParams(**{**GOOD, **change})]
    request = pa_pb2.DeriveTokensRequest(sku=walk.sku, params=params)
    expect_refusal(walk.client, "DeriveTokens", request, code, words)


def _params(seed: str, hashed: bool, bits: int, diversifier: bytes, wrap_seed: bool = False) -> pa_pb2.TokenParams:
    return pa_pb2.TokenParams(
        seed=SEEDS[seed], type=FORMS[hashed], size=SIZES[bits], diversifier=diversifier, wrap_seed=wrap_seed
    )


def _derive(walk: Walk, *params: pa_pb2.TokenParams) -> list[pa_pb2.Token]:
    request = pa_pb2.DeriveTokensRequest(sku=walk.sku, params=params)
    tokens = list(walk.client.call("DeriveTokens", request).tokens)
    expect(len(tokens) == len(params), f"{len(params)} tokens", f"{len(tokens)}")
    return tokens


def _form(hashed: bool) -> str:
    return "hashed" if hashed else "raw"
