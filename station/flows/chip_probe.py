"""Chip Probe: a bare die comes in RAW and leaves in TEST_LOCKED0 with its wafer secret and test tokens.

Evidence and settle time of every burn: docs/burns.md. Firmware that takes the tokens before it gives the device id sets
the order (docs/decisions/0003).
"""

from __future__ import annotations

from station.flows.whose import check_place, identify
from station.formats.lc import LcState
from station.model import Answer, TokenRequest
from station.parts.earlgrey import CpSecrets, Earlgrey
from station.ports import Appliance
from station.run import Burn, Plan, Run

PART = "earlgrey"

PLAN = Plan(
    contact="Contact the die",
    tokens="Fetch tokens",
    unlock=Burn("Unlock RAW", settle=0.5),
    secrets=Burn("Write wafer secret and test tokens", settle=2.0),
    identity="Read the device id",
    lock=Burn("Lock for transport", settle=0.5),
)

CP_TOKENS = (
    TokenRequest("wafer authentication secret", "high", 256, b"was"),
    TokenRequest("test unlock token hash", "low", 128, b"test_unlock", hashed=True),
    TokenRequest("test exit token hash", "low", 128, b"test_exit", hashed=True),
)
TRANSITIONS_NEEDED = 3


def chip_probe(run: Run, die: Earlgrey, appliance: Appliance) -> None:
    """A bare die comes in RAW and leaves in TEST_LOCKED0 with its wafer secret."""
    with run.step(PLAN.contact):
        life = die.look()
        run.require(life.state in (LcState.RAW, LcState.TEST_UNLOCKED0, LcState.TEST_LOCKED0), bin="wrong_state",
                    sentence="Chip Probe does not start from this state", saw=life.state.name)  # fmt: skip
        run.measure("transitions left", life.transitions_left, low=TRANSITIONS_NEEDED, bin="worn_out")
    with run.step(PLAN.tokens):  # before the first burn: no appliance, no harm
        appliance.open_session(run.sku)
        secrets = CpSecrets(*appliance.derive(run.sku, CP_TOKENS))
        raw_unlock = run.credential("raw_unlock_token")
    run.burn(PLAN.unlock, done=lambda: die.has_reached(LcState.TEST_UNLOCKED0),
             do=lambda: die.unlock_raw(raw_unlock), tries=2, anyones=True)  # fmt: skip
    run.burn(PLAN.secrets, done=lambda: _secrets_of_this_label(run, die, secrets),
             do=lambda: die.provision_cp(run.image("cp_sram"), secrets))  # fmt: skip
    with run.step(PLAN.identity):
        if die.look().state is LcState.TEST_UNLOCKED0:  # a locked die cannot be asked; the journal knew it before
            identify(run, die.cp_device_id(), die.lot_number)
    # Not anyone's: a locked die cannot say whose it is, so one that this station did not lock may be any other die.
    run.burn(PLAN.lock, done=lambda: die.has_reached(LcState.TEST_LOCKED0), do=die.lock, tries=2)


def _secrets_of_this_label(run: Run, die: Earlgrey, secrets: CpSecrets) -> Answer:
    """The die's answer, once what wafer probing left in it has shown that it is the die of this label."""
    answer = die.holds_cp_secrets(secrets)
    check_place(run, die.probed_place, die.lot_number)
    return answer
