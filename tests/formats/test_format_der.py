from datetime import UTC, datetime

import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import der, der_tlv
from station.formats.der_tlv import element, sequence


@bounded
@given(st.integers(-(2**200), 2**200))
def test_integers_come_back(value):
    assert der_tlv.read_integer(der_tlv.read(der_tlv.integer(value)), "x") == value


@pytest.mark.parametrize(
    ("value", "text"), [(0, "020100"), (127, "02017f"), (128, "02020080"), (-1, "0201ff"), (-129, "0202ff7f")]
)
def test_integers_are_minimal(value, text):
    assert der_tlv.integer(value).hex() == text


@pytest.mark.parametrize(
    ("dotted", "text"),
    [
        ("1.2.840.10045.4.3.2", "06082a8648ce3d040302"),
        ("2.23.133.5.4.1", "0606678105050401"),
        ("2.5.29.15", "0603551d0f"),
    ],
)
def test_object_identifiers(dotted, text):
    assert der_tlv.oid(dotted).hex() == text
    assert der_tlv.read_oid(der_tlv.read(bytes.fromhex(text)), "x") == dotted


@bounded
@given(st.integers(0, 1), st.integers(0, 39), st.lists(st.integers(0, 2**60), max_size=6))
def test_object_identifiers_come_back(first, second, rest):
    dotted = ".".join(map(str, [first, second, *rest]))
    assert der_tlv.read_oid(der_tlv.read(der_tlv.oid(dotted)), "x") == dotted


@pytest.mark.parametrize("dotted", ["", "1", "a.b", "3.1", "1.40", "1.2.-3"])
def test_what_is_no_object_identifier(dotted):
    with pytest.raises(FormatError):
        der_tlv.oid(dotted)


@pytest.mark.parametrize("length", [0, 127, 128, 255, 256, 70000])
def test_lengths(length):
    data = element(4, bytes(length))
    assert der_tlv.read(data).content == bytes(length)


@pytest.mark.parametrize("text", ["30", "3080", "3081", "300501", "1f0101", "30850000000001ff", "020100ff"])
def test_broken_elements(text):
    with pytest.raises(FormatError):
        der_tlv.read(bytes.fromhex(text))


def test_long_lengths_and_bit_strings_may_be_non_minimal():
    assert der_tlv.read(bytes.fromhex("3082000102")).content == b"\x02"
    usage = der_tlv.read(bytes.fromhex("0303070400"))
    assert der.bit_numbers(*der_tlv.read_bits(usage, "usage")) == {der.KEY_CERT_SIGN}
    assert der.bit_numbers(*der_tlv.read_bits(der_tlv.read(bytes.fromhex("03020204")), "usage")) == {5}


@pytest.mark.parametrize("text", ["0300", "030108", "030101"])
def test_broken_bit_strings(text):
    with pytest.raises(FormatError):
        der_tlv.read_bits(der_tlv.read(bytes.fromhex(text)), "x")


def test_walk_gives_parents_before_children():
    data = sequence(der_tlv.integer(1), sequence(der_tlv.integer(2)))
    assert [(depth, item.tag) for depth, item in der.walk(data)] == [(0, 0x30), (1, 2), (1, 0x30), (2, 2)]


def test_walk_stops_at_absurd_depth():
    data = b""
    for _ in range(60):
        data = sequence(data)
    with pytest.raises(FormatError, match="levels"):
        list(der.walk(data))


EMPTY_NAME = sequence()
ALGORITHM = sequence(der_tlv.oid("1.2.840.10045.4.3.2"))


def tbs(*, times=(b"20180322235959Z", b"99991231235959Z"), tag=0x18, extensions=(), version=2):
    fields = [
        element(0xA0, der_tlv.integer(version)),
        der_tlv.integer(5),
        ALGORITHM,
        EMPTY_NAME,
        sequence(*(element(tag, time) for time in times)),
        EMPTY_NAME,
        sequence(),
    ]
    return sequence(*fields, *([element(0xA3, sequence(*extensions))] if extensions else []))


def extension(oid, value, *critical):
    return sequence(der_tlv.oid(oid), *critical, element(4, value))


def test_fields_of_a_tbs():
    found = der.parse_tbs(tbs())
    assert (found.serial, found.algorithm, found.extensions) == (5, "1.2.840.10045.4.3.2", ())
    assert found.not_before == datetime(2018, 3, 22, 23, 59, 59, tzinfo=UTC)
    assert found.not_after == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert found.ski is found.aki is found.basic_constraints is found.key_usage is found.subject_serial is None


def test_short_times_have_a_century():
    found = der.parse_tbs(tbs(times=(b"500101000000Z", b"491231235959Z"), tag=0x17))
    assert (found.not_before.year, found.not_after.year) == (1950, 2049)


@pytest.mark.parametrize(
    "time",
    [
        b"20180322235959",
        b"20181322235959Z",
        b"2018032223595\xb2Z",
        b"+0180322235959Z",
        b"00000101000000Z",
        b"20180322235959z",
        b"20180322246059Z",
        b"20180230000000Z",
    ],
)
def test_times_that_are_none(time):
    with pytest.raises(FormatError):
        der.parse_tbs(tbs(times=(time, time)))


@pytest.mark.parametrize("critical", [(), (bytes.fromhex("010100"),), (bytes.fromhex("0101ff"),)])
def test_an_explicit_false_is_accepted(critical):
    found = der.parse_tbs(tbs(extensions=[extension(der.OID_SKI, bytes.fromhex("0402abcd"), *critical)]))
    assert found.ski == b"\xab\xcd"
    assert found.extensions[0].critical == (critical == (b"\x01\x01\xff",))


def test_basic_constraints():
    def constraints(value):
        return der.parse_tbs(tbs(extensions=[extension(der.OID_BASIC_CONSTRAINTS, value)])).basic_constraints

    true, false = bytes.fromhex("0101ff"), bytes.fromhex("010100")
    assert constraints(sequence()) == der.BasicConstraints(False, None)
    assert constraints(sequence(false)) == der.BasicConstraints(False, None)
    assert constraints(sequence(true)) == der.BasicConstraints(True, None)
    assert constraints(sequence(true, der_tlv.integer(1))) == der.BasicConstraints(True, 1)
    for bad in (sequence(true, der_tlv.integer(-1)), sequence(true, true), der_tlv.integer(1)):
        with pytest.raises(FormatError):
            constraints(bad)


@pytest.mark.parametrize(
    "data",
    [
        tbs(version=1),
        tbs(extensions=[extension("2.5.29.14", b"\x04\x00")] * 2),
        tbs(extensions=[sequence(der_tlv.oid("2.5.29.14"))]),
        tbs(extensions=[extension("2.5.29.14", b"", bytes.fromhex("010101"))]),
        tbs(times=(b"20180322235959Z",)),
        sequence(),
        tbs() + b"\0",
    ],
)
def test_a_tbs_that_is_none(data):
    with pytest.raises(FormatError):
        der.parse_tbs(data)


def test_inner_and_outer_algorithm_must_agree():
    good = sequence(tbs(), ALGORITHM, der_tlv.bits(b"sig"))
    assert der.parse_certificate(good).signature == b"sig"
    for bad in (
        sequence(tbs(), sequence(der_tlv.oid("1.2.3")), der_tlv.bits(b"sig")),
        sequence(tbs(), ALGORITHM, der_tlv.bits(b"sig", 1)),
        sequence(tbs(), ALGORITHM),
    ):
        with pytest.raises(FormatError):
            der.parse_certificate(bad)


@bounded
@given(st.binary(max_size=80), st.integers(0, 400), st.integers(1, 255))
def test_damaged_der_is_refused_or_read(data, position, change):
    for parse in (der.parse_certificate, der.parse_tbs, der.name_attributes, der_tlv.read):
        only_format_error(parse, data)
        only_format_error(parse, sequence(data))
    only_format_error(lambda: list(der.walk(data)))
    whole = bytearray(
        tbs(
            extensions=[
                extension(der.OID_SKI, b"\x04\x02ab"),
                extension(der.OID_AKI, sequence(element(0x80, b"ab"))),
                extension(der.OID_BASIC_CONSTRAINTS, sequence(bytes.fromhex("0101ff"))),
                extension(der.OID_KEY_USAGE, bytes.fromhex("0303070400")),
            ]
        )
    )
    whole[position % len(whole)] ^= change
    found = only_format_error(der.parse_tbs, bytes(whole))
    if found:
        for read in ("ski", "aki", "basic_constraints", "key_usage", "subject_serial", "issuer_serial"):
            only_format_error(getattr, found, read)
