"""A core that runs real Thumb code of the smallest kind: load a literal, store a word, rest in a loop of one branch.

That is all a recovery's firmware consists of; whatever else a core finds in its flash and is no behavioural image locks
it up, as garbage does. Source: Armv8-M Architecture Reference Manual, C2.4 (LDR literal T1, STR immediate T1, B T2).
"""

from __future__ import annotations

from collections.abc import Callable

MOST_STEPS = 256
_BRANCH_TO_ITSELF = 0xE7FE
_LDR_LITERAL, _STR_IMMEDIATE = 0b01001, 0b01100


def rests(entry: int, read: Callable[[int, int], bytes], write: Callable[[int, int], None]) -> bool:
    """Run from ``entry`` until the code rests; False when it does anything else than store words and rest.

    ``read(address, length)`` fetches from flash, ``write(address, word)`` is a store by the CPU.
    """
    place, registers = entry & ~1, [0] * 8
    for _ in range(MOST_STEPS):
        code = int.from_bytes(read(place, 2), "little")
        if code == _BRANCH_TO_ITSELF:
            return True
        if code >> 11 == _LDR_LITERAL:
            literal = ((place + 4) & ~3) + 4 * (code & 0xFF)
            registers[code >> 8 & 7] = int.from_bytes(read(literal, 4), "little")
        elif code >> 11 == _STR_IMMEDIATE:
            write(registers[code >> 3 & 7] + 4 * (code >> 6 & 0x1F), registers[code & 7])
        else:
            return False
        place += 2
    return False
