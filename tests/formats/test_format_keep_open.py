import struct

import pytest

from station.formats import keep_open
from station.formats.nordic_family import FAMILIES

REGISTERS = {
    ("nrf5340", "app"): {0x50006544: 0x50FA50FA, 0x5000654C: 0x50FA50FA},
    ("nrf5340", "net"): {0x41006544: 0x50FA50FA},
    ("nrf91x1", "app"): {0x50039E10: 0x5A, 0x50039E00: 0x5A},
}
"""Sheet 2.7 (CTRL-AP peripheral, CPU side) and the words that pyOCD's own empty nRF91 image writes."""


def run(image, base):
    """A machine of three Thumb instructions (Armv8-M ARM, T1 encodings); gives what was written where it stops."""
    stack, entry = struct.unpack_from("<II", image)
    assert entry & 1
    pc, registers, written = entry - 1, {}, {}
    for _ in range(100):
        (code,) = struct.unpack_from("<H", image, pc - base)
        if code >> 11 == 0b01001:  # LDR (literal)
            address = ((pc + 4) & ~3) + 4 * (code & 0xFF)
            (registers[code >> 8 & 7],) = struct.unpack_from("<I", image, address - base)
        elif code >> 11 == 0b01100:  # STR (immediate)
            written[registers[code >> 3 & 7] + 4 * (code >> 6 & 0x1F)] = registers[code & 7]
        elif code == 0xE7FE:  # B .
            return written, pc, stack
        else:
            raise AssertionError(f"{code:04x} at {pc:#x}")
        pc += 2
    raise AssertionError("it does not come to rest")


@pytest.mark.parametrize(("family", "core"), REGISTERS)
def test_it_writes_the_registers_and_rests(family, core):
    family = FAMILIES[family]
    core = family.core(core)
    image = keep_open.image(family, core)
    written, rest, stack = run(image, core.flash.start)
    assert written == REGISTERS[family.name, core.name]
    assert stack == core.ram.start + core.ram.length and len(image) < core.flash.page
    vectors = struct.unpack_from("<16I", image)
    assert set(vectors[2:]) == {rest | 1}, "every fault comes to rest, too"


def test_a_family_whose_hardware_decides_needs_none():
    assert keep_open.image(FAMILIES["nrf9160"], FAMILIES["nrf9160"].app) == b""
