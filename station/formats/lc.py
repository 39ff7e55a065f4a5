"""Life cycle states, registers, status bits and the transition matrix of the Earlgrey life cycle controller.

Source: opentitan-device sheet 3.1 to 3.4 and 3.7; opentitan-rtl sheet section 3 where it differs.
"""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag

from station.errors import FormatError

_GROUPS = 6
_REPLICATE = sum(1 << (5 * group) for group in range(_GROUPS))


class LcState(IntEnum):
    """Life cycle states; the value is the 5-bit index that is repeated six times on the wire (sheet 3.1)."""

    RAW = 0
    TEST_UNLOCKED0 = 1
    TEST_LOCKED0 = 2
    TEST_UNLOCKED1 = 3
    TEST_LOCKED1 = 4
    TEST_UNLOCKED2 = 5
    TEST_LOCKED2 = 6
    TEST_UNLOCKED3 = 7
    TEST_LOCKED3 = 8
    TEST_UNLOCKED4 = 9
    TEST_LOCKED4 = 10
    TEST_UNLOCKED5 = 11
    TEST_LOCKED5 = 12
    TEST_UNLOCKED6 = 13
    TEST_LOCKED6 = 14
    TEST_UNLOCKED7 = 15
    DEV = 16
    PROD = 17
    PROD_END = 18
    RMA = 19
    SCRAP = 20
    POST_TRANSITION = 21
    ESCALATE = 22
    INVALID = 23

    @property
    def encoded(self) -> int:
        """The 30-bit register value: the 5-bit index repeated six times."""
        return int(self) * _REPLICATE

    @classmethod
    def from_encoded(cls, value: int) -> LcState:
        """State of a 30-bit LC_STATE or TRANSITION_TARGET value; all six groups must agree."""
        index = value & 0x1F
        if not 0 <= value < 1 << 30 or value != index * _REPLICATE or index > cls.INVALID:
            raise FormatError(
                f"expected a life cycle state as six equal 5-bit groups, saw 0x{value & 0xFFFFFFFF:08x}: read it again"
            )
        return cls(index)

    @property
    def is_test_unlocked(self) -> bool:
        """True for TEST_UNLOCKED0 to TEST_UNLOCKED7."""
        return self <= LcState.TEST_UNLOCKED7 and int(self) % 2 == 1

    @property
    def is_test_locked(self) -> bool:
        """True for TEST_LOCKED0 to TEST_LOCKED6."""
        return LcState.TEST_LOCKED0 <= self <= LcState.TEST_LOCKED6 and int(self) % 2 == 0

    @property
    def is_mission(self) -> bool:
        """True for DEV, PROD and PROD_END."""
        return LcState.DEV <= self <= LcState.PROD_END

    @property
    def is_stored(self) -> bool:
        """True for the states that OTP can hold (not POST_TRANSITION, ESCALATE, INVALID)."""
        return self <= LcState.SCRAP


class Status(IntFlag):
    """Bits of the STATUS register (sheet 3.3); bits 4 to 11 are sticky until reset."""

    INITIALIZED = 1 << 0
    READY = 1 << 1
    EXT_CLOCK_SWITCHED = 1 << 2
    TRANSITION_SUCCESSFUL = 1 << 3
    TRANSITION_COUNT_ERROR = 1 << 4
    TRANSITION_ERROR = 1 << 5
    TOKEN_ERROR = 1 << 6
    FLASH_RMA_ERROR = 1 << 7
    OTP_ERROR = 1 << 8
    STATE_ERROR = 1 << 9
    BUS_INTEG_ERROR = 1 << 10
    OTP_PARTITION_ERROR = 1 << 11


STATUS_IDLE = Status.INITIALIZED | Status.READY
"""0x3: the only status from which a transition is started."""

STATUS_SUCCESS = Status.INITIALIZED | Status.TRANSITION_SUCCESSFUL
"""0x9: the status of a good transition (0xD with external clock; rtl sheet 1 row 6)."""

STATUS_ERRORS = Status(0xFF0)
"""All error bits."""


class Reg(IntEnum):
    """DMI word addresses of the life cycle TAP (byte offset / 4; sheet 3.3)."""

    ALERT_TEST = 0x00
    STATUS = 0x01
    CLAIM_TRANSITION_IF_REGWEN = 0x02
    CLAIM = 0x03
    TRANSITION_REGWEN = 0x04
    CMD = 0x05
    CTRL = 0x06
    TOKEN_0 = 0x07
    TOKEN_1 = 0x08
    TOKEN_2 = 0x09
    TOKEN_3 = 0x0A
    TARGET = 0x0B
    VENDOR_CTRL = 0x0C
    VENDOR_STATUS = 0x0D
    LC_STATE = 0x0E
    TRANSITION_CNT = 0x0F
    ID_STATE = 0x10
    HW_REVISION0 = 0x11
    HW_REVISION1 = 0x12
    DEVICE_ID_0 = 0x13
    DEVICE_ID_1 = 0x14
    DEVICE_ID_2 = 0x15
    DEVICE_ID_3 = 0x16
    DEVICE_ID_4 = 0x17
    DEVICE_ID_5 = 0x18
    DEVICE_ID_6 = 0x19
    DEVICE_ID_7 = 0x1A
    MANUF_STATE_0 = 0x1B
    MANUF_STATE_1 = 0x1C
    MANUF_STATE_2 = 0x1D
    MANUF_STATE_3 = 0x1E
    MANUF_STATE_4 = 0x1F
    MANUF_STATE_5 = 0x20
    MANUF_STATE_6 = 0x21
    MANUF_STATE_7 = 0x22


MUTEX_TRUE = 0x96
MUTEX_FALSE = 0x69
CMD_START = 1
CTRL_EXT_CLOCK = 1
CTRL_VOLATILE_RAW_UNLOCK = 2
ID_BLANK = 0
ID_PERSONALIZED = 0x55555555
ID_INVALID = 0xAAAAAAAA
IDCODE_LC = 0x10002CDF
IDCODE_RV = 0x10001CDF
MAX_TRANSITIONS = 24
COUNT_INVALID = 31
"""LC_TRANSITION_CNT in SCRAP, ESCALATE, INVALID, POST_TRANSITION and before initialisation."""


class TokenKind(Enum):
    """Which token a transition is compared against (sheet 3.2)."""

    RAW_UNLOCK = "raw_unlock"
    ZERO = "zero"
    TEST_UNLOCK = "test_unlock"
    TEST_EXIT = "test_exit"
    RMA = "rma"


def transition_token(source: LcState, target: LcState) -> TokenKind | None:
    """The token kind that lets ``source`` go to ``target``, or None when the pair is forbidden (sheet 3.2)."""
    if not source.is_stored or not target.is_stored or source is LcState.SCRAP:
        return None
    if target is LcState.SCRAP:
        return TokenKind.ZERO
    if source is LcState.RAW:
        return TokenKind.RAW_UNLOCK if target.is_test_unlocked else None
    if source.is_test_unlocked or source.is_test_locked:
        return _from_test(source, target)
    if source in (LcState.DEV, LcState.PROD) and target is LcState.RMA:
        return TokenKind.RMA
    return None


def _from_test(source: LcState, target: LcState) -> TokenKind | None:
    if target.is_mission:
        return TokenKind.TEST_EXIT
    if source.is_test_unlocked:
        locks = target.is_test_locked and target > source
        return TokenKind.ZERO if locks or target is LcState.RMA else None
    return TokenKind.TEST_UNLOCK if target.is_test_unlocked and target > source else None
