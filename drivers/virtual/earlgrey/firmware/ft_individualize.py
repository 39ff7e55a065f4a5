"""The individualize program: device id, hardware configuration, software configuration of the OTP.

Source: opentitan-device sheet 1.3 (step 4), 4.4, 4.5. The OTP tables come from the program's own bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivers.virtual.earlgrey import flash
from drivers.virtual.earlgrey.firmware import ujson
from drivers.virtual.earlgrey.firmware.machine import FirmwareError, Machine, run_checked
from drivers.virtual.earlgrey.partitions import AST_CFG_SIZE, ITEMS, PARTITIONS

_LOCKED_HERE = ("ROT_CREATOR_AUTH_CODESIGN", "ROT_CREATOR_AUTH_STATE")
_LEFT_OPEN = ("OWNER_SW_CFG", "CREATOR_SW_CFG")


def run(machine: Machine, descriptor: Mapping[str, Any], sp_done: int) -> None:
    """The whole program; without a built-in id it asks for the SKU-specific half on the console."""
    machine.raise_pin("test_start")
    sku_words = [int(word) for word in descriptor["ft_device_id"]]
    request: Any = {"ft_device_id": sku_words}
    if not any(sku_words):
        machine.say("Waiting for FT SRAM provisioning data ...")
        request = machine.hear()
    if not run_checked(machine, lambda: individualize(machine, descriptor, request)):
        machine.park()
    machine.raise_pin("test_done")
    machine.stop_at_ebreak(sp_done)


def individualize(machine: Machine, descriptor: Mapping[str, Any], request: Any) -> None:
    """Hardware partitions first, then the keys, then the software configuration."""
    write_hw_cfg0(machine, _device_id(machine, request))
    write_hw_cfg1(machine, descriptor["otp"]["HW_CFG1"])
    for name in _LOCKED_HERE:
        if not machine.digest_computed(name):
            machine.write_software_items(descriptor["otp"][name])
            lock_software(machine, name)
    for name in _LEFT_OPEN:
        if not machine.digest_computed(name):
            machine.write_software_items(_software_items(machine, descriptor, name))
    if descriptor["generation"] == "e1":
        for page in flash.BOOT_DATA_PAGES:
            machine.rewrite_info_page(page, b"BOOT".ljust(96, b"\0"))


def lock_software(machine: Machine, name: str) -> None:
    """Write a software partition's digest, or skip it when it is already there."""
    if not machine.otp_read(PARTITIONS[name].digest):
        machine.otp_lock(name)


def write_hw_cfg0(machine: Machine, device_id: list[int]) -> None:
    """Device id and a zero manufacturing state, written without looking, then locked; skipped when locked."""
    if machine.digest_computed("HW_CFG0"):
        return
    for n, word in enumerate([*device_id, *[0] * 8]):
        machine.otp_write(ITEMS["DEVICE_ID"] + 4 * n, word)
    machine.otp_lock("HW_CFG0")


def write_hw_cfg1(machine: Machine, items: list[tuple[int, int]]) -> None:
    """The three enables, written without looking, then locked; skipped when locked."""
    if machine.digest_computed("HW_CFG1"):
        return
    for address, word in items:
        machine.otp_write(address, word)
    machine.otp_lock("HW_CFG1")


def _device_id(machine: Machine, request: Any) -> list[int]:
    try:
        sku_words = ujson.numbers(request["ft_device_id"], 4, 1 << 32)
    except (KeyError, TypeError, ValueError) as error:
        raise FirmwareError(f"the individualization data is not as expected: {error}") from error
    page = machine.info_page(flash.PROBE_PAGE)
    origin = ujson.words(page[flash.CP_DEVICE_ID : flash.CP_DEVICE_ID + 16])
    ast_version = page[flash.AST_CFG_VERSION]
    sku_words[0] = sku_words[0] & ~0xFF00 | ast_version << 8
    return origin + sku_words


def _software_items(machine: Machine, descriptor: Mapping[str, Any], name: str) -> list[tuple[int, int]]:
    items = [(int(a), int(v)) for a, v in descriptor["otp"][name]]
    if name == "CREATOR_SW_CFG":
        page = machine.info_page(flash.PROBE_PAGE)
        words = ujson.words(page[flash.AST_CALIBRATION : flash.AST_CALIBRATION + AST_CFG_SIZE])
        items = [(ITEMS["AST_CFG"] + 4 * n, word) for n, word in enumerate(words)] + items
    return items
