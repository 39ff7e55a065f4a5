"""Control and status registers of the virtual hart; unknown numbers are illegal (RTL sheet section 5)."""

from __future__ import annotations

from drivers.virtual.taps.pmp import Pmp

MSTATUS, MISA, MIE, MTVEC, MSCRATCH, MEPC, MCAUSE, MTVAL, MIP = (
    0x300,
    0x301,
    0x304,
    0x305,
    0x340,
    0x341,
    0x342,
    0x343,
    0x344,
)
DCSR, DPC, DSCRATCH0, DSCRATCH1 = 0x7B0, 0x7B1, 0x7B2, 0x7B3
MCYCLE, MINSTRET, MCYCLEH, MINSTRETH = 0xB00, 0xB02, 0xB80, 0xB82
WORD = 0xFFFFFFFF

CAUSE_EBREAK, CAUSE_HALT_REQUEST, CAUSE_STEP = 1, 3, 4
DCSR_RESET = 0x40000003
DCSR_EBREAKM, DCSR_STEP = 1 << 15, 1 << 2
_DCSR_WRITABLE = 1 << 15 | 1 << 13 | 1 << 12 | DCSR_STEP | 3

_RESET = {MSTATUS: 0x80, MIE: 0, MTVEC: 0x8001, MSCRATCH: 0, MEPC: 0, MCAUSE: 0, MTVAL: 0, DCSR: DCSR_RESET, DPC: 0}
_FIXED = {
    MISA: 0x40901104,
    MIP: 0,
    0x306: 0,  # mcounteren
    0x30A: 0,  # menvcfg
    0x31A: 0,  # menvcfgh
    0x320: 0,  # mcountinhibit
    0x7A0: 0,  # tselect
    0x7A1: 0x28001048,  # tdata1: an instruction match that enters debug mode, not armed
    0x7A2: 0,  # tdata2
    0x7C0: 0,  # cpuctrlsts
    0x7C1: 0,  # secureseed
    0xF11: 0,  # mvendorid
    0xF12: 22,  # marchid
    0xF13: 0,  # mimpid
    0xF14: 0,  # mhartid
    0xF15: 0,  # mconfigptr
}
_MASKS = {
    MSTATUS: 1 << 3 | 1 << 7 | 3 << 11 | 1 << 17 | 1 << 21,
    MIE: 1 << 3 | 1 << 7 | 1 << 11 | 0x7FFF << 16,
    MEPC: WORD & ~1,
    DPC: WORD & ~1,
    MCAUSE: 0x8000001F,
}
_COUNTERS = (MCYCLE, MINSTRET, MCYCLEH, MINSTRETH)


class IllegalCsr(Exception):
    """The CSR does not exist, or a read-only one was written."""


class CsrFile:
    """All CSRs but the scratch registers of the debugger, which the hart answers."""

    def __init__(self) -> None:
        self.pmp = Pmp()
        self.values = dict(_RESET)
        self.counters = dict.fromkeys(_COUNTERS, 0)

    def read(self, number: int) -> int:
        """Read CSR ``number``; raises `IllegalCsr`."""
        value = self.pmp.read(number)
        for table in (self.values, _FIXED, self.counters):
            if value is None:
                value = table.get(number)
        if value is None:
            raise IllegalCsr(f"{number:#x}")
        return value

    def write(self, number: int, value: int) -> None:
        """Write CSR ``number`` with the hart's masks; raises `IllegalCsr`."""
        if self.pmp.write(number, value):
            return
        if number in self.values:
            self._write_value(number, value)
        elif number in self.counters:
            self.counters[number] = value
        elif number not in _FIXED or number >> 10 == 3:  # the top quarter of the numbers is read-only
            raise IllegalCsr(f"{number:#x}")

    def enter_debug(self, cause: int, pc: int) -> None:
        """Set dcsr.cause and dpc."""
        self.values[DCSR] = self.values[DCSR] & ~(7 << 6) | cause << 6 | 3  # the hart knows machine mode only
        self.values[DPC] = pc

    def _write_value(self, number: int, value: int) -> None:
        if number == DCSR:
            value = self._dcsr(value)
        elif number == MTVEC:
            value = value & 0xFFFFFF00 | 1
        else:
            value &= _MASKS.get(number, WORD)
        self.values[number] = value

    def _dcsr(self, value: int) -> int:
        value &= _DCSR_WRITABLE
        if value & 3 in (1, 2):  # only machine and user mode exist
            value |= 3
        return self.values[DCSR] & ~_DCSR_WRITABLE | value
