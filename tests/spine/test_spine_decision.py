"""Every row of the decision table, first as a pure function, then through ``Run.burn`` on a real journal."""

from __future__ import annotations

import pytest
from spine_help import PLAN, carry_out, context, new_run, rows_of

from station.decision import INTERRUPTED_LIMIT, Move, Terms, decide
from station.errors import (
    AdapterLost,
    ApplianceError,
    BenchError,
    PartError,
    PowerLost,
    Quarantined,
    Reject,
    WaitTimeout,
)
from station.journal_parts import BurnFacts, BurnState
from station.model import CONTRADICTS, DONE, HALF_DONE, NOT_DONE, UNFINISHED, UNKNOWN
from station.plan import Burn, Plan
from station.run_services import Silent

DUMB = UNKNOWN("it is locked")
OTHER = CONTRADICTS("it holds digest 2, not 1")
BLANK = UNFINISHED("it is not locked")
HALF = HALF_DONE("two of four keys are missing", "otp")
BOOT = "boot-1"


def facts(state, **more):
    return BurnFacts(**{"state": state, "boot": BOOT, **more})


TABLE = [
    # journal says, part says, terms, move
    (facts(BurnState.NOTHING), DONE, Terms(anyones=True), Move.FOUND_DONE),
    (facts(BurnState.NOTHING), DONE, Terms(), Move.QUARANTINE),  # foreign: which secret does it hold?
    (facts(BurnState.NOTHING, vouched=True), DONE, Terms(), Move.FOUND_DONE),  # a supervisor released it
    (facts(BurnState.NOTHING), NOT_DONE, Terms(), Move.ACT),
    (facts(BurnState.NOTHING), DUMB, Terms(), Move.QUARANTINE),
    (facts(BurnState.NOTHING), DUMB, Terms(fresh=lambda: True), Move.ACT),
    (facts(BurnState.NOTHING), DUMB, Terms(fresh=lambda: False), Move.QUARANTINE),
    (facts(BurnState.NOTHING), DUMB, Terms(guarded="the firmware checks"), Move.ACT),
    (facts(BurnState.OPEN), DONE, Terms(), Move.FOUND_DONE),
    (facts(BurnState.OPEN), NOT_DONE, Terms(), Move.ACT),
    (facts(BurnState.OPEN, failed=1), NOT_DONE, Terms(tries=2), Move.ACT),
    (facts(BurnState.OPEN, failed=2), NOT_DONE, Terms(tries=2), Move.FAIL),
    (facts(BurnState.OPEN, interrupted=INTERRUPTED_LIMIT), NOT_DONE, Terms(tries=9), Move.FAIL),
    (facts(BurnState.OPEN), DUMB, Terms(), Move.QUARANTINE),
    (facts(BurnState.OPEN), DUMB, Terms(fresh=lambda: True), Move.QUARANTINE),  # fresh is for a journal that is silent
    (facts(BurnState.OPEN), DUMB, Terms(guarded="the firmware checks"), Move.ACT),
    (facts(BurnState.OPEN, power_lost=True), DUMB, Terms(guarded="the firmware checks"), Move.QUARANTINE),
    (facts(BurnState.OPEN, boot="boot-0"), DUMB, Terms(guarded="the firmware checks"), Move.QUARANTINE),
    (facts(BurnState.DONE), DONE, Terms(), Move.GO_ON),
    (facts(BurnState.DONE), NOT_DONE, Terms(tries=9, anyones=True), Move.QUARANTINE),
    (facts(BurnState.DONE), DUMB, Terms(), Move.GO_ON),
    (facts(BurnState.NOTHING), BLANK, Terms(), Move.QUARANTINE),
    (facts(BurnState.NOTHING), BLANK, Terms(guarded="the firmware checks"), Move.ACT),
    (facts(BurnState.OPEN), BLANK, Terms(guarded="the firmware checks"), Move.ACT),
    (facts(BurnState.DONE), BLANK, Terms(tries=9, anyones=True, guarded="the firmware checks"), Move.QUARANTINE),
    (facts(BurnState.NOTHING), OTHER, Terms(fresh=lambda: True, guarded="checked", anyones=True), Move.QUARANTINE),
    (facts(BurnState.NOTHING, vouched=True), OTHER, Terms(), Move.QUARANTINE),  # no release makes it right
    (facts(BurnState.OPEN), OTHER, Terms(tries=9, guarded="the firmware checks"), Move.QUARANTINE),
    (facts(BurnState.NOT_DONE), OTHER, Terms(tries=9), Move.QUARANTINE),
    (facts(BurnState.DONE), OTHER, Terms(tries=9, anyones=True), Move.QUARANTINE),
    (facts(BurnState.DONE, vouched=True), OTHER, Terms(), Move.QUARANTINE),
    (facts(BurnState.NOTHING), HALF, Terms(fresh=lambda: True, guarded="checked", anyones=True), Move.FAIL),
    (facts(BurnState.OPEN), HALF, Terms(tries=9, guarded="the firmware checks"), Move.FAIL),
    (facts(BurnState.OPEN, boot="boot-0"), HALF, Terms(tries=9), Move.FAIL),
    (facts(BurnState.NOT_DONE), HALF, Terms(tries=9), Move.FAIL),
    (facts(BurnState.HALF_DONE), HALF, Terms(tries=9), Move.FAIL),
    (facts(BurnState.HALF_DONE), DONE, Terms(), Move.QUARANTINE),
    (facts(BurnState.HALF_DONE), NOT_DONE, Terms(), Move.QUARANTINE),
    (facts(BurnState.HALF_DONE), DUMB, Terms(), Move.QUARANTINE),
    (facts(BurnState.HALF_DONE), DUMB, Terms(guarded="checked"), Move.QUARANTINE),
    (facts(BurnState.DONE), HALF, Terms(tries=9, anyones=True), Move.QUARANTINE),
    (facts(BurnState.NOT_DONE, failed=1), NOT_DONE, Terms(tries=1), Move.FAIL),
    (facts(BurnState.NOT_DONE, failed=0), NOT_DONE, Terms(tries=1), Move.ACT),
]


@pytest.mark.parametrize("row", range(len(TABLE)))
def test_table(row):
    known, answer, terms, move = TABLE[row]
    decision = decide(known, answer, terms, BOOT, "Burn")
    assert decision.move is move
    assert bool(decision.reason) == (move in (Move.FAIL, Move.QUARANTINE))


class Chip:
    """Answers what a test wants and counts what was done to it."""

    def __init__(self, *answers, raises=()):
        self.answers = list(answers)
        self.raises = list(raises)
        self.done = 0

    def ask(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def do(self):
        self.done += 1
        if self.raises and (error := self.raises.pop(0)) is not None:
            raise error


def burn(journal, chip, label="L1", **terms):
    return carry_out(journal, lambda run: run.burn(PLAN.first, done=chip.ask, do=chip.do, **terms), label)


def leave_open(journal, label="L1", **detail):
    """What a killed station leaves: an intent and nothing after it."""
    run = new_run(journal, label)
    journal.intend(run.context, "first", {"settle": 0.0, "text": "Burn the first", **detail})


def leave_done(journal, label="L1"):
    run = new_run(journal, label)
    journal.intend(run.context, "first", {"settle": 0.0})
    journal.outcome(run.context, "first", {"evidence": "done", "reason": ""})


def kinds(verdict):
    return str(verdict[0].kind), verdict[0].bin_id


def test_nothing_and_not_done_acts_once_and_passes(journal):
    chip = Chip(NOT_DONE, DONE)
    assert kinds(burn(journal, chip)) == ("pass", "pass")
    assert chip.done == 1
    assert [row["evidence"] for row in rows_of(journal, "outcome")] == ["done"]


def test_nothing_and_done_is_foreign(journal):
    chip = Chip(DONE)
    assert kinds(burn(journal, chip)) == ("quarantine", "quarantine")
    assert chip.done == 0


def test_nothing_and_done_by_anyone_goes_on(journal):
    chip = Chip(DONE)
    assert kinds(burn(journal, chip, anyones=True)) == ("pass", "pass")
    assert chip.done == 0
    assert rows_of(journal, "found_done") and not rows_of(journal, "intent")


def test_nothing_and_unknown_is_quarantine_unless_fresh_or_guarded(journal):
    for label, terms, count in (("A", {}, 0), ("B", {"fresh": lambda: True}, 1), ("C", {"guarded": "checked"}, 1)):
        chip = Chip(DUMB, DONE)
        verdict = burn(journal, chip, label, **terms)
        assert chip.done == count
        assert kinds(verdict)[0] == ("pass" if count else "quarantine")


def test_intent_without_outcome_and_done_is_closed_without_acting(journal):
    leave_open(journal)
    chip = Chip(DONE)
    assert kinds(burn(journal, chip)) == ("pass", "pass")
    assert chip.done == 0
    assert rows_of(journal, "outcome")[-1]["evidence"] == "done"


def test_intent_without_outcome_and_not_done_acts_again(journal):
    leave_open(journal)
    chip = Chip(NOT_DONE, DONE)
    assert kinds(burn(journal, chip)) == ("pass", "pass")
    assert chip.done == 1


def test_intent_without_outcome_and_unknown(journal):
    leave_open(journal, "A")
    assert kinds(burn(journal, Chip(DUMB), "A")) == ("quarantine", "quarantine")
    leave_open(journal, "B")
    guarded = Chip(DUMB, DONE)
    assert kinds(burn(journal, guarded, "B", guarded="checked")) == ("pass", "pass")
    assert guarded.done == 1


def test_guarded_does_not_count_after_a_restart_of_the_computer(journal):
    leave_open(journal)
    journal.boot = "another boot"
    chip = Chip(DUMB, DONE)
    assert kinds(burn(journal, chip, guarded="checked")) == ("quarantine", "quarantine")
    assert chip.done == 0


def test_outcome_done_and_part_says_no_is_quarantine(journal):
    leave_done(journal)
    chip = Chip(NOT_DONE)
    assert kinds(burn(journal, chip, tries=5)) == ("quarantine", "quarantine")
    assert chip.done == 0


def test_outcome_done_goes_on_when_the_part_is_done_or_dumb(journal):
    for label, answer in (("A", DONE), ("B", DUMB)):
        leave_done(journal, label)
        chip = Chip(answer)
        assert kinds(burn(journal, chip, label)) == ("pass", "pass")
        assert chip.done == 0


def test_outcome_done_and_another_value_is_quarantine_and_a_release_does_not_change_that(journal):
    leave_done(journal)
    for _ in range(2):
        verdict, error = burn(journal, Chip(OTHER), tries=5, guarded="checked", anyones=True)
        assert verdict.kind == "quarantine" and isinstance(error, Quarantined)
        assert "holds something else" in verdict.reason and "digest 2, not 1" in verdict.reason
        row = journal.find("L1").quarantine_rows[0]
        journal.write(row.context, "release", "", {"reason": "looked at it"})


def test_another_value_after_acting_is_recorded_as_such_and_never_acted_on_again(journal):
    for label, raises in (("A", []), ("B", [PartError("silence", "console")])):
        chip = Chip(NOT_DONE, OTHER, raises=raises)
        verdict, _ = burn(journal, chip, label, tries=5, guarded="checked")
        assert (verdict.kind, chip.done) == ("quarantine", 1)
        assert rows_of(journal, "outcome")[-1]["evidence"] == "contradicts"
        assert journal.find(label).burn("fake", "first").state is BurnState.OPEN
        row = journal.find(label).quarantine_rows[0]
        journal.write(row.context, "release", "", {"reason": "looked at it"})
        again = Chip(OTHER)
        assert kinds(burn(journal, again, label, tries=5, guarded="checked"))[0] == "quarantine"
        assert again.done == 0


def test_part_is_asked_again_even_if_do_raised(journal):
    chip = Chip(NOT_DONE, DONE, raises=[PartError("console fell silent", "console")])
    assert kinds(burn(journal, chip)) == ("pass", "pass")
    outcome = rows_of(journal, "outcome")[-1]
    assert outcome["evidence"] == "done" and "console fell silent" in outcome["error"]


def test_tries_are_used_up_then_the_part_fails_in_the_bin_of_what_went_wrong(journal):
    refused = PartError("token refused", "unlock_refused")
    chip = Chip(NOT_DONE, raises=[refused, refused, refused])
    assert kinds(burn(journal, chip, tries=2)) == ("fail", "unlock_refused")
    assert chip.done == 2
    silent = Chip(NOT_DONE)
    assert kinds(burn(journal, silent, "B", tries=2)) == ("fail", "burn_failed")
    assert silent.done == 2


def test_an_attempt_cut_off_by_a_crash_is_not_charged(journal):
    leave_open(journal)
    chip = Chip(NOT_DONE, NOT_DONE, DONE)
    assert kinds(burn(journal, chip, tries=2)) == ("pass", "pass")
    assert chip.done == 2


def test_crash_after_crash_ends_in_a_fail_bin(journal):
    run = new_run(journal)
    for _ in range(INTERRUPTED_LIMIT):
        journal.intend(run.context, "first", {"settle": 0.0})
        journal.append(run.context, "outcome", "first", {"evidence": "not_done", "interrupted": True})
    journal.intend(run.context, "first", {"settle": 0.0})
    chip = Chip(NOT_DONE)
    assert kinds(burn(journal, chip)) == ("fail", "burn_failed")
    assert chip.done == 0


def test_unknown_after_acting_is_quarantine(journal):
    chip = Chip(NOT_DONE, DUMB)
    assert kinds(burn(journal, chip)) == ("quarantine", "quarantine")
    chip = Chip(NOT_DONE, WaitTimeout("the TAP", 1))
    verdict, error = burn(journal, chip, "B")
    assert verdict.kind == "quarantine" and isinstance(error, Quarantined)


def test_guarded_unknown_after_acting_is_tried_again(journal):
    chip = Chip(NOT_DONE, DUMB, DONE)
    assert kinds(burn(journal, chip, tries=2, guarded="checked")) == ("pass", "pass")
    assert chip.done == 2


@pytest.mark.parametrize("lost", [PowerLost("lid open"), AdapterLost("gone")])
@pytest.mark.parametrize("afterwards", [DONE, NOT_DONE, DUMB])
def test_power_or_adapter_lost_during_a_burn_is_quarantine_whatever_the_part_says_later(journal, lost, afterwards):
    chip = Chip(NOT_DONE, afterwards, raises=[lost])
    assert kinds(burn(journal, chip, tries=3, guarded="checked")) == ("quarantine", "quarantine")
    assert chip.done == 1
    assert rows_of(journal, "outcome")[-1]["power_lost"] is True


def test_adapter_lost_while_asking_after_a_burn_is_quarantine(journal):
    chip = Chip(NOT_DONE, AdapterLost("gone"))
    assert kinds(burn(journal, chip, guarded="checked", tries=2)) == ("quarantine", "quarantine")


def test_sensors_that_saw_the_lid_open_make_it_quarantine(journal):
    def flow(run):
        run.burn(PLAN.first, done=lambda: DONE if did else NOT_DONE,
                 do=lambda: (did.append(1), run.lost_contact("the lid was opened")))  # fmt: skip

    did: list[int] = []
    verdict, _ = carry_out(journal, flow)
    assert verdict.kind == "quarantine" and "lid" in verdict.reason


def test_bench_error_before_any_burn_is_the_bench(journal):
    chip = Chip(BenchError("no IDCODE"))
    assert kinds(burn(journal, chip)) == ("bench", "bench")
    assert chip.done == 0


def test_appliance_error_inside_a_burn_that_did_nothing_is_not_tried_again(journal):
    chip = Chip(NOT_DONE, raises=[ApplianceError("down", "UNAVAILABLE")] * 2)
    assert kinds(burn(journal, chip, tries=3)) == ("bench", "bench")
    assert chip.done == 1


def test_program_error_inside_a_burn_is_recorded_then_raised(journal):
    chip = Chip(NOT_DONE, DONE, raises=[KeyError("secret value")])
    verdict, error = burn(journal, chip)
    assert verdict.kind == "hold" and isinstance(error, KeyError)
    assert "secret value" not in verdict.reason
    assert [row["evidence"] for row in rows_of(journal, "outcome")] == ["done"]


def test_a_rerun_of_a_failed_part_has_its_attempts_back(journal):
    assert kinds(burn(journal, Chip(NOT_DONE)))[0] == "fail"
    chip = Chip(NOT_DONE, DONE)
    assert kinds(burn(journal, chip)) == ("pass", "pass")


def test_open_intent_and_reject_before_asking_is_quarantine(journal):
    leave_open(journal)

    def flow(run):
        raise Reject("wrong state", bin="wrong_state")

    assert kinds(carry_out(journal, flow)) == ("quarantine", "quarantine")


def test_open_intent_and_appliance_down_before_asking_is_hold_and_the_next_run_goes_on(journal):
    leave_open(journal)

    def flow(run):
        raise ApplianceError("down")

    assert kinds(carry_out(journal, flow)) == ("hold", "hold")
    assert kinds(burn(journal, Chip(DONE))) == ("pass", "pass")


def test_settle_time_of_an_open_intent_passes_before_the_part_is_asked(journal, monkeypatch):
    slept: list[float] = []
    leave_open(journal, settle=30.0)
    monkeypatch.setattr("station.burning.time.sleep", slept.append)
    burn(journal, Chip(DONE))
    assert len(slept) == 1 and 29 < slept[0] <= 30


def test_settle_time_passes_after_do_raised(journal, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("station.burning.time.sleep", slept.append)
    plan = Plan(slow=Burn("Slow", settle=7.0))
    chip = Chip(NOT_DONE, DONE, raises=[PartError("x")])
    carry_out(journal, lambda run: run.burn(plan.slow, done=chip.ask, do=chip.do), plan=plan)
    assert slept == [7.0]


def test_whoever_watches_is_told_that_the_chip_settles(journal, monkeypatch):
    told: list[str] = []

    class Watching(Silent):
        def settling(self, title):
            told.append(title.id)

        def log(self, text, source, level):
            told.append(text)

    monkeypatch.setattr("station.run.time.sleep", lambda seconds: None)
    plan = Plan(slow=Burn("Slow", settle=7.0))
    chip = Chip(NOT_DONE, DONE, raises=[PartError("x")])
    run = new_run(journal, listener=Watching(), plan=plan)
    run.burn(plan.slow, done=chip.ask, do=chip.do)
    assert told == ["Slow: x", "waiting 7.0 s: the chip may still be burning", "slow"]


def test_burns_of_another_flow_with_the_same_title_are_another_burn(journal):
    leave_done(journal)
    chip = Chip(NOT_DONE, DONE)
    run = new_run(journal, context={"flow": "other"})
    run.burn(PLAN.first, done=chip.ask, do=chip.do)
    assert chip.done == 1
    assert context().flow == "fake"
