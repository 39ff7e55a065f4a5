"""Life cycle state and count in the fuses, and what the life cycle controller sees of the rest of the chip.

Every word has a first value A and a second value B that only adds bits (check bits included), so a state advances by
programming single words from A to B. Source: opentitan-device sheet 4.1 (LIFE_CYCLE), 3.1; the word values are our own,
no interface shows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache

from drivers.virtual.earlgrey.ecc import encode
from drivers.virtual.earlgrey.flash import Flash
from drivers.virtual.earlgrey.fuses import Burn, FuseMacro
from drivers.virtual.earlgrey.otp import OtpController
from drivers.virtual.earlgrey.partitions import ITEMS
from station.formats.lc import LcState
from station.formats.lc_token import lc_hash

COUNT_FIRST, COUNT_WORDS = 0x7A8 // 2, 24
STATE_FIRST, STATE_WORDS = 0x7D8 // 2, 20
RAW_UNLOCK_TOKEN = 0xEA2B3F32CBE77554E43C8EA7EBF197C2.to_bytes(16, "little")
HW_REVISION = (0x4001_0002, 0x0000_0001)
_SECOND_WORDS = {  # which state words hold B beyond the test states
    LcState.DEV: {*range(16)},
    LcState.PROD: {*range(15), 16},
    LcState.PROD_END: {*range(15), 17},
    LcState.RMA: {*range(17), 18, 19},
    LcState.SCRAP: {*range(20)},
}


@cache
def word_pair(number: int) -> tuple[int, int]:
    """The first and second 16-bit value of life cycle word ``number`` (0..43)."""
    attempt = 0
    while True:
        noise = hashlib.sha256(f"life cycle word {number} {attempt}".encode()).digest()
        first = int.from_bytes(noise[:2], "little") & int.from_bytes(noise[2:4], "little")
        second = first | int.from_bytes(noise[4:6], "little")
        if 0 < first != second and not encode(first) & ~encode(second):
            return first, second
        attempt += 1


def state_words(state: LcState) -> list[int]:
    """The 20 state words of a life cycle state."""
    if state is LcState.RAW:
        return [0] * STATE_WORDS
    second = _SECOND_WORDS.get(state, set(range(state)))
    return [word_pair(n)[n in second] for n in range(STATE_WORDS)]


def count_words(count: int) -> list[int]:
    """The 24 words of a transition count."""
    if count == 0:
        return [0] * COUNT_WORDS
    return [word_pair(STATE_WORDS + n)[n < count] for n in range(COUNT_WORDS)]


@cache
def _state_table() -> dict[tuple[int, ...], int]:
    return {tuple(state_words(LcState(n))): n for n in range(LcState.SCRAP + 1)}


@cache
def _count_table() -> dict[tuple[int, ...], int]:
    return {tuple(count_words(n)): n for n in range(COUNT_WORDS + 1)}


class LifeCycleFuses:
    """The `LcFabric` of this chip: stored state, programming, tokens, identity."""

    otp_word_clk = 2400.0  # 100 µs at 24 MHz
    hash_clk = 60.0
    clock_switch_clk = 100.0
    wipe_clk = 24_000.0

    def __init__(self, macro: FuseMacro, otp: OtpController, flash: Flash, refuse_state: Callable[[], bool]) -> None:
        self._macro = macro
        self._otp = otp
        self._flash = flash
        self._refuse_state = refuse_state

    def stored(self) -> tuple[int | None, int]:
        """State index (None when the words fit no state) and count."""
        state = _state_table().get(self._read(STATE_FIRST, STATE_WORDS))
        count = _count_table().get(self._read(COUNT_FIRST, COUNT_WORDS))
        locked_in_test = self._otp.locked("SECRET2") and state is not None and state < LcState.DEV
        if state is None or count is None or (state and not count) or locked_in_test:
            return None, count or 0
        return state, count

    def program_count(self, count: int) -> bool:
        """Advance the transition count; False when the OTP failed."""
        return self._program(COUNT_FIRST, count_words(count), f"life cycle count {count}")

    def program_state(self, state_index: int) -> bool:
        """Advance the state words; False when the OTP failed."""
        if self._refuse_state():
            return False
        state = LcState(state_index)
        return self._program(STATE_FIRST, state_words(state), f"life cycle state {state.name}")

    def wipe(self, seed: int) -> bool:
        """The flash wipe of a transition to RMA: data banks and owner pages are gone."""
        self._flash.wipe()
        return True

    def token_digest(self, kind: object) -> bytes | None:
        """The stored hash of a token kind; None when the partition was not locked at the last reset."""
        name = getattr(kind, "name", str(kind))
        if name == "RAW_UNLOCK":
            return lc_hash(RAW_UNLOCK_TOKEN)
        if name == "ZERO":
            return lc_hash(bytes(16))
        if name == "RMA":
            return self._otp.token("SECRET2", ITEMS["RMA_TOKEN"])
        return self._otp.token("SECRET0", ITEMS[f"{name}_TOKEN"])

    def id_state(self) -> int:
        """Blank until SECRET2 is locked, then personalized."""
        return 0x5555_5555 if self._otp.locked("SECRET2") else 0

    def device_id(self) -> tuple[int, ...]:
        """Eight words, index 0 least significant."""
        return self._otp.device_words[0]

    def manuf_state(self) -> tuple[int, ...]:
        """Eight words."""
        return self._otp.device_words[1]

    def hw_revision(self) -> tuple[int, int]:
        """Silicon creator and product; revision."""
        return HW_REVISION

    def partition_error(self) -> bool:
        """Whether a buffered partition failed its check at the last reset."""
        return self._otp.partition_error

    def force(self, state: LcState) -> None:
        """Make the fuses say another state (fault ``wrong_state``)."""
        count = max(1, self.stored()[1]) if state else 0
        for n, data in enumerate(state_words(state)):
            self._macro.force(STATE_FIRST + n, data)
        for n, data in enumerate(count_words(count)):
            self._macro.force(COUNT_FIRST + n, data)

    def _read(self, first: int, count: int) -> tuple[int, ...]:
        words = (self._macro.read(first + n) for n in range(count))
        return tuple(-1 if word is None else word for word in words)

    def _program(self, first: int, wanted: list[int], who: str) -> bool:
        for n, data in enumerate(wanted):
            if self._macro.raw(first + n) == encode(data):
                continue
            if self._macro.program(first + n, data, who) is not Burn.DONE:
                return False
        return True
