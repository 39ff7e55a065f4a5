import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import lc_token

# device sheet 8, appliance sheet 7.1 and 7.4: token bytes and hash bytes
VECTORS = [
    ("00" * 16, "8d05b96d5fd2c1d5f15fcfae5b305238"),
    ("c297f1eba78e3ce45475e7cb323f2bea", "db0438d236f0520214c8368cb811fef8"),
    ("11" * 16, "7426c85eb7ad5fd39f646a0d1e1f0ade"),
    ("22" * 16, "fe3c8f27d2759e8d6e92f3b9d0876e59"),
    ("16d4dcc82003dd45a58022355e539312", "499c6c5a0add3c6bbed46735a7e55c06"),
    ("696205fb304aeca0d6f358cd1783d0cc", "20641dae42418e2c8e62b523e6eca2ed"),
    ("c7d8449d604d9419e9a0248f872a7fc4", "d6c2fbfc79b17c82f5f0ba0f3c7ac242"),
    ("75405ca24aabf3b084af8b08857357dd", "f6de00357ab73bc41f6e9ecc7a8a6b25"),
]


@pytest.mark.parametrize(("token", "hashed"), VECTORS)
def test_hash_of_known_tokens(token, hashed):
    assert lc_token.lc_hash(bytes.fromhex(token)).hex() == hashed


def test_hashes_written_as_128_bit_numbers():
    for token, number in [
        (lc_token.raw_from_literal(lc_token.DEV_RAW_UNLOCK_LITERAL), 0xF8FE11B88C36C8140252F036D23804DB),
        (lc_token.raw_from_literal(0xE4225DC332EA1FDA63B4C524556ED4D4), 0xF51C9CB753A5AADEA5FDC7D23AB29F6D),
        (bytes.fromhex("53a3812b5a4c04a485daac252d145caf"), 0x1FAF9056ACDE66561685549803A28BEC),
        (bytes([0x11] * 16), 0xDE0A1F1E0D6A649FD35FADB75EC82674),
        (bytes(16), 0x3852305BAECF5FF1D5C1D25F6DB9058D),
    ]:
        assert lc_token.literal_of(lc_token.lc_hash(token)) == number


def test_hashes_as_the_console_carries_them():
    pairs = {
        "11" * 16: (15231083467871102580, 15999634840121664671),
        "22" * 16: (10204723351135403262, 6444237447356453486),
        "c297f1eba78e3ce45475e7cb323f2bea": (167460254411916507, 17941797449814689812),
    }
    for token, pair in pairs.items():
        assert lc_token.dwords_of(lc_token.lc_hash(bytes.fromhex(token))) == pair
        assert lc_token.raw_from_dwords(*pair) == lc_token.lc_hash(bytes.fromhex(token))


def test_command_line_hex_is_big_endian_per_group():
    token = lc_token.raw_from_cli_hex("000102030405060708090a0b0c0d0e0f")
    assert token.hex() == "03020100070605040b0a09080f0e0d0c"
    assert lc_token.lc_hash(token).hex() == "37c1b4fd99428af3ddfd33f9fa7b2358"
    assert lc_token.raw_from_cli_hex("0x00010203_04050607_08090a0b_0c0d0e0f") == token


def test_registers_take_little_endian_words():
    token = bytes.fromhex("01020304111213142122232431323334")
    assert lc_token.words_of(token) == (0x04030201, 0x14131211, 0x24232221, 0x34333231)


def test_raw_unlock_words_put_the_last_hex_group_first():
    token = lc_token.raw_from_literal(lc_token.DEV_RAW_UNLOCK_LITERAL)
    assert lc_token.words_of(token) == (0xEBF197C2, 0xE43C8EA7, 0xCBE77554, 0xEA2B3F32)


@bounded
@given(st.binary(min_size=16, max_size=16))
def test_conversions_come_back(token):
    assert lc_token.raw_from_words(lc_token.words_of(token)) == token
    assert lc_token.raw_from_dwords(*lc_token.dwords_of(token)) == token
    assert lc_token.raw_from_literal(lc_token.literal_of(token)) == token
    groups = "_".join(f"{word:08x}" for word in lc_token.words_of(token))
    assert lc_token.raw_from_cli_hex(groups) == token


def test_a_256_bit_token_gives_a_256_bit_hash():
    assert len(lc_token.lc_hash(bytes(32))) == 32


@bounded
@given(st.binary(max_size=40), st.text(max_size=40), st.integers(-(2**140), 2**140))
def test_anything_else_is_a_format_error(data, text, number):
    only_format_error(lc_token.lc_hash, data)
    only_format_error(lc_token.words_of, data)
    only_format_error(lc_token.raw_from_cli_hex, text)
    only_format_error(lc_token.raw_from_literal, number)
    only_format_error(lc_token.raw_from_dwords, number, 0)


def test_the_error_of_a_bad_token_text_does_not_repeat_it():
    with pytest.raises(FormatError) as caught:
        lc_token.raw_from_cli_hex("deadbeef" * 3)
    assert "deadbeef" not in str(caught.value)
