"""The self-test finds what is wrong: a served appliance is sabotaged in one thing, and exactly its checks must fail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import grpc
import pytest
from access_bench import inner

from station.appliance import (
    device_data,
    endorse,
    keystore,
    limits,
    service,
    service_auth,
    service_tls,
    session_tokens,
    sessions,
    spm,
    tokens,
)
from station.appliance.hpke_layer import HpkeLayer
from station.appliance.keystore import SoftwareKeystore
from station.appliance.refusal import Refusal
from station.appliance.selftest.access_checks import access_checks
from station.appliance.selftest.ca_checks import ca_checks
from station.appliance.selftest.checks import Report
from station.appliance.selftest.endorse_checks import endorse_checks
from station.appliance.selftest.registration_checks import registration_checks
from station.appliance.selftest.session_checks import session_checks
from station.appliance.selftest.throwaway import make
from station.appliance.selftest.tls_checks import tls_checks
from station.appliance.selftest.token_checks import token_checks
from station.appliance.selftest.walk import Walk
from station.appliance.sku_templates import chosen
from station.appliance.stations import Station

GROUPS = {
    "access": access_checks,
    "session": session_checks,
    "tokens": token_checks,
    "ca": ca_checks,
    "endorse": endorse_checks,
    "registration": registration_checks,
}
_number = iter(range(1, 1000))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One throwaway for all sabotage, which is in the process only."""
    return make(tmp_path_factory.mktemp("selftest") / "appliance", chosen(["pi01", "sival_pqc"]))


def outcome(place, sku: str, *groups: str) -> dict[str, str]:
    """Every check of these groups and the sentence of what is wrong."""
    lines: list[str] = []
    for path in place.folder.glob("counters.db*"):  # the work order of one device begins again
        path.unlink()
    with inner(place.folder, time.time) as served:
        walk = Walk(place, chosen([sku])[0], served.target, 1_000_000 * next(_number))
        for group in groups:
            Report(lines.append, as_json=True).run(GROUPS[group](walk))
        walk.close()
    return {line["name"]: line.get("sentence", "") for line in map(json.loads, lines)}


def failed(found: dict[str, str]) -> list[str]:
    return [name for name, sentence in found.items() if sentence]


# ---- how the appliance is sabotaged ------------------------------------------------------------------------------


def exchanged_seeds(patch):
    true = SoftwareKeystore.hmac_sha256
    other = {"eg-kdf-hisec-v0": "eg-kdf-losec-v0", "eg-kdf-losec-v0": "eg-kdf-hisec-v0"}
    patch.setattr(SoftwareKeystore, "hmac_sha256", lambda self, label, m: true(self, other.get(label, label), m))


def unhashed(patch):
    patch.setattr(tokens, "lc_hash", lambda token: token)


def wrong_wrapped_seed(patch):
    true = SoftwareKeystore._wrap
    patch.setattr(SoftwareKeystore, "_wrap", lambda self, seed, wrapping: true(self, bytes(32), wrapping))


def no_second_layer(patch):
    patch.setattr(HpkeLayer, "seal", lambda self, wrapped: wrapped)


def seed_that_is_not_fresh(patch):
    patch.setattr(keystore.secrets, "token_bytes", lambda size: b"7" * size)


def stripped_diversifiers(patch):
    true = SoftwareKeystore.hmac_sha256
    patch.setattr(
        SoftwareKeystore, "hmac_sha256", lambda self, label, message: true(self, label, message.rstrip(b"\0"))
    )


def other_status(code, wanted):
    """Refusals of one status are answered with another one."""

    def sabotage(patch):
        true = service_auth.abort

        def abort(context, refusal):
            true(context, Refusal(wanted, str(refusal)) if refusal.code == code else refusal)

        patch.setattr(service_auth, "abort", abort)

    return sabotage


def ten_zero_bytes(patch):
    patch.setattr(spm, "KEY_ID_BYTES", 10)


def exchanged_cas(patch):
    patch.setattr(spm, "CA_LABELS", {**spm.CA_LABELS, "dice": spm.EXT_CA, "ext": spm.DICE_CA})


def another_boot_text(patch):
    true = spm.Spm.boot_message

    def boot_message(self, request):
        answer = true(self, request)
        answer.boot_message += "!"
        return answer

    patch.setattr(spm.Spm, "boot_message", boot_message)


def spoilt_signature(patch):
    true = endorse._endorsed

    def endorsed(keystore, signer, bundle):
        der = true(keystore, signer, bundle)
        return der[:-1] + bytes((der[-1] ^ 1,))

    patch.setattr(endorse, "_endorsed", endorsed)
    unverified_chain(patch)


def unverified_chain(patch):
    patch.setattr(endorse, "_check_chain", lambda chain, now, label: None)


def unproven_origin(patch):
    patch.setattr(endorse, "_was_matches", lambda *_: True)


def one_ca_for_all(patch):
    true = endorse._signer
    dice = "pi01-ica-dice-key-p256-v0.priv"
    patch.setattr(endorse, "_signer", lambda sku, bundle: replace(true(sku, bundle), key=dice))
    unverified_chain(patch)


def labels_in_small(patch):
    true = spm.Spm.endorse_certs

    def endorse_certs(self, request):
        answer = true(self, request)
        for cert in answer.certs:
            cert.key_label = cert.key_label.lower()
        return answer

    patch.setattr(spm.Spm, "endorse_certs", endorse_certs)


def unchecked_hash(patch):
    patch.setattr(device_data, "_check_hash", lambda sku, blob, request: None)


def unverified_certificates(patch):
    patch.setattr(device_data, "verify", lambda chain, now: None)
    any_hash_order(patch)


def any_hash_order(patch):
    """A second line of defence, which would find certificates of other names."""
    patch.setattr(device_data, "_check_hashed", lambda certs, order: None)


def uncounted_certificates(patch):
    def counted(sku, blob):
        return {item.name: item.body for item in blob.certs(device_data.perso_blob.TYPES.X509_CERT)}

    patch.setattr(device_data, "_counted", counted)
    any_hash_order(patch)


def untold_conflict(patch):
    patch.setattr(service.Outcome, "CONFLICT", service.Outcome.NEW)


def session_of_everybody(patch):
    true = session_tokens.SessionTokens._mac
    nobody = session_tokens.Holder("", "")
    patch.setattr(session_tokens.SessionTokens, "_mac", lambda self, head, holder: true(self, head, nobody))


def session_of_every_sku(patch):
    patch.setattr(service_auth.Gate, "_require_own_sku", lambda self, sku, request: None)


def session_that_never_ends(patch):
    patch.setattr(sessions.Sessions, "_end", lambda self, claims: None)


def any_password(patch):
    patch.setattr(spm.Spm, "_password_fits", lambda self, auth, password: True)


def stored_tokens_allowed(patch):
    true = spm.Spm.methods
    patch.setattr(spm.Spm, "methods", lambda self, sku: (*true(self, sku), "GetStoredTokens"))


def no_size_limit(patch):
    patch.setattr(service_auth, "require_size", lambda request: None)


def own_diversifiers_for_all(patch):
    patch.setattr(limits, "_require_free_diversifiers", lambda request: None)


def anybody_connects(patch):
    true = grpc.dynamic_ssl_server_credentials

    def lax(*arguments, **named):
        named["require_client_authentication"] = False
        return true(*arguments[:2], **named)

    patch.setattr(service_tls.grpc, "dynamic_ssl_server_credentials", lax)


def any_address(patch):
    patch.setattr(service_auth, "check_endpoint", lambda context: None)


def any_seed(patch):
    patch.setattr(Station, "require_seeds", lambda self, seeds: None)


def any_method(patch):
    patch.setattr(Station, "require_method", lambda self, method: None)


@dataclass(frozen=True)
class Row:
    """What is sabotaged, with which SKU and checks it shows, and parts of the names of all checks that must fail.

    ``alone`` is False for what takes much else with it.
    """

    sabotage: Callable
    sku: str
    group: str
    fails: tuple[str, ...]
    alone: bool = True


ROWS = [
    Row(exchanged_seeds, "pi01", "tokens", ("tokens: high seed", "tokens: low seed", "many in their order")),
    Row(unhashed, "pi01", "tokens", (", hashed,", "many in their order")),
    Row(wrong_wrapped_seed, "pi01", "tokens", ("recovered from the wrapped seed",)),
    Row(no_second_layer, "sival_pqc", "tokens", ("recovered from the wrapped seed",)),
    Row(seed_that_is_not_fresh, "pi01", "tokens", ("fresh seeds differ",)),
    Row(stripped_diversifiers, "pi01", "tokens",
        ("tokens: high seed", "tokens: low seed", "many in their order", "a padded diversifier")),
    Row(other_status("INTERNAL", "UNKNOWN"), "pi01", "tokens", ("empty diversifier", "seed wrapped")),
    Row(own_diversifiers_for_all, "pi01", "tokens", ("the appliance's own diversifier",)),
    Row(ten_zero_bytes, "pi01", "ca", ("20 zero bytes", "all in their order")),
    Row(exchanged_cas, "pi01", "ca", ("CA certificate: dice", "CA certificate: ext")),
    Row(another_boot_text, "pi01", "ca", ("boot text",)),
    Row(spoilt_signature, "pi01", "endorse", (
        "certificate: UDS", "certificate: CEK", "all of a device", "own chain", "ECDSA with", "below another CA",
    )),
    Row(spoilt_signature, "sival_pqc", "endorse", (
        "certificate: UDS", "all of a device", "own chain", "ECDSA with", "below another CA",
    )),
    Row(unverified_chain, "pi01", "endorse", ("below another CA",)),
    Row(unproven_origin, "pi01", "endorse",
        ("TBS in another order", "one bit of", "31 bytes", "no proof", "diversifier", "a TBS left out")),
    Row(one_ca_for_all, "pi01", "endorse", ("certificate: CEK", "all of a device", "below another CA")),
    Row(labels_in_small, "pi01", "endorse",
        ("certificate: UDS", "certificate: CEK", "all of a device", "own chain")),
    Row(no_size_limit, "pi01", "endorse", ("a TBS that is too large", "too many bundles")),
    Row(other_status("UNIMPLEMENTED", "INTERNAL"), "pi01", "endorse", ("neither ECDSA nor ML-DSA",)),
    Row(unchecked_hash, "pi01", "registration", ("hash", "a CWT that the hash")),
    Row(unverified_certificates, "pi01", "registration", ("of another device", "unknown name", "place of a cert",
                                                          "cannot be read")),
    Row(uncounted_certificates, "pi01", "registration", ("CEK_0 missing", "CEK_1 missing", "CWT missing",
                                                        "one CWT too many", "one certificate twice")),
    Row(session_of_everybody, "pi01", "session", ("token of another user", "token of another certificate")),
    Row(session_of_every_sku, "pi01", "session", ("another SKU that is loaded",)),
    Row(session_that_never_ends, "pi01", "session", ("second login", "close", "closed token", "without user_id")),
    Row(any_password, "pi01", "session", ("wrong password", "a failed login")),
    Row(stored_tokens_allowed, "pi01", "session", ("stored tokens",)),
    Row(other_status("NOT_FOUND", "INTERNAL"), "pi01", "session",
        ("wrong token", "nobody loaded", "second login", "closed token")),
    Row(other_status("FAILED_PRECONDITION", "INTERNAL"), "pi01", "session", ("realm of another kind",)),
    Row(anybody_connects, "pi01", "access", ("without a certificate",), alone=False),
    Row(any_address, "pi01", "access", ("another address",)),
    Row(any_seed, "pi01", "access", ("asks for a fresh seed", "asks for the high seed")),
    Row(any_method, "pi01", "access", ("asks for certificates and a registration",)),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(ROWS)), ids=lambda index: f"{ROWS[index].sabotage.__name__}-{index}")
def test_sabotage_is_found_and_nothing_else(place, monkeypatch, index):
    row = ROWS[index]
    row.sabotage(monkeypatch)
    found = outcome(place, row.sku, row.group)
    wanted = [name for name in found if any(part in name for part in row.fails)]
    missed, surplus = sorted({*wanted} - {*failed(found)}), sorted({*failed(found)} - {*wanted})
    assert (missed, surplus if row.alone else []) == ([], [])
    for part in row.fails:
        assert any(part in name for name in wanted), part


def test_a_server_that_was_not_told_its_tls_version(place):
    """Nobody told this process before gRPC was loaded, as ``appliance serve`` does."""
    lines: list[str] = []
    with inner(place.folder, time.time) as served:
        Report(lines.append, as_json=True).run(tls_checks(place, served.target))
    found = {line["name"]: line.get("sentence", "") for line in map(json.loads, lines)}
    assert found == {
        "TLS 1.3 is spoken": "",
        "access refused: TLS 1.2": "expected no handshake below TLS 1.3, saw TLSv1.2",
    }


@pytest.mark.parametrize("sku", ["pi01", "sival_pqc"])
def test_an_appliance_as_it_should_be_passes(place, sku):
    found = outcome(place, sku, *GROUPS)
    assert failed(found) == []
    assert len(found) > 100
