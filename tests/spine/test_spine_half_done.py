"""A burn of which the part shows a half, and the flow that takes it back by erasing the whole part."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from spine_help import BINS, PLAN, FakeCredentials, FakePack, carry_out, context, new_run, open_journal, rows_of

from station import labels
from station.bins import load_bins
from station.errors import BenchError, PartError, Refused, Stopped
from station.journal_parts import BurnState
from station.lot_answers import LotAnswers
from station.model import DONE, HALF_DONE, NOT_DONE, Role
from station.plan import Burn, Plan
from station.recipe import load_recipe
from station.resources import resources_folder
from station.run import Run, RunServices, execute
from station.workbench import Workbench

HALF = HALF_DONE("two of four keys are missing", "otp")
ERASE = Plan(erase="Erase the whole part").taking_back("fake", ends_in="recovered")


@pytest.fixture
def journal(tmp_path):
    journal = open_journal(tmp_path)
    yield journal
    journal.close()


def burn(journal, answers, do=lambda: None, label="L1"):
    left = list(answers)
    return carry_out(journal, lambda run: run.burn(PLAN.first, done=lambda: left.pop(0), do=do, tries=3), label)


def failing():
    raise PartError("the firmware said so", "firmware")


def test_a_half_is_a_fail_with_its_own_bin_and_is_not_repeated(journal):
    acts = []
    verdict, _ = burn(journal, [NOT_DONE, HALF], lambda: acts.append(1))
    assert (verdict.kind, verdict.bin_id, len(acts)) == ("fail", "otp", 1)
    assert "two of four keys are missing" in verdict.reason and "neither finished nor repeated" in verdict.reason
    assert "half done: only the erasure of the whole part" in verdict.part_state
    assert rows_of(journal, "outcome")[-1]["evidence"] == "half_done"
    assert journal.known("die", "L1").burn("fake", "first").state is BurnState.HALF_DONE


def test_the_verdict_of_a_half_names_what_helps(journal):
    def flow(run):
        run.remedy = "recipe fake-recover"
        left = [NOT_DONE, HALF]
        run.burn(PLAN.first, done=lambda: left.pop(0), do=lambda: None)

    verdict, _ = carry_out(journal, flow)
    assert verdict.part_state.endswith("with all its keys, helps (recipe fake-recover)")


def test_an_error_of_the_act_does_not_hide_the_half(journal):
    verdict, _ = burn(journal, [NOT_DONE, HALF], failing)
    assert verdict.bin_id == "otp" and rows_of(journal, "outcome")[-1]["error"] == "the firmware said so"


def test_the_next_run_sees_the_half_again_and_acts_not(journal):
    burn(journal, [NOT_DONE, HALF])
    acts = []
    verdict, _ = burn(journal, [HALF], lambda: acts.append(1))
    assert verdict.bin_id == "otp" and not acts


def test_an_interrupted_burn_that_is_half_done_is_closed(journal):
    run = new_run(journal)
    journal.intend(run.context, "first", {"settle": 0.0})
    verdict, _ = burn(journal, [HALF])
    assert verdict.bin_id == "otp"
    assert journal.known("die", "L1").open_burns() == []


@pytest.mark.parametrize("later", [DONE, NOT_DONE])
def test_a_half_that_became_something_else_is_quarantined(journal, later):
    burn(journal, [NOT_DONE, HALF])
    verdict, _ = burn(journal, [later])
    assert verdict.kind == "quarantine" and "is half done, the part says otherwise" in verdict.reason


def test_a_stop_leaves_a_half_done_part_on_hold(journal):
    burn(journal, [NOT_DONE, HALF])

    def stopped(run):
        raise BenchError("the probe is not there")

    assert carry_out(journal, stopped)[0].kind == "hold"


# ---- erasing the whole part --------------------------------------------------------------------------------


def erase(journal, label="L1", chip="0x00A1", identify=False):
    where = context(label, flow="erase", recipe="fake-erase")
    journal.scan(where, {})
    run = Run(ERASE, where, RunServices(journal, BINS, FakePack(), FakeCredentials()))

    def flow():
        with run.step(ERASE.erase):
            run.erased(run.waive_erase("half provisioned"), chip)
            if identify:
                run.identify(chip)

    return execute(run, flow)


def test_an_erased_part_is_as_new_and_its_record_says_what_it_was(journal):
    burn(journal, [NOT_DONE, HALF])
    new_run(journal).keep("key", b"old")
    verdict, _ = erase(journal)
    assert (verdict.kind, verdict.bin_id, verdict.part_state) == ("pass", "recovered", "every step is done")
    record = journal.known("die", "L1")
    assert record.erasures == 1 and record.burn("fake", "first").state is BurnState.NOTHING
    assert record.kept == {} and "fake" not in record.verdicts
    [waived] = journal.rows("WHERE kind = 'waiver'")
    assert rows_of(journal, "erased") == [{"reason": "half provisioned", "waiver": waived.seq}]
    assert burn(journal, [NOT_DONE, DONE])[0].kind == "pass"


def test_what_was_erased_is_the_chip_and_not_the_label_that_was_scanned(journal):
    """One part's label, another chip in the socket: both are set aside, and only the chip's own record is empty."""
    for label, chip in (("L1", "a1"), ("L2", "b2")):
        run = new_run(journal, label)
        run.identify(chip)
        burn(journal, [NOT_DONE, DONE], label=label)
        run.keep("key", label.encode())
    verdict, _ = erase(journal, "L1", "0xB2", identify=True)
    assert verdict.kind == "quarantine" and "label L1 belongs to device a1" in verdict.reason
    first, second = journal.known("die", "L1"), journal.known("die", "L2")
    assert (first.erasures, first.kept, first.burnt("fake")) == (0, {"key": b"L1"}, True) and first.quarantine
    assert (second.erasures, second.kept, second.burnt("fake")) == (1, {}, False) and second.quarantine


def test_a_chip_that_an_unfinished_erasure_may_have_met_has_passed_nothing(journal):
    """Erased under another label, and the station died before it could read whose chip it was."""
    new_run(journal, "L1").identify("a1")
    burn(journal, [NOT_DONE, DONE], label="L1")
    new_run(journal, "L9").waive_erase("new part")
    verdict, _ = carry_out(journal, lambda run: run.identify("a1"), "L9")
    assert verdict.kind == "quarantine" and "this may be the chip that was erased" in verdict.reason
    assert journal.known("die", "L1").erasing and journal.known("die", "L1").burnt("fake")


def test_the_waiver_is_on_the_disk_before_the_erasure_can_begin(journal):
    run = new_run(journal)
    syncs = journal.syncs
    waiver = run.waive_erase("because")
    assert journal.syncs == syncs + 1 and waiver.row == journal.length
    assert journal.rows("WHERE seq = ?", (waiver.row,))[0].kind == "waiver"


class FakeRecipe:
    title = "Erase"

    def __init__(self, flow_name, plan):
        self.flow_name, self.plan = flow_name, plan


def test_a_flow_that_takes_back_may_be_run_on_open_burns_and_again(journal):
    run = new_run(journal)
    journal.intend(run.context, "first", {"settle": 0.0})
    record = journal.known("die", "L1")
    labels.check_known(record, FakeRecipe("erase", ERASE), BINS, 1, Role.ENGINEER)
    with pytest.raises(Refused, match="a burn of fake was interrupted"):
        labels.check_known(record, FakeRecipe("other", Plan(a="A")), BINS, 1, Role.ENGINEER)
    assert erase(journal)[0].kind == "pass"
    labels.check_known(journal.known("die", "L1"), FakeRecipe("erase", ERASE), BINS, 1, Role.ENGINEER)
    assert erase(journal)[0].kind == "pass" and journal.known("die", "L1").erasures == 2


def test_a_quarantined_part_is_not_erased(journal):
    burn(journal, [NOT_DONE, HALF])
    burn(journal, [DONE])
    verdict, _ = erase(journal)
    assert verdict.kind == "quarantine" and rows_of(journal, "erased") == []


# ---- once per lot ------------------------------------------------------------------------------------------


class Asked:
    """A listener that answers from a list."""

    def __init__(self, *answers):
        self.answers, self.texts = list(answers), []

    def ask(self, text, choices):
        self.texts.append(text)
        return self.answers.pop(0)

    def __getattr__(self, name):
        return lambda *arguments, **named: None


CHOICES = ("All are new", "No")


def confirmed(journal, listener, label, lot="LOT1", **services):
    where = context(label, lot=lot)
    journal.scan(where, {})
    run = Run(PLAN, where, RunServices(journal, BINS, FakePack(), FakeCredentials(), listener, **services))
    return run.confirmed_for_lot("new_parts", "Are all parts of this lot new?", CHOICES)


def test_a_lot_is_asked_about_once(journal):
    listener = Asked("No", "All are new", "All are new")
    assert not confirmed(journal, listener, "L1")
    assert confirmed(journal, listener, "L2") and confirmed(journal, listener, "L3")
    assert len(listener.texts) == 2 and confirmed(journal, listener, "L4", lot="LOT2") and len(listener.texts) == 3
    kept = rows_of(journal, "confirmed")
    assert [row["choice"] for row in kept] == ["All are new"] * 2 and len(rows_of(journal, "answer")) == 3


def test_without_a_lot_every_part_is_asked_about(journal):
    listener = Asked("All are new", "All are new")
    assert confirmed(journal, listener, "L1", lot="") and confirmed(journal, listener, "L2", lot="")
    assert len(listener.texts) == 2


def test_while_one_socket_asks_the_other_waits(journal):
    answers, asking, answer = LotAnswers(journal), threading.Event(), threading.Event()

    class Slow(Asked):
        def ask(self, text, choices):
            asking.set()
            assert answer.wait(10)
            return super().ask(text, choices)

    first, second, found = Slow("All are new"), Asked(), []
    one = threading.Thread(target=lambda: found.append(confirmed(journal, first, "L1", lot_answers=answers)))
    one.start()
    assert asking.wait(10)
    two = threading.Thread(target=lambda: found.append(confirmed(journal, second, "L2", lot_answers=answers)))
    two.start()
    answer.set()
    one.join(10)
    two.join(10)
    assert found == [True, True] and len(first.texts) == 1 and second.texts == []


def test_a_stop_ends_the_waiting(journal):
    answers = LotAnswers(journal)

    def stop():
        raise Stopped("the operator stopped the run")

    with answers.turn(lambda: None), pytest.raises(Stopped), answers.turn(stop):
        raise AssertionError("two turns at once")


def test_a_plan_of_its_own_ends_in_pass():
    assert Plan(a=Burn("A")).ends_in == "pass" and Plan(a="A").takes_back == frozenset()


def test_a_refusal_to_try_again_names_the_recipe_that_helps(journal, tmp_path):
    recipe = load_recipe("nrf9160-dk")
    bins = load_bins(resources_folder() / "bins.toml")
    where = context("P000041", label_kind="part", flow=recipe.flow_name, recipe=recipe.name)
    start = journal.start(where, {})
    detail = {"kind": "fail", "bin_id": "half_provisioned", "reason": "", "pending": False}
    journal.verdict(start.context, detail)
    record = journal.known("part", "P000041")
    told = SimpleNamespace(recipes=lambda: ["nrf5340-dk-recover", "nrf9160-dk", "nrf9160-dk-recover"],
                           load_recipe=load_recipe)  # fmt: skip
    with pytest.raises(Refused, match=r"must not be retested; recipe nrf9160-dk-recover erases it"):
        labels.check_known(record, recipe, bins, 1, Role.ENGINEER, lambda: Workbench.recovery_of(told, recipe))
    kits = lambda: [f"nrf5340-dk{more}" for more in ("", "-child", "-child-recover", "-recover")]  # noqa: E731
    told.recipes = kits
    for name in ("nrf5340-dk", "nrf5340-dk-child"):
        assert Workbench.recovery_of(told, load_recipe(name)) == f"{name}-recover"
    told.recipes = lambda: ["nrf5340-dk-recover", "nrf9160-dk"]
    with pytest.raises(Refused, match=r"must not be retested$"):
        labels.check_known(record, recipe, bins, 1, Role.ENGINEER, lambda: Workbench.recovery_of(told, recipe))
