"""FICR: what the factory wrote about a part. Offsets: nordic-tfm sheet 2.1; nRF9160 has SIPINFO at 0x140 as well."""

from __future__ import annotations

import struct

from drivers.virtual.nrf.silicon import NVM_SIZE, CoreSilicon, Silicon

SIPINFO, INFO, CODEPAGESIZE = 0x140, 0x200, 0x220


def factory_information(silicon: Silicon, core: CoreSilicon, device_id: tuple[int, int]) -> bytes:
    """All bytes of the core's FICR; words that nobody wrote are 0xFFFFFFFF."""
    content = bytearray(b"\xff" * NVM_SIZE)
    variant, revision = _text(silicon.variant), _text(silicon.hwrevision)
    package = 0x2000
    struct.pack_into(
        "<8I", content, INFO, 0x0000_0001, *device_id, silicon.part, variant, package,
        core.ram_size >> 10, core.flash_size >> 10,
    )  # fmt: skip
    struct.pack_into("<2I", content, CODEPAGESIZE, core.page, core.flash_size // core.page)
    if silicon.apb_ap is not None:
        struct.pack_into("<3I", content, SIPINFO, silicon.part, revision, variant)
    return bytes(content)


def _text(four: str) -> int:
    """Four letters as the register shows them: the first one in the highest byte."""
    return int.from_bytes(four.encode("ascii"), "big")
