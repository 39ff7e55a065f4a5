"""The tiny firmware that keeps the debug port of an erased part open over a reset.

On hardened parts the port opens after a hard reset only when UICR says so *and* software writes the same word into the
part's own register; a part without firmware closes (nordic-tfm sheet 2.7). Registers: nRF5340 CTRLAP.APPROTECT.DISABLE
and SECUREAPPROTECT.DISABLE (nrfx:bsp/stable/mdk/system_nrf53_approtect.h); nRF91x1 APPROTECT.APPROTECT.DISABLE and
SECUREAPPROTECT.DISABLE, where software writes 0x5A (system_nrf91_approtect.h). The loop at its end never sleeps: an
nRF91x1 that sleeps loses the open state (anomaly 36).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from station.formats.nordic_family import APPROTECT_OPEN_HARDENED, Core, NordicFamily

_SOFTWARE_OPEN_NRF91 = 0x5A
_WRITES: Mapping[tuple[str, str], tuple[tuple[int, int], ...]] = {
    ("nrf5340", "app"): ((0x5000_6544, APPROTECT_OPEN_HARDENED), (0x5000_654C, APPROTECT_OPEN_HARDENED)),
    ("nrf5340", "net"): ((0x4100_6544, APPROTECT_OPEN_HARDENED),),
    ("nrf91x1", "app"): ((0x5003_9E10, _SOFTWARE_OPEN_NRF91), (0x5003_9E00, _SOFTWARE_OPEN_NRF91)),
}
"""Address and value of each register that the firmware writes."""
VECTORS = 16
_LDR, _STR, _BRANCH_TO_ITSELF, _NOP = 0x4800, 0x6000, 0xE7FE, 0xBF00
THUMB = 1


def image(family: NordicFamily, core: Core) -> bytes:
    """Vector table and code for the beginning of the core's flash; empty where hardware alone decides (nRF9160)."""
    writes = _WRITES.get((family.name, core.name), ())
    if not writes:
        return b""
    code_at = core.flash.start + 4 * VECTORS
    idle = code_at + 2 * 3 * len(writes)
    stack = core.ram.start + core.ram.length
    vectors = struct.pack(f"<{VECTORS}I", stack, code_at | THUMB, *[idle | THUMB] * (VECTORS - 2))
    return vectors + _code(writes)


def _code(writes: tuple[tuple[int, int], ...]) -> bytes:
    """LDR r0, value; LDR r1, address; STR r0, [r1] for each register, a loop, then the literals."""
    halfwords = 3 * len(writes) + 1
    padded = halfwords + halfwords % 2
    found: list[int] = []
    for number in range(len(writes)):
        for register, literal in ((0, 2 * number), (1, 2 * number + 1)):
            here = 2 * len(found)
            base = (here + 4) & ~3  # PC reads as the instruction's address plus 4, aligned to words
            found.append(_LDR | register << 8 | (2 * padded + 4 * literal - base) // 4)
        found.append(_STR | 1 << 3)
    found += [_BRANCH_TO_ITSELF, *[_NOP] * (padded - halfwords)]
    literals = [word for address, value in writes for word in (value, address)]
    return struct.pack(f"<{padded}H{len(literals)}I", *found, *literals)
