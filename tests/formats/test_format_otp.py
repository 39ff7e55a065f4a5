import hashlib
import itertools

import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import otp

ONES64, ONES128 = 2**64 - 1, 2**128 - 1
key128 = st.integers(0, ONES128)
block64 = st.integers(0, ONES64)


@pytest.mark.parametrize(
    ("key", "plain", "cipher"),
    [
        (0, 0, 0x96DB702A2E6900AF),
        (0, ONES64, 0x3C6019E5E5EDD563),
        (ONES128, 0, 0x13238C710272A5D8),
        (ONES128, ONES64, 0x628D9FBD4218E5B4),
        (0x0123456789ABCDEF0123456789ABCDEF, 0x0123456789ABCDEF, 0x0E9D28685E671DD6),
    ],
)
def test_present_vectors(key, plain, cipher):
    assert otp.present_encrypt(key, plain) == cipher
    assert otp.present_decrypt(key, cipher) == plain


@bounded
@given(key128, block64)
def test_present_comes_back(key, block):
    assert otp.present_decrypt(key, otp.present_encrypt(key, block)) == block


def test_secret0_with_both_test_tokens():
    data = (0xDE0A1F1E0D6A649FD35FADB75EC82674).to_bytes(16, "little") * 2
    blocks = [0x9EE06C2ECFE4BFB1, 0x2E650CA59F4EB6C1] * 2
    scrambled = otp.scramble(data, otp.DEV_SECRET0_KEY)
    assert scrambled == b"".join(block.to_bytes(8, "little") for block in blocks)
    assert otp.descramble(scrambled, otp.DEV_SECRET0_KEY) == data
    assert otp.hw_digest(data, otp.DEV_SECRET0_KEY) == otp.hw_digest(scrambled) == 0xFD75268D66AE9543


def test_digests_of_plain_partitions():
    assert otp.hw_digest(b"\x96\x96\x96" + bytes(5)) == 0x13595A5B51EFC717
    assert otp.hw_digest(bytes(64)) == 0xC637E930AA1BEC04


def test_the_software_digest_is_the_low_half_of_sha256():
    assert otp.sw_digest(b"abc") == 0xB410FF61F20015AD  # last eight bytes of the published SHA-256 of "abc"


def test_the_creator_partition_is_hashed_without_ast_configuration():
    data = bytes(range(256)) + bytes(104)
    assert otp.sw_digest_data("CREATOR_SW_CFG", data) == data[156:]
    assert otp.sw_digest_data("OWNER_SW_CFG", bytes(704)) == bytes(704)
    for name, size in (("HW_CFG0", 64), ("CREATOR_SW_CFG", 368), ("NONE", 1)):
        with pytest.raises(FormatError):
            otp.sw_digest_data(name, bytes(size))


@pytest.mark.parametrize(
    ("value", "word"),
    [(0xA5A5, 0x27A5A5), (0xC5FC, 0x06C5FC), (0, 0), (0x64AE, 0x0A64AE), (0x75EE, 0x3E75EE)],
)
def test_ecc_vectors(value, word):
    assert otp.ecc_encode(value) == word
    assert otp.ecc_decode(word) == (value, False)


@bounded
@given(st.integers(0, 0xFFFF), st.integers(0, 21))
def test_one_wrong_bit_is_corrected(value, bit):
    assert otp.ecc_decode(otp.ecc_encode(value) ^ 1 << bit) == (value, True)


@bounded
@given(st.integers(0, 0xFFFF), st.sets(st.integers(0, 21), min_size=2, max_size=2))
def test_two_wrong_bits_are_found(value, positions):
    word = otp.ecc_encode(value)
    for bit in positions:
        word ^= 1 << bit
    with pytest.raises(FormatError):
        otp.ecc_decode(word)


def test_the_map_fills_the_memory_without_gap_or_overlap():
    end = 0
    for partition in otp.PARTITIONS.values():
        assert partition.offset == end
        end = partition.end
        if partition.digest_offset is not None:
            assert partition.digest_offset + 8 == partition.end and partition.digest_offset % 8 == 0
    assert end == otp.SIZE
    assert [p.name for p in otp.PARTITIONS.values() if p.secret] == ["SECRET0", "SECRET1", "SECRET2"]


def test_items_lie_in_their_partition_and_do_not_overlap():
    by_partition = {}
    for item in otp.ITEMS.values():
        partition = otp.PARTITIONS[item.partition]
        assert partition.offset <= item.offset
        assert item.offset + item.size <= partition.offset + partition.data_size, item
        by_partition.setdefault(item.partition, []).append(item)
    for items in by_partition.values():
        items.sort(key=lambda item: item.offset)
        assert all(a.offset + a.size <= b.offset for a, b in itertools.pairwise(items))
    assert otp.ITEMS["SPX_KEY0"].offset == otp.ITEMS["ECDSA_KEY3"].offset + 68
    assert otp.ITEMS["ROM_BOOTSTRAP_DIS"] == otp.Item("ROM_BOOTSTRAP_DIS", "OWNER_SW_CFG", 0x1B4, 4)


def test_which_partition_holds_an_address():
    assert otp.partition_at(0x6D0).name == "SECRET0" and otp.partition_at(0x7FF).name == "LIFE_CYCLE"
    with pytest.raises(FormatError):
        otp.partition_at(2048)


def test_memory_file_lines():
    assert otp.vmem_line(0x368, 0x27A5A5) == "@000368 27a5a5"
    assert otp.parse_vmem_line("@000368 27a5a5\n") == (0x368, 0x27A5A5)


@bounded
@given(st.binary(max_size=64).filter(lambda data: len(data) % 8 == 0 and data), key128)
def test_scrambling_comes_back(data, key):
    assert otp.descramble(otp.scramble(data, key), key) == data


@bounded
@given(st.binary(max_size=30), st.integers(-1, 2**130), st.text(max_size=20))
def test_anything_else_is_a_format_error(data, number, text):
    only_format_error(otp.hw_digest, data)
    only_format_error(otp.scramble, data, number)
    only_format_error(otp.present_encrypt, number, number)
    only_format_error(otp.ecc_decode, number)
    only_format_error(otp.ecc_encode, number)
    only_format_error(otp.parse_vmem_line, text)
    only_format_error(otp.partition_at, number)


def test_an_odd_block_counts_twice():
    block = hashlib.sha256(b"x").digest()[:8]
    assert otp.hw_digest(block) == otp.hw_digest(block * 2)


def test_some_triple_errors_are_found():
    # three data bits whose Hamming positions cancel to a syndrome outside the code
    positions = next(
        triple for triple in itertools.combinations(otp._HAMMING_POSITIONS, 3) if triple[0] ^ triple[1] ^ triple[2] > 21
    )
    word = otp.ecc_encode(0x1234)
    for position in positions:
        word ^= 1 << otp._HAMMING_POSITIONS.index(position)
    with pytest.raises(FormatError, match="saw more"):
        otp.ecc_decode(word)
