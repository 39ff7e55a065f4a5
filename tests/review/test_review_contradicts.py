"""The journal calls a burn done, and the part shows that it is not, or that it holds something else."""

from __future__ import annotations

import pytest
from spine_help import carry_out, new_run
from test_review_guard import PLAN, burn_personalize, mission  # noqa: F401 - the fixture is used by name

from station.formats.lc_token import DEV_RAW_UNLOCK_LITERAL, raw_from_literal
from station.plan import Burn, Plan
from station.secret import Secret

UNLOCK = b"\x11" * 16
INDIVIDUALIZE = Plan(individualize=Burn("Individualize OTP", settle=0.0))


def leave_done(journal, plan, title):
    run = new_run(journal, plan=plan)
    journal.intend(run.context, title, {"settle": 0.0})
    journal.outcome(run.context, title, {"evidence": "done", "reason": ""})


@pytest.fixture
def individualized(seat, pack, secrets):
    """A part in TEST_UNLOCKED1 with its OTP written."""
    die = seat.open()
    die.unlock_raw(Secret(raw_from_literal(DEV_RAW_UNLOCK_LITERAL), "token"))
    die.provision_cp(pack.image("cp_sram"), secrets)
    die.lock()
    die.test_unlock(Secret(UNLOCK, "token"))
    die.individualize(pack.image("individualize"))
    yield die
    die.services.settings["otp_words"] = pack.settings["otp_words"]


def test_a_part_without_the_secrets_that_the_journal_calls_written_is_quarantined(mission, seat, journal):  # noqa: F811
    leave_done(journal, PLAN, "personalize")
    verdict, _ = carry_out(journal, lambda run: burn_personalize(run, mission), plan=PLAN)
    assert verdict.kind == "quarantine" and "the part says it was not" in verdict.reason, verdict.reason
    assert seat.chip["double_burns"] == []


def test_a_part_with_the_words_of_another_pack_revision_is_quarantined(individualized, pack, journal):
    leave_done(journal, INDIVIDUALIZE, "individualize")

    def flow(run):
        run.burn(INDIVIDUALIZE.individualize, done=individualized.is_individualized, anyones=True, tries=2,
                 do=lambda: individualized.individualize(run.image("individualize")))  # fmt: skip

    assert carry_out(journal, flow, plan=INDIVIDUALIZE)[0].kind == "pass"
    address = next(iter(pack.settings["otp_words"]))
    individualized.services.settings["otp_words"] = {**pack.settings["otp_words"], address: 0x12345678}
    verdict, _ = carry_out(journal, flow, plan=INDIVIDUALIZE)
    assert verdict.kind == "quarantine" and "another SKU pack" in verdict.reason, verdict.reason
    assert f"OTP word {address:#05x}" in verdict.reason
