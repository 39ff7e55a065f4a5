"""What a debugger reaches through the AHB access port of one core: address decoding, widths, security.

Every method is called with the chip's lock held. ``BusFault`` is the error response of the bus.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from drivers.virtual.nrf.cortex import PPB
from drivers.virtual.nrf.silicon import NVM_SIZE

if TYPE_CHECKING:
    from drivers.virtual.nrf.core import Core

BLOCK = 0x1000
PERIPHERALS = range(0x4000_0000, 0x6000_0000)
SECURE_ALIAS = 0x1000_0000
KMU_PUSH, KMU_PUSHED, KMU_REVOKED, KMU_ERROR, KMU_STATUS, KMU_SELECT = 0x000, 0x100, 0x104, 0x108, 0x40C, 0x500
FORCEOFF, FORCEOFF_UNLOCK = 0x5614, 0x5618
RESET_BLOCK = 0x5000_5000
DEBUGGER = "debugger"
SOFTWARE_GATES = {0xE00: (True, False), 0xE04: (True, True), 0xE10: (False, False), 0xE14: (False, True)}
"""nRF91x1: DISABLE and FORCEPROTECT of SECUREAPPROTECT and APPROTECT, in the block of NVMC: (secure, forces)."""


class BusFault(Exception):
    """The bus answered with an error."""


class Bus:
    """Memories and peripherals of one core."""

    def __init__(self, core: Core) -> None:
        self._core = core
        silicon = core.silicon
        self._flash = range(silicon.flash, silicon.flash + silicon.flash_size)
        self._ram = range(silicon.ram, silicon.ram + silicon.ram_size)
        self._ficr = range(silicon.ficr, silicon.ficr + NVM_SIZE)
        self._uicr = range(silicon.uicr, silicon.uicr + NVM_SIZE)
        self._peripherals: dict[int, int] = {}

    def reset(self) -> None:
        """Peripherals are reset."""
        self._peripherals.clear()

    # ---- blocks ---------------------------------------------------------------------------------------------------

    def read_words(self, address: int, count: int, secure: bool) -> list[int]:
        """Aligned 32-bit words."""
        self._check(address, 4)
        memory = self._memory(address, 4 * count, secure)
        if memory is not None:
            return list(struct.unpack(f"<{count}I", memory))
        return [self._read_word(address + 4 * n, secure) for n in range(count)]

    def write_words(self, address: int, words: Sequence[int], secure: bool) -> None:
        """Aligned 32-bit words, in order; a fault in the middle leaves those before it written."""
        self._check(address, 4)
        length = 4 * len(words)
        if address in self._flash and address + length <= self._flash.stop:
            self._need_secure(secure)
            self._core.nvmc.write(address - self._flash.start, struct.pack(f"<{len(words)}I", *words))
        elif address in self._ram and address + length <= self._ram.stop:
            self._need_secure(secure)
            at = address - self._ram.start
            self._core.ram[at : at + length] = struct.pack(f"<{len(words)}I", *words)
        else:
            for n, word in enumerate(words):
                self._write_word(address + 4 * n, word, secure)

    def read_bytes(self, address: int, count: int, secure: bool) -> bytes:
        """Bytes of any alignment; outside memories whole words are read and cut."""
        memory = self._memory(address, count, secure)
        if memory is not None:
            return memory
        start = address & ~3
        words = -(-(address + count - start) // 4)
        raw = b"".join(self._read_word(start + 4 * n, secure).to_bytes(4, "little") for n in range(words))
        return raw[address - start : address - start + count]

    def write_bytes(self, address: int, data: bytes, secure: bool) -> None:
        """Bytes or halfwords: RAM takes them, flash and UICR take whole words only."""
        if address in self._ram and address + len(data) <= self._ram.stop:
            self._need_secure(secure)
            at = address - self._ram.start
            self._core.ram[at : at + len(data)] = data
            return
        if address in self._uicr:
            self._core.uicr.refuse()
            return
        raise BusFault(f"no {8 * len(data)}-bit writes at {address:#010x}")

    # ---- words ----------------------------------------------------------------------------------------------------

    def _check(self, address: int, size: int) -> None:
        if address % size:
            raise BusFault(f"unaligned access at {address:#010x}")

    def _need_secure(self, secure: bool) -> None:
        if not secure:  # the SPU's reset values make all memory secure
            raise BusFault("non-secure access to secure memory")

    def _memory(self, address: int, length: int, secure: bool) -> bytes | None:
        for place in (self._flash, self._ram, self._ficr):
            if address in place and address + length <= place.stop:
                self._need_secure(secure)
                at = address - place.start
                if place is self._flash:
                    return self._core.nvmc.read(at, length)
                return (
                    bytes(self._core.ram[at : at + length]) if place is self._ram else self._core.ficr[at : at + length]
                )
        return None

    def _read_word(self, address: int, secure: bool) -> int:
        self._check(address, 4)
        if address in PPB:
            return self._core.cortex.read(address)
        if address in self._uicr:
            self._need_secure(secure)
            return self._core.nvmc.read_uicr(address - self._uicr.start)
        if address in PERIPHERALS:
            return self._read_peripheral(self._secure_address(address, secure))
        raise BusFault(f"nothing at {address:#010x}")

    def _write_word(self, address: int, value: int, secure: bool) -> None:
        self._check(address, 4)
        if address in PPB:
            self._core.cortex.write(address, value)
        elif address in self._uicr:
            self._need_secure(secure)
            self._core.nvmc.write_uicr(address - self._uicr.start, value, DEBUGGER)
        elif address in PERIPHERALS:
            self._write_peripheral(self._secure_address(address, secure), value)
        elif address not in self._ficr:
            raise BusFault(f"nothing at {address:#010x}")

    def _secure_address(self, address: int, secure: bool) -> int:
        """Both aliases of a peripheral are one; the secure one needs a secure access."""
        if address & SECURE_ALIAS:
            self._need_secure(secure)
        return address if self._core.is_net else address | SECURE_ALIAS

    def cpu_writes(self, address: int, value: int) -> None:
        """A store of the core's own program, secure, to a peripheral; elsewhere it has no effect here."""
        if address in PERIPHERALS:
            self._write_peripheral(self._secure_address(address, secure=True), value)

    # ---- peripherals ----------------------------------------------------------------------------------------------

    def _read_peripheral(self, address: int) -> int:
        core, block, offset = self._core, address & ~(BLOCK - 1), address & (BLOCK - 1)
        if block == core.silicon.nvmc:
            if not core.is_net and offset in (KMU_STATUS, KMU_SELECT):
                return core.uicr.status if offset == KMU_STATUS else core.uicr.selected
            if offset in (KMU_PUSHED, KMU_REVOKED, KMU_ERROR):
                return self._peripherals.get(address, 0)
            return core.nvmc.read_register(offset)
        if block == core.silicon.ctrl_ap_registers:
            return core.ctrl_ap.read_cpu(offset)
        if block == RESET_BLOCK and offset == FORCEOFF & (BLOCK - 1) and core.controls_net:
            return int(core.net_is_off)
        return self._peripherals.get(address, 0)

    def _write_peripheral(self, address: int, value: int) -> None:
        core, block, offset = self._core, address & ~(BLOCK - 1), address & (BLOCK - 1)
        if block == core.silicon.nvmc:
            self._write_nvmc(address, offset, value)
        elif block == core.silicon.ctrl_ap_registers:
            core.ctrl_ap.write_cpu(offset, value)
        elif block == RESET_BLOCK and offset == FORCEOFF & (BLOCK - 1) and core.controls_net:
            core.force_net_off(bool(value & 1))
        else:
            self._peripherals[address] = value

    def _write_nvmc(self, address: int, offset: int, value: int) -> None:
        core = self._core
        if core.protection.software_releases and offset in SOFTWARE_GATES:
            secure, forces = SOFTWARE_GATES[offset]
            gate = core.protection.secure if secure else core.protection.all
            if not forces:
                core.protection.cpu_writes(gate, value)
            elif value & 1:
                core.protection.cpu_locks(gate)
        elif core.is_net or offset not in (KMU_PUSH, KMU_SELECT, KMU_PUSHED, KMU_REVOKED, KMU_ERROR):
            core.nvmc.write_register(offset, value, DEBUGGER)
        elif offset == KMU_SELECT:
            core.uicr.select(value)
        elif offset == KMU_PUSH:
            if value & 1:
                self._peripherals[(address & ~(BLOCK - 1)) + core.push_key_slot()] = 1
        else:
            self._peripherals[address] = value
