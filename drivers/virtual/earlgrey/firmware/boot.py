"""The ROM: straps, choice of the image, boot fault text; and what ROM_EXT and the owner firmware say.

Source: opentitan-device sheet 2.5 (texts), 6 (bootstrap, slots), 1.3 (steps 20, 21).
"""

from __future__ import annotations

from drivers.virtual.earlgrey import image_format as form
from drivers.virtual.earlgrey.firmware import certificate_pages, dice, ft_personalize
from drivers.virtual.earlgrey.firmware.machine import FirmwareError, Machine
from drivers.virtual.earlgrey.flash import FACTORY_CERTS_PAGE
from drivers.virtual.earlgrey.image_format import FlashImage
from drivers.virtual.earlgrey.partitions import ITEMS
from station.formats.lc import LcState

HARDENED_TRUE = 0x739
BOOT_FAULT = 0x0142500D
ROM_BUILD = 0x19CA9ACF
BOOT_SECONDS = 0.001


def run(machine: Machine) -> None:
    """From reset to the end of what boots."""
    machine.pause(BOOT_SECONDS)
    state = LcState(machine.life_cycle_state())
    if not machine.processor_enabled():
        machine.park()
    executes = machine.otp_read(ITEMS["ROM_EXEC_EN"])  # its very first load; a bus error ends it here (rom_start.S)
    if not state.is_mission and state is not LcState.RMA and not executes:
        machine.park()
    straps = machine.software_straps()
    if straps == (False, True, True):  # RMA spin: the host goes on over the life cycle TAP
        machine.park()
    if straps == (True, True, True) and machine.otp_read(ITEMS["ROM_BOOTSTRAP_DIS"]) != HARDENED_TRUE:
        machine.start_bootstrap()
        machine.park()
    if machine.otp_read(ITEMS["ROM_BANNER_EN"]) == HARDENED_TRUE:
        machine.uart("OpenTitan:4001-0003-01\r\n")
    image = choose(machine)
    if image is None:
        machine.uart(f"BFV:{BOOT_FAULT:08x}\r\nLCV:{state.encoded:08x}\r\nVER:{ROM_BUILD:08x}\r\n")
        machine.park()
    else:
        start(machine, image)


def choose(machine: Machine) -> FlashImage | None:
    """The valid image with the highest security version, slot A first; None when there is none."""
    manuf_state = machine.otp_read(ITEMS["MANUF_STATE"])
    found = [form.check_slot(machine.data_flash(base, form.SLOT_B)) for base in (0, form.SLOT_B)]
    usable = [
        image
        for image in found
        if image is not None and image.identifier == form.ROM_EXT_ID and image.manuf_state in (None, manuf_state)
    ]
    return max(usable, key=lambda image: image.security_version, default=None)


def start(machine: Machine, image: FlashImage) -> None:
    """Hand over to the image."""
    machine.take_name(image.descriptor["program"])
    if machine.name == "ft_personalize":
        ft_personalize.run(machine, image)
    elif machine.name == "rom_ext":
        run_rom_ext(machine, image)


def run_rom_ext(machine: Machine, image: FlashImage) -> None:
    """Version, attestation check, then the owner's text."""
    machine.report_progress((image.minor, image.security_version, 0, 0x1))
    machine.uart(f"ROM_EXT:{image.major}.{image.minor}\r\n")
    if not uds_certificate_valid(machine):
        machine.uart("error: UDS certificate not valid\r\n")
        machine.park()
    owner = form.check_slot(machine.data_flash(form.OWNER, form.SLOT_B * 2 - form.OWNER))
    if owner is None:
        machine.uart(f"BFV:{BOOT_FAULT:08x}\r\n")
    else:
        machine.take_name("owner")
        machine.uart(f"{owner.descriptor['text']}\r\n")
    machine.park()


def uds_certificate_valid(machine: Machine) -> bool:
    """Whether the stored certificate is intact and is one of this chip's UDS key."""
    try:
        key = dice.derive_keys(machine)["UDS"]
    except FirmwareError:
        return False
    page = machine.info_page(FACTORY_CERTS_PAGE)
    return certificate_pages.is_intact(page) and key.point in page and key.key_id in page
