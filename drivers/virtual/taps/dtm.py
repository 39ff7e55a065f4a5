"""Debug transport module behind a JTAG TAP: DTMCS and the 41-bit DMI register (RISC-V debug 0.13).

Both TAPs of the chip share it (measured facts: RTL sheet, section 2). A request runs at its Update-DR; its answer
can be captured four TCK and four clk cycles later, which gives the measured minimum of Run-Test/Idle cycles.
"""

from __future__ import annotations

from typing import Protocol

from drivers.virtual.taps.clock import Clock

DMI_BITS = 41
OP_READ, OP_WRITE = 1, 2
OP_BUSY = 3
REFUSED_READ_DATA = 0xB051B051
DTMCS_STATIC = 0x1071  # version 1, abits 7, idle hint 1
DTMCS_RESET, DTMCS_HARD_RESET = 1 << 16, 1 << 17
WORD = 0xFFFFFFFF

HANDSHAKE_TCK = 4
HANDSHAKE_CLK = 4.0
_ROUNDING = 1e-6


class DmiTarget(Protocol):
    """What answers DMI requests; ``write_clk`` is the time until a write is acknowledged, in clk."""

    @property
    def write_clk(self) -> float:
        """Clock cycles from the request to the acknowledge of a write, beside the TCK part of the handshake."""

    def advance(self) -> None:
        """Carry out what has become due."""

    def read(self, address: int) -> int | None:
        """Read the 32-bit register at the 7-bit word address; None refuses with "busy"."""

    def write(self, address: int, value: int) -> bool:
        """Write the 32-bit register at the 7-bit word address; False refuses with "busy"."""


class Dtm:
    """Sticky busy, the request in flight, and the address and data registers the next scan captures."""

    __slots__ = ("_clock", "_due", "_pending", "_refused", "_result", "_target", "address", "busy", "data")

    def __init__(self, target: DmiTarget, clock: Clock) -> None:
        self._target = target
        self._clock = clock
        self._due = 0.0
        self.clear()

    def clear(self) -> None:
        """Test-Logic-Reset, TRST_N or dmihardreset: no error, address and data zero; the target keeps its values."""
        self.address = 0
        self.data = 0
        self.busy = False
        self._pending = 0
        self._result = 0
        self._refused = False

    def capture(self) -> None:
        """Any Capture-DR: a read still in flight makes busy sticky."""
        if self._pending:
            self._settle()
            if self._pending == OP_READ:
                self.busy = True

    def capture_dtmcs(self) -> int:
        """Value of DTMCS at Capture-DR; the status is the one before this capture."""
        if self._pending:
            self._settle()
        value = DTMCS_STATIC | (OP_BUSY << 10 if self.busy else 0)
        self.capture()
        return value

    def capture_dmi(self) -> int:
        """Value of the DMI register at Capture-DR: address, data and op (0 or 3)."""
        self.capture()
        return self.address << 34 | self.data << 2 | (OP_BUSY if self.busy else 0)

    def update(self) -> None:
        """Any Update-DR: a request still in flight makes busy sticky."""
        if self._pending:
            self._settle()
            if self._pending:
                self.busy = True

    def update_dtmcs(self, value: int) -> None:
        """Update-DR of DTMCS: dmireset (bit 16) keeps address and data, dmihardreset (bit 17) zeroes them."""
        self.update()
        if value & DTMCS_HARD_RESET:
            self.clear()
        elif value & DTMCS_RESET:
            self.busy = False

    def update_dmi(self, value: int) -> None:
        """Update-DR of the DMI register: starts the request unless one is in flight or busy is sticky."""
        self.update()
        if self.busy:
            return
        self.address = address = value >> 34
        self.data = data = value >> 2 & WORD
        operation = value & 3
        if operation == OP_WRITE:
            self._refused = not self._target.write(address, data)
            self._start(OP_WRITE, self._target.write_clk)
        elif operation == OP_READ:
            result = self._target.read(address)
            self._refused = result is None
            self._result = REFUSED_READ_DATA if result is None else result
            self._start(OP_READ, HANDSHAKE_CLK)

    def _start(self, operation: int, clk: float) -> None:
        clock = self._clock
        self._pending = operation
        self._due = (clock.tck + HANDSHAKE_TCK) * clock.clk_per_tck + clock.extra + clk - _ROUNDING

    def _settle(self) -> None:
        if self._clock.now < self._due:
            return
        if self._pending == OP_READ:
            self.data = self._result
        if self._refused:
            self.busy = True
        self._pending = 0
