"""A guard in the firmware holds only while the firmware runs through: one that failed half way is not started again."""

from __future__ import annotations

import pytest
from spine_help import carry_out

from station.flows import final_test as flow
from station.formats.lc_token import DEV_RAW_UNLOCK_LITERAL, raw_from_literal
from station.plan import Burn, Plan
from station.secret import Secret

UNLOCK, EXIT = b"\x11" * 16, b"\x22" * 16


@pytest.fixture
def mission(seat, pack, secrets):
    """A part in PROD with the personalization firmware in its flash, held in reset."""
    die = seat.open()
    die.unlock_raw(Secret(raw_from_literal(DEV_RAW_UNLOCK_LITERAL), "token"))
    die.provision_cp(pack.image("cp_sram"), secrets)
    die.lock()
    die.test_unlock(Secret(UNLOCK, "token"))
    die.individualize(pack.image("individualize"))
    die.test_exit(Secret(EXIT, "token"))
    die.load(pack.image("perso"))
    return die


PLAN = Plan(first_boot=Burn("First boot", settle=0.3), personalize=Burn("Personalize", settle=0.3))


def burn_first_boot(run, die):
    run.burn(PLAN.first_boot, done=die.holds_secret1, do=die.first_boot, tries=2, anyones=True,
             guarded=flow.SKIPS_LOCKED_SECRET1, only_powered=True)  # fmt: skip


def test_firmware_that_failed_inside_secret1_is_not_started_again(mission, seat, journal):
    seat.fault("torn_word:5")
    verdict, _ = carry_out(journal, lambda run: burn_first_boot(run, mission), plan=PLAN)
    assert seat.chip["double_burns"] == []
    assert verdict.kind == "quarantine"


def burn_personalize(run, die):
    run.burn(PLAN.personalize, done=die.holds_secret2, do=lambda: die.personalize(b"\x33" * 16), tries=2,
             guarded=flow.SKIPS_LOCKED_SECRET2, only_powered=True)  # fmt: skip


def test_firmware_that_failed_inside_secret2_is_not_started_again(mission, pack, seat, journal):
    mission.first_boot()
    mission.load(pack.image("bundle"))
    seat.fault("torn_word:5")
    verdict, _ = carry_out(journal, lambda run: burn_personalize(run, mission), plan=PLAN)
    assert seat.chip["double_burns"] == []
    assert verdict.kind == "quarantine"
