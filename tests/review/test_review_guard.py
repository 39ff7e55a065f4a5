"""A guard in the firmware holds only while the firmware runs through: one that failed half way is not started again."""

from __future__ import annotations

import pytest
from spine_help import carry_out, new_run

from station.deadline import Deadline
from station.flows import final_test as flow
from station.formats.lc_token import DEV_RAW_UNLOCK_LITERAL, raw_from_literal
from station.parts.earlgrey import Earlgrey, Endorsed, Stage
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


PLAN = Plan(first_boot=Burn("First boot", settle=0.3), personalize=Burn("Personalize", settle=0.3),
            install=Burn("Install", settle=0.0))  # fmt: skip


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


class ForgedPart:
    """An ``Earlgrey`` whose console and boots are a script: it stores other certificates than it was sent."""

    def __init__(self, die, monkeypatch, boots=Stage.SHIPPED):
        monkeypatch.setattr(die, "_send_frames", lambda *arguments: None)
        monkeypatch.setattr(die._console, "expect", lambda *texts, deadline: texts[0])
        monkeypatch.setattr(die._console, "held_answer", lambda parse, deadline, judge: judge(b"\x66" * 32))
        monkeypatch.setattr(die, "stage", lambda: boots)
        die._session.exported = True
        monkeypatch.setattr(die._console, "waits_for_data", lambda: die._session.exported)


ENDORSED = Endorsed(b"blob", 1, b"\x55" * 32, b"registry", 1, b"\x44" * 32)


def burn_install(run, die):
    run.burn(PLAN.install, done=die.is_installed, do=lambda: die.install(ENDORSED, lambda seen: None),
             only_powered=True)  # fmt: skip


def test_a_part_that_stored_other_certificates_never_passes(seat, journal, monkeypatch):
    die = seat.open()
    ForgedPart(die, monkeypatch)
    verdict, _ = carry_out(journal, lambda run: burn_install(run, die), plan=PLAN)
    assert verdict.kind == "quarantine" and "hash differs" in verdict.reason
    record = journal.find("L1")
    release = record.quarantine_rows[0].context
    journal.write(release, "release", "", {"reason": "looked at it"})
    again = Earlgrey(seat.socket.ports, die.services)  # another run: this process has seen nothing
    ForgedPart(again, monkeypatch)
    again._session.exported = False
    verdict, _ = carry_out(journal, lambda run: burn_install(run, again), plan=PLAN)
    assert verdict.kind == "quarantine", "no release makes its certificates the right ones"


def test_a_failure_found_on_the_pin_before_the_first_reset_is_no_blank_partition(mission, seat, journal):
    run = new_run(journal, plan=PLAN)
    journal.intend(run.context, "first_boot", {"settle": 0.0})  # the station died just after this
    seat.fault("torn_word:5")
    mission._hold()
    mission._release()
    deadline = Deadline(5)
    while not mission._pads.sample().get("test_error"):
        deadline.check("TestError of a firmware that nobody watches")
    later = Earlgrey(seat.socket.ports, mission.services)

    def flow(run):
        later.look()
        burn_first_boot(run, later)

    verdict, _ = carry_out(journal, flow, plan=PLAN)
    assert seat.chip["double_burns"] == []
    assert verdict.kind == "quarantine" and "the firmware failed in it" in verdict.reason
