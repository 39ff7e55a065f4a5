"""One RISC-V hart behind the debug module, by abstract commands over ``Jtag.dmi``.

Source: RISC-V debug specification 0.13; behaviour measured on the chip in ``opentitan-rtl`` sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from station.deadline import Deadline, Pace
from station.errors import PartError
from station.model import DmiRead, DmiWrite
from station.ports import Jtag

DATA0 = 0x04
DMCONTROL = 0x10
DMSTATUS = 0x11
ABSTRACTCS = 0x16
COMMAND = 0x17

DMACTIVE = 1 << 0
NDMRESET = 1 << 1
ACKHAVERESET = 1 << 28
RESUMEREQ = 1 << 30
HALTREQ = 1 << 31
ALLHALTED = 1 << 9
ALLRESUMEACK = 1 << 17

ACCESS_REGISTER_32 = 0x0022_0000
WRITE = 0x0001_0000
BUSY = 1 << 12
CMDERR = 0x700
CMDERR_WORDS = {1: "busy", 2: "unsupported", 3: "exception", 4: "hart is running", 5: "bus error", 7: "other"}

GPR = {"ra": 0x1001, "sp": 0x1002, "a0": 0x100A}
DCSR = 0x7B0
DPC = 0x7B1
DCSR_EBREAKM_MACHINE = 0x4000_B003  # without ebreakm a bare host never sees the final ebreak


class RiscvHart:
    """Halt, registers and resume of the only hart; every wait is bounded."""

    def __init__(self, jtag: Jtag, pause: Callable[[float], None]) -> None:
        self._jtag = jtag
        self._pause = pause

    def halt_at_reset(self, deadline: Deadline) -> None:
        """Reset the hart (ndmreset) with the halt request kept, so that it stops before its first instruction."""
        self._jtag.dmi(
            [
                DmiWrite(DMCONTROL, DMACTIVE),
                DmiWrite(DMCONTROL, HALTREQ | NDMRESET | DMACTIVE),
                DmiWrite(DMCONTROL, HALTREQ | DMACTIVE),
            ]
        )
        self.wait_halted(deadline, "the hart to halt after reset")
        self._jtag.dmi([DmiWrite(DMCONTROL, HALTREQ | ACKHAVERESET | DMACTIVE), DmiWrite(DMCONTROL, DMACTIVE)])
        self.write({DCSR: DCSR_EBREAKM_MACHINE})

    def wait_halted(self, deadline: Deadline, waited_for: str, watch: Callable[[], None] | None = None) -> None:
        """Poll dmstatus.allhalted; raises ``PartError`` at the deadline, and whatever ``watch`` raises at each poll."""
        pace = Pace(self._pause)
        while not self.is_halted():
            if watch is not None:
                watch()
            if deadline.passed:
                raise PartError(f"expected {waited_for} within {deadline.seconds:g} s, but it did not", "firmware")
            pace.rest()

    def is_halted(self) -> bool:
        """Whether dmstatus reports the hart as halted."""
        return bool(self._jtag.dmi([DmiRead(DMSTATUS)])[0] & ALLHALTED)

    def read(self, *registers: int) -> list[int]:
        """Read 32-bit registers: CSR numbers directly, GPRs as 0x1000 + n."""
        return [self._command(register, None) for register in registers]

    def write(self, values: Mapping[int, int]) -> None:
        """Write 32-bit registers in the order given."""
        for register, value in values.items():
            self._command(register, value)

    def resume(self, address: int) -> None:
        """Set dpc and let the hart run; raises ``PartError`` when it does not acknowledge."""
        self.write({DPC: address})
        self._jtag.dmi([DmiWrite(DMCONTROL, RESUMEREQ | DMACTIVE)])
        for _ in range(20):
            if self._jtag.dmi([DmiRead(DMSTATUS)])[0] & ALLRESUMEACK:
                return
            self._pause(0.001)
        raise PartError(
            f"expected the hart to resume at {address:#010x}, but it did not acknowledge", bin="communication"
        )

    def _command(self, register: int, value: int | None) -> int:
        command = ACCESS_REGISTER_32 | register | (0 if value is None else WRITE)
        before: Sequence[DmiWrite] = [] if value is None else [DmiWrite(DATA0, value)]
        status = self._jtag.dmi([*before, DmiWrite(COMMAND, command), DmiRead(ABSTRACTCS)])[0]
        for _ in range(50):
            if not status & BUSY:
                break
            self._pause(0.001)
            status = self._jtag.dmi([DmiRead(ABSTRACTCS)])[0]
        self._check(status, register)
        return 0 if value is not None else self._jtag.dmi([DmiRead(DATA0)])[0]

    def _check(self, status: int, register: int) -> None:
        if status & BUSY:
            raise PartError(
                f"register {register:#06x}: the debug command stays busy; the hart needs a reset (PMP entry 13 lost?)",
                bin="communication",
            )
        error = (status & CMDERR) >> 8
        if error:
            self._jtag.dmi([DmiWrite(ABSTRACTCS, CMDERR)])
            words = CMDERR_WORDS.get(error, "unknown")
            raise PartError(f"register {register:#06x}: debug command error {error} ({words})", bin="communication")
