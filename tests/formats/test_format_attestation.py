"""Golden token: sdk-nrf:samples/tfm/tfm_psa_template/README.rst, "Sample output on nRF5340 DK" (a real part's)."""

import re
from pathlib import Path

import cbor2
import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st
from token_help import BOOT_SEED, COMPONENTS, DUMMY_KEY, KEY, LABELS, claims, dump, instance_id, point, sign

from station.errors import FormatError
from station.formats import attestation, token_dump
from station.formats.attestation import Expected
from station.formats.p256 import PublicKey

CONSOLE = (Path(__file__).resolve().parents[1] / "vectors/nordic/psa_template_console.txt").read_text().splitlines()
GOLDEN = token_dump.read(CONSOLE)
GOLDEN_KEY = (
    "0402d6236949c3082f2e9b8951c04ae3d8961ec0f5e1d699be5a036c7dad97d1ba"
    "5db8d5f5b9844aeb1d70cfdbdd432c960697bbccb26311a06e4ad6a4eef7e6c3"
)


def test_the_token_of_the_sheet():
    token = attestation.parse(GOLDEN)
    assert len(GOLDEN) == 360 and GOLDEN[:2] == b"\xd2\x84"
    assert token.profile.name == "PSA_IOT_PROFILE_1" and token.life_cycle == 12288 and token.client_id == -1006632960
    assert token.instance_id.hex() == "0169481a3c87e26e48d3158a45f1d8e46a00a0140c87e55e3fb3b698458f365ebb"
    assert token.implementation_id == attestation.SAMPLE_IMPLEMENTATION_ID and token.no_software
    assert token.certificate_reference == "0632793519539-10100" and token.verification_service == "verification_url"
    assert token.is_sample and token.software == () and token.unknown == {} and len(token.boot_seed) == 32


def test_the_key_of_the_sheet():
    token = attestation.parse(GOLDEN)
    assert token.public_key().raw.hex() == GOLDEN_KEY
    expected = Expected(
        attestation.SAMPLE_CHALLENGE, attestation.SAMPLE_IMPLEMENTATION_ID, token.instance_id,
        PublicKey.parse(bytes.fromhex(GOLDEN_KEY)), "0632793519539-10100", attestation.SECURED, "PSA_IOT_PROFILE_1",
    )  # fmt: skip
    checked = attestation.check(token, expected)
    assert checked.problems == () and checked.public_key == expected.public_key


@pytest.mark.parametrize("position", [12, 60, 140, 200, 290, 300, 355])
def test_a_changed_byte_of_the_golden_token_is_seen(position):
    changed = bytearray(GOLDEN)
    changed[position] ^= 0x01
    try:
        checked = attestation.check(attestation.parse(bytes(changed)), Expected())
    except FormatError:
        return
    assert any("no key fits" in problem for problem in checked.problems)


def test_the_dummy_keys_instance_id_is_that_of_the_published_scalar():
    assert instance_id(DUMMY_KEY) == attestation.DUMMY_INSTANCE_ID
    checked = attestation.check(attestation.parse(sign(claims(key=DUMMY_KEY), DUMMY_KEY)), Expected())
    assert ["dummy identity key" in problem for problem in checked.problems] == [True] and checked.dummy_key


def test_a_token_that_only_speaks_of_a_dummy_is_not_of_the_dummy_key():
    token = attestation.parse(sign(claims(certificate="dummy-reference")))
    checked = attestation.check(token, Expected())
    assert any("dummy" in problem for problem in checked.problems) and not checked.dummy_key


@pytest.mark.parametrize("profile", LABELS)
def test_every_profile(profile):
    token = attestation.parse(sign(claims(profile)))
    assert token.profile.name == profile and token.boot_seed == BOOT_SEED and token.nonce == bytes(range(64))
    assert attestation.check(token, Expected(profile=profile)).problems == () and not token.is_sample


def test_the_oldest_profile_may_leave_out_its_claim():
    without = {label: value for label, value in claims().items() if label != -75000}
    assert attestation.parse(sign(without)).profile.name == "PSA_IOT_PROFILE_1"


def test_software_components_and_unknown_claims_are_kept():
    components = [{1: "M1", 2: b"\x01" * 32}]
    token = attestation.parse(sign(claims(no_software=None, software=components) | {-75999: "later"}))
    assert token.software[0][1] == "M1" and token.unknown == {-75999: "later"} and not token.no_software


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nonce": bytes(31)}, "32, 48 or 64"),
        ({"nonce": None}, "missing"),
        ({"instance": bytes(33)}, "begins with 01"),
        ({"instance": b"\x01" * 32}, "33 bytes"),
        ({"implementation": b""}, "32 bytes"),
        ({"life_cycle": 1 << 16}, "life cycle"),
        ({"life_cycle": True}, "claim life cycle, saw bool"),
        ({"client": "x"}, "claim client id, saw str"),
        ({"certificate": b"x"}, "claim certificate reference, saw bytes"),
        ({"boot_seed": b"\x00"}, "32 bytes as boot seed in the token, saw 1"),
        ({"boot_seed": bytes(range(33))}, "32 bytes as boot seed in the token, saw 33"),
        ({"boot_seed": None}, r"claim boot seed \(-75004\) in the token, but it is missing"),
        ({"no_software": None}, "saw neither"),
        ({"software": COMPONENTS}, "saw both"),
        ({"software": []}, "saw none in the list"),
        ({"software": [], "no_software": None}, "saw none in the list"),
        ({"software": ["NSPE"], "no_software": None}, "maps as software components"),
        ({"no_software": 0}, "expected 1 as the claim no software, saw 0"),
    ],
)
def test_a_claim_of_the_wrong_form_is_refused(change, reason):
    with pytest.raises(FormatError, match=reason):
        attestation.parse(sign(claims(**change)))


@pytest.mark.parametrize(("change", "seen"), [({"software": None}, "neither"), ({"software": []}, "none in the list")])
@pytest.mark.parametrize("profile", [profile for profile in LABELS if profile != "PSA_IOT_PROFILE_1"])
def test_only_the_oldest_profile_may_have_no_software(profile, change, seen):
    with pytest.raises(FormatError, match=f"in the oldest profile the claim that none were measured, saw {seen}"):
        attestation.parse(sign(claims(profile, **change) | {-75007: 1}))


@pytest.mark.parametrize(
    "more", [{265: "http://arm.com/psa/2.0.0"}, {-75000: "http://arm.com/psa/2.0.0"}, {265: "PSA_IOT_PROFILE_1"}]
)
def test_one_profile_under_its_own_label(more):
    with pytest.raises(FormatError, match=r"expected one of the profiles .* as claim"):
        attestation.parse(sign(claims() | more))


def test_true_is_no_label():
    with pytest.raises(FormatError, match="labels of claims in the token, saw True"):
        attestation.parse(sign(claims() | {True: "x"}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"client": 5}, "non-secure world, which is negative, saw 5"),
        ({"client": 0}, "non-secure world, which is negative, saw 0"),
        ({"boot_seed": bytes(32)}, "expected a random boot seed, saw 32 times 00"),
        ({"boot_seed": b"\xff" * 32}, "expected a random boot seed, saw 32 times ff"),
        ({"certificate": "063279351953-10100"}, "13 digits, a hyphen and 5 digits as certificate reference"),
        ({"certificate": "0632793519539-10100\n"}, r"saw '0632793519539-10100\\n'"),
        ({"certificate": "\u0660" * 13 + "-10100"}, "13 digits"),
    ],
)
def test_what_no_good_part_says_is_a_problem(change, reason):
    problems = attestation.check(attestation.parse(sign(claims(**change))), Expected()).problems
    assert len(problems) == 1 and re.search(reason, problems[0])


def test_a_token_for_a_secure_partition_may_be_asked_for():
    token = attestation.parse(sign(claims(client=5)))
    assert attestation.check(token, Expected(from_non_secure=False)).problems == ()


@pytest.mark.parametrize(
    "payload", [{}, {265: "http://example.org"}, {-75000: 5}, [1], "text", {-75008: bytes(32), 265: b"x"}]
)
def test_other_payloads_are_no_token(payload):
    with pytest.raises(FormatError, match=r"profile|map of claims"):
        attestation.parse(sign(payload))


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (Expected(challenge=bytes(64)), "challenge"),
        (Expected(implementation_id=bytes(32)), "implementation id"),
        (Expected(instance_id=bytes(33)), "instance id"),
        (Expected(public_key=PublicKey.parse(point(DUMMY_KEY))), "of the key"),
        (Expected(certificate_reference="0"), "certificate reference"),
        (Expected(life_cycle=0x2000), "PSA RoT provisioning, saw secured"),
        (Expected(profile="http://arm.com/psa/2.0.0"), "profile"),
    ],
)
def test_every_difference_is_one_sentence(expected, reason):
    problems = attestation.check(attestation.parse(sign(claims())), expected).problems
    assert len(problems) == 1 and reason in problems[0]


def test_the_makers_half_of_the_life_cycle_is_its_own():
    assert attestation.check(attestation.parse(sign(claims(life_cycle=0x30AB))), Expected()).problems == ()
    assert (
        attestation.life_cycle_name(0x6001) == "decommissioned" and attestation.life_cycle_name(0xF000) == "undefined"
    )


def test_another_key_than_the_instance_ids_is_seen():
    checked = attestation.check(attestation.parse(sign(claims(), DUMMY_KEY)), Expected())
    assert checked.public_key is None and "no key fits" in checked.problems[0]


@bounded
@given(st.dictionaries(st.sampled_from([-75000, -75008, -75009, 265, 10, 256, 2394, 2395, 2396, 2399]),
                       st.none() | st.integers(-70000, 70000) | st.binary(max_size=64) | st.text(max_size=40)
                       | st.just("PSA_IOT_PROFILE_1") | st.just("http://arm.com/psa/2.0.0"), max_size=8))  # fmt: skip
def test_any_claims_are_a_token_or_a_sentence(found):
    only_format_error(attestation.parse, sign(cbor2.dumps(found)))


# ---- the dump on the console ---------------------------------------------------------------------------------------


@bounded
@given(st.binary(min_size=1, max_size=400))
def test_any_dump_is_read_back(token):
    assert token_dump.read(["noise", *dump(token), "behind"]) == token


def test_bars_and_hex_in_the_text_column():
    token = b"||||  |  41 42 |" + b"|" * 16 + b"DE AD |"
    lines = dump(token)
    assert any(line.count("|") > 5 for line in lines)
    assert token_dump.read(lines) == token


def test_the_dump_of_a_second_boot_counts():
    assert token_dump.read(dump(b"first") + dump(b"second")) == b"second"


def test_a_late_failure_is_no_token_and_a_late_token_is_one():
    failure = "psa_initial_attest_get_token (err -151)"
    assert token_dump.read([failure, *dump(b"later")]) == b"later"
    with pytest.raises(FormatError, match="returned -151"):
        token_dump.read([*dump(b"earlier"), failure])


GOOD = dump(bytes(range(0x40, 0x68)))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "saw no such lines"),
        (GOOD[:-2], "16 .* came|32 came"),
        (GOOD[:4] + GOOD[5:], "16 bytes in row 2|expected 16"),
        ([line.replace("41 ", "C1 ", 1) for line in GOOD], "garbled"),
        ([GOOD[0].replace("40", "99999"), *GOOD[1:]], "at most"),
        ([GOOD[0].replace("40", "0"), *GOOD[1:]], "at most"),
        ([*GOOD, GOOD[0]], "0 came"),
    ],
)
def test_a_dump_that_is_not_whole_is_refused(lines, reason):
    with pytest.raises(FormatError, match=reason):
        token_dump.read(lines)


def test_lines_of_other_talkers_between_the_rows_do_not_matter():
    lines = [part for line in GOOD for part in (line, "[00:00:00.123,456] <inf> mcumgr: ready")]
    assert token_dump.read(lines) == bytes(range(0x40, 0x68))


def test_the_key_is_the_makers():
    assert attestation.parse(sign(claims())).public_key().raw == point(KEY)
