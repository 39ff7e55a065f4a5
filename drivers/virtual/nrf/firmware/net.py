"""Images of the network core: the provisioning sample's child image, and the production image with b0n's PCD command.

Sources: nordic-tfm sheet 1.7 and 2.8 step 5.
"""

from __future__ import annotations

from drivers.virtual.nrf.firmware.machine import Machine
from drivers.virtual.nrf.firmware.zephyr import Zephyr
from drivers.virtual.nrf.silicon import PROTECTED

PROTECTED_TEXT = "The UICR->APPROTECT register is now configured to deny debugging access for the network core!"
FAILED_TEXT = "Cannot write to the UICR->APPROTECT register, exiting...!"
BOOT_SECONDS = 0.03


def run_provisioning(machine: Machine) -> None:
    """Protect the network core's debug port from its next reset on."""
    zephyr = Zephyr(machine)
    machine.pause(BOOT_SECONDS)
    zephyr.banner()
    if machine.take_fault("net_protect_failure") is not None or not protect(machine):
        zephyr.printk(FAILED_TEXT)
        machine.finish("failed")
    zephyr.printk(PROTECTED_TEXT)
    zephyr.printk("Success!")
    machine.finish("done")


def protect(machine: Machine) -> bool:
    """Write UICR.APPROTECT unless it is written; False when it does not read back."""
    place = machine.core.silicon.approtect
    if machine.read_uicr(place) != PROTECTED:
        machine.write_uicr(place, PROTECTED)
    return machine.read_uicr(place) == PROTECTED


def run_production(machine: Machine) -> None:
    """The production image: b0n looks for a PCD command, then the application starts."""
    zephyr = Zephyr(machine)
    machine.pause(BOOT_SECONDS)
    if machine.option("pcd") and machine.do(lambda: machine.core.chip.pcd_command):
        done = machine.take_fault("pcd_failure") is None and protect(machine)
        machine.do(lambda: machine.core.chip.answer_pcd(done))
    zephyr.banner()
    machine.finish("done")
