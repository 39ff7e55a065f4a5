"""Flash controller, UICR, OTP, KMU and FICR as a debugger meets them: nordic-tfm sheet 2.1 to 2.5, 2.7."""

from __future__ import annotations

import struct

import pytest
from nordic_rig import CONFIG, NVMC_APP, NVMC_NET, READY

from drivers.virtual.nrf.debug_port import TransferFault

KMU_STATUS, KMU_SELECT, KMU_PUSH = NVMC_APP + 0x40C, NVMC_APP + 0x500, NVMC_APP
PUSHED, REVOKED, ERROR = NVMC_APP + 0x100, NVMC_APP + 0x104, NVMC_APP + 0x108
KMU_CONFIG, KMU_KEY = 0x00FF_8400, 0x00FF_8800


@pytest.fixture
def part(rig):
    """An open nRF5340."""
    return opened(rig())


@pytest.fixture
def any_part(any_rig):
    """An open part of each kind."""
    return opened(any_rig)


def opened(part):
    part.open_words()
    part.start("keep_open_app")
    return part


def test_flash_takes_words_only_with_write_enable(any_part):
    any_part.write(0x2000, 0x1234_5678)
    assert any_part.read(0x2000) == 0xFFFF_FFFF
    any_part.burn(0x2000, 0x1234_5678, 0xAAAA_5555)
    assert any_part.port.read_words(0, 0x2000, 2) == [0x1234_5678, 0xAAAA_5555]


def test_bits_go_from_one_to_zero_only(part):
    part.burn(0x3000, 0xFFFF_00FF)
    part.burn(0x3000, 0x00FF_FFFF)
    assert part.read(0x3000) == 0x00FF_00FF


def test_flash_takes_no_bytes_and_no_halfwords(part):
    part.mode(1)
    for data in (b"\x00", b"\x00\x00"):
        with pytest.raises(TransferFault):
            part.port.write_bytes(0, 0x2000, data)
    with pytest.raises(TransferFault):
        part.write(0x2002, 0)
    assert part.read(0x2000) == 0xFFFF_FFFF


@pytest.mark.parametrize("core", ["app", "net"])
def test_page_erase_has_the_page_size_of_its_core(part, core):
    ap, nvmc, flash, page = (0, NVMC_APP, 0, 0x1000) if core == "app" else (1, NVMC_NET, 0x0100_0000, 0x800)
    if core == "net":
        part.flash("keep_open_net")
        part.write(0x5000_5614, 0)
        assert part.wait_idle("net") == "done"
    first = flash + 4 * page
    for at in (first - 4, first, first + page - 4, first + page):
        part.burn(at, 0, nvmc=nvmc, ap=ap)
    part.mode(2, nvmc, ap)
    part.write(first + 4, 0xFFFF_FFFF, ap=ap)  # not the first word of a page
    part.write(first, 0xFFFF_FFFE, ap=ap)  # not all ones
    part.mode(0, nvmc, ap)
    assert part.read(first, ap) == 0
    part.mode(2, nvmc, ap)
    part.write(first, 0xFFFF_FFFF, ap=ap)
    part.mode(0, nvmc, ap)
    words = [part.read(at, ap) for at in (first - 4, first, first + page - 4, first + page)]
    assert words == [0, 0xFFFF_FFFF, 0xFFFF_FFFF, 0]


def test_partial_erase_needs_its_time_in_pieces(part):
    part.burn(0x4000, 0)
    part.write(NVMC_APP + 0x51C, 30)
    part.mode(4)
    for _ in range(2):
        part.write(0x4000, 0xFFFF_FFFF)
    assert part.read(0x4000) == 0
    part.write(0x4000, 0xFFFF_FFFF)
    part.wait_ready()
    assert part.read(0x4000) == 0xFFFF_FFFF


def test_busy_shows_in_ready_and_ignores_a_new_mode(part, monkeypatch):
    monkeypatch.setattr("drivers.virtual.nrf.nvmc.PAGE_SECONDS", 0.05)
    part.mode(2)
    part.write(0x5000, 0xFFFF_FFFF)
    assert part.read(NVMC_APP + READY) == 0
    part.write(NVMC_APP + CONFIG, 1)
    assert part.read(NVMC_APP + CONFIG) == 2
    assert part.read(0x5000) == 0xFFFF_FFFF  # the bus stalls until the erase is over
    assert part.read(NVMC_APP + READY) == 1


def test_uicr_is_no_page_and_falls_only(any_part):
    place = any_part.silicon.app.uicr + 0x10
    any_part.burn(place, 0xFFFF_0FF0)
    any_part.mode(2)
    any_part.write(any_part.silicon.app.uicr, 0xFFFF_FFFF)
    any_part.mode(0)
    any_part.burn(place, 0x00FF_FFFF)
    assert any_part.read(place) == 0x00FF_0FF0
    assert [burn["word"] for burn in any_part.state()["double_burns"]] == [f"{place:#010x}"]


def test_uicr_needs_write_enable(part):
    part.write(0x00FF_8010, 0)
    assert part.read(0x00FF_8010) == 0xFFFF_FFFF


def test_nvmc_erase_all_takes_uicr_and_keys_along(any_part):
    storage = any_part.silicon.storage
    any_part.burn(storage, 0xFFFF_0000)
    any_part.burn(0x2000, 0)
    any_part.write(NVMC_APP + 0x50C, 1)  # not in erase mode
    assert any_part.read(storage) == 0xFFFF_0000
    any_part.mode(2)
    any_part.write(NVMC_APP + 0x50C, 1)
    assert any_part.read(NVMC_APP + READY) == 0
    any_part.wait_ready()
    assert any_part.read(storage) == any_part.read(0x2000) == any_part.read(0) == 0xFFFF_FFFF
    assert [erased["by"] for erased in any_part.state()["erase_alls"]] == ["NVMC (debugger)"]


# ---- OTP ------------------------------------------------------------------------------------------------------------


def test_each_half_of_an_otp_word_is_written_once(any_part):
    place = any_part.silicon.storage + 0x40
    any_part.burn(place, 0xFFFF_1234)
    any_part.burn(place, 0x5678_FFFF)
    assert (any_part.read(place), any_part.read(KMU_STATUS)) == (0x5678_1234, 0)
    assert any_part.state()["double_burns"] == []
    any_part.burn(place, 0xFFFF_0000)
    assert (any_part.read(place), any_part.read(KMU_STATUS)) == (0x5678_1234, 2)
    (burn,) = any_part.state()["double_burns"]
    assert (burn["word"], burn["old"], burn["new"], burn["who"]) == (
        f"{place:#010x}", 0x5678_1234, 0xFFFF_0000, "debugger",
    )  # fmt: skip


def test_a_violation_in_one_half_leaves_the_whole_word(part):
    part.burn(0x00FF_8140, 0xFFFF_0000)
    part.burn(0x00FF_8140, 0x1111_2222)
    assert part.read(0x00FF_8140) == 0xFFFF_0000


def test_otp_takes_words_only(part):
    part.mode(1)
    part.port.write_bytes(0, 0x00FF_8140, b"\x00\x00")
    assert part.read(0x00FF_8140) == 0xFFFF_FFFF
    assert part.read(KMU_STATUS) == 2
    part.system_reset()
    assert part.read(KMU_STATUS) == 0


@pytest.mark.parametrize(("chip", "first", "words"), [("nrf5340", 0x00FF_8100, 0xC0), ("nrf9160", 0x00FF_8108, 0xBE)])
def test_otp_lies_where_the_sheet_says(rig, chip, first, words):
    part = opened(rig(chip))
    for place in (first, first + 4 * words - 4):
        part.burn(place, 0xFFFF_0000)
        part.burn(place, 0xFFFF_0000)
        assert part.read(KMU_STATUS) == 2
        part.system_reset()
    part.burn(first - 4, 0)  # a configuration word: falls without the rule
    assert part.read(KMU_STATUS) == 0


# ---- KMU ------------------------------------------------------------------------------------------------------------


def write_slot(part, slot, permission, value=(1, 2, 3, 4)):
    part.write(KMU_SELECT, slot + 1)
    part.burn(KMU_CONFIG + 8 * slot, 0x2000_0100)
    part.burn(KMU_KEY + 16 * slot, *value)
    part.burn(KMU_CONFIG + 8 * slot + 4, permission)


def test_a_slot_answers_while_it_is_selected(any_part):
    slot = 11
    assert any_part.read(KMU_KEY + 16 * slot) == 0xDEAD_DEAD
    write_slot(any_part, slot, 0xFFFF_FFFA)
    assert any_part.port.read_words(0, KMU_KEY + 16 * slot, 4) == [1, 2, 3, 4]
    assert any_part.read(KMU_STATUS) == 1
    any_part.write(KMU_SELECT, slot + 2)
    assert any_part.read(KMU_KEY + 16 * slot) == any_part.read(KMU_CONFIG + 8 * slot + 4) == 0xDEAD_DEAD
    any_part.write(KMU_SELECT, 0)
    assert any_part.read(KMU_KEY + 16 * slot) == 0xDEAD_DEAD
    assert any_part.read(KMU_STATUS) == 0


def test_a_slot_without_read_permission_keeps_its_value(part):
    write_slot(part, 2, 0xFFFF_FFFC)
    assert part.read(KMU_CONFIG + 8 * 2 + 4) == 0xFFFF_FFFC
    assert part.port.read_words(0, KMU_KEY + 32, 4) == [0xDEAD_DEAD] * 4
    assert part.app.uicr.value(2) == struct.pack("<4I", 1, 2, 3, 4)


def test_a_slot_that_is_not_selected_takes_nothing(part):
    part.write(KMU_SELECT, 9)
    part.burn(KMU_KEY + 16 * 9, 5)  # slot 9 needs 10
    assert part.read(KMU_STATUS) == 3
    part.write(KMU_SELECT, 10)
    assert part.read(KMU_KEY + 16 * 9) == 0xFFFF_FFFF


def test_a_finished_slot_takes_nothing_more(part):
    write_slot(part, 4, 0xFFFF_FFFA)
    part.burn(KMU_KEY + 64, 0xFFFF_0000)
    part.burn(KMU_CONFIG + 8 * 4, 0)
    assert part.read(KMU_KEY + 64) == 1
    assert part.read(KMU_CONFIG + 8 * 4) == 0x2000_0100
    assert [burn["word"] for burn in part.state()["double_burns"]] == ["kmu4.value0", "kmu4.dest"]


def test_value_words_are_written_once(part):
    part.write(KMU_SELECT, 5)
    part.burn(KMU_KEY + 64, 0x0000_1111)
    part.burn(KMU_KEY + 64, 0x0000_0000)
    assert part.read(KMU_KEY + 64) == 0x0000_1111


def test_halves_of_the_permission_word_are_written_once(part):
    write_slot(part, 6, 0xFFFF_FFFA)
    part.burn(KMU_CONFIG + 8 * 6 + 4, 0xFFFF_FFF8)
    assert part.read(KMU_CONFIG + 8 * 6 + 4) == 0xFFFF_FFFA
    assert part.state()["double_burns"][-1]["word"] == "kmu6.perm"


def test_revoking_wipes_the_value(part):
    write_slot(part, 7, 0xFFFF_FFFA)
    part.burn(KMU_CONFIG + 8 * 7 + 4, 0xFFFE_FFFF)
    assert part.read(KMU_KEY + 112) == 0xDEAD_DEAD
    assert part.app.uicr.value(7) == bytes(16)
    part.write(KMU_PUSH, 1)
    assert [part.read(event) for event in (PUSHED, REVOKED, ERROR)] == [0, 0, 1]  # PUSH is not permitted either


def test_push_needs_its_permission(part):
    write_slot(part, 2, 0xFFFF_FFFC)
    part.write(KMU_PUSH, 1)
    assert [part.read(event) for event in (PUSHED, REVOKED, ERROR)] == [1, 0, 0]
    part.burn(KMU_CONFIG + 8 * 2 + 4, 0xFFFE_FFFF)
    part.write(PUSHED, 0)
    part.write(KMU_PUSH, 1)
    assert [part.read(event) for event in (PUSHED, REVOKED, ERROR)] == [0, 1, 0]
    part.write(KMU_SELECT, 0)
    part.write(KMU_PUSH, 1)
    assert part.read(ERROR) == 1


def test_there_are_128_slots(part):
    write_slot(part, 127, 0xFFFF_FFFA)
    assert part.read(KMU_KEY + 16 * 127) == 1
    part.write(KMU_SELECT, 129)
    assert part.read(KMU_SELECT) == 0


def test_non_secure_alias_is_the_same_block(part):
    part.write(0x4003_9500, 3)
    assert part.read(KMU_SELECT) == 3


# ---- FICR and the rest of the bus -----------------------------------------------------------------------------------


def test_factory_information(any_part):
    name = any_part.silicon.name
    expected = {"nrf5340": 0x5340, "nrf9160": 0x9160, "nrf91x1": 0x9120}[name]
    assert any_part.read(0x00FF_020C) == expected
    assert any_part.port.read_words(0, 0x00FF_0204, 2) == any_part.state()["device_id"]
    assert (any_part.read(0x00FF_0220), any_part.read(0x00FF_0224)) == (0x1000, 256)
    if name != "nrf5340":
        assert any_part.read(0x00FF_0140) == expected
    any_part.mode(1)
    any_part.write(0x00FF_0204, 0)
    assert any_part.port.read_words(0, 0x00FF_0204, 2) == any_part.state()["device_id"]


def test_every_part_has_its_own_device_id(rig):
    first, second = rig(), rig()
    assert first.state()["device_id"] != second.state()["device_id"]
    known = first.state()["device_id"]
    first.reopen()
    assert first.state()["device_id"] == known
    assert int(first.state()["label"], 16) == known[1] << 32 | known[0]


def test_ram_takes_all_sizes_and_keeps_over_resets(part):
    part.port.write_bytes(0, 0x2000_0001, b"\xaa\xbb")
    part.write(0x2000_0004, 0xCAFE_F00D)
    part.system_reset()
    part.pin_reset()
    assert part.port.read_bytes(0, 0x2000_0000, 8) == b"\x00\xaa\xbb\x00\x0d\xf0\xfe\xca"


def test_nothing_at_an_address_is_a_fault(part):
    for address in (0x1000_0000, 0x2008_0000, 0x0010_0000, 0x2100_0000, 0xE010_0000):
        with pytest.raises(TransferFault):
            part.read(address)


def test_a_stuck_bit_shows_when_read_back(part):
    part.chip.fault("verify_mismatch", "0x00006008")
    part.burn(0x6000, 0, 0, 0x1234_5670, 0)
    assert part.port.read_words(0, 0x6000, 4) == [0, 0, 0x1234_5671, 0]
    part.chip.fault("clear")
    part.chip.fault("verify_mismatch")
    part.burn(0x7000, 0xFFFF_FFFF, 0xFFFF_FF00)
    assert part.port.read_words(0, 0x7000, 2) == [0xFFFF_FFFF, 0xFFFF_FF01]
    assert part.state()["faults"] == ["verify_mismatch:0x00007004"]


def test_power_lost_in_a_debugger_write_is_no_answer(part):
    from drivers.virtual.nrf.debug_port import NoAcknowledge

    part.chip.fault("power_cut:inside:approtect")
    part.mode(1)
    with pytest.raises(NoAcknowledge):
        part.write(0x00FF_8000, 0)
    assert not part.state()["powered"]
    assert 0 < part.app.approtect < 0x50FA_50FA


def test_what_is_in_the_files_is_never_older_than_the_last_change(part):
    part.burn(0x00FF_8140, 0xFFFF_0000)
    part.burn(0x6000, 0x0BAD_CAFE)
    part.burn(0x00FF_8140, 0xFFFF_0000)
    before = part.state()
    files = {path.name: path.read_bytes() for path in part.folder.iterdir()}
    assert files["flash_app.bin"][0x6000:0x6004] == bytes.fromhex("fecaad0b")
    assert files["uicr_app.bin"][0x140:0x144] == b"\x00\x00\xff\xff"
    assert int.from_bytes(files["uicr_app.bin"][0x1000:], "little") == before["uicr_writes"] == 1
    part.reopen()
    part.power()
    after = part.state()
    assert {name: after[name] for name in ("uicr_writes", "double_burns", "label")} == {
        name: before[name] for name in ("uicr_writes", "double_burns", "label")
    }
    assert part.read(0x6000) == 0x0BAD_CAFE


def test_a_folder_of_another_kind_is_refused(tmp_path, rig):
    from drivers.virtual.nrf.chip import NordicChip
    from drivers.virtual.nrf.silicon import SILICON

    part = rig("nrf9160")
    with pytest.raises(ValueError, match=r"expected a part of kind nrf5340 in .* found nrf9160"):
        NordicChip(SILICON["nrf5340"], part.folder)
