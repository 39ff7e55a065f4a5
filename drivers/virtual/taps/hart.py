"""The virtual hart: a small RV32IMC interpreter with debug mode, product PMP and the SRAM execution gate.

In ROM the hart only spins, the ROM's work is done by the chip model around it. Source: RTL sheet section 5.
"""

from __future__ import annotations

from collections.abc import Callable

from drivers.virtual.taps import csr as names
from drivers.virtual.taps import pmp, rv32, rvc
from drivers.virtual.taps.bus import Bus, BusError
from drivers.virtual.taps.clock import Clock
from drivers.virtual.taps.rv32 import Trap

RESET_VECTOR = 0x8080
ROM = range(0x8000, 0x10000)
SRAM = range(0x10000000, 0x10020000)
EXECUTION_ENABLE = 0x411C000C
EXECUTION_ENABLED = 0x6
DEBUG_MEMORY = range(0x10000, 0x11000)
DEBUG_DATA, DEBUG_PROGRAM_BUFFER = 0x10380, 0x10360
CLK_PER_INSTRUCTION = 2.0
PROGRAM_BUFFER_LIMIT = 10000
WORD = 0xFFFFFFFF


class Hart:
    """One hart; it is advanced lazily, by whoever looks at it, up to the clock's present time."""

    def __init__(self, bus: Bus, clock: Clock, reset_vector: int = RESET_VECTOR) -> None:
        self._bus = bus
        self._clock = clock
        self._reset_vector = reset_vector
        self.on_start: Callable[[Hart], bool] | None = None
        self.on_halt: Callable[[Hart], None] | None = None
        self.debug_data: list[int] = [0, 0]  # the data registers of the debug module, mapped for the program buffer
        self.reset()

    def reset(self) -> None:
        """System reset: running from the reset vector, product PMP, no behavioural program."""
        self.registers = [0] * 32
        self.csrs = names.CsrFile()
        self.pc = self._reset_vector
        self.halted = False
        self.behavioural = False
        self._debug = False
        self._may_fetch_sram: bool | None = None
        self._time = self._clock.now

    @property
    def running(self) -> bool:
        """Not in debug mode (a behavioural program counts as running)."""
        return not self.halted

    @property
    def spinning(self) -> bool:
        """Running, but only waiting in ROM or for a behavioural program: time passes without effects."""
        return not self.halted and (self.behavioural or self.pc in ROM)

    @property
    def debug_memory_reachable(self) -> bool:
        """The debug ROM and data registers can be reached through the PMP; without that debugging is lost."""
        kinds = pmp.READ | pmp.WRITE | pmp.EXECUTE
        return self.csrs.pmp.allows(DEBUG_MEMORY.start, kinds) and self.csrs.pmp.allows(DEBUG_DATA, kinds)

    # --- control by the debug module -------------------------------------------------------------------------

    def halt(self, cause: int = names.CAUSE_HALT_REQUEST) -> None:
        """Enter debug mode with dpc = pc."""
        if self.halted:
            return
        if self.behavioural and self.on_halt is not None:
            self.on_halt(self)
        self.behavioural = False
        self.halted = True
        self.csrs.enter_debug(cause, self.pc)

    def resume(self, at: float | None = None) -> None:
        """Leave debug mode at dpc, at clk ``at`` (default now); a single step comes back after one instruction."""
        self.pc = self.csrs.values[names.DPC]
        self.halted = False
        self._may_fetch_sram = None
        self._time = self._clock.now if at is None else at
        if self.csrs.values[names.DCSR] & names.DCSR_STEP:
            self._step()
            if not self.halted:
                self.halt(names.CAUSE_STEP)
        elif self.on_start is not None and self.on_start(self):
            self.behavioural = True

    def stop_at_ebreak(self, pc: int, sp: int) -> None:
        """A behavioural program ends at the ``ebreak`` at ``pc`` with ``sp`` set; without ebreakm the hart traps."""
        if not self.behavioural:
            return
        self.behavioural = False
        self.registers[2] = sp & WORD
        self.pc = pc
        self._trap(Trap(rv32.BREAKPOINT, pc))

    def advance(self) -> None:
        """Execute what fits between the last look and now."""
        now = self._clock.now
        if self.halted or self.spinning:
            self._time = now
            return
        while self._time + CLK_PER_INSTRUCTION <= now:
            self._time += CLK_PER_INSTRUCTION
            self._step()
            if self.halted or self.spinning:
                self._time = now
                return

    def run_program_buffer(self, words: list[int]) -> str:
        """Execute the program buffer in debug mode: "done", "exception", or "lost" when it never ends."""
        pc = DEBUG_PROGRAM_BUFFER
        self._debug = True
        try:
            for _ in range(PROGRAM_BUFFER_LIMIT):
                pc = self._execute(pc, self._debug_fetch(pc, words))
        except Trap as trap:
            return "done" if trap.cause == rv32.BREAKPOINT else "exception"
        finally:
            self._debug = False
        return "lost"

    # --- what instructions need ------------------------------------------------------------------------------

    def csr(self, number: int) -> int:
        """Read a CSR as the hart does; the debugger's registers are illegal outside debug mode."""
        if number >> 4 == 0x7B and not (self.halted or self._debug):
            raise Trap(rv32.ILLEGAL)
        if number in (names.DSCRATCH0, names.DSCRATCH1):
            return self.registers[8 if number == names.DSCRATCH0 else 10]  # the debug ROM keeps s0 and a0 there
        try:
            return self.csrs.read(number)
        except names.IllegalCsr as error:
            raise Trap(rv32.ILLEGAL) from error

    def set_csr(self, number: int, value: int) -> None:
        """Write a CSR as the hart does."""
        if number >> 4 == 0x7B and not (self.halted or self._debug):
            raise Trap(rv32.ILLEGAL)
        if number in (names.DSCRATCH0, names.DSCRATCH1):
            self.registers[8 if number == names.DSCRATCH0 else 10] = value & WORD
            return
        try:
            self.csrs.write(number, value)
        except names.IllegalCsr as error:
            raise Trap(rv32.ILLEGAL) from error

    def load(self, address: int, size: int) -> int:
        """Zero-extended load; misaligned words are split by the core."""
        if address % size:
            return int.from_bytes(bytes(self.load(address + i & WORD, 1) for i in range(size)), "little")
        if not self.csrs.pmp.allows(address, pmp.READ):
            raise Trap(rv32.LOAD_FAULT, address)
        if address in DEBUG_MEMORY:
            return self._debug_load(address, size)
        try:
            return self._bus.read(address, size)
        except BusError as error:
            raise Trap(rv32.LOAD_FAULT, address) from error

    def store(self, address: int, size: int, value: int) -> None:
        """Store the low bytes of ``value``; misaligned words are split by the core."""
        if address % size:
            for i in range(size):
                self.store(address + i & WORD, 1, value >> 8 * i)
            return
        if not self.csrs.pmp.allows(address, pmp.WRITE):
            raise Trap(rv32.STORE_FAULT, address)
        if address in DEBUG_MEMORY:
            self._debug_store(address, size, value)
            return
        try:
            self._bus.write(address, size, value & (1 << 8 * size) - 1)
        except BusError as error:
            raise Trap(rv32.STORE_FAULT, address) from error
        if address == EXECUTION_ENABLE:
            self._may_fetch_sram = None

    def return_address(self) -> int:
        """mret."""
        status = self.csrs.values[names.MSTATUS]
        self.csrs.values[names.MSTATUS] = status & ~0x1888 | 0x80 | status >> 4 & 8
        return self.csrs.values[names.MEPC]

    # --- execution -------------------------------------------------------------------------------------------

    def _step(self) -> None:
        if self.pc in ROM:
            return
        try:
            self.pc = self._execute(self.pc, self._fetch(self.pc))
            self.csrs.counters[names.MINSTRET] = self.csrs.counters[names.MINSTRET] + 1 & WORD
        except Trap as trap:
            self._trap(trap)

    def _execute(self, pc: int, word: int) -> int:
        if word & 3 == 3:
            return rv32.execute(self, word, pc, 4)
        try:
            return rv32.execute(self, rvc.expand(word & 0xFFFF), pc, 2)
        except rvc.IllegalCompressed as error:
            raise Trap(rv32.ILLEGAL, word & 0xFFFF) from error

    def _fetch(self, pc: int) -> int:
        low = self._fetch_half(pc)
        return low if low & 3 != 3 else low | self._fetch_half(pc + 2) << 16

    def _fetch_half(self, address: int) -> int:
        if not self.csrs.pmp.allows(address, pmp.EXECUTE) or not self._fetch_enabled(address):
            raise Trap(rv32.FETCH_FAULT, address)
        try:
            return self._bus.read(address & ~3, 4) >> 8 * (address & 2) & 0xFFFF
        except BusError as error:
            raise Trap(rv32.FETCH_FAULT, address) from error

    def _fetch_enabled(self, address: int) -> bool:
        if address not in SRAM:
            return True
        if self._may_fetch_sram is None:
            try:
                self._may_fetch_sram = self._bus.read(EXECUTION_ENABLE, 4) & 0xF == EXECUTION_ENABLED
            except BusError:
                self._may_fetch_sram = False
        return self._may_fetch_sram

    def _trap(self, trap: Trap) -> None:
        if trap.cause == rv32.BREAKPOINT and self.csrs.values[names.DCSR] & names.DCSR_EBREAKM:
            self.halt(names.CAUSE_EBREAK)
            return
        values = self.csrs.values
        values[names.MEPC], values[names.MCAUSE], values[names.MTVAL] = self.pc, trap.cause, trap.value
        status = values[names.MSTATUS]
        values[names.MSTATUS] = status & ~0x88 | 0x1800 | status << 4 & 0x80
        self.pc = values[names.MTVEC] & 0xFFFFFF00

    # --- debug memory ----------------------------------------------------------------------------------------

    def _debug_fetch(self, pc: int, words: list[int]) -> int:
        memory = [*words, *self.debug_data]
        index, upper = divmod(pc - DEBUG_PROGRAM_BUFFER, 4)
        if not 0 <= index < len(memory):
            raise Trap(rv32.FETCH_FAULT, pc)
        following = memory[index + 1] if index + 1 < len(memory) else 0
        return (memory[index] | following << 32) >> 8 * upper & WORD

    def _debug_load(self, address: int, size: int) -> int:
        if not DEBUG_DATA <= address < DEBUG_DATA + 8:
            return 0
        word = self.debug_data[address - DEBUG_DATA >> 2]
        return word >> 8 * (address & 3) & (1 << 8 * size) - 1

    def _debug_store(self, address: int, size: int, value: int) -> None:
        if not DEBUG_DATA <= address < DEBUG_DATA + 8 or size != 4:
            raise Trap(rv32.STORE_FAULT, address)
        self.debug_data[address - DEBUG_DATA >> 2] = value & WORD
