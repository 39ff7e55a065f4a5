"""The OTP configuration of a SKU: what the read-back compares."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import otp_config

SIVAL = Path(__file__).resolve().parents[2] / "resources/skus/sival/otp.toml"


def test_number_and_hex_become_words_in_address_order():
    text = """
    [individualize.CREATOR_SW_CFG]
    A = { at = 0x0dc, value = 0x6 }
    [individualize.ROT_CREATOR_AUTH_CODESIGN]
    K = { at = 0x47c, value = "0102030405060708" }
    """
    assert otp_config.words(text, "individualize") == {0x0DC: 6, 0x47C: 0x04030201, 0x480: 0x08070605}


def test_hardware_partitions_are_not_compared_word_by_word():
    assert otp_config.words("[individualize.HW_CFG1]\nA = { at = 0x6c0, value = 1 }", "individualize") == {}


def test_the_built_in_sku_has_words_for_each_step():
    text = SIVAL.read_text()
    assert len(otp_config.words(text, "individualize")) > 50
    assert otp_config.words(text, "personalize_first_boot").keys() == {0x0E8}
    assert 0x1B4 in otp_config.words(text, "personalize_last_boot")


@pytest.mark.parametrize(
    "text, said",
    [
        ("[wrong.HW_CFG0]", "wrong"),
        ("[individualize.NOWHERE]\nA = { at = 0, value = 1 }", "NOWHERE"),
        ("[individualize.CREATOR_SW_CFG]\nA = { at = 0x1b0, value = 1 }", "inside CREATOR_SW_CFG"),
        ("[individualize.CREATOR_SW_CFG]\nA = { at = 0x40, value = 1 }\nB = { at = 0x40, value = 2 }", "two"),
        ("[individualize.CREATOR_SW_CFG]\nA = { at = 0x41, value = 1 }", "multiple of 4"),
        ('[individualize.CREATOR_SW_CFG]\nA = { at = 0x40, value = "0102" }', "multiple of 4"),
        ('[individualize.CREATOR_SW_CFG]\nA = { at = 0x40, value = "zz" }', "hex"),
        ("[individualize.CREATOR_SW_CFG]\nA = { at = 0x40, value = 0x100000000 }", "32-bit"),
        ("[individualize.CREATOR_SW_CFG]\nA = 3", "'at' and 'value'"),
        ("not toml", "TOML"),
    ],
)
def test_what_is_wrong_is_named(text, said):
    with pytest.raises(FormatError, match=said):
        otp_config.words(text, "individualize")


@given(st.text(max_size=200))
def test_any_text_gives_words_or_a_format_error(text):
    try:
        otp_config.words(text, "individualize")
    except FormatError:
        pass
