import struct

import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats.device_id import BLIND_DIN, DeviceId, Din, HardwareOrigin, SkuSpecific

dins = st.builds(
    Din, st.integers(0, 9), st.integers(0, 53), st.integers(0, 999), st.integers(0, 99), st.integers(0, 999),
    st.integers(0, 999),
)  # fmt: skip
capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
byte = st.integers(0, 255)
skus = st.builds(
    SkuSpecific, byte, byte, st.text(capitals, min_size=2, max_size=2), byte,
    st.text(capitals, min_size=4, max_size=4), byte,
)  # fmt: skip


def test_the_device_sheets_example():
    origin = HardwareOrigin(0x4001, 3, Din(year=4, week=49, lot=343, wafer=72, x=635, y=242).pack())
    device = DeviceId(origin, SkuSpecific(0, 7, "EM", 0, "EMUL").pack())
    text = "01000000454d554c00000000454d070000000000002426357234349400034001"
    assert device.devid_hex == text
    assert DeviceId.from_hex("0x" + text) == device
    assert device.origin.din == Din(4, 49, 343, 72, 635, 242)
    assert device.words[0] == 0x00034001 and device.words[7] == 0x01000000


def test_the_appliances_example():
    text = "0100000047425f54000000014742000000000000000790100500346400024001"
    device = DeviceId.from_hex(text)
    assert device.origin == HardwareOrigin(0x4001, 2, 0x0007901005003464, 0)
    assert device.cp_id.hex() == "01400200643400051090070000000000"
    assert device.devid_hex == text
    assert (device.sku.otp_id, device.sku.otp_version, device.sku.sku_id) == ("GB", 1, "GB_T")
    assert device.origin.din == Din(year=4, week=46, lot=3, wafer=5, x=10, y=79)


def test_the_registry_text_differs_from_the_devid_text():
    device = DeviceId(HardwareOrigin(1, 1, 0xBEEFCAFEFEED1234))
    assert device.registry_hex == "0x0000000000000000000000000000000000000000beefcafefeed123400010001"
    device = DeviceId(HardwareOrigin(1, 1, 5, reserved=7), bytes(range(16)))
    assert device.registry_hex == "0x000102030405060708090a0b0c0d0e0f" + "00000000" + "0000000000000005" + "00010001"
    assert device.devid_hex.startswith("0f0e0d0c") and "00000007" in device.devid_hex


def test_the_cp_text_puts_word_3_first():
    device = DeviceId.from_words((0x00034001, 0x72343494, 0x00242635, 0, 0, 0, 0, 0))
    assert device.cp_hex == "00000000002426357234349400034001"


def test_a_part_without_wafer_data_is_blind():
    origin = HardwareOrigin.parse(struct.pack("<4I", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    assert origin.din.blind and origin.din.pack() == BLIND_DIN
    origin.check_registrable()


@bounded
@given(dins)
def test_device_numbers_come_back(din):
    assert Din.parse(din.pack()) == din


@bounded
@given(skus)
def test_sku_halves_come_back(sku):
    assert SkuSpecific.parse(sku.pack()) == sku


@bounded
@given(st.binary(min_size=32, max_size=32))
def test_every_32_bytes_come_back_in_every_form(raw):
    device = DeviceId.parse(raw)
    assert (
        device.pack() == raw == DeviceId.from_hex(device.devid_hex).pack() == DeviceId.from_words(device.words).pack()
    )
    only_format_error(lambda: device.origin.din)
    only_format_error(lambda: device.sku)


@pytest.mark.parametrize(
    "din", [0xBEEFCAFEFEED1234, 0x0100000000000000, 0x000000000000054A, 0x0000000000000994, -1, 1 << 64]
)
def test_numbers_that_are_no_wafer_place(din):
    with pytest.raises(FormatError):
        Din.parse(din)


@pytest.mark.parametrize("din", [Din(year=10), Din(week=54), Din(lot=1000), Din(wafer=100), Din(x=1000), Din(y=-1)])
def test_fields_out_of_range(din):
    with pytest.raises(FormatError):
        din.pack()


@pytest.mark.parametrize("origin", [HardwareOrigin(2, 1, 0), HardwareOrigin(1, 4, 0), HardwareOrigin(0, 0, 0)])
def test_creators_and_products_the_appliance_does_not_know(origin):
    with pytest.raises(FormatError):
        origin.check_registrable()


@pytest.mark.parametrize(
    "origin", [HardwareOrigin(1 << 16, 1, 0), HardwareOrigin(1, -1, 0), HardwareOrigin(1, 1, 1 << 64)]
)
def test_an_origin_out_of_range(origin):
    with pytest.raises(FormatError):
        origin.pack()


@bounded
@given(st.binary(max_size=40), st.text(max_size=70), st.lists(st.integers(-1, 2**33), max_size=9))
def test_anything_else_is_a_format_error(data, text, words):
    only_format_error(DeviceId.parse, data)
    only_format_error(HardwareOrigin.parse, data)
    only_format_error(SkuSpecific.parse, data)
    only_format_error(DeviceId.from_hex, text)
    only_format_error(DeviceId.from_words, words)


@pytest.mark.parametrize("sku_id", ["emul", "EMULA", "EMU", "EMÜL", "EMU\n"])
def test_ids_are_capitals(sku_id):
    with pytest.raises(FormatError):
        SkuSpecific(0, 0, "EM", 0, sku_id).pack()


@pytest.mark.parametrize("position", [5, 6, 7, 12, 13, 14])
def test_reserved_bytes_of_the_sku_half_are_zero(position):
    raw = bytearray(SkuSpecific(0, 7, "EM", 0, "EMUL").pack())
    assert raw[position] == 0
    raw[position] = 1
    with pytest.raises(FormatError, match="reserved"):
        SkuSpecific.parse(bytes(raw))
