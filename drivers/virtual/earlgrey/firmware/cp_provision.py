"""The chip probe program: device id, wafer secret, test tokens.

Source: opentitan-device sheet 1.2 (steps 4–9), 4.4, 4.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivers.virtual.earlgrey import flash
from drivers.virtual.earlgrey.firmware import ujson
from drivers.virtual.earlgrey.firmware.machine import FirmwareError, Machine, run_checked
from drivers.virtual.earlgrey.partitions import ITEMS

HARDWARE_ORIGIN = 0x0003_4001
SP_DONE, SP_DONE_UNCHECKED = 0xCAFE_BABE, 0xBEEF_CAFE


def run(machine: Machine, descriptor: Mapping[str, Any], sp_done: int) -> None:
    """The whole program, from its first pin to its ebreak."""
    machine.raise_pin("test_start")
    device_id = write_device_id(machine)
    machine.say("Waiting for CP provisioning data ...\n")
    request = machine.hear()
    if run_checked(machine, lambda: provision(machine, request)):
        machine.say("Exporting CP device ID ...\n")
        machine.say(ujson.answer({"cp_device_id": device_id}))
        machine.raise_pin("test_done")
    machine.say("CP provisioning done.\n")
    machine.stop_at_ebreak(sp_done)


def write_device_id(machine: Machine) -> list[int]:
    """Derive the id from what wafer probing left in page 0 and keep it there."""
    page = machine.info_page(flash.PROBE_PAGE)
    lot, wafer, x, y = (
        int.from_bytes(page[at : at + 4], "little")
        for at in (flash.LOT_NAME, flash.WAFER_NUMBER, flash.WAFER_X, flash.WAFER_Y)
    )
    number = lot >> 24 & 0xF | (lot >> 16 & 0xFF) << 4 | (lot & 0xFFF) << 12 | (wafer & 0xFF) << 24
    number |= (x & 0xFFF) << 32 | (y & 0xFFF) << 44
    words = [HARDWARE_ORIGIN, number & 0xFFFF_FFFF, number >> 32, 0]
    machine.program_info(flash.PROBE_PAGE, flash.CP_DEVICE_ID, ujson.raw(words, 4))
    return words


def provision(machine: Machine, request: Any) -> None:
    """Wafer secret first (rewritten on each run), then the token hashes unless SECRET0 is locked."""
    secret, unlock, exit_ = _parse(request)
    machine.rewrite_info_page(flash.WAS_PAGE, ujson.raw(secret, 4))
    if machine.digest_computed("SECRET0"):
        return
    for name, halves in (("TEST_UNLOCK_TOKEN", unlock), ("TEST_EXIT_TOKEN", exit_)):
        for n, half in enumerate(halves):
            machine.otp_write(ITEMS[name] + 8 * n, half)
    machine.otp_lock("SECRET0")


def _parse(request: Any) -> tuple[list[int], list[int], list[int]]:
    try:
        return (
            ujson.numbers(request["wafer_auth_secret"], 8, 1 << 32),
            ujson.numbers(request["test_unlock_token_hash"], 2, 1 << 64),
            ujson.numbers(request["test_exit_token_hash"], 2, 1 << 64),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FirmwareError(f"the provisioning data is not as expected: {error}") from error
