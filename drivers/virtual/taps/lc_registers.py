"""Register view of the life cycle controller for one of its two sides, with the transition mutex between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station.formats.lc import CMD_START, CTRL_EXT_CLOCK, CTRL_VOLATILE_RAW_UNLOCK, MUTEX_FALSE, MUTEX_TRUE, Reg

if TYPE_CHECKING:
    from drivers.virtual.taps.lc_ctrl import LcController

WORD = 0xFFFFFFFF
WINDOW_WORDS = 0x40
_TARGET_MASK = 0x3FFFFFFF


class LcInterface:
    """What one side (LC TAP or CPU) sees; addresses are byte offset / 4, 0x40 and up alias, as on the TAP."""

    write_clk = 5.35  # measured: 13 Run-Test/Idle cycles at TCK = 10 x clk, none from TCK = 4 x clk on

    def __init__(self, controller: LcController) -> None:
        self._controller = controller
        self.other: LcInterface = self
        self.claim = MUTEX_FALSE
        self.regwen = 1

    @property
    def holds_mutex(self) -> bool:
        """This side has claimed the transition interface."""
        return self.claim == MUTEX_TRUE

    def advance(self) -> None:
        """Carry out the steps of a transition that are due."""
        self._controller.advance()

    def read(self, address: int) -> int:
        """Read a register; unmapped words read all ones."""
        address %= WINDOW_WORDS
        if Reg.TRANSITION_REGWEN <= address <= Reg.VENDOR_STATUS:
            return self._read_gated(address)
        if address >= Reg.DEVICE_ID_0:
            return self._read_identity(address)
        if address == Reg.CLAIM_TRANSITION_IF_REGWEN:
            return self.regwen
        if address == Reg.CLAIM:
            return self.claim
        return self._read_common(address)

    def write(self, address: int, value: int) -> bool:
        """Write a register; read-only, unmapped and locked ones ignore it. Always acknowledged."""
        address %= WINDOW_WORDS
        self._controller.advance()
        if address == Reg.CLAIM:
            if self.regwen and not self.other.holds_mutex:
                self.claim = value & 0xFF
        elif address == Reg.CLAIM_TRANSITION_IF_REGWEN:
            self.regwen &= value & 1
        elif self.holds_mutex and self._controller.idle:
            self._write_gated(address, value)
        return True

    def _read_common(self, address: int) -> int:
        controller = self._controller
        if address == Reg.STATUS:
            return controller.status
        if address == Reg.LC_STATE:
            return controller.lc_state.encoded
        if address == Reg.TRANSITION_CNT:
            return controller.count
        if address == Reg.ID_STATE:
            return controller.id_state
        return controller.fabric.hw_revision()[address - Reg.HW_REVISION0] if address else 0

    def _read_gated(self, address: int) -> int:
        """Registers that read 0 on the side that does not hold the mutex."""
        if not self.holds_mutex or address == Reg.CMD:
            return 0
        controller = self._controller
        controller.advance()
        if Reg.TOKEN_0 <= address <= Reg.TOKEN_3:
            return controller.tokens[address - Reg.TOKEN_0]
        values = {
            Reg.TRANSITION_REGWEN: int(controller.idle),
            Reg.CTRL: controller.control,
            Reg.TARGET: controller.target,
            Reg.VENDOR_CTRL: controller.vendor_control,
        }
        return values[Reg(address)] if address in values else controller.vendor_status

    def _read_identity(self, address: int) -> int:
        fabric = self._controller.fabric
        if address < Reg.MANUF_STATE_0:
            return fabric.device_id()[address - Reg.DEVICE_ID_0]
        if address <= Reg.MANUF_STATE_7:
            return fabric.manuf_state()[address - Reg.MANUF_STATE_0]
        return WORD

    def _write_gated(self, address: int, value: int) -> None:
        controller = self._controller
        if Reg.TOKEN_0 <= address <= Reg.TOKEN_3:
            controller.tokens[address - Reg.TOKEN_0] = value
        elif address == Reg.TARGET:
            controller.target = value & _TARGET_MASK
            controller.check_target()
        elif address == Reg.VENDOR_CTRL:
            controller.vendor_control = value
        elif address == Reg.CTRL:
            self._write_control(value)
        elif address == Reg.CMD and value & CMD_START:
            controller.start()

    def _write_control(self, value: int) -> None:
        """EXT_CLOCK_EN can only be set; VOLATILE_RAW_UNLOCK exists in some builds."""
        controller = self._controller
        controller.control |= value & CTRL_EXT_CLOCK
        if controller.volatile_supported:
            controller.control = controller.control & ~CTRL_VOLATILE_RAW_UNLOCK | value & CTRL_VOLATILE_RAW_UNLOCK
        controller.request_clock()
