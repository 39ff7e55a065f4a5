"""A transition is believed only when it was read back; nothing is fired that does not read back first."""

from __future__ import annotations

import pytest

from station.errors import PartError
from station.formats.lc import CMD_START, IDCODE_LC, MUTEX_TRUE, STATUS_IDLE, LcState, Reg, Status
from station.model import DmiRead, DmiWrite
from station.parts.earlgrey.life_cycle import LifeCycleController


class ScriptedTap:
    """A life cycle TAP that says what the test wants it to say."""

    def __init__(self, **lies: int) -> None:
        self.registers = {Reg.STATUS: int(STATUS_IDLE), Reg.CLAIM: 0, Reg.LC_STATE: LcState.RAW.encoded}
        self.lies = lies
        self.started = False

    def connect(self) -> int:
        return IDCODE_LC

    def dmi(self, operations):
        answers = []
        for operation in operations:
            if isinstance(operation, DmiWrite):
                self._write(operation.address, operation.value)
            elif isinstance(operation, DmiRead):
                answers.append(self.registers.get(operation.address, 0))
        return answers

    dmi_secret = dmi

    def _write(self, address: int, value: int) -> None:
        name = Reg(address).name.lower()
        self.registers[address] = self.lies.get(name, value)
        if address == Reg.CMD and value == CMD_START:
            self.started = True
            self.registers[Reg.STATUS] = int(Status.INITIALIZED | Status.TRANSITION_SUCCESSFUL)
            self.registers[Reg.LC_STATE] = self.lies.get("after", LcState.POST_TRANSITION.encoded)


def controller(tap: ScriptedTap) -> LifeCycleController:
    return LifeCycleController(tap, lambda seconds: None, 0.2)


def test_a_good_transition_is_read_back():
    tap = ScriptedTap()
    controller(tap).transition(LcState.TEST_LOCKED0, None)
    assert tap.started and tap.registers[Reg.CLAIM] == MUTEX_TRUE


def test_success_without_the_state_behind_it_is_not_believed():
    tap = ScriptedTap(after=LcState.TEST_UNLOCKED0.encoded)
    with pytest.raises(PartError, match="expected POST_TRANSITION"):
        controller(tap).transition(LcState.TEST_LOCKED0, None)


def test_a_target_that_reads_back_otherwise_is_never_fired():
    tap = ScriptedTap(target=LcState.SCRAP.encoded)
    with pytest.raises(PartError, match="read back"):
        controller(tap).transition(LcState.TEST_LOCKED0, None)
    assert not tap.started


def test_a_claim_that_reads_back_otherwise_is_never_fired():
    tap = ScriptedTap(claim=0)
    with pytest.raises(PartError, match="claim"):
        controller(tap).transition(LcState.TEST_LOCKED0, None)
    assert not tap.started
