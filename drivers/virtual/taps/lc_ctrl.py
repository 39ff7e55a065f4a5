"""The life cycle controller behind the LC TAP: mutex, registers and the transition state machine.

Source: RTL sheet section 3 (it wins), device sheet 3.2 to 3.5.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from drivers.virtual.taps.clock import Clock
from drivers.virtual.taps.lc_functions import LcFunctions, functions_of
from drivers.virtual.taps.lc_registers import LcInterface
from station.formats.lc import (
    COUNT_INVALID,
    CTRL_EXT_CLOCK,
    CTRL_VOLATILE_RAW_UNLOCK,
    ID_INVALID,
    ID_PERSONALIZED,
    MAX_TRANSITIONS,
    MUTEX_FALSE,
    LcState,
    Status,
    TokenKind,
    transition_token,
)
from station.formats.lc_token import DEV_RAW_UNLOCK_LITERAL, ZERO_TOKEN, lc_hash, raw_from_literal

_CLOCK_CAN_SWITCH = frozenset(state for state in LcState if state <= LcState.TEST_UNLOCKED7 or state is LcState.RMA)
_ZERO_HASH = lc_hash(ZERO_TOKEN)
_STEP_CLK = 1.0
ESCALATED, SCRAPPED, INVALID, IDLE, RUNNING, POST = "escalate", "scrap", "invalid", "idle", "running", "post"
UNINITIALISED = "reset"


class LcFabric(Protocol):
    """What the controller is wired to: OTP, hash block, clock manager, flash.

    Times are in clk. Two methods are optional: ``wipe(seed: int) -> bool`` (flash wipe before RMA; False = the
    handshake was inconsistent) and ``vendor_status(control: int) -> int`` (vendor test status of the OTP macro).
    ``clock_switch_clk`` and ``wipe_clk`` may be infinite: the controller then waits for ever, as the real one does.
    """

    otp_word_clk: float
    hash_clk: float
    clock_switch_clk: float
    wipe_clk: float

    def stored(self) -> tuple[int | None, int]:
        """State index 0..20 (None = invalid encoding) and transition count 0..24 as OTP holds them."""

    def program_count(self, count: int) -> bool:
        """Program the transition counter; False = programming failed."""

    def program_state(self, state_index: int) -> bool:
        """Program the life cycle state; False = programming failed."""

    def token_digest(self, kind: TokenKind) -> bytes | None:
        """Stored 16-byte hash of TEST_UNLOCK, TEST_EXIT, RMA or RAW_UNLOCK; None = partition not locked."""

    def id_state(self) -> int:
        """0 blank or 0x55555555 personalized (SECRET2 locked)."""

    def device_id(self) -> Sequence[int]:
        """Eight words, least significant first."""

    def manuf_state(self) -> Sequence[int]:
        """Eight words, least significant first."""

    def hw_revision(self) -> tuple[int, int]:
        """HW_REVISION0 and HW_REVISION1."""

    def partition_error(self) -> bool:
        """An OTP partition reports an error."""


class LcController:
    """One controller with its two interfaces: ``tap`` (the LC TAP) and ``cpu`` (the register file at 0x40140000)."""

    def __init__(self, fabric: LcFabric, clock: Clock, *, volatile_raw_unlock: bool = False) -> None:
        self._fabric = fabric
        self._clock = clock
        self._volatile_supported = volatile_raw_unlock
        self.on_change: Callable[[], None] | None = None
        self.tap = LcInterface(self)
        self.cpu = LcInterface(self)
        self.tap.other, self.cpu.other = self.cpu, self.tap
        self.reset()

    # --- reset and facts -------------------------------------------------------------------------------------

    def reset(self, initialise: bool = True) -> None:
        """Chip reset: registers cleared, the state is fetched from OTP anew (later, when ``initialise`` is False)."""
        for side in (self.tap, self.cpu):
            side.claim, side.regwen = MUTEX_FALSE, 1
        self.control = 0
        self.tokens = [0, 0, 0, 0]
        self.target = 0
        self.vendor_control = 0
        self._errors = Status(0)
        self._clock_ready = math.inf
        self._steps: Generator[float, None, Status] | None = None
        self._due = math.inf
        self._check_bypass = False
        self._strap_override = False
        self._phase = UNINITIALISED
        self._state, self._count = LcState.INVALID, 0
        if initialise:
            self.initialise()

    def initialise(self) -> None:
        """What the power manager requests once OTP is ready: state and count are taken over and checked."""
        index, self._count = self._fabric.stored()
        self._phase = IDLE
        if index is None or not 0 <= index <= LcState.SCRAP or not 0 <= self._count <= MAX_TRANSITIONS:
            self._invalidate()
            return
        self._state = LcState(index)
        uncounted = self._count == 0 and self._state is not LcState.RAW
        in_test = self._state <= LcState.TEST_UNLOCKED7
        if uncounted or (in_test and self._fabric.id_state() == ID_PERSONALIZED):
            self._invalidate()
        elif self._state is LcState.SCRAP:
            self._phase = SCRAPPED

    def escalate(self) -> None:
        """Alert escalation: ESCALATE until reset."""
        self._phase = ESCALATED
        self._steps = None
        self._changed()

    def _invalidate(self) -> None:
        self._phase = INVALID
        self._errors |= Status.STATE_ERROR

    @property
    def idle(self) -> bool:
        """READY: a transition could be started."""
        return self._phase == IDLE

    @property
    def in_transition(self) -> bool:
        """A transition has been started and not ended."""
        self.advance()
        return self._phase == RUNNING

    @property
    def volatile_supported(self) -> bool:
        """Built with volatile RAW unlock."""
        return self._volatile_supported

    @property
    def status(self) -> int:
        """STATUS register."""
        self.advance()
        status = Status.INITIALIZED if self._phase != UNINITIALISED else Status(0)
        if self.idle:
            status |= Status.READY
        if self._clock.now >= self._clock_ready:
            status |= Status.EXT_CLOCK_SWITCHED
        if self._fabric.partition_error():
            self._errors |= Status.OTP_PARTITION_ERROR
        return int(status | self._errors)

    @property
    def lc_state(self) -> LcState:
        """The state LC_STATE shows."""
        self.advance()
        shown = {POST: LcState.POST_TRANSITION, ESCALATED: LcState.ESCALATE, INVALID: LcState.INVALID}
        return shown.get(self._phase, self._state)

    @property
    def count(self) -> int:
        """LC_TRANSITION_CNT: 31 wherever it is not meant to be read."""
        self.advance()
        return self._count if self._phase in (IDLE, RUNNING) else COUNT_INVALID

    @property
    def id_state(self) -> int:
        """LC_ID_STATE."""
        self.advance()
        return self._fabric.id_state() if self._phase in (IDLE, RUNNING) else ID_INVALID

    @property
    def vendor_status(self) -> int:
        """OTP_VENDOR_TEST_STATUS: 0 outside RAW, TEST and RMA and after a transition."""
        self.advance()
        answer = getattr(self._fabric, "vendor_status", None)
        if answer is None or self._state not in _CLOCK_CAN_SWITCH or self._phase not in (IDLE, RUNNING):
            return 0
        return int(answer(self.vendor_control))

    @property
    def fabric(self) -> LcFabric:
        """What the controller is wired to."""
        return self._fabric

    @property
    def functions(self) -> LcFunctions:
        """The broadcast signals; unchanged while a transition runs, only check bypass goes on."""
        state = self.lc_state
        return dataclasses.replace(
            functions_of(state), check_bypass=self._check_bypass, strap_override=self._strap_override
        )

    # --- what the interfaces ask for -------------------------------------------------------------------------

    def request_clock(self) -> None:
        """EXT_CLOCK_EN: the request is raised at the register write, where the state allows it."""
        wanted = self.control & CTRL_EXT_CLOCK and self._state in _CLOCK_CAN_SWITCH
        if wanted and self._clock_ready == math.inf:
            self._clock_ready = self._clock.now + self._fabric.clock_switch_clk

    def check_target(self) -> None:
        """The two lowest groups of the target must select the same matrix entry; checked without any start."""
        if self._token_of_group(0) is not self._token_of_group(1):
            self._errors |= Status.TRANSITION_ERROR

    def start(self) -> None:
        """TRANSITION_CMD.START from the side that holds the mutex."""
        if self._volatile_supported and self.control & CTRL_VOLATILE_RAW_UNLOCK:
            self._volatile_unlock()
        else:
            self._phase = RUNNING
            self._check_bypass = True
            self._steps = self._transition()
            self._due = self._clock.now + _STEP_CLK
        self._changed()

    def advance(self) -> None:
        """Carry out the steps of a running transition that are due; call it before a reset and after wall time."""
        while (steps := self._steps) is not None and self._due <= self._clock.now:
            try:
                duration = next(steps)
            except StopIteration as finished:
                if self._steps is steps:
                    self._finish(finished.value)
            else:
                self._due += duration

    def _finish(self, outcome: Status) -> None:
        self._errors |= outcome
        self._steps = None
        self._phase = POST
        self._changed()

    # --- the transition --------------------------------------------------------------------------------------

    def _token_of_group(self, group: int) -> TokenKind | None:
        index = self.target >> 5 * group & 31
        if index > LcState.SCRAP or self._phase not in (IDLE, RUNNING):
            return None
        return transition_token(self._state, LcState(index))

    def _target_state(self) -> LcState | None:
        """The target when all six groups agree on a state of the matrix."""
        state = LcState(self.target & 31) if self.target & 31 <= LcState.SCRAP else None
        return state if state is not None and state.encoded == self.target else None

    def _transition(self) -> Generator[float, None, Status]:
        """Yields the clk each step takes; returns the status bit it ends with. A reset abandons it at any yield."""
        target = self._target_state()
        scrapping = target is LcState.SCRAP
        if self.control & CTRL_EXT_CLOCK and self._state in _CLOCK_CAN_SWITCH:
            yield max(0.0, self._clock_ready - self._due)
        if self._count >= MAX_TRANSITIONS and not scrapping:
            return Status.TRANSITION_COUNT_ERROR
        yield self._fabric.otp_word_clk
        if not self._program_attempt(scrapping):
            return Status.OTP_ERROR
        kind = None if target is None else transition_token(self._state, target)
        if target is None or kind is None:
            return Status.TRANSITION_ERROR
        yield self._fabric.hash_clk
        if not self._token_matches(kind):
            return Status.TOKEN_ERROR
        if target is LcState.RMA:
            yield self._fabric.wipe_clk
            if not self._wipe():
                return Status.FLASH_RMA_ERROR
        yield self._fabric.otp_word_clk
        programmed = scrapping or self._fabric.program_state(int(target))
        return Status.TRANSITION_SUCCESSFUL if programmed else Status.OTP_ERROR

    def _program_attempt(self, scrapping: bool) -> bool:
        """Every attempt costs one count before any check; SCRAP writes its state word along with count 24."""
        if not scrapping:
            return self._fabric.program_count(self._count + 1)
        return self._fabric.program_count(MAX_TRANSITIONS) and self._fabric.program_state(int(LcState.SCRAP))

    def _token_bytes(self) -> bytes:
        return b"".join(word.to_bytes(4, "little") for word in self.tokens)

    def _token_matches(self, kind: TokenKind) -> bool:
        expected = _ZERO_HASH if kind is TokenKind.ZERO else self._fabric.token_digest(kind)
        return expected is not None and lc_hash(self._token_bytes()) == expected

    def _wipe(self) -> bool:
        wipe = getattr(self._fabric, "wipe", None)
        return True if wipe is None else bool(wipe(self.tokens[0]))

    def _volatile_unlock(self) -> None:
        """Volatile RAW unlock: hashed token, no OTP write, no count, no POST_TRANSITION when it succeeds."""
        if self._state is not LcState.RAW or self._target_state() is not LcState.TEST_UNLOCKED0:
            self._errors |= Status.TRANSITION_ERROR
            self._phase = POST
        elif self._token_bytes() != self._fabric.token_digest(TokenKind.RAW_UNLOCK):
            self._errors |= Status.TOKEN_ERROR
            self._phase = POST
        else:
            self._errors |= Status.TRANSITION_SUCCESSFUL
            self._state = LcState.TEST_UNLOCKED0
            self._count = max(self._count, 1)
            self._strap_override = True

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


def open_source_raw_digest() -> bytes:
    """Stored hash of the publicly known RAW unlock token."""
    return lc_hash(raw_from_literal(DEV_RAW_UNLOCK_LITERAL))
