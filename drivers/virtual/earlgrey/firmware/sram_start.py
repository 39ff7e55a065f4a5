"""The start code of SRAM programs: may it run at all, are its bytes right, which exit word follows.

Source: opentitan-device sheet 5.2, opentitan-rtl section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from zlib import crc32

from drivers.virtual.earlgrey.image_format import STUB_SIZE, SramImage
from drivers.virtual.earlgrey.memory_map import SystemBus
from drivers.virtual.taps import Hart

SP_DONE, SP_UNCHECKED, SP_BAD_CRC = 0xCAFE_BABE, 0xBEEF_CAFE, 0xBADD_CAFE
SKIP_CRC = 0xBEEF_CAFE
A0 = 10
_PMP = {0x3BF: 0x0400_3FFF, 0x3BA: 0x1000_0000, 0x3BB: 0x1400_0000}
_PMP_TOP_BYTE = {0x3A3: 0x9F, 0x3A2: 0x8F}


class Verdict(Enum):
    """What happens after the resume."""

    RUN = "run"
    BAD_CRC = "bad_crc"
    TRAP = "trap"
    UNKNOWN = "unknown"  # no program of the images folder: the hart interprets it


@dataclass(frozen=True, slots=True)
class Start:
    """The verdict and, for a program that runs, which one and its exit word."""

    verdict: Verdict
    image: SramImage | None = None
    sp_done: int = 0


def judge(bus: SystemBus, hart: Hart, candidates: Sequence[SramImage]) -> Start:
    """Look at memory, gates and a0 as the processor would on its first instructions."""
    for image in candidates:
        content = bus.content(image.address, len(image.data))
        if content[:STUB_SIZE] != image.data[:STUB_SIZE]:
            continue
        if not _gates_open(bus, hart):
            return Start(Verdict.TRAP)
        if content == image.data:
            return _checked(image, hart.registers[A0])
        # The start code itself is whole and computes the checksum of what is there.
        told = hart.registers[A0]
        return Start(Verdict.TRAP if told in (SKIP_CRC, crc32(content)) else Verdict.BAD_CRC)
    return Start(Verdict.UNKNOWN)


def _checked(image: SramImage, told: int) -> Start:
    if told == SKIP_CRC:
        return Start(Verdict.RUN, image, SP_UNCHECKED)
    return Start(Verdict.RUN, image, SP_DONE) if told == image.crc else Start(Verdict.BAD_CRC)


def _gates_open(bus: SystemBus, hart: Hart) -> bool:
    entries = all(hart.csr(number) == value for number, value in _PMP.items())
    modes = all(hart.csr(number) >> 24 == value for number, value in _PMP_TOP_BYTE.items())
    return bus.sram_control.exec == 0x6 and entries and modes
