import itertools

import pytest
from formats_help import bounded, only_format_error
from hypothesis import given
from hypothesis import strategies as st

from station.errors import FormatError
from station.formats import lc
from station.formats.lc import LcState, Reg, Status, TokenKind, transition_token

# device sheet 3.1
ENCODINGS = """00000000 02108421 04210842 06318c63 08421084 0a5294a5 0c6318c6 0e739ce7 10842108 1294a529 14a5294a
16b5ad6b 18c6318c 1ad6b5ad 1ce739ce 1ef7bdef 21084210 2318c631 25294a52 2739ce73 294a5294 2b5ad6b5 2d6b5ad6 2f7bdef7"""


def test_every_encoding_of_the_sheet():
    assert [f"{state.encoded:08x}" for state in LcState] == ENCODINGS.split()
    assert [LcState.from_encoded(int(text, 16)) for text in ENCODINGS.split()] == list(LcState)


@pytest.mark.parametrize("value", [0x2, 0x04210843, 0x04210842 | 1 << 31, -1, 24 * 0x02108421, 0x3FFFFFFF])
def test_a_value_whose_groups_disagree_is_refused(value):
    with pytest.raises(FormatError):
        LcState.from_encoded(value)


@bounded
@given(st.integers(-(2**40), 2**40))
def test_any_register_value_is_a_state_or_a_format_error(value):
    state = only_format_error(LcState.from_encoded, value)
    assert state is None or state.encoded == value


def allowed():
    """The matrix of device sheet 3.2, written out by index."""
    unlocked = {n: LcState[f"TEST_UNLOCKED{n}"] for n in range(8)}
    locked = {n: LcState[f"TEST_LOCKED{n}"] for n in range(7)}
    mission = [LcState.DEV, LcState.PROD, LcState.PROD_END]
    pairs = {(LcState.RAW, state): TokenKind.RAW_UNLOCK for state in unlocked.values()}
    for n, state in unlocked.items():
        pairs |= {(state, locked[m]): TokenKind.ZERO for m in range(n, 7)}
        pairs[state, LcState.RMA] = TokenKind.ZERO
        pairs |= {(state, target): TokenKind.TEST_EXIT for target in mission}
    for n, state in locked.items():
        pairs |= {(state, unlocked[m]): TokenKind.TEST_UNLOCK for m in range(n + 1, 8)}
        pairs |= {(state, target): TokenKind.TEST_EXIT for target in mission}
    pairs |= {(state, LcState.RMA): TokenKind.RMA for state in mission[:2]}
    pairs |= {(LcState(n), LcState.SCRAP): TokenKind.ZERO for n in range(20)}
    return pairs


def test_all_576_pairs_follow_the_matrix():
    expected = allowed()
    for source, target in itertools.product(LcState, LcState):
        assert transition_token(source, target) is expected.get((source, target)), (source, target)


def test_registers_and_status_values():
    assert (Reg.STATUS, Reg.CLAIM, Reg.CMD, Reg.TOKEN_0, Reg.TARGET) == (1, 3, 5, 7, 0x0B)
    assert (Reg.LC_STATE, Reg.TRANSITION_CNT, Reg.ID_STATE, Reg.DEVICE_ID_0) == (0x0E, 0x0F, 0x10, 0x13)
    assert (Reg.MANUF_STATE_0, Reg.MANUF_STATE_7, len(Reg)) == (0x1B, 0x22, 0x23)
    assert (lc.STATUS_IDLE, lc.STATUS_SUCCESS, int(lc.STATUS_ERRORS)) == (3, 9, 0xFF0)
    assert Status.OTP_PARTITION_ERROR == 0x800 and Status.TOKEN_ERROR == 0x40


def test_groups_of_states():
    assert [state.name for state in LcState if state.is_test_locked] == [f"TEST_LOCKED{n}" for n in range(7)]
    assert [state.name for state in LcState if state.is_test_unlocked] == [f"TEST_UNLOCKED{n}" for n in range(8)]
    assert [state.name for state in LcState if state.is_mission] == ["DEV", "PROD", "PROD_END"]
    assert [state.name for state in LcState if not state.is_stored] == ["POST_TRANSITION", "ESCALATE", "INVALID"]
