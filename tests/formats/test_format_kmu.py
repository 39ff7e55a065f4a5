import pytest
from formats_help import bounded
from hypothesis import given
from hypothesis import strategies as st

from station.formats import kmu
from station.formats.kmu import Slot
from station.formats.nordic_family import FAMILIES

BLANK = Slot(0xFFFFFFFF, 0xFFFFFFFF)
SHEET = {
    "nrf5340": {2: 0x50845400, 3: 0x50845410, 4: 0x50845400, 5: 0x50845410},
    "nrf9160": {2: 0x50841400, 4: 0x50841400},
    "nrf91x1": {2: 0x50841400, 4: 0x50841400},
}
"""DEST of MKEK and MEXT (sheet 2.5); PERM of all of them is 0xFFFFFFFC, of slots 6 and 7 0xFFFFFFFA."""


def provisioned(name):
    huk = {number: Slot(dest, 0xFFFFFFFC) for number, dest in SHEET[name].items()}
    return {**huk, 6: Slot(0xFFFFFFFF, 0xFFFFFFFA), 7: Slot(0xFFFFFFFF, 0xFFFFFFFA)}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_provisioned_part(name):
    family = FAMILIES[name]
    assert kmu.slots_of(family) == (*SHEET[name], 6, 7)
    found = kmu.judge(family, provisioned(name))
    assert found.are_complete and not found.are_blank and "2 of 2 of the identity key" in found.sentence


@pytest.mark.parametrize("name", FAMILIES)
def test_a_blank_part(name):
    found = kmu.judge(FAMILIES[name], dict.fromkeys(kmu.slots_of(FAMILIES[name]), BLANK))
    assert found.are_blank and not found.are_complete and found.sentence == "no key is in the KMU"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_missing_slot_is_incomplete_and_not_blank(name):
    for number in provisioned(name):
        found = kmu.judge(FAMILIES[name], {**provisioned(name), number: BLANK})
        assert not found.are_complete and not found.are_blank and not found.wrong


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "slot",
    [
        Slot(0x50845400, 0xFFFFFFFF),  # power was cut before PERM
        Slot(0xFFFFFFFF, 0xFFFFFFFC),  # no DEST
        Slot(0x50845400, 0xFFFEFFFC),  # revoked
        Slot(0x50845400, 0xFFFFFFFE),  # readable
        Slot(0x20000000, 0xFFFFFFFC),  # pushed where anybody reads it
    ],
)
def test_a_slot_that_the_image_never_leaves_like_this(name, slot):
    found = kmu.judge(FAMILIES[name], {**provisioned(name), 4: slot})
    assert not found.are_complete and "slot 4" in found.sentence


def test_the_permission_bits():
    assert Slot(0, 0xFFFFFFFC).words.endswith("(allows push)")
    assert Slot(0, 0xFFFFFFFA).words.endswith("(allows read)")
    assert Slot(0, 0xFFFFFFF8).words.endswith("(allows nothing)")
    assert Slot(0, 0xFFFEFFFC).words.endswith("(revoked)") and BLANK.words.endswith("(blank)")


def test_where_the_words_lie():
    assert kmu.config_address(2) == 0x00FF8410 and kmu.config_address(7) == 0x00FF8438


@bounded
@given(st.sampled_from(sorted(FAMILIES)), st.data())
def test_complete_means_exactly_the_sheets_words(name, data):
    seen = provisioned(name)
    number = data.draw(st.sampled_from(sorted(seen)))
    word = data.draw(st.integers(0, 31))
    dest, perm = seen[number].dest, seen[number].perm ^ 1 << word
    assert not kmu.judge(FAMILIES[name], {**seen, number: Slot(dest, perm)}).are_complete
