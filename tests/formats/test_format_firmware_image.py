import struct

import pytest
from formats_help import bounded
from hex_help import text, word
from hypothesis import given
from hypothesis import strategies as st

from station.formats import firmware_image, hex_file
from station.formats.firmware_image import CoreImage
from station.formats.hex_file import HexError
from station.formats.nordic_family import FAMILIES
from station.formats.uicr_content import BY_DEFAULT, ON_REQUEST, Uicr, kind_of

NRF53, NRF91 = FAMILIES["nrf5340"], FAMILIES["nrf9160"]
NOTHING = frozenset()


def split(family, *blocks, allowed=BY_DEFAULT):
    return firmware_image.split(family, hex_file.read(text(*blocks)), allowed)


def findings(family, *blocks, allowed=BY_DEFAULT):
    with pytest.raises(HexError) as caught:
        split(family, *blocks, allowed=allowed)
    return caught.value.findings


def test_a_merged_file_is_split_by_address():
    found = split(NRF53, (0, b"app" * 100), (0x8000, b"more"), (0x0100_0000, b"net"), word(0x00FF_8128, 0x8000))
    assert [(b.address, b.data) for b in found["app"].blocks] == [(0, b"app" * 100), (0x8000, b"more")]
    assert [(b.address, b.data) for b in found["net"].blocks] == [(0x0100_0000, b"net")]
    assert found["app"].uicr == {0x00FF_8128: 0x8000} and found["net"].uicr == {} and found["app"].length == 304


def test_an_app_image_alone():
    assert set(split(NRF91, (0, b"app"))) == {"app"}


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (NRF53, 0x000F_FFFE),  # the last two bytes of flash, then two behind it
        (NRF53, 0x0104_0000),
        (NRF53, 0x2000_0000),
        (NRF53, 0x00FF_0200),  # FICR
        (NRF91, 0x0100_0000),  # this family has no network core
        (NRF91, 0x1000_0000),
    ],
)
def test_an_address_outside_is_a_finding_with_its_line(family, address):
    [found] = findings(family, (0, bytes(32)), (address, bytes(4)))
    assert "of another family" in found.sentence
    wrong = max(address, 0x0010_0000) if address < 0x0100_0000 and address < 0x00FF_0000 else address
    assert f"{wrong:#010x}" in found.sentence and found.line >= 3


LCS, IMPLEMENTATION, KMU = 0x00FF_8100, 0x00FF_8108, 0x00FF_8410


@pytest.mark.parametrize(
    ("address", "value", "reason"),
    [
        (0x00FF_8020, 0, "ERASEPROTECT"),
        (0x01FF_8004, 0x50FA50FA, "ERASEPROTECT"),
        (LCS, 0xFFFF0000, "life cycle"),
        (LCS + 4, 0x0000FFFF, "life cycle"),
        (IMPLEMENTATION, 0xAAAAAAAA, "implementation id"),
        (IMPLEMENTATION + 28, 0, "implementation id"),
        (KMU, 0x50845400, "KMU"),
        (0x00FF_8800, 0, "KMU"),
        (0x00FF_8000, 0, "debug port"),
        (0x00FF_801C, 0x12345678, "debug port"),
        (0x01FF_8000, 0, "debug port"),
        (0x00FF_8004, 0, "reserved"),
        (0x01FF_8100, 0, "network core's UICR"),
        (0x01FF_8200, 0, "network core's UICR"),  # NRFFW and CUSTOMER are of that core's own firmware
        (0x01FF_8300, 0, "network core's UICR"),
    ],
)
def test_words_that_no_image_may_write(address, value, reason):
    [found] = findings(NRF53, (0, bytes(4)), word(address, value))
    assert reason in found.sentence and f"{address:#010x}" in found.sentence and found.line == 3


@pytest.mark.parametrize("address", [0x00FF_8020, LCS, IMPLEMENTATION, KMU, 0x00FF_8000, 0x00FF_8004])
def test_an_erased_word_writes_nothing(address):
    assert split(NRF53, (0, bytes(4)), word(address, 0xFFFFFFFF))["app"].uicr == {}


def test_the_word_that_keeps_the_port_open_is_not_written_by_the_image():
    assert split(NRF53, (0, bytes(4)), word(0x00FF_8000, 0x50FA50FA))["app"].uicr == {}
    assert findings(NRF91, (0, bytes(4)), word(0x00FF_8000, 0x50FA50FA))


def test_what_a_pack_may_allow_and_what_not():
    every = BY_DEFAULT | ON_REQUEST
    found = split(NRF53, (0, bytes(4)), word(0x00FF_8000, 0), word(IMPLEMENTATION, 5), allowed=every)
    assert found["app"].uicr == {0x00FF_8000: 0, IMPLEMENTATION: 5}
    for kind in (Uicr.ERASEPROTECT, Uicr.LIFE_CYCLE, Uicr.KMU, Uicr.NETWORK, Uicr.RESERVED):
        assert kind not in every
    [found] = findings(NRF53, (0, bytes(4)), word(0x01FF_8000, 0), allowed=every)
    assert "net_lock says who closes" in found.sentence
    assert split(NRF53, (0, bytes(4)), word(0x01FF_8000, 0x50FA50FA)) == split(NRF53, (0, bytes(4)))


def test_a_provisioning_image_writes_no_uicr_at_all():
    for address in (0x00FF_8128, 0x00FF_8010, 0x00FF_83F0):
        [found] = findings(NRF53, (0, bytes(4)), word(address, 0), allowed=NOTHING)
        assert "belongs into the production image" in found.sentence


def test_the_storage_of_mcuboot_alone_would_end_the_life_cycle():
    """sdk-nrf:scripts/bootloader/provision.py --mcuboot-only begins at the base and fills it with zeros."""
    storage = bytes(8 + 32 + 12) + struct.pack("<HHHH", 1, 1, 2, 2) + b"\xff" * 4
    found = findings(NRF53, (0, bytes(4)), (NRF53.storage, storage))
    assert len(found) == 10 and "for MCUboot alone" in found[0].sentence


def test_the_storage_of_the_usual_script_is_allowed():
    storage = struct.pack("<IIII", 0x8000, 0x14000, 1, 0x50FAFFFF) + bytes(16)
    assert len(split(NRF53, (0, bytes(4)), (NRF53.storage + 0x28, storage))["app"].uicr) == 8


def test_half_a_word_of_uicr():
    [found] = findings(NRF53, (0, bytes(4)), (0x00FF_8128, b"ab"))
    assert "whole words" in found.sentence
    [found] = findings(NRF53, (0, bytes(4)), (0x00FF_812A, b"abcd"))
    assert "whole words" in found.sentence


def test_all_findings_come_at_once_in_the_order_of_lines():
    found = findings(NRF53, word(0x00FF_8020, 0), (0, bytes(4)), word(LCS, 0), (0x3000_0000, b"x"))
    assert [one.line for one in found] == [2, 6, 8]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_word_of_uicr_has_one_kind(family):
    kinds = {address: kind_of(family, core, address) for core in family.cores
             for address in range(core.uicr.start, core.uicr.end, 4)}  # fmt: skip
    count = {kind: list(kinds.values()).count(kind) for kind in Uicr}
    assert count[Uicr.LIFE_CYCLE] == 2 and count[Uicr.IMPLEMENTATION_ID] == 8 and count[Uicr.BOOT_DATA] == 150
    assert count[Uicr.ERASEPROTECT] == len(family.cores) and count[Uicr.KMU] == 0xC00 // 4
    assert kinds[family.storage] is Uicr.LIFE_CYCLE and kinds[family.app.approtect] is Uicr.APPROTECT


def test_two_files_together():
    app, net = split(NRF53, (0, b"app!")), split(NRF53, (0x0100_0000, b"net!"))
    found = firmware_image.together({"tfm_app": app, "tfm_net": net})
    assert set(found) == {"app", "net"} and found["net"].blocks[0].data == b"net!"


def test_the_same_address_in_two_files():
    one, two = split(NRF53, (0x100, bytes(64))), split(NRF53, (0x13F, b"x"))
    with pytest.raises(HexError, match="two and one both hold 0x0000013f"):
        firmware_image.together({"one": one, "two": two})
    first, second = {"app": CoreImage((), {0x00FF_8128: 1})}, {"app": CoreImage((), {0x00FF_8128: 2})}
    with pytest.raises(HexError, match="two values"):
        firmware_image.together({"one": first, "two": second})
    assert firmware_image.together({"one": first, "two": first})["app"].uicr == {0x00FF_8128: 1}


PLACES = st.sampled_from([0, 0xFFFF0, 0x00FF_8000, 0x00FF_8100, 0x00FF_83FC, 0x0100_0000, 0x01FF_8000, 0x2000_0000])


@bounded
@given(st.sampled_from(sorted(FAMILIES)), st.dictionaries(PLACES, st.binary(min_size=1, max_size=40), min_size=1))
def test_nothing_is_lost_and_nothing_goes_elsewhere(name, content):
    raw = text(*sorted(content.items()))
    try:
        found = firmware_image.split(FAMILIES[name], hex_file.read(raw), frozenset(Uicr))
    except HexError as error:
        assert error.findings and all(20 < len(one.sentence) < 400 and one.line for one in error.findings)
        return
    written = {block.address + n: byte for image in found.values() for block in image.blocks
               for n, byte in enumerate(block.data)}  # fmt: skip
    words = {a + n: byte for image in found.values() for a, v in image.uicr.items()
             for n, byte in enumerate(v.to_bytes(4, "little"))}  # fmt: skip
    for address, data in content.items():
        for n, byte in enumerate(data):
            assert {**written, **words}.get(address + n, byte) == byte
            assert address + n in written or 0xFF8000 <= (address + n) & 0xFEFFFFFF < 0xFF9000
