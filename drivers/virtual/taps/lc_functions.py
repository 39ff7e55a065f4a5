"""Which chip functions a life cycle state enables (device sheet 3.4, RTL sheet 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from station.formats.lc import LcState


@dataclass(frozen=True, slots=True)
class LcFunctions:
    """Life cycle broadcast signals."""

    dft: bool = False
    nvm_debug: bool = False
    hw_debug: bool = False
    cpu: bool = False
    keymgr: bool = False
    check_bypass: bool = False
    escalate: bool = False
    strap_override: bool = False


def functions_of(state: LcState) -> LcFunctions:
    """The signals of a state the controller is idle in."""
    if state.is_test_unlocked:
        return LcFunctions(dft=True, nvm_debug=state is not LcState.TEST_UNLOCKED7, hw_debug=True, cpu=True)
    if state is LcState.DEV:
        return LcFunctions(hw_debug=True, cpu=True, keymgr=True)
    if state in (LcState.PROD, LcState.PROD_END):
        return LcFunctions(cpu=True, keymgr=True)
    if state is LcState.RMA:
        return LcFunctions(dft=True, nvm_debug=True, hw_debug=True, cpu=True, keymgr=True)
    return LcFunctions(escalate=state in (LcState.SCRAP, LcState.ESCALATE, LcState.INVALID))
