import zlib

import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import console_text
from station.formats.console_text import ResponseError


def test_crc_check_values():
    assert console_text.text_crc("123456789") == 0xCBF43926
    assert console_text.text_crc('{"cp_device_id":[212993,1234567,66051,0]}') == 3561541058
    assert console_text.text_crc('{"hash":["8721","0"]}') == 2602364282


def test_padding_goes_before_the_last_brace():
    assert console_text.pad('{"a":1}', 10) == '{"a":1   }'
    with pytest.raises(FormatError):
        console_text.pad('{"a":1}', 6)


def test_the_crc_object_has_the_length_of_its_worst_case():
    assert len('{"crc":4294967295}') == console_text.CRC_OBJECT
    assert console_text.crc_object('{"hash":[15231083467871102580,15999634840121664671]}') == '{"crc":621441661 }'


def test_a_good_line():
    text = '{"a":[1,"2"]}'
    response = console_text.parse_response(f"RESP_OK:{text} CRC:{zlib.crc32(text.encode())}\n")
    assert response.value == {"a": [1, "2"]} and response.crc_checked


def test_a_line_without_crc_is_taken_and_said():
    response = console_text.parse_response(b'RESP_OK:{"a":1   } CRC:0\n')
    assert response.value == {"a": 1} and response.text == '{"a":1   }' and not response.crc_checked


def test_a_wrong_crc_is_refused():
    with pytest.raises(FormatError, match="CRC"):
        console_text.parse_response(b'RESP_OK:{"a":1} CRC:1\n')


@pytest.mark.parametrize("module", ["", "LCC"])
def test_the_parts_own_error(module):
    with pytest.raises(ResponseError) as caught:
        console_text.parse_response(console_text.error_line("Internal", 5, module))
    assert (caught.value.code, caught.value.value, caught.value.module) == ("Internal", 5, module)
    assert caught.value.crc_ok


def test_a_wrong_crc_on_an_error_line_is_only_reported():
    with pytest.raises(ResponseError) as caught:
        console_text.parse_response(b'RESP_ERR:{"NotFound":["abc",2]} CRC:77\n')
    assert not caught.value.crc_ok


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1.5}', '{"a":1e3}', '{"a":-1}', '{"a":NaN}', '{"a":Infinity}', '{"a":1,"a":2}', "{'a':1}", '{"a":0x1}',
        '{"a":' + "9" * 5000 + "}", "[" * 100000, '{"a":1}}', '{"a":1} x', "", "{", '{"a":"\u00e9"}',
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_what_the_parser_does_not_take(text):
    with pytest.raises(FormatError):
        console_text.parse_message(text)


def test_numbers_may_be_quoted_but_not_anything_else():
    assert console_text.number("18446744073709551615", 64, "x") == 2**64 - 1
    for bad in ("-1", " 1", "1 ", "", "0x1", "1\n", "²", True, None, 1.0, 2**64, "9" * 30):
        with pytest.raises(FormatError):
            console_text.number(bad, 64, "x")


def test_an_error_never_repeats_a_number():
    with pytest.raises(FormatError) as caught:
        console_text.parse_message('{"wafer_auth_secret":[-1234567890]}')
    assert "1234567890" not in str(caught.value)


def test_where_an_object_ends():
    stream = b' {"a":{"b":"}\\"}"}}{"crc":1}  '
    end = console_text.object_end(stream)
    assert stream[:end] == b' {"a":{"b":"}\\"}"}}'
    assert console_text.object_end(stream[end:]) == len(b'{"crc":1}')
    assert all(console_text.object_end(stream[:cut]) is None for cut in range(end))


def test_finding_a_response_in_a_stream():
    line = console_text.response_line('{"a":1}')
    stream = b"Exporting ...\nI00001 log\n" + line + b"more"
    start, end = console_text.find_response(stream)
    assert stream[start:end] == line
    assert console_text.find_response(stream[: end - 1]) is None


@bounded
@given(st.dictionaries(st.text("abc_", min_size=1), st.lists(st.integers(0, 2**64 - 1))))
def test_lines_come_back(value):
    assert console_text.parse_response(console_text.response_line(console_text.dump(value))).value == value


@bounded
@given(st.one_of(st.binary(max_size=60), st.text('RESP_OKRR:{}[]",0123 CRC\n', max_size=60)))
def test_anything_else_is_a_format_error(data):
    only_format_error(console_text.parse_response, data)
    only_format_error(console_text.parse_message, data)
    if isinstance(data, bytes):
        only_format_error(console_text.parse_response, b"RESP_OK:" + data + b" CRC:0\n")
        only_format_error(console_text.parse_response, b"RESP_ERR:" + data + b" CRC:0\n")
