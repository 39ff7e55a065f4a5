"""Debug port, access ports, halt and registers of a part, without a probe: nordic-tfm sheet 2.7, 5.3."""

from __future__ import annotations

import pytest

from drivers.virtual.nrf.debug_port import NoAcknowledge, TransferFault
from drivers.virtual.nrf.firmware import machine

DHCSR, DCRSR, DCRDR, DEMCR, AIRCR, DFSR = (
    0xE000_EDF0, 0xE000_EDF4, 0xE000_EDF8, 0xE000_EDFC, 0xE000_ED0C, 0xE000_ED30,
)  # fmt: skip
DEBUG, HALT = 0xA05F_0001, 0xA05F_0003
S_HALT, S_LOCKUP, S_RESET = 1 << 17, 1 << 19, 1 << 25


@pytest.fixture
def part(rig):
    """An open nRF5340 whose image idles."""
    part = rig()
    part.open_words()
    part.start("keep_open_app")
    return part


def register(part, number):
    part.write(DCRSR, number)
    return part.read(DCRDR)


def test_nobody_acknowledges_without_power_contact_or_line_reset(rig):
    part = rig()
    with pytest.raises(NoAcknowledge):
        part.port.read_dp(0)
    part.port.line_reset(50)
    part.chip.power(True)
    with pytest.raises(NoAcknowledge):
        part.port.read_dp(0)
    part.port.line_reset(49)
    with pytest.raises(NoAcknowledge):
        part.port.read_dp(0)
    part.port.line_reset(50)
    assert part.port.read_dp(0) == 0x6BA0_2477
    part.chip.fault("no_contact")
    with pytest.raises(NoAcknowledge):
        part.port.read_dp(0)
    part.chip.fault("clear")
    part.power()
    assert part.port.read_dp(0) == 0x6BA0_2477


def test_a_reset_pin_leaves_the_debug_port_alone(part):
    part.pin_reset()
    assert part.port.read_dp(4) >> 28 == 0xF
    assert part.port.read_ap(0xFC) == 0x8477_0001


def test_power_up_requests_are_acknowledged(rig):
    part = rig()
    part.chip.power(True)
    part.port.line_reset(50)
    assert part.port.read_dp(4) == 0
    with pytest.raises(TransferFault):
        part.port.read_ap(0xFC)
    part.port.write_dp(4, 0x5000_0000)
    assert part.port.read_dp(4) == 0xF000_0000


@pytest.mark.parametrize(
    ("chip", "targetid", "ports"),
    [
        ("nrf5340", 0x1007_0289, {0: 0x8477_0001, 1: 0x8477_0001, 2: 0x1288_0000, 3: 0x1288_0000}),
        ("nrf9160", 0x2009_0289, {0: 0x8477_0001, 3: 0x5477_0002, 4: 0x1288_0000}),
        ("nrf91x1", 0x3009_0289, {0: 0x8477_0001, 3: 0x5477_0002, 4: 0x1288_0000}),
    ],
)
def test_identities(rig, chip, targetid, ports):
    part = rig(chip)
    part.power()
    part.port.write_dp(8, 2)
    assert part.port.read_dp(4) == targetid
    part.port.write_dp(8, 3)
    assert part.port.read_dp(4) == 1
    found = {n: part.port.read_ap(n << 24 | 0xFC) for n in range(8)}
    assert {n: idr for n, idr in found.items() if idr} == ports


@pytest.mark.parametrize(
    ("pretended", "targetid", "ctrl", "part_number"),
    [
        ("nrf9160", 0x2009_0289, {4: 0x1288_0000}, 0x9160),
        ("nrf91x1", 0x3009_0289, {4: 0x1288_0000}, 0x9120),
        ("nrf54l", 0x001C_0289, {2: 0x3288_0000}, 0x5340),
        ("other", 0x1000_1927, {}, 0x5340),
    ],
)
def test_another_family_shows_in_every_identity(part, pretended, targetid, ctrl, part_number):
    part.chip.fault("wrong_family", pretended)
    part.port.write_dp(8, 2)
    assert part.port.read_dp(4) == targetid
    found = {n: part.port.read_ap(n << 24 | 0xFC) for n in range(1, 6)}
    assert {n: idr for n, idr in found.items() if idr and n != 3} == ctrl
    assert part.read(0x00FF_020C) == part_number


def test_a_fault_sticks_until_it_is_cleared(part):
    part.chip.fault("locked")
    part.port.write_ap(0x04, 0x2000_0000)
    with pytest.raises(TransferFault):
        part.port.read_ap(0x0C)
    with pytest.raises(TransferFault):
        part.port.read_ap(0xFC)
    assert part.port.read_dp(4) & 1 << 5
    part.port.write_dp(0, 1 << 2)
    assert part.port.read_ap(0xFC) == 0x8477_0001


def test_tar_and_drw_reach_memory_in_all_sizes(part):
    part.port.write_ap(0x00, 0x2300_0012)  # words, increment
    part.port.write_ap(0x04, 0x2000_0100)
    for word in (0x1122_3344, 0x5566_7788):
        part.port.write_ap(0x0C, word)
    assert part.port.read_ap(0x04) == 0x2000_0108
    part.port.write_ap(0x04, 0x2000_0100)
    assert [part.port.read_ap(0x0C) for _ in range(2)] == [0x1122_3344, 0x5566_7788]
    part.port.write_ap(0x00, 0x2300_0010)  # bytes, increment, in their lanes
    part.port.write_ap(0x04, 0x2000_0101)
    part.port.write_ap(0x0C, 0x0000_AA00)
    assert part.port.read_ap(0x04) == 0x2000_0102
    assert part.port.read_ap(0x0C) == 0x0022_0000
    assert part.read(0x2000_0100) == 0x1122_AA44
    part.port.write_ap(0x04, 0x2000_0104)
    assert part.port.read_ap(0x10) == 0x1122_AA44  # BD0 of the same 16 bytes
    part.port.write_ap(0x00, 0x2300_0012)
    part.port.write_ap(0x04, 0x2000_03FC)
    part.port.read_ap(0x0C)
    assert part.port.read_ap(0x04) == 0x2000_0000  # wraps at 1 KiB


def test_hnonsec_makes_an_access_non_secure(part):
    part.port.write_ap(0x00, 0x2300_0002 | 1 << 30)
    part.port.write_ap(0x04, 0x2000_0000)
    with pytest.raises(TransferFault):
        part.port.read_ap(0x0C)


def test_a_halted_core_stops_its_program_and_goes_on(rig, monkeypatch):
    monkeypatch.setattr(machine, "BYTE_SECONDS", 1e-3)
    part = rig()
    part.open_words()
    part.flash("provisioning_app")
    part.power()
    part.write(DHCSR, HALT)
    seen = part.lines()
    with part.chip.lock:
        part.chip.changed.wait(0.2)
    assert part.lines() == seen
    assert part.state()["cores"]["app"]["state"] == "halted"
    monkeypatch.setattr(machine, "BYTE_SECONDS", 0.0)
    part.write(DHCSR, DEBUG)
    assert part.wait_idle() == "done"
    assert part.said()[-1] == "Success!"


def test_reset_with_vector_catch_halts_at_the_entry(part):
    part.write(DHCSR, HALT)
    part.write(DEMCR, 1)
    part.system_reset()
    assert part.read(DHCSR) & (S_HALT | S_RESET) == S_HALT | S_RESET
    assert part.read(DHCSR) & S_RESET == 0  # it is shown once
    assert part.read(DFSR) & 1 << 3
    assert register(part, 15) == part.read(4) & ~1
    assert register(part, 13) == part.read(0)
    part.write(DEMCR, 0)
    part.write(DHCSR, DEBUG)
    assert part.wait_idle() == "done"


def test_reset_without_vector_catch_runs(part):
    part.write(DHCSR, HALT)
    part.system_reset()
    assert part.wait_idle() == "done"
    assert not part.read(DHCSR) & S_HALT


def test_aircr_needs_its_key(part):
    part.write(AIRCR, 0x0000_0004)
    assert part.state()["cores"]["app"]["reset_cause"] == "power"
    part.write(AIRCR, 0x05FA_0004)
    assert part.state()["cores"]["app"]["reset_cause"] == "system"


def test_registers_can_be_transferred_and_stepped(part):
    part.write(DHCSR, HALT)
    part.write(DCRDR, 0x1234)
    part.write(DCRSR, 1 << 16 | 3)
    assert register(part, 3) == 0x1234
    before = register(part, 15)
    part.write(DHCSR, 0xA05F_0005)
    assert part.read(DHCSR) & S_HALT
    assert register(part, 15) == before + 2


def test_dhcsr_needs_its_key(part):
    part.write(DHCSR, 0x0000_0003)
    assert not part.read(DHCSR) & S_HALT


def test_empty_flash_locks_the_core_up(rig):
    part = rig("nrf9160")
    part.power()
    assert part.read(DHCSR) & S_LOCKUP
    assert part.state()["cores"]["app"] | {"state": "locked_up", "image": ""} == part.state()["cores"]["app"]


def test_code_that_changes_under_a_running_core_locks_it_up(part):
    part.burn(0x600, 0)
    assert part.read(DHCSR) & S_LOCKUP
    part.system_reset()
    assert part.read(DHCSR) & S_LOCKUP  # one changed word: it is not that image any more


def test_a_debugger_that_sends_the_core_elsewhere_gets_a_lockup(part):
    part.write(DHCSR, HALT)
    part.write(DCRDR, 0x2000_0000)
    part.write(DCRSR, 1 << 16 | 15)
    part.write(DHCSR, DEBUG)
    assert part.read(DHCSR) & S_LOCKUP


def test_a_pin_reset_forgets_the_debugger(part):
    part.write(DHCSR, HALT)
    part.write(DEMCR, 1)
    part.pin_reset()
    assert part.wait_idle() == "done"
    assert part.read(DEMCR) == 0


def test_memory_does_not_answer_while_the_reset_pin_is_low(part):
    part.chip.reset_pin(True)
    with pytest.raises(TransferFault):
        part.read(0)
    assert part.state()["cores"]["app"]["state"] == "reset"
    part.chip.reset_pin(False)
    assert part.wait_idle() == "done"


# ---- real code of the smallest kind ---------------------------------------------------------------------------------


def code(*halfwords, literals=(), entry=0x101, stack=0x2000_1000):
    """Vector table, code at 0x100, literals at 0x120."""
    head = stack.to_bytes(4, "little") + entry.to_bytes(4, "little")
    body = b"".join(half.to_bytes(2, "little") for half in halfwords).ljust(0x20, b"\xff")
    return head.ljust(0x100, b"\xff") + body + b"".join(word.to_bytes(4, "little") for word in literals)


LOAD_R0, LOAD_R1, STORE_R0_AT_R1, REST = 0x4807, 0x4908, 0x6008, 0xE7FE
"""LDR r0, [pc, #28]; LDR r1, [pc, #32]; STR r0, [r1]; B ."""


def test_a_core_runs_the_firmware_of_a_recovery(rig):
    part = rig("nrf5340")
    part.open_words()
    program = code(LOAD_R0, LOAD_R1, STORE_R0_AT_R1, REST, literals=(0x50FA_50FA, 0x5000_6544))
    part.chip.file.flash(part.app.silicon).put(0, program)
    part.power()
    assert part.state()["cores"]["app"]["state"] == "done"
    assert part.port.read_ap(0) & (1 << 6 | 1 << 23) == 1 << 6  # only the gate whose key was written


def test_anything_else_locks_the_core_up(rig):
    for halfwords in ((LOAD_R0, 0xBF00, REST), (LOAD_R0,), (0x4770,)):
        part = rig("nrf91x1")
        part.open_words()
        part.chip.file.flash(part.app.silicon).put(0, code(*halfwords, literals=(0, 0)))
        part.power()
        assert part.state()["cores"]["app"]["state"] == "locked_up"
