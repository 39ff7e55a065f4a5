"""Which image starts on which core: changed, of another family, held in reset; the network core's child image (1.7)."""

from __future__ import annotations

import pytest
from nordic_rig import image
from provisioning_help import ASSEMBLY, SUCCESS


@pytest.mark.parametrize("place", [0x0, 0x1C0, 0x200, 0x204, 0x210, 0x240, 0x7FF])
def test_one_changed_byte_is_another_program(rig, place):
    part = rig()
    part.flash("provisioning_app")
    stored = part.chip.file.flash(part.app.silicon)
    stored.put(place, bytes([stored.content[place] ^ 0x40]))
    part.power()
    core = part.state()["cores"]["app"]
    assert (core["state"], core["image"], part.console["app"]) == ("locked_up", "unknown", b"")
    assert part.state()["lcs"] == ASSEMBLY


def test_an_image_of_another_family_or_core_does_not_run(rig):
    part = rig("nrf9160")
    part.chip.file.flash(part.app.silicon).put(0, image("nrf91x1", "provisioning_app"))
    part.power()
    assert part.state()["cores"]["app"]["state"] == "locked_up"
    dual = rig("nrf5340")
    dual.chip.file.flash(dual.app.silicon).put(0, image("nrf5340", "provisioning_net"))
    dual.power()
    assert dual.state()["cores"]["app"]["state"] == "locked_up"


def test_a_core_that_is_held_does_nothing(rig):
    part = rig()
    part.flash("provisioning_app")
    part.chip.reset_pin(True)
    part.power()
    assert part.console["app"] == b""
    part.chip.reset_pin(False)
    assert part.wait_idle() == "done"


# ---- the network core's child image ----------------------------------------------------------------------------------

NET_TEXT = "The UICR->APPROTECT register is now configured to deny debugging access for the network core!"


def test_child_image_protects_the_network_core_on_its_own_port(rig):
    part = rig()
    part.open_words()
    part.flash("provisioning_net")
    part.start("provisioning_app", net_child=True)
    part.wait_idle("net")
    assert part.said("net") == [NET_TEXT, SUCCESS]
    assert part.lines("net")[-2:] == [NET_TEXT, SUCCESS]  # printk: no prefix
    assert part.said("app")[-1] == SUCCESS
    net = part.state()["cores"]["net"]
    assert (net["approtect"], net["debug_open"], net["state"]) == (0, True, "done")
    assert part.state()["double_burns"] == []


def test_child_image_is_not_started_without_the_option(rig):
    part = rig()
    part.flash("provisioning_net")
    part.start("provisioning_app", net_child=False)
    assert (part.console["net"], part.state()["cores"]["net"]["state"]) == (b"", "off")


def test_child_image_runs_again_and_burns_nothing_twice(rig):
    part = rig()
    part.open_words()
    part.flash("provisioning_net")
    part.start("provisioning_app", net_child=True)
    part.wait_idle("net")
    part.system_reset()
    part.wait_idle()
    part.wait_idle("net")
    assert part.said("net") == [NET_TEXT, SUCCESS] * 2
    assert part.state()["double_burns"] == []


def test_child_image_that_cannot_write(rig):
    part = rig()
    part.flash("provisioning_net")
    part.chip.fault("net_protect_failure")
    part.start("provisioning_app", net_child=True)
    part.wait_idle("net")
    assert part.said("net") == ["Cannot write to the UICR->APPROTECT register, exiting...!"]
    assert part.state()["cores"]["net"]["approtect"] == 0xFFFF_FFFF


def test_power_cut_in_the_network_core_s_word(rig):
    part = rig()
    part.open_words()
    part.flash("provisioning_net")
    part.chip.fault("power_cut:after:net.approtect")
    part.flash("provisioning_app", net_child=True)
    part.chip.power(True)
    with part.chip.lock:
        part.chip.changed.wait_for(lambda: not part.chip.powered, 10)
    assert part.state()["cores"]["net"]["approtect"] == 0


def test_success_on_the_wrong_port(rig):
    part = rig()
    part.chip.fault("success_wrong_port")
    part.chip.fault("hang:huk")
    part.start("provisioning_app")
    assert part.said("net") == [SUCCESS]
    assert SUCCESS not in part.said("app")
