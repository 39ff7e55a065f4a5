"""Who may debug when: UICR at reset, keys on both sides, start-up code, ERASEALL: nordic-tfm sheet 2.2, 2.7."""

from __future__ import annotations

import pytest
from nordic_rig import NVMC_NET

from drivers.virtual.nrf.debug_port import TransferFault
from drivers.virtual.nrf.silicon import UNPROTECTED

CSW_ENABLED, CSW_SECURE = 1 << 6, 1 << 23
OPEN, NON_SECURE, CLOSED = CSW_ENABLED | CSW_SECURE, CSW_ENABLED, 0
HARDENED = ("nrf5340", "nrf91x1")
CPU_DISABLE = {"nrf5340": (0x5000_6544, 0x5000_654C), "nrf91x1": (0x5003_9E10, 0x5003_9E00)}
FORCEOFF = 0x5000_5614


def access(part, ap=0):
    return part.port.read_ap(ap << 24) & (CSW_ENABLED | CSW_SECURE)


def status(part):
    return part.port.read_ap(part.silicon.app.ctrl_ap << 24 | 0x0C)


def set_words(part, approtect, secure):
    core = part.silicon.app
    for place, value in ((core.approtect, approtect), (core.secure_approtect, secure)):
        part.app.uicr.force(place - core.uicr, value)


@pytest.mark.parametrize("chip", HARDENED)
def test_a_part_from_the_factory_is_closed(rig, chip):
    part = rig(chip)
    part.power()
    assert (access(part), status(part)) == (CLOSED, 0)
    with pytest.raises(TransferFault):
        part.read(0x00FF_0204)
    assert part.port.read_ap(part.silicon.app.ctrl_ap << 24 | 0xFC) == 0x1288_0000


def test_nrf9160_from_the_factory_is_open(rig):
    part = rig("nrf9160")
    part.power()
    assert (access(part), status(part)) == (OPEN, 3)


@pytest.mark.parametrize(
    ("approtect", "secure", "expected"),
    [
        (UNPROTECTED, UNPROTECTED, OPEN),
        (UNPROTECTED, 0, NON_SECURE),
        (UNPROTECTED, 0xFFFF_FFFF, NON_SECURE),
        (0, UNPROTECTED, CLOSED),
        (0xFFFF_FFFF, UNPROTECTED, CLOSED),
        (0x50FA_50FB, UNPROTECTED, CLOSED),
    ],
)
@pytest.mark.parametrize("chip", HARDENED)
def test_start_up_code_opens_what_uicr_opens(rig, chip, approtect, secure, expected):
    part = rig(chip)
    set_words(part, approtect, secure)
    part.start("keep_open_app")
    assert access(part) == expected


@pytest.mark.parametrize(
    ("approtect", "secure", "expected"),
    [
        (0xFFFF_FFFF, 0xFFFF_FFFF, OPEN),
        (0xFFFF_FFFF, 0, NON_SECURE),
        (0, 0xFFFF_FFFF, CLOSED),
        (UNPROTECTED, 0xFFFF_FFFF, CLOSED),
    ],
)
def test_nrf9160_looks_at_uicr_alone(rig, approtect, secure, expected):
    part = rig("nrf9160")
    set_words(part, approtect, secure)
    part.power()
    assert access(part) == expected


@pytest.mark.parametrize("chip", HARDENED)
def test_open_words_without_firmware_stay_closed(rig, chip):
    part = rig(chip)
    part.open_words()
    part.power()
    assert access(part) == CLOSED


@pytest.mark.parametrize("chip", HARDENED)
def test_open_stays_open_over_soft_resets_only(rig, chip):
    part = rig(chip)
    part.open_words()
    part.start("keep_open_app")
    part.chip.file.flash(part.app.silicon).put(0, b"\xff" * 0x800)  # nothing that would open it again
    part.system_reset()
    assert access(part) == OPEN
    part.ctrl_ap_reset()
    assert access(part) == OPEN
    part.pin_reset()
    assert access(part) == CLOSED


@pytest.mark.parametrize("chip", HARDENED)
def test_a_burnt_lock_word_waits_for_a_hard_reset(rig, chip):
    part = rig(chip)
    part.open_words()
    part.start("keep_open_app")
    part.burn(part.silicon.app.approtect, 0)
    part.system_reset()
    assert access(part) == OPEN
    part.pin_reset()
    assert access(part) == CLOSED
    part.power(False)
    part.power()
    assert access(part) == CLOSED


def test_nrf9160_looks_at_uicr_at_hard_resets(rig):
    part = rig("nrf9160")
    part.power()
    part.burn(part.silicon.app.approtect, 0)
    part.system_reset()
    part.ctrl_ap_reset()
    assert access(part) == OPEN
    part.pin_reset()
    assert access(part) == CLOSED
    part.erase_all()
    part.ctrl_ap_reset()
    assert access(part) == CLOSED
    part.pin_reset()
    assert access(part) == OPEN


# ---- keys -----------------------------------------------------------------------------------------------------------


def test_keys_on_both_sides_must_agree(rig):
    part = rig("nrf5340")
    part.open_words()
    part.power()  # no image that would write a key
    ctrl = part.silicon.app.ctrl_ap << 24
    assert part.port.read_ap(ctrl | 0x10) == UNPROTECTED
    with part.chip.lock:
        part.app.ctrl_ap.write_cpu(0x544, 0x1234)
    assert access(part) == CLOSED
    part.port.write_ap(ctrl | 0x10, 0x1234)
    assert access(part) == NON_SECURE
    with part.chip.lock:
        part.app.ctrl_ap.write_cpu(0x54C, 0x77)
    part.port.write_ap(ctrl | 0x14, 0x77)
    assert access(part) == OPEN


def test_a_key_of_zero_opens_nothing(rig):
    part = rig("nrf5340")
    part.open_words()
    part.power()
    part.port.write_ap(part.silicon.app.ctrl_ap << 24 | 0x10, 0)
    with part.chip.lock:
        part.app.ctrl_ap.write_cpu(0x544, 0)
    assert access(part) == CLOSED


def test_a_locked_key_cannot_be_written(rig):
    part = rig("nrf5340")
    part.open_words()
    part.start("keep_open_app")
    part.write(0x5000_6540, 1)  # LOCK, through the debugger: the image has opened the port
    gate = part.app.protection.all
    part.write(0x5000_6544, 0x1111)
    assert (gate.locked, gate.cpu_key) == (True, UNPROTECTED)


@pytest.mark.parametrize("chip", HARDENED)
def test_a_locking_image_never_opens(rig, chip):
    part = rig(chip)
    part.open_words()
    part.flash("tfm_app")
    part.power()
    assert access(part) == CLOSED  # at once, before it has written a word
    part.wait_idle()
    assert access(part) == CLOSED


def test_a_locking_image_closes_at_once_where_it_can_force(rig):
    for chip, expected in (("nrf91x1", CLOSED), ("nrf5340", OPEN)):
        part = rig(chip)
        part.open_words()
        part.start("keep_open_app")
        part.flash("tfm_app")
        part.system_reset()
        assert access(part) == expected, chip
        part.wait_idle()


def test_software_gates_of_nrf91x1(rig):
    part = rig("nrf91x1")
    part.open_words()
    part.start("keep_open_app")
    part.write(0x5003_9E04, 1)  # SECUREAPPROTECT.FORCEPROTECT
    assert access(part) == NON_SECURE
    with part.chip.lock:
        part.app.bus.write_words(0x5003_9E00, [0x5A], secure=True)
    assert access(part) == NON_SECURE  # forced until the next reset
    part.system_reset()
    part.wait_idle()
    assert access(part) == OPEN


def test_cpu_status_shows_uicr(rig):
    part = rig("nrf5340")
    part.open_words()
    part.start("keep_open_app")
    assert part.read(0x5000_6600) == 0b111


def test_mailbox_of_the_control_access_port(rig):
    part = rig("nrf5340")
    part.open_words()
    part.start("keep_open_app")
    ctrl = part.silicon.app.ctrl_ap << 24
    part.port.write_ap(ctrl | 0x20, 0xABCD)
    assert (part.port.read_ap(ctrl | 0x24), part.read(0x5000_6404)) == (1, 1)
    assert part.read(0x5000_6400) == 0xABCD
    assert part.port.read_ap(ctrl | 0x24) == 0
    part.write(0x5000_6480, 0x55)
    assert part.port.read_ap(ctrl | 0x2C) == 1
    assert part.port.read_ap(ctrl | 0x28) == 0x55
    assert part.port.read_ap(ctrl | 0x2C) == 0


# ---- non-secure debugging -------------------------------------------------------------------------------------------


def test_non_secure_debugging_reaches_no_secure_memory(any_rig):
    part = any_rig
    part.open_words()
    part.flash("keep_open_app")
    part.chip.fault("secure_locked")
    part.power()
    assert access(part) == NON_SECURE
    for address in (0x0, 0x2000_0000, 0x00FF_8000, 0x00FF_0204, 0x5003_9504):
        with pytest.raises(TransferFault):
            part.read(address)
    assert part.read(0xE000_ED00) == 0x410F_D214
    assert part.read(0x4003_9400) == 1


# ---- ERASEALL -------------------------------------------------------------------------------------------------------


def test_erase_all_takes_everything_and_opens(rig):
    part = rig("nrf5340")
    part.chip.fault("already_secured")
    part.power()
    assert access(part) == CLOSED
    part.app.ram[:4] = b"\x11" * 4
    part.erase_all()
    assert access(part) == OPEN
    assert part.port.read_words(0, 0x00FF_8100, 10) == [0xFFFF_FFFF] * 10
    assert part.read(0x00FF_8000) == part.read(0x0) == 0xFFFF_FFFF
    assert part.read(0x2000_0000) == 0
    state = part.state()
    assert state["lc_state"] == "ASSEMBLY"
    assert set(state["kmu"].values()) == {0xFFFF_FFFF}
    assert [(one["core"], one["by"]) for one in state["erase_alls"]] == [("app", "CTRL-AP")]
    part.ctrl_ap_reset()
    assert access(part) == OPEN
    part.pin_reset()
    assert access(part) == CLOSED  # erased UICR is closed UICR


def test_nrf91x1_opens_after_erase_all_and_a_reset(rig):
    part = rig("nrf91x1")
    part.chip.fault("locked")
    part.power()
    part.erase_all()
    assert access(part) == CLOSED
    part.ctrl_ap_reset()
    assert access(part) == OPEN
    part.pin_reset()
    assert access(part) == CLOSED


def test_erase_all_takes_time_and_keys_go_last(rig, monkeypatch):
    monkeypatch.setattr("drivers.virtual.nrf.chip.ERASE_SECONDS", 30.0)
    part = rig("nrf5340")
    part.chip.fault("already_secured")
    part.flash("keep_open_app")
    part.power()
    ctrl = part.silicon.app.ctrl_ap << 24
    part.port.write_ap(ctrl | 0x04, 1)
    assert part.port.read_ap(ctrl | 0x08) == 1
    assert part.chip.file.flash(part.app.silicon).content[:8] == b"\xff" * 8
    part.power(False)  # broken off
    part.power()
    assert part.port.read_ap(ctrl | 0x08) == 0
    state = part.state()
    assert (state["lc_state"], state["erase_alls"]) == ("SECURED", [])


def test_net_erase_all_takes_both_cores(rig):
    part = rig("nrf5340")
    part.open_words()
    part.start("keep_open_app")
    part.flash("keep_open_net")
    part.chip.fault("wrong_state", "SECURED")
    part.erase_all("net")
    state = part.state()
    assert [one["core"] for one in state["erase_alls"]] == ["app", "net"]
    assert (state["lc_state"], state["cores"]["net"]["approtect"]) == ("ASSEMBLY", 0xFFFF_FFFF)
    assert {core["image"] for core in state["cores"].values()} == {""}


def test_app_erase_all_leaves_the_network_core(rig):
    part = rig("nrf5340")
    part.open_words()
    part.start("keep_open_app")
    part.flash("keep_open_net")
    part.erase_all("app")
    cores = part.state()["cores"]
    assert (cores["app"]["image"], cores["net"]["image"]) == ("", "keep_open_net")


def test_erase_protection_refuses(any_rig):
    part = any_rig
    part.chip.fault("locked")
    part.chip.fault("erase_protected")
    part.power()
    ctrl = part.silicon.app.ctrl_ap << 24
    assert part.port.read_ap(ctrl | 0x18) == 0
    part.port.write_ap(ctrl | 0x04, 1)
    assert part.port.read_ap(ctrl | 0x08) == 0  # not even busy
    assert access(part) == CLOSED
    assert part.state()["erase_alls"] == []


def test_erase_protection_of_the_application_core_protects_from_the_network_side(rig):
    part = rig("nrf5340")
    part.power()
    part.app.uicr.force(0x20, 0)
    part.port.write_ap(part.silicon.net.ctrl_ap << 24 | 0x04, 1)
    assert part.state()["erase_alls"] == []


def test_erase_protection_stops_nvmc_as_well(rig):
    part = rig("nrf5340")
    part.open_words()
    part.chip.fault("erase_protected")
    part.start("keep_open_app")
    part.mode(2)
    part.write(0x5003_950C, 1)
    assert part.read(0x00FF_8000) == UNPROTECTED


def test_the_handshake_of_erase_protection_erases(rig):
    part = rig("nrf5340")
    part.open_words()
    part.chip.fault("erase_protected")
    part.start("keep_open_app")
    part.write(0x5000_6504, 0xBEEF)
    ctrl = part.silicon.app.ctrl_ap << 24
    part.port.write_ap(ctrl | 0x1C, 0xBEEE)
    assert part.port.read_ap(ctrl | 0x08) == 0
    part.port.write_ap(ctrl | 0x1C, 0xBEEF)
    assert part.port.read_ap(ctrl | 0x08) == 1


def test_erase_stuck_stays_busy_and_erases_nothing(rig):
    part = rig("nrf5340")
    part.chip.fault("wrong_state", "SECURED")
    part.chip.fault("erase_stuck")
    part.power()
    ctrl = part.silicon.app.ctrl_ap << 24
    part.port.write_ap(ctrl | 0x04, 1)
    assert part.port.read_ap(ctrl | 0x08) == 1
    assert part.state()["lc_state"] == "SECURED"
    part.chip.fault("clear")
    assert part.port.read_ap(ctrl | 0x08) == 0


# ---- the network core -----------------------------------------------------------------------------------------------


@pytest.fixture
def dual(rig):
    """An open nRF5340 with firmware that keeps both cores open."""
    part = rig("nrf5340")
    part.open_words()
    part.flash("keep_open_net")
    part.start("keep_open_app")
    return part


def test_the_network_core_is_off_until_it_is_let_go(dual):
    assert dual.read(FORCEOFF) == 1
    assert access(dual, 1) == CLOSED
    with pytest.raises(TransferFault):
        dual.read(0x01FF_0204, ap=1)
    dual.write(FORCEOFF, 0)
    assert (dual.read(FORCEOFF), access(dual, 1)) == (0, OPEN)
    assert dual.read(0x01FF_8000, ap=1) == UNPROTECTED
    assert dual.read(0xE000_ED00, ap=1) == 0x410F_D214
    dual.write(FORCEOFF, 1)
    assert access(dual, 1) == CLOSED


@pytest.mark.parametrize("how", ["system", "ctrl_ap", "pin", "power"])
def test_every_reset_of_the_application_core_turns_the_network_core_off(dual, how):
    dual.write(FORCEOFF, 0)
    resets = {"system": dual.system_reset, "ctrl_ap": dual.ctrl_ap_reset, "pin": dual.pin_reset}
    if how == "power":
        dual.power(False)
        dual.power()
    else:
        resets[how]()
    dual.wait_idle()
    assert dual.read(FORCEOFF) == 1
    assert dual.state()["cores"]["net"]["state"] == "off"
    assert access(dual) == OPEN


def test_a_lock_word_of_the_network_core_counts_from_its_next_reset(dual):
    dual.write(FORCEOFF, 0)
    dual.wait_idle("net")
    dual.burn(0x01FF_8000, 0, nvmc=NVMC_NET, ap=1)
    assert access(dual, 1) == OPEN
    dual.system_reset()  # the trap: this turns the network core off and on
    dual.write(FORCEOFF, 0)
    assert access(dual, 1) == CLOSED


def test_a_reset_request_of_the_network_core_is_its_own(dual):
    dual.write(FORCEOFF, 0)
    dual.wait_idle("net")
    dual.write(0xE000_ED0C, 0x05FA_0004, ap=1)
    assert (dual.read(FORCEOFF), access(dual, 1)) == (0, OPEN)
    cores = dual.state()["cores"]
    assert (cores["net"]["reset_cause"], cores["app"]["reset_cause"]) == ("system", "power")


def test_after_a_recover_the_network_core_is_open_until_a_hard_reset(rig):
    part = rig("nrf5340")
    part.power()
    part.erase_all("net")
    part.erase_all("app")
    part.write(FORCEOFF, 0)
    assert access(part, 1) == OPEN
    part.write(FORCEOFF, 1)
    part.write(FORCEOFF, 0)
    assert access(part, 1) == OPEN
    part.pin_reset()
    assert (access(part), access(part, 1)) == (CLOSED, CLOSED)


def test_control_access_ports_of_the_network_core_hold_it_alone(dual):
    dual.write(FORCEOFF, 0)
    dual.wait_idle("net")
    ctrl = dual.silicon.net.ctrl_ap << 24
    dual.port.write_ap(ctrl, 1)
    assert dual.state()["cores"]["net"]["state"] == "reset"
    with pytest.raises(TransferFault):
        dual.read(0x0100_0000, ap=1)
    dual.port.write_ap(ctrl, 0)
    assert dual.wait_idle("net") == "done"
    assert dual.state()["cores"]["app"]["reset_cause"] == "power"


def test_control_access_port_holds_the_application_core(dual):
    ctrl = dual.silicon.app.ctrl_ap << 24
    dual.port.write_ap(ctrl, 1)
    assert (dual.port.read_ap(ctrl), access(dual)) == (1, CLOSED)
    dual.port.write_ap(ctrl, 0)
    dual.wait_idle()
    assert access(dual) == OPEN
    assert dual.state()["cores"]["app"]["reset_cause"] == "ctrl_ap"
