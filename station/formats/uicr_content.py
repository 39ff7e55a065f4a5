"""What each word of UICR is for, and which of them an image may carry.

Most of UICR is written once and only taken back by the erasure of the whole part; a tool that writes an image's UICR
records unseen can lock a part, or end its life cycle. Sources: nordic-tfm sheet 2.2, 2.3, 3.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from station.formats import bl_storage
from station.formats.nordic_family import KMU_CONFIG, Core, NordicFamily


class Uicr(StrEnum):
    """What a word of UICR belongs to."""

    APPROTECT = "approtect"
    ERASEPROTECT = "eraseprotect"
    CONFIG = "config"
    LIFE_CYCLE = "life_cycle"
    IMPLEMENTATION_ID = "implementation_id"
    BOOT_DATA = "boot_data"
    OTP = "otp"
    KMU = "kmu"
    NETWORK = "network"
    RESERVED = "reserved"


BY_DEFAULT = frozenset({Uicr.CONFIG, Uicr.BOOT_DATA, Uicr.OTP})
"""What a production image may carry without being asked."""
ON_REQUEST = frozenset({Uicr.APPROTECT, Uicr.IMPLEMENTATION_ID})
"""What a pack may allow (``uicr_allowed``); the rest no pack can allow."""

WHY_NOT: Mapping[Uicr, str] = {
    Uicr.APPROTECT: "closes the debug port, as every value does but the open one; the pack says who does that and when "
                    "(app_lock, net_lock), and lets a production image do it by uicr_allowed = [\"approtect\"]",
    Uicr.ERASEPROTECT: "sets ERASEPROTECT, after which nothing and nobody can recover the part",
    Uicr.LIFE_CYCLE: "writes the life cycle, which only the provisioning image and TF-M may (a provision.hex built "
                     "for MCUboot alone does that: it fills the storage from its beginning with zeros)",
    Uicr.IMPLEMENTATION_ID: "writes the implementation id, which the provisioning image does; the pack lets a "
                            "production image do it by uicr_allowed = [\"implementation_id\"]",
    Uicr.BOOT_DATA: "writes bootloader data, which belongs into the production image",
    Uicr.OTP: "writes one-time memory, which belongs into the production image",
    Uicr.CONFIG: "writes a configuration word, which belongs into the production image",
    Uicr.KMU: "writes a KMU slot; keys are born in the part and never come from outside",
    Uicr.NETWORK: "is one of the network core's UICR, where no file may write; net_lock says who closes that core's "
                  "debug port",
    Uicr.RESERVED: "writes a word of UICR that is reserved",
}  # fmt: skip

_OTP_WORDS: Mapping[str, int] = {"nrf5340": 0xC0, "nrf9160": 0xBE, "nrf91x1": 0xBE}
_CONFIG_OFFSETS: Mapping[str, tuple[range, ...]] = {
    "nrf5340": (range(0x10, 0x18, 4), range(0x24, 0x2C, 4)),  # VREGHVOUT, HFXOCNT, TINSTANCE, NFCPINS
    "nrf9160": (range(0x14, 0x18, 4), range(0x1C, 0x24, 4)),  # XOSC32M, HFXOSRC, HFXOCNT
    "nrf91x1": (range(0x14, 0x18, 4), range(0x1C, 0x24, 4), range(0x28, 0x2C, 4)),  # and PMICCONF
}


def kind_of(family: NordicFamily, core: Core, address: int) -> Uicr:
    """What the word at this address of the core's UICR (aligned) is for."""
    if address == core.eraseprotect:
        return Uicr.ERASEPROTECT
    if core is not family.app:
        return Uicr.NETWORK
    if address in (core.approtect, core.secure_approtect):
        return Uicr.APPROTECT
    if any(address - core.uicr.start in offsets for offsets in _CONFIG_OFFSETS[family.name]):
        return Uicr.CONFIG
    return Uicr.KMU if address >= KMU_CONFIG else _otp_kind(family, address - family.storage)


def _otp_kind(family: NordicFamily, offset: int) -> Uicr:
    if not 0 <= offset < 4 * _OTP_WORDS[family.name]:
        return Uicr.RESERVED
    if offset < bl_storage.LCS_BYTES:
        return Uicr.LIFE_CYCLE
    if offset < bl_storage.BOOT_DATA_OFFSET:
        return Uicr.IMPLEMENTATION_ID
    return Uicr.BOOT_DATA if offset < bl_storage.BYTES else Uicr.OTP
