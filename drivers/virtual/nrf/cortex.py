"""Debug face of one Cortex-M33: ROM table, system control space, halt, step, register transfer, reset requests.

The core executes no instructions: a behavioural program stands for the code in flash and stops while the core is
halted. Sources: Armv8-M Architecture Reference Manual, chapter D1; identification values: nordic-tfm sheet 5.3.
"""

from __future__ import annotations

from collections.abc import Callable

ROM_TABLE, SCS, DWT, FPB = 0xE00F_F000, 0xE000_E000, 0xE000_1000, 0xE000_2000
PPB = range(0xE000_0000, 0xE010_0000)
CPUID, AIRCR, DFSR, DHCSR, DCRSR, DCRDR, DEMCR, DSCSR = (
    0xE000ED00, 0xE000ED0C, 0xE000ED30, 0xE000EDF0, 0xE000EDF4, 0xE000EDF8, 0xE000EDFC, 0xE000EE08,
)  # fmt: skip
DEBUGKEY, VECTKEY = 0xA05F, 0x05FA
C_DEBUGEN, C_HALT, C_STEP = 1 << 0, 1 << 1, 1 << 2
S_REGRDY, S_HALT, S_LOCKUP, S_SDE, S_RETIRE, S_RESET = 1 << 16, 1 << 17, 1 << 19, 1 << 20, 1 << 24, 1 << 25
SYSRESETREQ, VC_CORERESET = 1 << 2, 1 << 0
DFSR_HALTED, DFSR_VCATCH = 1 << 0, 1 << 3
CDS_SECURE = 1 << 16
REG_WRITE, PC, XPSR, THUMB = 1 << 16, 15, 16, 1 << 24
MSP, CONTROL_GROUP = 17, 20


def _component(base: int, cls: int, part: int, devarch: int = 0) -> dict[int, int]:
    """CoreSight identification registers of a component designed by Arm."""
    peripheral = (part & 0xFF, 0xB0 | part >> 8, 0x0B, 0x00)
    component = (0x0D, cls << 4, 0x05, 0xB1)
    words = {base + 0xFD0: 4, base + 0xFBC: devarch}
    words |= {base + 0xFE0 + 4 * n: value for n, value in enumerate(peripheral)}
    return words | {base + 0xFF0 + 4 * n: value for n, value in enumerate(component)}


_FIXED = {
    ROM_TABLE: 0xFFF0_F003, ROM_TABLE + 4: 0xFFF0_2003, ROM_TABLE + 8: 0xFFF0_3003, ROM_TABLE + 12: 0,
    **_component(ROM_TABLE, 1, 0x4C9),
    **_component(SCS, 9, 0xD21, 0x4770_2A04), **_component(DWT, 9, 0xD21, 0x4770_1A02),
    **_component(FPB, 9, 0xD21, 0x4770_1A03),
    CPUID: 0x410F_D214, 0xE000ED40: 0x30, 0xE000ED44: 0x210, 0xE000ED48: 0x20_0000, 0xE000ED60: 0x0110_1110,
    0xE000ED90: 0x800, 0xE000EF40: 0x1011_0021, 0xE000EF44: 0x1100_0011, 0xE000EF48: 0x40, FPB: 0x1000_0081,
    DWT: 0x4000_0000, 0xE000EFB8: 0xAA,
}  # fmt: skip


class Cortex:
    """Registers in the private peripheral bus of one core."""

    def __init__(self, on_run: Callable[[], None], on_reset_request: Callable[[], None]) -> None:
        self._on_run = on_run
        self._on_reset_request = on_reset_request
        self._demcr = self._dhcsr_control = 0
        self._others: dict[int, int] = {}
        self.reset(keep_debug=False)

    def reset(self, keep_debug: bool) -> None:
        """A reset of the core; a soft one keeps C_DEBUGEN and DEMCR, but never C_HALT."""
        self._demcr *= keep_debug
        self._dhcsr_control &= C_DEBUGEN * keep_debug
        self.registers = [0] * 128
        self.registers[XPSR] = THUMB
        self.halted = False
        self.locked_up = False
        self._dfsr = self._dcrdr = 0
        self._was_reset = True
        self._others = {FPB: _FIXED[FPB]}

    def start(self, stack: int, entry: int) -> bool:
        """Leave reset at this entry; False when the debugger catches the core there."""
        self.registers[13] = self.registers[MSP] = stack & ~3
        self.registers[PC] = entry & ~1
        if self._demcr & VC_CORERESET and self._dhcsr_control & C_DEBUGEN:
            self._halt(DFSR_VCATCH)
        return not self.halted

    def lock_up(self) -> None:
        """The core met bytes that are no program."""
        self.locked_up = True

    def read(self, address: int) -> int:
        """A word of the private peripheral bus; what is not there reads as zero."""
        if address == DHCSR:
            return self._status()
        if address in (DCRDR, DEMCR, DFSR, DSCSR):
            return {DCRDR: self._dcrdr, DEMCR: self._demcr, DFSR: self._dfsr, DSCSR: CDS_SECURE}[address]
        if address == AIRCR:
            return 0xFA05_0000
        return self._others.get(address, _FIXED.get(address, 0))

    def write(self, address: int, value: int) -> None:
        """A word of the private peripheral bus."""
        if address == DHCSR:
            self._control(value)
        elif address == DCRSR:
            self._transfer(value)
        elif address == DCRDR:
            self._dcrdr = value
        elif address == DEMCR:
            self._demcr = value
        elif address == DFSR:
            self._dfsr &= ~value
        elif address == AIRCR:
            if value >> 16 == VECTKEY and value & SYSRESETREQ:
                self._on_reset_request()
        elif address not in _FIXED or address == FPB:
            self._others[address] = value

    def _status(self) -> int:
        status = self._dhcsr_control | S_REGRDY | S_SDE | S_RETIRE * (not self.halted)
        status |= S_HALT * self.halted | S_LOCKUP * (self.locked_up and not self.halted) | S_RESET * self._was_reset
        self._was_reset = False
        return status

    def _control(self, value: int) -> None:
        if value >> 16 != DEBUGKEY:
            return
        self._dhcsr_control = value & 0x2F if value & C_DEBUGEN else 0
        if not value & C_DEBUGEN or not value & C_HALT:
            stepping = self.halted and value & C_DEBUGEN and value & C_STEP
            if stepping:
                self.registers[PC] += 2
                self._dfsr |= DFSR_HALTED
                self._dhcsr_control |= C_HALT
            elif self.halted:
                self.halted = False
                self._on_run()
        elif not self.halted:
            self._halt(DFSR_HALTED)

    def _halt(self, reason: int) -> None:
        self.halted = True
        self._dfsr |= reason
        self._dhcsr_control |= C_HALT

    def _transfer(self, value: int) -> None:
        number = value & 0x7F
        if value & REG_WRITE:
            self.registers[number] = self._dcrdr
        else:
            self._dcrdr = self.registers[number]
