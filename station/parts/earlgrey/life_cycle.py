"""The life cycle controller over its TAP: look, and carry out one transition.

Sources: opentitan-device sheet 3.3–3.6, corrected by opentitan-rtl sections 1 and 3 (STATUS is exactly 0x9 or 0xD after
a good transition; TRANSITION_ERROR may be set by a bad target before anything was spent; the transition count is
incremented before any check).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from station.deadline import Deadline, Pace
from station.errors import FormatError, PartError
from station.formats.lc import (
    CMD_START,
    CTRL_EXT_CLOCK,
    ID_PERSONALIZED,
    IDCODE_LC,
    MAX_TRANSITIONS,
    MUTEX_TRUE,
    STATUS_ERRORS,
    STATUS_IDLE,
    LcState,
    Reg,
    Status,
)
from station.formats.lc_token import words_of
from station.model import DmiRead, DmiWrite
from station.ports import Jtag
from station.secret import Secret


@dataclass(frozen=True, slots=True)
class LifeCycle:
    """What the controller says of the part.

    ``count`` is 0..24 (31 while unreadable); ``id_state`` 32 bits; ``device_id`` 32 bytes, DEVICE_ID_0 first,
    little-endian words; ``hw_revision`` HW_REVISION0 (silicon creator in the upper, product in the lower half).
    """

    state: LcState
    count: int
    id_state: int
    device_id: bytes
    hw_revision: int
    status: int

    @property
    def transitions_left(self) -> int:
        """How many of the 24 attempts are left; 0 when the count cannot be read."""
        return max(0, MAX_TRANSITIONS - self.count)

    @property
    def is_personalized(self) -> bool:
        """True once SECRET2 is locked (LC_ID_STATE 0x55555555)."""
        return self.id_state == ID_PERSONALIZED


class LifeCycleController:
    """Verbs over the LC TAP; the straps already select it."""

    def __init__(self, jtag: Jtag, pause: Callable[[float], None], seconds: float) -> None:
        self._jtag = jtag
        self._pause = pause
        self._seconds = seconds

    def attach(self) -> None:
        """Connect to the TAP, check its IDCODE and wait for the controller's own initialised bit."""
        idcode = self._jtag.connect()
        if idcode != IDCODE_LC:
            raise PartError(f"expected the life cycle TAP {IDCODE_LC:#010x}, saw IDCODE {idcode:#010x}", "wrong_part")
        deadline, pace = Deadline(self._seconds), Pace(self._pause)
        while not self._status() & Status.INITIALIZED:
            if deadline.passed:
                raise PartError("expected the life cycle controller to initialise, but it did not", "communication")
            pace.rest()

    def look(self) -> LifeCycle:
        """Read state, count, id state, device id and revision in one transfer."""
        first = [Reg.STATUS, Reg.LC_STATE, Reg.TRANSITION_CNT, Reg.ID_STATE, Reg.HW_REVISION0]
        words = [Reg.DEVICE_ID_0 + n for n in range(8)]
        status, state, count, id_state, revision, *device = self._jtag.dmi([DmiRead(r) for r in (*first, *words)])
        device_id = b"".join(word.to_bytes(4, "little") for word in device)
        return LifeCycle(_state(state), count, id_state, device_id, revision, status)

    def transition(self, target: LcState, token: Secret | None, external_clock: bool = False) -> None:
        """Carry out one transition; raises ``PartError`` with the observed STATUS when it is refused.

        Everything before the start command can be taken back; the start costs one of 24 attempts, success or not.
        """
        status = self._status()
        if status != STATUS_IDLE:
            raise PartError(
                f"expected life cycle STATUS {int(STATUS_IDLE):#x} before a transition, saw {status:#x}",
                "lc_transition",
            )
        self._claim()
        self._set_target(target)
        self._write_token(token)
        self._jtag.dmi([DmiWrite(Reg.CTRL, CTRL_EXT_CLOCK if external_clock else 0)])
        self._jtag.dmi([DmiWrite(Reg.CMD, CMD_START)])
        self._wait_success(target)

    def _status(self) -> int:
        return self._jtag.dmi([DmiRead(Reg.STATUS)])[0]

    def _claim(self) -> None:
        seen = self._jtag.dmi([DmiWrite(Reg.CLAIM, MUTEX_TRUE), DmiRead(Reg.CLAIM)])[0]
        if seen != MUTEX_TRUE:
            raise PartError(
                f"expected to claim the transition interface, saw {seen:#x}; the CPU holds it", "lc_transition"
            )

    def _set_target(self, target: LcState) -> None:
        # Read back before firing: an unreplicated target is a sticky error, a wrong one a wrong part.
        seen = self._jtag.dmi([DmiWrite(Reg.TARGET, target.encoded), DmiRead(Reg.TARGET)])[0]
        if seen != target.encoded:
            raise PartError(f"expected target {target.encoded:#010x} to read back, saw {seen:#010x}", "lc_transition")

    def _write_token(self, token: Secret | None) -> None:
        if token is None:
            self._jtag.dmi([DmiWrite(Reg.TOKEN_0 + n, 0) for n in range(4)])
            return
        with token.reveal() as raw:
            self._jtag.dmi_secret([DmiWrite(Reg.TOKEN_0 + n, word) for n, word in enumerate(words_of(raw))])

    def _wait_success(self, target: LcState) -> None:
        deadline, pace = Deadline(self._seconds), Pace(self._pause)
        while True:
            status = Status(self._status())
            if status & STATUS_ERRORS:
                raise PartError(f"transition to {target.name} was refused: STATUS {int(status):#x}", _bin_of(status))
            if status & Status.TRANSITION_SUCCESSFUL:
                break
            if deadline.passed:
                raise PartError(f"expected the transition to {target.name} to end, but it did not", "lc_transition")
            pace.rest()
        seen = _state(self._jtag.dmi([DmiRead(Reg.LC_STATE)])[0])
        if seen is not LcState.POST_TRANSITION:
            raise PartError(
                f"expected POST_TRANSITION after the transition to {target.name}, saw {seen.name}", "lc_transition"
            )


def _state(encoded: int) -> LcState:
    try:
        return LcState.from_encoded(encoded)
    except FormatError:
        return LcState.INVALID


def _bin_of(status: Status) -> str:
    if status & Status.TOKEN_ERROR:
        return "unlock_refused"
    if status & Status.TRANSITION_COUNT_ERROR:
        return "worn_out"
    return "lc_transition"
