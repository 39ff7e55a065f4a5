import struct

import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import bl_storage
from station.formats.bl_storage import Counter, LifeCycle, PublicKeyHash

WORDS = bl_storage.BYTES // 4
CERTIFICATE = "0632793519539-10100"


def words_of(raw):
    raw = raw.ljust(bl_storage.BYTES, b"\xff")
    return [word for (word,) in struct.iter_unpack("<I", raw)]


def provision_data(s0=0x8000, s1=0x14000, hashes=(), nsib=(), mcuboot=(), certificate="", item_type=1):
    """What sdk-nrf:scripts/bootloader/provision.py lays down from base + 0x28 on (sheet 2.3)."""
    body = struct.pack("<III", s0, s1, len(hashes))
    for index, digest in enumerate(hashes):
        body += struct.pack("<I", 0x50FAFFFF | index << 24) + digest
    counters = [(kind, values) for kind, values in ((1, nsib), (2, mcuboot)) if values]
    if counters:
        body += struct.pack("<HH", 1, len(counters))
    for kind, values in counters:
        body += struct.pack("<HH", kind, len(values)) + b"".join(struct.pack("<H", 0xFFFF ^ v) for v in values)
    if certificate:
        item = struct.pack("<BB", item_type, len(certificate)) + certificate.encode()
        body += struct.pack("<HH", 0x9312, 1) + item
        body += bytes(-len(body) % 4)
    return body


def storage(lcs=b"\xff" * 8, identity=b"\xff" * 32, boot=b""):
    return bl_storage.parse(words_of(lcs + identity + boot))


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF, "ASSEMBLY"),
        (0xFFFF0000, 0xFFFFFFFF, "PROVISIONING"),
        (0x00000000, 0xFFFFFFFF, "SECURED"),
        (0x00000000, 0x0000FFFF, "DECOMMISSIONED"),
    ],
)
def test_the_states_of_the_sheet(low, high, state):
    assert bl_storage.life_cycle(low, high) == state
    assert bl_storage.life_cycle_words(LifeCycle(state)) == (low, high)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0x0000FFFF, 0xFFFFFFFF),  # secured before provisioning
        (0xFFFF0001, 0xFFFFFFFF),  # a torn halfword
        (0x80000000, 0xFFFFFFFF),
        (0xFFFFFFFF, 0x0000FFFF),
        (0xFFFF0000, 0x0000FFFF),
        (0x00000000, 0x00000000),  # the reserved halfword was written
        (0x00000000, 0xFFFF0000),
    ],
)
def test_every_other_pattern_is_illegal(low, high):
    assert bl_storage.life_cycle(low, high) is LifeCycle.ILLEGAL


def test_an_illegal_state_has_no_words():
    with pytest.raises(FormatError):
        bl_storage.life_cycle_words(LifeCycle.ILLEGAL)


@bounded
@given(st.sampled_from([state for state in LifeCycle if state is not LifeCycle.ILLEGAL]), st.integers(0, 63))
def test_no_single_bit_turns_one_state_into_another(state, bit):
    """Halfwords are far apart: a torn write is never taken for a state."""
    low, high = bl_storage.life_cycle_words(state)
    flipped = (high << 32 | low) ^ 1 << bit
    assert bl_storage.life_cycle(flipped & 0xFFFFFFFF, flipped >> 32) is LifeCycle.ILLEGAL


def test_a_blank_part():
    found = storage()
    assert found.life_cycle is LifeCycle.ASSEMBLY and not found.has_implementation_id and found.boot_data is None


def test_a_whole_storage():
    hashes = [bytes(range(16)), bytes(range(16, 32))]
    boot = provision_data(hashes=hashes, nsib=(1, 5, 0, 0), mcuboot=(0, 0), certificate=CERTIFICATE)
    found = storage(struct.pack("<II", 0, 0xFFFFFFFF), b"\x11" * 32, boot)
    assert found.life_cycle is LifeCycle.SECURED and found.implementation_id == b"\x11" * 32
    data = found.boot_data
    assert (data.s0_address, data.s1_address) == (0x8000, 0x14000)
    assert data.keys == (PublicKeyHash(0, True, hashes[0]), PublicKeyHash(1, True, hashes[1]))
    assert data.counters == (Counter(1, 4, 5), Counter(2, 2, 0)) and data.certificate_reference == CERTIFICATE


@pytest.mark.parametrize("item_type", [1, 2])
def test_both_numberings_of_the_certificate_reference(item_type):
    boot = provision_data(certificate=CERTIFICATE, item_type=item_type)
    assert storage(boot=boot).boot_data.certificate_reference == CERTIFICATE


def test_the_old_first_item_is_an_address_and_no_certificate():
    url = b"www.trustedfirmware.org"
    items = struct.pack("<HHBB", 0x9312, 2, 1, len(url)) + url + struct.pack("<BB", 2, 19) + CERTIFICATE.encode()
    found = storage(boot=provision_data() + items).boot_data
    assert found.variable[0] == (1, url) and found.certificate_reference == CERTIFICATE


def test_a_revoked_key():
    boot = bytearray(provision_data(hashes=[bytes(16)]))
    boot[12:14] = b"\0\0"
    assert storage(boot=bytes(boot)).boot_data.keys == (PublicKeyHash(0, False, bytes(16)),)


def test_without_counters_variable_data_follows_the_keys():
    assert storage(boot=provision_data(certificate=CERTIFICATE)).boot_data.counters == ()


@pytest.mark.parametrize(
    ("boot", "reason"),
    [
        (struct.pack("<III", 0, 0, 17), "at most 16"),
        (provision_data(hashes=[b"\x01" * 4 + b"\xff\xff" + b"\x01" * 10]), "0xFFFF"),
        (struct.pack("<IIII", 0, 0, 1, 0x12345678), "valid or the invalid mark"),
        (struct.pack("<IIIHHHH", 0, 0, 0, 1, 1, 1, 0x8000), "lead past"),
        (struct.pack("<IIIHH", 0, 0, 0, 0x9312, 500), "lead past"),
    ],
)
def test_damage_is_one_sentence(boot, reason):
    with pytest.raises(FormatError, match=reason):
        storage(boot=boot)


def test_the_number_of_words_is_fixed():
    with pytest.raises(FormatError, match="160 words"):
        bl_storage.parse([0] * 10)


HASH = st.binary(min_size=16, max_size=16).filter(
    lambda raw: b"\xff\xff" not in [raw[n : n + 2] for n in range(0, 16, 2)]
)
COUNTS = st.lists(st.integers(0, 0xFFFE), max_size=8).map(lambda values: tuple(sorted(values)))


@bounded
@given(st.lists(HASH, max_size=6), COUNTS, COUNTS, st.sampled_from(["", CERTIFICATE]), st.sampled_from([1, 2]))
def test_what_the_script_lays_down_is_read_back(hashes, nsib, mcuboot, certificate, item_type):
    found = storage(boot=provision_data(0x1000, 0x2000, hashes, nsib, mcuboot, certificate, item_type)).boot_data
    assert [key.hash for key in found.keys] == hashes and all(key.valid for key in found.keys)
    assert [(one.description, one.slots, one.value) for one in found.counters] == [
        (kind, len(values), max(values)) for kind, values in ((1, nsib), (2, mcuboot)) if values
    ]
    assert found.certificate_reference == certificate


@bounded
@given(
    st.lists(
        st.integers(0, 0xFFFFFFFF) | st.sampled_from([0xFFFFFFFF, 0, 1, 0x93120001]), min_size=WORDS, max_size=WORDS
    )
)
def test_any_words_are_a_storage_or_a_sentence(words):
    only_format_error(bl_storage.parse, words)
