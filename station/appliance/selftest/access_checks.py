"""Who gets in at all, and who may do what: TLS, certificates, stations, roles, quota. Once, with one SKU.

Source: opentitan-appliance sheet 2.4 and 2.5; docs/appliance.md, Who may do what.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from station.appliance.emulated_device import WAS_DIVERSIFIER
from station.appliance.selftest.checks import Check, expect, expect_refusal
from station.appliance.selftest.oracle import published_hashes_hold
from station.appliance.selftest.throwaway import QUOTA
from station.appliance.selftest.token_checks import FORMS, SEEDS, SIZES
from station.appliance.selftest.walk import Walk
from station.wire import pa_pb2

NO_CONNECTION = {
    "without a certificate": "none",
    "with a certificate of another CA": "foreign",
    "with an expired certificate": "expired",
}
REFUSED_ROLES = {
    "CP asks for a fresh seed": ("cp", "fresh"),
    "FT asks for the high seed": ("ft", "high"),
    "RMA asks for the low seed": ("rma", "low"),
}


def access_checks(walk: Walk) -> Iterator[Check]:
    """All of them."""
    yield Check("the self-test's own token hash gives the published values", _own_hash)
    yield Check("health says serving", partial(_health, walk))
    for title, station in NO_CONNECTION.items():
        yield Check(f"access refused: {title}", partial(_no_connection, walk, station))
    rows = {
        "access refused: a certificate of another address": partial(_login_refused, walk, "elsewhere", "UNKNOWN"),
        "access refused: a certificate of no station": partial(_login_refused, walk, "unknown", "PERMISSION_DENIED"),
        "access refused: a SKU that nobody has": partial(_unknown_sku, walk),
        "access: CP derives from the high and the low seed": partial(_may_derive, walk, "cp", ("high", "low")),
        "access: FT derives from the low and a fresh seed": partial(_may_derive, walk, "ft", ("low", "fresh")),
        "access refused: CP asks for certificates and a registration": partial(_no_methods, walk, "cp"),
        "access refused: RMA asks for certificates and a registration": partial(_no_methods, walk, "rma"),
        "access refused: one device more than the work order has": partial(_quota, walk),
    }
    for title, run in rows.items():
        yield Check(title, run)
    for title, (station, seed) in REFUSED_ROLES.items():
        yield Check(f"access refused: {title}", partial(_may_not_derive, walk, station, seed))


def _own_hash() -> None:
    expect(published_hashes_hold(), "the published hashes", "others: this installation cannot judge tokens")


def _health(walk: Walk) -> None:
    saw = walk.client.health()
    expect(saw == "SERVING", "SERVING", saw)


def _no_connection(walk: Walk, station: str) -> None:
    with walk.visitor(station=station) as client:
        expect_refusal(client, "InitSession", walk.login(), "UNAVAILABLE")


def _login_refused(walk: Walk, station: str, code: str) -> None:
    with walk.visitor(station=station) as client:
        expect_refusal(client, "InitSession", walk.login(), code)


def _unknown_sku(walk: Walk) -> None:
    with walk.visitor() as client:
        for sku in ("", "nobody_has_it", walk.sku[:-1], walk.sku.upper()):
            expect_refusal(client, "InitSession", walk.login(sku), "NOT_FOUND", "unknown sku")


def _may_derive(walk: Walk, station: str, seeds: tuple[str, ...]) -> None:
    with walk.visitor(station=station, logged_in=True) as client:
        request = _derive_request(walk, *seeds)
        saw = len(client.call("DeriveTokens", request).tokens)
        expect(saw == len(seeds), f"{len(seeds)} tokens", saw)


def _may_not_derive(walk: Walk, station: str, seed: str) -> None:
    with walk.visitor(station=station, logged_in=True) as client:
        expect_refusal(client, "DeriveTokens", _derive_request(walk, seed), "PERMISSION_DENIED", "may not")


def _no_methods(walk: Walk, station: str) -> None:
    with walk.visitor(station=station, logged_in=True) as client:
        for method in ("EndorseCerts", "RegisterDevice"):
            expect_refusal(client, method, walk.requests()[method], "PERMISSION_DENIED", "may not")


def _quota(walk: Walk) -> None:
    first, second = (walk.endorse_request([walk.device().bundles()[0]]) for _ in range(2))
    with walk.visitor(station=QUOTA, logged_in=True) as client:
        for _ in range(2):  # the same device twice costs one
            client.call("EndorseCerts", first)
        expect_refusal(client, "EndorseCerts", second, "PERMISSION_DENIED", "has used 1 of its 1")


def _derive_request(walk: Walk, *seeds: str) -> pa_pb2.DeriveTokensRequest:
    params = [
        pa_pb2.TokenParams(seed=SEEDS[seed], type=FORMS[True], size=SIZES[128], diversifier=WAS_DIVERSIFIER)
        for seed in seeds
    ]
    return pa_pb2.DeriveTokensRequest(sku=walk.sku, params=params)
