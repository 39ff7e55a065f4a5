"""Life cycle controller: registers, mutex, transitions, status values (RTL sheet section 3)."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taps_host import Fabric, LcBench

from drivers.virtual.taps import Clock, LcController, LcInterface
from station.formats.lc import LcState, Reg, TokenKind
from station.formats.lc_token import lc_hash, raw_from_literal, words_of

RAW_TOKEN = raw_from_literal(0xEA2B3F32CBE77554E43C8EA7EBF197C2)
SECRETS = {TokenKind.TEST_UNLOCK: bytes(range(16)), TokenKind.TEST_EXIT: bytes(range(16, 32)), TokenKind.RMA: b"r" * 16}
TOKENS = {TokenKind.ZERO: bytes(16), TokenKind.RAW_UNLOCK: RAW_TOKEN, **SECRETS}
POST, INVALID = 0x2B5AD6B5, 0x2F7BDEF7


def controller(fabric: Fabric, volatile: bool = False) -> tuple[LcController, Clock]:
    clock = Clock()
    return LcController(fabric, clock, volatile_raw_unlock=volatile), clock


def provisioned(state: LcState, count: int = 5) -> Fabric:
    fabric = Fabric(int(state), 24 if state is LcState.SCRAP else count)
    fabric.digests.update({kind: lc_hash(token) for kind, token in SECRETS.items()})
    return fabric


def start(lc: LcController, target: int, token: bytes = bytes(16), control: int = 0) -> LcInterface:
    side = lc.tap
    side.write(Reg.CLAIM, 0x96)
    side.write(Reg.TARGET, target)
    for i, word in enumerate(words_of(token)):
        side.write(Reg.TOKEN_0 + i, word)
    side.write(Reg.CTRL, control)
    side.write(Reg.CMD, 1)
    return side


def expected_token(source: LcState, target: LcState) -> TokenKind | None:
    """The sheet's matrix (device sheet 3.2), written down once more."""
    unlocked, locked = list(LcState)[1:16:2], list(LcState)[2:15:2]
    if source is LcState.SCRAP:
        return None
    if target is LcState.SCRAP:
        return TokenKind.ZERO
    if source is LcState.RAW and target in unlocked:
        return TokenKind.RAW_UNLOCK
    if source in unlocked + locked and target in (LcState.DEV, LcState.PROD, LcState.PROD_END):
        return TokenKind.TEST_EXIT
    if source in unlocked:
        n = unlocked.index(source)
        return TokenKind.ZERO if target is LcState.RMA or target in locked[n:] else None
    if source in locked:
        n = locked.index(source)
        return TokenKind.TEST_UNLOCK if target in unlocked[n + 1 :] else None
    return TokenKind.RMA if source in (LcState.DEV, LcState.PROD) and target is LcState.RMA else None


@pytest.mark.parametrize("source", list(LcState)[:21], ids=lambda state: state.name)
def test_every_pair_accepts_exactly_its_token(source: LcState) -> None:
    for target in list(LcState)[:21]:
        kind = expected_token(source, target)
        for offered, token in TOKENS.items():
            fabric = provisioned(source, 0 if source is LcState.RAW else 5)
            before = fabric.count
            lc, clock = controller(fabric)
            side = start(lc, target.encoded, token)
            clock.tick(2000)
            status = side.read(Reg.STATUS)
            if source is LcState.SCRAP:
                assert (status, fabric.writes) == (0x1, [])
            elif kind is offered:
                assert (status, fabric.state) == (0x9, int(target))
            else:
                assert status == (0x21 if kind is None else 0x41)
                if target is not LcState.SCRAP:
                    assert (fabric.state, fabric.count) == (int(source), before + 1)


def test_idle_registers_and_reset_values() -> None:
    bench = LcBench.make(Fabric(personalized=True, state=int(LcState.PROD), count=9))
    values = {
        0: 0,
        1: 3,
        2: 1,
        3: 0x69,
        0x0E: LcState.PROD.encoded,
        0x0F: 9,
        0x10: 0x55555555,
        0x11: 0x40010002,
        0x12: 1,
    }
    for address in range(0x80):
        want = values.get(address % 0x40, 0)
        if 0x13 <= address % 0x40 <= 0x1A:
            want = 0x1000 + address % 0x40 - 0x13
        elif 0x1B <= address % 0x40 <= 0x22:
            want = 0x2000 + address % 0x40 - 0x1B
        elif address % 0x40 > 0x22:
            want = 0xFFFFFFFF
        assert bench.host.read(address) == want, hex(address)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([*range(0x0E, 0x40), 0, 1, 4, 5, 13]), st.integers(0, 0xFFFFFFFF), st.sampled_from([0, 0x40]))
def test_read_only_and_unmapped_writes_are_acknowledged_and_do_nothing(address: int, value: int, alias: int) -> None:
    bench = LcBench.make()
    bench.host.write(3, 0x96)
    before = bench.host.read(address)
    bench.host.write(address + alias, value & ~1 if address == 5 else value)
    assert bench.host.read(address) == before
    assert bench.host.read(1) == 3


@given(st.integers(0, 0xFFFFFFFF))
def test_claim_stores_eight_bits_and_only_one_value_claims(value: int) -> None:
    lc, _ = controller(Fabric())
    lc.tap.write(Reg.CLAIM, value)
    assert lc.tap.read(Reg.CLAIM) == value & 0xFF
    assert lc.tap.read(Reg.TRANSITION_REGWEN) == int(value & 0xFF == 0x96)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 0xFFFFFFFF), min_size=6, max_size=6))
def test_values_survive_release_and_are_shared_with_the_cpu_side(values: list[int]) -> None:
    lc, _ = controller(Fabric())
    lc.cpu.write(Reg.CLAIM, 0x96)
    lc.tap.write(Reg.CLAIM, 0x96)
    assert lc.tap.read(Reg.CLAIM) == 0x69
    for i, value in enumerate(values):
        lc.cpu.write(Reg.TOKEN_0 + i, value)
        lc.tap.write(Reg.TOKEN_0 + i, ~value & 0xFFFFFFFF)
        assert lc.tap.read(Reg.TOKEN_0 + i) == 0
    lc.cpu.write(Reg.CLAIM, 0x69)
    lc.tap.write(Reg.CLAIM, 0x96)
    lc.cpu.write(Reg.CLAIM, 0x96)
    assert lc.cpu.read(Reg.CLAIM) == 0x69
    masks = [0xFFFFFFFF] * 4 + [0x3FFFFFFF, 0xFFFFFFFF]
    assert [lc.tap.read(Reg.TOKEN_0 + i) for i in range(6)] == [v & m for v, m in zip(values, masks, strict=True)]
    assert lc.tap.read(Reg.VENDOR_STATUS) == values[5] ^ 0x5A5A0001


def test_claim_regwen_is_one_copy_per_interface_and_freezes_until_reset() -> None:
    lc, _ = controller(Fabric())
    lc.tap.write(Reg.CLAIM, 0x96)
    lc.tap.write(Reg.CLAIM_TRANSITION_IF_REGWEN, 0)
    assert (lc.tap.read(2), lc.cpu.read(2)) == (0, 1)
    lc.tap.write(Reg.CLAIM_TRANSITION_IF_REGWEN, 1)
    lc.tap.write(Reg.CLAIM, 0x69)
    assert (lc.tap.read(2), lc.tap.read(3)) == (0, 0x96)
    lc.reset()
    assert (lc.tap.read(2), lc.tap.read(3)) == (1, 0x69)


def test_writes_while_a_transition_runs_and_after_it_are_ignored() -> None:
    fabric = Fabric()
    lc, clock = controller(fabric)
    side = start(lc, LcState.TEST_LOCKED0.encoded)
    for _ in range(2):
        assert side.read(Reg.TRANSITION_REGWEN) == 0
        side.write(Reg.TARGET, LcState.RMA.encoded)
        side.write(Reg.TOKEN_0, 7)
        side.write(Reg.CMD, 1)
        side.write(Reg.CLAIM, 0x69)
        side.write(Reg.CLAIM, 0x96)
        assert side.read(Reg.TARGET) == LcState.TEST_LOCKED0.encoded
        clock.tick(1000)
    assert side.read(Reg.STATUS) == 0x9
    assert fabric.writes == [("count", 6), ("state", int(LcState.TEST_LOCKED0))]


def test_status_while_running_and_after() -> None:
    lc, clock = controller(Fabric())
    side = start(lc, LcState.TEST_LOCKED0.encoded)
    assert (side.read(1), side.read(14), side.read(15)) == (1, LcState.TEST_UNLOCKED0.encoded, 5)
    clock.tick(300)
    assert (side.read(1), side.read(14), side.read(15), side.read(16)) == (1, LcState.TEST_UNLOCKED0.encoded, 5, 0)
    clock.tick(300)
    assert [side.read(i) for i in (1, 14, 15, 16, 13)] == [9, POST, 31, 0xAAAAAAAA, 0]


@pytest.mark.parametrize("order", range(6))
def test_only_the_claim_must_come_first(order: int) -> None:
    lc, clock = controller(Fabric())
    side = lc.tap
    side.write(Reg.TARGET, LcState.TEST_LOCKED0.encoded)  # before the claim: lost
    side.write(Reg.CLAIM, 0x96)
    writes = [(Reg.TARGET, LcState.TEST_LOCKED1.encoded), (Reg.CTRL, 0), *((Reg.TOKEN_0 + i, 0) for i in range(4))]
    random.Random(order).shuffle(writes)
    for address, value in writes:
        side.write(address, value)
    side.write(Reg.CMD, 0)
    assert side.read(1) == 3
    side.write(Reg.CMD, 1)
    clock.tick(1000)
    assert (side.read(1), lc.fabric.stored()) == (9, (int(LcState.TEST_LOCKED1), 6))


def test_start_without_mutex_costs_nothing() -> None:
    fabric = Fabric()
    lc, clock = controller(fabric)
    lc.tap.write(Reg.CMD, 1)
    clock.tick(1000)
    assert (lc.tap.read(1), fabric.writes) == (3, [])


@pytest.mark.parametrize(
    ("target", "early", "late"),
    [
        (0x2, 0x23, 0x21),  # groups 0 and 1 select different entries
        (LcState.TEST_LOCKED0.encoded ^ 1 << 12, 3, 0x21),  # a mismatch in group 2 only
        (2 | 4 << 5 | LcState.TEST_LOCKED0.encoded & ~0x3FF, 3, 0x21),  # both entries need the zero token
        (LcState.POST_TRANSITION.encoded, 3, 0x21),
        (31 * 0x02108421, 3, 0x21),
    ],
)
def test_bad_targets(target: int, early: int, late: int) -> None:
    fabric = Fabric()
    lc, clock = controller(fabric)
    side = lc.tap
    side.write(Reg.CLAIM, 0x96)
    side.write(Reg.TARGET, target)
    assert side.read(1) == early
    side.write(Reg.CMD, 1)
    clock.tick(1000)
    assert (side.read(1), fabric.count, fabric.state) == (late, 6, int(LcState.TEST_UNLOCKED0))


def test_corrected_target_is_carried_out_with_the_error_bit_left() -> None:
    lc, clock = controller(Fabric())
    lc.tap.write(Reg.CLAIM, 0x96)
    lc.tap.write(Reg.TARGET, 2)
    start(lc, LcState.TEST_LOCKED0.encoded)
    clock.tick(1000)
    assert (lc.tap.read(1), lc.fabric.stored()) == (0x29, (int(LcState.TEST_LOCKED0), 6))


@pytest.mark.parametrize(("count", "status", "end"), [(22, 9, 23), (23, 9, 24), (24, 0x11, 24)])
def test_the_last_attempt_may_succeed_and_none_after(count: int, status: int, end: int) -> None:
    fabric = Fabric(count=count)
    lc, clock = controller(fabric)
    start(lc, LcState.TEST_LOCKED0.encoded)
    clock.tick(1000)
    assert (lc.tap.read(1), fabric.count) == (status, end)


def test_scrap_is_written_before_the_token_is_checked() -> None:
    for count in (5, 24):
        fabric = Fabric(count=count)
        lc, clock = controller(fabric)
        start(lc, LcState.SCRAP.encoded, b"x" * 16)
        clock.tick(1000)
        assert (lc.tap.read(1), fabric.state, fabric.count) == (0x41, int(LcState.SCRAP), 24)
        lc.reset()
        assert [lc.tap.read(i) for i in (1, 14, 15, 16)] == [1, LcState.SCRAP.encoded, 31, 0xAAAAAAAA]
        assert lc.functions.escalate


@pytest.mark.parametrize("kind", [TokenKind.TEST_UNLOCK, TokenKind.TEST_EXIT, TokenKind.RMA])
def test_tokens_of_an_unlocked_partition_are_never_right(kind: TokenKind) -> None:
    pairs = {
        TokenKind.TEST_UNLOCK: (LcState.TEST_LOCKED0, LcState.TEST_UNLOCKED3),
        TokenKind.TEST_EXIT: (LcState.TEST_UNLOCKED2, LcState.DEV),
        TokenKind.RMA: (LcState.DEV, LcState.RMA),
    }
    source, target = pairs[kind]
    for token in (bytes(16), SECRETS[kind]):
        fabric = Fabric(int(source))
        lc, clock = controller(fabric)
        start(lc, target.encoded, token)
        clock.tick(2000)
        assert (lc.tap.read(1), fabric.count) == (0x41, 6)


@settings(max_examples=30)
@given(st.binary(min_size=16, max_size=16), st.integers(0, 127))
def test_any_token_opens_exactly_its_own_hash(token: bytes, bit: int) -> None:
    wrong = (int.from_bytes(token, "little") ^ 1 << bit).to_bytes(16, "little")
    for offered, status in ((token, 9), (wrong, 0x41)):
        fabric = Fabric(int(LcState.PROD), personalized=True)
        fabric.digests[TokenKind.RMA] = lc_hash(token)
        lc, clock = controller(fabric)
        start(lc, LcState.RMA.encoded, offered)
        clock.tick(2000)
        assert lc.tap.read(1) == status
        assert fabric.seeds == ([int.from_bytes(token[:4], "little")] if status == 9 else [])


def test_external_clock_request_status_and_wait() -> None:
    fabric = Fabric(int(LcState.RAW), 0)
    lc, clock = controller(fabric)
    side = lc.tap
    side.write(Reg.CLAIM, 0x96)
    side.write(Reg.CTRL, 1)
    side.write(Reg.CTRL, 0)
    assert side.read(Reg.CTRL) == 1
    assert side.read(1) == 3
    clock.tick(100)
    assert side.read(1) == 7
    start(lc, LcState.TEST_UNLOCKED3.encoded, RAW_TOKEN)
    assert side.read(1) == 5
    clock.tick(1000)
    assert (side.read(1), fabric.state, fabric.count) == (0xD, int(LcState.TEST_UNLOCKED3), 1)


def test_without_an_external_clock_nothing_ever_happens() -> None:
    fabric = Fabric(int(LcState.RAW), 0, clock_switch_clk=math.inf)
    lc, clock = controller(fabric)
    start(lc, LcState.TEST_UNLOCKED0.encoded, RAW_TOKEN, control=1)
    clock.tick(1e9)
    assert (lc.tap.read(1), lc.in_transition, fabric.writes) == (1, True, [])


@pytest.mark.parametrize("state", [LcState.DEV, LcState.PROD, LcState.PROD_END])
def test_external_clock_is_stored_but_ignored_in_mission_states(state: LcState) -> None:
    lc, clock = controller(provisioned(state))
    start(lc, LcState.SCRAP.encoded, control=1)
    assert lc.tap.read(Reg.CTRL) == 1
    assert lc.tap.read(Reg.VENDOR_STATUS) == 0
    clock.tick(1000)
    assert lc.tap.read(1) == 9


def test_wipe_waits_for_ever_or_fails_after_the_count_is_used() -> None:
    for fabric, status in ((Fabric(wipe_clk=math.inf), 1), (Fabric(wipe_consistent=False), 0x81)):
        lc, clock = controller(fabric)
        start(lc, LcState.RMA.encoded)
        clock.tick(1e9)
        assert (lc.tap.read(1), fabric.count, fabric.state) == (status, 6, int(LcState.TEST_UNLOCKED0))


def test_programming_failures() -> None:
    for fabric in (Fabric(count_programs=False), Fabric(state_programs=False)):
        lc, clock = controller(fabric)
        start(lc, LcState.TEST_LOCKED0.encoded)
        clock.tick(1000)
        assert (lc.tap.read(1), lc.tap.read(14)) == (0x101, POST)


def test_a_reset_inside_a_transition_leaves_what_was_programmed() -> None:
    fabric = Fabric()
    lc, clock = controller(fabric)
    start(lc, LcState.TEST_LOCKED0.encoded)
    clock.tick(230)
    lc.advance()
    lc.reset()
    clock.tick(10000)
    assert (lc.tap.read(1), lc.tap.read(15), fabric.state) == (3, 6, int(LcState.TEST_UNLOCKED0))


def test_a_power_cut_while_the_fabric_programs_leaves_a_clean_controller() -> None:
    class Cut(Fabric):
        def program_count(self, count: int) -> bool:
            super().program_count(count)
            lc.reset()
            return False

    fabric = Cut()
    lc, clock = controller(fabric)
    start(lc, LcState.TEST_LOCKED0.encoded)
    clock.tick(1000)
    assert (lc.tap.read(1), lc.tap.read(15)) == (3, 6)


@pytest.mark.parametrize(
    "fabric",
    [Fabric(state=None), Fabric(count=0), Fabric(count=25), Fabric(personalized=True), Fabric(state=21)],
    ids=["encoding", "count 0", "count 25", "secret2 in test", "state 21"],
)
def test_invalid_otp_content(fabric: Fabric) -> None:
    lc, _ = controller(fabric)
    lc.tap.write(Reg.CLAIM, 0x96)
    assert [lc.tap.read(i) for i in (1, 14, 15, 16, 3, 4)] == [0x201, INVALID, 31, 0xAAAAAAAA, 0x96, 0]


def test_before_initialisation_escalation_and_partition_error() -> None:
    lc, _ = controller(Fabric())
    lc.reset(initialise=False)
    lc.tap.write(Reg.CLAIM, 0x96)
    assert [lc.tap.read(i) for i in (1, 14, 15, 16, 3)] == [0, INVALID, 31, 0xAAAAAAAA, 0x96]
    lc.initialise()
    assert lc.tap.read(1) == 3
    lc.escalate()
    assert [lc.tap.read(i) for i in (1, 14, 15)] == [1, LcState.ESCALATE.encoded, 31]
    broken, _ = controller(Fabric(part_error=True))
    assert broken.tap.read(1) == 0x803


@pytest.mark.parametrize("count", [0, 3])
def test_volatile_raw_unlock_where_it_is_built_in(count: int) -> None:
    fabric = Fabric(int(LcState.RAW), count)
    changes: list[int] = []
    lc, clock = controller(fabric, volatile=True)
    lc.on_change = lambda: changes.append(1)
    start(lc, LcState.TEST_UNLOCKED0.encoded, lc_hash(RAW_TOKEN), control=2)
    assert [lc.tap.read(i) for i in (1, 6, 14, 15)] == [0xB, 2, LcState.TEST_UNLOCKED0.encoded, max(count, 1)]
    assert (fabric.writes, lc.functions.strap_override, lc.functions.hw_debug, len(changes)) == ([], True, True, 1)
    start(lc, LcState.TEST_LOCKED0.encoded)
    clock.tick(1000)
    assert (lc.tap.read(1), fabric.count, fabric.state) == (9, max(count, 1) + 1, int(LcState.TEST_LOCKED0))


def test_volatile_raw_unlock_refusals_cost_no_count() -> None:
    cases = [
        (LcState.RAW, LcState.TEST_UNLOCKED0, RAW_TOKEN, 0x41),
        (LcState.RAW, LcState.TEST_UNLOCKED1, lc_hash(RAW_TOKEN), 0x21),
        (LcState.TEST_LOCKED0, LcState.TEST_UNLOCKED0, lc_hash(RAW_TOKEN), 0x21),
    ]
    for source, target, token, status in cases:
        fabric = Fabric(int(source), 2)
        lc, _ = controller(fabric, volatile=True)
        start(lc, target.encoded, token, control=2)
        assert (lc.tap.read(1), lc.tap.read(14), fabric.writes) == (status, POST, [])


def test_production_parameters_have_no_volatile_unlock() -> None:
    fabric = Fabric(int(LcState.RAW), 0)
    lc, clock = controller(fabric)
    start(lc, LcState.TEST_UNLOCKED0.encoded, lc_hash(RAW_TOKEN), control=2)
    assert lc.tap.read(Reg.CTRL) == 0
    clock.tick(1000)
    assert (lc.tap.read(1), fabric.count) == (0x41, 1)


def test_functions_per_state_and_through_a_transition() -> None:
    def on(state: LcState) -> set[str]:
        lc, _ = controller(Fabric(int(state), 24 if state is LcState.SCRAP else 5))
        functions = lc.functions
        return {name for name in functions.__slots__ if getattr(functions, name)}

    test = {"dft", "nvm_debug", "hw_debug", "cpu"}
    for state in LcState:
        if not state.is_stored:
            continue
        want = test if state.is_test_unlocked else set()
        if state is LcState.TEST_UNLOCKED7:
            want = test - {"nvm_debug"}
        elif state is LcState.DEV:
            want = {"hw_debug", "cpu", "keymgr"}
        elif state in (LcState.PROD, LcState.PROD_END):
            want = {"cpu", "keymgr"}
        elif state is LcState.RMA:
            want = test | {"keymgr"}
        elif state is LcState.SCRAP:
            want = {"escalate"}
        assert on(state) == want, state
    lc, clock = controller(Fabric())
    start(lc, LcState.TEST_LOCKED0.encoded)
    assert lc.functions.hw_debug
    assert lc.functions.check_bypass
    clock.tick(1000)
    functions = lc.functions
    assert [name for name in functions.__slots__ if getattr(functions, name)] == ["check_bypass"]


@pytest.mark.parametrize("ratio", [0.5, 1, 4, 24])
def test_a_whole_transition_through_the_pins(ratio: float) -> None:
    bench = LcBench.make(ratio=ratio)
    host = bench.host
    host.write(3, 0x96)
    assert host.read(3) == 0x96
    host.write(0x0B, LcState.TEST_LOCKED2.encoded)
    for address in range(7, 11):
        host.write(address, 0)
    host.write(5, 1)
    host.idle(int(600 / ratio))
    assert [host.read(i) for i in (1, 14, 15)] == [9, POST, 31]
    assert bench.fabric.stored() == (int(LcState.TEST_LOCKED2), 6)
