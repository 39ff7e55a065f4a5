import hashlib
import hmac

import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import console_json, lc_token
from station.formats.console_json import Dialect
from station.formats.firmware import E1, RC4

ONES = lc_token.lc_hash(b"\x11" * 16)
TWOS = lc_token.lc_hash(b"\x22" * 16)
WORST_KEY_ID = b"\xff" * 20
both = pytest.mark.parametrize("dialect", list(Dialect))


def text_of(message):
    return message.decode().rstrip(" ")


def test_cp_data_in_the_reference_dialect():
    message = console_json.encode_cp_provisioning(bytes(range(32)), ONES, TWOS, Dialect.HOST)
    assert message.decode() == (
        '{"wafer_auth_secret":[66051,67438087,134810123,202182159,269554195,336926231,404298267,471670303],'
        '"test_unlock_token_hash":[15231083467871102580,15999634840121664671],'
        '"test_exit_token_hash":[10204723351135403262,6444237447356453486]}'
    )


def test_cp_data_in_the_ate_dialect():
    was, unlock, leave = b"\x01" + bytes(31), b"\x01" + bytes(15), b"\x01" + bytes(15)
    message = console_json.encode_cp_provisioning(was, unlock, leave, Dialect.ATE)
    assert len(message) == 256
    assert text_of(message) == (
        '{"wafer_auth_secret":[1,0,0,0,0,0,0,0],"test_unlock_token_hash":["1","0"],"test_exit_token_hash":["1","0"]}'
    )


def test_the_worst_ate_cp_data_just_fits_its_frame():
    message = console_json.encode_cp_provisioning(b"\xff" * 32, b"\xff" * 16, b"\xff" * 16, Dialect.ATE)
    assert len(message) == 256 and len(text_of(message)) == 255


def test_the_part_swaps_the_was_words_of_the_ate_dialect():
    # appliance sheet 7.4: was padded and its word-swapped HMAC key
    was = bytes.fromhex("dbcab5aa73c4a39383be6d2e0e0dd9f4c9875988b11ab7234c56cb41c649779c")
    swapped = "aab5cadb93a3c4732e6dbe83f4d90d0e885987c923b71ab141cb564c9c7749c6"
    assert console_json.was_hmac_key(was, Dialect.ATE).hex() == swapped
    assert console_json.was_hmac_key(was, Dialect.HOST) == was


@both
@bounded
@given(was=st.binary(min_size=32, max_size=32))
def test_host_and_part_agree_on_the_hmac_key(dialect, was):
    part = console_json.decode_cp_provisioning(console_json.encode_cp_provisioning(was, ONES, TWOS, dialect))
    assert part.was_hmac_key == console_json.was_hmac_key(was, dialect)
    assert hmac.new(part.was_hmac_key, b"tbs", hashlib.sha256).digest()
    assert (part.test_unlock_hash, part.test_exit_hash) == (ONES, TWOS)
    assert part.was_stored == (was if dialect is Dialect.ATE else console_json.was_hmac_key(was, Dialect.ATE))


def test_a_decoded_secret_is_not_printed():
    part = console_json.decode_cp_provisioning(
        console_json.encode_cp_provisioning(b"\x99" * 32, ONES, TWOS, Dialect.ATE)
    )
    assert str(0x99999999) not in repr(part)


def test_the_rma_frame_of_the_reference_host():
    message = console_json.encode_rma_hash(ONES, Dialect.HOST)
    assert message == b'{"hash":[15231083467871102580,15999634840121664671]}{"crc":621441661 }'
    short = console_json.encode_rma_hash(bytes(16), Dialect.HOST)
    assert len(short) == 52 + 18 and short.startswith(b'{"hash":[0,0]' + b" " * 38 + b"}{")


def test_the_rma_frame_of_the_ate():
    token_hash = bytes.fromhex("1122") + bytes(14)
    message = console_json.encode_rma_hash(token_hash, Dialect.ATE)
    assert text_of(message) == '{"hash":["8721","0"]}{"crc": 2602364282}' and len(message) == 256
    assert text_of(console_json.encode_rma_hash(token_hash, Dialect.ATE, with_crc=False)) == '{"hash":["8721","0"]}'


def test_the_longest_rma_texts():
    assert len(text_of(console_json.encode_rma_hash(b"\xff" * 16, Dialect.ATE, with_crc=False))) == 56
    assert len(console_json.encode_rma_hash(b"\xff" * 16, Dialect.HOST, with_crc=False)) == 52


@both
@bounded
@given(token_hash=st.binary(min_size=16, max_size=16))
def test_rma_hashes_come_back(dialect, token_hash):
    assert console_json.decode_rma_hash(console_json.encode_rma_hash(token_hash, dialect)) == token_hash
    assert console_json.decode_rma_hash(console_json.encode_rma_hash(token_hash, dialect, False), False) == token_hash


@both
def test_the_part_insists_on_a_right_crc(dialect):
    with pytest.raises(FormatError, match="CRC"):
        console_json.decode_rma_hash(console_json.encode_rma_hash(ONES, dialect, with_crc=False))
    damaged = console_json.encode_rma_hash(ONES, dialect).replace(b"1523", b"1524")
    with pytest.raises(FormatError, match="CRC"):
        console_json.decode_rma_hash(damaged)


def test_certgen_inputs_have_the_padded_size_of_their_generation():
    sizes = {
        (generation.name, key_id): len(
            console_json.encode_certgen_inputs(key_id, key_id, generation, Dialect.HOST, generation.blob_versions[-1])
        )
        for generation in (RC4, E1)
        for key_id in (bytes(20), WORST_KEY_ID)
    }
    # the sheet's 231 counts a 5-digit version; with version 0 or 1 the longest text has 227 characters
    assert sizes == {
        ("rc4", bytes(20)): 210,
        ("rc4", WORST_KEY_ID): 210,
        ("e1", bytes(20)): 215,
        ("e1", WORST_KEY_ID): 227,
    }


def test_certgen_inputs_of_the_ate_are_one_frame():
    message = console_json.encode_certgen_inputs(WORST_KEY_ID, WORST_KEY_ID, RC4, Dialect.ATE)
    assert len(message) == 256 and len(text_of(message)) == 210
    positions = console_json.decode_certgen_inputs(
        console_json.encode_certgen_inputs(
            b"\x41" + bytes(8) + b"\x0c" + bytes(10), b"\x7b" + bytes(18) + b"\xff", RC4, Dialect.ATE
        )
    )
    assert (positions.dice_key_id[0], positions.dice_key_id[9]) == (65, 12)
    assert (positions.ext_key_id[0], positions.ext_key_id[19]) == (123, 255)


@both
@bounded
@given(dice=st.binary(min_size=20, max_size=20), ext=st.binary(min_size=20, max_size=20), version=st.integers(0, 1))
def test_certgen_inputs_come_back(dialect, dice, ext, version):
    message = console_json.encode_certgen_inputs(dice, ext, E1, dialect, version)
    assert console_json.decode_certgen_inputs(message, E1) == console_json.CertgenInputs(dice, ext, version)
    with pytest.raises(FormatError):
        console_json.decode_certgen_inputs(message, RC4)
    message = console_json.encode_certgen_inputs(dice, ext, RC4, dialect)
    assert console_json.decode_certgen_inputs(message) == console_json.CertgenInputs(dice, ext, None)


def test_the_cp_device_id_line():
    line = b'RESP_OK:{"cp_device_id":[212993,1234567,66051,0]} CRC:3561541058\n'
    raw = console_json.parse_cp_device_id(line)
    assert raw.hex() == "0140030087d612000302010000000000"
    assert console_json.encode_cp_device_id(raw) == line
    assert (
        console_json.parse_cp_device_id('RESP_OK:{"cp_device_id":[305419896,"0",0,0]} CRC:0').hex()
        == "78563412" + "0" * 24
    )


@bounded
@given(st.binary(min_size=32, max_size=32))
def test_the_certificate_hash_line(digest):
    line = console_json.encode_sha256(digest)
    assert len(line) == len("RESP_OK:") + 98 + len(" CRC:0\n")
    assert console_json.parse_sha256(line) == digest


def test_the_worst_certificate_hash_needs_no_padding():
    assert b" }" not in console_json.encode_sha256(b"\xff" * 32)


def test_the_parts_blob_line_has_its_fixed_length():
    line = console_json.encode_dut_perso_blob(9, b"\xff" * 5120)
    assert len(line) == len("RESP_OK:") + 20535 + len(" CRC:0\n")
    assert len('{"num_objs":4294967295,"next_free":4294967295,"body":[]}') + 5120 * 4 - 1 == console_json.PERSO_BLOB


@bounded
@given(st.binary(max_size=5120), st.integers(0, 2**32 - 1))
def test_blobs_come_back(body, num_objs):
    expected = console_json.PersoBlobMessage(num_objs, body)
    assert console_json.parse_perso_blob(console_json.encode_dut_perso_blob(num_objs, body)) == expected
    for dialect in Dialect:
        assert console_json.decode_perso_blob(console_json.encode_perso_blob(num_objs, body, dialect)) == expected


def test_the_largest_ate_blob_takes_1025_frames():
    body = bytes((index | 0x80) & 0xFF for index in range(65536))
    message = console_json.encode_perso_blob(1, body, Dialect.ATE)
    frames = console_json.frames_of(message, Dialect.ATE)
    assert len(frames) == 1025 and {len(frame) for frame in frames} == {256}
    assert console_json.decode_perso_blob(b"".join(frames), limit=65536).body == body
    with pytest.raises(FormatError):
        console_json.decode_perso_blob(message)
    with pytest.raises(FormatError):
        console_json.encode_perso_blob(1, body + b"x", Dialect.ATE)


def test_the_reference_host_sends_one_piece():
    message = console_json.encode_perso_blob(1, b"abc", Dialect.HOST)
    assert len(message) == 20535 and console_json.frames_of(message, Dialect.HOST) == [message]


@both
def test_the_final_test_id(dialect):
    raw = bytes(range(16))
    assert console_json.decode_ft_individualize(console_json.encode_ft_individualize(raw, dialect)) == raw


@pytest.mark.parametrize(
    "text",
    [
        '{"num_objs":1,"next_free":3,"body":[1,2]}',
        '{"num_objs":1,"next_free":1,"body":[256]}',
        '{"num_objs":1,"next_free":1}',
        '{"num_objs":1,"next_free":1,"body":[1],"more":1}',
        '{"num_objs":1,"next_free":1,"body":1}',
        "[1]",
    ],
)
def test_a_blob_that_is_not_one(text):
    with pytest.raises(FormatError):
        console_json.decode_perso_blob(text.encode())


@pytest.mark.parametrize(("was", "token"), [(31, 16), (32, 15), (33, 16), (32, 17)])
def test_wrong_lengths_are_refused_before_anything_is_sent(was, token):
    with pytest.raises(FormatError):
        console_json.encode_cp_provisioning(bytes(was), bytes(token), bytes(16), Dialect.ATE)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 2**65), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=9), st.dictionaries(st.sampled_from(
        ["hash", "data", "cp_device_id", "num_objs", "next_free", "body", "ft_device_id", "wafer_auth_secret", "crc"]
    ), inner, max_size=4)),
    max_leaves=20,
)  # fmt: skip


@bounded
@given(json_values)
def test_any_json_is_a_value_or_a_format_error(value):
    data = console_json.dump(value).encode() if isinstance(value, dict) else repr(value).encode()
    for decode in (
        console_json.decode_cp_provisioning, console_json.decode_ft_individualize, console_json.decode_rma_hash,
        console_json.decode_certgen_inputs, console_json.decode_perso_blob,
    ):  # fmt: skip
        only_format_error(decode, data)
    line = b"RESP_OK:" + data + b" CRC:0\n"
    for parse in (console_json.parse_cp_device_id, console_json.parse_sha256, console_json.parse_perso_blob):
        only_format_error(parse, line)


def test_the_reference_host_knows_the_parts_array():
    with pytest.raises(FormatError, match="5120"):
        console_json.encode_perso_blob(1, bytes(5121), Dialect.HOST)
