"""The production chain: checks in order, locks, SECURED, the token: nordic-tfm sheet 2.8, 4.1, 4.2, 4.4."""

from __future__ import annotations

import hashlib

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from nordic_rig import CERTIFICATE, IMPLEMENTATION_ID

from drivers.virtual.nrf.images import CHALLENGE, PROFILES, provision_data
from drivers.virtual.nrf.silicon import UNPROTECTED

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
CURVE_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
DUMMY_INSTANCE = "01fa58755f658627ce5460f29b75296713248cae7ad9e2984b90280efcbcb50248"
CLAIMS = {
    PROFILES[0]: {
        "nonce": -75008, "instance": -75009, "implementation": -75003, "client": -75001, "lifecycle": -75002,
        "seed": -75004, "certificate": -75005, "service": -75010, "profile": -75000,
    },
    PROFILES[1]: {
        "nonce": 10, "instance": 256, "implementation": 2396, "client": 2394, "lifecycle": 2395, "seed": 2397,
        "certificate": 2398, "service": 2400, "profile": 265,
    },
    PROFILES[2]: {
        "nonce": 10, "instance": 256, "implementation": 2396, "client": 2394, "lifecycle": 2395, "seed": 268,
        "certificate": 2398, "service": 2400, "profile": 265,
    },
}  # fmt: skip


def provisioned(part, **options):
    """The part after the provisioning image, its words open."""
    part.open_words()
    part.start("provisioning_app", **options)
    assert part.said()[-1] == "Success!"
    part.console["app"] = b""
    return part


def produce(part, **options):
    """Production image, pin reset, wait: what was printed."""
    part.flash("tfm_app", **options)
    part.pin_reset()
    part.wait_idle()
    with part.chip.lock:  # the self reset into SECURED starts another boot
        part.chip.changed.wait_for(lambda: part.app.idle, 10)
    return part.lines()


def token_of(lines):
    """Length line, header, rows cut at the first bar."""
    at = next(n for n, line in enumerate(lines) if line.startswith("Received initial attestation token of "))
    size = int(lines[at].split()[-2])
    assert lines[at + 1] == "0  1  2  3  4  5  6  7   8  9  A  B  C  D  E  F"
    rows = lines[at + 2 : at + 2 + -(-size // 16)]
    token = b"".join(bytes.fromhex(row.partition("|")[0]) for row in rows)
    for n, row in enumerate(rows):
        piece = token[16 * n : 16 * n + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        left = f"{piece[:8].hex(' ').upper():23}  {piece[8:].hex(' ').upper():23}"
        assert row == f"{left}  |  {text}"
    return size, token


def opened(token):
    """Protected header, claims, and the bytes that were signed with their signature."""
    message = cbor2.loads(token)
    assert (message.tag, token[:2]) == (18, b"\xd2\x84")
    protected, unprotected, payload, signature = message.value
    assert (cbor2.loads(protected), unprotected, len(signature)) == ({1: -7}, {}, 64)
    return cbor2.loads(payload), cbor2.dumps(["Signature1", protected, b"", payload]), signature


def public_keys(signed, signature):
    """Both keys that could have made this signature (sheet 4.4), by their points."""
    digest = int.from_bytes(hashlib.sha256(signed).digest(), "big")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    y = pow((pow(r, 3, PRIME) - 3 * r + CURVE_B) % PRIME, (PRIME + 1) // 4, PRIME)
    for point in ((r, y), (r, PRIME - y)):
        yield add(multiply(s * pow(r, -1, ORDER) % ORDER, point), multiply(-digest * pow(r, -1, ORDER) % ORDER, BASE))


def add(p, q):
    if p is None or q is None:
        return q if p is None else p
    if p[0] == q[0]:
        if (p[1] + q[1]) % PRIME == 0:
            return None
        slope = (3 * p[0] * p[0] - 3) * pow(2 * p[1], -1, PRIME)
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, PRIME)
    x = (slope * slope - p[0] - q[0]) % PRIME
    return x, (slope * (p[0] - x) - p[1]) % PRIME


def multiply(factor, point):
    result = None
    for bit in bin(factor)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def verify(claims, signed, signature, profile):
    """The key whose instance id the token carries must have signed it."""
    instance = claims[CLAIMS[profile]["instance"]]
    found = [
        (x, y)
        for x, y in public_keys(signed, signature)
        if b"\x01" + hashlib.sha256(b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")).digest() == instance
    ]
    assert len(found) == 1
    key = ec.EllipticCurvePublicNumbers(*found[0], ec.SECP256R1()).public_key()
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    return found[0]


# ---- the good case --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_token(rig, profile):
    part = provisioned(rig("nrf5340"))
    size, token = token_of(produce(part, profile=profile))
    assert size == len(token)
    claims, signed, signature = opened(token)
    names = CLAIMS[profile]
    assert claims[names["nonce"]] == CHALLENGE
    assert len(claims[names["seed"]]) == 32
    assert claims[names["implementation"]] == IMPLEMENTATION_ID
    assert claims[names["client"]] == -1006632960
    assert claims[names["lifecycle"]] == 0x3000
    assert claims[names["certificate"]] == CERTIFICATE
    assert claims[names["service"]] == "verification_url"
    assert claims[names["profile"]] == profile
    if profile == PROFILES[0]:
        assert (claims[-75007], -75006 in claims, size) == (1, False, 360)
    else:
        assert len(claims[2399]) == 1
    verify(claims, signed, signature, profile)


def test_every_chip_becomes_secured_and_resets_itself_once(any_rig):
    part = provisioned(any_rig)
    lines = produce(part)
    assert sum(line.startswith("*** Booting nRF Connect SDK") for line in lines) == 3  # chain, chain, application
    assert sum(line == "I: Starting bootloader" for line in lines) == 2
    assert "Requesting initial attestation token with 64 byte challenge." in lines
    assert [line for line in lines if line.startswith(("FW info", "Active"))] == [
        "FW info S0:", "FW info S1:", "Active slot: S0",
    ]  # fmt: skip
    state = part.state()
    app = state["cores"]["app"]
    assert (state["lc_state"], state["lcs"]) == ("SECURED", [0, 0xFFFF_FFFF])
    assert (app["approtect"], app["secureapprotect"], app["reset_cause"]) == (0, 0, "system")
    assert app["debug_open"] is (part.silicon.name == "nrf9160")  # it closes with its next hard reset
    part.pin_reset()
    assert part.state()["cores"]["app"]["debug_open"] is False
    assert (state["double_burns"], state["second_runs"]) == ([], [])


def test_identity_is_the_part_s_own_and_survives_boots(rig):
    part = provisioned(rig("nrf9160"))
    first = opened(token_of(produce(part))[1])
    part.console["app"] = b""
    part.power(False)
    part.reopen()
    part.power()
    part.wait_idle()
    second = opened(token_of(part.lines())[1])
    assert verify(*first, PROFILES[0]) == verify(*second, PROFILES[0])
    assert first[0][-75004] != second[0][-75004]  # the boot seed
    other = opened(token_of(produce(provisioned(rig("nrf9160"))))[1])
    assert other[0][-75009] != first[0][-75009]


def test_recover_destroys_the_identity(rig):
    part = provisioned(rig("nrf5340"))
    before = opened(token_of(produce(part))[1])[0][-75009]
    part.erase_all()
    provisioned(part)
    assert opened(token_of(produce(part))[1])[0][-75009] != before


def test_certificate_reference_comes_from_otp_when_it_is_there(rig):
    part = provisioned(rig("nrf5340"))
    data = provision_data("4012345678901-54321")
    base = part.silicon.storage - part.silicon.app.uicr + 0x28
    for at in range(0, len(data), 4):
        part.app.uicr.force(base + at, int.from_bytes(data[at : at + 4], "little"))
    assert opened(token_of(produce(part))[1])[0][-75005] == "4012345678901-54321"


def test_dummy_identity_shows_in_the_instance_id(rig):
    part = provisioned(rig("nrf5340"), dummy_identity=True)
    lines = produce(part)
    claims, signed, signature = opened(token_of(lines)[1])
    assert claims[-75009].hex() == DUMMY_INSTANCE
    verify(claims, signed, signature, PROFILES[0])
    assert any("This device was provisioned with dummy keys and is NOT secure." in line for line in lines)


def test_challenge_of_another_size(rig):
    part = provisioned(rig("nrf5340"))
    lines = produce(part, challenge=bytes(range(32)).hex())
    assert "Requesting initial attestation token with 32 byte challenge." in lines
    assert opened(token_of(lines)[1])[0][-75008] == bytes(range(32))


# ---- refusals -------------------------------------------------------------------------------------------------------


def refused(part, **options):
    lines = produce(part, **options)
    assert not any("attestation token" in line for line in lines)
    assert part.state()["cores"]["app"]["state"] == "failed"
    return [line for line in lines if not line.startswith(("***", "Attempting", "Firmware", "I: "))]


@pytest.mark.parametrize(("state", "number"), [("ASSEMBLY", 1), ("DECOMMISSIONED", 4), ("INVALID", 0)])
def test_wrong_life_cycle(rig, state, number):
    part = rig("nrf5340")
    part.open_words()
    part.chip.fault("wrong_state", state)
    part.power()
    assert refused(part) == [f"[ERR] Invalid LCS: {number}"]
    assert part.state()["cores"]["app"]["approtect"] == 0  # a failed first boot is a locked one


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("lcs", "This device has not been provisioned with Hardware Unique Keys."),
        ("huk", "This device has not been provisioned with an Initial Attestation Key."),
    ],
)
def test_missing_keys(any_rig, argument, text):
    part = any_rig
    part.open_words()
    part.chip.fault("half_provisioned", argument)
    part.power()
    assert refused(part) == [f"[ERR] {text}"]
    assert part.state()["lc_state"] == "PROVISIONING"


@pytest.mark.parametrize(
    ("slot", "text"),
    [
        (4, "This device has not been provisioned with Hardware Unique Keys."),
        (7, "This device has not been provisioned with an Initial Attestation Key."),
    ],
)
def test_a_revoked_key_is_no_key(any_rig, slot, text):
    part = provisioned(any_rig)
    part.chip.fault("revoked", str(slot))
    assert part.app.uicr.revoked(slot) and part.app.uicr.value(slot) == bytes(16)
    assert refused(part) == [f"[ERR] {text}"]
    assert part.state()["lc_state"] == "PROVISIONING" and part.state()["double_burns"] == []


def test_a_part_whose_words_are_gone_but_not_its_firmware(any_rig):
    part = provisioned(any_rig)
    part.chip.fault("uicr_erased")
    state = part.state()
    assert (state["lc_state"], state["implementation_id"]) == ("ASSEMBLY", "ff" * 32)
    assert set(state["kmu"].values()) == {0xFFFF_FFFF} and state["erase_alls"] == []
    assert refused(part) == ["[ERR] Invalid LCS: 1"]


@pytest.mark.parametrize("options", [{"approtect_lock": False}, {"secure_approtect_lock": False},
                                     {"approtect_lock": False, "secure_approtect_lock": False}])  # fmt: skip
def test_without_locked_words_it_stops_without_a_word(any_rig, options):
    part = provisioned(any_rig)
    assert refused(part, **options) == []
    assert part.state()["lc_state"] == "PROVISIONING"


def test_words_written_by_the_host_are_as_good(rig):
    part = provisioned(rig("nrf5340"))
    part.burn(part.silicon.app.approtect, 0)
    part.burn(part.silicon.app.secure_approtect, 0)
    size, _ = token_of(produce(part, approtect_lock=False, secure_approtect_lock=False))
    assert size == 360
    assert (part.state()["lc_state"], part.state()["double_burns"]) == ("SECURED", [])


def test_without_lock_options_the_cpu_side_is_locked_all_the_same(rig):
    part = provisioned(rig("nrf5340"))
    produce(part, approtect_lock=False, secure_approtect_lock=False)
    assert part.app.protection.all.locked
    assert part.app.protection.all.cpu_key == UNPROTECTED


@pytest.mark.parametrize(("argument", "lcs"), [("refused", "PROVISIONING"), ("burnt", "SECURED")])
def test_secured_cannot_be_written(rig, argument, lcs):
    part = provisioned(rig("nrf5340"))
    part.chip.fault("transition_failure", argument)
    assert refused(part) == []
    assert part.state()["lc_state"] == lcs


def test_power_cut_in_the_secured_word(rig):
    for phase, lcs in (("before", "PROVISIONING"), ("inside", "INVALID"), ("after", "SECURED")):
        part = provisioned(rig("nrf9160"))
        part.chip.fault(f"power_cut:{phase}:lcs.secure")
        part.flash("tfm_app")
        part.pin_reset()
        part.wait_idle()
        assert (part.state()["lc_state"], part.state()["powered"]) == (lcs, False)


# ---- the network core -----------------------------------------------------------------------------------------------


def test_network_core_is_locked_by_command(rig):
    part = provisioned(rig("nrf5340"))
    part.flash("tfm_net")
    token_of(produce(part, starts_net=True, lock_net=True))
    net = part.state()["cores"]["net"]
    assert (net["approtect"], net["image"]) == (0, "tfm_net")
    assert part.state()["double_burns"] == []


@pytest.mark.parametrize("how", ["fault", "no image", "image without b0n"])
def test_network_core_that_does_not_answer_the_command(rig, how):
    part = provisioned(rig("nrf5340"))
    if how != "no image":
        part.flash("tfm_net", pcd=how == "fault")
    if how == "fault":
        part.chip.fault("pcd_failure")
    assert refused(part, starts_net=True, lock_net=True) == ["[ERR] Failed to lock debug in network core."]
    assert part.state()["cores"]["net"]["approtect"] == UNPROTECTED
    assert part.state()["lc_state"] == "PROVISIONING"


# ---- other builds, other endings ------------------------------------------------------------------------------------


def test_without_provisioning_checks_it_writes_keys_and_says_a_third_success(rig):
    part = rig("nrf9160")
    part.start("tfm_app", nrf_provisioning=False)
    lines = part.lines()
    at = lines.index("Writing random Hardware Unique Keys to the KMU.")
    assert lines[at + 1] == "Success"
    assert lines[-1] == "psa_initial_attest_get_token (err -132)"
    assert part.state()["lc_state"] == "ASSEMBLY"


def test_token_error(rig):
    part = provisioned(rig("nrf9160"))
    part.chip.fault("token_error:-149")
    assert produce(part)[-1] == "psa_initial_attest_get_token (err -149)"


def test_truncated_token(rig):
    part = provisioned(rig("nrf9160"))
    part.chip.fault("truncated_token")
    lines = produce(part)
    at = lines.index("Received initial attestation token of 360 bytes.")
    assert len(lines) - at - 2 < 23
    assert len(lines[-1]) == 20
    assert part.state()["cores"]["app"]["state"] == "hang"


@pytest.mark.parametrize("wrong", ["signature", "payload", "nonce"])
def test_corrupt_token(rig, wrong):
    part = provisioned(rig("nrf9160"))
    part.chip.fault("corrupt_token", wrong)
    claims, signed, signature = opened(token_of(produce(part))[1])
    if wrong == "nonce":
        assert claims[-75008] != CHALLENGE
        verify(claims, signed, signature, PROFILES[0])
    else:
        with pytest.raises(AssertionError):
            verify(claims, signed, signature, PROFILES[0])


@pytest.mark.parametrize(("fault", "ending"), [("panic", "panic"), ("hang", "hang")])
def test_production_image_that_breaks_down(rig, fault, ending):
    part = provisioned(rig("nrf5340"))
    part.chip.fault(fault, "tfm")
    lines = produce(part)
    assert part.state()["cores"]["app"]["state"] == ending
    assert ("<err> os: Halting system" in lines) is (fault == "panic")
    assert part.state()["lc_state"] == "PROVISIONING"
