"""The debug module behind the RISC-V TAP: dmcontrol, dmstatus, abstract commands, program buffer, system bus.

Sources: RTL sheet sections 4 and 5, device sheet 5.1. Everything happens at the clock's present time; what takes
longer (halt, resume, a command, a bus access) carries the time at which it becomes visible. Whoever lets wall time
pass calls `DebugModule.advance` afterwards, or the interpreter runs and halts only when the host looks.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from drivers.virtual.taps.bus import Bus
from drivers.virtual.taps.clock import Clock
from drivers.virtual.taps.dtm import HANDSHAKE_CLK
from drivers.virtual.taps.hart import Hart
from drivers.virtual.taps.rv32 import Trap
from drivers.virtual.taps.sba import SBCS_INACTIVE, SystemBusAccess

DATA0, DATA1, DMCONTROL, DMSTATUS, HARTINFO, ABSTRACTCS, COMMAND, ABSTRACTAUTO = (
    0x04,
    0x05,
    0x10,
    0x11,
    0x12,
    0x16,
    0x17,
    0x18,
)
PROGBUF0, SBCS, SBADDRESS0, SBDATA0, HALTSUM0 = 0x20, 0x38, 0x39, 0x3C, 0x40
HARTINFO_VALUE = 0x00212380
ABSTRACTCS_STATIC = 0x08000002  # 8 words of program buffer, 2 data registers
HALTREQ, RESUMEREQ, ACKHAVERESET, NDMRESET, DMACTIVE = 1 << 31, 1 << 30, 1 << 28, 2, 1
WORD = 0xFFFFFFFF
NEVER = float("inf")

HALT_CLK = 30.0
RESUME_CLK = 60.0
COMMAND_CLK = 154.0


class CommandError(IntEnum):
    """abstractcs.cmderr."""

    NONE = 0
    BUSY = 1
    NOT_SUPPORTED = 2
    EXCEPTION = 3
    HALT_RESUME = 4


class DebugModule:
    """One debug module in front of one hart (or of none: a hart that never halts) and the system bus."""

    write_clk = HANDSHAKE_CLK

    def __init__(self, bus: Bus, hart: Hart | None, clock: Clock, *, bus_latency: float = 0.0) -> None:
        self._clock = clock
        self._hart = hart
        self.sba = SystemBusAccess(bus, clock, bus_latency)
        self.on_ndmreset: Callable[[bool], None] | None = None
        self._readers: dict[int, Callable[[], int]] = {
            DMCONTROL: self._control,
            DMSTATUS: self._status,
            HARTINFO: lambda: HARTINFO_VALUE,
            ABSTRACTCS: self._abstract_status,
            ABSTRACTAUTO: lambda: self._auto,
            SBADDRESS0: self.sba.read_address,
            HALTSUM0: lambda: int(self.halted),
        }
        self.reset()

    @property
    def enabled(self) -> bool:
        """Live life cycle gate: while it is closed, system bus accesses end in a bus error."""
        return self.sba.enabled

    @enabled.setter
    def enabled(self, open_gate: bool) -> None:
        self.sba.enabled = open_gate

    @property
    def halted(self) -> bool:
        """What dmstatus reports."""
        return self._hart is not None and (self._hart.halted or self._resume_due != NEVER) and not self._ndmreset

    def reset(self) -> None:
        """Power-on or chip reset; the hart is reset by the chip."""
        self._active = False
        self._have_reset = True
        self._resume_acknowledged = False
        self._deactivate()

    def _deactivate(self) -> None:
        """State while dmactive is 0."""
        self._halt_request = False
        self._resume_request = False
        self._ndmreset = False
        self._command_error = CommandError.NONE
        self._command = 0
        self._auto = 0
        self._progbuf = [0] * 8
        self._data = [0, 0]
        self._halt_due = NEVER
        self._resume_due = NEVER
        self._command_due: float | None = None
        self._command_outcome: CommandError = CommandError.NONE
        self.sba.clear()
        if self._hart is not None:
            self._hart.debug_data = self._data

    # --- DMI -------------------------------------------------------------------------------------------------

    def read(self, address: int) -> int | None:
        """Read a register; None = refused as busy, which also leaves an error bit in the module."""
        if address == SBDATA0:
            return self.sba.read_data() if self._active else 0
        self.advance()
        if address in (DATA0, DATA1) or PROGBUF0 <= address < PROGBUF0 + 8:
            return self._read_buffer(address)
        if address == SBCS:
            return self.sba.read_status() if self._active else SBCS_INACTIVE
        return self._read_plain(address)

    def write(self, address: int, value: int) -> bool:
        """Write a register; False = refused as busy, which also leaves an error bit in the module."""
        if not self._active and address != DMCONTROL:
            return True
        if address == SBDATA0:
            return self.sba.write_data(value)
        self.advance()
        if address == DMCONTROL:
            self._write_control(value)
        elif address == SBCS:
            return self.sba.write_status(value)
        elif address == SBADDRESS0:
            return self.sba.write_address(value)
        elif self._is_command_register(address):
            return self._write_command_register(address, value)
        return True

    def _read_plain(self, address: int) -> int:
        reader = self._readers.get(address)
        return 0 if reader is None else reader()

    def _abstract_status(self) -> int:
        return ABSTRACTCS_STATIC | (1 << 12 if self._command_busy else 0) | self._command_error << 8

    def _control(self) -> int:
        bits = (HALTREQ, self._halt_request), (RESUMEREQ, self._resume_request), (NDMRESET, self._ndmreset)
        return int(self._active) | sum(bit for bit, on in bits if on)

    def _status(self) -> int:
        status = 0x82  # authenticated, version 0.13
        status |= 3 << 8 if self.halted else 3 << 10
        status |= 3 << 16 if self._resume_acknowledged else 0
        return status | (3 << 18 if self._have_reset else 0)

    # --- run control -----------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Let the hart and everything in flight reach the present time."""
        now = self._clock.now
        hart = self._hart
        if hart is not None and not self._ndmreset:
            self._advance_hart(hart, now)
        if self._command_due is not None and self._command_due <= now:
            self._command_due = None
            if self._command_outcome:
                self._command_error = self._command_outcome
        self._schedule()

    def _advance_hart(self, hart: Hart, now: float) -> None:
        if self._resume_due <= now:
            self._resume_due = NEVER
            self._resume_acknowledged = True
            self._resume_request = False
        hart.advance()
        if self._halt_due <= now:
            self._halt_due = NEVER
            hart.halt()

    def _write_control(self, value: int) -> None:
        if value & ACKHAVERESET:
            self._have_reset = False
        if not self._active:
            self._active = bool(value & DMACTIVE)
            return
        if not value & DMACTIVE:
            self._release_reset()
            self._active = False
            self._deactivate()
            return
        self._halt_request = bool(value & HALTREQ)
        if value & RESUMEREQ and not self._resume_request:
            self._resume_acknowledged = False
        self._resume_request = bool(value & RESUMEREQ)
        if value & NDMRESET and not self._ndmreset:
            self._assert_reset()
        elif not value & NDMRESET:
            self._release_reset()
        self._schedule()

    def _assert_reset(self) -> None:
        self._ndmreset = True
        self._have_reset = True
        self._resume_acknowledged = False
        self._command_due = None
        self._halt_due = self._resume_due = NEVER
        if self.on_ndmreset is not None:
            self.on_ndmreset(True)

    def _release_reset(self) -> None:
        if not self._ndmreset:
            return
        self._ndmreset = False
        if self._hart is not None:
            self._hart.reset()
        if self.on_ndmreset is not None:
            self.on_ndmreset(False)

    def _schedule(self) -> None:
        """Start a halt or a resume that has been requested and is possible; drop one that is not wanted any more."""
        hart = self._hart
        if hart is None or self._ndmreset:
            return
        now = self._clock.now
        if not self._halt_request or self.halted:
            self._halt_due = NEVER
        elif self._halt_due == NEVER:
            self._halt_due = now + HALT_CLK
        if self._resume_due == NEVER and self._may_resume(hart):
            self._resume_due = now + RESUME_CLK
            hart.resume(self._resume_due)  # the program starts then, without anybody looking

    def _may_resume(self, hart: Hart) -> bool:
        wanted = self._resume_request and not self._resume_acknowledged and not self._halt_request
        return wanted and hart.halted and not self._command_busy

    # --- abstract commands -----------------------------------------------------------------------------------

    @property
    def _command_busy(self) -> bool:
        return self._command_due is not None or self._resume_due != NEVER

    @staticmethod
    def _is_command_register(address: int) -> bool:
        plain = address in (DATA0, DATA1, ABSTRACTCS, COMMAND, ABSTRACTAUTO)
        return plain or PROGBUF0 <= address < PROGBUF0 + 8

    def _refuse(self) -> None:
        if self._command_error == CommandError.NONE:
            self._command_error = CommandError.BUSY

    def _read_buffer(self, address: int) -> int | None:
        if self._command_busy:
            self._refuse()
            return None
        value = self._data[address - DATA0] if address < PROGBUF0 else self._progbuf[address - PROGBUF0]
        self._autoexecute(address)
        return value

    def _write_command_register(self, address: int, value: int) -> bool:
        if self._command_busy:
            self._refuse()
            return False
        if address == ABSTRACTCS:
            self._command_error = CommandError(self._command_error & ~(value >> 8 & 7))
        elif address == COMMAND:
            self._command = value
            self._start_command()
        elif address == ABSTRACTAUTO:
            self._auto = value & 0x00FF0003
        elif address < PROGBUF0:
            self._data[address - DATA0] = value
            self._autoexecute(address)
        else:
            self._progbuf[address - PROGBUF0] = value
            self._autoexecute(address)
        return True

    def _autoexecute(self, address: int) -> None:
        bit = 1 << address - DATA0 if address < PROGBUF0 else 1 << address - PROGBUF0 + 16
        if self._auto & bit:
            self._start_command()

    def _start_command(self) -> None:
        """Commands run although cmderr is set (RTL trace of register access after an exception)."""
        command = self._command
        size, transfer, post_execute = command >> 20 & 7, command & 1 << 17, command & 1 << 18
        register = command & 0xFFFF
        if command >> 24 or self._unsupported(size, bool(transfer), bool(command & 1 << 19), register):
            self._command_error = CommandError.NOT_SUPPORTED
            return
        hart = self._hart
        if hart is None or not self.halted:
            self._command_error = CommandError.HALT_RESUME
            return
        outcome = CommandError.NONE if transfer or post_execute else CommandError.EXCEPTION
        lost = False
        if transfer:
            outcome = self._access_register(hart, register, size, bool(command & 1 << 16))
            lost = not hart.debug_memory_reachable
        if post_execute and outcome == CommandError.NONE and not lost:
            result = hart.run_program_buffer(self._progbuf)
            outcome = CommandError.EXCEPTION if result == "exception" else CommandError.NONE
            lost = result == "lost" or not hart.debug_memory_reachable
        self._command_outcome = outcome
        self._command_due = NEVER if lost else self._clock.now + COMMAND_CLK

    @staticmethod
    def _unsupported(size: int, transfer: bool, post_increment: bool, register: int) -> bool:
        if size > 2:
            return True
        return register >> 14 != 0 if transfer else post_increment

    def _access_register(self, hart: Hart, register: int, size: int, write: bool) -> CommandError:
        """Move data0 to or from a register; narrow reads cannot store into data0 and end in an exception."""
        try:
            if write:
                bits = 8 << size
                value = self._data[0] & (1 << bits) - 1
                value |= WORD & -(1 << bits) if value >> bits - 1 else 0
                self._set_register(hart, register, value)
            else:
                value = self._register(hart, register)
                if size != 2:
                    return CommandError.EXCEPTION
                self._data[0] = value
        except Trap:
            return CommandError.EXCEPTION
        return CommandError.NONE

    @staticmethod
    def _register(hart: Hart, register: int) -> int:
        if not register & 0x1000:
            return hart.csr(register & 0xFFF)
        if register & 0x20:  # floating point
            raise Trap(2)
        return hart.registers[register & 31]

    @staticmethod
    def _set_register(hart: Hart, register: int, value: int) -> None:
        if not register & 0x1000:
            hart.set_csr(register & 0xFFF, value)
        elif register & 0x20:
            raise Trap(2)
        elif register & 31:
            hart.registers[register & 31] = value
