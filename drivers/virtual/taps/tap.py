"""IEEE 1149.1 test access port with the instruction set of the chip's two debug TAPs.

A batch of TCK cycles is walked state by state; shifts take one step however long they are. Bit strings are
most-significant first, so cycle ``i`` of ``count`` sits at index ``count - 1 - i``.
"""

from __future__ import annotations

from drivers.virtual.taps.clock import Clock
from drivers.virtual.taps.dtm import DMI_BITS, DmiTarget, Dtm

IR_BITS = 5
IR_CAPTURE = 0b00101
IR_IDCODE, IR_DTMCS, IR_DMI = 0x01, 0x10, 0x11
IDCODE_LC = 0x10002CDF
IDCODE_RV = 0x10001CDF

(
    RESET,
    IDLE,
    SELECT_DR,
    CAPTURE_DR,
    SHIFT_DR,
    EXIT1_DR,
    PAUSE_DR,
    EXIT2_DR,
    UPDATE_DR,
    SELECT_IR,
    CAPTURE_IR,
    SHIFT_IR,
    EXIT1_IR,
    PAUSE_IR,
    EXIT2_IR,
    UPDATE_IR,
) = range(16)

_NEXT_LOW = (
    IDLE,
    IDLE,
    CAPTURE_DR,
    SHIFT_DR,
    SHIFT_DR,
    PAUSE_DR,
    PAUSE_DR,
    SHIFT_DR,
    IDLE,
    CAPTURE_IR,
    SHIFT_IR,
    SHIFT_IR,
    PAUSE_IR,
    PAUSE_IR,
    SHIFT_IR,
    IDLE,
)
_NEXT_HIGH = (
    RESET,
    SELECT_DR,
    SELECT_IR,
    EXIT1_DR,
    EXIT1_DR,
    UPDATE_DR,
    EXIT2_DR,
    UPDATE_DR,
    SELECT_DR,
    RESET,
    EXIT1_IR,
    EXIT1_IR,
    UPDATE_IR,
    EXIT2_IR,
    UPDATE_IR,
    SELECT_DR,
)
_PIECE_BITS = 1 << 16  # batches are cut so that no big-integer operation grows with the whole transfer


class Tap:
    """One TAP: ``clock`` and ``shift`` take TCK cycles and give TDO as seen just before each rising edge."""

    def __init__(self, target: DmiTarget, clock: Clock, idcode: int) -> None:
        self._target = target
        self._clock = clock
        self._idcode = idcode
        self._dtm = Dtm(target, clock)
        self.reset()

    @property
    def state(self) -> int:
        """State of the TAP controller (0 = Test-Logic-Reset … 15 = Update-IR)."""
        return self._state

    @property
    def instruction(self) -> int:
        """The selected instruction."""
        return self._ir

    @property
    def tdo(self) -> int:
        """TDO while TCK is low: the bit the next rising edge shifts out, 0 where it is not driven."""
        return self._register & 1 if self._state in (SHIFT_DR, SHIFT_IR) else 0

    @property
    def dtm(self) -> Dtm:
        """The debug transport module behind this TAP."""
        return self._dtm

    def reset(self) -> None:
        """TRST_N: Test-Logic-Reset, IDCODE selected, DMI error and registers cleared."""
        self._state = RESET
        self._ir = IR_IDCODE
        self._register = 0
        self._length = 1
        self._dtm.clear()

    def tick(self, clk: float) -> None:
        """Let wall time pass, in clk, without TCK; what stands behind the TAP carries out what has become due."""
        self._clock.tick(clk)
        self._target.advance()

    def clock(self, count: int, tms: int, tdi: int) -> int:
        """Clock ``count`` TCK cycles, bit i of ``tms`` and ``tdi`` in cycle i; TDO is 0 where it is not driven."""
        if count <= _PIECE_BITS:
            return self._clock_piece(count, tms, tdi)
        size = (count + 7) // 8
        tms_bytes = (tms & ((1 << count) - 1)).to_bytes(size, "little")
        tdi_bytes = (tdi & ((1 << count) - 1)).to_bytes(size, "little")
        step = _PIECE_BITS // 8
        out = bytearray()
        for at in range(0, size, step):
            bits = min(_PIECE_BITS, count - at * 8)
            tms_piece = int.from_bytes(tms_bytes[at : at + step], "little")
            tdi_piece = int.from_bytes(tdi_bytes[at : at + step], "little")
            out += self._clock_piece(bits, tms_piece, tdi_piece).to_bytes((bits + 7) // 8, "little")
        return int.from_bytes(out, "little")

    def shift(self, count: int, tdi: int, last_tms: bool) -> int:
        """As `clock` with TMS low in every cycle but the last."""
        return self.clock(count, 1 << (count - 1) if last_tms and count else 0, tdi)

    def _clock_piece(self, count: int, tms: int, tdi: int) -> int:
        if count <= 0:
            return 0
        mask = (1 << count) - 1
        tms_text = format(tms & mask, f"0{count}b")
        tdi_text = format(tdi & mask, f"0{count}b")
        out: list[str] = []
        clock = self._clock
        first = clock.tck
        left = count  # cycles still to do; the next cycle is at index left - 1
        while left:
            state = self._state
            if state in (SHIFT_DR, SHIFT_IR):
                end = tms_text.rfind("1", 0, left)
                begin = end if end >= 0 else 0
                out.append(self._shift(left - begin, tdi_text[begin:left]))
                if end >= 0:
                    self._state = state + 1  # Exit1
                left = begin
            elif state == IDLE:
                begin = tms_text.rfind("1", 0, left)
                if begin >= 0:
                    self._state = SELECT_DR
                else:
                    begin = 0
                out.append("0" * (left - begin))
                left = begin
            else:
                clock.tck = first + count - left
                left -= 1
                self._step(state, tms_text[left] == "1")
                out.append("0")
        clock.tck = first + count
        out.reverse()
        return int("".join(out), 2)

    def _shift(self, count: int, incoming: str) -> str:
        length = self._length
        both = int(incoming, 2) << length | self._register
        self._register = both >> count
        return format(both & ((1 << count) - 1), f"0{count}b")

    def _step(self, state: int, high: bool) -> None:
        """One rising edge outside the Shift and Idle states: the action of the state that is left."""
        if state == CAPTURE_DR:
            self._capture()
        elif state == UPDATE_DR:
            self._update()
        elif state == CAPTURE_IR:
            self._register, self._length = IR_CAPTURE, IR_BITS
        elif state == UPDATE_IR:
            self._ir = self._register
        self._state = next_state = _NEXT_HIGH[state] if high else _NEXT_LOW[state]
        if next_state == RESET:
            self._ir = IR_IDCODE
            self._dtm.clear()

    def _capture(self) -> None:
        if self._ir == IR_DMI:
            self._register, self._length = self._dtm.capture_dmi(), DMI_BITS
        elif self._ir == IR_DTMCS:
            self._register, self._length = self._dtm.capture_dtmcs(), 32
        else:
            self._dtm.capture()
            if self._ir == IR_IDCODE:
                self._register, self._length = self._idcode, 32
            else:
                self._register, self._length = 0, 1

    def _update(self) -> None:
        if self._ir == IR_DMI:
            self._dtm.update_dmi(self._register)
        elif self._ir == IR_DTMCS:
            self._dtm.update_dtmcs(self._register)
        else:
            self._dtm.update()


def lc_tap(controller_side: DmiTarget, clock: Clock, idcode: int = IDCODE_LC) -> Tap:
    """The life cycle TAP in front of ``LcController.tap``."""
    return Tap(controller_side, clock, idcode)


def rv_tap(debug_module: DmiTarget, clock: Clock, idcode: int = IDCODE_RV) -> Tap:
    """The RISC-V TAP in front of a debug module."""
    return Tap(debug_module, clock, idcode)
