import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st
from token_help import KEY, point, sign

from station.errors import FormatError
from station.formats import cbor_item, cose_sign1, p256
from station.formats.cose_sign1 import Sign1
from station.formats.p256 import PublicKey

RFC_PAYLOAD = b"This is the content."
RFC_SIGNATURE = bytes.fromhex(
    "8eb33e4ca31d1c465ab05aac34cc6b23d58fef5c083106c4d25a91aef0b0117e"
    "2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36"
)
RFC_KEY = bytes.fromhex(
    "bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff"
    "20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"
)


def numbers(signature):
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def test_the_single_signature_of_rfc_9052():
    """Appendix C.2.1 with the key "11" of appendix C.7."""
    r, s = numbers(RFC_SIGNATURE)
    signed = Sign1(b"\xa1\x01\x26", RFC_PAYLOAD, r, s)
    assert signed.to_be_signed.hex() == "846a5369676e61747572653143a101264054" + RFC_PAYLOAD.hex()
    found = list(p256.candidates(signed.digest, r, s))
    assert PublicKey.parse(RFC_KEY) in found and len(found) == 2
    assert all(key.verifies(signed.to_be_signed, r, s) for key in found)


def test_a_key_round_trips_and_a_point_off_the_curve_is_refused():
    key = PublicKey.parse(point())
    assert key.raw == point() and PublicKey.parse(point()[1:]) == key
    for wrong in (point()[:-1] + b"\x00", point()[:-2], b"\x02" + point()[1:], b"\xff" * 64, bytes(65)):
        with pytest.raises(FormatError):
            PublicKey.parse(wrong)


@bounded
@given(st.integers(1, p256.N - 1), st.binary(max_size=80))
def test_the_key_that_signed_is_among_the_candidates(scalar, payload):
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    signed = cose_sign1.parse(sign(payload, key))
    found = list(p256.candidates(signed.digest, signed.r, signed.s))
    assert PublicKey.parse(point(key)) in found
    assert all(one.verifies(signed.to_be_signed, signed.r, signed.s) for one in found)
    assert not found[0].verifies(signed.to_be_signed + b"x", signed.r, signed.s)


@pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (p256.N, 1), (1, p256.N)])
def test_numbers_outside_the_group_sign_nothing(r, s):
    with pytest.raises(FormatError, match="between 1 and the order"):
        list(p256.candidates(5, r, s))
    assert not PublicKey.parse(point()).verifies(b"", r, s)


def wrapped(*parts, tag=18):
    return cbor2.dumps(cbor2.CBORTag(tag, list(parts)))


HEADER = b"\xa1\x01\x26"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (b"", "begin with CBOR tag 18"),
        (wrapped(HEADER, {}, b"", bytes(64), tag=17), "begin with CBOR tag 18"),
        (wrapped(HEADER, {}, b""), "another structure"),
        (wrapped(HEADER, {}, "text", bytes(64)), "another structure"),
        (wrapped(b"\xa1\x01\x27", {}, b"", bytes(64)), "ES256"),
        (wrapped(b"", {}, b"", bytes(64)), "ES256"),
        (wrapped(b"\xa2\x01\x26\x04\x41\x31", {}, b"", bytes(64)), "ES256"),
        (wrapped(HEADER, {4: b"11"}, b"", bytes(64)), "unprotected"),
        (wrapped(HEADER, {}, b"", bytes(63)), "64 bytes"),
        (wrapped(HEADER, {}, b"", bytes(64)) + b"\x00", "nothing behind"),
        (sign(b"x")[:-1], "was cut"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:8].hex(),
)
def test_what_is_no_sign1_is_refused(token, reason):
    with pytest.raises(FormatError, match=reason):
        cose_sign1.parse(token)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("", "ends there"),
        ("9f01ff", "definite lengths"),
        ("5f4101ff", "definite lengths"),
        ("81" * 2000, "levels"),
        ("a201020103", "Duplicate"),
        ("c11a514b67b0", "tag 1"),
        ("d8184101", "tag 24"),
        ("f97e00", "whole numbers"),
        ("f7", "simple value"),
        ("62ffff", "text string"),
        ("5b7fffffffffffffff", "was cut"),
        ("9b7fffffffffffffff", "was cut"),
        ("0102", "1 more bytes"),
    ],
)
def test_cbor_that_no_token_holds_is_refused(item, reason):
    with pytest.raises(FormatError, match=reason):
        cbor_item.decode(bytes.fromhex(item), "the claims")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(-80000, 80000), inner, max_size=4),
    max_leaves=12,
)


@bounded
@given(VALUES, st.binary(min_size=1, max_size=4))
def test_what_the_library_writes_is_read_again_and_nothing_may_follow(value, surplus):
    raw = cbor2.dumps(value)
    read = only_format_error(cbor_item.decode, raw, "the claims")
    assert read == value or read is None
    with pytest.raises(FormatError):
        cbor_item.decode(raw + surplus, "the claims")
    for end in range(len(raw)):
        with pytest.raises(FormatError):
            cbor_item.decode(raw[:end], "the claims")


@bounded
@given(st.binary(max_size=200))
def test_anything_else_is_a_sentence(raw):
    only_format_error(cbor_item.decode, raw, "the claims")
    only_format_error(cose_sign1.parse, raw)
    only_format_error(cose_sign1.parse, b"\xd2\x84" + raw)


def test_the_signature_covers_header_and_payload():
    signed = cose_sign1.parse(sign(b"payload", KEY))
    key = PublicKey.parse(point())
    assert key.verifies(signed.to_be_signed, signed.r, signed.s)
    assert not key.verifies(signed.to_be_signed.replace(b"payload", b"pAyload"), signed.r, signed.s)


@pytest.mark.parametrize("protected", ["a1f526", "a2f52601", "a10126a0", "a10127", "a1012600", "a0", "8126", "26"])
def test_es256_alone_is_in_the_header(protected):
    with pytest.raises(FormatError, match=r"ES256 \(-7\) alone|in CBOR|behind the protected header|more of"):
        cose_sign1.parse(sign(b"payload", KEY, bytes.fromhex(protected)))
