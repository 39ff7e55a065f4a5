from __future__ import annotations

import pytest

from drivers.virtual.earlgrey import ecc, life_cycle, otp, scramble
from drivers.virtual.earlgrey.chip_file import ChipFile
from drivers.virtual.earlgrey.faults import Faults
from drivers.virtual.earlgrey.fuses import FuseMacro, tear
from drivers.virtual.earlgrey.partitions import PARTITIONS
from station.formats import otp as shared
from station.formats.lc import LcState, transition_token


class Bench:
    """A fuse array with its controller."""

    def __init__(self, folder) -> None:
        self.file = ChipFile(folder)
        self.faults = Faults()
        self.macro = FuseMacro(self.file, self.faults, self.cut)
        self.macro.powered = True
        self.otp = otp.OtpController(self.macro)

    def cut(self) -> None:
        self.macro.powered = False

    def write(self, address: int, value: int) -> None:
        for index, data in self.otp.plan_write(address, value):
            self.otp.burn(index, data, "test")

    def lock(self, name: str) -> None:
        for index, data in self.otp.plan_digest(name):
            self.otp.burn(index, data, "test")

    def bus(self, command: int, address: int, value: int = 0) -> int:
        for offset, word in ((0x50, address), (0x54, value & 0xFFFFFFFF), (0x58, value >> 32), (0x4C, command)):
            self.otp.write_register(offset, word)
        return self.otp.read_register(0x5C) | self.otp.read_register(0x60) << 32


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "die")
    yield made
    made.file.close()


@pytest.mark.parametrize(("data", "word"), [(0xA5A5, 0x27A5A5), (0xC5FC, 0x06C5FC), (0, 0), (0x75EE, 0x3E75EE)])
def test_ecc_vectors_and_single_bit_correction(data: int, word: int) -> None:
    assert ecc.encode(data) == word
    assert all(ecc.decode(word ^ 1 << bit) == data for bit in range(22))
    assert ecc.decode(word ^ 0b11) is None


def test_scrambling_agrees_with_the_sheet() -> None:
    assert scramble.encrypt(0, 0) == 0x96DB702A2E6900AF
    assert scramble.decrypt((1 << 128) - 1, 0x628D9FBD4218E5B4) == (1 << 64) - 1
    assert scramble.digest([0] * 8) == 0xC637E930AA1BEC04
    assert scramble.digest([0x969696]) == 0x13595A5B51EFC717


def test_secret0_fuses_hold_the_vector_of_the_sheet(bench: Bench) -> None:
    token = 0xDE0A1F1E0D6A649FD35FADB75EC82674
    for n in range(4):
        bench.write(0x6D0 + 8 * n, token >> 64 * (n % 2) & (1 << 64) - 1)
    bench.lock("SECRET0")
    bench.otp.reset()
    assert bench.otp.digests["SECRET0"] == 0xFD75268D66AE9543
    assert [bench.file.words[0x6D0 // 2] & 0xFFFF, bench.file.words[0x6F0 // 2] & 0xFFFF] == [0xBFB1, 0x9543]
    assert bench.otp.token("SECRET0", 0x6D0) == token.to_bytes(16, "little")


def test_partition_table_agrees_with_the_shared_one() -> None:
    for name, mine in PARTITIONS.items():
        theirs = shared.PARTITIONS[name]
        assert (mine.offset, mine.size) == (theirs.offset, theirs.size)


def test_lock_takes_effect_at_the_next_reset(bench: Bench) -> None:
    bench.write(0x6D0, 1)
    bench.lock("SECRET0")
    assert bench.otp.read(0x6D0) == 1
    assert bench.otp.token("SECRET0", 0x6D0) is None
    bench.otp.reset()
    with pytest.raises(otp.DaiError) as refused:
        bench.otp.read(0x6D0)
    assert refused.value.code == otp.ACCESS
    with pytest.raises(otp.DaiError):
        bench.otp.plan_write(0x6D8, 1)
    assert bench.otp.read(0x6F0) == bench.otp.digests["SECRET0"]


def test_blank_secret_granule_reads_as_descrambled_zero(bench: Bench) -> None:
    assert bench.bus(1, 0x6D0) == scramble.decrypt(scramble.SECRET_KEYS["SECRET0"], 0) != 0


def test_direct_access_over_registers(bench: Bench) -> None:
    bench.bus(2, 0x100, 0x1234)
    assert bench.bus(1, 0x100) == 0x1234
    assert bench.otp.read_register(0x900) == 0x1234
    bench.bus(2, 0x100, 0x4321)  # would clear bits
    assert bench.otp.read_register(0x10) & 0x800
    assert bench.otp.read_register(0x14 + 44) == otp.WRITE_BLANK
    assert bench.bus(1, 0x100) == 0x1234
    bench.bus(2, 0x7A8, 1)  # life cycle words belong to their controller
    assert bench.otp.read_register(0x14 + 44) == otp.ACCESS


def test_second_programming_is_recorded(bench: Bench) -> None:
    bench.write(0x678, 0x10)
    bench.write(0x678, 0x10)
    [first] = [burn for burn in bench.file.double_burns if burn["address"] == 0x678]
    assert first["who"] == "test" and first["old"] == ecc.encode(0x10) and first["when"]


def test_unreadable_word_ends_direct_access_until_reset(bench: Bench) -> None:
    bench.faults.arm("torn_word", "1")
    bench.write(0x678, 0x0000FFFF)
    with pytest.raises(otp.DaiError) as torn:
        bench.otp.read(0x678)
    assert torn.value.code == otp.MACRO_UNCORRECTABLE
    assert not bench.otp.read_register(0x10) & 1 << 18
    bench.otp.reset()
    assert bench.otp.read_register(0x10) & 1 << 18
    assert bench.otp.partition_error
    assert bench.otp.device_words[0] == (0xFFFFFFFF,) * 8


def test_torn_words_are_partly_programmed() -> None:
    for data in (0xFFFF, 0x1234, 0x8001, 0x0F0F):
        word = ecc.encode(data)
        torn = tear(0, word)
        assert torn & ~word == 0 and 0 < torn < word and ecc.decode(torn) is None


@pytest.mark.parametrize("source", [LcState(n) for n in range(LcState.SCRAP)])
def test_every_allowed_transition_only_adds_bits(source: LcState) -> None:
    for target in (LcState(n) for n in range(LcState.SCRAP + 1)):
        if transition_token(source, target) is not None:
            pairs = zip(life_cycle.state_words(source), life_cycle.state_words(target), strict=True)
            assert all(not ecc.encode(old) & ~ecc.encode(new) for old, new in pairs)


def test_counts_only_add_bits() -> None:
    for n in range(24):
        pairs = zip(life_cycle.count_words(n), life_cycle.count_words(n + 1), strict=True)
        assert all(not ecc.encode(old) & ~ecc.encode(new) for old, new in pairs)
